import Ext4

// The journal, multi-mount protection, orphans and the volume's own inodes.

extension RepairRound {
    private typealias Layout = InodeRecord.Layout
    private typealias Volume = Superblock.Layout

    func applyJournal(_ finding: Finding, _ attempt: Int) throws(Ext4Error) {
        switch finding.rule {
        case .mmpBlock:
            try dropMultiMount()
        case .mmpContents, .mmpInUse, .mmpSequence:
            try remakeMultiMount()
        case .journalInode:
            try remakeJournal(attempt)
        case .journalSuperblock, .journalFeatures, .journalLog, .journalUnmarked, .journalDirty:
            if attempt == 0, finding.rule != .journalUnmarked, finding.rule != .journalDirty {
                try emptyJournal()
            } else if attempt < 2 {
                try emptyJournal()
            } else {
                try remakeJournal(attempt)
            }
        case .journalError:
            try changeJournalSuperblock { $0[JournalSuperblock.Layout.errno] = 0 }
        case .journalUnused:
            try volume.changeSuperblock { record in
                record[Volume.journalInode] = 0
                record[Volume.journalDevice] = 0
                record[Volume.incompatible] &= ~IncompatibleFeatures.recover.rawValue
                record.fill(Volume.journalUUID)
                Self.clearJournalBackup(&record)
            }
            if volume.inode(8)?[Layout.mode] != 0 { try clearInode(8) }
        case .journalUUID:
            try volume.changeSuperblock { $0.fill(Volume.journalUUID) }
        case .journalBackup:
            try writeJournalBackup()
        case .orphanList, .orphanEntry, .orphanPresent, .orphanFileBlock:
            try processOrphans()
        case .orphanFileInode:
            try dropOrphanFile()
        case .resizeInode:
            try remakeResizeInode()
        case .quotaInode:
            try mendQuotaInodes(finding)
        default: break
        }
    }

    // MARK: Multi-mount protection

    func dropMultiMount() throws(Ext4Error) {
        try volume.changeSuperblock { record in
            record[Volume.incompatible] &= ~IncompatibleFeatures.mmp.rawValue
            record[Volume.mmpBlock] = 0
        }
    }

    private func remakeMultiMount() throws(Ext4Error) {
        let bytes = Record(state.volume.superblockBytes)
        let number = bytes[Volume.mmpBlock]
        guard superblock.contains(BlockNumber(number)), !isGroupStructure(number) else {
            try dropMultiMount()
            return
        }
        typealias Fields = MultiMountProtection.Layout
        var block = volume.zeroes
        block[Fields.magic] = MultiMountProtection.magic
        block[Fields.sequence] = 0xFF4D_4D50  // EXT4_MMP_SEQ_CLEAN
        block[Fields.time] = UInt64(now)
        block[Fields.checkInterval] = max(bytes[Volume.mmpInterval], 5)
        if superblock.hasMetadataChecksums {
            block[Fields.checksum] = block.withBytes {
                MultiMountProtection.checksum(of: $0, seed: superblock.checksumSeed)
            }
        }
        try volume.setBlock(number, block)
    }

    // MARK: The journal

    /// The blocks of the journal in its order, as its inode has them; nil with holes or none.
    private func journalBlocks() -> [BlockRun]? {
        guard let record = volume.inode(superblock.journalInode.rawValue) else { return nil }
        let runs = MapSalvage(record, in: volume, isStructure: isStructure).runs
        var next: UInt64 = 0
        for run in runs {
            guard case .mapped = run.state, run.logical.rawValue == next else { return nil }
            next = run.end.rawValue
        }
        return runs.isEmpty ? nil : runs
    }

