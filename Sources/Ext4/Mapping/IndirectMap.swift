/// The map of an ext2 or ext3 file: 12 direct pointers in the inode, and three trees of blocks of
/// pointers, one, two and three levels deep. A pointer of 0 is a hole of all that it would cover.
struct IndirectMap: Sendable {
    let reader: BlockReader
    let owner: BlockOwner
    /// The 15 pointers of the inode.
    let root: MapRoot

    /// Pointers in the inode that lead to data (`EXT4_NDIR_BLOCKS`).
    static let directCount: UInt64 = 12
    /// Levels of blocks of pointers, at most.
    static let maximumLevel: UInt64 = 3

    /// Pointer `index` of a block of pointers, or of the root.
    static func pointer(_ index: Int) -> Field<UInt32> { .le(4 &* index) }

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
        if block.rawValue < Self.directCount {
            return try root.withBytes { (pointers) throws(Ext4Error) in
                try run(
                    in: pointers, from: Int(block.rawValue), to: Int(Self.directCount), at: block)
            }
        }
        guard let place = place(of: block) else { return .hole(from: block) }
        var level = place.level
        let offset = place.offset
        var pointer = root.pointer(Int(Self.directCount + level - 1))
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
            pointer = buffer.withBytes { $0[Self.pointer(slot)] }
        }
        return BlockRun(logical: block, count: 1, state: .hole)
    }

    /// The tree that `block`, which has no direct pointer, belongs to: its levels, and how far in
    /// it stands. The tree of n levels covers as many blocks as a block has pointers, to the n-th.
    /// Nil for a block beyond the last tree.
    func place(of block: LogicalBlock) -> (level: UInt64, offset: UInt64)? {
        var offset = block.rawValue &- Self.directCount
        for level in 1...Self.maximumLevel {
            guard offset >> (level &* perBlockLog2) != 0 else { return (level, offset) }
            offset &-= 1 << (level &* perBlockLog2)
        }
        return nil
    }

    /// log2 of the pointers that a block has.
    var perBlockLog2: UInt64 { UInt64(reader.superblock.blockSizeLog2 &- 2) }

    /// The run that starts at pointer `slot` of `end`: consecutive blocks, or consecutive zeros.
    private func run(
        in pointers: RawSpan, from slot: Int, to end: Int, at block: LogicalBlock
    ) throws(Ext4Error) -> BlockRun {
        let first = pointers[Self.pointer(slot)]
        var count = 1
        while slot + count < end {
            let next = pointers[Self.pointer(slot + count)]
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
