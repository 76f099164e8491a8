import Ext4

// Bitmaps and counters: written from what the check counted.

extension RepairRound {
    private typealias Layout = GroupDescriptor.Layout

    func applyTotals(_ finding: Finding) throws(Ext4Error) {
        switch finding.rule {
        case .superblockFreeBlocks, .superblockFreeInodes:
            try writeTotals()
        case .quotaFile, .quotaUsage:
            try writeQuota(finding)
        default:
            guard let group = finding.place.group?.rawValue, group < superblock.groupCount,
                settledGroups.insert(group).inserted
            else { return }
            try writeGroup(group)
        }
    }

    /// Writes a group's bitmaps and counts.
    private func writeGroup(_ group: UInt32) throws(Ext4Error) {
        let totals = state.totals
        guard Int(group) < totals.count else { return }
        let total = totals[Int(group)]
        let blocks = blockBitmap(group)
        let inodes = inodeBitmap(group)
        let descriptor = volume.descriptors[Int(group)]
        var flags = descriptor.flags
        flags.remove(.blockUninit)
        let perGroup = superblock.inodesPerGroup
        var hasInodeBitmap = true
        if flags.contains(.inodeUninit) {
            // A table that was never written stays so while nothing in it is in use.
            if total.lastUsedInode == 0 {
                hasInodeBitmap = false
            } else {
                flags.remove(.inodeUninit)
            }
        }
        try volume.setBlock(descriptor.blockBitmap.rawValue, blocks)
        if hasInodeBitmap { try volume.setBlock(descriptor.inodeBitmap.rawValue, inodes) }
        let superblock = superblock
        let isWide = superblock.descriptorSize >= 64
        let unused = perGroup - min(total.lastUsedInode, perGroup)
        let keepsUnused = superblock.hasDescriptorChecksums
        let storedUnused = min(descriptor.unusedInodesCount, unused)
        try volume.changeDescriptor(group) { record in
            func set(_ low: Field<UInt16>, _ high: Field<UInt16>, _ value: UInt32) {
                record[low] = UInt16(truncatingIfNeeded: value)
                if isWide { record[high] = UInt16(truncatingIfNeeded: value >> 16) }
            }
            set(Layout.freeBlocksLow, Layout.freeBlocksHigh, total.freeClusters)
            set(Layout.freeInodesLow, Layout.freeInodesHigh, total.freeInodes)
            set(Layout.usedDirectoriesLow, Layout.usedDirectoriesHigh, total.directories)
            if keepsUnused {
                set(Layout.unusedInodesLow, Layout.unusedInodesHigh, storedUnused)
                record[Layout.flags] = flags.rawValue
            }
            let blockChecksum = blocks.withBytes {
                GroupDescriptor.blockBitmapChecksum(of: $0, superblock: superblock)
            }
            if let blockChecksum {
                set(
                    Layout.blockBitmapCRCLow, Layout.blockBitmapCRCHigh, blockChecksum)
            }
            let inodeChecksum = inodes.withBytes {
                GroupDescriptor.inodeBitmapChecksum(of: $0, superblock: superblock)
            }
            if let inodeChecksum, hasInodeBitmap {
                set(
                    Layout.inodeBitmapCRCLow, Layout.inodeBitmapCRCHigh, inodeChecksum)
            }
        }
    }

    /// The map of blocks: what is claimed, and every bit behind the last block.
    private func blockBitmap(_ group: UInt32) -> Record {
        var record = volume.zeroes
        let bytes = state.blocks.bitmap(of: GroupNumber(group))
        for (i, byte) in bytes.enumerated() where i < record.bytes.count { record.bytes[i] = byte }
        let ratio = UInt32(1) << UInt32(superblock.clusterRatioLog2)
        let blocks = superblock.blockCount(of: GroupNumber(group))
        fill(&record, from: Int((blocks + ratio - 1) / ratio))
        return record
    }

    private func inodeBitmap(_ group: UInt32) -> Record {
        var record = volume.zeroes
        let perGroup = superblock.inodesPerGroup
        for index in 0..<perGroup {
            let number = InodeNumber(group * perGroup + index + 1)
            guard number < superblock.firstInode || state.inodes.isUsed(number) else { continue }
            record.bytes[Int(index / 8)] |= 1 << UInt8(index % 8)
        }
        fill(&record, from: Int(perGroup))
        return record
    }

    /// Sets every bit from `start` on.
    private func fill(_ record: inout Record, from start: Int) {
        for bit in start..<max(start, min((start + 7) / 8 * 8, record.bytes.count * 8)) {
            record.bytes[bit / 8] |= 1 << UInt8(bit % 8)
        }
        for i in min((start + 7) / 8, record.bytes.count)..<record.bytes.count {
            record.bytes[i] = 0xFF
        }
    }

    private func writeTotals() throws(Ext4Error) {
        var clusters: UInt64 = 0
        var inodes: UInt64 = 0
        for total in state.totals {
            clusters += UInt64(total.freeClusters)
            inodes += UInt64(total.freeInodes)
        }
        let blocks = clusters << UInt64(superblock.clusterRatioLog2)
        let isWide = superblock.incompatible.contains(.bit64)
        try volume.changeSuperblock { record in
            record[Superblock.Layout.freeBlocksLow] = UInt32(truncatingIfNeeded: blocks)
            if isWide {
                record[Superblock.Layout.freeBlocksHigh] = UInt32(truncatingIfNeeded: blocks >> 32)
            }
            record[Superblock.Layout.freeInodes] = UInt32(truncatingIfNeeded: inodes)
        }
    }
}