    private func changeJournalSuperblock(_ body: (inout Record) -> Void) throws(Ext4Error) {
        guard let first = journalBlocks()?.first?.start?.rawValue,
            var block = volume.block(first)
        else { return }
        body(&block)
        typealias Fields = JournalSuperblock.Layout
        let checks = JournalSuperblock.Feature.checksumV2 | JournalSuperblock.Feature.checksumV3
        if block[Fields.incompatible] & checks != 0 {
            var header = Record(block.part(0..<Fields.byteCount))
            header[Fields.checksum] = header.withBytes { JournalSuperblock.checksum(of: $0) }
            block.bytes.replaceSubrange(0..<Fields.byteCount, with: header.bytes)
        }
        try volume.setBlock(first, block)
    }

    /// Writes the journal's superblock anew, with nothing in the log.
    private func emptyJournal() throws(Ext4Error) {
        guard let runs = journalBlocks() else {
            try remakeJournal(1)
            return
        }
        let count = runs.reduce(0) { $0 &+ $1.count }
        let blockSize = volume.blockSize
        try changeJournalSuperblock { block in
            block.fill(0..<block.bytes.count)
            Self.writeJournalSuperblock(&block, blocks: count, blockSize: blockSize)
        }
        try volume.changeSuperblock {
            $0[Volume.incompatible] &= ~IncompatibleFeatures.recover.rawValue
        }
    }

    private static func writeJournalSuperblock(
        _ block: inout Record, blocks: UInt64, blockSize: Int
    ) {
        typealias Fields = JournalSuperblock.Layout
        block[Fields.magic] = JournalHeader.magic
        block[Fields.blockType] = 4  // JBD2_SUPERBLOCK_V2
        block[Fields.blockSize] = UInt32(truncatingIfNeeded: blockSize)
        block[Fields.length] = UInt32(truncatingIfNeeded: blocks)
        block[Fields.first] = 1
        block[Fields.sequence] = 1
        block[Fields.users] = 1
    }

    private static func clearJournalBackup(_ record: inout Record) {
        let start = Volume.journalBackup.offset
        record.fill(start..<start + 17 * 4)
        record[Volume.journalBackupType] = 0
    }

    /// Gets the journal's inode back from the superblock's copy; when that is no help, makes a new
    /// journal, or on a full volume none.
    func remakeJournal(_ attempt: Int) throws(Ext4Error) {
        if attempt == 0, try restoreJournalInode() { return }
        let number: UInt32 = InodeNumber.journal.rawValue
        settled.insert(number)
        let wanted = UInt64(
            superblock.blocksCount < 8192
                ? 1024 : superblock.blocksCount < 32768 ? 1024 : 4096)
        var record = newInode(mode: 0o100600, links: 1)
        guard attempt < 4, superblock.compatible.contains(.hasJournal),
            let start = volume.allocateRun(wanted)
        else {
            try dropJournal()
            return
        }
        let run = BlockRun(
            logical: LogicalBlock(0), count: wanted, state: .mapped(BlockNumber(start)))
        guard
            try volume.setMap(
                [run], in: &record, owner: volume.owner(number, record))
        else {
            try dropJournal()
            return
        }
        var first = volume.zeroes
        Self.writeJournalSuperblock(&first, blocks: wanted, blockSize: volume.blockSize)
        try volume.setBlock(start, first)
        for i in 1..<wanted { try volume.setBlock(start + i, volume.zeroes) }
        setSize(wanted * UInt64(volume.blockSize), blocks: wanted, in: &record)
        try volume.setInode(number, record)
        try volume.changeSuperblock { superblock in
            superblock[Volume.journalInode] = number
            superblock[Volume.journalDevice] = 0
            superblock.fill(Volume.journalUUID)
            superblock[Volume.incompatible] &= ~IncompatibleFeatures.recover.rawValue
            Self.copyMap(record, to: &superblock)
        }
    }

