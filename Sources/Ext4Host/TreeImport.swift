internal import CLinux
public import Ext4
internal import Glibc

// Copies files of the host into a volume, with all that the volume can keep of them.
//
// A file gets its name when it is complete: until then it has none, so that a copy that ends
// early, by a failure or a crash, leaves no part of a file behind. A file that is there already
// stays until the new one takes its name.

/// A copy of files and trees of the host into a volume.
public final class TreeImport {
    /// How files are copied.
    public struct Options {
        /// Whether directories are copied, and symbolic links and special files as such. Without
        /// it, what a link leads to is copied, and what comes out of a pipe or a device.
        public var isRecursive = false
        /// Whether directories of another file system are left empty.
        public var staysOnFileSystem = false
        /// Whether a file in the volume that has the name makes place for the new one.
        public var replacesFiles = true
        /// The owner of everything; nil for the one on the host.
        public var userID: UInt32?
        /// The owning group of everything; nil for the one on the host.
        public var groupID: UInt32?
        /// What becomes of permissions; nil leaves them.
        public var permissions: ((_ old: UInt16, _ isDirectory: Bool) -> UInt16)?
        /// Asked now and then; with true the copy ends.
        public var isInterrupted: () -> Bool = { false }

        /// The defaults.
        public init() {}
    }

    /// Why a file is not copied, in words.
    private struct Refusal: Error {
        let words: String

        init(_ words: String) { self.words = words }
        init(_ action: String, errno: Int32) {
            words = "cannot \(action) it: \(SystemFailure.words(for: errno))"
        }
        init(_ error: Ext4Error) { words = "not put into the volume: \(error)" }
    }

    /// A file of the host, by a name in an open directory.
    private struct Source {
        let directory: Int32
        let name: CPath
        /// The path, for messages.
        let path: [UInt8]
        var status: stat
        var target: FileMetadata.Target { .entry(name, in: directory) }
        var isDirectory: Bool { status.st_mode & S_IFMT == S_IFDIR }
        var identity: FileStatus.Identity {
            FileStatus.Identity(device: UInt64(status.st_dev), inode: UInt64(status.st_ino))
        }
    }

    /// A directory that the copy is in.
    private struct Frame {
        /// What is still to be copied of it, in reverse.
        var names: [[UInt8]]
        let target: Inode
        /// Nil for one that keeps its own attributes.
        let source: Source?
    }

    private let volume: Volume
    private let options: Options
    private let tell: (TransferEvent) -> Void
    private var buffer = [UInt8](repeating: 0, count: 1 << 20)
    private var files: UInt64 = 0
    private var bytes: UInt64 = 0
    private var remarks: Set<String> = []
    /// Files with several names on the host, by what they are there, until each was copied.
    private var links: [FileStatus.Identity: (inode: Inode, remaining: UInt64)] = [:]
    /// The volume's own image: copied into itself it would never end.
    private let image: FileStatus.Identity?

    /// How many problems were told.
    public private(set) var problems: UInt64 = 0

    /// Prepares a copy.
    ///
    /// - Parameter tell: told how far it is and what could not be copied, by the path on the host.
    public init(
        _ volume: Volume, _ options: Options, tell: @escaping (TransferEvent) -> Void
    ) {
        self.volume = volume
        self.options = options
        self.tell = tell
        let device = volume.device as? FileDevice
        image = device.flatMap { try? FileStatus.of(descriptor: $0.fileDescriptor).identity }
    }

    /// Copies the file or tree at `path` of the host to a name in the volume. What cannot be
    /// copied is told as a problem.
    public func put(_ path: [UInt8], at place: VolumePlace) {
        attempt(path) { () throws(Refusal) in
            let source = try source(at: path)
            guard source.isDirectory else {
                guard !place.isDirectory else { throw Refusal(.notDirectory) }
                return try putFile(source, at: place)
            }
            guard options.isRecursive else {
                throw Refusal("is a directory: -r puts it with all that is in it")
            }
            try putTree(source, into: try makeDirectory(source, at: place), keepsTarget: false)
        }
    }

