internal import Ext4
internal import Synchronization

/// Bitmaps and counters, by groups and on several threads; then what the superblock says of them
/// all.
struct TotalsPass {
    let state: CheckState
    let workers: Workers

    func run() throws(Ext4Error) {
        let state = state
        let superblock = state.volume.superblock
        let groups = Int(superblock.groupCount)
        let progress = ProgressCount(.totals, total: UInt64(groups), state.options)
        let shares = try workers.run(groups) {
            (tasks) throws(Ext4Error) -> [(Int, GroupTotals)] in
            var scan = TotalsScan(state)
            var totals: [(Int, GroupTotals)] = []
            while let group = tasks.take() {
                totals.append((group, try scan.scan(GroupNumber(UInt32(group)))))
                progress.step()
            }
            return totals
        }
        var totals = [GroupTotals](repeating: GroupTotals(), count: groups)
        var freeClusters: UInt64 = 0
        var freeInodes: UInt64 = 0
        for (group, total) in shares.joined() {
            totals[group] = total
            freeClusters += UInt64(total.freeClusters)
            freeInodes += UInt64(total.freeInodes)
        }
        let freeBlocks = freeClusters << UInt64(superblock.clusterRatioLog2)
        state.gathered.withLock {
            $0.totals = totals
            $0.statistics.blocks = state.blocks.count << UInt64(superblock.clusterRatioLog2)
            $0.statistics.blocks -= min(freeBlocks, $0.statistics.blocks)
        }
        checkReferences()
        if superblock.freeBlocksCount != freeBlocks {
            state.report(
                Finding(
                    .superblockFreeBlocks, found: superblock.freeBlocksCount,
                    expected: freeBlocks))
        }
        if UInt64(superblock.freeInodesCount) != freeInodes {
            state.report(
                Finding(
                    .superblockFreeInodes, found: UInt64(superblock.freeInodesCount),
                    expected: freeInodes))
        }
    }

    private func checkReferences() {
        for (block, use) in state.attributeBlocks where use.isSound && use.stored != use.users {
            state.report(
                Finding(
                    .attributeReferences, at: .init(block: BlockNumber(block)),
                    found: UInt64(use.stored), expected: UInt64(use.users)))
        }
    }
}

/// One thread's share of the groups.
private struct TotalsScan {
    let state: CheckState
    let volume: CheckedVolume
    let superblock: Superblock
    private var block: [UInt8]

    init(_ state: CheckState) {
        self.state = state
        volume = state.volume
        superblock = volume.superblock
        block = [UInt8](repeating: 0, count: volume.blockSize)
    }

    mutating func scan(_ group: GroupNumber) throws(Ext4Error) -> GroupTotals {
        var totals = GroupTotals()
        let descriptor = volume.descriptors[Int(group.rawValue)]
        try checkBlocks(group, descriptor, &totals)
        try checkInodes(group, descriptor, &totals)
        for (rule, found, expected) in [
            (CheckRule.groupFreeBlocks, descriptor.freeBlocksCount, totals.freeClusters),
            (.groupFreeInodes, descriptor.freeInodesCount, totals.freeInodes),
            (.groupDirectories, descriptor.usedDirectoriesCount, totals.directories),
        ] where found != expected {
            state.report(
                Finding(
                    rule, at: .init(group: group), found: UInt64(found),
                    expected: UInt64(expected)))
        }
        return totals
    }

    /// Whether marks of what was never used count.
    private func isMarked(_ descriptor: GroupDescriptor, _ flag: GroupDescriptor.Flags) -> Bool {
        superblock.hasDescriptorChecksums && descriptor.flags.contains(flag)
    }

    // MARK: - Blocks

    private mutating func checkBlocks(
        _ group: GroupNumber, _ descriptor: GroupDescriptor, _ totals: inout GroupTotals
    ) throws(Ext4Error) {
        let ratio = UInt64(superblock.clusterRatioLog2)
        let blocks = UInt64(superblock.blockCount(of: group))
        let count = Int((blocks + (1 << ratio) - 1) >> ratio)
        let wanted = state.blocks.bitmap(of: group)
        var used = 0
        for byte in wanted { used += byte.nonzeroBitCount }
        totals.freeClusters = UInt32(clamping: count - used)

        if isMarked(descriptor, .blockUninit) {
            checkUninitialised(group, wanted, count: count)
            return
        }
        guard volume.contains(descriptor.blockBitmap.rawValue) else { return }
        try volume.read(descriptor.blockBitmap, into: &block)
        if volume.hasChecksums {
            let computed = unsafe GroupDescriptor.blockBitmapChecksum(
                of: block.span.bytes, superblock: superblock)
            if let computed, computed != descriptor.blockBitmapChecksum {
                state.report(
                    Finding(
                        .bitmapBlockChecksum,
                        at: .init(group: group, block: descriptor.blockBitmap),
                        found: UInt64(descriptor.blockBitmapChecksum),
                        expected: UInt64(computed)))
            }
        }
        let first = superblock.firstBlock(of: group).rawValue
        forEachDifference(wanted, count: count) { run, isSet in
            state.report(
                Finding(
                    .bitmapBlocks,
                    at: .init(
                        group: group, block: BlockNumber(first + UInt64(run.lowerBound) << ratio)),
                    found: isSet ? 1 : 0, expected: isSet ? 0 : 1,
                    count: UInt64(run.count) << ratio))
        }
        let end = min(Int(superblock.clustersPerGroup), block.count * 8)
        checkPadding(
            .bitmapBlockPadding, count..<end, descriptor.blockBitmap, group)
        checkPadding(
            .bitmapBlockPadding, (end + 7) & ~7..<block.count * 8, descriptor.blockBitmap, group)
    }

