// Where blocks are taken from, and how a group's bitmap becomes a map in memory.

extension BlockAllocator {
    /// Sets aside up to `count` blocks: at `goal`, else behind it in its group, else wherever the
    /// pieces are longest, group after group. Nil when no block is to be had.
    ///
    /// - Throws: when no block is to be had because of it, what a bitmap could not be read for.
    func search(_ count: UInt32, near goal: BlockNumber) throws(Ext4Error) -> BlockRange? {
        let geometry = geometry
        let goal = geometry.contains(goal) ? goal : geometry.blocks(of: GroupNumber(0)).start
        let home = geometry.group(of: goal)
        let offset = Int(goal.rawValue &- geometry.blocks(of: home).start.rawValue)
        // A request that is cut into more than four is better served by another group.
        var least = max(count / 4, 1)
        var failure: Ext4Error?
        if let range = take(
            count, from: offset, of: home, least: least, isGoal: true, &failure)
        {
            return range
        }
        least = count
        while true {
            // The groups with a run of that length come from a count a group: no lock is taken
            // and no bitmap read for the others.
            var index = Int(home.rawValue)
            for _ in 0..<geometry.groupCount {
                index &+= 1
                if index == Int(geometry.groupCount) { index = 0 }
                guard longestRun[index] >= least else { continue }
                if let range = take(
                    count, from: 0, of: GroupNumber(UInt32(index)), least: least, isGoal: false,
                    &failure)
                {
                    return range
                }
            }
            guard least > 1 else {
                if let failure { throw failure }
                return nil
            }
            least = max(least / 4, 1)
        }
    }

    /// Sets aside up to `count` blocks, and not less than `least`, of one group: behind bit
    /// `start`, else before it.
    private func take(
        _ count: UInt32, from start: Int, of number: GroupNumber, least: UInt32, isGoal: Bool,
        _ failure: inout Ext4Error?
    ) -> BlockRange? {
        let index = Int(number.rawValue)
        guard available[index] > 0 else { return nil }
        do throws(Ext4Error) {
            let group = try groups.group(number)
            let bits = try withMap(of: group) { state -> Range<Int> in
                let goal = isGoal ? runAtGoal(start, count, in: state.blocks) : 0..<0
                var bits = goal
                if goal.isEmpty {
                    guard longestRun[index] >= least else { return goal }
                    bits = find(
                        Int(min(count, longestRun[index])), from: start, in: state.blocks)
                    // When there is no longer one, the next search knows.
                    if bits.count < Int(count) { longestRun[index] = UInt32(bits.count) }
                    guard bits.count >= Int(least) else { return goal }
                }
                let taken = bits.prefix(Int(count))
                state.blocks.reserve(taken)
                available[index] &-= UInt32(taken.count)
                longestRun[index] = min(longestRun[index], available[index])
                return taken
            }
            guard let bits, !bits.isEmpty else { return nil }
            return group.blocks(bits)
        } catch {
            groups.reader.log(.error, "no blocks are taken from group \(number): \(error)")
            failure = failure ?? error
            return nil
        }
    }

    /// The clear bits from `start` on, up to `count`.
    private func runAtGoal(_ start: Int, _ count: UInt32, in map: BusyMap) -> Range<Int> {
        let limit = min(start &+ Int(count), map.count)
        guard start < limit else { return 0..<0 }
        return map.withBits { bits in
            bits.isBitSet(start) ? 0..<0 : start..<bits.firstSetBit(from: start, below: limit)
        }
    }

    /// The run of clear bits to take `count` from: the first one of that length behind `start`,
    /// else the first one before it, else the longest. The bit at `start` is set, or the first.
    private func find(_ count: Int, from start: Int, in map: BusyMap) -> Range<Int> {
        map.withBits { bits in
            let behind = bits.clearRun(ofAtLeast: count, in: min(start, map.count)..<map.count)
            if behind.count >= count { return behind }
            let before = bits.clearRun(ofAtLeast: count, in: 0..<min(start, map.count))
            return before.count > behind.count ? before : behind
        }
    }

    /// Runs `body` with the map of `group` in memory, under the group's lock; nil when the group's
    /// bitmap is bad.
    func withMap<Result>(
        of group: BlockGroup, _ body: (inout BlockGroup.State) -> Result
    ) throws(Ext4Error) -> Result? {
        let early: Result? = group.state.withLock { state in
            state.blocks.isLoaded ? body(&state) : nil
        }
        if let early { return early }
        let late: Result? = try withBitmap(of: group) { (state, bitmap) in
            guard state.blocks.condition != .bad else { return nil }
            if !state.blocks.isLoaded { load(bitmap, of: group, &state) }
            return state.blocks.isLoaded ? body(&state) : nil
        }
        groups.dropMaps()
        return late
    }

