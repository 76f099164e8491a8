// Making a volume smaller: everything behind the new end moves to before it, then the end is cut
// off.
//
//   1. The journal, if it lies there: without using it, in an order that a check can mend.
//   2. The blocks of files, a file or a part of one a transaction.
//   3. The inodes of groups that go, an inode a transaction. For this a volume without a journal
//      gets one (`PassingJournal`).
//   4. The end, in one transaction or a few (`VolumeCut`).
//
// The volume is closed after each of them, so that no log is about blocks that the next one cuts
// off.

/// Makes a volume smaller.
struct VolumeShrink {
    private let device: any BlockDevice
    /// The volume as it is before the present stage.
    private var old: Superblock
    private let options: ResizeOptions
    /// The size to come to.
    private let goal: UInt64
    /// The size that the present stage comes to. Structures of groups that go keep blocks before
    /// the end from use until they are cut off: sometimes only that makes room for the rest.
    private var stage: UInt64
    private let isMinimum: Bool

    /// Refuses what cannot be done.
    init(
        _ device: any BlockDevice, _ old: Superblock, to goal: UInt64, isMinimum: Bool,
        _ options: ResizeOptions
    ) throws(ResizeFailure) {
        self.device = device
        self.old = old
        self.options = options
        self.isMinimum = isMinimum
        let (least, fitting, hasBadBlocks) = try ResizeFailure.wrap { () throws(Ext4Error) in
            let volume = try Self.read(device, options)
            let bad = try volume.inodes.inode(.badBlocks)
            let runs = try volume.map(of: bad).runs(volumeBlocks: old.blocksCount)
            let size = try MinimumSize(volume)
            return (try size.blocks(), size.fitting(goal, isUp: false), !runs.isEmpty)
        }
        guard goal >= least || isMinimum else {
            throw .refused("what it holds needs \(least) blocks at least")
        }
        guard !hasBadBlocks else {
            throw .refused(
                "it has a list of bad blocks, which cannot be moved; "
                    + "e2fsck -L with an empty list takes it away")
        }
        self.goal = max(fitting, least)
        stage = self.goal
    }

    private static func read(
        _ device: any BlockDevice, _ options: ResizeOptions
    ) throws(Ext4Error) -> Volume {
        var reading = options.openOptions
        reading.access = .readOnly
        return try Volume.open(device, options: reading)
    }

    /// Makes the volume smaller, and tells what was done.
    mutating func run(_ report: inout ResizeReport) throws(ResizeFailure) {
        // Every stage makes the volume smaller.
        while report.newBlocks > goal {
            let (superblock, least) = try ResizeFailure.wrap { () throws(Ext4Error) in
                let volume = try Self.read(device, options)
                return (volume.superblock, try MinimumSize(volume).blocks(atOnce: true))
            }
            old = superblock
            stage = max(goal, old.nextUsableBlocks(least))
            let isLast = stage == goal
            guard try emptyStage(isLast: isLast, &report) else { return }
            guard stage < old.blocksCount else {
                if isMinimum { return }
                throw words(for: .noSpace)
            }
            try cut(&report)
            // Maps that became longer made the end come later than it was counted.
            if isLast, stage > goal { return }
        }
    }

    /// Moves what lies behind the end of the stage; when there is no room, that end moves.
    ///
    /// - Returns: false when it was broken off.
    private mutating func emptyStage(
        isLast: Bool, _ report: inout ResizeReport
    ) throws(ResizeFailure) -> Bool {
        var tries: UInt64 = 0
        while stage < old.blocksCount {
            do throws(Ext4Error) {
                guard try empty(&report) else {
                    report.isCancelled = true
                    return false
                }
                return true
            } catch {
                guard error == .noSpace, isMinimum || !isLast else { throw words(for: error) }
                // What is moved by now stays where it is.
                tries &+= 1
                let next = old.nextUsableBlocks(stage &+ (tries <= 8 ? 1 : 1 &<< (tries &- 8)))
                do throws(Ext4Error) {
                    stage = try MinimumSize(Self.read(device, options)).fitting(next, isUp: true)
                } catch {
                    throw words(for: error)
                }
            }
        }
        return true
    }

    private func words(for error: Ext4Error) -> ResizeFailure {
        switch error {
        case .noSpace:
            .refused(
                "there is not enough room before the new end; "
                    + "the volume has \(old.blocksCount) blocks now, and a larger size may do")
        case .notSupported:
            .refused(
                "inodes would get other numbers, which its feature stable_inodes forbids")
        default: .volume(error)
        }
    }

    // MARK: Emptying what goes

    private var limit: AllocationLimit {
        let perGroup = UInt64(old.blocksPerGroup)
        let groups = (stage &- UInt64(old.firstDataBlock) &+ perGroup &- 1) / perGroup
        return AllocationLimit(
            block: BlockNumber(stage), group: GroupNumber(UInt32(clamping: groups)))
    }

    /// Opens the volume, lets `body` change it, and closes it whatever happens.
    private func open<Result>(
        usesJournal: Bool = true, _ body: (Volume) throws(Ext4Error) -> Result
    ) throws(Ext4Error) -> Result {
        var opening = options.openOptions
        opening.usesJournal = usesJournal
        opening.allocationLimit = limit
        let volume = try Volume.open(device, options: opening)
        let result: Result
        do throws(Ext4Error) {
            result = try body(volume)
        } catch {
            try? volume.close()
            throw error
        }
        try volume.close()
        return result
    }

