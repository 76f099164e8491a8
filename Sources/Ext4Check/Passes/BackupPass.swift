internal import Ext4

/// The copies of the superblock and of the descriptors: whether they would do if the first ones
/// were lost. Counts and states of a copy are those of long ago, on every volume; what must agree
/// is what things are found by.
struct BackupPass {
    let state: CheckState
    private let volume: CheckedVolume
    private let superblock: Superblock

    init(_ state: CheckState) {
        self.state = state
        volume = state.volume
        superblock = volume.superblock
    }

    func run() throws(Ext4Error) {
        // Where a copy is gone by, the others are not held against it.
        guard volume.sourceGroup.rawValue == 0, superblock.groupCount > 1 else { return }
        for number in 1..<superblock.groupCount {
            let group = GroupNumber(number)
            guard superblock.hasSuperblock(group) else { continue }
            try checkSuperblock(in: group)
        }
        try checkDescriptors()
    }

    // MARK: - Superblock

    private func checkSuperblock(in group: GroupNumber) throws(Ext4Error) {
        let block = superblock.firstBlock(of: group)
        var bytes = [UInt8](repeating: 0, count: Superblock.byteCount)
        try volume.device.readOrZeros(at: block.rawValue << volume.blockSizeLog2, into: &bytes)
        let words: String?
        do throws(Ext4Error) {
            let copy = try Superblock(parsing: unsafe bytes.span.bytes)
            words = difference(of: copy, group)
        } catch {
            words = error.description
        }
        guard let words else { return }
        state.report(
            Finding(.superblockBackup, at: .init(group: group, block: block), detail: words))
    }

    /// Features that are switched on in the primary superblock alone, as a volume comes to need
    /// them.
    private func difference(of copy: Superblock, _ group: GroupNumber) -> String? {
        let ignored: CompatibleFeatures = [.extAttr, .dirIndex]
        let ignoredIncompatible: IncompatibleFeatures = [.extents, .recover]
        let ignoredReadOnly: ReadOnlyCompatibleFeatures = [
            .largeFile, .dirNlink, .hugeFile, .extraIsize, .orphanPresent,
        ]
        let checks: [(Bool, String)] = [
            (copy.blocksCount == superblock.blocksCount, "s_blocks_count"),
            (copy.inodesCount == superblock.inodesCount, "s_inodes_count"),
            (copy.blockSize == superblock.blockSize, "s_log_block_size"),
            (copy.blocksPerGroup == superblock.blocksPerGroup, "s_blocks_per_group"),
            (copy.inodesPerGroup == superblock.inodesPerGroup, "s_inodes_per_group"),
            (copy.inodeSize == superblock.inodeSize, "s_inode_size"),
            (copy.uuid == superblock.uuid, "s_uuid"),
            (copy.checksumSeed == superblock.checksumSeed, "s_checksum_seed"),
            (
                copy.compatible.subtracting(ignored) == superblock.compatible.subtracting(ignored),
                "s_feature_compat"
            ),
            (
                copy.incompatible.subtracting(ignoredIncompatible)
                    == superblock.incompatible.subtracting(ignoredIncompatible),
                "s_feature_incompat"
            ),
            (
                copy.readOnlyCompatible.subtracting(ignoredReadOnly)
                    == superblock.readOnlyCompatible.subtracting(ignoredReadOnly),
                "s_feature_ro_compat"
            ),
            (
                copy.group == UInt16(truncatingIfNeeded: group.rawValue), "s_block_group_nr"
            ),
        ]
        return checks.first { !$0.0 }?.1
    }

    // MARK: - Descriptors

    private func checkDescriptors() throws(Ext4Error) {
        let perBlock = superblock.descriptorsPerBlock
        let hasMetaGroups = superblock.incompatible.contains(.metaBg)
        let copies = superblock.groupsWithTableCopies
        for index in 0...(superblock.groupCount - 1) / perBlock {
            if hasMetaGroups, index >= superblock.firstMetaGroup {
                for slot in [1, perBlock - 1] {
                    let (group, overflow) = (index * perBlock).addingReportingOverflow(slot)
                    guard !overflow, group < superblock.groupCount else { continue }
                    try check(copyOf: index, in: GroupNumber(group), isMeta: true)
                }
                continue
            }
            for group in copies { try check(copyOf: index, in: group, isMeta: false) }
        }
    }

    private func check(
        copyOf index: UInt32, in group: GroupNumber, isMeta: Bool
    ) throws(Ext4Error) {
        let start = superblock.firstBlock(of: group)
        let block =
            isMeta
            ? start.advanced(by: superblock.hasSuperblock(group) ? 1 : 0)
            : superblock.location(ofDescriptorBlock: index, copyOf: group)
        guard volume.contains(block.rawValue) else { return }
        let bytes = try volume.block(block)
        let size = superblock.descriptorSize
        let first = index * superblock.descriptorsPerBlock
        for slot in 0..<min(superblock.descriptorsPerBlock, superblock.groupCount - first) {
            let start = Int(slot) * size
            let copy = GroupDescriptor(
                unchecked: unsafe bytes.span.bytes.extracting(start..<start + size),
                superblock: superblock)
            let own = volume.descriptors[Int(first + slot)]
            guard copy.blockBitmap == own.blockBitmap, copy.inodeBitmap == own.inodeBitmap,
                copy.inodeTable == own.inodeTable
            else {
                state.report(
                    Finding(
                        .groupBackup,
                        at: .init(group: GroupNumber(first + slot), block: block)))
                return
            }
        }
    }
}

extension BlockNumber {
    /// The block `count` further on.
    fileprivate func advanced(by count: UInt64) -> BlockNumber {
        BlockNumber(rawValue &+ count)
    }
}
