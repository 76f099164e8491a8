// Files of a new volume: the maps of the volume's own ones, and their inodes.

extension VolumeMaker {
    /// A file of the volume's own: its blocks in the file's order, and what else its map took.
    struct OwnFile {
        /// The blocks that hold the file.
        var runs: [Range<UInt64>]
        /// `i_block`.
        var map: [UInt8]
        /// Clusters and nodes, as blocks.
        var blockCount: UInt64
    }

    var usesExtents: Bool { superblock.incompatible.contains(.extents) }

    /// A new inode with all times the volume's.
    func newInode(mode: UInt16, links: UInt16, flags: InodeFlags = []) -> InodeRecord {
        var record = InodeRecord(zeroedFor: superblock)
        record[InodeRecord.Layout.mode] = mode
        record[InodeRecord.Layout.linkCount] = links
        record.flags = flags
        setTimes(of: &record)
        return record
    }

    func setTimes(of record: inout InodeRecord) {
        record.setAccessTime(time)
        record.setChangeTime(time)
        record.setModificationTime(time)
        record.setCreationTime(time)
    }

    /// Takes blocks for a file and maps them.
    func makeFile(
        _ count: UInt64, inode: InodeNumber, from goal: UInt64 = 0
    ) throws(Ext4Error) -> OwnFile {
        if usesExtents {
            let runs = try takeFirst(count, from: goal)
            let owner = BlockOwner(
                inode: inode,
                checksumSeed: InodeRecord.checksumSeed(
                    inode, generation: 0, seed: superblock.checksumSeed))
            let (map, nodes) = try extents(runs, count, owner)
            return OwnFile(
                runs: runs, map: map,
                blockCount: wholeClusters(count, up: true)
                    + nodes << UInt64(superblock.clusterRatioLog2))
        }
        return try makePointers(count, from: goal)
    }

    /// Fills an inode with a file's map and sizes.
    func put(_ file: OwnFile, size: UInt64, in record: inout InodeRecord) throws(Ext4Error) {
        record.block = file.map
        record.setSize(size)
        if usesExtents { record.flags.insert(.extents) }
        try record.addBlocks(Int64(clamping: file.blockCount), superblock)
    }

    // MARK: Extents

    private typealias Entry = (key: UInt64, child: UInt64)

    /// The map of a file of `count` blocks in `runs`, and how many nodes it took outside the inode.
    private func extents(
        _ runs: [Range<UInt64>], _ count: UInt64, _ owner: BlockOwner
    ) throws(Ext4Error) -> ([UInt8], nodes: UInt64) {
        let pieces = Self.pieces(runs, count)
        var root = [UInt8](repeating: 0, count: InodeRecord.Layout.block.count)
        let rootCapacity = root.count / ExtentNode.entrySize - 1
        guard pieces.count > rootCapacity else {
            Self.writeLeaf(pieces[...], maximum: rootCapacity, to: &root)
            return (root, 0)
        }
        let capacity = ExtentNode.capacity(blockSize: blockSize)
        var nodes: UInt64 = 0
        var level: [Entry] = []
        for start in stride(from: 0, to: pieces.count, by: capacity) {
            let part = pieces[start..<min(start + capacity, pieces.count)]
            var node = [UInt8](repeating: 0, count: blockSize)
            Self.writeLeaf(part, maximum: capacity, to: &node)
            level.append((part.first?.logical.rawValue ?? 0, try place(&node, owner)))
            nodes += 1
        }
        var depth = 1
        while level.count > rootCapacity {
            var above: [Entry] = []
            for start in stride(from: 0, to: level.count, by: capacity) {
                let part = level[start..<min(start + capacity, level.count)]
                var node = [UInt8](repeating: 0, count: blockSize)
                Self.writeIndex(part, maximum: capacity, depth: depth, to: &node)
                above.append((part.first?.key ?? 0, try place(&node, owner)))
                nodes += 1
            }
            level = above
            depth += 1
        }
        Self.writeIndex(level[...], maximum: rootCapacity, depth: depth, to: &root)
        return (root, nodes)
    }

    /// Runs of blocks as extents that are not too long.
    private static func pieces(_ runs: [Range<UInt64>], _ count: UInt64) -> [BlockRun] {
        var pieces: [BlockRun] = []
        var logical: UInt64 = 0
        for run in runs {
            var start = run.lowerBound
            while start < run.upperBound, logical < count {
                let length = min(
                    run.upperBound - start, UInt64(ExtentNode.maximumLength), count - logical)
                pieces.append(
                    BlockRun(
                        logical: LogicalBlock(logical), count: length,
                        state: .mapped(BlockNumber(start))))
                start += length
                logical += length
            }
        }
        return pieces
    }

    private static func writeLeaf(
        _ runs: ArraySlice<BlockRun>, maximum: Int, to bytes: inout [UInt8]
    ) {
        var span = bytes.mutableSpan
        var node = unsafe span.mutableBytes
        ExtentNode.writeHeader(to: &node, count: runs.count, maximum: maximum, depth: 0)
        for (i, run) in runs.enumerated() { ExtentNode.setExtent(run, at: i, of: &node) }
    }

    private static func writeIndex(
        _ entries: ArraySlice<Entry>, maximum: Int, depth: Int, to bytes: inout [UInt8]
    ) {
        var span = bytes.mutableSpan
        var node = unsafe span.mutableBytes
        ExtentNode.writeHeader(to: &node, count: entries.count, maximum: maximum, depth: depth)
        for (i, entry) in entries.enumerated() {
            ExtentNode.setChild(
                BlockNumber(entry.child), from: LogicalBlock(entry.key), at: i, of: &node)
        }
    }