    private func dropJournal() throws(Ext4Error) {
        try volume.changeSuperblock { record in
            record[Volume.compatible] &=
                ~(CompatibleFeatures.hasJournal.rawValue | CompatibleFeatures.fastCommit.rawValue)
            record[Volume.incompatible] &= ~IncompatibleFeatures.recover.rawValue
            record[Volume.journalInode] = 0
            record[Volume.journalDevice] = 0
            record.fill(Volume.journalUUID)
            Self.clearJournalBackup(&record)
        }
        settled.remove(InodeNumber.journal.rawValue)
        try clearInode(InodeNumber.journal.rawValue)
    }

    /// The journal's map and size as the superblock has a copy of them.
    private static func copyMap(_ inode: Record, to record: inout Record) {
        let base = Volume.journalBackup
        for i in 0..<15 {
            record[base.at(4 * i)] = inode[Field<UInt32>.le(Layout.block.lowerBound + 4 * i)]
        }
        record[base.at(60)] = inode[Layout.sizeHigh]
        record[base.at(64)] = inode[Layout.sizeLow]
        record[Volume.journalBackupType] = 1  // EXT3_JNL_BACKUP_BLOCKS
    }

    private func writeJournalBackup() throws(Ext4Error) {
        guard let inode = volume.inode(superblock.journalInode.rawValue) else { return }
        try volume.changeSuperblock { Self.copyMap(inode, to: &$0) }
    }

    private func restoreJournalInode() throws(Ext4Error) -> Bool {
        let bytes = Record(state.volume.superblockBytes)
        let base = Volume.journalBackup
        let size = UInt64(bytes[base.at(60)]) << 32 | UInt64(bytes[base.at(64)])
        guard bytes[Volume.journalBackupType] == 1, size >= 1024 * UInt64(volume.blockSize),
            size <= superblock.blocksCount << UInt64(superblock.blockSizeLog2)
        else { return false }
        var record = newInode(mode: 0o100600, links: 1)
        let number = InodeNumber.journal.rawValue
        if let old = volume.inode(number) { record[Layout.generation] = old[Layout.generation] }
        for i in 0..<15 {
            record[Field<UInt32>.le(Layout.block.lowerBound + 4 * i)] = bytes[base.at(4 * i)]
        }
        let hasTree =
            record[ExtentNode.Header.magic.at(Layout.block.lowerBound)] == ExtentNode.magic
        record[Layout.flags] = hasTree ? InodeFlags.extents.rawValue : 0
        let map = MapSalvage(record, in: volume, isStructure: isStructure)
        let count = map.runs.reduce(0) { $0 &+ $1.count }
        guard count << UInt64(superblock.blockSizeLog2) >= size,
            map.runs.first?.logical.rawValue == 0
        else { return false }
        setSize(size, blocks: count + UInt64(map.nodes.count), in: &record)
        try volume.setInode(number, record)
        settled.insert(number)
        try volume.changeSuperblock {
            $0[Volume.journalInode] = number
            $0[Volume.journalDevice] = 0
        }
        return true
    }

    // MARK: Orphans

    /// Frees the orphans that have no name, cuts off those that have one, and empties the list and
    /// the file.
    private func processOrphans() throws(Ext4Error) {
        guard settled.insert(0).inserted else { return }
        let bytes = Record(state.volume.superblockBytes)
        var visited: Set<UInt32> = []
        var number = bytes[Volume.lastOrphan]
        while number != 0, number <= superblock.inodesCount,
            number >= superblock.firstInode.rawValue, visited.insert(number).inserted,
            let record = volume.inode(number), record[Layout.mode] != 0
        {
            number = record[Layout.deletionTime]
        }
        if bytes[Volume.lastOrphan] != 0 {
            try volume.changeSuperblock { $0[Volume.lastOrphan] = 0 }
        }
        for entry in try emptyOrphanFile() { visited.insert(entry) }
        for number in visited.sorted() { try settleOrphan(number) }
        try volume.changeSuperblock {
            $0[Volume.readOnlyCompatible] &= ~ReadOnlyCompatibleFeatures.orphanPresent.rawValue
        }
    }

