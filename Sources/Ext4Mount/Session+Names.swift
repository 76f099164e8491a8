internal import CFuse3
internal import Ext4
internal import Glibc

// Requests about names: lookup, symbolic links, directories.

extension Session {
    /// The longest name of ext4. FUSE passes on longer ones.
    static let nameLimit = 255

    func lookup(
        _ request: fuse_req_t, in parent: fuse_ino_t, _ name: UnsafePointer<CChar>?
    ) throws(Ext4Error) {
        guard let name = unsafe name else { throw .invalidArgument }
        let length = unsafe strlen(name)
        guard length <= Self.nameLimit else { throw .nameTooLong }
        let directory = try inode(ofNode: parent)

        // An exported file is found again by its node and the name "."; it need not be a
        // directory, and it may be gone.
        if length == 1, unsafe name[0] == CChar(bitPattern: UInt8(ascii: ".")) {
            guard directory.linkCount > 0, directory.type != .unknown else {
                unsafe fuse_reply_err(request, ESTALE)
                return
            }
            unsafe replyEntry(request, directory)
            return
        }

        let found: Inode
        do throws(Ext4Error) {
            let bytes = unsafe UnsafeRawBufferPointer(start: name, count: length)
            found = try volume.lookup(unsafe bytes.bytes, in: directory)
        } catch {
            guard error == .notFound else { throw error }
            // Node 0 with a time: the kernel keeps in mind that there is no such name.
            var entry = fuse_entry_param()
            entry.entry_timeout = Self.forEver
            unsafe fuse_reply_entry(request, &entry)
            return
        }
        unsafe replyEntry(request, found)
    }

    /// Tells the kernel of an inode, which it then knows until it forgets it.
    func replyEntry(_ request: fuse_req_t, _ inode: Inode) {
        var entry = fuse_entry_param()
        fill(&entry, from: inode)
        volume.acquire(inode)
        // The caller was interrupted, and the kernel dropped the answer.
        if unsafe fuse_reply_entry(request, &entry) != 0 {
            forget(Self.node(of: inode.number), 1)
        }
    }

    /// Takes note of what the kernel does not know any more.
    func forget(_ node: fuse_ino_t, _ count: UInt64) {
        do throws(Ext4Error) {
            try volume.release(try Self.inodeNumber(ofNode: node), count: count)
        } catch {
            report(error)
        }
    }

    func fill(_ entry: inout fuse_entry_param, from inode: Inode) {
        entry.ino = Self.node(of: inode.number)
        // The kernel takes the root for the same whatever happens.
        entry.generation = inode.number == .root ? 0 : UInt64(inode.generation)
        fill(&entry.attr, from: inode)
        entry.attr_timeout = Self.forEver
        entry.entry_timeout = Self.forEver
    }

    func readLink(_ request: fuse_req_t, _ node: fuse_ino_t) throws(Ext4Error) {
        var target = try volume.symlinkTarget(of: try inode(ofNode: node))
        target.append(0)
        unsafe target.withUnsafeBufferPointer { target in
            _ = unsafe target.withMemoryRebound(to: CChar.self) { target in
                unsafe fuse_reply_readlink(request, target.baseAddress)
            }
        }
    }

    // MARK: - Directories

    func readDirectory(
        _ request: fuse_req_t, _ node: fuse_ino_t, size: Int, from position: off_t
    ) throws(Ext4Error) {
        let directory = try inode(ofNode: node)
        let page = try unsafe DirectoryPage(request, size: size)
        var attributes = stat()
        try volume.readDirectory(directory, from: UInt64(bitPattern: Int64(position))) {
            entry throws(Ext4Error) in
            attributes.st_ino = ino_t(entry.inode.rawValue)
            attributes.st_mode = Self.modeBits(of: entry.type)
            return unsafe page.append(entry) { buffer, count, name, next in
                unsafe fuse_add_direntry(request, buffer, count, name, &attributes, next)
            }
        }
        page.reply()
    }

