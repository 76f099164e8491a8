internal import Ext4
internal import Glibc

/// What `stat` says of a file, as far as this module asks.
struct FileStatus: Hashable, Sendable {
    enum Kind: Hashable, Sendable {
        case regular
        case directory
        case blockDevice
        case other
    }

    /// A file's identity: the device that it stands on and its inode number there.
    struct Identity: Hashable, Sendable {
        let device: UInt64
        let inode: UInt64
    }

    let kind: Kind
    let identity: Identity
    /// The device that a block device's file stands for (`st_rdev`).
    let device: UInt64

    private init(_ status: stat) {
        kind =
            switch status.st_mode & S_IFMT {
            case S_IFREG: .regular
            case S_IFDIR: .directory
            case S_IFBLK: .blockDevice
            default: .other
            }
        identity = Identity(device: UInt64(status.st_dev), inode: UInt64(status.st_ino))
        device = UInt64(status.st_rdev)
    }

    // How Linux packs a device number into `dev_t` for user space.

    static func major(_ device: UInt64) -> UInt32 {
        UInt32(truncatingIfNeeded: (device >> 8) & 0xFFF | (device >> 32) & 0xFFFF_F000)
    }

    static func minor(_ device: UInt64) -> UInt32 {
        UInt32(truncatingIfNeeded: device & 0xFF | (device >> 12) & 0xFFFF_FF00)
    }

    static func number(major: UInt32, minor: UInt32) -> UInt64 {
        let (major, minor) = (UInt64(major), UInt64(minor))
        return minor & 0xFF | (major & 0xFFF) << 8 | (minor & 0xFFFF_FF00) << 12
            | (major & 0xFFFF_F000) << 32
    }

    static func of(path: String) throws(Ext4Error) -> FileStatus {
        var status = stat()
        guard unsafe stat(path, &status) == 0 else {
            throw .io(IOFailure(.open, at: 0, count: 0, errno: errno))
        }
        return FileStatus(status)
    }

    static func of(descriptor: Int32) throws(Ext4Error) -> FileStatus {
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0 else {
            throw .io(IOFailure(.open, at: 0, count: 0, errno: errno))
        }
        return FileStatus(status)
    }

    /// The status of an entry of an open directory; a symbolic link is not followed.
    static func of(_ name: CPath, in directory: Int32) -> FileStatus? {
        var status = stat()
        guard unsafe fstatat(directory, name.bytes, &status, AT_SYMLINK_NOFOLLOW) == 0 else {
            return nil
        }
        return FileStatus(status)
    }
}
