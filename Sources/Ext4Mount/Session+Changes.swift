internal import CFuse3
internal import Ext4
internal import Glibc

// Requests that change names and attributes.

extension Session {
    static func addChanges(to operations: inout fuse_lowlevel_ops) {
        unsafe operations.mknod = { request, parent, name, mode, device in
            unsafe Session.answer(request) { session, request throws(Ext4Error) in
                try unsafe session.make(request, in: parent, name, mode: mode, device: device)
            }
        }
        unsafe operations.mkdir = { request, parent, name, mode in
            unsafe Session.answer(request) { session, request throws(Ext4Error) in
                try unsafe session.make(
                    request, in: parent, name, mode: mode & 0o7777 | S_IFDIR, device: 0)
            }
        }
        unsafe operations.create = { request, parent, name, mode, file in
            unsafe Session.answer(request) { session, request throws(Ext4Error) in
                try unsafe session.create(request, in: parent, name, mode: mode, file)
            }
        }
        unsafe operations.symlink = { request, target, parent, name in
            unsafe Session.answer(request) { session, request throws(Ext4Error) in
                try unsafe session.makeLink(request, to: target, in: parent, name)
            }
        }
        unsafe operations.link = { request, node, parent, name in
            unsafe Session.answer(request) { session, request throws(Ext4Error) in
                let inode = try session.inode(ofNode: node)
                try session.volume.link(
                    inode, as: FileName(try unsafe Session.name(of: name)),
                    in: try session.inode(ofNode: parent),
                    by: unsafe Session.credentials(of: request))
                unsafe session.replyEntry(request, inode)
            }
        }
        addRemovals(to: &operations)
        addAttributeChanges(to: &operations)
    }

    private static func addRemovals(to operations: inout fuse_lowlevel_ops) {
        unsafe operations.unlink = { request, parent, name in
            unsafe Session.answer(request) { session, request throws(Ext4Error) in
                try session.volume.unlink(
                    FileName(try unsafe Session.name(of: name)),
                    in: try session.inode(ofNode: parent))
                unsafe fuse_reply_err(request, 0)
            }
        }
        unsafe operations.rmdir = { request, parent, name in
            unsafe Session.answer(request) { session, request throws(Ext4Error) in
                try session.volume.removeDirectory(
                    FileName(try unsafe Session.name(of: name)),
                    in: try session.inode(ofNode: parent))
                unsafe fuse_reply_err(request, 0)
            }
        }
        unsafe operations.rename = { request, parent, name, newParent, newName, flags in
            unsafe Session.answer(request) { session, request throws(Ext4Error) in
                try session.volume.rename(
                    FileName(try unsafe Session.name(of: name)),
                    in: try session.inode(ofNode: parent),
                    to: FileName(try unsafe Session.name(of: newName)),
                    in: try session.inode(ofNode: newParent), RenameFlags(rawValue: flags),
                    by: unsafe Session.credentials(of: request))
                unsafe fuse_reply_err(request, 0)
            }
        }
    }

    private static func addAttributeChanges(to operations: inout fuse_lowlevel_ops) {
        unsafe operations.setattr = { request, node, attributes, which, _ in
            unsafe Session.answer(request) { session, request throws(Ext4Error) in
                guard let attributes = unsafe attributes else { throw .invalidArgument }
                try unsafe session.setAttributes(request, node, attributes.pointee, which)
            }
        }
        unsafe operations.setxattr = { request, node, name, value, size, flags in
            unsafe Session.answer(request) { session, request throws(Ext4Error) in
                let value = unsafe UnsafeRawBufferPointer(start: value, count: size)
                try unsafe session.setExtendedAttribute(
                    request, node, name, unsafe [UInt8](value), flags: flags)
            }
        }
        unsafe operations.removexattr = { request, node, name in
            unsafe Session.answer(request) { session, request throws(Ext4Error) in
                let name = FileName(try unsafe Session.name(of: name))
                guard session.isShown(name) else { throw .notSupported }
                try session.volume.removeExtendedAttribute(
                    name, of: try session.inode(ofNode: node),
                    by: unsafe Session.credentials(of: request))
                unsafe fuse_reply_err(request, 0)
            }
        }
    }

    // MARK: - What a request brings

    /// Who asks.
    static func credentials(of request: fuse_req_t) -> Credentials {
        guard let context = unsafe fuse_req_ctx(request) else { return .root }
        return unsafe Credentials(
            userID: context.pointee.uid, groupID: context.pointee.gid)
    }

    /// A copy of the bytes of a name.
    static func name(of name: UnsafePointer<CChar>?) throws(Ext4Error) -> [UInt8] {
        guard let name = unsafe name else { throw .invalidArgument }
        return unsafe [UInt8](UnsafeRawBufferPointer(start: name, count: strlen(name)))
    }

    // MARK: - Names

    private func description(
        of request: fuse_req_t, mode: mode_t, device: dev_t = 0
    ) -> NewInode {
        let context = unsafe fuse_req_ctx(request)?.pointee
        let type = mode & S_IFMT
        let isDevice = type == S_IFCHR || type == S_IFBLK
        return NewInode(
            mode: FileMode(rawValue: UInt16(truncatingIfNeeded: mode)),
            userID: context?.uid ?? 0, groupID: context?.gid ?? 0,
            umask: UInt16(truncatingIfNeeded: context?.umask ?? 0),
            device: isDevice ? DeviceNumber(packed: device) : nil)
    }

