/// The map of an ext2 or ext3 file: 12 direct pointers in the inode, and three trees of blocks of
/// pointers, one, two and three levels deep. A pointer of 0 is a hole of all that it would cover.
struct IndirectMap: Sendable {
    let reader: BlockReader
    let owner: BlockOwner
    /// The inode; its `i_block` holds the 15 pointers.
    let record: InodeRecord

    /// Pointers in `i_block` that lead to data (`EXT4_NDIR_BLOCKS`).
    private static let directCount: UInt64 = 12

    /// The run that holds `block`, from `block` on: as many blocks as one block of pointers, or
    /// one hole, tells of.
    func run(at block: LogicalBlock) throws(Ext4Error) -> BlockRun {
        var none: Set<BlockNumber>?
        return try run(at: block, entering: &none)
    }

    /// As `run(at:)`, for a walk that goes through the map in order.
    ///
    /// - Parameter entered: the blocks of pointers that the walk has come to. Without it a few
    ///   blocks that lead to one another stand for a file of more pieces than memory holds.
    /// - Throws: `.corrupt` also for a block of pointers that the walk comes to a second time.
    func run(
        at block: LogicalBlock, entering entered: inout Set<BlockNumber>?
    ) throws(Ext4Error) -> BlockRun {
        let perBlockLog2 = UInt64(reader.superblock.blockSizeLog2 - 2)
        if block.rawValue < Self.directCount {
            return try record.withBlock { (pointers) throws(Ext4Error) in
                try run(
                    in: pointers, from: Int(block.rawValue), to: Int(Self.directCount), at: block)
            }
        }
        // The tree of `level` levels covers 2^(level · perBlockLog2) blocks.
        var offset = block.rawValue - Self.directCount
        var level: UInt64 = 1
        while level <= 3, offset >> (level * perBlockLog2) != 0 {
            offset -= 1 << (level * perBlockLog2)
            level += 1
        }
        guard level <= 3 else { return .hole(from: block) }
        let root = Int(Self.directCount + level - 1)
        var pointer = record.blockWord(root)
        while level > 0 {
            guard pointer != 0 else {
                // All of this subtree that lies behind the block is a hole.
                let covered: UInt64 = 1 << (level * perBlockLog2)
                return BlockRun(
                    logical: block, count: covered - (offset & (covered - 1)), state: .hole)
            }
            let child = BlockNumber(UInt64(pointer))
            // A walk comes to a block of pointers with the first block that it covers.
            let isFirst = offset & (1 << (level * perBlockLog2) - 1) == 0
            if isFirst, entered?.insert(child).inserted == false {
                throw .corrupt(
                    .indirectBlock,
                    at: .init(inode: owner.inode, logicalBlock: block, block: child), .cycle)
            }
            level -= 1
            let buffer = try reader.buffer(
                of: child, for: .indirectBlock,
                at: .init(inode: owner.inode, logicalBlock: block))
            let slot = Int((offset >> (level * perBlockLog2)) & ((1 << perBlockLog2) - 1))
            if level == 0 {
                return try buffer.withBytes { (pointers) throws(Ext4Error) in
                    try run(in: pointers, from: slot, to: 1 << Int(perBlockLog2), at: block)
                }
            }
            pointer = buffer.withBytes { $0[Field<UInt32>.le(4 * slot)] }
        }
        return BlockRun(logical: block, count: 1, state: .hole)
    }

    /// The run that starts at pointer `slot` of `end`: consecutive blocks, or consecutive zeros.
    private func run(
        in pointers: RawSpan, from slot: Int, to end: Int, at block: LogicalBlock
    ) throws(Ext4Error) -> BlockRun {
        let first = pointers[Field<UInt32>.le(4 * slot)]
        var count = 1
        while slot + count < end {
            let next = pointers[Field<UInt32>.le(4 * (slot + count))]
            guard first == 0 ? next == 0 : UInt64(next) == UInt64(first) + UInt64(count) else {
                break
            }
            count += 1
        }
        guard first != 0 else {
            return BlockRun(logical: block, count: UInt64(count), state: .hole)
        }
        let start = BlockNumber(UInt64(first))
        guard reader.superblock.contains(start, count: UInt64(count)) else {
            throw .corrupt(
                .indirectBlock, at: .init(inode: owner.inode, logicalBlock: block),
                .field("block pointer", value: start.rawValue, rule: "inside the volume"))
        }
        return BlockRun(logical: block, count: UInt64(count), state: .mapped(start))
    }
}
