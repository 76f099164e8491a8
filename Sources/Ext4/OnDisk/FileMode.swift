/// The type of a file, as its inode or its directory entry has it.
public enum FileType: UInt8, Hashable, Sendable {
    // The raw values are those of directory entries (`EXT4_FT_…`).
    /// Not stated, or a value that means nothing.
    case unknown = 0
    /// A regular file.
    case regular = 1
    /// A directory.
    case directory = 2
    /// A character device.
    case characterDevice = 3
    /// A block device.
    case blockDevice = 4
    /// A named pipe.
    case fifo = 5
    /// A socket.
    case socket = 6
    /// A symbolic link.
    case symlink = 7
}

/// Type and permissions (`i_mode`).
public struct FileMode: RawRepresentable, Hashable, Sendable {
    /// The mode, as the disk and `st_mode` have it.
    public let rawValue: UInt16
    /// Makes a mode from its bits.
    public init(rawValue: UInt16) { self.rawValue = rawValue }

    /// Permissions with the set-id and sticky bits: `07777`.
    public var permissions: UInt16 { rawValue & 0o7777 }

    /// The type; `unknown` for bits that mean nothing.
    public var type: FileType {
        switch rawValue & 0o170000 {
        case 0o100000: .regular
        case 0o040000: .directory
        case 0o020000: .characterDevice
        case 0o060000: .blockDevice
        case 0o010000: .fifo
        case 0o140000: .socket
        case 0o120000: .symlink
        default: .unknown
        }
    }
}

/// The number of a device that a special file stands for.
public struct DeviceNumber: Hashable, Sendable {
    /// The driver.
    public let major: UInt32
    /// The device of that driver.
    public let minor: UInt32

    /// Makes a device number.
    public init(major: UInt32, minor: UInt32) {
        self.major = major
        self.minor = minor
    }

    /// Decodes the first two words of `i_block`: the old encoding (8 + 8 bits) stands in the first,
    /// the new one (12 + 20 bits) in the second, when the first is 0.
    package init(old: UInt32, new: UInt32) {
        if old != 0 {
            self.init(major: (old >> 8) & 0xFF, minor: old & 0xFF)
        } else {
            self.init(major: (new >> 8) & 0xFFF, minor: (new & 0xFF) | ((new >> 12) & 0xFFF00))
        }
    }
}

/// Flags of an inode (`i_flags`).
public struct InodeFlags: OptionSet, Hashable, Sendable {
    /// The mask, as the disk has it.
    public let rawValue: UInt32
    /// Makes a set from the mask.
    public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// `EXT4_SECRM_FL`.
    public static let secureDelete = Self(rawValue: 0x1)
    /// `EXT4_UNRM_FL`.
    public static let undelete = Self(rawValue: 0x2)
    /// `EXT4_COMPR_FL`.
    public static let compressed = Self(rawValue: 0x4)
    /// `EXT4_SYNC_FL`.
    public static let synchronous = Self(rawValue: 0x8)
    /// `EXT4_IMMUTABLE_FL`.
    public static let immutable = Self(rawValue: 0x10)
    /// `EXT4_APPEND_FL`.
    public static let appendOnly = Self(rawValue: 0x20)
    /// `EXT4_NODUMP_FL`.
    public static let noDump = Self(rawValue: 0x40)
    /// `EXT4_NOATIME_FL`.
    public static let noAccessTime = Self(rawValue: 0x80)
    /// `EXT4_ENCRYPT_FL`.
    public static let encrypted = Self(rawValue: 0x800)
    /// `EXT4_INDEX_FL`: the directory has an htree.
    public static let index = Self(rawValue: 0x1000)
    /// `EXT4_JOURNAL_DATA_FL`.
    public static let journalData = Self(rawValue: 0x4000)
    /// `EXT4_NOTAIL_FL`.
    public static let noTail = Self(rawValue: 0x8000)
    /// `EXT4_DIRSYNC_FL`.
    public static let directorySync = Self(rawValue: 0x10000)
    /// `EXT4_TOPDIR_FL`.
    public static let topDirectory = Self(rawValue: 0x20000)
    /// `EXT4_HUGE_FILE_FL`: `i_blocks` counts whole blocks.
    public static let hugeFile = Self(rawValue: 0x40000)
    /// `EXT4_EXTENTS_FL`: `i_block` is the root of an extent tree.
    public static let extents = Self(rawValue: 0x80000)
    /// `EXT4_VERITY_FL`.
    public static let verity = Self(rawValue: 0x100000)
    /// `EXT4_EA_INODE_FL`: the inode holds the value of an extended attribute.
    public static let attributeInode = Self(rawValue: 0x200000)
    /// `EXT4_DAX_FL`.
    public static let dax = Self(rawValue: 0x200_0000)
    /// `EXT4_INLINE_DATA_FL`: the contents stand in the inode.
    public static let inlineData = Self(rawValue: 0x1000_0000)
    /// `EXT4_PROJINHERIT_FL`.
    public static let projectInherit = Self(rawValue: 0x2000_0000)
    /// `EXT4_CASEFOLD_FL`.
    public static let casefold = Self(rawValue: 0x4000_0000)
}
