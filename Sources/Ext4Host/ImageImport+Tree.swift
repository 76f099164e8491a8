internal import CLinux
public import Ext4
internal import Glibc

// A tree of the host. A regular file costs five calls of the system: openat, fstat, pread,
// flistxattr, close, and what its attributes and holes need. The order is that of the names, files
// before directories, whatever the order of readdir: so the same tree makes the same image.

extension ImageImport {
    /// A file with several names on the host, until each was met.
    private struct Linked {
        let node: ImageNode
        var remaining: UInt64
    }

    /// A directory that the walk is in.
    private struct Frame {
        let node: ImageNode
        let listing: DirectoryListing
        /// The next directory in it.
        var next = 0
    }

    /// What a walk knows.
    private struct Walk {
        let place: DirectoryStack
        /// The device that it began on.
        let device: UInt64
        var links: [FileStatus.Identity: Linked] = [:]
        let image: FileStatus.Identity?
    }

    /// Takes over all that is in a directory of the host, and its own owner, permissions, times and
    /// attributes as those of `target`.
    ///
    /// - Throws: when the directory cannot be read, or nothing can be written any more.
    public func addTree(at path: [UInt8], to target: ImageNode = .root) throws(Failure) {
        let place: DirectoryStack
        var status = stat()
        do throws(SystemFailure) {
            place = try DirectoryStack(root: path)
            guard unsafe fstat(place.descriptor, &status) == 0 else {
                throw SystemFailure("look at", path, errno: errno)
            }
        } catch {
            throw Failure(error.description)
        }
        let descriptor = (builder.device as? FileDevice)?.fileDescriptor
        var walk = Walk(
            place: place, device: UInt64(status.st_dev),
            image: descriptor.flatMap { try? FileStatus.of(descriptor: $0).identity })
        let new = node(for: status, .descriptor(place.descriptor), path)
        _ = try attempt(path) { () throws(Ext4Error) in try builder.set(target, to: new) }
        var frames: [Frame] = []
        if let frame = try enter(target, &walk) { frames.append(frame) }
        while let top = frames.indices.last {
            if let frame = try nextDirectory(&frames[top], &walk) {
                frames.append(frame)
            } else if frames[top].next >= frames[top].listing.entries.count {
                frames.removeLast()
                do throws(SystemFailure) {
                    if !frames.isEmpty { try place.leaveDirectory() }
                } catch {
                    throw Failure(error.description)
                }
            }
        }
    }

    /// Takes over what is no directory of the one on top.
    private func enter(_ node: ImageNode, _ walk: inout Walk) throws(Failure) -> Frame? {
        var listing: DirectoryListing
        do throws(HostError) {
            listing = try DirectoryListing(walk.place.descriptor)
        } catch {
            problem(
                walk.place.path(of: []), "cannot read it: \(SystemFailure.words(for: error.errno))")
            do throws(SystemFailure) {
                if !walk.place.isAtRoot { try walk.place.leaveDirectory() }
            } catch {
                throw Failure(error.description)
            }
            return nil
        }
        for index in listing.entries.indices {
            let entry = listing.entries[index]
            switch entry.type {
            case UInt8(DT_DIR): break
            case UInt8(DT_REG): try addRegular(entry, listing, node, &walk)
            default:
                if try addOther(entry, listing, node, &walk) {
                    listing.setType(UInt8(DT_DIR), at: index)
                }
            }
        }
        return Frame(node: node, listing: listing)
    }

    /// Goes into the next directory of a frame; nil when there is none left, or it was not taken.
    private func nextDirectory(
        _ frame: inout Frame, _ walk: inout Walk
    ) throws(Failure) -> Frame? {
        while frame.next < frame.listing.entries.count {
            let entry = frame.listing.entries[frame.next]
            frame.next += 1
            guard entry.type == UInt8(DT_DIR) else { continue }
            let name = frame.listing.name(entry)
            do throws(SystemFailure) {
                try walk.place.enterDirectory(name)
            } catch {
                problem(error.path, "cannot open it: \(SystemFailure.words(for: error.errno))")
                continue
            }
            var status = stat()
            guard unsafe fstat(walk.place.descriptor, &status) == 0 else {
                throw Failure("cannot look at \(Quoted(walk.place.path(of: [])))")
            }
            let path = walk.place.path(of: [])
            let new = node(for: status, .descriptor(walk.place.descriptor), path)
            let made = try attempt(path) { () throws(Ext4Error) in
                try builder.add(FileName(name), in: frame.node, new)
            }
            try report(path)
            let isOther = options.staysOnFileSystem && UInt64(status.st_dev) != walk.device
            if let made, !isOther { return try enter(made, &walk) }
            do throws(SystemFailure) {
                try walk.place.leaveDirectory()
            } catch {
                throw Failure(error.description)
            }
        }
        return nil
    }