    /// Copies what is in the directory at `path` of the host into a directory of the volume,
    /// which stays as it is.
    public func putContents(of path: [UInt8], into directory: Inode) {
        attempt(path) { () throws(Refusal) in
            guard options.isRecursive else {
                throw Refusal("is a directory: -r puts all that is in it")
            }
            try putTree(try source(at: path), into: directory, keepsTarget: true)
        }
    }

    /// Copies what comes out of an open file to a name in the volume.
    public func put(
        contentsOf descriptor: Int32, called name: String, at place: VolumePlace, _ new: NewInode
    ) {
        attempt(Array(name.utf8)) { () throws(Refusal) in
            try checkReplacing(place)
            try makeFile(new, at: place, Array(name.utf8)) { (inode) throws(Refusal) in
                try copyStream(descriptor, to: inode, Array(name.utf8))
            }
        }
    }
}

// MARK: The walk

extension TreeImport {
    private func source(at path: [UInt8]) throws(Refusal) -> Source {
        guard let name = CPath(path) else { throw Refusal("find", errno: ENOENT) }
        var status = stat()
        let flags = options.isRecursive ? AT_SYMLINK_NOFOLLOW : 0
        guard unsafe fstatat(AT_FDCWD, name.bytes, &status, flags) == 0 else {
            throw Refusal("find", errno: errno)
        }
        return Source(directory: AT_FDCWD, name: name, path: path, status: status)
    }

    private func putTree(
        _ source: Source, into target: Inode, keepsTarget: Bool
    ) throws(Refusal) {
        do throws(SystemFailure) {
            let place = try DirectoryStack(root: source.path)
            var frames = [
                Frame(
                    names: try place.names().reversed(), target: target,
                    source: keepsTarget ? nil : source)
            ]
            while let top = frames.indices.last, !options.isInterrupted() {
                if let name = frames[top].names.popLast() {
                    if let frame = step(to: name, place, frames[top].target, source) {
                        frames.append(frame)
                    }
                    continue
                }
                let frame = frames.removeLast()
                if let directory = frame.source {
                    attempt(directory.path) { () throws(Refusal) in
                        try setMetadata(
                            of: directory, .descriptor(place.descriptor), to: frame.target)
                    }
                }
                if !frames.isEmpty { try place.leaveDirectory() }
            }
        } catch {
            throw Refusal("\(error)")
        }
    }

    /// Copies an entry of the directory on top; of a directory, what is to be gone on with.
    private func step(
        to name: [UInt8], _ place: DirectoryStack, _ target: Inode, _ root: Source
    ) -> Frame? {
        let path = place.path(of: name)
        var frame: Frame?
        attempt(path) { () throws(Refusal) in
            guard let cName = CPath(name) else { throw Refusal("find", errno: ENOENT) }
            var status = stat()
            guard
                unsafe fstatat(place.descriptor, cName.bytes, &status, AT_SYMLINK_NOFOLLOW) == 0
            else { throw Refusal("find", errno: errno) }
            let source = Source(
                directory: place.descriptor, name: cName, path: path, status: status)
            let goal = VolumePlace(FileName(name), in: target)
            guard source.isDirectory else { return try putFile(source, at: goal) }
            let directory = try makeDirectory(source, at: goal)
            let isOther = options.staysOnFileSystem && status.st_dev != root.status.st_dev
            do throws(SystemFailure) {
                try place.enterDirectory(name)
            } catch {
                throw Refusal("open", errno: error.errno)
            }
            var names: [[UInt8]] = []
            do throws(SystemFailure) {
                if !isOther { names = try place.names() }
            } catch {
                problem(path, Refusal("read", errno: error.errno).words)
            }
            frame = Frame(names: names.reversed(), target: directory, source: source)
        }
        return frame
    }

    /// Makes a directory in the volume; one that is there is as good.
    private func makeDirectory(
        _ source: Source, at place: VolumePlace
    ) throws(Refusal) -> Inode {
        try inVolume { () throws(Ext4Error) in
            if let existing = try volume.find(place) {
                guard existing.isDirectory else { throw .notDirectory }
                return existing
            }
            let inode = try volume.create(place.name, in: place.directory, new(for: source))
            try removeInheritedLists(of: inode)
            report(source.path, 0)
            return inode
        }
    }
}

