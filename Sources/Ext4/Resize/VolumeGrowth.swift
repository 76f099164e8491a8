// Growing a volume.
//
// What new groups need is written first, behind the end that everybody knows: nobody sees it. Then
// one transaction makes the volume longer: descriptors, the table's room, the bitmap of what was
// the last group, the superblock. Copies of them follow. A volume whose descriptors outgrow what a
// transaction takes grows in several steps; after each it is sound.
//
// Without a journal the superblock comes last: what it does not count is not there.

/// One step by which a volume grows.
struct VolumeGrowth {
    let volume: Volume
    private let writing: Writing
    private let old: Superblock
    private var target: ResizedSuperblock
    private let groups: NewGroups
    private let options: ResizeOptions
    private let converts: Bool

    private var new: Superblock { target.value }

    /// Plans the first step from the volume's size to `goal` blocks.
    init(_ volume: Volume, to goal: UInt64, _ options: ResizeOptions) throws(ResizeFailure) {
        self.volume = volume
        self.options = options
        let old = volume.superblock
        self.old = old
        writing = try ResizeFailure.wrap { () throws(Ext4Error) in try volume.requireWriting() }
        let (blocks, converts) = try Self.step(
            old, to: goal, credits: writing.journal.largestTransaction)
        self.converts = converts
        let bytes = writing.superblock.bytes
        target = try ResizeFailure.wrap { () throws(Ext4Error) in
            try ResizedSuperblock(
                old, bytes: bytes, blocks: blocks, convertsToMetaGroups: converts)
        }
        let new = target.value
        do throws(Ext4Error) {
            groups = try NewGroups(new, from: old.groupCount)
        } catch {
            throw .refused(
                "the bitmaps and inode tables of the new groups do not fit into them; "
                    + "another size may do")
        }
    }

    /// How far one step comes, and whether the descriptors must lie in meta groups for it.
    private static func step(
        _ old: Superblock, to goal: UInt64, credits: Int
    ) throws(ResizeFailure) -> (blocks: UInt64, converts: Bool) {
        let perBlock = UInt64(old.descriptorsPerBlock)
        let perGroup = UInt64(old.blocksPerGroup)
        let groups = (goal &- UInt64(old.firstDataBlock) &+ perGroup &- 1) / perGroup
        let table = UInt64(old.descriptorBlockCount)
        guard (groups &+ perBlock &- 1) / perBlock > table else { return (goal, false) }
        if old.incompatible.contains(.metaBg) { return (goal, false) }
        let reserved = UInt64(old.reservedDescriptorBlocks)
        guard old.compatible.contains(.resizeInode), reserved > 0 else { return (goal, true) }
        // Superblock, bitmap, the resize inode and its table, and the lists of copies.
        let others = Self.stepCredits(old)
        let room = UInt64(clamping: credits)
        let step = min(reserved, room > others ? room &- others : 1)
        return (min(goal, old.end(ofGroups: (table &+ step) &* perBlock)), false)
    }

    /// Blocks that a step changes besides new ones of the table: superblock, bitmap, the resize
    /// inode and its table, and the lists of copies.
    private static func stepCredits(_ old: Superblock) -> UInt64 {
        16 &+ UInt64(old.reservedDescriptorBlocks)
    }

    /// Whether a transaction of that many blocks is enough for a step.
    static func fits(_ old: Superblock, credits: Int) -> Bool {
        !old.compatible.contains(.resizeInode) || UInt64(clamping: credits) > stepCredits(old)
    }

    /// The size that the step comes to.
    var blocks: UInt64 { new.blocksCount }

    /// Carries the step out, and closes the volume.
    mutating func run() throws(Ext4Error) {
        do throws(Ext4Error) {
            try prepare()
        } catch {
            try? volume.close()
            throw error
        }
        let free = try commit()
        try volume.close(
            freeBlocks: free, freeInodes: writing.inodes.freeInodes &+ newInodes)
    }

    /// Carries the step out on a volume that stays open, though nobody uses it meanwhile. Its log is
    /// empty then.
    mutating func runWhileOpen() throws(Ext4Error) {
        try prepare()
        _ = try commit()
        try writing.journal.close()
    }

    private var newInodes: UInt64 {
        UInt64(groups.groups.count) &* UInt64(new.inodesPerGroup)
    }

    // MARK: Behind the old end

    private func byteOffset(_ block: BlockNumber) -> UInt64 {
        block.rawValue << UInt64(old.blockSizeLog2)
    }

    private func isZero(_ block: BlockNumber) -> Bool {
        options.zerosFrom.map { byteOffset(block) >= $0 } ?? false
    }

