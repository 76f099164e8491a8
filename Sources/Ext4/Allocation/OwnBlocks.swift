/// The blocks that the volume's own structures take: superblocks, descriptors, bitmaps, inode
/// tables, and whatever else its owner adds. They are never given to a file, nor freed.
struct OwnBlocks: Sendable {
    /// In order, apart from each other.
    private let ranges: [BlockRange]

    /// Takes what the superblock and the descriptors of all groups say, and `others`.
    init(
        _ superblock: Superblock, _ groups: GroupTable, others: [BlockRange]
    ) throws(Ext4Error) {
        var all = others
        for number in 0..<superblock.groupCount {
            let group = GroupNumber(number)
            let descriptor = try groups.descriptor(of: group)
            let start = superblock.firstBlock(of: group)
            let count = superblock.copiedBlockCount(of: group)
            let pieces = [
                BlockRange(start: start, count: UInt64(count)),
                BlockRange(start: descriptor.blockBitmap, count: 1),
                BlockRange(start: descriptor.inodeBitmap, count: 1),
                BlockRange(
                    start: descriptor.inodeTable, count: UInt64(superblock.inodeTableBlocks)),
            ]
            for piece in pieces where piece.count > 0 {
                // Neighbours come one after the other: most are merged before they are sorted.
                if let last = all.last, last.end == piece.start {
                    all[all.count - 1] = BlockRange(
                        start: last.start, count: last.count &+ piece.count)
                } else {
                    all.append(piece)
                }
            }
        }
        all.sort { $0.start < $1.start }
        var merged: [BlockRange] = []
        for range in all {
            if let last = merged.last, range.start <= last.end {
                let end = max(last.end, range.end)
                merged[merged.count - 1] = BlockRange(
                    start: last.start, count: end.rawValue &- last.start.rawValue)
            } else {
                merged.append(range)
            }
        }
        ranges = merged
    }

    /// The first of the ranges that ends behind `block`, by index.
    private func firstIndex(endingBehind block: BlockNumber) -> Int {
        var low = 0
        var high = ranges.count
        while low < high {
            let middle = (low &+ high) / 2
            if ranges[middle].end <= block { low = middle &+ 1 } else { high = middle }
        }
        return low
    }

    /// Whether any block of `range` is one of them.
    func intersects(_ range: BlockRange) -> Bool {
        let index = firstIndex(endingBehind: range.start)
        return index < ranges.count && ranges[index].start < range.end
    }

    /// Calls `body` for each part of them that lies in `range`, in order.
    func forEachPart(in range: BlockRange, _ body: (BlockRange) -> Void) {
        var index = firstIndex(endingBehind: range.start)
        while index < ranges.count, ranges[index].start < range.end {
            let start = max(ranges[index].start, range.start)
            let end = min(ranges[index].end, range.end)
            body(BlockRange(start: start, count: end.rawValue &- start.rawValue))
            index &+= 1
        }
    }
}

extension Superblock {
    /// How many blocks at the start of `group` hold a superblock, descriptors, and the room that
    /// descriptors may grow into.
    func copiedBlockCount(of group: GroupNumber) -> UInt32 {
        let perBlock = descriptorsPerBlock
        let hasMetaGroups = incompatible.contains(.metaBg)
        let metaGroup = group.rawValue / perBlock
        let own: UInt32 = hasSuperblock(group) ? 1 : 0
        if hasMetaGroups, metaGroup >= firstMetaGroup {
            let slot = group.rawValue % perBlock
            return own + (slot == 0 || slot == 1 || slot == perBlock - 1 ? 1 : 0)
        }
        guard own > 0 else { return 0 }
        let descriptorBlocks =
            hasMetaGroups
            ? firstMetaGroup
            : (groupCount + perBlock - 1) / perBlock + UInt32(reservedDescriptorBlocks)
        return min(own + descriptorBlocks, blockCount(of: group))
    }
}
