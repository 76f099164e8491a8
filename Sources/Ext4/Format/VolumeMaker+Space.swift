// Taking blocks and inodes of a new volume.

extension VolumeMaker {
    /// The longest run that one extent has.
    private static let extentLength = UInt64(ExtentNode.maximumLength)

    /// The first free run at or behind `place`, to the end of its unit at most.
    func freeRun(atOrBehind place: UInt64) throws(Ext4Error) -> Range<UInt64>? {
        let end = superblock.blocksCount
        var place = max(place, UInt64(superblock.firstDataBlock))
        // Every turn goes on behind a range that is taken.
        while place < end {
            let (unit, structures) = try unit(at: place)
            var stop = min(unit.blocks.upperBound, end)
            if let range = structures.range(atOrBehind: place) {
                if range.lowerBound <= place {
                    place = range.upperBound
                    continue
                }
                stop = min(stop, range.lowerBound)
            }
            if let range = taken.range(atOrBehind: place) {
                if range.lowerBound <= place {
                    place = range.upperBound
                    continue
                }
                stop = min(stop, range.lowerBound)
            }
            // A cluster that the volume's end cuts is no whole one, and not used.
            stop = wholeClusters(stop, up: false)
            if stop > place { return place..<stop }
            place = max(unit.blocks.upperBound, place + 1)
        }
        return nil
    }

    /// The first free run at or behind `place`, over the ends of units, up to `count` blocks.
    private func longRun(
        atOrBehind place: UInt64, upTo count: UInt64
    ) throws(Ext4Error) -> Range<UInt64>? {
        guard var run = try freeRun(atOrBehind: place) else { return nil }
        while run.upperBound - run.lowerBound < count,
            let next = try freeRun(atOrBehind: run.upperBound),
            next.lowerBound == run.upperBound
        {
            run = run.lowerBound..<next.upperBound
        }
        return run
    }

    /// Takes the first free blocks from `goal` on, in as many pieces as they lie in.
    ///
    /// - Throws: `Ext4Error.noSpace`.
    package func takeFirst(
        _ count: UInt64, from goal: UInt64 = 0
    ) throws(Ext4Error) -> [Range<UInt64>] {
        var missing = wholeClusters(count, up: true)
        var runs: [Range<UInt64>] = []
        var place = wholeClusters(goal, up: false)
        var hasWrapped = place <= UInt64(superblock.firstDataBlock)
        while missing > 0 {
            guard let run = try freeRun(atOrBehind: place) else {
                guard !hasWrapped else {
                    for run in runs { taken.remove(run) }
                    throw .noSpace
                }
                hasWrapped = true
                place = 0
                continue
            }
            let part = run.lowerBound..<min(run.upperBound, run.lowerBound + missing)
            take(part, to: &runs)
            missing -= UInt64(part.count)
            place = part.upperBound
        }
        return runs
    }

    private func take(_ part: Range<UInt64>, to runs: inout [Range<UInt64>]) {
        taken.insert(part)
        if let last = runs.last, last.upperBound == part.lowerBound {
            runs[runs.count - 1] = last.lowerBound..<part.upperBound
        } else {
            runs.append(part)
        }
    }

    /// Takes blocks for data: in one run where one extent can hold them, behind what was taken
    /// before, or in a gap that was left.
    ///
    /// With bigalloc whole clusters are taken: the runs may have more blocks than were asked for.
    ///
    /// - Throws: `Ext4Error.noSpace`.
    package func allocate(_ count: UInt64) throws(Ext4Error) -> [Range<UInt64>] {
        var missing = wholeClusters(count, up: true)
        var runs: [Range<UInt64>] = []
        guard missing > 0 else { return runs }
        if let gap = try takeGap(missing) { return [gap] }
        while missing > 0 {
            guard let run = try longRun(atOrBehind: cursor, upTo: missing) else {
                // Behind the cursor there is nothing left.
                do throws(Ext4Error) {
                    for piece in try takeFirst(missing) { take(piece, to: &runs) }
                } catch {
                    for run in runs { taken.remove(run) }
                    throw error
                }
                return runs
            }
            let length = run.upperBound - run.lowerBound
            if length < missing, runs.isEmpty, missing <= Self.extentLength {
                gaps.append(run)
                cursor = run.upperBound
                continue
            }
            let part = run.lowerBound..<min(run.upperBound, run.lowerBound + missing)
            take(part, to: &runs)
            missing -= UInt64(part.count)
            cursor = part.upperBound
        }
        return runs
    }

    private func takeGap(_ count: UInt64) throws(Ext4Error) -> Range<UInt64>? {
        for index in gaps.indices {
            let gap = gaps[index]
            guard gap.upperBound - gap.lowerBound >= count else { continue }
            let part = gap.lowerBound..<gap.lowerBound + count
            if part.upperBound == gap.upperBound {
                gaps.remove(at: index)
            } else {
                gaps[index] = part.upperBound..<gap.upperBound
            }
            // The volume's own files take from anywhere.
            guard taken.count(in: part) == 0 else { return try takeGap(count) }
            taken.insert(part)
            return part
        }
        return nil
    }

