internal import CLinux
internal import Ext4
internal import Glibc

// An image has its name when it is complete. Until then the file has none, so that nothing is left
// of it however the process ends; where the file system has no files without a name, it has one
// that begins with a dot, and loses that at the end.

/// An image file that is being made.
public final class NewImage {
    /// What the volume is made on. It reads as zeros.
    public let device: FileDevice
    private let path: [UInt8]
    /// The directory that it will be in.
    private let directory: [UInt8]
    private let descriptor: Int32
    /// The name that the file has for the time being.
    private var temporary: [UInt8]?

    /// Makes a file of `byteCount` bytes, all of them a hole, in the directory of `path`.
    public init(path: [UInt8], byteCount: UInt64) throws(SystemFailure) {
        self.path = path
        let slash = path.lastIndex(of: UInt8(ascii: "/"))
        directory = slash.map { $0 == 0 ? [UInt8(ascii: "/")] : Array(path[..<$0]) } ?? [0x2E]
        let name = slash.map { Array(path[($0 + 1)...]) } ?? path
        guard let length = off_t(exactly: byteCount), let folder = CPath(directory),
            CPath(path) != nil, !name.isEmpty
        else { throw SystemFailure("create", path, errno: EINVAL) }
        var opened = unsafe linux_open_unnamed(folder.bytes, 0o666)
        if opened < 0, [EOPNOTSUPP, EISDIR, ENOENT, EINVAL].contains(errno) {
            temporary = Self.take(in: directory) { place in
                opened = unsafe open(place.bytes, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
                return opened >= 0
            }
        }
        guard opened >= 0 else { throw SystemFailure("create", path, errno: errno) }
        descriptor = opened
        do throws(Ext4Error) {
            guard ftruncate(opened, length) == 0 else {
                throw .io(IOFailure(.write, at: 0, count: 0, errno: errno))
            }
            device = try FileDevice(path: "/proc/self/fd/\(opened)", access: .readWrite)
        } catch {
            let number: Int32 = if case .io(let failure) = error { failure.errno } else { EIO }
            if let temporary, let place = CPath(temporary) { unsafe unlink(place.bytes) }
            close(opened)
            throw SystemFailure("create", path, errno: number)
        }
    }

    deinit {
        if let temporary, let place = CPath(temporary) { unsafe unlink(place.bytes) }
        close(descriptor)
    }

    /// Gives the file its name.
    ///
    /// - Parameters:
    ///   - byteCount: where it is cut off before; nil leaves its length.
    ///   - replaces: whether a file that has the name by now makes place.
    public func commit(byteCount: UInt64? = nil, replaces: Bool = false) throws(SystemFailure) {
        if let byteCount, let length = off_t(exactly: byteCount) {
            guard ftruncate(descriptor, length) == 0 else {
                throw SystemFailure("set the size of", path, errno: errno)
            }
        }
        if replaces { keepOwner() }
        guard fsync(descriptor) == 0 else { throw SystemFailure("write", path, errno: errno) }
        if temporary == nil, !replaces {
            try name(path)
            return
        }
        if temporary == nil {
            temporary = Self.take(in: directory) { place in
                unsafe linux_name_file(descriptor, place.bytes) == 0
            }
        }
        guard let temporary else { throw SystemFailure("create", path, errno: errno) }
        guard let from = CPath(temporary), let to = CPath(path) else { return }
        let isFree = unsafe replaces || access(to.bytes, F_OK) != 0
        guard isFree else { throw SystemFailure("create", path, errno: EEXIST) }
        guard unsafe rename(from.bytes, to.bytes) == 0 else {
            throw SystemFailure("create", path, errno: errno)
        }
        self.temporary = nil
    }

    /// Gives a file a name for the time being: one that nobody has in `directory`, and that is short
    /// however long the image's own is.
    ///
    /// - Parameter name: gives the file that name, unless somebody has it (`EEXIST`).
    /// - Returns: the path, or nil when `name` fails in another way.
    private static func take(in directory: [UInt8], _ name: (CPath) -> Bool) -> [UInt8]? {
        for number in 0..<100 {
            let path = directory + Array("/.ext4-\(getpid())-\(number)".utf8)
            guard let place = CPath(path) else { return nil }
            if name(place) { return path }
            guard errno == EEXIST else { return nil }
        }
        return nil
    }

    /// Who may read the file that makes place may read the new one, and nobody else.
    private func keepOwner() {
        var status = stat()
        guard let place = CPath(path), unsafe stat(place.bytes, &status) == 0,
            status.st_mode & S_IFMT == S_IFREG
        else { return }
        // Only root can give a file away; the mode comes after that, which may clear bits of it.
        var mode = status.st_mode & 0o7777
        if fchown(descriptor, status.st_uid, status.st_gid) != 0, status.st_gid != getegid() {
            mode &= ~0o070
        }
        _ = fchmod(descriptor, mode)
    }

    private func name(_ path: [UInt8]) throws(SystemFailure) {
        guard let place = CPath(path), unsafe linux_name_file(descriptor, place.bytes) == 0 else {
            throw SystemFailure("create", path, errno: errno)
        }
    }
}
