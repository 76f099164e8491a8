// Cutting off the end of a volume, once nothing lies there any more.
//
// One transaction cuts: the superblock, the bitmap of what becomes the last group, those of groups
// in which structures of the groups lay that go, the table and its room. It is made by itself, with
// an empty journal: a log in which older copies of blocks behind the end wait would be one that
// nobody replays. When it would be too large for the journal the volume is cut in several steps.

/// One step by which a volume is cut off.
struct VolumeCut {
    let volume: Volume
    private let writing: Writing
    private let old: Superblock
    private var target: ResizedSuperblock
    /// What is free from now on, of groups that stay.
    private var freed: [BlockRange] = []

    private var new: Superblock { target.value }

    /// The size that the step comes to.
    var blocks: UInt64 { new.blocksCount }

    /// Plans a step towards `goal` blocks that one transaction has room for; without a journal
    /// there is always room.
    ///
    /// - Throws: `.noSpace` when the journal is too short for any step; `.corrupt` when something
    ///   lies behind the end.
    init(_ volume: Volume, to goal: UInt64) throws(Ext4Error) {
        self.volume = volume
        writing = try volume.requireWriting()
        old = volume.superblock
        let bytes = writing.superblock.bytes
        var goal = goal
        let old = old
        target = try ResizedSuperblock(
            old, bytes: bytes, blocks: goal, convertsToMetaGroups: false)
        freed = try Self.freedBlocks(volume, old, target.value)
        while writing.journal.area != nil,
            Self.credits(freed, old, target.value, writing) > writing.journal.largestTransaction
        {
            let groups = UInt64(target.value.groupCount)
            let gone = UInt64(old.groupCount) &- groups
            guard gone > 1 else { throw .noSpace }
            goal = old.end(ofGroups: groups &+ (gone &+ 1) / 2)
            target = try ResizedSuperblock(
                old, bytes: bytes, blocks: goal, convertsToMetaGroups: false)
            freed = try Self.freedBlocks(volume, old, target.value)
        }
    }

    /// Blocks of groups that stay, which structures of groups took that go.
    private static func freedBlocks(
        _ volume: Volume, _ old: Superblock, _ new: Superblock
    ) throws(Ext4Error) -> [BlockRange] {
        var freed: [BlockRange] = []
        func add(_ start: BlockNumber, _ count: UInt64) {
            guard start.rawValue < new.blocksCount else { return }
            let range = BlockRange(start: start, count: count)
                .prefix(new.blocksCount &- start.rawValue)
            if let last = freed.last, last.end == range.start {
                freed[freed.count - 1] = BlockRange(
                    start: last.start, count: last.count &+ range.count)
            } else if range.count > 0 {
                freed.append(range)
            }
        }
        for number in 0..<new.groupCount {
            let group = GroupNumber(number)
            let before = old.copiedBlockCount(of: group)
            let after = new.copiedBlockCount(of: group)
            if after < before {
                add(
                    new.firstBlock(of: group).advanced(by: UInt64(after)),
                    UInt64(before &- after))
            }
        }
        for number in new.groupCount..<max(old.groupCount, new.groupCount) {
            let descriptor = try volume.groups.descriptor(of: GroupNumber(number))
            add(descriptor.blockBitmap, 1)
            add(descriptor.inodeBitmap, 1)
            add(descriptor.inodeTable, UInt64(old.inodeTableBlocks))
        }
        return freed
    }

    /// Blocks that the transaction changes, about.
    private static func credits(
        _ freed: [BlockRange], _ old: Superblock, _ new: Superblock, _ writing: Writing
    ) -> Int {
        let geometry = writing.blocks.geometry
        var groups: Set<GroupNumber> = []
        for range in freed {
            groups.insert(geometry.group(of: range.start))
            groups.insert(geometry.group(of: range.end))
        }
        let lists =
            new.compatible.contains(.resizeInode) ? ResizeInode.lists(from: old, to: new).count : 0
        return 2 &* groups.count &+ lists &+ 16
    }