    /// Writes bitmaps, tables and those descriptors that lie behind the old end.
    private func prepare() throws(Ext4Error) {
        let device = writing.journal.device
        var done: UInt64 = 0
        for group in groups.groups {
            if !isUninitialised(group) {
                let bitmap = blockBitmap(of: group)
                try unsafe device.write(bitmap.span.bytes, at: byteOffset(group.blockBitmap))
            }
            if !new.hasDescriptorChecksums {
                let bitmap = inodeBitmap()
                try unsafe device.write(bitmap.span.bytes, at: byteOffset(group.inodeBitmap))
                if !isZero(group.inodeTable) {
                    try device.writeZeros(
                        at: byteOffset(group.inodeTable),
                        count: UInt64(new.inodeTableBlocks) << UInt64(new.blockSizeLog2))
                }
            }
            done &+= 1
            if done % 1024 == 0 {
                options.tell(.newGroups, done, of: UInt64(groups.groups.count))
            }
        }
        for (index, block) in newTableBlocks where block.rawValue >= old.blocksCount {
            var bytes = [UInt8](repeating: 0, count: new.blockSize)
            do {
                var span = bytes.mutableSpan
                var raw = unsafe span.mutableBytes
                writeDescriptors(ofTableBlock: index, to: &raw)
            }
            try unsafe device.write(bytes.span.bytes, at: byteOffset(block))
        }
        try device.flush()
    }

    /// Whether the group's bitmap of blocks is not written: it follows from what everybody knows of
    /// the group. The last group's never does, since it ends somewhere.
    private func isUninitialised(_ group: NewGroups.Group) -> Bool {
        new.hasDescriptorChecksums && !group.hasStructures
            && group.number.rawValue &+ 1 < new.groupCount
    }

