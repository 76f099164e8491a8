internal import Ext4

/// The journal and the other structures that a volume has once: its inode and superblock,
/// multi-mount protection, the list and the file of orphans, the resize inode.
struct JournalPass {
    let state: CheckState
    let volume: CheckedVolume
    let superblock: Superblock

    init(_ state: CheckState) {
        self.state = state
        volume = state.volume
        superblock = volume.superblock
    }

    func run() throws(Ext4Error) {
        if superblock.compatible.contains(.hasJournal) {
            if superblock.journalInode.rawValue != 0 {
                try checkJournal()
                // e2fsck goes by the UUID first, and looks for a device that nobody has.
                if superblock.journalDevice == 0,
                    superblock.journalUUID.contains(where: { $0 != 0 })
                {
                    state.report(Finding(.journalUUID, detail: "inode \(superblock.journalInode)"))
                }
            } else if superblock.journalDevice == 0,
                superblock.journalUUID.allSatisfy({ $0 == 0 })
            {
                state.report(
                    Finding(.journalInode, found: 0, detail: "no journal is named"))
            }
        } else {
            try checkAbsentJournal()
        }
        if superblock.incompatible.contains(.mmp) { try checkMultiMount() }
        try checkOrphanList()
        if superblock.compatible.contains(.orphanFile) {
            try checkOrphanFile()
        } else if superblock.readOnlyCompatible.contains(.orphanPresent) {
            state.report(Finding(.orphanPresent, found: 1, expected: 0))
        }
        if superblock.compatible.contains(.resizeInode) {
            try checkResizeInode()
        } else if superblock.reservedDescriptorBlocks == 0 {
            try checkAbsentResizeInode()
        }
        try checkQuotaInodes()
    }

    // MARK: - Journal

    private func checkAbsentJournal() throws(Ext4Error) {
        let isMarked =
            superblock.incompatible.contains(.recover) || superblock.journalInode.rawValue != 0
            || superblock.journalDevice != 0 || superblock.journalUUID.contains { $0 != 0 }
        if isMarked {
            state.report(
                Finding(
                    .journalUnused, found: UInt64(superblock.journalInode.rawValue), expected: 0))
            if superblock.journalInode.rawValue != 0 {
                _ = try file(superblock.journalInode, .journalInode)
            }
        }
    }

    private func checkJournal() throws(Ext4Error) {
        let number = superblock.journalInode
        guard let file = try file(number, .journalInode) else { return }
        let block: BlockNumber
        do throws(Ext4Error) {
            let location = try JournalLocation(
                file.runs.map { .init(firstBlock: BlockNumber($0.block), count: UInt64($0.count)) },
                on: JournalledVolume(
                    blockSize: volume.blockSize, blocksCount: volume.blocksCount,
                    firstDataBlock: volume.firstDataBlock))
            guard let first = location.block(0) else { throw .notFound }
            block = first
        } catch {
            state.report(
                Finding(.journalInode, at: .init(inode: number), detail: error.description))
            return
        }
        let bytes = try volume.block(block)
        let journal: JournalSuperblock
        do throws(Ext4Error) {
            journal = try JournalSuperblock(
                parsing: unsafe bytes.span.bytes, at: block, volumeBlockSize: volume.blockSize,
                blockCount: file.blockCount)
        } catch {
            state.report(
                Finding(
                    .journalSuperblock, at: .init(inode: number, block: block),
                    detail: error.description))
            return
        }
        let header = Record(bytes)
        let isOld = header[JournalSuperblock.Layout.blockType] == 3  // JBD2_SUPERBLOCK_V1
        let users = header[JournalSuperblock.Layout.users]
        let features = journal.compatible | journal.incompatible | journal.readOnlyCompatible
        if isOld ? features | users != 0 : users > 1 {
            state.report(
                Finding(
                    .journalSuperblock, at: .init(inode: number, block: block),
                    detail: "fields of a journal of another version, or of several volumes"))
        }
        do throws(Ext4Error) {
            try journal.checkRecoverable()
        } catch {
            state.report(
                Finding(
                    .journalFeatures, at: .init(inode: number, block: block),
                    found: UInt64(journal.incompatible), detail: error.description))
        }
        let isMarked = superblock.incompatible.contains(.recover)
        if journal.isDirty {
            state.report(
                Finding(
                    isMarked ? .journalDirty : .journalUnmarked,
                    at: .init(inode: number, block: block), found: UInt64(journal.start),
                    expected: 0))
        }
        if journal.errno != 0 {
            state.report(
                Finding(
                    .journalError, at: .init(inode: number, block: block),
                    found: UInt64(UInt32(bitPattern: journal.errno)), expected: 0))
        }
        checkBackup(file.bytes)
    }

