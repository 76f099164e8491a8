public import Ext4
internal import Glibc

// Copies files out of an image, with all that the host can keep of them.
//
// What the image says decides what is written, never where: every file is created new
// (`O_EXCL`), under a checked name, in a directory that this copy made or was given
// (`DirectoryStack`). A directory gets its mode, owner and times when it is complete, so that
// until then nobody else gets in and a read-only one can be filled.

/// A copy of files and trees of an image to a directory of the host.
public final class TreeCopy {
    private let volume: Volume
    private let metadata: FileMetadata
    private let tell: (TransferEvent) -> Void
    private var buffer = [UInt8](repeating: 0, count: 1 << 20)
    private var files: UInt64 = 0
    private var bytes: UInt64 = 0
    private var remarks: Set<String> = []
    /// Files with several names, by inode, until each of their names was copied.
    private var links: [InodeNumber: Link] = [:]

    private struct Link {
        let components: [[UInt8]]
        let identity: FileStatus.Identity
        var remaining: UInt32
    }

    /// How many problems were told.
    public private(set) var problems: UInt64 = 0

    /// Prepares a copy. Owners are set as asked for, or when root asks.
    public init(
        _ volume: Volume, settingOwners: Bool? = nil, tell: @escaping (TransferEvent) -> Void
    ) {
        self.volume = volume
        metadata = FileMetadata(setsOwner: settingOwners ?? (geteuid() == 0))
        self.tell = tell
    }

    /// Copies the file or tree at `inode` into the directory at `path`, under `name`.
    ///
    /// - Throws: What keeps the whole copy from going on. What fails with one file only is told
    ///   as a problem.
    public func copy(_ inode: Inode, as name: [UInt8], into path: [UInt8]) throws(SystemFailure) {
        try copy(TreeWalk(volume, from: inode, named: name), into: path, leavingOutTop: false)
    }

    /// Copies what is in the directory `inode` into the directory at `path`, which stays as it is.
    ///
    /// - Throws: What keeps the whole copy from going on.
    public func copyContents(of inode: Inode, into path: [UInt8]) throws(SystemFailure) {
        try copy(TreeWalk(volume, from: inode), into: path, leavingOutTop: true)
    }

    private func copy(
        _ start: TreeWalk, into path: [UInt8], leavingOutTop: Bool
    ) throws(SystemFailure) {
        let place = try DirectoryStack(root: path)
        var walk = start
        while let step = walk.next() {
            switch step {
            case .enter(let entry) where leavingOutTop && entry.depth == 0,
                .leave(let entry) where leavingOutTop && entry.depth == 0:
                continue
            case .enter(let entry):
                do throws(SystemFailure) {
                    try enter(entry, place)
                } catch {
                    problem(entry.path, "\(error)")
                    walk.skipDirectory()
                }
            case .leave(let entry):
                setMetadata(of: entry, .descriptor(place.descriptor), place)
                try place.leaveDirectory()
            case .file(let entry): copyFile(entry, place)
            case .problem(let found): problem(found.path, found.description)
            }
        }
    }
}

extension TreeCopy {
    private func problem(_ path: [UInt8], _ words: String) {
        problems += 1
        tell(.problem(path: path, words))
    }

    private func remark(_ path: [UInt8], _ words: String) {
        if remarks.insert(words).inserted { tell(.remark(path: path, words)) }
    }

    private func enter(_ entry: TreeEntry, _ place: DirectoryStack) throws(SystemFailure) {
        let isFirst = place.isAtRoot
        try place.makeDirectory(entry.name)
        if isFirst { metadata.removeInheritedLists(.descriptor(place.descriptor)) }
        report(entry, 0)
    }

    private func report(_ entry: TreeEntry, _ count: UInt64, isNew: Bool = true) {
        if isNew { files += 1 }
        bytes += count
        tell(.progress(path: entry.path, files: files, bytes: bytes))
    }

    private func copyFile(_ entry: TreeEntry, _ place: DirectoryStack) {
        let inode = entry.inode
        do throws(SystemFailure) {
            if inode.linkCount > 1, var link = links[inode.number] {
                link.remaining -= 1
                links[inode.number] = link.remaining == 0 ? nil : link
                try place.link(entry.name, to: link.components, identity: link.identity)
                report(entry, 0)
                return
            }
            switch inode.type {
            case .regular: try copyRegular(entry, place)
            case .symlink: try copySymlink(entry, place)
            case .characterDevice, .blockDevice, .fifo, .socket: try copySpecial(entry, place)
            case .directory, .unknown:
                problem(entry.path, "its type is unknown: skipped")
                return
            }
            if inode.linkCount > 1 {
                links[inode.number] = Link(
                    components: place.components(of: entry.name),
                    identity: try place.identity(of: entry.name),
                    remaining: inode.linkCount - 1)
            }
        } catch {
            problem(entry.path, "\(error)")
        }
    }

