// Changing the map of a file.
//
// An editor works on a copy of the inode's root; the blocks below it are changed in place, in the
// handle's transaction. Invariants:
//  1. What a change of the tree needs in new blocks is allocated before the first node is changed.
//  2. Every block's contents are remembered by the handle before they change: when the closure of
//     the handle fails, the map is as it was, as the root was never stored. An editor, and the
//     handle, are of no more use after an error.
//  3. The key of an entry of an inner node is the first block of the node that it leads to; no node
//     but an empty root is without entries. (Trees of others may have lower keys and empty leaves:
//     they are read as they are, and put right where they are changed.)

/// Changes the map of one file, an extent tree or an indirect map.
///
/// The caller holds the inode's lock.
struct MapEditor {
    let reader: BlockReader
    let owner: BlockOwner
    let blocks: any TreeBlocks
    var spender: Spender
    /// Whether the map is an extent tree; an indirect map otherwise.
    let usesExtents: Bool
    /// The inode's part of the map, to be stored into it when `rootChanged`.
    var root: MapRoot
    /// Whether the root is another than the inode's.
    var rootChanged = false
    /// Blocks of the map itself that were allocated, less those that were freed.
    var metadataBlocksDelta = 0
    /// Whether entries of a leaf went: the tree may fit into fewer nodes.
    var hasShrunk = false

    /// Makes an editor of the map that starts with `root`.
    init(
        _ root: MapRoot, usesExtents: Bool, owner: BlockOwner, reader: BlockReader,
        blocks: any TreeBlocks, spender: Spender
    ) {
        self.root = root
        self.usesExtents = usesExtents
        self.owner = owner
        self.reader = reader
        self.blocks = blocks
        self.spender = spender
    }

    /// The first block that no extent may hold: the last number stands for no block
    /// (`EXT_MAX_BLOCKS`).
    static let extentsEnd = LogicalBlock(0xFFFF_FFFF)

    /// The run that holds `block`, as `FileMap.run(at:)` gives it.
    func run(at block: LogicalBlock) throws(Ext4Error) -> BlockRun {
        try usesExtents ? tree.run(at: block) : pointers.run(at: block)
    }

    /// Maps a hole: all of `run`, which is no hole, becomes part of the file.
    ///
    /// - Throws: `.fileTooLarge` beyond the map's reach; `.notSupported` for an unwritten run of an
    ///   indirect map; `.noSpace`; `.corrupt`, also when a block of it is mapped already; `.io`.
    mutating func insert(_ run: BlockRun, in handle: inout Handle) throws(Ext4Error) {
        guard run.start != nil else { throw .invalidArgument }
        if usesExtents {
            try insertExtents(run, in: &handle)
        } else {
            try insertPointers(run, in: &handle)
        }
    }

    /// Makes what is mapped in `range` written or unwritten; its holes stay holes.
    ///
    /// - Throws: `.notSupported` for an indirect map; `.noSpace`, `.corrupt`, `.io`.
    mutating func convert(
        _ range: Range<LogicalBlock>, toWritten isWritten: Bool, in handle: inout Handle
    ) throws(Ext4Error) {
        guard usesExtents else { throw .notSupported }
        try convertExtents(range, toWritten: isWritten, in: &handle)
    }

    /// Makes a hole of `range`, from its end backwards, as far as `limit` goes: that many extents
    /// and nodes, about; one at least. Of contents that go through the journal it takes fewer, as
    /// each block is revoked when it is freed.
    ///
    /// - Returns: the blocks of contents that were there and are the caller's to free, and when it
    ///   did not come to the start of `range`, how far it came: everything from there on is done.
    /// - Throws: `.noSpace` when a node must be split for it and not a block is left; `.corrupt`,
    ///   `.io`.
    mutating func remove(
        _ range: Range<LogicalBlock>, limit: Int, isLogged: Bool = false, in handle: inout Handle
    ) throws(Ext4Error) -> (freed: [BlockRange], resumeAt: LogicalBlock?) {
        // To free blocks must go on when there is none left.
        let spender = spender
        self.spender = .essential
        defer { self.spender = spender }
        // To free blocks changes the bitmap of each group that they lie in.
        var blocksPerCredit = Int(reader.superblock.blocksPerGroup)
        if isLogged {
            blocksPerCredit = min(blocksPerCredit, JournalRevoke.capacity(handle.journal.format))
        }
        var removal = MapRemoval(range, limit: limit, blocksPerCredit: blocksPerCredit)
        if usesExtents {
            try removeExtents(&removal, in: &handle)
        } else {
            try removePointers(&removal, in: &handle)
        }
        return (removal.freed, removal.resumeAt)
    }

    /// Moves everything from block `start` on by `distance` blocks: to the front, over a hole that
    /// must be there, or to the back, which leaves one.
    ///
    /// - Throws: `.notSupported` for an indirect map; `.invalidArgument` when there is no hole, or
    ///   not enough before it; `.fileTooLarge`; `.noSpace`, `.corrupt`, `.io`.
    mutating func shift(
        from start: LogicalBlock, by distance: Int64, in handle: inout Handle
    ) throws(Ext4Error) {
        guard usesExtents else { throw .notSupported }
        try shiftExtents(from: start, by: distance, in: &handle)
    }

    /// The map as an extent tree, to look things up.
    var tree: ExtentTree { ExtentTree(reader: reader, owner: owner, root: root) }

    /// The map as one by pointers, to look things up.
    var pointers: IndirectMap { IndirectMap(reader: reader, owner: owner, root: root) }

    // MARK: Blocks of the map

    /// Allocates a block for a node or for pointers.
    mutating func allocateBlock(
        near goal: BlockNumber, in handle: inout Handle
    ) throws(Ext4Error) -> BlockNumber {
        let block = try blocks.allocate(near: goal, for: spender, in: &handle)
        metadataBlocksDelta &+= 1
        return block
    }

    /// Frees a block of the map.
    mutating func freeBlock(_ block: BlockNumber, in handle: inout Handle) throws(Ext4Error) {
        try blocks.free(BlockRange(start: block, count: 1), isMetadata: true, in: &handle)
        metadataBlocksDelta &-= 1
    }

    /// The error for a block that is to be mapped and is.
    func alreadyMapped(_ block: LogicalBlock) -> Ext4Error {
        .corrupt(
            usesExtents ? .extentNode : .indirectBlock,
            at: .init(inode: owner.inode, logicalBlock: block),
            .broken("a block that is to be mapped is mapped already"))
    }
}