    /// Moves everything behind the new end.
    ///
    /// - Returns: false when it was broken off.
    private func empty(_ report: inout ResizeReport) throws(Ext4Error) -> Bool {
        let end = limit.block
        let isJournalBehind = try open { (volume) throws(Ext4Error) in
            try journalLies(behind: end, volume)
        }
        var moved: UInt64 = 0
        if isJournalBehind {
            moved &+= try open(usesJournal: false) { (volume) throws(Ext4Error) in
                var mover = try BlockMover(volume, end: end, options)
                try mover.move(volume.inodes.inode(old.journalInode))
                return mover.movedBlocks
            }
            report.movedBlocks &+= moved
        }
        // What was moved counts also when the rest fails.
        var blocks: UInt64 = 0
        defer { report.movedBlocks &+= blocks }
        var left: [InodeNumber] = []
        let isDone = try open { (volume) throws(Ext4Error) in
            var mover = try BlockMover(volume, end: end, options)
            defer {
                blocks = mover.movedBlocks
                left = mover.left
            }
            return try mover.moveAll()
        }
        guard isDone else { return false }
        if !left.isEmpty {
            try open(usesJournal: false) { (volume) throws(Ext4Error) in
                var mover = try BlockMover(volume, end: end, options)
                defer { blocks &+= mover.movedBlocks }
                for number in left { try mover.move(volume.inodes.inode(number)) }
            }
        }
        return try moveInodesWithJournal(&report)
    }

    private func journalLies(
        behind end: BlockNumber, _ volume: Volume
    ) throws(Ext4Error) -> Bool {
        guard old.compatible.contains(.hasJournal) else { return false }
        let inode = try volume.inodes.inode(old.journalInode)
        let map = volume.map(of: inode)
        let runs = try map.runs(volumeBlocks: old.blocksCount)
        if runs.contains(where: { $0.physicalEnd > end }) { return true }
        return try map.nodes(volumeBlocks: old.blocksCount).contains { $0 >= end }
    }

    /// Gives inodes of groups that go other numbers, with a journal for that time where there is
    /// none: no blocks are behind the end any more, so there is room.
    private func moveInodesWithJournal(
        _ report: inout ResizeReport
    ) throws(Ext4Error) -> Bool {
        let journal = PassingJournal(device: device, options: options)
        guard !old.compatible.contains(.hasJournal), try hasInodesBehind(),
            try journal.add(behind: limit.block)
        else { return try moveInodes(&report) }
        let isDone: Bool
        do throws(Ext4Error) {
            isDone = try moveInodes(&report)
        } catch {
            try journal.remove()
            throw error
        }
        try journal.remove()
        return isDone
    }

    /// Whether inodes are in use in groups that go.
    private func hasInodesBehind() throws(Ext4Error) -> Bool {
        let volume = try Self.read(device, options)
        for number in limit.group.rawValue..<max(old.groupCount, limit.group.rawValue) {
            let descriptor = try volume.groups.descriptor(of: GroupNumber(number))
            if descriptor.freeInodesCount < old.inodesPerGroup { return true }
        }
        return false
    }

    private func moveInodes(_ report: inout ResizeReport) throws(Ext4Error) -> Bool {
        let last = limit.group.rawValue &* old.inodesPerGroup
        guard last < old.inodesCount else { return true }
        var references: InodeReferences?
        var count: UInt64 = 0
        // A name in each of more blocks than a transaction takes is left to an order.
        let isTooMuch = try open { (volume) throws(Ext4Error) -> Bool in
            let found = try InodeReferences(volume, behind: last, options)
            guard !found.inodes.isEmpty else { return false }
            guard !old.compatible.contains(.stableInodes) else { throw .notSupported }
            references = found
            let writing = try volume.requireWriting()
            guard
                writing.journal.area == nil
                    || found.mostPlaces &+ InodeMover.credits
                        <= writing.journal.largestTransaction
            else { return true }
            var mover = try InodeMover(volume, found, last: last, options)
            count = try mover.moveAll()
            return false
        }
        if isTooMuch, let found = references {
            count = try open(usesJournal: false) { (volume) throws(Ext4Error) in
                var mover = try InodeMover(volume, found, last: last, options)
                return try mover.moveAll()
            }
        }
        report.movedInodes &+= count
        return count == UInt64(references?.inodes.count ?? 0)
    }

    // MARK: Cutting

    private func cut(_ report: inout ResizeReport) throws(ResizeFailure) {
        // Every step makes the volume smaller.
        while report.newBlocks > stage {
            let blocks = try ResizeFailure.wrap { () throws(Ext4Error) -> UInt64 in
                do throws(Ext4Error) {
                    return try cutStep(usesJournal: true)
                } catch {
                    guard error == .noSpace else { throw error }
                    return try cutStep(usesJournal: false)
                }
            }
            report.newBlocks = blocks
        }
    }

    private func cutStep(usesJournal: Bool) throws(Ext4Error) -> UInt64 {
        var opening = options.openOptions
        opening.usesJournal = usesJournal
        let volume = try Volume.open(device, options: opening)
        var step: VolumeCut
        do throws(Ext4Error) {
            step = try VolumeCut(volume, to: stage)
        } catch {
            try? volume.close()
            throw error
        }
        try step.run()
        return step.blocks
    }
}
