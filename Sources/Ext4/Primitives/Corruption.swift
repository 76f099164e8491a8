/// A rule of the format that a volume breaks: in which structure, where, and which rule.
public struct Corruption: Error, Hashable, Sendable {
    /// The structures of the format.
    public enum Structure: String, Hashable, Sendable {
        /// `struct ext4_super_block`.
        case superblock
        /// `struct ext4_group_desc`.
        case groupDescriptor = "group descriptor"
        /// A group's map of used blocks.
        case blockBitmap = "block bitmap"
        /// A group's map of used inodes.
        case inodeBitmap = "inode bitmap"
        /// `struct ext4_inode`.
        case inode
        /// A node of an extent tree: `struct ext4_extent_header` and what follows.
        case extentNode = "extent node"
        /// A block of pointers of the ext2/3 map.
        case indirectBlock = "indirect block"
        /// A block of directory entries, or the area of an inline directory.
        case directoryBlock = "directory block"
        /// A node of a directory's index: `struct dx_root`, `struct dx_node`.
        case htreeNode = "htree node"
        /// Extended attributes, in an inode or in a block.
        case extendedAttribute = "extended attribute"
        /// An inode that holds the value of an extended attribute.
        case attributeInode = "ea_inode"
        /// A POSIX access control list.
        case accessControlList = "access control list"
        /// Contents that stand in the inode itself.
        case inlineData = "inline data"
        /// The target of a symbolic link.
        case symlink = "symbolic link"
        /// `journal_superblock_t`.
        case journalSuperblock = "journal superblock"
        /// A descriptor, revoke or commit block of the journal, or a logged block.
        case journal
        /// `struct mmp_struct`.
        case multiMountProtection = "multi-mount protection block"
        /// A block of the orphan file.
        case orphanFile = "orphan file block"
    }

    /// Where it stands; what does not apply is nil.
    public struct Place: Hashable, Sendable {
        /// The group concerned.
        public var group: GroupNumber?
        /// The inode concerned.
        public var inode: InodeNumber?
        /// The block of that inode.
        public var logicalBlock: LogicalBlock?
        /// The block of the volume.
        public var block: BlockNumber?
        /// The offset in bytes from the start of the structure.
        public var byteOffset: Int?

        /// Makes a place from what is known of it.
        public init(
            group: GroupNumber? = nil, inode: InodeNumber? = nil,
            logicalBlock: LogicalBlock? = nil, block: BlockNumber? = nil, byteOffset: Int? = nil
        ) {
            self.group = group
            self.inode = inode
            self.logicalBlock = logicalBlock
            self.block = block
            self.byteOffset = byteOffset
        }
    }

    /// The kinds of rules.
    public enum Rule: Hashable, Sendable {
        /// The magic number is another one.
        case magic(found: UInt64)
        /// The stored checksum is not the one of the bytes.
        case checksum(stored: UInt32, computed: UInt32)
        /// A field's value is out of its range; `rule` says in words what it must be.
        case field(String, value: UInt64, rule: String)
        /// A chain or a tree comes back to where it was, or is deeper than the format allows.
        case cycle
        /// The structure ends before what it says it holds.
        case truncated
        /// Any other rule, in words.
        case broken(String)
    }

    /// The structure.
    public let structure: Structure
    /// Where it stands.
    public let place: Place
    /// What is wrong with it.
    public let rule: Rule

    /// Makes the description of a broken rule.
    public init(_ structure: Structure, at place: Place = .init(), _ rule: Rule) {
        self.structure = structure
        self.place = place
        self.rule = rule
    }
}

extension Corruption: CustomStringConvertible {
    /// The corruption in words.
    public var description: String {
        "corrupt \(structure.rawValue)\(place.description): \(rule.description)"
    }
}

extension Corruption.Place: CustomStringConvertible {
    /// The place in words, with a blank before it, or nothing.
    public var description: String {
        var text = ""
        if let inode { text += " of inode \(inode)" }
        if let group { text += " of group \(group)" }
        if let logicalBlock { text += ", file block \(logicalBlock)" }
        if let block { text += " at block \(block)" }
        if let byteOffset { text += " at byte \(byteOffset)" }
        return text
    }
}

extension Corruption.Rule: CustomStringConvertible {
    /// The rule in words.
    public var description: String {
        switch self {
        case .magic(let found): "wrong magic number 0x\(String(found, radix: 16))"
        case .checksum(let stored, let computed):
            "the checksum is 0x\(String(stored, radix: 16)), the bytes give 0x\(String(computed, radix: 16))"
        case .field(let name, let value, let rule): "\(name) is \(value), must be \(rule)"
        case .cycle: "it leads back to itself or is too deep"
        case .truncated: "it ends too early"
        case .broken(let words): words
        }
    }
}

extension Ext4Error {
    /// A corruption error in one call.
    package static func corrupt(
        _ structure: Corruption.Structure, at place: Corruption.Place = .init(),
        _ rule: Corruption.Rule
    ) -> Ext4Error {
        .corrupt(Corruption(structure, at: place, rule))
    }
}