    /// Carries the step out, and closes the volume.
    mutating func run() throws(Ext4Error) {
        do throws(Ext4Error) {
            try checkEmptiness()
        } catch {
            try? volume.close()
            throw error
        }
        let free = try commit()
        try volume.close(freeBlocks: free, freeInodes: newFreeInodes)
    }

    private var newFreeInodes: UInt64 {
        let gone = UInt64(old.groupCount &- new.groupCount) &* UInt64(new.inodesPerGroup)
        return writing.inodes.freeInodes &- min(gone, writing.inodes.freeInodes)
    }

    /// Makes sure that nothing is cut off but structures of the groups that go.
    private func checkEmptiness() throws(Ext4Error) {
        let end = BlockNumber(new.blocksCount)
        for number in (new.groupCount &- 1)..<old.groupCount {
            let group = try writing.blocks.groups.group(GroupNumber(number))
            if number >= new.groupCount {
                let descriptor = try volume.groups.descriptor(of: group.number)
                guard descriptor.freeInodesCount == old.inodesPerGroup else {
                    throw .corrupt(
                        .inodeBitmap, at: .init(group: group.number),
                        .broken("inodes are in use that are to go"))
                }
            }
            try writing.blocks.withBitmap(of: group) { (state, bitmap) throws(Ext4Error) in
                guard state.blocks.condition != .bad else {
                    throw .corrupt(
                        .blockBitmap, at: .init(group: group.number), .broken("it is bad"))
                }
                let first = max(end, group.range.start)
                guard let bitmap, first < group.range.end else { return }
                let tail = BlockRange(
                    start: first, count: group.range.end.rawValue &- first.rawValue)
                var own: UInt64 = 0
                writing.blocks.own.forEachPart(in: tail) { own &+= $0.count }
                let used = bitmap.withBytes { bytes in
                    let bits = group.bits(of: tail)
                    return bits.count
                        &- (bytes.clearBitCount(below: bits.upperBound)
                            &- bytes.clearBitCount(below: bits.lowerBound))
                }
                guard UInt64(used) == own else {
                    throw .corrupt(
                        .blockBitmap, at: .init(group: group.number),
                        .broken("blocks are in use that are to go"))
                }
            }
        }
        for number in 0..<new.groupCount {
            let descriptor = try volume.groups.descriptor(of: GroupNumber(number))
            let table = descriptor.inodeTable.advanced(by: UInt64(new.inodeTableBlocks))
            guard max(descriptor.blockBitmap, descriptor.inodeBitmap) < end, table <= end else {
                throw .corrupt(
                    .groupDescriptor, at: .init(group: GroupNumber(number)),
                    .broken("its structures lie behind the new end"))
            }
        }
    }

    // MARK: The transaction

    private mutating func commit() throws(Ext4Error) -> UInt64 {
        let cache = volume.reader.cache
        let resizeInode = try ResizeInode(volume)
        var lists: [Buffer] = []
        var table: Buffer?
        if let resizeInode {
            table = try cache.buffer(of: resizeInode.table)
            for block in ResizeInode.lists(from: old, to: new) {
                lists.append(try cache.buffer(of: block))
            }
        }
        let lastIndex = new.descriptorBlockCount &- 1
        let last = try cache.buffer(of: new.location(ofDescriptorBlock: lastIndex))
        let credits = Self.credits(freed, old, new, writing)
        let new = new
        let freed = freed
        let lostInLast = try blocksCutFromLastGroup()
        let lostElsewhere = try freeBlocksOfGoneGroups()
        let regained = freed.reduce(0) { $0 &+ $1.count }
        let free =
            writing.blocks.freeBlocks &- lostInLast &- lostElsewhere &+ regained
        let inodes = newFreeInodes
        let overhead = newOverhead(regained)
        try target.setCounts(freeBlocks: free, freeInodes: inodes, overhead: overhead)
        let target = target
        let hasLog = writing.journal.area != nil

        func rest(_ handle: inout Handle, _ writing: Writing) throws(Ext4Error) {
            try cutLastGroup(in: &handle)
            for range in freed { try writing.blocks.release(range, in: &handle) }
            if let resizeInode, let table {
                try resizeInode.adapt(to: new, lists: lists, table: table, in: &handle)
            }
            let size = new.descriptorSize
            let slots = Int(new.descriptorsPerBlock)
            let first = Int(new.groupCount &- lastIndex &* new.descriptorsPerBlock)
            handle.modify(last) { bytes in
                for slot in first..<slots { bytes.clear(slot &* size..<(slot &+ 1) &* size) }
            }
        }
        // Without a journal the superblock goes first: what it does not count any more is not
        // there, and a check makes the bitmaps follow.
        if !hasLog {
            try volume.change(credits: credits) { (handle, writing) throws(Ext4Error) in
                writing.superblock.modify(in: &handle) { target.store(in: &$0) }
            }
            try writing.journal.commitRunning()
        }
        try volume.change(credits: credits) { (handle, writing) throws(Ext4Error) in
            try rest(&handle, writing)
            if hasLog { writing.superblock.modify(in: &handle) { target.store(in: &$0) } }
        }
        return free
    }

