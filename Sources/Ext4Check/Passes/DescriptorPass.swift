internal import Ext4

/// The groups' descriptors, and the places of the groups' structures.
struct DescriptorPass {
    let state: CheckState
    private let volume: CheckedVolume
    private let superblock: Superblock

    init(_ state: CheckState) {
        self.state = state
        volume = state.volume
        superblock = state.volume.superblock
    }

    /// Looks at every descriptor, and claims what the volume takes for itself.
    func run() throws(Ext4Error) {
        try checkChecksums()
        for number in 0..<superblock.groupCount {
            let group = GroupNumber(number)
            claim(volume.copies(of: group), of: group, "copies of superblock and descriptors")
        }
        for number in 0..<superblock.groupCount {
            let group = GroupNumber(number)
            checkFlags(group)
            checkPlaces(group)
        }
    }

    private func checkChecksums() throws(Ext4Error) {
        guard superblock.hasDescriptorChecksums else { return }
        let format = GroupDescriptor.Format(superblock)
        let perBlock = superblock.descriptorsPerBlock
        var block = [UInt8](repeating: 0, count: volume.blockSize)
        for number in 0..<superblock.groupCount {
            let slot = Int(number % perBlock)
            if slot == 0 {
                try volume.read(
                    superblock.location(
                        ofDescriptorBlock: number / perBlock, copyOf: volume.sourceGroup),
                    into: &block)
            }
            let bytes = unsafe block.span.bytes.extracting(
                slot * format.size..<(slot + 1) * format.size)
            let computed = format.checksum(of: bytes, group: GroupNumber(number))
            let stored = volume.descriptors[Int(number)].checksum
            guard let computed, computed != stored else { continue }
            state.report(
                Finding(
                    .groupChecksum, at: .init(group: GroupNumber(number)),
                    found: UInt64(stored), expected: UInt64(computed)))
        }
    }

    private func checkFlags(_ group: GroupNumber) {
        let descriptor = volume.descriptors[Int(group.rawValue)]
        let unused: GroupDescriptor.Flags = [.blockUninit, .inodeUninit]
        let isLast = group.rawValue == superblock.groupCount - 1
        let areMarks = superblock.hasDescriptorChecksums
        if !areMarks, descriptor.unusedInodesCount > 0 || !descriptor.flags.isDisjoint(with: unused)
        {
            state.report(
                Finding(
                    .groupMarks, at: .init(group: group),
                    found: UInt64(descriptor.flags.intersection(unused).rawValue), expected: 0))
        }
        // e2fsck looks at the marks of inodes that names lead to, whether they mean anything or not.
        var wrong: GroupDescriptor.Flags = []
        if group.rawValue == 0 {
            wrong = descriptor.flags.intersection(areMarks ? unused : .inodeUninit)
        } else if areMarks, isLast {
            wrong = descriptor.flags.intersection(.blockUninit)
        }
        if !wrong.isEmpty {
            state.report(
                Finding(
                    .groupFlags, at: .init(group: group),
                    found: UInt64(descriptor.flags.rawValue),
                    expected: UInt64(descriptor.flags.subtracting(wrong).rawValue)))
        }
        if areMarks, descriptor.unusedInodesCount > superblock.inodesPerGroup {
            state.report(
                Finding(
                    .groupUnusedInodes, at: .init(group: group),
                    found: UInt64(descriptor.unusedInodesCount),
                    expected: UInt64(superblock.inodesPerGroup)))
        }
    }

    private func checkPlaces(_ group: GroupNumber) {
        let descriptor = volume.descriptors[Int(group.rawValue)]
        let own = BlockRange(
            start: superblock.firstBlock(of: group), count: UInt64(superblock.blockCount(of: group))
        )
        let isFlexible = superblock.incompatible.contains(.flexBg)
        for (rule, block, count, words) in [
            (
                CheckRule.groupInodeTablePlace, descriptor.inodeTable,
                UInt64(superblock.inodeTableBlocks), "inode table"
            ),
            (.groupInodeBitmapPlace, descriptor.inodeBitmap, 1, "inode bitmap"),
            (.groupBlockBitmapPlace, descriptor.blockBitmap, 1, "block bitmap"),
        ] {
            let range = BlockRange(start: block, count: count)
            guard volume.contains(block.rawValue, count: count),
                isFlexible || (own.start <= block && range.end <= own.end)
            else {
                state.report(
                    Finding(rule, at: .init(group: group, block: block), found: block.rawValue))
                continue
            }
            claim(range, of: group, words)
        }
    }

    /// Claims blocks for the volume itself.
    private func claim(_ range: BlockRange, of group: GroupNumber, _ words: String) {
        guard range.count > 0 else { return }
        let start = range.start.rawValue - volume.firstDataBlock
        if state.metadata.claim(start..<start + range.count) {
            state.report(
                Finding(
                    .groupOverlap, at: .init(group: group, block: range.start),
                    count: range.count, detail: words))
        }
        state.blocks.claimAgain(volume.clusters(of: range.start.rawValue, count: range.count))
    }
}
