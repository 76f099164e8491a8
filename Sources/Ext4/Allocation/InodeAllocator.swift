internal import Synchronization

/// The inodes of a volume: which number a new file gets.
///
/// Invariants:
///  1. A number is given out once: its bit is set in the group's map under the group's lock.
///  2. A freed number is given out again only after the transaction that freed it is committed,
///     so that nobody has it when freeing it is undone.
///  3. Where the descriptor says that inodes were never used, the blocks of the table are not
///     read: they are made zeros by the transaction that first uses one of their inodes.
final class InodeAllocator: Sendable {
    let groups: GroupTable
    let journal: Journal
    let blocks: BlockAllocator
    /// Free inodes of each group, without those that wait for a commit.
    let available: AtomicCounts
    /// Directories of each group.
    let directories: AtomicCounts
    private let freed = FreedSpace()
    private let free: Atomic<Int64>
    /// From that group on nothing is given away.
    private let limit: AllocationLimit?
    let directoryCount: Atomic<Int64>
    /// Where the next search for a directory at the top starts.
    let nextStart = Atomic<UInt32>(0)

    var geometry: GroupGeometry { groups.geometry }

    /// - Throws: `.corrupt` when a descriptor is; `.io`.
    init(
        _ groups: GroupTable, blocks: BlockAllocator, journal: Journal,
        limit: AllocationLimit? = nil
    ) throws(Ext4Error) {
        self.groups = groups
        self.limit = limit
        self.blocks = blocks
        self.journal = journal
        let superblock = groups.reader.superblock
        var freeCounts: [UInt32] = []
        var directoryCounts: [UInt32] = []
        var freeSum: Int64 = 0
        var directorySum: Int64 = 0
        for number in 0..<superblock.groupCount {
            let descriptor = try groups.descriptor(of: GroupNumber(number))
            let count = min(descriptor.freeInodesCount, superblock.inodesPerGroup)
            let isGivenAway = limit.map { number < $0.group.rawValue } ?? true
            freeCounts.append(isGivenAway ? count : 0)
            directoryCounts.append(descriptor.usedDirectoriesCount)
            freeSum &+= Int64(count)
            directorySum &+= Int64(descriptor.usedDirectoriesCount)
        }
        available = AtomicCounts(freeCounts)
        directories = AtomicCounts(directoryCounts)
        free = Atomic(freeSum)
        directoryCount = Atomic(directorySum)
    }

    /// Free inodes, as the bitmaps have it: with those that may be used again only after a commit.
    var freeInodes: UInt64 { UInt64(clamping: free.load(ordering: .relaxed)) }

    /// Whether inodes were freed that cannot be used before a commit: who gets `.noSpace` may
    /// commit and try again.
    var hasInodesAwaitingCommit: Bool {
        releaseCommitted()
        return !freed.isEmpty
    }

    /// Makes the numbers available that transactions freed which are committed by now.
    private func releaseCommitted() {
        guard let ready = freed.takeCommitted(of: journal) else { return }
        for group in ready.groups {
            group.state.withLock { state in
                var first = state.firstFreeInode
                let index = Int(group.number.rawValue)
                state.inodes.release(committedUpTo: ready.last) { _, bits in
                    first = min(first, bits.lowerBound)
                    available[index] &+= UInt32(bits.count)
                }
                state.firstFreeInode = first
            }
        }
    }

    // MARK: Allocating

