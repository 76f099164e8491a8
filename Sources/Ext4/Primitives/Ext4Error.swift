/// What an operation on a volume can fail with.
///
/// The cases without a payload are the conditions that POSIX names; `Ext4Mount` maps each to its
/// errno in one table.
public enum Ext4Error: Error, Hashable, Sendable {
    /// No such file or directory. The corresponding C error is `ENOENT`.
    case notFound
    /// The name exists already. The corresponding C error is `EEXIST`.
    case exists
    /// A part of the path is not a directory. The corresponding C error is `ENOTDIR`.
    case notDirectory
    /// The operation does not work on a directory. The corresponding C error is `EISDIR`.
    case isDirectory
    /// The directory has entries. The corresponding C error is `ENOTEMPTY`.
    case notEmpty
    /// A name has over 255 bytes, or a path over 4,095. The corresponding C error is `ENAMETOOLONG`.
    case nameTooLong
    /// More than 40 symbolic links on the way. The corresponding C error is `ELOOP`.
    case tooManySymlinks
    /// The inode can have no further link. The corresponding C error is `EMLINK`.
    case tooManyLinks
    /// The volume is full. The corresponding C error is `ENOSPC`.
    case noSpace
    /// The owner's quota is used up. The corresponding C error is `EDQUOT`.
    case quotaExceeded
    /// The volume is open for reading only. The corresponding C error is `EROFS`.
    case readOnlyVolume
    /// The inode's flags or its type forbid it. The corresponding C error is `EPERM`.
    case notPermitted
    /// An argument makes no sense. The corresponding C error is `EINVAL`.
    case invalidArgument
    /// The file would be larger than the format allows. The corresponding C error is `EFBIG`.
    case fileTooLarge
    /// The file would leave its project. The corresponding C error is `EXDEV`.
    case crossDevice
    /// The caller may not do that. The corresponding C error is `EACCES`.
    case accessDenied
    /// The name of an extended attribute has no or over 255 bytes. The corresponding C error is `ERANGE`.
    case attributeNameTooLong
    /// The value of an extended attribute has over 65,536 bytes. The corresponding C error is `E2BIG`.
    case attributeTooLarge
    /// No such extended attribute. The corresponding C error is `ENODATA`.
    case noAttribute
    /// No data, or no hole, from that offset on. The corresponding C error is `ENXIO`.
    case endOfFile
    /// The contents are encrypted and the key is not here. The corresponding C error is `ENOKEY`.
    case noKey
    /// The volume or the device is in use by another. The corresponding C error is `EBUSY`.
    case busy
    /// This engine, or this volume, has no such operation. The corresponding C error is `EOPNOTSUPP`.
    case notSupported

    /// The device failed. The corresponding C error is `EIO`.
    case io(IOFailure)
    /// The volume uses features that this engine does not have. The C error is `EOPNOTSUPP`.
    case unsupported(UnsupportedFeatures)
    /// The volume breaks a rule of the format. The corresponding C error is `EUCLEAN`.
    case corrupt(Corruption)
}

/// A request that a device did not carry out.
public struct IOFailure: Hashable, Sendable {
    /// The kinds of request.
    public enum Operation: Hashable, Sendable {
        /// Opening the device.
        case open
        /// Reading bytes.
        case read
        /// Writing bytes.
        case write
        /// Making what was written durable.
        case flush
        /// Giving blocks back.
        case discard
    }

    /// What was asked.
    public let operation: Operation
    /// Where the request started, in bytes from the start of the device.
    public let byteOffset: UInt64
    /// How many bytes it was for.
    public let byteCount: Int
    /// The operating system's error number; 0 for a request beyond the end of the device.
    public let errno: Int32

    /// Makes the description of a failed request.
    public init(_ operation: Operation, at byteOffset: UInt64, count: Int, errno: Int32) {
        self.operation = operation
        self.byteOffset = byteOffset
        self.byteCount = count
        self.errno = errno
    }
}

/// Features that stand between this engine and a volume.
public struct UnsupportedFeatures: Hashable, Sendable {
    /// What was asked when they stood in the way.
    public enum Use: Hashable, Sendable {
        /// Reading the volume at all.
        case reading
        /// Writing to it.
        case writing
        /// Bringing its journal up to date.
        case recovery
    }

    /// The features' names, as `dumpe2fs` prints them, or `FEATURE_I17` for bit 17 with no name.
    public let names: [String]
    /// What cannot be done because of them.
    public let use: Use

    package init(_ names: [String], for use: Use) {
        self.names = names
        self.use = use
    }
}

extension Ext4Error: CustomStringConvertible {
    /// The error in words.
    public var description: String {
        switch self {
        case .notFound: "no such file or directory"
        case .exists: "the file exists"
        case .notDirectory: "not a directory"
        case .isDirectory: "is a directory"
        case .notEmpty: "the directory is not empty"
        case .nameTooLong: "the name is too long"
        case .tooManySymlinks: "too many levels of symbolic links"
        case .tooManyLinks: "too many links"
        case .noSpace: "no space left on the volume"
        case .quotaExceeded: "the quota is used up"
        case .readOnlyVolume: "the volume is open for reading only"
        case .notPermitted: "the operation is not permitted"
        case .invalidArgument: "invalid argument"
        case .fileTooLarge: "the file is too large"
        case .crossDevice: "the file would leave its project"
        case .accessDenied: "permission denied"
        case .attributeNameTooLong: "the name of the extended attribute is too long"
        case .attributeTooLarge: "the value of the extended attribute is too large"
        case .noAttribute: "no such extended attribute"
        case .endOfFile: "there is no data, or no hole, behind that offset"
        case .noKey: "the contents are encrypted and the key is not available"
        case .busy: "the volume is in use"
        case .notSupported: "the operation is not supported"
        case .io(let failure): failure.description
        case .unsupported(let features): features.description
        case .corrupt(let corruption): corruption.description
        }
    }
}

extension IOFailure: CustomStringConvertible {
    /// The failure in words.
    public var description: String {
        let verb =
            switch operation {
            case .open: "opening the device"
            case .read: "reading \(byteCount) bytes at byte \(byteOffset)"
            case .write: "writing \(byteCount) bytes at byte \(byteOffset)"
            case .flush: "flushing the device"
            case .discard: "discarding \(byteCount) bytes at byte \(byteOffset)"
            }
        return errno == 0
            ? "\(verb) failed: it lies beyond the end of the device"
            : "\(verb) failed (errno \(errno))"
    }
}

extension UnsupportedFeatures: CustomStringConvertible {
    /// The refusal in words.
    public var description: String {
        var list = ""
        for name in names { list += list.isEmpty ? name : ", " + name }
        let purpose =
            switch use {
            case .reading: "read"
            case .writing: "written"
            case .recovery: "recovered"
            }
        return "the volume cannot be \(purpose): unsupported feature \(list)"
    }
}
