// The journal as a file of a volume that has none so far, or is to have none from now on.

extension Volume {
    /// Makes inode 8 a file of zeros with the superblock of an empty log before them. Nobody uses
    /// it before the volume's superblock names it.
    ///
    /// - Parameters:
    ///   - first: the first block that it may have; nil for any.
    ///   - generation: the inode's, which tells one who makes it from another.
    /// - Returns: its record.
    /// - Throws: `.noSpace`, `.io`.
    func makeJournalFile(
        blocks: UInt64, behind first: BlockNumber? = nil, generation: UInt32 = 0
    ) throws(Ext4Error) -> InodeRecord {
        let writing = try requireWriting()
        let superblock = superblock
        let log2 = UInt64(superblock.blockSizeLog2)
        let device = writing.journal.device
        let usesExtents = superblock.incompatible.contains(.extents)
        let builder = MapBuilder(
            blockSize: superblock.blockSize,
            owner: BlockOwner(
                inode: .journal,
                checksumSeed: InodeRecord.checksumSeed(
                    .journal, generation: generation, seed: superblock.checksumSeed)),
            usesExtents: usesExtents, hasChecksums: superblock.hasMetadataChecksums)
        var reserved: [BlockRange] = []
        func reserve(_ count: UInt64) throws(Ext4Error) -> BlockRange {
            let goal = reserved.last?.end ?? first ?? firstGoal(for: .journal)
            var wanted = count
            while true {
                let range = try writing.blocks.reserve(
                    wanted, near: superblock.blocksCount > goal.rawValue ? goal : BlockNumber(0),
                    for: .essential)
                // A pointer has 32 bits.
                if range.start >= first ?? BlockNumber(0),
                    usesExtents || range.end.rawValue <= 1 << 32
                {
                    reserved.append(range)
                    return range
                }
                // The search goes around the end of the volume for a long run.
                writing.blocks.cancel(range)
                guard wanted > 1 else { throw .noSpace }
                wanted /= 2
            }
        }
        do throws(Ext4Error) {
            var runs: [BlockRun] = []
            var count: UInt64 = 0
            while count < blocks {
                let range = try reserve(blocks &- count)
                let run = BlockRun(
                    logical: LogicalBlock(count), count: range.count, state: .mapped(range.start))
                if let merged = runs.last?.merged(with: run) {
                    runs[runs.count - 1] = merged
                } else {
                    runs.append(run)
                }
                try device.writeZeros(at: range.start.rawValue << log2, count: range.count << log2)
                count &+= range.count
            }
            var nodes: [BlockNumber] = []
            while nodes.count < builder.nodeCount(of: runs) { nodes.append(try reserve(1).start) }
            let map = builder.map(of: runs, nodes: nodes)
            for (node, bytes) in zip(nodes, map.nodes) {
                try device.write(unsafe bytes.span.bytes, at: node.rawValue << log2)
            }
            if let start = runs.first?.start {
                let log = Self.emptyLog(blocks: blocks, blockSize: superblock.blockSize)
                try device.write(unsafe log.span.bytes, at: start.rawValue << log2)
            }
            try device.flush()
            let now = writing.clock()
            let inode = try inodes.inode(.journal)
            let taken = reserved
            try change { (handle, writing) throws(Ext4Error) in
                for range in taken { try writing.blocks.claim(range, in: &handle) }
                try update(inode, in: &handle) { (record) throws(Ext4Error) in
                    record = InodeRecord(zeroedFor: superblock)
                    record[InodeRecord.Layout.mode] = 0o100600
                    record[InodeRecord.Layout.linkCount] = 1
                    record[InodeRecord.Layout.generation] = generation
                    if usesExtents { record.flags.insert(.extents) }
                    record.block = map.root
                    record.setSize(blocks << log2)
                    try record.addBlocks(Int64(clamping: blocks) &+ Int64(nodes.count), superblock)
                    record.setModificationTime(now)
                    record.setChangeTime(now)
                }
            }
            return inode.record
        } catch {
            for range in reserved { writing.blocks.cancel(range) }
            throw error
        }
    }

    private static func emptyLog(blocks: UInt64, blockSize: Int) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: blockSize)
        var span = bytes.mutableSpan
        var raw = unsafe span.mutableBytes
        JournalSuperblock.writeNew(
            blockSize: blockSize, length: UInt32(clamping: blocks), fastCommitBlocks: 0, to: &raw)
        return bytes
    }

    /// Frees the blocks of one of the volume's own files, of which the number stays reserved.
    func removeOwnFile(_ number: InodeNumber) throws(Ext4Error) {
        let inode = try inodes.inode(number)
        try truncate(inode, to: 0, .privileged)
        try change { (handle, _) throws(Ext4Error) in
            try update(inode, in: &handle) { record in
                record = InodeRecord(zeroed: record.bytes.count, extraSize: 0)
            }
        }
    }
}

extension Superblock {
    /// Makes inode 8 the journal, of which the superblock keeps a copy of the map.
    static func setJournal(_ record: InodeRecord, in bytes: inout MutableRawSpan) {
        bytes[Layout.compatible] |= CompatibleFeatures.hasJournal.rawValue
        bytes[Layout.journalInode] = InodeNumber.journal.rawValue
        bytes[Layout.journalDevice] = 0
        bytes.clear(Layout.journalUUID)
        record.withBytes { source in
            let start = Layout.journalBackup.offset
            bytes.store(source.extracting(InodeRecord.Layout.block), at: start)
            bytes[Field<UInt32>.le(start + 60)] = source[InodeRecord.Layout.sizeHigh]
            bytes[Field<UInt32>.le(start + 64)] = source[InodeRecord.Layout.sizeLow]
        }
        bytes[Layout.journalBackupType] = 1  // EXT3_JNL_BACKUP_BLOCKS
    }

    /// Makes it a volume without a journal.
    static func clearJournal(in bytes: inout MutableRawSpan) {
        bytes[Layout.compatible] &=
            ~(CompatibleFeatures.hasJournal.rawValue | CompatibleFeatures.fastCommit.rawValue)
        bytes[Layout.journalInode] = 0
        bytes[Layout.journalDevice] = 0
        bytes.clear(Layout.journalUUID)
        let start = Layout.journalBackup.offset
        bytes.clear(start..<start + 17 * 4)
        bytes[Layout.journalBackupType] = 0
    }
}