    /// The copy of the journal's map in the superblock: 15 words and the two halves of the size.
    private func checkBackup(_ bytes: [UInt8]) {
        guard superblock.journalBackupType == 1, superblock.journalBackup.count == 17 else {
            return
        }
        let span = unsafe bytes.span.bytes
        typealias Layout = InodeRecord.Layout
        for index in 0..<15
        where span[Field<UInt32>.le(Layout.block.lowerBound + 4 * index)]
            != superblock.journalBackup[index]
        {
            state.report(
                Finding(.journalBackup, at: .init(inode: superblock.journalInode)))
            return
        }
        if superblock.journalBackup[15] != span[Layout.sizeHigh]
            || superblock.journalBackup[16] != span[Layout.sizeLow]
        {
            state.report(
                Finding(.journalBackup, at: .init(inode: superblock.journalInode)))
        }
    }

    /// A regular file of the volume's own, whole.
    struct OwnFile {
        let bytes: [UInt8]
        let runs: [DirectoryRun]
        let blockCount: UInt64
        let fields: InodeFields
    }

    /// The file of an inode of the volume's own; nil, told under `rule`, for what is none.
    func file(_ number: InodeNumber, _ rule: CheckRule) throws(Ext4Error) -> OwnFile? {
        func broken(_ words: String) -> OwnFile? {
            state.report(Finding(rule, at: .init(inode: number), detail: words))
            return nil
        }
        guard number.rawValue > 0, number.rawValue <= superblock.inodesCount else {
            return broken("there is no such inode")
        }
        let table = volume.descriptors[Int(volume.group(of: number).rawValue)].inodeTable
        guard volume.contains(table.rawValue, count: UInt64(superblock.inodeTableBlocks)) else {
            return broken("its table is not in the volume")
        }
        let bytes = try volume.inodeBytes(number)
        let span = unsafe bytes.span.bytes
        let fields = InodeFields(span, number: number)
        guard fields.type == .regular, fields.linkCount > 0,
            !fields.flags.contains(.inlineData)
        else { return broken("it is not a regular file in use") }
        // As a directory's, so that the runs are kept; nothing is claimed or told here.
        let scan = MapScan(
            state,
            MapScan.Owner(
                inode: number, generation: fields.generation, isDirectory: true,
                size: fields.size), collects: true)
        let root = span.extracting(InodeRecord.Layout.block)
        if fields.flags.contains(.extents) {
            try scan.walkExtents(root)
        } else {
            try scan.walkPointers(root)
        }
        var next: UInt64 = 0
        for run in scan.runs {
            guard UInt64(run.logical) == next else { break }
            next += UInt64(run.count)
        }
        let blocks = fields.size >> volume.blockSizeLog2
        guard blocks > 0, next >= blocks, !scan.isBroken else {
            return broken("block \(next) is missing")
        }
        return OwnFile(bytes: bytes, runs: scan.runs, blockCount: blocks, fields: fields)
    }

    // MARK: - Multi-mount protection

