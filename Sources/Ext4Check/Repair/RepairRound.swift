import Ext4

/// The repairs of one stage, by what a check of everything found and gathered.
final class RepairRound {
    let device: RepairOverlay
    let state: CheckState
    let volume: RepairVolume
    /// Seconds since 1970, for what is made or freed now.
    let now: UInt32
    /// Inodes that were settled as a whole in this round: what else was found of them may not hold
    /// any more.
    var settled: Set<UInt32> = []
    /// Names to be added to a directory when the round ends.
    var newNames: [UInt32: [SalvagedEntry]] = [:]
    /// Groups whose bitmaps and counts were written in this round.
    var settledGroups: Set<UInt32> = []
    /// Quota files that were written in this round.
    var settledQuotas: Set<QuotaKind> = []
    /// Names to be taken out of a directory when it is written anew, by what they lead to.
    var droppedTargets: [UInt32: Set<UInt32>] = [:]
    /// The directory lost+found, once it was looked for.
    var lostAndFoundNumber: UInt32?
    /// Names of the root to be left out when it is written anew.
    var droppedNames: Set<[UInt8]> = []
    /// Directories to be written anew when the round ends.
    var rebuilds: Set<UInt32> = []

    init(_ device: RepairOverlay, _ state: CheckState, now: Timestamp?) {
        self.device = device
        self.state = state
        self.now = UInt32(clamping: now?.seconds ?? 1_700_000_000)
        let blocks = state.blocks
        volume = RepairVolume(
            device, superblock: state.volume.superblock, descriptors: state.volume.descriptors
        ) { blocks.isClaimed(BlockNumber($0)) }
    }

    var superblock: Superblock { volume.superblock }

    /// Whether a block holds one of the volume's own structures.
    func isStructure(_ block: UInt64) -> Bool { state.metadata.isClaimed(BlockNumber(block)) }

    /// Whether the finding is about an inode that was settled already.
    func isSettled(_ finding: Finding) -> Bool {
        guard let inode = finding.place.inode else { return false }
        return settled.contains(inode.rawValue)
    }

    /// Puts one finding right.
    ///
    /// - Parameters:
    ///   - attempt: how many rounds tried before.
    ///   - batch: all findings of the stage.
    func apply(_ finding: Finding, attempt: Int, batch: [Finding]) throws(Ext4Error) {
        switch finding.rule.stage {
        case .superblock: try applySuperblock(finding, batch)
        case .descriptors: try applyDescriptor(finding, attempt, batch)
        case .journal: try applyJournal(finding, attempt)
        case .inodes: try applyInode(finding, attempt, batch)
        case .claims: try applyClaims()
        case .directories: try applyDirectory(finding, attempt)
        case .connectivity: try applyConnectivity(finding, attempt)
        case .links: try applyLinks(finding, attempt)
        case .totals: try applyTotals(finding)
        }
    }

    /// Does what was gathered for the end of the round.
    func finish() throws(Ext4Error) {
        for directory in rebuilds.union(newNames.keys).union(droppedTargets.keys).sorted() {
            try rebuildDirectory(directory, adding: newNames[directory] ?? [])
        }
    }

    // MARK: Inodes

    /// Makes an inode a free one.
    func clearInode(_ number: UInt32) throws(Ext4Error) {
        guard settled.insert(number).inserted || number == 2 else { return }
        guard let record = volume.inode(number) else { return }
        var empty = Record([UInt8](repeating: 0, count: record.bytes.count))
        typealias Layout = InodeRecord.Layout
        // Who frees an inode leaves when that was, and what tells its next life from this one.
        if number >= superblock.firstInode.rawValue {
            empty[Layout.deletionTime] = now
            empty[Layout.generation] = record[Layout.generation]
            if empty.bytes.count > InodeRecord.goodOldSize {
                empty[Layout.extraSize] = extraSize
            }
        }
        try volume.setInode(number, empty)
    }

    /// The size of the fields behind the first 128 bytes of a new inode.
    var extraSize: UInt16 {
        let room = superblock.inodeSize - InodeRecord.goodOldSize
        let wanted = Int(superblock.wantedExtraInodeSize)
        return UInt16(clamping: min(wanted > 0 && wanted % 4 == 0 ? wanted : 32, room))
    }

    /// A new inode's record.
    func newInode(mode: UInt16, links: UInt16) -> Record {
        typealias Layout = InodeRecord.Layout
        var record = Record([UInt8](repeating: 0, count: superblock.inodeSize))
        record[Layout.mode] = mode
        record[Layout.linkCount] = links
        for field in [Layout.accessTime, Layout.changeTime, Layout.modificationTime] {
            record[field] = now
        }
        if superblock.inodeSize > InodeRecord.goodOldSize {
            record[Layout.extraSize] = extraSize
            if Int(extraSize) + InodeRecord.goodOldSize >= Layout.creationTime.end {
                record[Layout.creationTime] = now
            }
        }
        if superblock.incompatible.contains(.extents) {
            record[Layout.flags] = InodeFlags.extents.rawValue
        }
        return record
    }

    /// A free inode that is not reserved; nil when there is none.
    func allocateInode() -> UInt32? {
        var number = superblock.firstInode.rawValue
        while number <= superblock.inodesCount {
            if !state.inodes.isUsed(InodeNumber(number)), !settled.contains(number) {
                settled.insert(number)
                return number
            }
            number += 1
        }
        return nil
    }

    /// Sets the size and `i_blocks` of an inode that got a new map.
    func setSize(_ size: UInt64, blocks: UInt64, in record: inout Record) {
        typealias Layout = InodeRecord.Layout
        record[Layout.sizeLow] = UInt32(truncatingIfNeeded: size)
        record[Layout.sizeHigh] = UInt32(truncatingIfNeeded: size >> 32)
        let ratio = UInt64(1) << UInt64(superblock.clusterRatioLog2)
        let whole = (blocks &+ ratio &- 1) / ratio &* ratio
        let sectors = whole << UInt64(superblock.blockSizeLog2 - 9)
        record[Layout.blocksLow] = UInt32(truncatingIfNeeded: sectors)
        record[Layout.blocksHigh] = UInt16(truncatingIfNeeded: sectors >> 32)
    }
}
