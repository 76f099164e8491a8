// Free blocks lent to whoever tells the device that nobody needs them.
//
// What is free and waits for nothing is clear in a group's map. It is set aside as for a write,
// the device is told, and it is given back: no lock of a group is held meanwhile, and nobody gets
// a block that is just being discarded. Blocks that a transaction freed which is not committed are
// set in the map, as are those that are set aside for files: neither is ever lent.

extension BlockAllocator {
    /// Refuses bitmaps that cannot be trusted, before any of them is acted on.
    ///
    /// - Parameter progress: told of each group, by its index; returns whether to go on.
    /// - Throws: `.corrupt` for the first of the groups with blocks of `range` whose bitmap is bad;
    ///   `.io`.
    func checkBitmaps(
        of range: BlockRange, _ progress: (GroupNumber) -> Bool
    ) throws(Ext4Error) {
        guard range.count > 0 else { return }
        let last = geometry.group(of: BlockNumber(range.end.rawValue &- 1)).rawValue
        for number in geometry.group(of: range.start).rawValue...last {
            let group = GroupNumber(number)
            guard progress(group) else { return }
            if groups.groups.find(Int(number)) == nil {
                groups.prefetch(aheadOf: group)
                // Nothing will be taken from a full group, whatever its bitmap says.
                guard available[Int(number)] > 0 else { continue }
            }
            let isGood = try withMap(of: groups.group(group)) { _ in true }
            guard isGood == true else {
                throw .corrupt(
                    .blockBitmap, at: .init(group: group),
                    .broken("it cannot be told which blocks are free"))
            }
        }
    }

    /// Lends the first run of free blocks between `start` and `end`, across borders of groups, to
    /// `body`.
    ///
    /// - Parameter limit: a run that has so many blocks is not looked at beyond its group.
    /// - Returns: the run; nil when none is left.
    /// - Throws: what `body` throws, and `.io` when a bitmap cannot be read.
    func lendFreeRun(
        from start: BlockNumber, to end: BlockNumber, limit: UInt64,
        _ body: (BlockRange) throws(Ext4Error) -> Void
    ) throws(Ext4Error) -> BlockRange? {
        // Whoever finds no block meanwhile waits for these: the volume may not be full.
        try lending.exclusive { () throws(Ext4Error) in
            releaseCommitted()
            guard let run = try takeFreeRun(from: start, to: end, limit: limit) else { return nil }
            defer { _ = giveBack(run) }
            try body(run)
            return run
        }
    }

    private func takeFreeRun(
        from start: BlockNumber, to end: BlockNumber, limit: UInt64
    ) throws(Ext4Error) -> BlockRange? {
        var run: BlockRange?
        var next = start
        while next < end {
            let number = geometry.group(of: next)
            let groupEnd = min(geometry.blocks(of: number).end, end)
            guard groupEnd > next else { break }
            let window = BlockRange(start: next, count: groupEnd.rawValue &- next.rawValue)
            let part: BlockRange?
            do throws(Ext4Error) {
                part = try takeFreePart(of: window, of: number, isAtStart: run != nil)
            } catch {
                if let run { _ = giveBack(run) }
                throw error
            }
            next = groupEnd
            guard let part else {
                if run != nil { return run }
                continue
            }
            let whole = BlockRange(
                start: run?.start ?? part.start, count: (run?.count ?? 0) &+ part.count)
            run = whole
            if whole.end < groupEnd || whole.count >= limit { return whole }
        }
        return run
    }

    /// Sets the first free run of `window` aside, which lies in one group; with `isAtStart` only
    /// one that begins where the window does.
    private func takeFreePart(
        of window: BlockRange, of number: GroupNumber, isAtStart: Bool
    ) throws(Ext4Error) -> BlockRange? {
        let index = Int(number.rawValue)
        guard available[index] > 0 else { return nil }
        let group = try groups.group(number)
        let bounds = group.bits(of: window)
        let taken = try withMap(of: group) { state -> Range<Int> in
            let bits = state.blocks.withBits { map -> Range<Int> in
                let start = map.firstClearBit(from: bounds.lowerBound, below: bounds.upperBound)
                return start..<map.firstSetBit(from: start, below: bounds.upperBound)
            }
            guard !bits.isEmpty, !isAtStart || bits.lowerBound == bounds.lowerBound else {
                return 0..<0
            }
            state.blocks.reserve(bits)
            available[index] &-= UInt32(bits.count)
            longestRun[index] = min(longestRun[index], available[index])
            return bits
        }
        guard let taken, !taken.isEmpty else { return nil }
        return group.blocks(taken)
    }
}
