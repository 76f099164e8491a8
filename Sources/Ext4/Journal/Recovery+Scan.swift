extension Recovery {
    /// Finds out what the journal of a volume holds that has not reached its place.
    ///
    /// - Returns: nil when the log is empty.
    /// - Throws: `Ext4Error.corrupt` when the journal breaks its format, and
    ///   `Ext4Error.unsupported` when it uses features that this engine cannot replay. In both
    ///   cases nothing of it may be used: unlike the kernel, which writes what it can before it
    ///   refuses the mount, we leave the volume as it is for `e2fsck`.
    package static func scan(
        _ device: any BlockDevice, journal location: JournalLocation, volume: JournalledVolume,
        log: Log
    ) throws(Ext4Error) -> Recovery? {
        let superblock = try readSuperblock(device, location, volume)
        guard superblock.isDirty else { return nil }
        try superblock.checkRecoverable()
        let area = LogArea(device: device, location: location, superblock: superblock)
        let format = JournalFormat(superblock)
        let scan = LogScan(area: area, format: format)

        let end = try LogEnd.find(in: area, format, log: log)
        try scan.checkFastCommits(expecting: end)
        let logged = try scan.loggedBlocks(until: end)
        var blocks = newestCopies(of: logged)
        let revokedCount = try scan.dropRevoked(from: &blocks, until: end)
        try scan.verify(blocks)
        try scan.checkTargets(of: blocks, on: volume)

        let report = RecoveryReport(
            firstTransaction: superblock.sequence,
            transactionCount: Int(end.rawValue &- superblock.sequence.rawValue),
            loggedBlockCount: logged.count, replayedBlockCount: blocks.count,
            revokedBlockCount: revokedCount, recordedError: superblock.errno)
        log(.info, "journal: \(report)")
        return Recovery(
            area: area, volume: volume, blocks: blocks, endTransaction: end, report: report)
    }

    /// Reads the first block of a journal.
    package static func readSuperblock(
        _ device: any BlockDevice, _ location: JournalLocation, _ volume: JournalledVolume
    ) throws(Ext4Error) -> JournalSuperblock {
        guard let place = location.block(0) else {
            throw .corrupt(.journal, .broken("the journal has no blocks"))
        }
        let (_, isTooLarge) = volume.blocksCount.multipliedReportingOverflow(
            by: UInt64(volume.blockSize))
        guard !isTooLarge else { throw .corrupt(.superblock, .broken("the volume is too large")) }
        let bytes = try device.read(
            at: place.rawValue &* UInt64(volume.blockSize),
            count: JournalSuperblock.Layout.byteCount)
        return try unsafe JournalSuperblock(
            parsing: bytes.span.bytes, at: place, volumeBlockSize: volume.blockSize,
            blockCount: location.blockCount)
    }

    /// Keeps of each block the copy that was logged last.
    private static func newestCopies(of logged: [LoggedBlock]) -> [LoggedBlock] {
        let sorted = logged.sorted { a, b in
            a.target == b.target ? a.distance < b.distance : a.target < b.target
        }
        var newest: [LoggedBlock] = []
        newest.reserveCapacity(sorted.count)
        for block in sorted {
            if newest.last?.target == block.target { newest.removeLast() }
            newest.append(block)
        }
        return newest
    }
}

/// The walks through one log.
private struct LogScan {
    package let area: LogArea
    package let format: JournalFormat

    /// Refuses a log with a fast commit on top: what it says is not in the log's blocks.
    package func checkFastCommits(expecting transaction: TransactionID) throws(Ext4Error) {
        let superblock = area.superblock
        guard superblock.fastCommitBlocks > 0 else { return }
        var chain = JournalFastCommit(expecting: transaction)
        var block = [UInt8](repeating: 0, count: format.blockSize)
        // The block right behind the log is not used (`j_fc_first` is `j_last + 1`).
        var index = superblock.end &+ 1
        while index < superblock.length {
            try area.read(index, into: &block)
            switch unsafe chain.take(block.span.bytes) {
            case .incomplete: index &+= 1
            case .nothing: return
            case .present:
                throw .unsupported(UnsupportedFeatures(["fast_commit"], for: .recovery))
            case .damaged(let stored, let computed):
                throw .corrupt(
                    .journal, at: .init(block: try area.place(of: index)),
                    .checksum(stored: stored, computed: computed))
            }
        }
    }

    /// Collects every copy in the log, in its order.
    package func loggedBlocks(until end: TransactionID) throws(Ext4Error) -> [LoggedBlock] {
        var logged: [LoggedBlock] = []
        let start = area.superblock.start
        try forEachControlBlock(until: end) { (kind, walk) throws(Ext4Error) in
            guard kind == .descriptor else { return }
            let tags = unsafe JournalTag.all(in: walk.block.span.bytes, format)
            for tag in tags {
                guard let index = walk.skipLoggedBlock() else { throw changed() }
                // Distances are those in the ring, so that they grow with the log's order.
                let distance =
                    index >= start ? index &- start : index &+ area.blockCount &- start
                logged.append(
                    LoggedBlock(
                        target: tag.target.rawValue, distance: distance, sequence: walk.sequence,
                        checksum: tag.checksum, isEscaped: tag.isEscaped))
            }
        }
        return logged
    }

