internal import CFuse3
internal import Ext4
internal import Ext4Host
internal import Glibc

// ioctl: flags, projects, generations, free space, the size.

extension Session {
    /// Answers an ioctl.
    ///
    /// Flags and generations are answered with 4 bytes although their commands speak of a `long`:
    /// that is what the kernel writes, and `lsattr` has no room for more.
    func control(
        _ request: fuse_req_t, _ node: fuse_ino_t, _ command: UInt32,
        input: UnsafeRawBufferPointer, outputSize: Int
    ) throws(Ext4Error) {
        let answer: [UInt8]
        switch command {
        case Control.getFlags, Control.getFlags32:
            let flags = try inode(ofNode: node).flags.rawValue & Control.visibleFlags
            answer = Self.littleEndian(flags)
        case Control.getVersion, Control.getVersion32, Control.getVersionExt4:
            answer = Self.littleEndian(try inode(ofNode: node).generation)
        case Control.getExtendedFlags:
            let inode = try inode(ofNode: node)
            // struct fsxattr: fsx_xflags, fsx_extsize, fsx_nextents, fsx_projid, fsx_cowextsize.
            answer =
                Self.littleEndian(Control.extendedFlags(of: inode.flags))
                + [UInt8](repeating: 0, count: 8) + Self.littleEndian(inode.projectID)
                + [UInt8](repeating: 0, count: 12)
        case Control.getLabel:
            let label = volume.superblock.label
            answer = label + [UInt8](repeating: 0, count: max(0, 256 - label.count))
        case Control.setFlags, Control.setFlags32:
            guard input.count >= 4 else { throw .invalidArgument }
            let flags = unsafe InodeFlags(rawValue: input.loadUnaligned(as: UInt32.self))
            try volume.setFlags(
                flags, of: try inode(ofNode: node), by: unsafe Self.credentials(of: request))
            answer = []
        case Control.setExtendedFlags:
            // struct fsxattr: fsx_xflags first, fsx_projid at byte 12.
            guard input.count >= 16 else { throw .invalidArgument }
            try setExtendedFlags(
                unsafe input.loadUnaligned(as: UInt32.self),
                project: unsafe input.loadUnaligned(fromByteOffset: 12, as: UInt32.self),
                of: try inode(ofNode: node), by: unsafe Self.credentials(of: request))
            answer = []
        case Control.setVersion, Control.setVersionExt4:
            guard input.count >= 4 else { throw .invalidArgument }
            try volume.setGeneration(
                unsafe input.loadUnaligned(as: UInt32.self), of: try inode(ofNode: node))
            answer = []
        case Control.trim:
            answer = try unsafe trim(input, by: Self.credentials(of: request))
        case Control.resize:
            try unsafe resize(input, by: Self.credentials(of: request))
            answer = []
        case Control.setLabel:
            throw volume.isWritable ? .notSupported : .readOnlyVolume
        default:
            unsafe fuse_reply_err(request, ENOTTY)
            return
        }
        unsafe answer.withUnsafeBytes { answer in
            _ = unsafe fuse_reply_ioctl(
                request, 0, answer.baseAddress, min(answer.count, outputSize))
        }
    }

    /// Sets the flags and the project that `struct fsxattr` speaks of.
    private func setExtendedFlags(
        _ extended: UInt32, project: UInt32, of inode: Inode, by credentials: Credentials
    ) throws(Ext4Error) {
        guard extended & ~Control.knownExtendedFlags == 0 else { throw .notSupported }
        try volume.setFlags(
            inode.flags.subtracting(Control.flagsInExtended).union(Control.flags(of: extended)),
            of: inode, by: credentials)
        try volume.setProject(project, of: inode)
    }

