internal import CFuse3
internal import Ext4
internal import Glibc

// Requests about what is known of a file but its contents: attributes, extended attributes, flags,
// and the whole volume's statistics.

extension Session {
    func attributes(_ request: fuse_req_t, _ node: fuse_ino_t) throws(Ext4Error) {
        var attributes = stat()
        fill(&attributes, from: try inode(ofNode: node))
        unsafe fuse_reply_attr(request, &attributes, Self.forEver)
    }

    func fill(_ attributes: inout stat, from file: Inode) {
        let inode = file.attributes
        attributes.st_ino = ino_t(file.number.rawValue)
        attributes.st_mode = mode_t(inode.mode.rawValue)
        attributes.st_nlink = nlink_t(inode.linkCount)
        attributes.st_uid = inode.userID
        attributes.st_gid = inode.groupID
        attributes.st_rdev = inode.device?.packed ?? 0
        attributes.st_size = off_t(clamping: volume.shownSize(of: file))
        attributes.st_blksize = blksize_t(volume.blockSize)
        attributes.st_blocks = blkcnt_t(clamping: inode.blocks512)
        attributes.st_atim = timespec(inode.accessTime)
        attributes.st_mtim = timespec(inode.modificationTime)
        attributes.st_ctim = timespec(inode.changeTime)
    }

    // MARK: - FUSE_STATX

    /// The answer to a request that libfuse does not know: attributes with the creation time.
    func extendedStatus(_ request: ext4_fuse_request) -> ext4_fuse_statx {
        var answer = ext4_fuse_statx()
        answer.unique = request.unique
        do throws(Ext4Error) {
            fill(&answer, from: try inode(ofNode: request.node))
            answer.length = UInt32(MemoryLayout<ext4_fuse_statx>.size)
        } catch {
            report(error)
            answer.error = -error.errorNumber
            answer.length = UInt32(Self.replyHeadSize)
        }
        return answer
    }

    /// The size of `struct fuse_out_header`, which is all of a reply that is an error.
    static let replyHeadSize = 16

    private func fill(_ answer: inout ext4_fuse_statx, from file: Inode) {
        let inode = file.attributes
        answer.valid_seconds = UInt64(Self.forEver)
        answer.mask = UInt32(STATX_BASIC_STATS)
        answer.block_size = UInt32(clamping: volume.blockSize)
        answer.attributes = Self.statusAttributes(of: inode.flags)
        answer.attributes_mask = Self.statusAttributes(of: InodeFlags(rawValue: .max))
        answer.link_count = inode.linkCount
        answer.uid = inode.userID
        answer.gid = inode.groupID
        answer.mode = inode.mode.rawValue
        answer.inode = UInt64(file.number.rawValue)
        answer.size = volume.shownSize(of: file)
        answer.blocks = inode.blocks512
        answer.access_time = ext4_fuse_time(inode.accessTime)
        answer.modification_time = ext4_fuse_time(inode.modificationTime)
        answer.change_time = ext4_fuse_time(inode.changeTime)
        if let creationTime = inode.creationTime {
            answer.mask |= UInt32(STATX_BTIME)
            answer.creation_time = ext4_fuse_time(creationTime)
        }
        if let device = inode.device {
            answer.device_major = device.major
            answer.device_minor = device.minor
        }
    }

    /// `stx_attributes`: the flags that have a bit there.
    private static func statusAttributes(of flags: InodeFlags) -> UInt64 {
        var attributes: Int32 = 0
        if flags.contains(.compressed) { attributes |= STATX_ATTR_COMPRESSED }
        if flags.contains(.immutable) { attributes |= STATX_ATTR_IMMUTABLE }
        if flags.contains(.appendOnly) { attributes |= STATX_ATTR_APPEND }
        if flags.contains(.noDump) { attributes |= STATX_ATTR_NODUMP }
        if flags.contains(.encrypted) { attributes |= STATX_ATTR_ENCRYPTED }
        if flags.contains(.verity) { attributes |= STATX_ATTR_VERITY }
        return UInt64(attributes)
    }