    func readDirectoryPlus(
        _ request: fuse_req_t, _ node: fuse_ino_t, size: Int, from position: off_t
    ) throws(Ext4Error) {
        let directory = try inode(ofNode: node)
        let page = try unsafe DirectoryPage(request, size: size)
        try volume.readDirectory(directory, from: UInt64(bitPattern: Int64(position))) {
            entry throws(Ext4Error) in
            var parameters = fuse_entry_param()
            parameters.attr.st_ino = ino_t(entry.inode.rawValue)
            parameters.attr.st_mode = Self.modeBits(of: entry.type)
            // Node 0 tells the kernel to take the name and the type only: so it is for `.` and
            // `..`, and for an inode that cannot be read, which fails when it is looked up.
            var known: Inode?
            if page.hasRoom(forNameOf: entry.name.bytes.count), !entry.name.isDotOrDotDot {
                do throws(Ext4Error) {
                    let inode = try volume.inode(entry.inode)
                    fill(&parameters, from: inode)
                    known = inode
                } catch {
                    report(error)
                }
            }
            let isAdded = unsafe page.append(entry) { buffer, count, name, next in
                unsafe fuse_add_direntry_plus(request, buffer, count, name, &parameters, next)
            }
            if isAdded, let known {
                volume.acquire(known)
                page.acquired.append(known.number)
            }
            return isAdded
        }
        if !page.reply() {
            for number in page.acquired { forget(Self.node(of: number), 1) }
        }
    }

    /// The bits of `st_mode` that give an entry's type.
    private static func modeBits(of type: FileType) -> mode_t {
        switch type {
        case .unknown: 0
        case .regular: S_IFREG
        case .directory: S_IFDIR
        case .characterDevice: S_IFCHR
        case .blockDevice: S_IFBLK
        case .fifo: S_IFIFO
        case .socket: S_IFSOCK
        case .symlink: S_IFLNK
        }
    }
}

extension FileName {
    fileprivate var isDotOrDotDot: Bool {
        let dot = UInt8(ascii: ".")
        return bytes == [dot] || bytes == [dot, dot]
    }
}

/// One reply of directory entries, filled in a buffer of the thread.
@safe
private final class DirectoryPage {
    private let request: fuse_req_t
    private let buffer: UnsafeMutableRawBufferPointer
    private var used = 0
    /// What the kernel knows once it has the reply.
    var acquired: [InodeNumber] = []
    private var name = [CChar](repeating: 0, count: 256)

    init(_ request: fuse_req_t, size: Int) throws(Ext4Error) {
        unsafe self.request = unsafe request
        unsafe buffer = try unsafe Worker.buffer(of: size)
    }

    /// Whether an entry with attributes and a name of that length could still fit: an inode that
    /// is not sent need not be read.
    func hasRoom(forNameOf length: Int) -> Bool {
        unsafe buffer.count - used >= 128 + 24 + length
    }

    /// Adds an entry by `add`, which returns the bytes that it needs; false when there is no room.
    func append(
        _ entry: DirectoryEntry,
        by add: (
            _ buffer: UnsafeMutablePointer<CChar>?, _ count: Int, _ name: UnsafePointer<CChar>?,
            _ next: off_t
        ) -> Int
    ) -> Bool {
        let bytes = entry.name.bytes
        guard bytes.count < name.count else { return true }
        for i in bytes.indices { name[i] = CChar(bitPattern: bytes[i]) }
        name[bytes.count] = 0
        let room = unsafe buffer.count - used
        let next = off_t(bitPattern: UInt(entry.next))
        let needed = unsafe name.withUnsafeBufferPointer { name in
            unsafe add(
                buffer.baseAddress?.advanced(by: used).assumingMemoryBound(to: CChar.self),
                room, name.baseAddress, next)
        }
        guard needed <= room else { return false }
        used += needed
        return true
    }

    /// Sends the page; false when the kernel did not take it.
    @discardableResult
    func reply() -> Bool {
        unsafe fuse_reply_buf(
            request, buffer.baseAddress?.assumingMemoryBound(to: CChar.self), used) == 0
    }
}
