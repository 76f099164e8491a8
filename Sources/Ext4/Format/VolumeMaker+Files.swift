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
        let builder = MapBuilder(
            blockSize: blockSize,
            owner: BlockOwner(
                inode: inode,
                checksumSeed: InodeRecord.checksumSeed(
                    inode, generation: 0, seed: superblock.checksumSeed)),
            usesExtents: usesExtents, hasChecksums: superblock.hasMetadataChecksums)
        var runs: [Range<UInt64>] = []
        var nodes: [BlockNumber] = []
        if usesExtents {
            runs = try takeFirst(count, from: goal)
            for _ in 0..<builder.nodeCount(of: Self.blockRuns(runs, count)) {
                // The last free block before the file, or the first one behind.
                let near = max(runs.first?.lowerBound ?? 0, 1) - 1
                guard let block = try takeFirst(1, from: near).first?.lowerBound else {
                    throw .noSpace
                }
                nodes.append(BlockNumber(block))
            }
        } else {
            (runs, nodes) = try takeWithTables(count, from: goal)
        }
        let map = builder.map(of: Self.blockRuns(runs, count), nodes: nodes)
        for (block, bytes) in zip(nodes, map.nodes) { try write(bytes, atBlock: block.rawValue) }
        let ratio = UInt64(superblock.clusterRatioLog2)
        return OwnFile(
            runs: runs, map: map.root,
            blockCount: wholeClusters(count, up: true) + UInt64(nodes.count) << ratio)
    }

    /// The first `count` blocks of `runs` as the blocks of a file from its start on.
    private static func blockRuns(_ runs: [Range<UInt64>], _ count: UInt64) -> [BlockRun] {
        var logical: UInt64 = 0
        var mapped: [BlockRun] = []
        for run in runs where logical < count {
            let length = min(run.upperBound - run.lowerBound, count - logical)
            mapped.append(
                BlockRun(
                    logical: LogicalBlock(logical), count: length,
                    state: .mapped(BlockNumber(run.lowerBound))))
            logical += length
        }
        return mapped
    }

    /// Fills an inode with a file's map and sizes.
    func put(_ file: OwnFile, size: UInt64, in record: inout InodeRecord) throws(Ext4Error) {
        record.block = file.map
        record.setSize(size)
        if usesExtents { record.flags.insert(.extents) }
        try record.addBlocks(Int64(clamping: file.blockCount), superblock)
    }

    // MARK: Pointers

    /// Takes blocks for a file that is mapped by pointers: the tables lie among its own blocks,
    /// each before the first block that it leads to.
    private func takeWithTables(
        _ count: UInt64, from goal: UInt64
    ) throws(Ext4Error) -> ([Range<UInt64>], [BlockNumber]) {
        let perTable = UInt64(blockSize / 4)
        guard count <= 12 + perTable + perTable * perTable * (1 + perTable) else {
            throw .fileTooLarge
        }
        // The blocks of the file before which new tables stand, and how many.
        var steps: [(at: UInt64, tables: UInt64)] = []
        var tables: UInt64 = 0
        for first in stride(from: 12, to: count, by: UInt64.Stride(perTable)) {
            let index = (first - 12) / perTable
            var levels: UInt64 = 1
            if index == 1 {
                levels = 2
            } else if index > perTable, (index - 1 - perTable) % perTable == 0 {
                levels = index == 1 + perTable ? 3 : 2
            }
            steps.append((first, levels))
            tables += levels
        }
        var places = try takeFirst(count + tables, from: goal)[...]
        func next(_ count: UInt64) -> [Range<UInt64>] {
            var missing = count
            var parts: [Range<UInt64>] = []
            while missing > 0, let run = places.first {
                let part = run.lowerBound..<min(run.upperBound, run.lowerBound + missing)
                parts.append(part)
                missing -= part.upperBound - part.lowerBound
                places.removeFirst()
                if part.upperBound < run.upperBound {
                    places.insert(part.upperBound..<run.upperBound, at: places.startIndex)
                }
            }
            return parts
        }
        var runs = next(min(count, 12))
        var nodes: [BlockNumber] = []
        for step in steps {
            // The highest comes first on the volume, and last in the list.
            nodes += next(step.tables).flatMap { $0.map(BlockNumber.init) }.reversed()
            runs += next(min(perTable, count - step.at))
        }
        return (runs, nodes)
    }
}