    private func copyRegular(_ entry: TreeEntry, _ place: DirectoryStack) throws(SystemFailure) {
        let inode = entry.inode
        if inode.isEncrypted {
            problem(entry.path, "\(Ext4Error.noKey): skipped")
            return
        }
        let name = try place.checked(entry.name)
        let descriptor = unsafe openat(
            place.descriptor, name.bytes, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
            0o600)
        guard descriptor >= 0 else {
            throw SystemFailure("create", place.path(of: entry.name), errno: errno)
        }
        defer { close(descriptor) }
        if place.isAtRoot { metadata.removeInheritedLists(.descriptor(descriptor)) }
        report(entry, 0)
        do throws(SystemFailure) {
            guard let size = off_t(exactly: inode.size), ftruncate(descriptor, size) == 0 else {
                throw SystemFailure(
                    "make a file of \(inode.size) bytes at", place.path(of: entry.name),
                    errno: inode.size > UInt64(Int64.max) ? EFBIG : errno)
            }
            try copyContents(of: entry, to: descriptor, place)
        } catch {
            problem(entry.path, "copied in part only: \(error)")
        }
        setMetadata(of: entry, .descriptor(descriptor), place)
    }

    /// Writes what a file holds; its holes stay holes.
    private func copyContents(
        of entry: TreeEntry, to descriptor: Int32, _ place: DirectoryStack
    ) throws(SystemFailure) {
        var ranges = DataRanges(volume, entry.inode)
        while true {
            let count: Int
            do throws(Ext4Error) {
                guard let range = try ranges.next() else { return }
                count = try copy(range, of: entry, to: descriptor)
            } catch {
                problem(entry.path, "copied in part only: \(error)")
                return
            }
            if count < 0 { throw SystemFailure("write", place.path(of: entry.name), errno: errno) }
        }
    }

    /// Copies a part of a file; -1 with `errno` when the host fails.
    private func copy(
        _ range: Range<UInt64>, of entry: TreeEntry, to descriptor: Int32
    ) throws(Ext4Error) -> Int {
        var position = range.lowerBound
        while position < range.upperBound {
            let wanted = Int(min(UInt64(buffer.count), range.upperBound - position))
            let count = try volume.read(entry.inode, at: position, count: wanted, into: &buffer)
            guard count > 0 else { break }
            guard write(count, at: position, to: descriptor) else { return -1 }
            position += UInt64(count)
            report(entry, UInt64(count), isNew: false)
        }
        return 0
    }

    /// Writes the first bytes of the buffer.
    private func write(_ count: Int, at position: UInt64, to descriptor: Int32) -> Bool {
        unsafe buffer.withUnsafeBytes { source in
            var done = 0
            while done < count {
                let part = unsafe UnsafeRawBufferPointer(rebasing: source[done..<count])
                let put = unsafe pwrite(
                    descriptor, part.baseAddress, part.count, off_t(position) + off_t(done))
                if put > 0 {
                    done += put
                } else if put == 0 || errno != EINTR {
                    return false
                }
            }
            return true
        }
    }

    private func copySymlink(_ entry: TreeEntry, _ place: DirectoryStack) throws(SystemFailure) {
        let name = try place.checked(entry.name)
        let bytes: [UInt8]
        do throws(Ext4Error) {
            bytes = try volume.symlinkTarget(of: entry.inode)
        } catch {
            problem(entry.path, "\(error): skipped")
            return
        }
        guard let target = CPath(bytes) else {
            problem(entry.path, "the symbolic link's target holds a NUL: skipped")
            return
        }
        guard unsafe symlinkat(target.bytes, place.descriptor, name.bytes) == 0 else {
            throw SystemFailure(
                "create the symbolic link", place.path(of: entry.name), errno: errno)
        }
        report(entry, 0)
        setMetadata(of: entry, .entry(name, in: place.descriptor), place)
    }

    private func copySpecial(_ entry: TreeEntry, _ place: DirectoryStack) throws(SystemFailure) {
        let inode = entry.inode
        let name = try place.checked(entry.name)
        let type: mode_t =
            switch inode.type {
            case .characterDevice: S_IFCHR
            case .blockDevice: S_IFBLK
            case .fifo: S_IFIFO
            default: S_IFSOCK
            }
        let device = inode.device.map { FileStatus.number(major: $0.major, minor: $0.minor) } ?? 0
        guard unsafe mknodat(place.descriptor, name.bytes, type | 0o600, dev_t(device)) == 0 else {
            let failure = errno
            if failure == EPERM, type == S_IFCHR || type == S_IFBLK {
                problem(entry.path, "only root can create a device: skipped")
                return
            }
            throw SystemFailure("create", place.path(of: entry.name), errno: failure)
        }
        report(entry, 0)
        let target = FileMetadata.Target.entry(name, in: place.descriptor)
        if place.isAtRoot { metadata.removeInheritedLists(target) }
        setMetadata(of: entry, target, place)
    }

    private func setMetadata(
        of entry: TreeEntry, _ target: FileMetadata.Target, _ place: DirectoryStack
    ) {
        var attributes: [ExtendedAttribute] = []
        do throws(Ext4Error) {
            attributes = try volume.extendedAttributes(of: entry.inode)
        } catch {
            problem(entry.path, "its extended attributes cannot be read: \(error)")
        }
        for loss in metadata.apply(entry.inode, attributes, to: target) {
            let words = "cannot \(loss.action) it: \(SystemFailure.words(for: loss.errno))"
            if loss.isExpected { remark(entry.path, words) } else { problem(entry.path, words) }
        }
    }
}
