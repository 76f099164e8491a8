// Where copies of the superblock and of the descriptors are.

extension Superblock {
    /// How many blocks at the start of `group` hold a superblock, descriptors, and the room that
    /// descriptors may grow into.
    package func copiedBlockCount(of group: GroupNumber) -> UInt32 {
        let perBlock = descriptorsPerBlock
        let hasMetaGroups = incompatible.contains(.metaBg)
        let metaGroup = group.rawValue / perBlock
        let own: UInt32 = hasSuperblock(group) ? 1 : 0
        if hasMetaGroups, metaGroup >= firstMetaGroup {
            let slot = group.rawValue % perBlock
            return own + (slot == 0 || slot == 1 || slot == perBlock - 1 ? 1 : 0)
        }
        guard own > 0 else { return 0 }
        let descriptorBlocks =
            hasMetaGroups
            ? firstMetaGroup
            : (groupCount + perBlock - 1) / perBlock + UInt32(reservedDescriptorBlocks)
        return min(own + descriptorBlocks, blockCount(of: group))
    }

    /// The groups but the first that have copies of those descriptors which follow the superblock:
    /// with meta_bg, from `s_first_meta_bg` on, groups have a copy of the superblock alone.
    package var groupsWithTableCopies: [GroupNumber] {
        guard groupCount > 1 else { return [] }
        var end = groupCount
        if incompatible.contains(.metaBg) {
            let first = firstMetaGroup.multipliedReportingOverflow(by: descriptorsPerBlock)
            if !first.overflow { end = min(end, first.partialValue) }
        }
        guard end > 1 else { return [] }
        return (1..<end).map { GroupNumber($0) }.filter { hasSuperblock($0) }
    }

    /// Where block `index` of the descriptor table is, of the copy that `source` has; 0 for the
    /// primary one.
    ///
    /// Without meta_bg, and before `s_first_meta_bg`, the table follows the superblock. Behind it,
    /// each block lies in the first group of those it describes, with copies in the second and the
    /// last one.
    package func location(
        ofDescriptorBlock index: UInt32, copyOf source: GroupNumber = GroupNumber(0)
    ) -> BlockNumber {
        // With 1 KiB blocks the primary superblock is in block 1, even where bigalloc lets the
        // first group start at block 0.
        let superblockOffset: UInt64 = blockSize == 1024 && firstDataBlock == 0 ? 1 : 0
        if !incompatible.contains(.metaBg) || index < firstMetaGroup {
            let offset = source.rawValue == 0 ? superblockOffset : 0
            return firstBlock(of: source).advanced(by: 1 + offset + UInt64(index))
        }
        var group = GroupNumber(index * descriptorsPerBlock)
        if source.rawValue != 0, group.rawValue + 1 < groupCount {
            group = GroupNumber(group.rawValue + 1)
        }
        let offset = group.rawValue == 0 ? superblockOffset : 0
        return firstBlock(of: group).advanced(by: offset + (hasSuperblock(group) ? 1 : 0))
    }
}