    private func blockBitmap(of group: NewGroups.Group) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: new.blockSize)
        var span = bytes.mutableSpan
        var raw = unsafe span.mutableBytes
        raw.setBits(0..<Int(group.taken))
        raw.setBits(Int(group.range.count)..<raw.byteCount &* 8)
        return bytes
    }

    private func inodeBitmap() -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: new.blockSize)
        var span = bytes.mutableSpan
        var raw = unsafe span.mutableBytes
        raw.setBits(Int(new.inodesPerGroup)..<raw.byteCount &* 8)
        return bytes
    }

    // MARK: Descriptors

    /// The blocks of the table that the old volume does not have.
    private var newTableBlocks: [(index: UInt32, block: BlockNumber)] {
        (old.descriptorBlockCount..<max(new.descriptorBlockCount, old.descriptorBlockCount))
            .map { ($0, new.location(ofDescriptorBlock: $0)) }
    }

    /// Writes the descriptors of new groups that block `index` of the table holds.
    private func writeDescriptors(ofTableBlock index: UInt32, to bytes: inout MutableRawSpan) {
        let format = GroupDescriptor.Format(new)
        let size = new.descriptorSize
        let first = index &* new.descriptorsPerBlock
        for slot in 0..<new.descriptorsPerBlock {
            let number = first &+ slot
            guard number >= old.groupCount, number < new.groupCount else { continue }
            let group = groups.groups[Int(number &- old.groupCount)]
            var part = bytes._mutatingExtracting(Int(slot) &* size..<(Int(slot) &+ 1) &* size)
            writeDescriptor(of: group, to: &part, format)
        }
    }

    private func writeDescriptor(
        of group: NewGroups.Group, to bytes: inout MutableRawSpan,
        _ format: GroupDescriptor.Format
    ) {
        typealias Layout = GroupDescriptor.Layout
        bytes.clear()
        let isWide = new.descriptorSize >= 64
        for (low, high, block) in [
            (Layout.blockBitmapLow, Layout.blockBitmapHigh, group.blockBitmap),
            (Layout.inodeBitmapLow, Layout.inodeBitmapHigh, group.inodeBitmap),
            (Layout.inodeTableLow, Layout.inodeTableHigh, group.inodeTable),
        ] {
            bytes[low] = UInt32(truncatingIfNeeded: block.rawValue)
            if isWide { bytes[high] = UInt32(truncatingIfNeeded: block.rawValue >> 32) }
        }
        var descriptor = GroupDescriptor(unchecked: bytes.bytes, superblock: new)
        descriptor.freeBlocksCount = UInt32(clamping: group.range.count &- group.taken)
        descriptor.freeInodesCount = new.inodesPerGroup
        if new.hasDescriptorChecksums {
            descriptor.flags = [.inodeUninit]
            if isZero(group.inodeTable) { descriptor.flags.insert(.inodeZeroed) }
            descriptor.unusedInodesCount = new.inodesPerGroup
            if isUninitialised(group) {
                descriptor.flags.insert(.blockUninit)
            } else {
                let bitmap = blockBitmap(of: group)
                descriptor.blockBitmapChecksum =
                    unsafe GroupDescriptor.blockBitmapChecksum(
                        of: bitmap.span.bytes, superblock: new) ?? 0
            }
        }
        descriptor.write(to: &bytes, group: group.number, format)
    }

    // MARK: The transaction

    /// Makes the volume longer.
    ///
    /// - Returns: how many blocks are free then.
    private mutating func commit() throws(Ext4Error) -> UInt64 {
        let cache = volume.reader.cache
        let resizeInode = try ResizeInode(volume)
        // What must be read is read before anything changes.
        var lists: [Buffer] = []
        var table: Buffer?
        if let resizeInode {
            table = try cache.buffer(of: resizeInode.table)
            if !converts {
                for block in ResizeInode.lists(from: old, to: new) {
                    lists.append(try cache.buffer(of: block))
                }
            }
        }
        let lastIndex = old.descriptorBlockCount &- 1
        let last = try cache.buffer(of: old.location(ofDescriptorBlock: lastIndex))
        let fresh = newTableBlocks.filter { $0.block.rawValue < old.blocksCount }
        let credits = 16 &+ lists.count &+ fresh.count
        let hasLog = writing.journal.area != nil

        func tables(_ handle: inout Handle) throws(Ext4Error) {
            if let resizeInode, let table {
                if converts {
                    try resizeInode.free(in: &handle, writing)
                } else {
                    try resizeInode.adapt(to: new, lists: lists, table: table, in: &handle)
                }
            }
            handle.modify(last) { writeDescriptors(ofTableBlock: lastIndex, to: &$0) }
            for (index, block) in fresh {
                let buffer = handle.fresh(block, in: cache, seal: .none)
                handle.modify(buffer) { writeDescriptors(ofTableBlock: index, to: &$0) }
            }
        }
        if !hasLog {
            try volume.change(credits: credits) { (handle, _) throws(Ext4Error) in
                try tables(&handle)
            }
            try writing.journal.commitRunning()
        }
        let added = UInt64(
            new.blockCount(of: GroupNumber(old.groupCount &- 1))
                &- old.blockCount(of: GroupNumber(old.groupCount &- 1)))
        let freed = freedCopies
        let before = UInt64(old.overheadClusters)
        let overhead =
            before == 0
            ? 0 : UInt32(clamping: before &- min(freed?.count ?? 0, before) &+ groups.overhead)
        let free = try volume.change(credits: credits) {
            (handle, writing) throws(Ext4Error) -> UInt64 in
            if hasLog { try tables(&handle) }
            try freeTail(in: &handle)
            if let freed { try writing.blocks.release(freed, in: &handle) }
            let free =
                writing.blocks.freeBlocks &+ added &+ groups.freeBlocks &+ (freed?.count ?? 0)
            try target.setCounts(
                freeBlocks: free, freeInodes: writing.inodes.freeInodes &+ newInodes,
                overhead: overhead)
            writing.superblock.modify(in: &handle) { target.store(in: &$0) }
            return free
        }
        return free
    }

    /// The blocks of the copies of superblock and descriptors that go to another group: with
    /// sparse_super2 the last one has them.
    private var freedCopies: BlockRange? {
        let second = old.backupGroups[1]
        let group = GroupNumber(second)
        guard old.compatible.contains(.sparseSuper2), second > 0, second < old.groupCount,
            !new.hasSuperblock(group)
        else { return nil }
        return BlockRange(
            start: old.firstBlock(of: group), count: UInt64(old.copiedBlockCount(of: group)))
    }

    /// Frees the blocks by which the last group becomes longer.
    private func freeTail(in handle: inout Handle) throws(Ext4Error) {
        let number = GroupNumber(old.groupCount &- 1)
        let table = writing.blocks.groups
        let group = try table.group(number)
        let end = Int(new.blockCount(of: number))
        let bits = Int(group.range.count)..<end
        guard !bits.isEmpty else { return }
        try writing.blocks.withBitmap(of: group) { (state, bitmap) throws(Ext4Error) in
            guard state.blocks.condition != .bad else {
                throw .corrupt(
                    .blockBitmap, at: .init(group: number), .broken("its bitmap is bad"))
            }
            if let bitmap {
                handle.modify(bitmap) { $0.clearBits(bits) }
                state.blocks.unsealed = bitmap
                table.noteUnsealed(group, &state)
            }
            table.change(group, &state, in: &handle) {
                $0.freeBlocksCount &+= UInt32(bits.count)
            }
        }
    }
}

extension Volume {
    /// Closes a volume whose superblock was written anew, with what is free in it now.
    func close(freeBlocks: UInt64, freeInodes: UInt64) throws(Ext4Error) {
        try close(freeBlocks: freeBlocks, freeInodes: freeInodes, isComplete: true)
    }

    /// Closes a volume; one that is not complete, and has no journal, goes on to need a check.
    func close(isComplete: Bool) throws(Ext4Error) {
        let writing = try requireWriting()
        try writing.journal.commitRunning()
        try close(
            freeBlocks: writing.blocks.freeBlocks, freeInodes: UInt64(writing.inodes.freeInodes),
            isComplete: isComplete)
    }

    private func close(
        freeBlocks: UInt64, freeInodes: UInt64, isComplete: Bool
    ) throws(Ext4Error) {
        let writing = try requireWriting()
        try writing.journal.close()
        try writing.superblock.write(to: device) {
            Superblock.markClosed(
                &$0, at: writing.clock(),
                wasValid: isComplete && superblock.state & Superblock.validState != 0,
                has64Bit: superblock.incompatible.contains(.bit64), freeBlocks: freeBlocks,
                freeInodes: freeInodes)
        }
        writing.journal.end()
    }
}
