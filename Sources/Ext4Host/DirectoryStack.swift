internal import Ext4
internal import Glibc

// The directories of the host that a copy is in, from where it began down.
//
// Every call names one entry of an open directory, never a path, and follows no symbolic link.
// So nothing that was put there on the way, by the image or by another process, leads elsewhere.
// Only the directory at the bottom of the stack and the nearest ones are kept open: a deep tree
// costs no more descriptors than a flat one. Going up to one that was closed goes by `..` and
// makes sure that it is the same directory as before.

/// A stack of open directories.
@safe final class DirectoryStack {
    private struct Level {
        var descriptor: Int32?
        let identity: FileStatus.Identity
        let name: [UInt8]
    }

    private static let openLimit = 32

    private let root: [UInt8]
    private var levels: [Level] = []

    /// Opens the directory at `path`, which is the caller's and may lead anywhere.
    init(root path: [UInt8]) throws(SystemFailure) {
        root = path
        guard let cPath = CPath(path) else { throw SystemFailure("open", path, errno: EINVAL) }
        let descriptor = unsafe open(cPath.bytes, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw SystemFailure("open", path, errno: errno) }
        do throws(SystemFailure) {
            levels = [
                Level(descriptor: descriptor, identity: try identity(descriptor, []), name: [])
            ]
        } catch {
            close(descriptor)
            throw error
        }
    }

    deinit { for level in levels { if let descriptor = level.descriptor { close(descriptor) } } }

    /// The directory on top.
    var descriptor: Int32 { levels.last?.descriptor ?? -1 }

    /// Whether only the directory at the bottom is there.
    var isAtRoot: Bool { levels.count <= 1 }

    /// The path of an entry of the directory on top, for messages.
    func path(of name: [UInt8]) -> [UInt8] {
        var path = root
        for level in levels.dropFirst() { path += [0x2F] + level.name }
        return path + [0x2F] + name
    }

    /// Makes a directory in the one on top and goes into it. Only its owner can use it so far.
    func makeDirectory(_ name: [UInt8]) throws(SystemFailure) {
        let cName = try checked(name)
        guard unsafe mkdirat(descriptor, cName.bytes, 0o700) == 0 else {
            throw SystemFailure("create the directory", path(of: name), errno: errno)
        }
        try enterDirectory(name)
    }

    /// Goes into a directory that is in the one on top.
    func enterDirectory(_ name: [UInt8]) throws(SystemFailure) {
        let cName = try checked(name)
        let child = unsafe openat(
            descriptor, cName.bytes, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        guard child >= 0 else { throw SystemFailure("open", path(of: name), errno: errno) }
        do throws(SystemFailure) {
            let level = Level(
                descriptor: child, identity: try identity(child, name), name: name)
            levels.append(level)
        } catch {
            close(child)
            throw error
        }
        let far = levels.count - 1 - Self.openLimit
        if far > 0, let old = levels[far].descriptor {
            close(old)
            levels[far].descriptor = nil
        }
    }

    /// The names in the directory on top, but `.` and `..`, in the order of their bytes.
    func names() throws(SystemFailure) -> [[UInt8]] {
        // A descriptor of its own, as the position in the directory belongs to it.
        let own = unsafe openat(descriptor, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard own >= 0 else { throw SystemFailure("read", path(of: []), errno: Glibc.errno) }
        guard let directory = unsafe fdopendir(own) else {
            let failure = Glibc.errno
            close(own)
            throw SystemFailure("read", path(of: []), errno: failure)
        }
        defer { unsafe closedir(directory) }
        var names: [[UInt8]] = []
        while true {
            Glibc.errno = 0
            guard let entry = unsafe readdir(directory) else { break }
            let name = unsafe withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                unsafe Array(bytes.prefix { $0 != 0 })
            }
            if TreeWalk.isName(name) { names.append(name) }
        }
        guard Glibc.errno == 0 else {
            throw SystemFailure("read", path(of: []), errno: Glibc.errno)
        }
        return names.sorted { $0.lexicographicallyPrecedes($1) }
    }

    /// Goes back to the directory above.
    func leaveDirectory() throws(SystemFailure) {
        guard levels.count > 1, let left = levels.popLast(), let child = left.descriptor else {
            return
        }
        defer { close(child) }
        let top = levels.count - 1
        guard levels[top].descriptor == nil else { return }
        let above = unsafe openat(child, "..", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        guard above >= 0 else { throw SystemFailure("open", path(of: []), errno: errno) }
        guard (try? identity(above, [])) == levels[top].identity else {
            close(above)
            // Somebody moved it while it was being filled.
            throw SystemFailure("go back to", path(of: []), errno: ESTALE)
        }
        levels[top].descriptor = above
    }

    /// Makes a link in the directory on top to the file that was made at `components`, counted
    /// from the bottom, if it still is the file with that identity.
    func link(
        _ name: [UInt8], to components: [[UInt8]], identity wanted: FileStatus.Identity
    ) throws(SystemFailure) {
        let cName = try checked(name)
        guard let first = levels.first?.descriptor, let last = components.last else {
            throw SystemFailure("link", path(of: name), errno: EINVAL)
        }
        var opened: Int32?
        defer { if let opened { close(opened) } }
        for component in components.dropLast() {
            let cComponent = try checked(component)
            let next = unsafe openat(
                opened ?? first, cComponent.bytes, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
            guard next >= 0 else { throw SystemFailure("link", path(of: name), errno: errno) }
            if let opened { close(opened) }
            opened = next
        }
        let source = try checked(last)
        guard
            unsafe linkat(opened ?? first, source.bytes, descriptor, cName.bytes, 0) == 0
        else { throw SystemFailure("link", path(of: name), errno: errno) }
        guard try identity(of: name) == wanted else {
            unsafe unlinkat(descriptor, cName.bytes, 0)
            throw SystemFailure("link", path(of: name), errno: ESTALE)
        }
    }

    /// The names from the bottom to an entry of the directory on top.
    func components(of name: [UInt8]) -> [[UInt8]] { levels.dropFirst().map(\.name) + [name] }

    /// The identity of an entry of the directory on top.
    func identity(of name: [UInt8]) throws(SystemFailure) -> FileStatus.Identity {
        let cName = try checked(name)
        guard let status = FileStatus.of(cName, in: descriptor) else {
            throw SystemFailure("look at", path(of: name), errno: errno)
        }
        return status.identity
    }

    /// The name for a call, if it is one that names an entry of a directory and nothing else.
    func checked(_ name: [UInt8]) throws(SystemFailure) -> CPath {
        guard TreeWalk.isName(name), let cName = CPath(name) else {
            throw SystemFailure("create", path(of: name), errno: EINVAL)
        }
        return cName
    }

    private func identity(
        _ descriptor: Int32, _ name: [UInt8]
    ) throws(SystemFailure) -> FileStatus.Identity {
        guard let status = try? FileStatus.of(descriptor: descriptor) else {
            throw SystemFailure("look at", path(of: name), errno: errno)
        }
        return status.identity
    }
}
