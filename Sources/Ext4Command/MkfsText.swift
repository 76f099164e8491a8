internal import Ext4

/// What is said of a volume that is made.
enum MkfsText {
    static func lines(of layout: VolumeLayout, isVerbose: Bool) -> [String] {
        let superblock = layout.superblock
        var lines = [
            "\(superblock.blocksCount) blocks of \(superblock.blockSize) bytes,"
                + " \(superblock.inodesCount) inodes of \(superblock.inodeSize)"
        ]
        lines.append("UUID: \(SuperblockText.uuid(superblock.uuid) ?? "none")")
        if isVerbose { lines += details(of: layout) }
        let copies = copies(of: layout)
        if !copies.isEmpty {
            lines.append("copies of the superblock at blocks:")
            var line = "   "
            for (i, block) in copies.enumerated() {
                let word = " \(block)" + (i < copies.count - 1 ? "," : "")
                if line.count + word.count > 76 {
                    lines.append(line)
                    line = "   "
                }
                line += word
            }
            lines.append(line)
        }
        return lines
    }

    private static func details(of layout: VolumeLayout) -> [String] {
        let superblock = layout.superblock
        let features =
            superblock.compatible.names + superblock.incompatible.names
            + superblock.readOnlyCompatible.names
        var lines = [
            "features: \(features.joined(separator: " "))",
            "groups: \(superblock.groupCount) of \(superblock.blocksPerGroup) blocks and"
                + " \(superblock.inodesPerGroup) inodes",
            "blocks for the super user: \(superblock.reservedBlocksCount)",
            "blocks reserved for descriptors: \(superblock.reservedDescriptorBlocks)",
        ]
        if superblock.clusterRatioLog2 > 0 {
            lines.append("clusters: \(superblock.clusterSize) bytes")
        }
        if superblock.groupsPerFlex > 1 {
            lines.append("groups of a flexible group: \(superblock.groupsPerFlex)")
        }
        if layout.journalBlocks > 0 { lines.append("journal: \(layout.journalBlocks) blocks") }
        if superblock.raidStride > 0 || superblock.raidStripeWidth > 0 {
            lines.append(
                "stride: \(superblock.raidStride) blocks, stripe:"
                    + " \(superblock.raidStripeWidth) blocks")
        }
        return lines
    }

    /// Where copies of the superblock are.
    private static func copies(of layout: VolumeLayout) -> [UInt64] {
        let superblock = layout.superblock
        // Where every group has one, a few are enough to be told.
        var copies: [UInt64] = []
        for group in 1..<max(superblock.groupCount, 1)
        where superblock.hasSuperblock(GroupNumber(group)) && copies.count < 64 {
            copies.append(layout.blocks(of: group).lowerBound)
        }
        return copies
    }

    static func object(_ layout: VolumeLayout) -> JSONText {
        let superblock = layout.superblock
        let features =
            superblock.compatible.names + superblock.incompatible.names
            + superblock.readOnlyCompatible.names
        return .object([
            ("uuid", SuperblockText.uuid(superblock.uuid).map { .string($0) } ?? .null),
            ("blocks", .number(superblock.blocksCount)),
            ("blockSize", .number(superblock.blockSize)),
            ("clusterSize", .number(superblock.clusterSize)),
            ("inodes", .number(superblock.inodesCount)),
            ("inodeSize", .number(superblock.inodeSize)),
            ("groups", .number(superblock.groupCount)),
            ("blocksPerGroup", .number(superblock.blocksPerGroup)),
            ("inodesPerGroup", .number(superblock.inodesPerGroup)),
            ("reservedBlocks", .number(superblock.reservedBlocksCount)),
            ("journalBlocks", .number(layout.journalBlocks)),
            ("features", .array(features.map { .string($0) })),
            ("superblockCopies", .array(copies(of: layout).map { .number($0) })),
        ])
    }
}
