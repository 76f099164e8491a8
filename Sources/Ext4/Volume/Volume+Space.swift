/// What `statfs` tells of a volume.
public struct VolumeStatistics: Hashable, Sendable {
    /// The size of a block in bytes.
    public let blockSize: Int
    /// Blocks in all, without those that the volume's own structures take.
    public let blocks: UInt64
    /// Free blocks.
    public let freeBlocks: UInt64
    /// Free blocks that are not reserved for root.
    public let availableBlocks: UInt64
    /// Inodes in all.
    public let inodes: UInt64
    /// Free inodes.
    public let freeInodes: UInt64
    /// The longest name in bytes.
    public let maximumNameLength: Int
}

/// What the group descriptors say is free, summed up.
struct FreeCounts {
    let blocks: UInt64
    let inodes: UInt64
    /// Blocks that the volume's own structures take.
    let overhead: UInt64
}

extension Volume {
    /// Sizes and free space, as `statfs` on a mount by the kernel tells them.
    ///
    /// The first call reads all group descriptors; where one is bad, the counts of the superblock
    /// stand in, which may be older.
    public func statistics() -> VolumeStatistics {
        let counts: FreeCounts
        if let known = freeCounts.withLock({ $0 }) {
            counts = known
        } else {
            counts = countFree()
            freeCounts.withLock { $0 = counts }
        }
        // Of a volume that is written, the allocators know what is free now.
        let freeBlocks = writing?.blocks.freeBlocks ?? counts.blocks
        let freeInodes = writing?.inodes.freeInodes ?? counts.inodes
        // Linux keeps 2 % of the clusters, at most 4,096, for the maps of delayed writes.
        let ratio = UInt64(superblock.clusterRatioLog2)
        let kept =
            superblock.incompatible.contains(.extents)
            ? min((superblock.blocksCount >> ratio) / 50, 4096) << ratio : 0
        let reserved = superblock.reservedBlocksCount &+ kept
        return VolumeStatistics(
            blockSize: blockSize,
            blocks: superblock.blocksCount - min(counts.overhead, superblock.blocksCount),
            freeBlocks: freeBlocks, availableBlocks: freeBlocks - min(reserved, freeBlocks),
            inodes: UInt64(superblock.inodesCount), freeInodes: freeInodes,
            maximumNameLength: FileName.maximumLength)
    }

    private func countFree() -> FreeCounts {
        let ratio = UInt64(superblock.clusterRatioLog2)
        var blocks: UInt64 = 0
        var inodes: UInt64 = 0
        for number in 0..<superblock.groupCount {
            guard let group = try? groups.descriptor(of: GroupNumber(number)) else {
                blocks = superblock.freeBlocksCount >> ratio
                inodes = UInt64(superblock.freeInodesCount)
                break
            }
            blocks &+= UInt64(group.freeBlocksCount)
            inodes &+= UInt64(group.freeInodesCount)
        }
        let clusters = superblock.blocksCount >> ratio
        let stored = UInt64(superblock.overheadClusters)
        return FreeCounts(
            blocks: min(blocks, clusters) << ratio,
            inodes: min(inodes, UInt64(superblock.inodesCount)),
            overhead: stored > 0 && stored <= clusters ? stored << ratio : countOverhead())
    }

    /// Blocks of superblocks, descriptors, bitmaps, inode tables and the journal, for volumes
    /// whose superblock does not say (`s_overhead_clusters`).
    private func countOverhead() -> UInt64 {
        let perBlock = superblock.descriptorsPerBlock
        let descriptorBlocks = (superblock.groupCount + perBlock - 1) / perBlock
        let hasMetaGroups = superblock.incompatible.contains(.metaBg)
        var sum = UInt64(superblock.firstDataBlock)
        for number in 0..<superblock.groupCount {
            sum &+= 2 + UInt64(superblock.inodeTableBlocks)
            let metaGroup = number / perBlock
            let hasSuperblock = superblock.hasSuperblock(GroupNumber(number))
            if hasSuperblock { sum &+= 1 }
            if hasMetaGroups, metaGroup >= superblock.firstMetaGroup {
                let slot = number % perBlock
                if slot == 0 || slot == 1 || slot == perBlock - 1 { sum &+= 1 }
            } else if hasSuperblock {
                sum &+= UInt64(hasMetaGroups ? superblock.firstMetaGroup : descriptorBlocks)
                sum &+= UInt64(superblock.reservedDescriptorBlocks)
            }
        }
        if superblock.compatible.contains(.hasJournal), !superblock.hasExternalJournal,
            let journal = try? inodes.inode(superblock.journalInode)
        {
            sum &+= journal.size >> UInt64(superblock.blockSizeLog2)
        }
        return sum
    }
}
