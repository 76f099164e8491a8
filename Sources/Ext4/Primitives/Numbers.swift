// The numbers that must not be mixed. Each is a plain integer on disk; the types keep a logical
// block from being used as a physical one, and a group from being used as an inode.

/// The number of a block of the file system, counted from the start of the volume.
public struct BlockNumber: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// The number, as the disk has it.
    public let rawValue: UInt64

    /// Makes a block number.
    @inlinable public init(_ rawValue: UInt64) { self.rawValue = rawValue }

    /// Orders by position on the volume.
    @inlinable public static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }

    /// The number in decimal.
    public var description: String { "\(rawValue)" }

    /// The block `count` further on; wraps around, so compare with the volume's size first.
    @inlinable package func advanced(by count: UInt64) -> BlockNumber { .init(rawValue &+ count) }
}

/// The number of a block of a file, counted from the start of the file (`ext4_lblk_t`).
///
/// 64 bits wide in memory, so that the end of a range can be stated; on disk it has 32.
public struct LogicalBlock: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// The number, as the disk has it.
    public let rawValue: UInt64

    /// Makes a logical block number.
    @inlinable public init(_ rawValue: UInt64) { self.rawValue = rawValue }

    /// Orders by position in the file.
    @inlinable public static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }

    /// The number in decimal.
    public var description: String { "\(rawValue)" }

    /// The first number that no file can have a block at: `ext4_lblk_t` has 32 bits.
    package static let end = LogicalBlock(1 << 32)
}

/// The number of an inode, counted from 1.
public struct InodeNumber: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// The number, as the disk has it.
    public let rawValue: UInt32

    /// Makes an inode number.
    @inlinable public init(_ rawValue: UInt32) { self.rawValue = rawValue }

    /// Orders by number.
    @inlinable public static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }

    /// The number in decimal.
    public var description: String { "\(rawValue)" }

    /// The list of bad blocks (`EXT4_BAD_INO`).
    public static let badBlocks = InodeNumber(1)
    /// The root directory (`EXT4_ROOT_INO`).
    public static let root = InodeNumber(2)
    /// The user quota file (`EXT4_USR_QUOTA_INO`).
    public static let userQuota = InodeNumber(3)
    /// The group quota file (`EXT4_GRP_QUOTA_INO`).
    public static let groupQuota = InodeNumber(4)
    /// The reserved group descriptor blocks (`EXT4_RESIZE_INO`).
    public static let resize = InodeNumber(7)
    /// The journal as `mke2fs` makes it (`EXT4_JOURNAL_INO`).
    public static let journal = InodeNumber(8)
}

/// The number of a block group, counted from 0.
public struct GroupNumber: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// The number, as the disk has it.
    public let rawValue: UInt32

    /// Makes a group number.
    @inlinable public init(_ rawValue: UInt32) { self.rawValue = rawValue }

    /// Orders by number.
    @inlinable public static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }

    /// The number in decimal.
    public var description: String { "\(rawValue)" }
}

/// The number of a journal transaction (`tid_t`). It wraps around.
public struct TransactionID: Hashable, Sendable, CustomStringConvertible {
    /// The number, as the disk has it.
    public let rawValue: UInt32

    /// Makes a transaction number.
    @inlinable public init(_ rawValue: UInt32) { self.rawValue = rawValue }

    /// The number in decimal.
    public var description: String { "\(rawValue)" }

    /// The number of the next transaction.
    package var next: TransactionID { .init(rawValue &+ 1) }

    /// Whether this transaction came after `other`, modulo 2³².
    package func isAfter(_ other: TransactionID) -> Bool {
        Int32(bitPattern: rawValue &- other.rawValue) > 0
    }
}
