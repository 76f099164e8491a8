public import Ext4

/// Everything that a tree shows to those who look at it through the file system's own doors: the
/// namespace, and of each inode all that `stat`, `lsattr`, `getfattr`, `filefrag` and reading tell.
///
/// Two manifests of the same tree, taken by two implementations, are equal field by field;
/// `TreeComparison` says where they are not.
public struct TreeManifest: Sendable {
    /// The inodes by number.
    public var nodes: [UInt64: TreeNode]
    /// The number of the inode at the top.
    public var root: UInt64

    /// Makes a manifest.
    public init(root: UInt64, nodes: [UInt64: TreeNode] = [:]) {
        self.root = root
        self.nodes = nodes
    }

    /// The number of names in all directories, `.` and `..` left out.
    public var nameCount: Int {
        nodes.values.reduce(0) { $0 + max(0, ($1.entries?.count ?? 2) - 2) }
    }

    /// The number that a path leads to, with no symbolic link followed.
    public func number(at path: String) -> UInt64? {
        var number = root
        for part in path.utf8.split(separator: UInt8(ascii: "/")) {
            guard let entry = nodes[number]?.entries?[FileName([UInt8](part))] else { return nil }
            number = entry.number
        }
        return number
    }
}

/// One inode of a `TreeManifest`. Parts that the side which made the manifest cannot know are nil.
public struct TreeNode: Sendable {
    /// A name in a directory.
    public struct Entry: Hashable, Sendable {
        /// The inode that the name leads to.
        public var number: UInt64
        /// The type as the directory entry has it.
        public var type: FileType

        /// Makes an entry.
        public init(number: UInt64, type: FileType) {
            self.number = number
            self.type = type
        }
    }

    /// A range of bytes that `SEEK_DATA` and `SEEK_HOLE` call data.
    public struct Segment: Hashable, Sendable {
        /// Where it begins.
        public var offset: UInt64
        /// Its length in bytes.
        public var count: UInt64
    }

    /// A run of a file's map, in bytes, as FIEMAP shows it.
    public struct Extent: Hashable, Sendable {
        /// Where it stands in the file.
        public var logical: UInt64
        /// Where it stands on the device.
        public var physical: UInt64
        /// Its length in bytes.
        public var count: UInt64
        /// Whether it was reserved but never written.
        public var isUnwritten: Bool

        /// Makes a run.
        public init(logical: UInt64, physical: UInt64, count: UInt64, isUnwritten: Bool) {
            self.logical = logical
            self.physical = physical
            self.count = count
            self.isUnwritten = isUnwritten
        }
    }

    /// What reading the contents gave.
    public enum Contents: Hashable, Sendable {
        /// The bytes, by their digest.
        case digest(ContentDigest)
        /// Reading was refused: the contents are encrypted.
        case refused
    }

    /// The type of the object.
    public var type: FileType
    /// Permissions with set-id and sticky bits.
    public var permissions: UInt16
    /// The owner.
    public var userID: UInt32
    /// The owning group.
    public var groupID: UInt32
    /// The size in bytes.
    public var size: UInt64
    /// The number of names, as the inode counts them.
    public var linkCount: UInt32
    /// The space taken, in units of 512 bytes.
    public var blocks512: UInt64
    /// Last access.
    public var accessTime: Timestamp
    /// Last change of the contents.
    public var modificationTime: Timestamp
    /// Last change of the inode.
    public var changeTime: Timestamp
    /// When it was made; nil where the inode has no room for that.
    public var creationTime: Timestamp?
    /// The device that a special file stands for.
    public var device: DeviceNumber?
    /// The flags of `lsattr`.
    public var flags: UInt32?
    /// The generation of the number.
    public var generation: UInt32?
    /// The project.
    public var projectID: UInt32?
    /// The extended attributes as user space sees them.
    public var attributes: [FileName: [UInt8]] = [:]
    /// Where a symbolic link leads.
    public var target: [UInt8]?
    /// The contents of a regular file.
    public var contents: Contents?
    /// Where a regular file has data.
    public var segments: [Segment]?
    /// Where a regular file or a directory has its blocks; adjacent runs are one.
    public var map: [Extent]?
    /// The names in a directory, with `.` and `..`.
    public var entries: [FileName: Entry]?
    /// What could not be read, in words.
    public var failures: [String] = []
}

extension [TreeNode.Extent] {
    /// Adds a run, as part of the last one when it continues that.
    public mutating func append(merging extent: TreeNode.Extent) {
        if let last, last.isUnwritten == extent.isUnwritten,
            last.logical + last.count == extent.logical,
            last.physical + last.count == extent.physical
        {
            self[count - 1].count += extent.count
        } else {
            append(extent)
        }
    }
}

/// A digest of a file's bytes that does not depend on which zeros are holes.
///
/// It is the sum over all pieces of 1 KiB that are not zero of a hash of position and bytes. Two
/// different files meet by chance in 2⁻⁶⁴ of all cases; nobody here attacks it.
public struct ContentDigest: Hashable, Sendable {
    /// The bytes of a piece.
    static let pieceSize = 1024

    /// The sum of the pieces' hashes.
    public private(set) var sum: UInt64 = 0

    /// The digest of nothing.
    public init() {}

    /// Adds bytes that stand at `offset`, a multiple of the size of a piece.
    mutating func add(_ bytes: RawSpan, at offset: UInt64) {
        var position = 0
        while position < bytes.byteCount {
            let end = min(position + Self.pieceSize, bytes.byteCount)
            add(piece: bytes.extracting(position..<end), at: offset + UInt64(position))
            position = end
        }
    }

    private mutating func add(piece: RawSpan, at offset: UInt64) {
        var hash = (offset | 1) &* 0x9E37_79B9_7F4A_7C15
        var any: UInt64 = 0
        var index = 0
        while index + 8 <= piece.byteCount {
            let word = unsafe piece.unsafeLoadUnaligned(
                fromUncheckedByteOffset: index, as: UInt64.self)
            any |= word
            hash = Self.mixed(hash ^ word)
            index += 8
        }
        // The end of the file may stand in the middle of a word: zeros behind it change nothing,
        // the size is compared apart from this.
        var tail: UInt64 = 0
        var shift: UInt64 = 0
        while index < piece.byteCount {
            let byte = unsafe piece.unsafeLoadUnaligned(
                fromUncheckedByteOffset: index, as: UInt8.self)
            tail |= UInt64(byte) << shift
            shift += 8
            index += 1
        }
        any |= tail
        if shift > 0 { hash = Self.mixed(hash ^ tail) }
        guard any != 0 else { return }
        // A piece that ends early hashes like one with zeros behind it: only words up to the last
        // that is not zero may count, so the trailing zeros are hashed to the end as well.
        var words = (piece.byteCount + 7) / 8
        while words < Self.pieceSize / 8 {
            hash = Self.mixed(hash)
            words += 1
        }
        sum &+= hash
    }

    private static func mixed(_ value: UInt64) -> UInt64 {
        let product = value.multipliedFullWidth(by: 0xD6E8_FEB8_6659_FD93)
        return product.high ^ product.low &+ 0xA076_1D64_78BD_642F
    }
}
