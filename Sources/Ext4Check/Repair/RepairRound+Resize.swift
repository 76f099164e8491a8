import Ext4

// The resize inode: a file that holds the blocks into which the descriptors may grow. Its map is
// one table of double indirection, of which each entry is a reserved block of group 0; that block
// in turn lists the same block of each copy.

extension RepairRound {
    private typealias Layout = InodeRecord.Layout

    /// Makes the resize inode anew.
    func remakeResizeInode() throws(Ext4Error) {
        settled.insert(InodeNumber.resize.rawValue)
        guard superblock.compatible.contains(.resizeInode) else {
            settled.remove(InodeNumber.resize.rawValue)
            try clearInode(InodeNumber.resize.rawValue)
            return
        }
        guard let table = resizeTable() ?? volume.allocateCluster() else {
            try dropResizeInode()
            return
        }
        let reserved = UInt64(superblock.reservedDescriptorBlocks)
        let perBlock = UInt64(volume.blockSize / 4)
        let blocks = UInt64((superblock.groupCount - 1) / superblock.descriptorsPerBlock + 1)
        // Where the descriptors start, and how far off the groups with copies are.
        let start = superblock.location(ofDescriptorBlock: 0, copyOf: GroupNumber(0)).rawValue
        let copies = (1..<max(superblock.groupCount, 1)).filter {
            superblock.hasSuperblock(GroupNumber($0))
        }.map {
            superblock.firstBlock(of: GroupNumber($0)).rawValue
                &- UInt64(superblock.firstDataBlock)
        }
        var double = volume.zeroes
        for i in 0..<reserved {
            let block = start &+ blocks &+ i
            guard superblock.contains(BlockNumber(block)) else { continue }
            double[Field<UInt32>.le(4 * Int((blocks &+ i) % perBlock))] = UInt32(
                truncatingIfNeeded: block)
            var leaf = volume.zeroes
            for (slot, offset) in copies.enumerated() where slot < Int(perBlock) {
                leaf[Field<UInt32>.le(4 * slot)] = UInt32(truncatingIfNeeded: block &+ offset)
            }
            try volume.setBlock(block, leaf)
        }
        try volume.setBlock(table, double)
        var record = newInode(mode: 0o100600, links: 1)
        record[Layout.flags] = 0
        record[Field<UInt32>.le(Layout.block.lowerBound + 4 * 13)] = UInt32(
            truncatingIfNeeded: table)
        let size = (perBlock &* perBlock &+ perBlock &+ 12) << UInt64(superblock.blockSizeLog2)
        let taken = 1 &+ reserved &* UInt64(1 + copies.count)
        setSize(size, blocks: taken << UInt64(superblock.clusterRatioLog2), in: &record)
        try volume.setInode(InodeNumber.resize.rawValue, record)
    }

    /// The block of the table that the inode has, when nothing else claims it.
    private func resizeTable() -> UInt64? {
        guard let record = volume.inode(InodeNumber.resize.rawValue) else { return nil }
        let block = UInt64(record[Field<UInt32>.le(Layout.block.lowerBound + 4 * 13)])
        guard superblock.contains(BlockNumber(block)), !isStructure(block) else { return nil }
        let cluster = state.blocks.cluster(of: block)
        return state.blocks.isShared(cluster: cluster)
            || state.blocks.isClaimed(cluster: cluster) && record[Layout.mode] == 0 ? nil : block
    }

    private func dropResizeInode() throws(Ext4Error) {
        try volume.changeSuperblock { record in
            record[Superblock.Layout.compatible] &= ~CompatibleFeatures.resizeInode.rawValue
            record[Superblock.Layout.reservedDescriptors] = 0
        }
        settled.remove(InodeNumber.resize.rawValue)
        try clearInode(InodeNumber.resize.rawValue)
    }
}