    /// Gives blocks back that were taken for data: whole clusters.
    package func free(_ range: Range<UInt64>) {
        taken.remove(range)
        if range.upperBound == cursor {
            cursor = range.lowerBound
        } else {
            gaps.append(range)
        }
    }

    /// How many blocks of `group` are free.
    func freeBlocks(of group: UInt32) throws(Ext4Error) -> UInt64 {
        let blocks = layout.blocks(of: group)
        let (_, structures) = try unit(at: blocks.lowerBound)
        let count = blocks.upperBound - blocks.lowerBound
        let used = structures.count(in: blocks) + taken.count(in: blocks)
        return count - min(used, count)
    }

    // MARK: Inodes

    /// Where the bytes of an inode stand: the block, and the place in it.
    func place(of inode: InodeNumber) throws(Ext4Error) -> (block: UInt64, index: UInt32) {
        let index = inode.rawValue - 1
        let group = index / superblock.inodesPerGroup
        let slot = index % superblock.inodesPerGroup
        let (unit, _) = try unit(group / layout.groupsPerUnit)
        let places = unit.places[Int(group - unit.groups.lowerBound)]
        let block = places.inodeTable.rawValue + UInt64(slot / superblock.inodesPerBlock)
        return (block, slot % superblock.inodesPerBlock)
    }

    /// Writes an inode, with its checksum; each one once, and none before the size is settled.
    /// It counts as taken from then on. Where numbers follow each other, their blocks are written
    /// in large pieces.
    ///
    /// - Parameter valueCount: how many of its attributes have inodes of their own.
    package func setInode(
        _ record: inout InodeRecord, _ inode: InodeNumber, valueCount: UInt64 = 0
    ) throws(Ext4Error) {
        guard inode.rawValue > 0, inode.rawValue <= superblock.inodesCount, !isGrowing else {
            throw .invalidArgument
        }
        note(record, inode, valueCount)
        if superblock.hasMetadataChecksums {
            record.seal(number: inode, seed: superblock.checksumSeed)
        }
        let (block, index) = try place(of: inode)
        var table =
            openTables.removeValue(forKey: block)
            ?? OpenTable(
                bytes: [UInt8](repeating: 0, count: blockSize),
                missing: superblock.inodesPerBlock)
        let start = Int(index) * superblock.inodeSize
        table.bytes.replaceSubrange(start..<start + superblock.inodeSize, with: record.bytes)
        table.missing -= min(table.missing, 1)
        if table.missing == 0 {
            try writeTable(table.bytes, at: block)
        } else {
            openTables[block] = table
        }
    }

    /// Counts an inode. To quota, the inodes of values are of those who name them, each time.
    private func note(_ record: InodeRecord, _ inode: InodeNumber, _ valueCount: UInt64) {
        typealias Layout = InodeRecord.Layout
        let number = UInt64(inode.rawValue)
        takenInodes.insert(number..<number + 1)
        if FileMode(rawValue: record[Layout.mode]).type == .directory {
            directories.insert(number..<number + 1)
        }
        guard !layout.quotas.isEmpty, inode == .root || inode >= superblock.firstInode,
            inode != own.projectQuota, inode != own.orphanFile,
            !record.flags.contains(.attributeInode)
        else { return }
        // Values are charged to everybody who names them: their blocks are among the record's.
        let owners = [
            UInt32(record[Layout.userIDLow]) | UInt32(record[Layout.userIDHigh]) << 16,
            UInt32(record[Layout.groupIDLow]) | UInt32(record[Layout.groupIDHigh]) << 16,
            record[extra: Layout.projectID] ?? 0,
        ]
        let bytes = record.blocks512(superblock) << 9
        for (kind, owner) in owners.enumerated() {
            let before = usage[kind][owner] ?? (0, 0)
            usage[kind][owner] = (before.inodes + 1 + valueCount, before.bytes + bytes)
        }
    }

    private func writeTable(_ bytes: [UInt8], at block: UInt64) throws(Ext4Error) {
        writtenTables.insert(block..<block + 1)
        try tableQueue.add(bytes, at: block) { (bytes, block) throws(Ext4Error) in
            try self.write(bytes, atBlock: block)
        }
    }

    /// Writes what is known of the blocks that are left.
    func flushTables() throws(Ext4Error) {
        for block in openTables.keys.sorted() {
            guard let table = openTables.removeValue(forKey: block) else { continue }
            try writeTable(table.bytes, at: block)
        }
        try tableQueue.flush { (bytes, block) throws(Ext4Error) in
            try self.write(bytes, atBlock: block)
        }
    }
}