// MARK: Files

extension TreeImport {
    private func putFile(_ source: Source, at place: VolumePlace) throws(Refusal) {
        let existing = try checkReplacing(place)
        let type = source.status.st_mode & S_IFMT
        let isShared = source.status.st_nlink > 1 && options.isRecursive
        if isShared, let known = links[source.identity] {
            links[source.identity]?.remaining -= 1
            if known.remaining <= 1 { links[source.identity] = nil }
            guard known.inode !== existing else { return }
            try inVolume { () throws(Ext4Error) in
                try volume.occupy(place, replaces: options.replacesFiles) {
                    (name) throws(Ext4Error) in
                    try volume.link(known.inode, as: name, in: place.directory)
                }
            }
            return report(source.path, 0)
        }
        let inode: Inode
        if type == S_IFREG || !options.isRecursive {
            inode = try putRegular(source, at: place)
        } else {
            inode = try putSpecial(source, at: place)
        }
        if isShared {
            links[source.identity] = (inode, UInt64(source.status.st_nlink) - 1)
        }
    }

    /// What has the name already; refused when it must stay.
    @discardableResult
    private func checkReplacing(_ place: VolumePlace) throws(Refusal) -> Inode? {
        let existing = try inVolume { () throws(Ext4Error) in try volume.find(place) }
        if let existing {
            guard !existing.isDirectory else {
                throw Refusal("a directory in the volume has that name")
            }
            guard options.replacesFiles else {
                throw Refusal("a file in the volume has that name")
            }
        }
        return existing
    }

    private func putRegular(_ source: Source, at place: VolumePlace) throws(Refusal) -> Inode {
        // A link is not followed that somebody puts there now, and nobody is waited for at a pipe
        // that was not asked for.
        let flags = options.isRecursive ? O_NOFOLLOW | O_NONBLOCK : 0
        let descriptor = unsafe openat(
            source.directory, source.name.bytes, O_RDONLY | O_CLOEXEC | flags)
        guard descriptor >= 0 else { throw Refusal("open", errno: errno) }
        defer { close(descriptor) }
        var source = source
        guard unsafe fstat(descriptor, &source.status) == 0 else {
            throw Refusal("look at", errno: errno)
        }
        guard source.identity != image else { throw Refusal("is the image itself: skipped") }
        let isFile = source.status.st_mode & S_IFMT == S_IFREG
        guard isFile || !options.isRecursive else {
            throw Refusal("became something else while it was to be copied")
        }
        var new = new(for: source)
        new.mode = FileMode(rawValue: 0o100000 | new.mode.permissions)
        let found = source
        return try makeFile(new, at: place, source.path) { (inode) throws(Refusal) in
            if isFile {
                try copyData(descriptor, of: found, to: inode)
            } else {
                try copyStream(descriptor, to: inode, found.path)
            }
            try removeLists(of: inode)
            // What comes out of a pipe has no times of its own.
            guard isFile else { return }
            try setMetadata(of: found, .descriptor(descriptor), to: inode)
        }
    }

    private func removeLists(of inode: Inode) throws(Refusal) {
        try inVolume { () throws(Ext4Error) in try removeInheritedLists(of: inode) }
    }

    /// Makes a file, fills it, and then gives it its name.
    @discardableResult
    private func makeFile(
        _ new: NewInode, at place: VolumePlace, _ path: [UInt8],
        _ fill: (Inode) throws(Refusal) -> Void
    ) throws(Refusal) -> Inode {
        let inode = try inVolume { () throws(Ext4Error) in
            try volume.createUnnamed(in: place.directory, new)
        }
        // Without a name it goes here. What goes wrong then is mended by the next one who opens
        // the volume.
        defer { try? volume.release(inode.number) }
        report(path, 0)
        try fill(inode)
        guard !options.isInterrupted() else { throw Refusal("interrupted: left out") }
        try inVolume { () throws(Ext4Error) in
            try volume.occupy(place, replaces: options.replacesFiles) { (name) throws(Ext4Error) in
                try volume.link(inode, as: name, in: place.directory)
            }
        }
        return inode
    }