    /// A free inode for something new in `parent`: a file near it, a directory where there is
    /// room, and far from others when `isTopLevel`. When the handle fails it is free again.
    ///
    /// The inode's record, in its block of the table, is whatever its last owner left, or zeros.
    ///
    /// - Throws: `.noSpace`; `.corrupt`, `.io`.
    func allocate(
        isDirectory: Bool, parent: InodeNumber, isTopLevel: Bool, in handle: inout Handle
    ) throws(Ext4Error) -> InodeNumber {
        releaseCommitted()
        var home = geometry.group(of: parent)
        if isDirectory { home = directoryGroup(near: home, isTopLevel: isTopLevel) ?? home }
        // An inode in a group without a free block would have its contents elsewhere.
        for needsBlocks in [true, false] {
            for number in NearestGroups(home, geometry) {
                let index = Int(number.rawValue)
                guard available[index] > 0, !needsBlocks || blocks.available[index] > 0
                else { continue }
                if let found = try take(from: number, isDirectory: isDirectory, in: &handle) {
                    return found
                }
            }
        }
        throw .noSpace
    }

    /// The lowest free inode of a group, or nil.
    private func take(
        from number: GroupNumber, isDirectory: Bool, in handle: inout Handle
    ) throws(Ext4Error) -> InodeNumber? {
        let geometry = geometry
        let group = try groups.group(number)
        let index = Int(number.rawValue)
        // The first numbers are the volume's own.
        let firstOfGroup = UInt64(number.rawValue) &* UInt64(geometry.inodesPerGroup)
        let reserved = UInt64(geometry.firstInode.rawValue) &- 1
        let lowest = Int(clamping: reserved > firstOfGroup ? reserved &- firstOfGroup : 0)

        let taken = try withBitmap(of: group) {
            (state, bitmap) throws(Ext4Error) -> (slot: Int, bitmap: Buffer)? in
            guard state.inodes.condition != .bad else { return nil }
            load(bitmap, of: group, &state)
            let count = state.inodes.count
            let slot = state.inodes.withBits {
                $0.firstClearBit(from: max(state.firstFreeInode, lowest), below: count)
            }
            guard slot < count else {
                // The descriptor promised more than the bitmap has.
                available[index] = 0
                return nil
            }
            let bitmap = bitmap ?? writeFirstBitmap(of: group, &state, in: &handle)
            state.firstFreeInode = slot &+ 1
            state.inodes.take(slot..<slot &+ 1)
            available[index] &-= min(available[index], 1)
            // Linux has no group whose inodes are in use and whose block bitmap is not.
            blocks.beginUse(of: group, &state, in: &handle)
            let unused = clearTable(upTo: slot, of: group, state, in: &handle)
            setUsed(true, slot, isDirectory, of: group, &state, bitmap, unused, in: &handle)
            return (slot, bitmap)
        }
        groups.dropMaps()
        guard let taken else { return nil }
        handle.onFailure { [self] handle in
            group.state.withLock { state in
                setUsed(
                    false, taken.slot, isDirectory, of: group, &state, taken.bitmap, nil,
                    in: &handle)
                state.inodes.giveBack(taken.slot..<taken.slot &+ 1)
                state.firstFreeInode = min(state.firstFreeInode, taken.slot)
                available[index] &+= 1
            }
        }
        return InodeNumber(UInt32(clamping: firstOfGroup &+ UInt64(taken.slot) &+ 1))
    }

    /// Makes those blocks of the table zeros that hold inodes up to `slot` and were never used.
    ///
    /// - Returns: how many inodes at the end were never used after that; nil when that does not
    ///   change.
    private func clearTable(
        upTo slot: Int, of group: BlockGroup, _ state: BlockGroup.State, in handle: inout Handle
    ) -> UInt32? {
        // Without checksums of descriptors nobody keeps that count, and the table was written when
        // the volume was made.
        guard geometry.hasDescriptorChecksums else { return nil }
        let perGroup = Int(geometry.inodesPerGroup)
        let firstUnused = perGroup &- min(Int(state.descriptor.unusedInodesCount), perGroup)
        guard slot >= firstUnused else { return nil }
        let perBlock = Int(geometry.inodesPerBlock)
        // The block in which the used part ends was made with its first inode.
        var block = (firstUnused &+ perBlock &- 1) / perBlock
        while block <= slot / perBlock {
            _ = handle.renew(
                state.descriptor.inodeTable.advanced(by: UInt64(block)),
                in: groups.reader.cache)
            block &+= 1
        }
        return UInt32(perGroup &- slot &- 1)
    }