    private func settleOrphan(_ number: UInt32) throws(Ext4Error) {
        guard number >= superblock.firstInode.rawValue, var record = volume.inode(number),
            record[Layout.mode] != 0
        else { return }
        guard record[Layout.linkCount] > 0 else {
            record[Layout.deletionTime] = now
            try volume.setInode(number, record)
            return
        }
        record[Layout.deletionTime] = 0
        let type = FileMode(rawValue: record[Layout.mode]).type
        let flags = InodeFlags(rawValue: record[Layout.flags])
        guard type == .regular, !flags.contains(.inlineData) else {
            try volume.setInode(number, record)
            return
        }
        // What lies behind the end was about to be freed.
        let size = UInt64(record[Layout.sizeHigh]) << 32 | UInt64(record[Layout.sizeLow])
        let end = (size &+ UInt64(volume.blockSize) &- 1) >> UInt64(superblock.blockSizeLog2)
        let salvage = MapSalvage(record, in: volume, isStructure: isStructure)
        let kept = salvage.runs.filter { $0.logical.rawValue < end }.map {
            $0.prefix(end &- $0.logical.rawValue)
        }
        if kept != salvage.runs {
            let owner = volume.owner(number, record)
            guard try volume.setMap(kept, in: &record, owner: owner) else {
                return
            }
        }
        try volume.setInode(number, record)
    }

    /// Empties the orphan file.
    ///
    /// - Returns: the inodes that it named.
    private func emptyOrphanFile() throws(Ext4Error) -> [UInt32] {
        let bytes = Record(state.volume.superblockBytes)
        guard superblock.compatible.contains(.orphanFile),
            let record = volume.inode(bytes[Volume.orphanFileInode])
        else { return [] }
        let file = bytes[Volume.orphanFileInode]
        let owner = volume.owner(file, record)
        var inodes: [UInt32] = []
        for run in MapSalvage(record, in: volume, isStructure: isStructure).runs {
            guard let start = run.start?.rawValue else { continue }
            for i in 0..<run.count {
                let number = start &+ i
                guard let block = volume.block(number) else { continue }
                let parsed = block.withBytes {
                    try? OrphanFileBlock(
                        parsing: $0, at: BlockNumber(number), of: InodeNumber(file),
                        checksumSeed: superblock.hasMetadataChecksums ? owner.checksumSeed : nil,
                        inodeCount: superblock.inodesCount)
                }
                inodes += (parsed?.inodes ?? []).map(\.rawValue)
                try volume.setBlock(number, emptyOrphanBlock(at: number, owner))
            }
        }
        return inodes
    }

    private func emptyOrphanBlock(at number: UInt64, _ owner: BlockOwner) -> Record {
        var block = volume.zeroes
        let tail = block.bytes.count - OrphanFileBlock.Tail.size
        block[OrphanFileBlock.Tail.magic.at(tail)] = OrphanFileBlock.magic
        if superblock.hasMetadataChecksums {
            block[OrphanFileBlock.Tail.checksum.at(tail)] = block.withBytes {
                OrphanFileBlock.checksum(
                    of: $0, at: BlockNumber(number), seed: owner.checksumSeed)
            }
        }
        return block
    }

    private func dropOrphanFile() throws(Ext4Error) {
        let bytes = Record(state.volume.superblockBytes)
        let number = bytes[Volume.orphanFileInode]
        try volume.changeSuperblock { record in
            record[Volume.compatible] &= ~CompatibleFeatures.orphanFile.rawValue
            record[Volume.readOnlyCompatible] &= ~ReadOnlyCompatibleFeatures.orphanPresent.rawValue
            record[Volume.orphanFileInode] = 0
        }
        // Only an inode that no name leads to was the file.
        if number >= superblock.firstInode.rawValue, number <= superblock.inodesCount,
            !state.inodes.isReferenced(InodeNumber(number))
        {
            try clearInode(number)
        }
    }
}