    private func checkMultiMount() throws(Ext4Error) {
        let block = superblock.mmpBlock
        guard volume.contains(block.rawValue) else {
            state.report(Finding(.mmpBlock, at: .init(block: block), found: block.rawValue))
            return
        }
        let bytes = try volume.block(block)
        do throws(Ext4Error) {
            let protection = try MultiMountProtection(
                parsing: unsafe bytes.span.bytes, at: block,
                checksumSeed: volume.hasChecksums ? superblock.checksumSeed : nil)
            switch protection.state {
            case .clean: break
            case .beingChecked:
                state.report(Finding(.mmpSequence, at: .init(block: block), detail: "a check"))
            case .unknown(let number):
                state.report(
                    Finding(.mmpSequence, at: .init(block: block), found: UInt64(number)))
            case .inUse(let number):
                state.report(
                    Finding(.mmpInUse, at: .init(block: block), found: UInt64(number)))
            }
        } catch {
            state.report(
                Finding(.mmpContents, at: .init(block: block), detail: error.description))
        }
        let start = block.rawValue - volume.firstDataBlock
        if state.metadata.claim(start..<start + 1) {
            state.report(Finding(.groupOverlap, at: .init(block: block), detail: "mmp block"))
        }
        state.blocks.claimAgain(volume.clusters(of: block.rawValue, count: 1))
    }

    // MARK: - Orphans

    private func checkOrphanList() throws(Ext4Error) {
        var number = superblock.lastOrphan
        var passed: Set<InodeNumber> = []
        while number.rawValue != 0 {
            guard number >= superblock.firstInode, number.rawValue <= superblock.inodesCount,
                passed.insert(number).inserted, passed.count <= 1 << 20
            else {
                state.report(Finding(.orphanList, found: UInt64(number.rawValue)))
                return
            }
            state.report(Finding(.orphanEntry, at: .init(inode: number)))
            let bytes = try volume.inodeBytes(number)
            number = InodeNumber(unsafe bytes.span.bytes[InodeRecord.Layout.deletionTime])
        }
    }

    private func checkOrphanFile() throws(Ext4Error) {
        let number = superblock.orphanFileInode
        guard let file = try file(number, .orphanFileInode) else { return }
        var hasEntries = false
        let seed = InodeRecord.checksumSeed(
            number, generation: file.fields.generation, seed: superblock.checksumSeed)
        for run in file.runs {
            for offset in 0..<UInt64(run.count) {
                let logical = UInt64(run.logical) + offset
                guard logical < file.blockCount else { return }
                let block = BlockNumber(run.block + offset)
                let bytes = try volume.block(block)
                do throws(Ext4Error) {
                    let contents = try OrphanFileBlock(
                        parsing: unsafe bytes.span.bytes, at: block, of: number,
                        checksumSeed: volume.hasChecksums ? seed : nil,
                        inodeCount: superblock.inodesCount)
                    // As e2fsck has it: a block without entries is nothing but zeros and its tail.
                    let tail = bytes.count - OrphanFileBlock.Tail.size
                    let stored =
                        unsafe bytes.span.bytes[OrphanFileBlock.Tail.checksum.at(tail)]
                    if !volume.hasChecksums, stored != 0 {
                        throw .corrupt(
                            .orphanFile, at: .init(inode: number, block: block),
                            .field(
                                "ob_checksum", value: UInt64(stored),
                                rule: "0 on a volume without checksums"))
                    }
                    for inode in contents.inodes {
                        hasEntries = true
                        state.report(
                            Finding(
                                .orphanEntry, at: .init(inode: inode, block: block)))
                    }
                } catch {
                    state.report(
                        Finding(
                            .orphanFileBlock,
                            at: .init(
                                inode: number, logicalBlock: LogicalBlock(logical), block: block),
                            detail: error.description))
                }
            }
        }
        let isMarked = superblock.readOnlyCompatible.contains(.orphanPresent)
        if isMarked != hasEntries {
            state.report(
                Finding(.orphanPresent, found: isMarked ? 1 : 0, expected: hasEntries ? 1 : 0))
        }
    }

    // MARK: - Quota

    private func checkQuotaInodes() throws(Ext4Error) {
        guard superblock.readOnlyCompatible.contains(.quota) else {
            // A number left behind keeps its inode from being free, unless it is a reserved one.
            let number = superblock.projectQuotaInode
            guard number >= superblock.firstInode, number.rawValue <= superblock.inodesCount else {
                return
            }
            let bytes = try volume.inodeBytes(number)
            let links = unsafe bytes.span.bytes[InodeRecord.Layout.linkCount]
            guard links == 0 else { return }
            state.report(Finding(.quotaInode, found: UInt64(number.rawValue), expected: 0))
            return
        }
        for number in [
            superblock.userQuotaInode, superblock.groupQuotaInode, superblock.projectQuotaInode,
        ] where number.rawValue > superblock.inodesCount {
            state.report(Finding(.quotaInode, found: UInt64(number.rawValue), expected: 0))
        }
    }