    // MARK: Files

    private func addRegular(
        _ entry: DirectoryListing.Entry, _ listing: DirectoryListing, _ directory: ImageNode,
        _ walk: inout Walk
    ) throws(Failure) {
        let parent = walk.place.descriptor
        func open() -> Int32 {
            unsafe listing.withName(entry) { name in
                unsafe openat(
                    parent, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | accessFlag)
            } ?? -1
        }
        var descriptor = open()
        if descriptor < 0, errno == EPERM, accessFlag != 0 {
            // Somebody else's file: only its owner may read it without a trace.
            accessFlag = 0
            descriptor = open()
        }
        let place = walk.place
        let path = { place.path(of: listing.name(entry)) }
        guard descriptor >= 0 else {
            return problem(path(), "cannot open it: \(SystemFailure.words(for: errno))")
        }
        defer { close(descriptor) }
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0 else {
            return problem(path(), "cannot look at it: \(SystemFailure.words(for: errno))")
        }
        guard status.st_mode & S_IFMT == S_IFREG else {
            return problem(path(), "it became something else while it was to be read")
        }
        if try addKnown(status, entry, listing, directory, &walk) { return }
        let identity = Self.identity(status)
        guard identity != walk.image else {
            return remark(path(), "it is the image itself: left out")
        }
        let new = node(for: status, .descriptor(descriptor), path())
        let size = UInt64(max(status.st_size, 0))
        let hasHoles = UInt64(status.st_blocks) &* 512 < size
        let made = try attempt(path()) { () throws(Ext4Error) in
            try listing.withBytes(entry) { (name) throws(Ext4Error) in
                try builder.openFile(name, in: directory, new, size: size, hasHoles: hasHoles)
            }
        }
        guard let made else { return }
        let words = try copy(descriptor, size: size, hasHoles: hasHoles, path)
        if let words { problem(path(), words) }
        if status.st_nlink > 1 {
            walk.links[identity] = Linked(node: made, remaining: UInt64(status.st_nlink) - 1)
        }
        try report(path())
    }

    /// Copies the contents of a file into the one that is open in the image, and closes that.
    ///
    /// - Returns: what went wrong.
    private func copy(
        _ descriptor: Int32, size: UInt64, hasHoles: Bool, _ path: () -> [UInt8]
    ) throws(Failure) -> String? {
        var position: UInt64 = 0
        var end = size
        var failure: String?
        while position < size, failure == nil {
            if hasHoles {
                let data = linux_next_data(descriptor, Int(clamping: position))
                if data < 0, errno == ENXIO { break }
                // A file system that does not know of holes has data everywhere.
                position = data < 0 ? position : min(UInt64(data), size)
                let hole = linux_next_hole(descriptor, Int(clamping: position))
                end = hole > 0 ? min(UInt64(hole), size) : size
                guard position < end else { break }
                _ = try attempt(path()) { () throws(Ext4Error) in
                    try builder.skip(to: position)
                    try builder.reserve(end &- position)
                }
            }
            while position < end {
                var number: Int32 = 0
                let count = try attempt(path()) { () throws(Ext4Error) in
                    try builder.fill(upTo: Int(clamping: min(end &- position, 1 << 20))) { bytes in
                        unsafe bytes.withUnsafeMutableBytes { target in
                            let count = unsafe pread(
                                descriptor, target.baseAddress, target.count, off_t(position))
                            if count < 0 { number = errno }
                            return count
                        }
                    }
                }
                if number == EINTR { continue }
                guard number == 0, let count else {
                    failure = "cannot read it: \(SystemFailure.words(for: number))"
                    break
                }
                guard count > 0 else {
                    failure = "it became shorter while it was read"
                    break
                }
                position &+= UInt64(count)
                if position < size { try showProgress(path()) }
            }
        }
        let closed: Void? = try attempt(path()) { () throws(Ext4Error) in
            try builder.closeFile(size: failure == nil ? size : position)
        }
        if closed == nil { builder.abandonFile() }
        return failure
    }

