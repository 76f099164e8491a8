/// The superblock of a volume as it is to be with another size.
struct ResizedSuperblock {
    /// The bytes, without a checksum that is right.
    private(set) var bytes: [UInt8]
    /// What the bytes say.
    private(set) var value: Superblock

    private typealias Layout = Superblock.Layout

    /// The volume whose superblock is `bytes` with `blocks` blocks, and its reserved blocks in
    /// proportion.
    ///
    /// - Parameter convertsToMetaGroups: whether descriptors that there is no room for behind the
    ///   superblock lie in meta groups from now on (`meta_bg`).
    init(
        _ old: Superblock, bytes oldBytes: [UInt8], blocks: UInt64, convertsToMetaGroups: Bool
    ) throws(Ext4Error) {
        var bytes = oldBytes
        let groups =
            (blocks &- UInt64(old.firstDataBlock) &+ UInt64(old.blocksPerGroup) &- 1)
            / UInt64(old.blocksPerGroup)
        let inodes = groups &* UInt64(old.inodesPerGroup)
        guard blocks > UInt64(old.firstDataBlock), inodes <= UInt64(UInt32.max) else {
            throw .invalidArgument
        }
        let oldTable = old.descriptorBlockCount
        let newTable =
            (UInt32(groups) &+ old.descriptorsPerBlock &- 1) / old.descriptorsPerBlock
        do {
            var span = bytes.mutableSpan
            var raw = unsafe span.mutableBytes
            raw[Layout.blocksCountLow] = UInt32(truncatingIfNeeded: blocks)
            if old.incompatible.contains(.bit64) {
                raw[Layout.blocksCountHigh] = UInt32(truncatingIfNeeded: blocks >> 32)
            }
            raw[Layout.inodesCount] = UInt32(inodes)
            let reserved = Self.share(old.reservedBlocksCount, of: old.blocksCount, in: blocks)
            raw[Layout.reservedBlocksLow] = UInt32(truncatingIfNeeded: reserved)
            if old.incompatible.contains(.bit64) {
                raw[Layout.reservedBlocksHigh] = UInt32(truncatingIfNeeded: reserved >> 32)
            }
            if convertsToMetaGroups {
                raw[Layout.incompatible] |= IncompatibleFeatures.metaBg.rawValue
                raw[Layout.compatible] &= ~CompatibleFeatures.resizeInode.rawValue
                raw[Layout.firstMetaGroup] = oldTable
                raw[Layout.reservedDescriptors] = 0
            } else if old.incompatible.contains(.metaBg) {
                // A table that became shorter than what lies behind the superblock.
                raw[Layout.firstMetaGroup] = min(old.firstMetaGroup, newTable)
            } else if old.compatible.contains(.resizeInode) {
                // What the table takes and what it may grow into are the same sum for ever, so
                // that nothing behind them has to move; up to what one block can list.
                let room = UInt32(old.reservedDescriptorBlocks) &+ oldTable
                let rest = room > newTable ? room &- newTable : 0
                raw[Layout.reservedDescriptors] = UInt16(min(rest, UInt32(old.blockSize / 4)))
            }
            if old.compatible.contains(.sparseSuper2) {
                let copies = old.backupGroups(ofGroups: UInt32(groups))
                raw[Layout.backupGroups] = copies.first
                raw[Layout.backupGroups.at(4)] = copies.second
            }
        }
        self.bytes = bytes
        value = try unsafe Superblock(parsing: bytes.span.bytes, verifiesChecksum: false)
    }

    /// As many of `whole` blocks as `part` are of the old whole.
    private static func share(_ part: UInt64, of oldWhole: UInt64, in whole: UInt64) -> UInt64 {
        guard oldWhole > 0 else { return 0 }
        let part = min(part, oldWhole)
        let product = part.multipliedFullWidth(by: whole)
        guard product.high < oldWhole else { return 0 }
        return oldWhole.dividingFullWidth(product).quotient
    }