    private func putSpecial(_ source: Source, at place: VolumePlace) throws(Refusal) -> Inode {
        var new = new(for: source)
        switch source.status.st_mode & S_IFMT {
        case S_IFLNK: new.target = try target(of: source)
        case S_IFCHR, S_IFBLK:
            let device = UInt64(source.status.st_rdev)
            new.device = DeviceNumber(
                major: FileStatus.major(device), minor: FileStatus.minor(device))
        default: break
        }
        let described = new
        var made: Inode?
        try inVolume { () throws(Ext4Error) in
            try volume.occupy(place, replaces: options.replacesFiles) { (name) throws(Ext4Error) in
                made = try volume.create(name, in: place.directory, described)
            }
        }
        guard let inode = made else { throw Refusal(.notFound) }
        report(source.path, 0)
        if inode.type != .symlink { try removeLists(of: inode) }
        try setMetadata(of: source, source.target, to: inode)
        return inode
    }

    private func target(of source: Source) throws(Refusal) -> [UInt8] {
        var bytes = [CChar](repeating: 0, count: 4_097)
        let count = unsafe readlinkat(source.directory, source.name.bytes, &bytes, bytes.count)
        guard count >= 0 else { throw Refusal("read", errno: errno) }
        return bytes.prefix(count).map { UInt8(bitPattern: $0) }
    }

    /// What the volume is to make for a file of the host.
    private func new(for source: Source) -> NewInode {
        let status = source.status
        let isLink = status.st_mode & S_IFMT == S_IFLNK
        var mode = UInt16(truncatingIfNeeded: status.st_mode)
        if let change = options.permissions, !isLink {
            mode = mode & 0o170000 | change(mode & 0o7777, source.isDirectory) & 0o7777
        }
        return NewInode(
            mode: FileMode(rawValue: mode), userID: options.userID ?? status.st_uid,
            groupID: options.groupID ?? status.st_gid)
    }
}

// MARK: Contents

extension TreeImport {
    /// Copies what a file holds; its holes stay holes.
    private func copyData(
        _ descriptor: Int32, of source: Source, to inode: Inode
    ) throws(Refusal) {
        var position: off_t = 0
        while !options.isInterrupted() {
            var start = linux_next_data(descriptor, position)
            var end = off_t.max
            if start < 0 {
                if errno == ENXIO { break }
                // The file system does not know of holes.
                start = position
            } else {
                let hole = linux_next_hole(descriptor, start)
                if hole > start { end = hole }
            }
            position = start
            while position < end, !options.isInterrupted() {
                let wanted = min(off_t(buffer.count), end - position)
                let count = unsafe pread(descriptor, &buffer, Int(wanted), position)
                if count < 0, errno == EINTR { continue }
                guard count >= 0 else { throw Refusal("read", errno: errno) }
                guard count > 0 else { break }
                try write(count, to: inode, at: UInt64(position), source.path)
                position += off_t(count)
            }
            // The file ends here, or somebody made it shorter.
            guard position == end else { break }
        }
        let size = UInt64(max(position, source.status.st_size))
        guard inode.size < size else { return }
        var changes = AttributeChanges()
        changes.size = size
        let end = changes
        try inVolume { () throws(Ext4Error) in try volume.setAttributes(end, of: inode) }
    }

    /// Copies what can only be read from its beginning to its end.
    private func copyStream(
        _ descriptor: Int32, to inode: Inode, _ path: [UInt8]
    ) throws(Refusal) {
        var position: UInt64 = 0
        var isAtEnd = false
        while !isAtEnd, !options.isInterrupted() {
            var filled = 0
            while filled < buffer.count, !isAtEnd, !options.isInterrupted() {
                let count = unsafe buffer.withUnsafeMutableBytes {
                    unsafe read(
                        descriptor, $0.baseAddress?.advanced(by: filled), $0.count - filled)
                }
                if count < 0, errno == EINTR { continue }
                guard count >= 0 else { throw Refusal("read", errno: errno) }
                isAtEnd = count == 0
                filled += count
            }
            try write(filled, to: inode, at: position, path)
            position += UInt64(filled)
        }
    }

