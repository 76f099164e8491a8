/// The blocks that the volume's own structures take: superblocks, descriptors, bitmaps, inode
/// tables, and whatever else its owner adds. They are never given to a file, nor freed.
struct OwnBlocks: Sendable {
    /// In order, apart from each other.
    private let ranges: [BlockRange]

    /// Takes what the superblock and the descriptors of all groups say, and `others`.
    init(
        _ superblock: Superblock, _ groups: GroupTable, others: [BlockRange]
    ) throws(Ext4Error) {
        // With flex_bg the structures of one kind lie side by side: most are merged at once.
        var copies: [BlockRange] = []
        var blockBitmaps: [BlockRange] = []
        var inodeBitmaps: [BlockRange] = []
        var tables: [BlockRange] = []
        let tableBlocks = UInt64(superblock.inodeTableBlocks)
        for number in 0..<superblock.groupCount {
            let group = GroupNumber(number)
            let descriptor = try groups.descriptor(of: group)
            copies.append(
                merging: BlockRange(
                    start: superblock.firstBlock(of: group),
                    count: UInt64(superblock.copiedBlockCount(of: group))))
            blockBitmaps.append(merging: BlockRange(start: descriptor.blockBitmap, count: 1))
            inodeBitmaps.append(merging: BlockRange(start: descriptor.inodeBitmap, count: 1))
            tables.append(
                merging: BlockRange(start: descriptor.inodeTable, count: tableBlocks))
        }
        var all = others + copies + blockBitmaps + inodeBitmaps + tables
        all.sort { $0.start < $1.start }
        var merged: [BlockRange] = []
        for range in all { merged.append(merging: range) }
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

extension [BlockRange] {
    /// Appends `range`, to the last one when it starts in that or right behind it.
    fileprivate mutating func append(merging range: BlockRange) {
        guard range.count > 0 else { return }
        guard let last, last.start <= range.start, range.start <= last.end else {
            append(range)
            return
        }
        let end = Swift.max(last.end, range.end)
        self[count - 1] = BlockRange(
            start: last.start, count: end.rawValue &- last.start.rawValue)
    }
}