    /// Writes the bitmap of a group that had none, and the bits behind the last inode set.
    private func writeFirstBitmap(
        of group: BlockGroup, _ state: inout BlockGroup.State, in handle: inout Handle
    ) -> Buffer {
        let perGroup = geometry.inodesPerGroup
        let bitmap = handle.renew(state.descriptor.inodeBitmap, in: groups.reader.cache)
        handle.modify(bitmap) { $0.setBits(Int(perGroup)..<$0.byteCount &* 8) }
        groups.change(group, &state, in: &handle) {
            $0.flags.remove(.inodeUninit)
            $0.unusedInodesCount = perGroup
        }
        return bitmap
    }

    /// Sets or clears the bit of an inode and counts it.
    private func setUsed(
        _ isUsed: Bool, _ slot: Int, _ isDirectory: Bool, of group: BlockGroup,
        _ state: inout BlockGroup.State, _ bitmap: Buffer, _ unused: UInt32?,
        in handle: inout Handle
    ) {
        handle.modify(bitmap) { bytes in
            if isUsed {
                bytes.setBits(slot..<slot &+ 1)
            } else {
                bytes.clearBits(slot..<slot &+ 1)
            }
        }
        state.inodes.unsealed = bitmap
        groups.noteUnsealed(group, &state)
        groups.change(group, &state, in: &handle) { descriptor in
            // Counts that are wrong on the disk stay wrong, but do not wrap.
            let free = descriptor.freeInodesCount
            descriptor.freeInodesCount = isUsed ? free &- min(free, 1) : free &+ 1
            if isDirectory {
                let count = descriptor.usedDirectoriesCount
                descriptor.usedDirectoriesCount = isUsed ? count &+ 1 : count &- min(count, 1)
            }
            if let unused { descriptor.unusedInodesCount = unused }
        }
        free.add(isUsed ? -1 : 1, ordering: .relaxed)
        if isDirectory {
            directories[Int(group.number.rawValue)] = state.descriptor.usedDirectoriesCount
            directoryCount.add(isUsed ? 1 : -1, ordering: .relaxed)
        }
    }

    // MARK: Freeing

    /// Frees an inode: the bitmap has it as free in this transaction, and it is given out again
    /// only after that is committed. `isDirectory` says what it was.
    ///
    /// - Throws: `.corrupt` for an inode that is free, or one of the volume's own; `.io`. The handle
    ///   must fail then too.
    func free(
        _ number: InodeNumber, isDirectory: Bool, in handle: inout Handle
    ) throws(Ext4Error) {
        guard number >= geometry.firstInode, number.rawValue <= geometry.inodesCount else {
            throw .corrupt(
                .inodeBitmap, at: .init(inode: number),
                .broken("an inode of the volume's own is freed, or one that it does not have"))
        }
        let group = try groups.group(geometry.group(of: number))
        let slot = Int((number.rawValue &- 1) % geometry.inodesPerGroup)
        let transaction = handle.transaction.id
        let returns = limit.map { group.number < $0.group } ?? true
        let bitmap = try withBitmap(of: group) { (state, bitmap) throws(Ext4Error) -> Buffer? in
            // Of a group whose bitmap is bad nothing is known: its inodes are left to a check.
            guard state.inodes.condition != .bad else { return nil }
            guard let bitmap, bitmap.withBytes({ $0.isBitSet(slot) }) else {
                throw .corrupt(
                    .inodeBitmap, at: .init(group: group.number, inode: number),
                    .broken("an inode is freed that is free"))
            }
            setUsed(false, slot, isDirectory, of: group, &state, bitmap, nil, in: &handle)
            guard returns else { return bitmap }
            if state.inodes.free(slot..<slot &+ 1, in: transaction) {
                freed.note(group, in: transaction)
            }
            return bitmap
        }
        guard let bitmap else { return }
        handle.onFailure { [self] handle in
            group.state.withLock { state in
                setUsed(true, slot, isDirectory, of: group, &state, bitmap, nil, in: &handle)
                guard returns else { return }
                state.inodes.unfree(slot..<slot &+ 1, in: transaction)
            }
        }
    }

