internal import Synchronization

/// Who takes blocks.
enum Spender: Sendable {
    /// Anybody.
    case ordinary
    /// Root, or whom the superblock names: may also take the blocks that are reserved for them
    /// (`s_r_blocks_count`).
    case privileged
    /// What the volume needs to go on, such as a tree's block while something is freed: may take
    /// the last block.
    case essential
}

/// The blocks of a volume: who gets which.
///
/// Invariants:
///  1. A block is given to one owner at a time: it is set aside in its group's `BusyMap` under the
///     group's lock before anybody hears of it.
///  2. The bitmap on the disk has a block as used from the transaction in which it is claimed to
///     the one in which it is freed.
///  3. A freed block is not given to anybody before the transaction that freed it is committed.
///  4. `unreserved` is what the bitmaps have as free without what is set aside.
///
/// Volumes with bigalloc are not opened for writing, so that a block is a cluster here.
final class BlockAllocator: Sendable {
    let groups: GroupTable
    let journal: Journal
    /// The blocks of the volume's own structures.
    let own: OwnBlocks
    /// Free blocks of each group, without those set aside and those that wait for a commit.
    let available: AtomicCounts
    /// No run of free blocks in the group is longer than that.
    let longestRun: AtomicCounts
    private let freed = FreedSpace()
    private let free: Atomic<Int64>
    private let unreserved: Atomic<Int64>
    /// What only the privileged may take, and what nobody but the volume itself may.
    private let reserved: Int64
    private let kept: Int64
    /// Behind that nothing is given away.
    let limit: AllocationLimit?
    /// Held while free blocks are lent, so that they seem to be taken.
    let lending = SharedLock()

    var geometry: GroupGeometry { groups.geometry }

    /// Reads all descriptors of the volume. `others` are blocks beyond the groups' own structures
    /// that are never freed, such as the journal's.
    ///
    /// - Throws: `.corrupt` when a descriptor is; `.io`.
    init(
        _ groups: GroupTable, journal: Journal, others: [BlockRange] = [],
        limit: AllocationLimit? = nil
    ) throws(Ext4Error) {
        self.groups = groups
        self.journal = journal
        self.limit = limit
        let end = limit?.block ?? BlockNumber(.max)
        var room: Int64 = 0
        let superblock = groups.reader.superblock
        var counts: [UInt32] = []
        var sum: Int64 = 0
        for number in 0..<superblock.groupCount {
            let group = GroupNumber(number)
            groups.prefetch(aheadOf: group)
            let count = min(
                try groups.descriptor(of: group).freeBlocksCount, superblock.blockCount(of: group))
            let isGivenAway = superblock.firstBlock(of: group) < end
            counts.append(isGivenAway ? count : 0)
            if isGivenAway { room &+= Int64(count) }
            sum &+= Int64(count)
        }
        own = try OwnBlocks(superblock, groups, others: others)
        available = AtomicCounts(counts)
        longestRun = AtomicCounts(counts)
        free = Atomic(sum)
        unreserved = Atomic(room)
        reserved = Int64(clamping: superblock.reservedBlocksCount)
        kept = Int64(clamping: superblock.keptBlocksCount)
    }

    /// Free blocks, as the bitmaps have it: with those that are set aside, and with those that may
    /// be used again only after a commit.
    var freeBlocks: UInt64 { UInt64(clamping: free.load(ordering: .relaxed)) }

    /// Free blocks that are not set aside.
    var unreservedBlocks: UInt64 { UInt64(clamping: unreserved.load(ordering: .relaxed)) }

    /// Whether blocks were freed that cannot be used before a commit: who gets `.noSpace` may
    /// commit and try again.
    var hasBlocksAwaitingCommit: Bool {
        releaseCommitted()
        return !freed.isEmpty
    }

    // MARK: Setting aside

    /// Sets aside up to `count` consecutive free blocks of one group, in memory only, as near
    /// behind `goal` as possible.
    ///
    /// - Throws: `.noSpace` when there is not one block for `spender`.
    func reserve(
        _ count: UInt64, near goal: BlockNumber, for spender: Spender
    ) throws(Ext4Error) -> BlockRange {
        guard count > 0 else { throw .invalidArgument }
        releaseCommitted()
        let room = unreserved.load(ordering: .relaxed) &- floor(for: spender)
        guard room > 0 else { throw .noSpace }
        // Two threads may see the same room and go below the floor together. That is for the maps
        // to forbid where it matters: no block is in two hands.
        let wanted = UInt32(clamping: min(count, UInt64(room), geometry.blocksPerGroup))
        var found = try search(wanted, near: goal)
        if found == nil {
            // What is free may be lent for a moment.
            found = try lending.shared { () throws(Ext4Error) in try search(wanted, near: goal) }
        }
        guard let range = found else { throw .noSpace }
        unreserved.subtract(Int64(range.count), ordering: .relaxed)
        return range
    }