    // MARK: - Extended attributes

    func extendedAttribute(
        _ request: fuse_req_t, _ node: fuse_ino_t, _ name: UnsafePointer<CChar>?, size: Int
    ) throws(Ext4Error) {
        guard let name = unsafe name else { throw .invalidArgument }
        let bytes = unsafe UnsafeRawBufferPointer(start: name, count: strlen(name))
        let fileName = FileName(unsafe [UInt8](bytes))
        guard isShown(fileName) else { throw .notSupported }
        let value = try volume.extendedAttribute(fileName, of: try inode(ofNode: node))
        unsafe Self.reply(request, value, size: size)
    }

    func extendedAttributeNames(
        _ request: fuse_req_t, _ node: fuse_ino_t, size: Int
    ) throws(Ext4Error) {
        // As the kernel's ext4: `trusted.` is listed for the system administrator only.
        let isAdministrator = unsafe fuse_req_ctx(request)?.pointee.uid == 0
        var list: [UInt8] = []
        for name in try volume.extendedAttributeNames(of: try inode(ofNode: node)) {
            guard isShown(name), isAdministrator || !name.starts(with: "trusted.") else { continue }
            list += name.bytes
            list.append(0)
        }
        unsafe Self.reply(request, list, size: size)
    }

    /// Whether the mount's options let an attribute be seen.
    func isShown(_ name: FileName) -> Bool {
        if !options.accessControlLists, name.starts(with: "system.posix_acl_") { return false }
        if !options.userAttributes, name.starts(with: "user.") { return false }
        return true
    }

    /// Answers with a value, or with its length when the caller brought no buffer.
    private static func reply(_ request: fuse_req_t, _ value: [UInt8], size: Int) {
        if size == 0 {
            unsafe fuse_reply_xattr(request, value.count)
        } else if value.count > size {
            unsafe fuse_reply_err(request, ERANGE)
        } else {
            unsafe reply(request, value)
        }
    }

    private static func reply(_ request: fuse_req_t, _ bytes: [UInt8]) {
        unsafe bytes.withUnsafeBytes { bytes in
            _ = unsafe fuse_reply_buf(
                request, bytes.baseAddress?.assumingMemoryBound(to: CChar.self), bytes.count)
        }
    }

    // MARK: - The volume

    func statistics(_ request: fuse_req_t) {
        let statistics = volume.statistics()
        var answer = statvfs()
        answer.f_bsize = UInt(statistics.blockSize)
        answer.f_frsize = UInt(statistics.blockSize)
        answer.f_blocks =
            UInt(options.countsOverhead ? volume.superblock.blocksCount : statistics.blocks)
        answer.f_bfree = UInt(statistics.freeBlocks)
        answer.f_bavail = UInt(statistics.availableBlocks)
        answer.f_files = UInt(statistics.inodes)
        answer.f_ffree = UInt(statistics.freeInodes)
        answer.f_favail = UInt(statistics.freeInodes)
        answer.f_namemax = UInt(statistics.maximumNameLength)
        unsafe fuse_reply_statfs(request, &answer)
    }
}

extension FileName {
    fileprivate func starts(with prefix: StaticString) -> Bool {
        prefix.withUTF8Buffer { unsafe bytes.starts(with: $0) }
    }
}

extension DeviceNumber {
    /// The number in the encoding of `st_rdev`, of which FUSE carries the low 32 bits.
    fileprivate var packed: dev_t {
        dev_t(minor & 0xff) | dev_t(major & 0xfff) << 8 | dev_t(minor & ~0xff) << 12
    }
}

extension timespec {
    fileprivate init(_ timestamp: Timestamp) {
        self.init(tv_sec: Int(timestamp.seconds), tv_nsec: Int(timestamp.nanoseconds))
    }
}

extension ext4_fuse_time {
    fileprivate init(_ timestamp: Timestamp) {
        self.init(
            seconds: timestamp.seconds, nanoseconds: timestamp.nanoseconds, reserved: 0)
    }
}
