// A volume of which the size comes last: data is written around the copies of the superblock, which
// lie where they lie whatever the size becomes, as long as the room behind them for descriptors,
// used and reserved ones together, stays the same.

extension VolumeLayout {
    /// The largest volume of which the descriptors fit `descriptorRoom` blocks.
    package static func largest(
        _ options: FormatOptions, descriptorRoom: UInt32
    ) throws(FormatProblem) -> VolumeLayout {
        guard let blockSize = options.blockSize else {
            throw FormatProblem("a volume of an open size needs a block size")
        }
        guard descriptorRoom > 0, Int(descriptorRoom) <= blockSize / 4 else {
            throw FormatProblem(
                "the room for descriptors is 1 to \(blockSize / 4) blocks")
        }
        // A small one tells how many descriptors a block has, and how large groups are.
        var options = options
        options.inodeRatio = nil
        options.inodeCount = 16
        let small = try VolumeGeometry(options, byteCount: 64 << 20)
        let groups = UInt64(descriptorRoom) * UInt64(blockSize / small.descriptorSize)
        let blocks = min(groups * UInt64(small.blocksPerGroup), UInt64(UInt32.max))
        options.inodeCount = groups * 16
        return try VolumeLayout(
            options, byteCount: blocks * UInt64(blockSize), descriptorRoom: descriptorRoom)
    }

    /// A group without bitmaps and tables, of which the places are not known yet.
    func bareUnit(_ group: UInt32) -> GroupUnit {
        GroupUnit(bare: group, blocks: blocks(of: group), copies: copies(in: group))
    }

    /// What the volume's own files take at the most: journal, orphan file, quota files, the
    /// block of the resize inode, the multi-mount block, the nodes of the maps.
    ///
    /// - Parameter quotaSizes: the bytes of the quota files by user, by group and by project.
    func ownFileBlocks(quotaSizes: [Int]) -> UInt64 {
        let ratio: UInt64 = 1 << UInt64(superblock.clusterRatioLog2)
        func clusters(_ count: UInt64) -> UInt64 { (count + ratio - 1) & ~(ratio - 1) }
        let perNode = UInt64(superblock.blockSize / 4)
        func file(_ count: UInt64) -> UInt64 {
            guard count > 0 else { return 0 }
            let nodes =
                superblock.incompatible.contains(.extents)
                ? (count / UInt64(ExtentNode.maximumLength) > 2 ? 1 : 0)
                : count <= 12 ? 0 : 2 + count / perNode + count / perNode / perNode
            return clusters(count) + nodes * ratio
        }
        var blocks = file(UInt64(journalBlocks)) + file(UInt64(orphanFileBlocks))
        if superblock.compatible.contains(.resizeInode) { blocks += ratio }
        if superblock.incompatible.contains(.mmp) { blocks += ratio }
        for (index, size) in quotaSizes.enumerated() where quotas.rawValue & 1 << index != 0 {
            blocks += file(UInt64((size + superblock.blockSize - 1) / superblock.blockSize))
        }
        return blocks
    }
}