    private func newOverhead(_ regained: UInt64) -> UInt32 {
        guard old.overheadClusters != 0 else { return 0 }
        var gone: UInt64 = 0
        for number in new.groupCount..<max(old.groupCount, new.groupCount) {
            gone &+=
                UInt64(old.copiedBlockCount(of: GroupNumber(number)))
                &+ 2 &+ UInt64(old.inodeTableBlocks)
        }
        for number in 0..<new.groupCount {
            let group = GroupNumber(number)
            let before = old.copiedBlockCount(of: group)
            gone &+= UInt64(before &- min(new.copiedBlockCount(of: group), before))
        }
        let before = UInt64(old.overheadClusters)
        return UInt32(clamping: before &- min(gone, before))
    }

    /// The last group that stays.
    private var lastGroup: GroupNumber { GroupNumber(new.groupCount &- 1) }

    /// Free blocks behind the end in the last group that stays.
    private func blocksCutFromLastGroup() throws(Ext4Error) -> UInt64 {
        let group = try writing.blocks.groups.group(lastGroup)
        let bits = Int(new.blockCount(of: lastGroup))..<Int(group.range.count)
        guard !bits.isEmpty else { return 0 }
        return try writing.blocks.withBitmap(of: group) { (state, bitmap) in
            guard let bitmap else {
                var taken: UInt64 = 0
                writing.blocks.own.forEachPart(in: group.blocks(bits)) { taken &+= $0.count }
                return UInt64(bits.count) &- taken
            }
            return bitmap.withBytes { bytes in
                UInt64(
                    bytes.clearBitCount(below: bits.upperBound)
                        &- bytes.clearBitCount(below: bits.lowerBound))
            }
        }
    }

    private func freeBlocksOfGoneGroups() throws(Ext4Error) -> UInt64 {
        var count: UInt64 = 0
        for number in new.groupCount..<max(old.groupCount, new.groupCount) {
            count &+= UInt64(
                try volume.groups.descriptor(of: GroupNumber(number)).freeBlocksCount)
        }
        return count
    }

    /// Makes the bits behind the end padding.
    private func cutLastGroup(in handle: inout Handle) throws(Ext4Error) {
        let table = writing.blocks.groups
        let group = try table.group(lastGroup)
        let bits = Int(new.blockCount(of: lastGroup))..<Int(group.range.count)
        let lost = try blocksCutFromLastGroup()
        // The last group is never one without a bitmap, a whole one neither.
        group.state.withLock { state in
            writing.blocks.beginUse(of: group, &state, in: &handle)
        }
        guard !bits.isEmpty else { return }
        try writing.blocks.withBitmap(of: group) { (state, bitmap) throws(Ext4Error) in
            guard let bitmap else {
                throw .corrupt(
                    .blockBitmap, at: .init(group: group.number), .broken("it is bad"))
            }
            handle.modify(bitmap) { $0.setBits(bits) }
            state.blocks.unsealed = bitmap
            table.noteUnsealed(group, &state)
            table.change(group, &state, in: &handle) {
                $0.freeBlocksCount &-= UInt32(clamping: min(lost, UInt64($0.freeBlocksCount)))
            }
        }
    }
}