    // MARK: - The resize inode

    /// Without the feature nobody may have reserved a block.
    private func checkAbsentResizeInode() throws(Ext4Error) {
        let bytes = try volume.inodeBytes(.resize)
        let map = unsafe bytes.span.bytes.extracting(InodeRecord.Layout.block)
        guard (0..<15).contains(where: { map[Field<UInt32>.le(4 * $0)] != 0 }) else { return }
        state.report(
            Finding(.resizeInode, at: .init(inode: .resize), detail: "it is in use"))
    }

    /// The resize inode has one block of pointers, each to a reserved descriptor block, which in
    /// turn has the places of its copies.
    private func checkResizeInode() throws(Ext4Error) {
        let bytes = try volume.inodeBytes(.resize)
        let span = unsafe bytes.span.bytes
        let fields = InodeFields(span, number: .resize)
        func broken(_ words: String, found: UInt64? = nil, expected: UInt64? = nil) {
            state.report(
                Finding(
                    .resizeInode, at: .init(inode: .resize), found: found, expected: expected,
                    detail: words))
        }
        let reserved = UInt64(superblock.reservedDescriptorBlocks)
        if fields.mode.rawValue == 0, fields.linkCount == 0 {
            if reserved != 0 { broken("it is not in use") }
            return
        }
        guard fields.type == .regular else { return broken("it is not a regular file") }
        let doubleIndirect = 13
        for index in 0..<15 where index != doubleIndirect {
            guard span[Field<UInt32>.le(InodeRecord.Layout.block.lowerBound + 4 * index)] == 0
            else { return broken("pointer \(index) is not 0") }
        }
        let pointer = UInt64(
            span[Field<UInt32>.le(InodeRecord.Layout.block.lowerBound + 4 * doubleIndirect)])
        guard volume.contains(pointer) else {
            return broken("its block of pointers is not in the volume", found: pointer)
        }
        let pointers = try volume.block(BlockNumber(pointer))
        let descriptorBlocks = UInt64(
            (superblock.groupCount - 1) / superblock.descriptorsPerBlock + 1)
        let perBlock = UInt64(volume.blockSize / 4)
        // With blocks of 1 KiB and clusters the first block of all comes before the superblock.
        let shift: UInt64 = volume.blockSize == 1024 && volume.firstDataBlock == 0 ? 1 : 0
        for index in 0..<reserved {
            let slot = (descriptorBlocks + index) % perBlock
            let expected = volume.firstDataBlock + shift + 1 + descriptorBlocks + index
            let found = unsafe UInt64(pointers.span.bytes[Field<UInt32>.le(4 * Int(slot))])
            guard found == expected else {
                return broken("pointer \(slot)", found: found, expected: expected)
            }
            guard try hasCopies(BlockNumber(expected), broken) else { return }
        }
    }

    /// Whether a reserved descriptor block has the places of its copies in the other groups.
    private func hasCopies(
        _ block: BlockNumber, _ broken: (String, UInt64?, UInt64?) -> Void
    ) throws(Ext4Error) -> Bool {
        let bytes = try volume.block(block)
        let span = unsafe bytes.span.bytes
        var slot = 0
        for number in 1..<max(superblock.groupCount, 1)
        where superblock.hasSuperblock(GroupNumber(number)) {
            guard slot < volume.blockSize / 4 else { return true }
            let expected = block.rawValue + UInt64(number) * UInt64(superblock.blocksPerGroup)
            let found = UInt64(span[Field<UInt32>.le(4 * slot)])
            guard found == expected else {
                broken("copy \(slot) of descriptor block \(block)", found, expected)
                return false
            }
            slot += 1
        }
        return true
    }
}