    /// Takes out the blocks that a revoke record of their own or of a later transaction names.
    ///
    /// The newest copies are all it needs: where one is revoked, all older ones are.
    package func dropRevoked(
        from blocks: inout [LoggedBlock], until end: TransactionID
    ) throws(Ext4Error) -> Int {
        let candidates = blocks
        var isRevoked = [Bool](repeating: false, count: candidates.count)
        try forEachControlBlock(until: end) { (kind, walk) throws(Ext4Error) in
            switch kind {
            case .commit: return
            case .descriptor:
                let tags = unsafe JournalTag.all(in: walk.block.span.bytes, format)
                for _ in tags {
                    guard walk.skipLoggedBlock() != nil else { throw changed() }
                }
            case .revoke:
                let sequence = walk.sequence
                try unsafe JournalRevoke.forEach(
                    in: walk.block.span.bytes, at: try area.place(of: walk.index), format
                ) { block in
                    let position = candidates.firstPosition(from: block.rawValue)
                    guard
                        position < candidates.count,
                        candidates[position].target == block.rawValue,
                        !candidates[position].sequence.isAfter(sequence)
                    else { return }
                    isRevoked[position] = true
                }
            }
        }
        blocks = []
        for (position, block) in candidates.enumerated() where !isRevoked[position] {
            blocks.append(block)
        }
        return candidates.count &- blocks.count
    }

    /// Checks the copies that will be used against the checksums in their tags.
    package func verify(_ blocks: [LoggedBlock]) throws(Ext4Error) {
        guard format.checksumsEveryBlock else { return }
        var bytes = [UInt8](repeating: 0, count: format.blockSize)
        for block in blocks.sorted(by: { $0.distance < $1.distance }) {
            let index = area.index(area.superblock.start, advancedBy: block.distance)
            try area.read(index, into: &bytes)
            let computed = unsafe JournalTag.checksum(
                of: bytes.span.bytes, in: block.sequence, format)
            guard computed == block.checksum else {
                throw .corrupt(
                    .journal, at: .init(block: try area.place(of: index)),
                    .checksum(stored: block.checksum, computed: computed))
            }
        }
    }

    /// Checks that everything that will be written lies on the volume and outside the journal.
    package func checkTargets(
        of blocks: [LoggedBlock], on volume: JournalledVolume
    ) throws(Ext4Error) {
        let blocksCount = max(volume.blocksCount, try blocksCount(in: blocks))
        for block in blocks {
            guard
                block.target >= volume.firstDataBlock, block.target < blocksCount,
                !area.location.contains(BlockNumber(block.target))
            else {
                let index = area.index(area.superblock.start, advancedBy: block.distance)
                throw .corrupt(
                    .journal, at: .init(block: try area.place(of: index)),
                    .field(
                        "t_blocknr", value: block.target,
                        rule: "a block of the volume outside the journal"))
            }
        }
    }

    /// How many blocks the volume will have, when the log holds its superblock: it may just have
    /// grown, and what is new stands in the log behind the old end. Never more than the device.
    private func blocksCount(in blocks: [LoggedBlock]) throws(Ext4Error) -> UInt64 {
        let size = UInt64(format.blockSize)
        let position = blocks.firstPosition(from: Superblock.byteOffset / size)
        guard
            position < blocks.count, blocks[position].target == Superblock.byteOffset / size
        else { return 0 }
        var bytes = [UInt8](repeating: 0, count: format.blockSize)
        try area.read(
            area.index(area.superblock.start, advancedBy: blocks[position].distance), into: &bytes)
        let offset = Int(Superblock.byteOffset % size)
        let record = unsafe bytes.span.bytes.extracting(offset..<offset &+ Superblock.byteCount)
        // One that is not sound is found when the volume is read again; it lends no blocks.
        guard let superblock = try? Superblock(parsing: record) else { return 0 }
        return min(superblock.blocksCount, area.device.byteCount / size)
    }

    /// Walks through the whole transactions of the log.
    private func forEachControlBlock(
        until end: TransactionID,
        _ body: (JournalHeader.Kind, inout LogWalk) throws(Ext4Error) -> Void
    ) throws(Ext4Error) {
        var walk = LogWalk(area)
        while walk.sequence != end {
            guard let kind = try walk.next() else { throw changed() }
            try body(kind, &walk)
            if kind == .commit { walk.beginNextTransaction() }
        }
    }

    private func changed() -> Ext4Error {
        .corrupt(.journal, .broken("the log changed while it was read"))
    }
}

extension [LoggedBlock] {
    /// The position of the first block at `target` or behind it; they are in that order.
    package func firstPosition(from target: UInt64) -> Int {
        var low = 0
        var high = count
        while low < high {
            let middle = (low &+ high) / 2
            if self[middle].target < target { low = middle &+ 1 } else { high = middle }
        }
        return low
    }
}