    /// Takes a block for a node and writes it there.
    private func place(_ node: inout [UInt8], _ owner: BlockOwner) throws(Ext4Error) -> UInt64 {
        guard let block = try takeFirst(1).first?.lowerBound else { throw .noSpace }
        if superblock.hasMetadataChecksums {
            var span = node.mutableSpan
            var raw = unsafe span.mutableBytes
            ExtentNode.seal(&raw, owner: owner)
        }
        try write(node, atBlock: block)
        return block
    }

    // MARK: Pointers

    /// A file mapped by pointers: the blocks of pointers lie among its own, each before the first
    /// block that it leads to.
    private func makePointers(
        _ count: UInt64, from goal: UInt64
    ) throws(Ext4Error) -> OwnFile {
        let perBlock = UInt64(blockSize / 4)
        var tables: UInt64 = 0
        if count > 12 {
            let behind = count - 12
            tables = VolumeGeometry.ceiling(behind, perBlock)
            if behind > perBlock {
                let second = behind - perBlock
                tables += VolumeGeometry.ceiling(
                    min(second, perBlock * perBlock), perBlock * perBlock)
                if second > perBlock * perBlock {
                    let third = second - perBlock * perBlock
                    tables += 1 + VolumeGeometry.ceiling(third, perBlock * perBlock)
                    guard third <= perBlock * perBlock * perBlock else { throw .fileTooLarge }
                }
            }
        }
        let runs = try takeFirst(count + tables, from: goal)
        var stream = BlockStream(runs)
        var pointers = PointerTables(perBlock: perBlock)
        var data: [Range<UInt64>] = []
        for logical in 0..<count {
            for level in pointers.tablesBefore(logical) {
                guard let block = stream.next() else { throw .noSpace }
                try pointers.open(level, at: block) { (bytes, block) throws(Ext4Error) in
                    try self.write(bytes, atBlock: block)
                }
            }
            guard let block = stream.next() else { throw .noSpace }
            pointers.set(logical, to: block)
            if let last = data.last, last.upperBound == block {
                data[data.count - 1] = last.lowerBound..<block + 1
            } else {
                data.append(block..<block + 1)
            }
        }
        try pointers.close { (bytes, block) throws(Ext4Error) in
            try self.write(bytes, atBlock: block)
        }
        return OwnFile(runs: data, map: pointers.root, blockCount: count + tables)
    }
}

/// The blocks of runs, one after the other.
private struct BlockStream {
    private let runs: [Range<UInt64>]
    private var index = 0
    private var place: UInt64

    init(_ runs: [Range<UInt64>]) {
        self.runs = runs
        place = runs.first?.lowerBound ?? 0
    }

    mutating func next() -> UInt64? {
        guard index < runs.count else { return nil }
        let block = place
        place += 1
        if place == runs[index].upperBound {
            index += 1
            if index < runs.count { place = runs[index].lowerBound }
        }
        return block
    }
}

/// The tables that lead to the blocks of a file that is mapped from its first block to its last.
private struct PointerTables {
    private let perBlock: UInt64
    /// `i_block`.
    private(set) var root = [UInt8](repeating: 0, count: InodeRecord.Layout.block.count)
    /// The table of each level that is being filled: where it is, what it holds, and how much.
    private var tables: [(block: UInt64, bytes: [UInt8], used: Int)?] = [nil, nil, nil]

    init(perBlock: UInt64) { self.perBlock = perBlock }

    /// The levels of the tables that must be there before block `logical`, from the top: 0 leads
    /// to blocks of the file.
    mutating func tablesBefore(_ logical: UInt64) -> [Int] {
        guard logical >= 12 else { return [] }
        let index = logical - 12
        guard index > 0 else { return [0] }
        guard index >= perBlock, (index - perBlock) % perBlock == 0 else { return [] }
        let second = index - perBlock
        if second == 0 { return [1, 0] }
        guard second >= perBlock * perBlock else { return [0] }
        let third = second - perBlock * perBlock
        if third == 0 { return [2, 1, 0] }
        return third % (perBlock * perBlock) == 0 ? [1, 0] : [0]
    }

    /// Begins a table of `level` at `block`; the one before it is full.
    mutating func open(
        _ level: Int, at block: UInt64, _ write: ([UInt8], UInt64) throws(Ext4Error) -> Void
    ) throws(Ext4Error) {
        if let full = tables[level] { try write(full.bytes, full.block) }
        tables[level] = (block, [UInt8](repeating: 0, count: Int(perBlock) * 4), 0)
        if level < 2, tables[level + 1] != nil {
            append(block, to: level + 1)
        } else {
            Self.set(block, at: 12 + level, of: &root)
        }
    }

    mutating func set(_ logical: UInt64, to block: UInt64) {
        if logical < 12 {
            Self.set(block, at: Int(logical), of: &root)
        } else {
            append(block, to: 0)
        }
    }

    private mutating func append(_ block: UInt64, to level: Int) {
        guard var table = tables[level] else { return }
        tables[level] = nil
        Self.set(block, at: table.used, of: &table.bytes)
        table.used += 1
        tables[level] = table
    }

    private static func set(_ block: UInt64, at index: Int, of bytes: inout [UInt8]) {
        var span = bytes.mutableSpan
        var raw = unsafe span.mutableBytes
        raw[Field<UInt32>.le(4 * index)] = UInt32(truncatingIfNeeded: block)
    }

    /// Writes the tables that are left.
    func close(_ write: ([UInt8], UInt64) throws(Ext4Error) -> Void) throws(Ext4Error) {
        for case let table? in tables { try write(table.bytes, table.block) }
    }
}
