public import Ext4
internal import Glibc

// The one table from what the engine says to what a system call returns.

extension Ext4Error {
    /// The error number that a system call returns for this error.
    public var errorNumber: Int32 {
        switch self {
        case .notFound: ENOENT
        case .exists: EEXIST
        case .notDirectory: ENOTDIR
        case .isDirectory: EISDIR
        case .notEmpty: ENOTEMPTY
        case .nameTooLong: ENAMETOOLONG
        case .tooManySymlinks: ELOOP
        case .tooManyLinks: EMLINK
        case .noSpace: ENOSPC
        case .quotaExceeded: EDQUOT
        case .readOnlyVolume: EROFS
        case .notPermitted: EPERM
        case .invalidArgument: EINVAL
        case .fileTooLarge: EFBIG
        case .crossDevice: EXDEV
        case .accessDenied: EACCES
        case .attributeNameTooLong: ERANGE
        case .attributeTooLarge: E2BIG
        case .noAttribute: ENODATA
        case .endOfFile: ENXIO
        case .noKey: ENOKEY
        case .busy: EBUSY
        case .notSupported: EOPNOTSUPP
        // A device says ENOSPC or EIO of itself; what lies beyond its end is no more than EIO.
        case .io(let failure): failure.errno == 0 ? EIO : failure.errno
        case .unsupported: EOPNOTSUPP
        case .corrupt: EUCLEAN
        }
    }
}
