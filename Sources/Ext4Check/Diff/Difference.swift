public import Ext4

/// One thing that two volumes do not have alike.
public struct Difference: Hashable, Sendable {
    /// What it is in.
    public enum Structure: String, Hashable, Sendable, CaseIterable {
        /// A field of the superblock.
        case superblock
        /// The journal's superblock, or what its log holds.
        case journal
        /// A field of a group's descriptor.
        case groupDescriptor = "group descriptor"
        /// Blocks that are free on one side.
        case blockBitmap = "block bitmap"
        /// Inodes that are free on one side.
        case inodeBitmap = "inode bitmap"
        /// A field of an inode.
        case inode
        /// A name in a directory.
        case entry = "directory entry"
        /// Where a file's blocks are.
        case map
        /// An extended attribute.
        case attribute = "extended attribute"
        /// What a file or a symbolic link holds.
        case contents
    }

    /// What it is in.
    public let structure: Structure
    /// The group, of what lies in one.
    public var group: GroupNumber?
    /// The inode, of what belongs to one.
    public var inode: InodeNumber?
    /// The kernel's name of a field, a range, or what else it is about.
    public let what: String
    /// The name of an entry or of an attribute, as its bytes.
    public var name: [UInt8]?
    /// How it is in the first volume; nil where it is not there.
    public let a: String?
    /// How it is in the second volume; nil where it is not there.
    public let b: String?
    /// Whether one side cannot be read.
    public var isDamage = false

    init(_ structure: Structure, _ what: String, a: String?, b: String?) {
        self.structure = structure
        self.what = what
        self.a = a
        self.b = b
    }

    func of(_ group: GroupNumber) -> Difference {
        var copy = self
        copy.group = group
        return copy
    }

    func of(_ inode: InodeNumber, named name: [UInt8]? = nil) -> Difference {
        var copy = self
        copy.inode = inode
        copy.name = name
        return copy
    }
}

/// What two volumes are compared in.
public struct DiffOptions: Sendable {
    /// Whether what files hold is compared too.
    public var comparesContents = false

    /// The defaults.
    public init() {}
}

/// What a comparison came to.
public struct DiffSummary: Hashable, Sendable {
    /// How many differences there are.
    public internal(set) var differences: UInt64 = 0
    /// How many of them are something that one side alone cannot read.
    public internal(set) var damages: UInt64 = 0
    /// How many things could be read on neither side, for the same reason.
    public internal(set) var unreadable: UInt64 = 0
    /// How many inodes were compared.
    public internal(set) var inodes: UInt64 = 0
}