    /// Looks at bits of the bitmap at hand that stand for nothing.
    private func checkPadding(
        _ rule: CheckRule, _ bits: Range<Int>, _ bitmap: BlockNumber, _ group: GroupNumber
    ) {
        let clear = unsafe block.span.bytes.firstClearBit(in: bits)
        guard clear < bits.upperBound else { return }
        state.report(
            Finding(rule, at: .init(group: group, block: bitmap), found: UInt64(clear)))
    }

    /// The bitmap of a group that is marked as unused has what the volume's structures take.
    private func checkUninitialised(_ group: GroupNumber, _ wanted: [UInt8], count: Int) {
        let ratio = UInt64(superblock.clusterRatioLog2)
        let start = UInt64(group.rawValue) * UInt64(superblock.blocksPerGroup)
        var extra = 0
        for index in 0..<count where wanted[index >> 3] >> UInt8(index & 7) & 1 != 0 {
            let first = start + UInt64(index) << ratio
            if !state.metadata.isAnyClaimed(first..<first + 1 << ratio) { extra += 1 }
        }
        if extra > 0 {
            state.report(
                Finding(
                    .groupUninitialised, at: .init(group: group), found: UInt64(extra),
                    expected: 0, detail: "blocks in use in a group that is marked as unused"))
        }
    }

    /// Calls `body` for each run of the first `count` bits of the block at hand that differ from
    /// those that are wanted, and with what they are.
    private func forEachDifference(
        _ wanted: [UInt8], count: Int, _ body: (Range<Int>, Bool) -> Void
    ) {
        var run: Range<Int>?
        var runIsSet = false
        for byte in 0..<min((count + 7) / 8, block.count, wanted.count) {
            guard block[byte] != wanted[byte] else {
                if let found = run { body(found, runIsSet) }
                run = nil
                continue
            }
            for bit in byte * 8..<min(byte * 8 + 8, count) {
                let isSet = block[byte] >> UInt8(bit & 7) & 1 != 0
                let isWanted = wanted[byte] >> UInt8(bit & 7) & 1 != 0
                if isSet != isWanted, let found = run, runIsSet == isSet {
                    run = found.lowerBound..<bit + 1
                    continue
                }
                if let found = run { body(found, runIsSet) }
                run = isSet == isWanted ? nil : bit..<bit + 1
                runIsSet = isSet
            }
        }
        if let found = run { body(found, runIsSet) }
    }

    // MARK: - Inodes

    private mutating func checkInodes(
        _ group: GroupNumber, _ descriptor: GroupDescriptor, _ totals: inout GroupTotals
    ) throws(Ext4Error) {
        let count = Int(superblock.inodesPerGroup)
        let first = group.rawValue * superblock.inodesPerGroup + 1
        var wanted = [UInt8](repeating: 0, count: (count + 7) / 8)
        var used: UInt32 = 0
        for slot in 0..<superblock.inodesPerGroup {
            let inode = InodeNumber(first + slot)
            guard state.inodes.isUsed(inode) else { continue }
            wanted[Int(slot >> 3)] |= 1 << UInt8(slot & 7)
            used += 1
            totals.lastUsedInode = slot + 1
            if state.inodes.type(of: inode) == .directory { totals.directories += 1 }
        }
        totals.freeInodes = superblock.inodesPerGroup - used

        if isMarked(descriptor, .inodeUninit) {
            if used > 0 {
                state.report(
                    Finding(
                        .groupUninitialised, at: .init(group: group), found: UInt64(used),
                        expected: 0,
                        detail: "inodes in use in a group that is marked as unused"))
            }
            return
        }
        guard volume.contains(descriptor.inodeBitmap.rawValue) else { return }
        try volume.read(descriptor.inodeBitmap, into: &block)
        if volume.hasChecksums {
            let computed = unsafe GroupDescriptor.inodeBitmapChecksum(
                of: block.span.bytes, superblock: superblock)
            if let computed, computed != descriptor.inodeBitmapChecksum {
                state.report(
                    Finding(
                        .bitmapInodeChecksum,
                        at: .init(group: group, block: descriptor.inodeBitmap),
                        found: UInt64(descriptor.inodeBitmapChecksum),
                        expected: UInt64(computed)))
            }
        }
        checkPadding(
            .bitmapInodePadding, (count + 7) & ~7..<block.count * 8, descriptor.inodeBitmap, group)
        forEachDifference(wanted, count: count) { run, isSet in
            state.report(
                Finding(
                    .bitmapInodes,
                    at: .init(
                        group: group, inode: InodeNumber(first + UInt32(run.lowerBound))),
                    found: isSet ? 1 : 0, expected: isSet ? 0 : 1, count: UInt64(run.count)))
        }
    }
}

extension RawSpan {
    /// The first clear bit of a range, or its end.
    fileprivate func firstClearBit(in range: Range<Int>) -> Int {
        var bit = range.lowerBound
        while bit < range.upperBound {
            let value = byte(at: bit >> 3)
            if bit & 7 == 0, value == 0xFF {
                bit += 8
            } else if value >> UInt8(bit & 7) & 1 == 0 {
                return bit
            } else {
                bit += 1
            }
        }
        return range.upperBound
    }
}
