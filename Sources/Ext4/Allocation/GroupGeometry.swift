/// Where the groups of a volume are: the numbers of the superblock that allocation works with, for
/// itself, since a copy of the whole superblock costs more than a search.
package struct GroupGeometry: Sendable {
    package let firstDataBlock: UInt64
    package let blocksCount: UInt64
    package let blocksPerGroup: UInt64
    package let groupCount: UInt32
    /// Groups that lie together: those of a flexible group, or 1.
    package let groupsPerUnit: UInt32
    package let inodesPerGroup: UInt32
    package let inodesPerBlock: UInt32
    package let inodesCount: UInt32
    package let firstInode: InodeNumber
    package let descriptor: GroupDescriptor.Format
    package let descriptorsPerBlock: UInt32
    /// Whether groups may be uninitialised, and say how many inodes were never used.
    package let hasDescriptorChecksums: Bool
    package let hasMetadataChecksums: Bool

    package init(_ superblock: Superblock) {
        firstDataBlock = UInt64(superblock.firstDataBlock)
        blocksCount = superblock.blocksCount
        blocksPerGroup = UInt64(superblock.blocksPerGroup)
        groupCount = superblock.groupCount
        groupsPerUnit =
            superblock.incompatible.contains(.flexBg)
            ? max(min(superblock.groupsPerFlex, superblock.groupCount), 1) : 1
        inodesPerGroup = superblock.inodesPerGroup
        inodesPerBlock = superblock.inodesPerBlock
        inodesCount = superblock.inodesCount
        firstInode = superblock.firstInode
        descriptor = GroupDescriptor.Format(superblock)
        descriptorsPerBlock = superblock.descriptorsPerBlock
        hasDescriptorChecksums = superblock.hasDescriptorChecksums
        hasMetadataChecksums = superblock.hasMetadataChecksums
    }

    /// Whether `count` blocks from `block` on, `count` not 0, all lie in the volume.
    package func contains(_ block: BlockNumber, count: UInt64 = 1) -> Bool {
        block.rawValue > firstDataBlock && block.rawValue < blocksCount
            && count <= blocksCount &- block.rawValue
    }

    /// The group of `block`, which lies in the volume.
    package func group(of block: BlockNumber) -> GroupNumber {
        let index = (block.rawValue &- firstDataBlock) / blocksPerGroup
        return GroupNumber(UInt32(clamping: min(index, UInt64(groupCount) &- 1)))
    }

    /// The group of `inode`, which is one of the volume's.
    package func group(of inode: InodeNumber) -> GroupNumber {
        GroupNumber(min((inode.rawValue &- 1) / inodesPerGroup, groupCount &- 1))
    }

    /// All blocks of `group`; the last one may be short.
    package func blocks(of group: GroupNumber) -> BlockRange {
        let start = min(
            firstDataBlock &+ UInt64(group.rawValue) &* blocksPerGroup, blocksCount)
        return BlockRange(
            start: BlockNumber(start), count: min(blocksPerGroup, blocksCount &- start))
    }
}