    /// What must stay free when `spender` takes blocks.
    private func floor(for spender: Spender) -> Int64 {
        switch spender {
        case .ordinary: reserved &+ kept
        case .privileged: kept
        case .essential: 0
        }
    }

    /// Gives back blocks that were set aside and not claimed.
    func cancel(_ range: BlockRange) {
        unreserved.add(Int64(giveBack(range)), ordering: .relaxed)
    }

    /// Makes blocks available again that were set aside, and says how many.
    func giveBack(_ range: BlockRange) -> UInt64 {
        var count: UInt64 = 0
        forEachPart(of: range) { number, part in
            // The group is in memory since the blocks were set aside.
            guard let group = groups.groups.find(Int(number.rawValue)) else { return }
            group.state.withLock { state in
                let bits = group.bits(of: part)
                guard state.blocks.mayBeSetAside(bits) else {
                    groups.reader.log(.error, "blocks from \(part.start) on were not set aside")
                    return
                }
                state.blocks.cancel(bits)
                noteFree(bits, of: group, state.blocks)
                count &+= part.count
            }
        }
        return count
    }

    /// Notes that `bits` are available again.
    func noteFree(_ bits: Range<Int>, of group: BlockGroup, _ map: BusyMap) {
        let index = Int(group.number.rawValue)
        let count = available[index] &+ UInt32(bits.count)
        available[index] = count
        guard map.isLoaded else {
            longestRun[index] = count
            return
        }
        let run = map.withBits { bytes in
            bytes.firstSetBit(from: bits.upperBound, below: map.count)
                &- bytes.startOfClearRun(before: bits.lowerBound)
        }
        longestRun[index] = max(longestRun[index], UInt32(clamping: run))
    }

    /// Calls `body` for the part of `range` in each group.
    private func forEachPart<Failure: Error>(
        of range: BlockRange, _ body: (GroupNumber, BlockRange) throws(Failure) -> Void
    ) throws(Failure) {
        var rest = range
        while rest.count > 0 {
            let number = geometry.group(of: rest.start)
            let end = geometry.blocks(of: number).end
            let part = rest.prefix(end.rawValue &- rest.start.rawValue)
            guard part.count > 0 else { return }
            try body(number, part)
            rest = rest.dropFirst(part.count)
        }
    }

    /// Makes what transactions freed that are committed by now available.
    func releaseCommitted() {
        guard let ready = freed.takeCommitted(of: journal) else { return }
        for group in ready.groups {
            group.state.withLock { state in
                state.blocks.release(committedUpTo: ready.last) { map, bits in
                    noteFree(bits, of: group, map)
                }
            }
        }
    }

    // MARK: Changing the bitmaps

    /// Makes blocks that were set aside allocated, until the handle fails: then they are set aside
    /// as before.
    ///
    /// - Throws: `.corrupt` when the bitmap has one of them as used; `.io`. The handle must fail
    ///   then too.
    func claim(_ range: BlockRange, in handle: inout Handle) throws(Ext4Error) {
        try claim(range, cancelsOnFailure: false, in: &handle)
    }

    /// One block, set aside and claimed at once. When the handle fails it is free again.
    ///
    /// - Throws: what `reserve` and `claim` throw.
    func allocate(
        near goal: BlockNumber, for spender: Spender, in handle: inout Handle
    ) throws(Ext4Error) -> BlockNumber {
        let range = try reserve(1, near: goal, for: spender)
        do throws(Ext4Error) {
            try claim(range, cancelsOnFailure: true, in: &handle)
        } catch {
            cancel(range)
            throw error
        }
        return range.start
    }

    private func claim(
        _ range: BlockRange, cancelsOnFailure: Bool, in handle: inout Handle
    ) throws(Ext4Error) {
        try forEachPart(of: range) { (number, part) throws(Ext4Error) in
            let group = try groups.group(number)
            let bits = group.bits(of: part)
            let bitmap = try withBitmap(of: group) { (state, bitmap) throws(Ext4Error) in
                guard state.blocks.mayBeSetAside(bits) else {
                    throw .corrupt(
                        .blockBitmap, at: .init(group: number, block: part.start),
                        .broken("blocks are claimed that were not set aside"))
                }
                let bitmap = bitmap ?? writeFirstBitmap(of: group, &state, in: &handle)
                guard bitmap.withBytes({ $0.areBitsClear(bits) }) else {
                    throw .corrupt(
                        .blockBitmap, at: .init(group: number, block: part.start),
                        .broken("a block is taken that was free"))
                }
                setUsed(true, bits, of: group, &state, bitmap, in: &handle)
                state.blocks.settle(bits)
                return bitmap
            }
            handle.onFailure { [self] handle in
                group.state.withLock { state in
                    setUsed(false, bits, of: group, &state, bitmap, in: &handle)
                    state.blocks.unsettle(bits)
                }
                if cancelsOnFailure { cancel(part) }
            }
        }
    }

