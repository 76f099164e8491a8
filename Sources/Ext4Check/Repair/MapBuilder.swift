import Ext4

/// Writes a map anew from its runs: the nodes lie in blocks that were free, so that the old map
/// holds until the inode leads to the new one.
struct MapBuilder {
    let volume: RepairVolume

    /// Puts a map of `runs` into an inode's `i_block`.
    ///
    /// - Parameter owner: of the nodes.
    /// - Returns: false when there is no room for the nodes; the record is as it was then.
    func build(
        _ runs: [BlockRun], in record: inout Record, owner: BlockOwner
    ) throws(Ext4Error) -> Bool {
        let flags = InodeFlags(rawValue: record[InodeRecord.Layout.flags])
        let map =
            try flags.contains(.extents) ? extents(runs, owner: owner) : pointers(runs)
        guard let map else { return false }
        record.bytes.replaceSubrange(InodeRecord.Layout.block, with: map.bytes)
        return true
    }

    private typealias Entry = (key: UInt64, child: UInt64)

    private func extents(_ runs: [BlockRun], owner: BlockOwner) throws(Ext4Error) -> Record? {
        let runs = runs.flatMap(Self.pieces)
        var root = Record([UInt8](repeating: 0, count: InodeRecord.Layout.block.count))
        let rootCapacity = root.bytes.count / ExtentNode.entrySize - 1
        let capacity = ExtentNode.capacity(blockSize: volume.blockSize)
        if runs.count <= rootCapacity {
            root.withMutableBytes { node in
                ExtentNode.writeHeader(
                    to: &node, count: runs.count, maximum: rootCapacity, depth: 0)
                for (i, run) in runs.enumerated() { ExtentNode.setExtent(run, at: i, of: &node) }
            }
            return root
        }
        // Leaves first, then level by level what leads to them.
        var level: [Entry] = []
        for start in stride(from: 0, to: runs.count, by: capacity) {
            let part = runs[start..<min(start + capacity, runs.count)]
            guard let block = volume.allocateCluster() else { return nil }
            var node = volume.zeroes
            node.withMutableBytes { node in
                ExtentNode.writeHeader(to: &node, count: part.count, maximum: capacity, depth: 0)
                for (i, run) in part.enumerated() { ExtentNode.setExtent(run, at: i, of: &node) }
                seal(&node, owner)
            }
            try volume.setBlock(block, node)
            level.append((part.first?.logical.rawValue ?? 0, block))
        }
        var depth = 1
        while level.count > rootCapacity {
            var above: [Entry] = []
            for start in stride(from: 0, to: level.count, by: capacity) {
                let part = level[start..<min(start + capacity, level.count)]
                guard let block = volume.allocateCluster() else { return nil }
                var node = volume.zeroes
                node.withMutableBytes { node in
                    Self.write(part, maximum: capacity, depth: depth, to: &node)
                    seal(&node, owner)
                }
                try volume.setBlock(block, node)
                above.append((part.first?.key ?? 0, block))
            }
            level = above
            depth += 1
        }
        root.withMutableBytes { node in
            Self.write(level[...], maximum: rootCapacity, depth: depth, to: &node)
        }
        return root
    }

    private static func write(
        _ entries: ArraySlice<Entry>, maximum: Int, depth: Int, to node: inout MutableRawSpan
    ) {
        ExtentNode.writeHeader(to: &node, count: entries.count, maximum: maximum, depth: depth)
        for (i, entry) in entries.enumerated() {
            ExtentNode.setChild(
                BlockNumber(entry.child), from: LogicalBlock(entry.key), at: i, of: &node)
        }
    }

    private func seal(_ node: inout MutableRawSpan, _ owner: BlockOwner) {
        if volume.superblock.hasMetadataChecksums { ExtentNode.seal(&node, owner: owner) }
    }

    /// A run in pieces that an extent can hold.
    private static func pieces(_ run: BlockRun) -> [BlockRun] {
        var rest = run
        var pieces: [BlockRun] = []
        let longest = ExtentNode.longest(run)
        while rest.count > longest {
            pieces.append(rest.prefix(longest))
            rest = rest.suffix(from: LogicalBlock(rest.logical.rawValue &+ longest))
        }
        return pieces + [rest]
    }

    // MARK: Pointers

    private func pointers(_ runs: [BlockRun]) throws(Ext4Error) -> Record? {
        let perBlock = UInt64(volume.blockSize / 4)
        var blocks: [UInt64: UInt64] = [:]
        var root = Record([UInt8](repeating: 0, count: InodeRecord.Layout.block.count))
        // The contents of each block of pointers, by its level and the first block it is about.
        var tables: [Int: [UInt64: Record]] = [:]
        for run in runs {
            guard let start = run.start?.rawValue else { continue }
            for i in 0..<run.count {
                let logical = run.logical.rawValue &+ i
                if logical < 12 {
                    root[Field<UInt32>.le(4 * Int(logical))] = UInt32(
                        truncatingIfNeeded: start &+ i)
                } else {
                    blocks[logical] = start &+ i
                }
            }
        }
        var first: UInt64 = 12
        var span = perBlock
        for level in 1...3 {
            for (logical, block) in blocks where logical >= first && logical < first &+ span {
                let key = first &+ (logical &- first) / perBlock &* perBlock
                var table = tables[level]?[key] ?? volume.zeroes
                table[Field<UInt32>.le(4 * Int(logical &- key))] = UInt32(
                    truncatingIfNeeded: block)
                tables[level, default: [:]][key] = table
            }
            first &+= span
            span &*= perBlock
        }
        // From the lowest tables up to the word in the inode.
        first = 12
        span = perBlock
        for level in 1...3 {
            var current = tables[level] ?? [:]
            var width = perBlock
            for depth in 0..<level where !current.isEmpty {
                var above: [UInt64: Record] = [:]
                let wider = width &* perBlock
                for key in current.keys.sorted() {
                    guard let table = current[key], let block = volume.allocateCluster() else {
                        return nil
                    }
                    try volume.setBlock(block, table)
                    if depth == level - 1 {
                        root[Field<UInt32>.le(4 * (11 + level))] = UInt32(
                            truncatingIfNeeded: block)
                    } else {
                        let parent = first &+ (key &- first) / wider &* wider
                        var node = above[parent] ?? volume.zeroes
                        node[Field<UInt32>.le(4 * Int((key &- parent) / width))] = UInt32(
                            truncatingIfNeeded: block)
                        above[parent] = node
                    }
                }
                current = above
                width = wider
            }
            first &+= span
            span &*= perBlock
        }
        return root
    }
}