    /// Runs `body` with the bitmap of `group`, checked, under the group's lock; nil stands for a
    /// bitmap that was never written, or that is bad.
    func withBitmap<Result>(
        of group: BlockGroup,
        _ body: (inout BlockGroup.State, Buffer?) throws(Ext4Error) -> Result
    ) throws(Ext4Error) -> Result {
        let hasFlags = geometry.hasDescriptorChecksums
        var descriptor = group.page[group.slot]
        while true {
            // No lock is held while the device is read.
            let isUnwritten = hasFlags && descriptor.flags.contains(.blockUninit)
            let bitmap =
                isUnwritten
                ? nil : try groups.reader.cache.buffer(of: descriptor.blockBitmap)
            let result = try group.state.withLock { (state) throws(Ext4Error) -> Result? in
                descriptor = state.descriptor
                guard isUnwritten == (hasFlags && descriptor.flags.contains(.blockUninit)) else {
                    // Somebody wrote the first bitmap meanwhile.
                    return nil
                }
                if let bitmap, state.blocks.condition == .unknown {
                    check(bitmap, of: group, &state)
                }
                return try body(&state, state.blocks.condition == .bad ? nil : bitmap)
            }
            if let result { return result }
        }
    }

    /// Looks at a bitmap for the first time: its checksum, the count, the volume's own blocks.
    private func check(_ bitmap: Buffer, of group: BlockGroup, _ state: inout BlockGroup.State) {
        let place = Corruption.Place(group: group.number, block: bitmap.block)
        let stored = state.descriptor.blockBitmapChecksum
        let superblock = groups.reader.superblock
        let failure: Ext4Error? = bitmap.withBytes { bytes in
            if groups.reader.verifiesChecksums,
                let computed = GroupDescriptor.blockBitmapChecksum(
                    of: bytes, superblock: superblock), computed != stored
            {
                return .corrupt(
                    .blockBitmap, at: place, .checksum(stored: stored, computed: computed))
            }
            let free = bytes.clearBitCount(below: Int(group.range.count))
            guard free == Int(state.descriptor.freeBlocksCount) else {
                return .corrupt(
                    .blockBitmap, at: place,
                    .field(
                        "bg_free_blocks_count", value: UInt64(state.descriptor.freeBlocksCount),
                        rule: "\(free), as the bitmap has it"))
            }
            var isWhole = true
            own.forEachPart(in: group.range) { part in
                if !bytes.areBitsSet(group.bits(of: part)) { isWhole = false }
            }
            return isWhole
                ? nil
                : .corrupt(
                    .blockBitmap, at: place,
                    .broken("blocks of the volume's own structures are free in it"))
        }
        if let failure {
            giveUp(group, &state, because: failure)
        } else {
            state.blocks.condition = .good
        }
    }

    /// Brings the map of `group` into memory: from its bitmap, or from what is known to be taken
    /// in a group whose bitmap was never written.
    private func load(
        _ bitmap: Buffer?, of group: BlockGroup, _ state: inout BlockGroup.State
    ) {
        if let bitmap {
            bitmap.withBytes { state.blocks.load($0) }
        } else {
            state.blocks.loadEmpty()
            own.forEachPart(in: group.range) { state.blocks.take(group.bits(of: $0)) }
            let count = state.blocks.count
            let free = state.blocks.withBits { $0.clearBitCount(below: count) }
            guard free == Int(state.descriptor.freeBlocksCount) else {
                state.blocks.drop()
                giveUp(
                    group, &state,
                    because: .corrupt(
                        .groupDescriptor, at: .init(group: group.number),
                        .field(
                            "bg_free_blocks_count",
                            value: UInt64(state.descriptor.freeBlocksCount),
                            rule: "\(free) in a group that was never used")))
                return
            }
            state.blocks.condition = .good
        }
        if let limit, limit.block < group.range.end {
            let first = max(limit.block, group.range.start)
            state.blocks.take(
                group.bits(
                    of: BlockRange(
                        start: first,
                        count: group.range.end.rawValue &- first.rawValue)))
        }
        groups.noteLoaded(group, &state)
    }

    /// Writes the bitmap of a group that had none: with what the volume's own structures take, and
    /// the bits behind the last block set.
    func writeFirstBitmap(
        of group: BlockGroup, _ state: inout BlockGroup.State, in handle: inout Handle
    ) -> Buffer {
        let bitmap = handle.renew(state.descriptor.blockBitmap, in: groups.reader.cache)
        handle.modify(bitmap) { bytes in
            own.forEachPart(in: group.range) { bytes.setBits(group.bits(of: $0)) }
            bytes.setBits(Int(group.range.count)..<bytes.byteCount &* 8)
        }
        state.blocks.unsealed = bitmap
        groups.noteUnsealed(group, &state)
        groups.change(group, &state, in: &handle) { $0.flags.remove(.blockUninit) }
        return bitmap
    }

    /// Gives a group its block bitmap, if it was never written and what the descriptor says of it
    /// is right.
    func beginUse(
        of group: BlockGroup, _ state: inout BlockGroup.State, in handle: inout Handle
    ) {
        guard geometry.hasDescriptorChecksums, state.descriptor.flags.contains(.blockUninit),
            state.blocks.condition != .bad
        else { return }
        if !state.blocks.isLoaded { load(nil, of: group, &state) }
        guard state.blocks.isLoaded else { return }
        _ = writeFirstBitmap(of: group, &state, in: &handle)
    }
}