    /// Frees blocks: the bitmap has them as free in this transaction, and they are used again only
    /// after it is committed. Of `isMetadata`, nothing in the log is replayed any more.
    ///
    /// - Throws: `.corrupt` for blocks that are free, that are not in the volume or are its own;
    ///   `.io`. The handle must fail then too.
    func free(
        _ range: BlockRange, isMetadata: Bool, in handle: inout Handle
    ) throws(Ext4Error) {
        guard range.count > 0 else { return }
        guard geometry.contains(range.start, count: range.count) else {
            throw .corrupt(
                .blockBitmap, at: .init(block: range.start),
                .broken("blocks are freed that are not in the volume"))
        }
        guard !own.intersects(range) else {
            throw .corrupt(
                .blockBitmap, at: .init(block: range.start),
                .broken("blocks of the volume's own structures are freed"))
        }
        try forEachPart(of: range) { (number, part) throws(Ext4Error) in
            try freePart(part, of: groups.group(number), in: &handle)
        }
        guard isMetadata else { return }
        for offset in 0..<range.count {
            handle.release(range.start.advanced(by: offset), from: groups.reader.cache)
        }
    }

    private func freePart(
        _ part: BlockRange, of group: BlockGroup, in handle: inout Handle
    ) throws(Ext4Error) {
        let bits = group.bits(of: part)
        let transaction = handle.transaction.id
        var isGivenAway = true
        if let limit, part.end > limit.block {
            if part.start < limit.block {
                let count = limit.block.rawValue &- part.start.rawValue
                try freePart(part.prefix(count), of: group, in: &handle)
                return try freePart(part.dropFirst(count), of: group, in: &handle)
            }
            isGivenAway = false
        }
        let returns = isGivenAway
        let bitmap = try withBitmap(of: group) { (state, bitmap) throws(Ext4Error) -> Buffer? in
            // Of a group whose bitmap is bad nothing is known: its blocks are left to a check.
            guard state.blocks.condition != .bad else { return nil }
            guard let bitmap, bitmap.withBytes({ $0.areBitsSet(bits) }) else {
                throw .corrupt(
                    .blockBitmap, at: .init(group: group.number, block: part.start),
                    .broken("a block is freed that is free"))
            }
            setUsed(false, bits, of: group, &state, bitmap, in: &handle)
            guard returns else { return bitmap }
            if state.blocks.free(bits, in: transaction) { freed.note(group, in: transaction) }
            unreserved.add(Int64(part.count), ordering: .relaxed)
            return bitmap
        }
        guard let bitmap else { return }
        handle.onFailure { [self] handle in
            group.state.withLock { state in
                setUsed(true, bits, of: group, &state, bitmap, in: &handle)
                guard returns else { return }
                state.blocks.unfree(bits, in: transaction)
                unreserved.subtract(Int64(part.count), ordering: .relaxed)
            }
        }
    }

    /// Sets or clears `bits` of the bitmap and counts them, in descriptor and total.
    private func setUsed(
        _ isUsed: Bool, _ bits: Range<Int>, of group: BlockGroup,
        _ state: inout BlockGroup.State, _ bitmap: Buffer, in handle: inout Handle
    ) {
        handle.modify(bitmap) { bytes in
            if isUsed { bytes.setBits(bits) } else { bytes.clearBits(bits) }
        }
        state.blocks.unsealed = bitmap
        groups.noteUnsealed(group, &state)
        let count = UInt32(bits.count)
        groups.change(group, &state, in: &handle) { descriptor in
            // The count was compared with the bitmap when that was first looked at.
            descriptor.freeBlocksCount =
                isUsed ? descriptor.freeBlocksCount &- count : descriptor.freeBlocksCount &+ count
        }
        free.add(isUsed ? -Int64(count) : Int64(count), ordering: .relaxed)
    }

    /// Takes a group out of the game whose bitmap cannot be trusted.
    func giveUp(_ group: BlockGroup, _ state: inout BlockGroup.State, because error: Ext4Error) {
        guard state.blocks.condition != .bad else { return }
        state.blocks.condition = .bad
        let index = Int(group.number.rawValue)
        unreserved.subtract(
            Int64(min(UInt64(state.descriptor.freeBlocksCount), group.range.count)),
            ordering: .relaxed)
        available[index] = 0
        longestRun[index] = 0
        groups.reader.log(.error, "no blocks of group \(group.number) are used: \(error)")
    }
}

extension Superblock {
    /// Blocks that Linux gives to nobody: 2 %, at most 4,096 clusters, of volumes with extents.
    var keptBlocksCount: UInt64 {
        guard incompatible.contains(.extents) else { return 0 }
        return min((blocksCount >> UInt64(clusterRatioLog2)) / 50, 4096)
            << UInt64(clusterRatioLog2)
    }
}