    private func make(
        _ request: fuse_req_t, in parent: fuse_ino_t, _ name: UnsafePointer<CChar>?, mode: mode_t,
        device: dev_t
    ) throws(Ext4Error) {
        // mknod without a type makes a file.
        let mode = mode & S_IFMT == 0 ? mode | S_IFREG : mode
        let made = try unsafe volume.create(
            FileName(Self.name(of: name)), in: try inode(ofNode: parent),
            description(of: request, mode: mode, device: device),
            by: Self.credentials(of: request))
        unsafe replyEntry(request, made)
    }

    private func create(
        _ request: fuse_req_t, in parent: fuse_ino_t, _ name: UnsafePointer<CChar>?, mode: mode_t,
        _ file: UnsafeMutablePointer<fuse_file_info>?
    ) throws(Ext4Error) {
        guard let file = unsafe file else { throw .invalidArgument }
        let made = try unsafe volume.create(
            FileName(Self.name(of: name)), in: try inode(ofNode: parent),
            description(of: request, mode: mode & 0o7777 | S_IFREG),
            by: Self.credentials(of: request))
        var entry = fuse_entry_param()
        fill(&entry, from: made)
        unsafe file.pointee.keep_cache = 1
        unsafe file.pointee.noflush = options.cachesWrites ? 0 : 1
        volume.acquire(made)
        if unsafe fuse_reply_create(request, &entry, file) != 0 {
            forget(Self.node(of: made.number), 1)
        }
    }

    private func makeLink(
        _ request: fuse_req_t, to target: UnsafePointer<CChar>?, in parent: fuse_ino_t,
        _ name: UnsafePointer<CChar>?
    ) throws(Ext4Error) {
        let context = unsafe fuse_req_ctx(request)?.pointee
        let made = try unsafe volume.create(
            FileName(Self.name(of: name)), in: try inode(ofNode: parent),
            .symlink(
                to: Self.name(of: target), userID: context?.uid ?? 0, groupID: context?.gid ?? 0),
            by: Self.credentials(of: request))
        unsafe replyEntry(request, made)
    }

    // MARK: - Attributes

    private func setAttributes(
        _ request: fuse_req_t, _ node: fuse_ino_t, _ attributes: stat, _ which: Int32
    ) throws(Ext4Error) {
        func isSet(_ flag: Int32) -> Bool { which & flag != 0 }
        var changes = AttributeChanges()
        if isSet(FUSE_SET_ATTR_MODE) {
            changes.permissions = UInt16(truncatingIfNeeded: attributes.st_mode) & 0o7777
        }
        if isSet(FUSE_SET_ATTR_UID) { changes.userID = attributes.st_uid }
        if isSet(FUSE_SET_ATTR_GID) { changes.groupID = attributes.st_gid }
        if isSet(FUSE_SET_ATTR_SIZE) {
            guard attributes.st_size >= 0 else { throw .invalidArgument }
            changes.size = UInt64(attributes.st_size)
        }
        if isSet(FUSE_SET_ATTR_ATIME_NOW) {
            changes.accessTime = .now
        } else if isSet(FUSE_SET_ATTR_ATIME) {
            changes.accessTime = .at(Timestamp(attributes.st_atim))
        }
        if isSet(FUSE_SET_ATTR_MTIME_NOW) {
            changes.modificationTime = .now
        } else if isSet(FUSE_SET_ATTR_MTIME) {
            changes.modificationTime = .at(Timestamp(attributes.st_mtim))
        }
        if isSet(FUSE_SET_ATTR_CTIME) { changes.changeTime = Timestamp(attributes.st_ctim) }
        changes.dropsPrivileges = isSet(FUSE_SET_ATTR_KILL_SUID)
        let inode = try inode(ofNode: node)
        try volume.setAttributes(changes, of: inode, by: unsafe Self.credentials(of: request))
        var answer = stat()
        fill(&answer, from: inode)
        unsafe fuse_reply_attr(request, &answer, Self.forEver)
    }

    private func setExtendedAttribute(
        _ request: fuse_req_t, _ node: fuse_ino_t, _ name: UnsafePointer<CChar>?,
        _ value: [UInt8], flags: Int32
    ) throws(Ext4Error) {
        let name = FileName(try unsafe Self.name(of: name))
        guard isShown(name) else { throw .notSupported }
        let mode: AttributeExistence =
            switch flags {
            case Self.createOnly: .create
            case Self.replaceOnly: .replace
            default: .createOrReplace
            }
        try volume.setExtendedAttribute(
            name, to: value, of: try inode(ofNode: node), mode: mode,
            by: unsafe Self.credentials(of: request))
        unsafe fuse_reply_err(request, 0)
    }

    // `XATTR_CREATE` and `XATTR_REPLACE` of <sys/xattr.h>, which Glibc does not show to Swift.
    private static let createOnly: Int32 = 1
    private static let replaceOnly: Int32 = 2
}

extension DeviceNumber {
    /// The number from the encoding that FUSE carries; see `packed`.
    fileprivate init(packed: dev_t) {
        self.init(
            major: UInt32(truncatingIfNeeded: packed >> 8) & 0xfff,
            minor: UInt32(truncatingIfNeeded: packed & 0xff)
                | UInt32(truncatingIfNeeded: packed >> 12) & 0xfff00)
    }
}

extension Timestamp {
    fileprivate init(_ time: timespec) {
        self.init(
            seconds: Int64(time.tv_sec), nanoseconds: UInt32(clamping: time.tv_nsec))
    }
}