    /// Makes one more name for a file that has one already.
    private func addKnown(
        _ status: stat, _ entry: DirectoryListing.Entry, _ listing: DirectoryListing,
        _ directory: ImageNode, _ walk: inout Walk
    ) throws(Failure) -> Bool {
        guard status.st_nlink > 1 else { return false }
        let identity = Self.identity(status)
        guard let known = walk.links[identity] else { return false }
        let name = listing.name(entry)
        _ = try attempt(walk.place.path(of: name)) { () throws(Ext4Error) in
            try builder.addLink(FileName(name), in: directory, to: known.node)
        }
        walk.links[identity]?.remaining -= 1
        if known.remaining <= 1 { walk.links[identity] = nil }
        return true
    }

    /// Takes over what is no regular file.
    ///
    /// - Returns: whether it is a directory, which is not taken over here.
    private func addOther(
        _ entry: DirectoryListing.Entry, _ listing: DirectoryListing, _ directory: ImageNode,
        _ walk: inout Walk
    ) throws(Failure) -> Bool {
        let parent = walk.place.descriptor
        let place = walk.place
        let path = { place.path(of: listing.name(entry)) }
        var status = stat()
        let result = unsafe listing.withName(entry) { name in
            unsafe fstatat(parent, name, &status, AT_SYMLINK_NOFOLLOW)
        }
        guard result == 0 else {
            problem(path(), "cannot look at it: \(SystemFailure.words(for: errno))")
            return false
        }
        switch status.st_mode & S_IFMT {
        case S_IFDIR: return true
        case S_IFREG:
            try addRegular(entry, listing, directory, &walk)
            return false
        default: break
        }
        if try addKnown(status, entry, listing, directory, &walk) { return false }
        guard let name = CPath(listing.name(entry)) else { return false }
        var new = node(for: status, .entry(name, in: parent), path())
        switch status.st_mode & S_IFMT {
        case S_IFLNK:
            var bytes = [CChar](repeating: 0, count: 4_097)
            let count = unsafe readlinkat(parent, name.bytes, &bytes, bytes.count)
            guard count >= 0 else {
                problem(path(), "cannot read it: \(SystemFailure.words(for: errno))")
                return false
            }
            new.target = bytes.prefix(count).map { UInt8(bitPattern: $0) }
        case S_IFCHR, S_IFBLK:
            let device = UInt64(status.st_rdev)
            new.device = DeviceNumber(
                major: FileStatus.major(device), minor: FileStatus.minor(device))
        default: break
        }
        let described = new
        let made = try attempt(path()) { () throws(Ext4Error) in
            try listing.withBytes(entry) { (name) throws(Ext4Error) in
                try builder.add(name, in: directory, described)
            }
        }
        if let made, status.st_nlink > 1 {
            walk.links[Self.identity(status)] = Linked(
                node: made, remaining: UInt64(status.st_nlink) - 1)
        }
        try report(path())
        return false
    }

    // MARK: What they say of themselves

    private static func identity(_ status: stat) -> FileStatus.Identity {
        FileStatus.Identity(device: UInt64(status.st_dev), inode: UInt64(status.st_ino))
    }

    private func node(
        for status: stat, _ target: FileMetadata.Target, _ path: @autoclosure () -> [UInt8]
    ) -> NewImageNode {
        var new = described(
            mode: UInt16(truncatingIfNeeded: status.st_mode), userID: status.st_uid,
            groupID: status.st_gid)
        new.modificationTime = Timestamp(status.st_mtim)
        new.accessTime = Timestamp(status.st_atim)
        new.changeTime = Timestamp(status.st_ctim)
        let attributes = HostAttributes(target: target)
        var found: [ExtendedAttribute] = []
        do throws(HostError) {
            for name in try attributes.names() {
                found.append(
                    ExtendedAttribute(name: FileName(name), value: try attributes.value(of: name)))
            }
        } catch {
            if error.errno != ENODATA {
                problem(
                    path(),
                    "cannot read its extended attributes: \(SystemFailure.words(for: error.errno))")
            }
        }
        // The system lists them in no order that it promises.
        if found.count > 1 {
            found.sort { $0.name.bytes.lexicographicallyPrecedes($1.name.bytes) }
        }
        new.attributes = accepted(
            permitted(found, new.mode), of: new.mode.type, path())
        return new
    }
}