    /// Whether the bitmap has `number` as used.
    ///
    /// - Throws: `.invalidArgument` for a number that the volume does not have; `.corrupt` when
    ///   the bitmap is; `.io`.
    func isAllocated(_ number: InodeNumber) throws(Ext4Error) -> Bool {
        guard number.rawValue > 0, number.rawValue <= geometry.inodesCount else {
            throw .invalidArgument
        }
        let group = try groups.group(geometry.group(of: number))
        let slot = Int((number.rawValue &- 1) % geometry.inodesPerGroup)
        return try withBitmap(of: group) { (state, bitmap) throws(Ext4Error) in
            guard state.inodes.condition != .bad else {
                throw .corrupt(
                    .inodeBitmap, at: .init(group: group.number, inode: number),
                    .broken("its checksum is wrong"))
            }
            return bitmap?.withBytes { $0.isBitSet(slot) } ?? false
        }
    }

    // MARK: Bitmaps

    /// Runs `body` with the inode bitmap of `group`, checked, under the group's lock; nil stands
    /// for a bitmap that was never written, or that is bad.
    private func withBitmap<Result>(
        of group: BlockGroup,
        _ body: (inout BlockGroup.State, Buffer?) throws(Ext4Error) -> Result
    ) throws(Ext4Error) -> Result {
        let hasFlags = geometry.hasDescriptorChecksums
        var descriptor = group.page[group.slot]
        while true {
            // No lock is held while the device is read.
            let isUnwritten = hasFlags && descriptor.flags.contains(.inodeUninit)
            let bitmap =
                isUnwritten
                ? nil : try groups.reader.cache.buffer(of: descriptor.inodeBitmap)
            let result = try group.state.withLock { (state) throws(Ext4Error) -> Result? in
                descriptor = state.descriptor
                guard isUnwritten == (hasFlags && descriptor.flags.contains(.inodeUninit)) else {
                    // Somebody wrote the first bitmap meanwhile.
                    return nil
                }
                if let bitmap, state.inodes.condition == .unknown {
                    check(bitmap, of: group, &state)
                }
                return try body(&state, state.inodes.condition == .bad ? nil : bitmap)
            }
            if let result { return result }
        }
    }

    /// Looks at a bitmap for the first time.
    private func check(_ bitmap: Buffer, of group: BlockGroup, _ state: inout BlockGroup.State) {
        let stored = state.descriptor.inodeBitmapChecksum
        let superblock = groups.reader.superblock
        let computed = bitmap.withBytes {
            GroupDescriptor.inodeBitmapChecksum(of: $0, superblock: superblock)
        }
        guard groups.reader.verifiesChecksums, let computed, computed != stored else {
            state.inodes.condition = .good
            return
        }
        state.inodes.condition = .bad
        available[Int(group.number.rawValue)] = 0
        let error = Ext4Error.corrupt(
            .inodeBitmap, at: .init(group: group.number, block: bitmap.block),
            .checksum(stored: stored, computed: computed))
        groups.reader.log(.error, "no inodes of group \(group.number) are used: \(error)")
    }

    /// Brings the map of `group` into memory, if it is not there.
    private func load(
        _ bitmap: Buffer?, of group: BlockGroup, _ state: inout BlockGroup.State
    ) {
        guard !state.inodes.isLoaded else { return }
        if let bitmap {
            bitmap.withBytes { state.inodes.load($0) }
        } else {
            state.inodes.loadEmpty()
            state.inodes.condition = .good
        }
        groups.noteLoaded(group, &state)
    }
}