    /// Writes the first bytes of the buffer.
    private func write(
        _ count: Int, to inode: Inode, at position: UInt64, _ path: [UInt8]
    ) throws(Refusal) {
        do throws(Ext4Error) {
            let filled = buffer
            let bytes = unsafe filled.span.bytes
            try volume.write(bytes.extracting(first: count), to: inode, at: position)
        } catch {
            throw Refusal(error)
        }
        report(path, UInt64(count), isNew: false)
    }
}

// MARK: Metadata

extension TreeImport {
    /// Gives an inode the owner, attributes, permissions and times of a file of the host, in the
    /// order in which one does not undo the other.
    private func setMetadata(
        of source: Source, _ target: FileMetadata.Target, to inode: Inode
    ) throws(Refusal) {
        let new = new(for: source)
        var owner = AttributeChanges()
        if inode.userID != new.userID { owner.userID = new.userID }
        if inode.groupID != new.groupID { owner.groupID = new.groupID }
        var rest = AttributeChanges()
        rest.accessTime = .at(Timestamp(source.status.st_atim))
        rest.modificationTime = .at(Timestamp(source.status.st_mtim))
        if inode.type != .symlink { rest.permissions = new.mode.permissions }
        let (first, last) = (owner, rest)
        if first != AttributeChanges() {
            try inVolume { () throws(Ext4Error) in try volume.setAttributes(first, of: inode) }
        }
        copyAttributes(HostAttributes(target: target), of: source, to: inode)
        try inVolume { () throws(Ext4Error) in try volume.setAttributes(last, of: inode) }
    }

    private func copyAttributes(
        _ attributes: HostAttributes, of source: Source, to inode: Inode
    ) {
        var name: [UInt8] = []
        do throws(HostError) {
            for next in try attributes.names() {
                name = next
                let value = try attributes.value(of: name)
                do throws(Ext4Error) {
                    try volume.setExtendedAttribute(FileName(name), to: value, of: inode)
                } catch {
                    let words = "the extended attribute \(Quoted(name)) is left out: \(error)"
                    if error == .notSupported || error == .notPermitted {
                        remark(source.path, words)
                    } else {
                        problem(source.path, words)
                    }
                }
            }
        } catch {
            let what = name.isEmpty ? "extended attributes" : "extended attribute \(Quoted(name))"
            let words = "cannot read its \(what): \(SystemFailure.words(for: error.errno))"
            if error.errno == ENODATA { return }
            problem(source.path, words)
        }
    }

    /// Takes away the lists that something new got from its directory.
    private func removeInheritedLists(of inode: Inode) throws(Ext4Error) {
        for name in try volume.extendedAttributeNames(of: inode)
        where name.bytes.starts(with: Array("system.posix_acl_".utf8)) {
            try volume.removeExtendedAttribute(name, of: inode)
        }
    }
}

// MARK: What is told

extension TreeImport {
    private func inVolume<Result>(
        _ change: () throws(Ext4Error) -> Result
    ) throws(Refusal) -> Result {
        do throws(Ext4Error) {
            return try change()
        } catch {
            throw Refusal(error)
        }
    }

    private func attempt(_ path: [UInt8], _ part: () throws(Refusal) -> Void) {
        do throws(Refusal) {
            try part()
        } catch {
            problem(path, error.words)
        }
    }

    private func problem(_ path: [UInt8], _ words: String) {
        problems += 1
        tell(.problem(path: path, words))
    }

    private func remark(_ path: [UInt8], _ words: String) {
        if remarks.insert(words).inserted { tell(.remark(path: path, words)) }
    }

    private func report(_ path: [UInt8], _ count: UInt64, isNew: Bool = true) {
        if isNew { files += 1 }
        bytes += count
        tell(.progress(path: path, files: files, bytes: bytes))
    }
}