    /// Sets the counts of what is free, and of what the structures take.
    mutating func setCounts(
        freeBlocks: UInt64, freeInodes: UInt64, overhead: UInt32
    ) throws(Ext4Error) {
        let has64Bit = value.incompatible.contains(.bit64)
        do {
            var span = bytes.mutableSpan
            var raw = unsafe span.mutableBytes
            Superblock.setFree(
                &raw, has64Bit: has64Bit, blocks: freeBlocks, inodes: freeInodes)
            raw[Layout.overheadClusters] = overhead
        }
        value = try unsafe Superblock(parsing: bytes.span.bytes, verifiesChecksum: false)
    }

    /// Puts what differs between the sizes into the superblock's bytes.
    func store(in target: inout MutableRawSpan) {
        unsafe target.copy(from: bytes.span.bytes)
    }
}

extension Superblock {
    /// Blocks of the table of descriptors.
    var descriptorBlockCount: UInt32 { (groupCount &- 1) / descriptorsPerBlock &+ 1 }

    /// The two groups that have copies under sparse_super2 in a volume of `groups` groups. The
    /// second one follows the end as the volume grows; those that are gone are named no more.
    func backupGroups(ofGroups groups: UInt32) -> (first: UInt32, second: UInt32) {
        var first = backupGroups[0]
        var second = backupGroups[1]
        if groups > groupCount {
            if groupCount == 1 { first = 1 }
            let isFirstRoom = groupCount < 3 && groups > 2
            if isFirstRoom || second != 0 && !hasMetaDescriptors(second) { second = groups &- 1 }
        }
        return (first < groups ? first : 0, second < groups ? second : 0)
    }

    /// Whether descriptors of a meta group lie in the group, behind the superblock that it may
    /// have: without that they would lie elsewhere.
    private func hasMetaDescriptors(_ group: UInt32) -> Bool {
        let slot = group % descriptorsPerBlock
        return incompatible.contains(.metaBg) && group / descriptorsPerBlock >= firstMetaGroup
            && (slot <= 1 || slot == descriptorsPerBlock &- 1)
    }

    /// Whether the last one of `groups` groups has a copy of the superblock.
    private func hasSuperblockInLast(ofGroups groups: UInt32) -> Bool {
        guard compatible.contains(.sparseSuper2) else {
            return hasSuperblock(GroupNumber(groups &- 1))
        }
        let copies = backupGroups(ofGroups: groups)
        return copies.first == groups &- 1 || copies.second == groups &- 1
    }

    /// The first block behind `groups` whole groups.
    func end(ofGroups groups: UInt64) -> UInt64 {
        UInt64(firstDataBlock) &+ groups &* UInt64(blocksPerGroup)
    }

    /// How many of `blocks` blocks the volume can use: a last group is left out that has no room
    /// for its own structures and 50 blocks more. What it has by now it uses.
    func usableBlocks(_ blocks: UInt64) -> UInt64 {
        let first = UInt64(firstDataBlock)
        guard blocks > first, blocks != blocksCount else { return blocks }
        let groups = (blocks &- first &- 1) / UInt64(blocksPerGroup) &+ 1
        guard groups > 1, groups <= UInt64(UInt32.max) else { return blocks }
        return blocks < leastBlocks(ofGroups: groups) ? end(ofGroups: groups &- 1) : blocks
    }

    /// The first size from `blocks` on that the volume can use the whole of.
    func nextUsableBlocks(_ blocks: UInt64) -> UInt64 {
        let first = UInt64(firstDataBlock)
        guard blocks > first else { return blocks }
        let groups = (blocks &- first &- 1) / UInt64(blocksPerGroup) &+ 1
        guard groups > 1, groups <= UInt64(UInt32.max) else { return blocks }
        return max(blocks, leastBlocks(ofGroups: groups))
    }

    /// The fewest blocks of a volume with so many groups.
    func leastBlocks(ofGroups groups: UInt64) -> UInt64 {
        guard groups > 1 else { return 0 }
        var needed = 2 &+ UInt64(inodeTableBlocks) &+ 50
        if hasSuperblockInLast(ofGroups: UInt32(clamping: groups)) {
            needed &+= 1 &+ UInt64(descriptorBlockCount) &+ UInt64(reservedDescriptorBlocks)
        }
        if incompatible.contains(.metaBg) { needed &+= 1 }
        return min(end(ofGroups: groups &- 1) &+ needed, end(ofGroups: groups))
    }
}