    /// Gives free space back to the device, as `struct fstrim_range` wants it, and answers with how
    /// much that was.
    private func trim(
        _ input: UnsafeRawBufferPointer, by credentials: Credentials
    ) throws(Ext4Error) -> [UInt8] {
        // Root, or whose mount it is.
        guard credentials.isPrivileged || credentials.userID == geteuid() else {
            throw .notPermitted
        }
        guard volume.isWritable else { throw .readOnlyVolume }
        // struct fstrim_range: start, len, minlen.
        guard input.count >= 24 else { throw .invalidArgument }
        var options = TrimOptions()
        options.byteOffset = unsafe input.loadUnaligned(as: UInt64.self)
        options.byteCount = unsafe input.loadUnaligned(fromByteOffset: 8, as: UInt64.self)
        options.minimumByteCount = unsafe input.loadUnaligned(fromByteOffset: 16, as: UInt64.self)
        if let device = volume.device as? FileDevice { options.granule = device.discardGranule }
        let report = try volume.trim(options)
        return Self.littleEndian(options.byteOffset) + Self.littleEndian(report.byteCount)
            + Self.littleEndian(options.minimumByteCount)
    }

    private static func littleEndian(_ value: some FixedWidthInteger) -> [UInt8] {
        (0..<value.bitWidth / 8).map { UInt8(truncatingIfNeeded: value >> ($0 * 8)) }
    }
}

/// The numbers of the ioctls that file systems share, and what they speak of.
private enum Control {
    static let getFlags: UInt32 = 0x8008_6601  // FS_IOC_GETFLAGS
    static let getFlags32: UInt32 = 0x8004_6601  // FS_IOC32_GETFLAGS
    static let setFlags: UInt32 = 0x4008_6602  // FS_IOC_SETFLAGS
    static let setFlags32: UInt32 = 0x4004_6602  // FS_IOC32_SETFLAGS
    static let setVersion: UInt32 = 0x4008_7602  // FS_IOC_SETVERSION
    static let setVersionExt4: UInt32 = 0x4008_6604  // EXT4_IOC_SETVERSION
    static let getVersion: UInt32 = 0x8008_7601  // FS_IOC_GETVERSION
    static let getVersion32: UInt32 = 0x8004_7601  // FS_IOC32_GETVERSION
    static let getVersionExt4: UInt32 = 0x8008_6603  // EXT4_IOC_GETVERSION
    static let getExtendedFlags: UInt32 = 0x801c_581f  // FS_IOC_FSGETXATTR
    static let setExtendedFlags: UInt32 = 0x401c_5820  // FS_IOC_FSSETXATTR
    static let getLabel: UInt32 = 0x8100_9431  // FS_IOC_GETFSLABEL
    static let setLabel: UInt32 = 0x4100_9432  // FS_IOC_SETFSLABEL
    static let trim: UInt32 = 0xc018_5879  // FITRIM
    static let resize: UInt32 = 0x4008_6610  // EXT4_IOC_RESIZE_FS

    /// The flags that user space is shown (`EXT4_FL_USER_VISIBLE`).
    static let visibleFlags: UInt32 = 0x725b_dfff

    /// Flags and what `struct fsxattr` has for them (`FS_XFLAG_…`).
    private static let table: [(flag: InodeFlags, extended: UInt32)] = [
        (.immutable, 0x8), (.appendOnly, 0x10), (.synchronous, 0x20), (.noAccessTime, 0x40),
        (.noDump, 0x80), (.projectInherit, 0x200),
    ]
    /// Flags that are shown there, but not set by it.
    private static let shownOnly: [(flag: InodeFlags, extended: UInt32)] = [
        (.dax, 0x8000), (.verity, 0x2_0000),
    ]

    /// The flags that `struct fsxattr` can change.
    static var flagsInExtended: InodeFlags {
        table.reduce(into: []) { $0.formUnion($1.flag) }
    }

    /// What may be set in `fsx_xflags`: what can be changed, and what is shown as it is.
    static var knownExtendedFlags: UInt32 {
        (table + shownOnly).reduce(0) { $0 | $1.extended }
    }

    static func extendedFlags(of flags: InodeFlags) -> UInt32 {
        (table + shownOnly).reduce(0) { $0 | (flags.contains($1.flag) ? $1.extended : 0) }
    }

    static func flags(of extended: UInt32) -> InodeFlags {
        table.reduce(into: []) { flags, entry in
            if extended & entry.extended != 0 { flags.formUnion(entry.flag) }
        }
    }
}
