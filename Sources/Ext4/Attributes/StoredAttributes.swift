// All attributes of one inode, and which of the three places a value goes to: the inode while it
// has room, else the block, else, on volumes with the feature `ea_inode`, an inode of its own. That
// order is the kernel's, and so is that nothing moves but what is set.

/// The attributes in an inode and in its block, to be changed together.
struct StoredAttributes: Hashable, Sendable {
    /// Where a value went.
    enum Placement: Hashable, Sendable {
        /// Into the inode or the block.
        case stored
        /// Nowhere yet: it needs an inode of its own, and nothing is changed.
        case needsInode
    }

    /// Those in the inode.
    private(set) var inInode: AttributeSet
    /// Those in the block; none for an inode without a block.
    private(set) var inBlock: AttributeSet
    /// Whether a value may have an inode of its own.
    let hasAttributeInodes: Bool

    /// The attributes of an inode.
    init(inInode: AttributeSet, inBlock: AttributeSet, hasAttributeInodes: Bool) {
        self.inInode = inInode
        self.inBlock = inBlock
        self.hasAttributeInodes = hasAttributeInodes
    }

    /// All of them; a name of the inode hides the same one of the block.
    func item(named name: AttributeName) -> AttributeSet.Item? {
        inInode.item(named: name) ?? inBlock.item(named: name)
    }

    /// Values that have inodes of their own, as often as they are named.
    var valueInodes: [(inode: InodeNumber, size: Int)] {
        inInode.valueInodes + inBlock.valueInodes
    }

    /// Gives `name` a value.
    ///
    /// - Throws: `.noSpace` when no place has room for it.
    mutating func set(_ name: AttributeName, to value: [UInt8]) throws(Ext4Error) -> Placement {
        guard !prefersInode(value.count) else { return .needsInode }
        if inInode.set(name, to: value) {
            inBlock.remove(name)
            return .stored
        }
        if inBlock.set(name, to: value, reserve: value.isEmpty ? 0 : blockReserve) {
            inInode.remove(name)
            return .stored
        }
        guard hasAttributeInodes, !value.isEmpty else { throw .noSpace }
        return .needsInode
    }

    /// Gives `name` a value that has an inode of its own, which keeps `hash` of it.
    ///
    /// - Throws: `.noSpace` when not even the entry has room.
    mutating func set(
        _ name: AttributeName, toValueIn inode: InodeNumber, size: Int, hash: UInt32
    ) throws(Ext4Error) {
        if inInode.set(name, toValueIn: inode, size: size, hash: hash) {
            inBlock.remove(name)
        } else if inBlock.set(name, toValueIn: inode, size: size, hash: hash) {
            inInode.remove(name)
        } else {
            throw .noSpace
        }
    }

    /// Takes `name` away.
    ///
    /// - Returns: whether it was there.
    mutating func remove(_ name: AttributeName) -> Bool {
        let wasInInode = inInode.remove(name)
        return inBlock.remove(name) || wasInInode
    }

    // MARK: Inline contents

    /// How many bytes `system.data` can have, with all other attributes where they are; nil when
    /// the inode has no room even for its entry.
    var inlineRoom: Int? { inInode.room(for: .inlineData) }

    /// Sets the rest of inline contents, which stands in the inode or nowhere.
    ///
    /// - Throws: `.noSpace` when it does not fit.
    mutating func setInlineData(_ value: [UInt8]) throws(Ext4Error) {
        guard inInode.set(.inlineData, to: value) else { throw .noSpace }
    }

    // MARK: Rules of size

    /// `EXT4_XATTR_MIN_LARGE_EA_SIZE`: a value that would fill a block alone goes into an inode at
    /// once, without trying.
    private func prefersInode(_ count: Int) -> Bool {
        guard hasAttributeInodes else { return false }
        let smallName = 3
        return XAttrEntryRecord.padded(count)
            > inBlock.capacity &- XAttrEntryRecord.size(nameLength: smallName)
    }

    /// `EXT4_XATTR_BLOCK_RESERVE`: where large values can go elsewhere, the first eighth of the
    /// block, at most 1024 bytes, is for entries.
    private var blockReserve: Int {
        hasAttributeInodes ? min(inBlock.area.byteCount / 8, 1024) : 0
    }
}
