import Testing

@testable import Ext4
import Ext4Verify

// Each test is a fault that a kernel or e2fsck once fell for: a sound volume, one change, the
// error that says what is wrong and where. Where the fault was in writing, its reading
// counterpart: whatever is read gives a result or an error.

@Suite struct NegativeCorpusTests {
    // MARK: Extents

    /// A node of extents that leads to itself (CVE-2018-10876 freed such blocks twice).
    @Test func extentNodeLeadsToItself() throws {
        var volume = try VolumeFixture()
        let file = try volume.inode("/sparse")
        let node = volume.child(of: file)
        let base = volume.start(of: node)
        volume.set(ExtentNode.Header.depth, at: base, 1)
        volume.set(ExtentNode.Header.entries, at: base, 1)
        volume.set(ExtentNode.Index.block, at: base + 12, 0)
        volume.set(ExtentNode.Index.leafLow, at: base + 12, UInt32(node.rawValue))
        let found = volume.corruption { (volume) throws(Ext4Error) in
            _ = try volume.mappings(of: file)
        }
        #expect(found?.structure == .extentNode)
        #expect(found?.place == .init(inode: file.number, block: node))
        #expect(found?.field == "eh_depth")
        volume.walk()
    }

    /// A tree that says it is deeper than any (CVE-2018-10877 read behind the path it had).
    @Test(arguments: [6, 7, 255, 0xFFFF] as [UInt16]) func extentTreeIsTooDeep(
        _ depth: UInt16
    ) throws {
        var volume = try VolumeFixture()
        let file = try volume.inode("/sparse")
        volume.set(ExtentNode.Header.depth, at: try volume.map(of: file.number), depth)
        let found = volume.corruption { (volume) throws(Ext4Error) in
            _ = try volume.mapping(of: try volume.inode(file.number), at: LogicalBlock(0))
        }
        #expect(found?.structure == .extentNode)
        #expect(found?.place == .init(inode: file.number))
        #expect(found?.field == "eh_depth" && found?.value == UInt64(depth))
        volume.walk()
    }

    /// More entries than the node has room for (CVE-2026-31449).
    @Test func extentEntriesPastNode() throws {
        var volume = try VolumeFixture()
        let file = try volume.inode("/sparse")
        let node = volume.child(of: file)
        for count: UInt16 in [85, 0x7FFF, 0xFFFF] {
            volume.set(ExtentNode.Header.entries, at: volume.start(of: node), count)
            let found = volume.corruption { (volume) throws(Ext4Error) in
                _ = try volume.mappings(of: file)
            }
            #expect(found?.structure == .extentNode)
            #expect(found?.place == .init(inode: file.number, block: node))
            #expect(found?.field == "eh_entries" && found?.value == UInt64(count))
        }
        volume.walk()
    }

    /// Room for more entries than a node can have.
    @Test func extentMaximumPastNode() throws {
        var volume = try VolumeFixture()
        let file = try volume.inode("/sparse")
        for maximum: UInt16 in [5, 0, 0xFFFF] {
            volume.set(ExtentNode.Header.maximum, at: try volume.map(of: file.number), maximum)
            let found = volume.corruption { (volume) throws(Ext4Error) in
                _ = try volume.mappings(of: try volume.inode(file.number))
            }
            #expect(found?.structure == .extentNode)
            #expect(found?.place == .init(inode: file.number))
            #expect(found?.field == "eh_max" && found?.value == UInt64(maximum))
        }
        volume.walk()
    }

    /// An extent of no blocks, entries out of order, blocks behind the end of the volume, and
    /// extents that run past what the node above says (e2fsck's CVE-2022-1304).
    @Test func extentsBreakTheirRules() throws {
        typealias Leaf = ExtentNode.Leaf
        let sound = try VolumeFixture()
        let file = try sound.inode("/sparse")
        let node = sound.child(of: file)
        let base = sound.start(of: node)
        func expect(
            _ rule: String, sourceLocation: SourceLocation = #_sourceLocation,
            _ change: (inout VolumeFixture) -> Void
        ) {
            var volume = sound
            change(&volume)
            let found = volume.corruption(sourceLocation: sourceLocation) {
                (volume) throws(Ext4Error) in
                _ = try volume.mappings(of: file)
            }
            #expect(found?.structure == .extentNode, sourceLocation: sourceLocation)
            #expect(
                found?.place == .init(inode: file.number, block: node),
                sourceLocation: sourceLocation)
            #expect(found?.rule == .broken(rule), sourceLocation: sourceLocation)
            volume.walk(sourceLocation: sourceLocation)
        }
        expect("extent 1 is empty or ends behind the last block") {
            $0.set(Leaf.length, at: base + 24, 0)
        }
        expect("entry 2 is out of order or overlaps the one before") {
            $0.set(Leaf.length, at: base + 24, 3)
        }
        expect("entry 1 is out of order or overlaps the one before") {
            $0.set(Leaf.block, at: base + 24, 0)
        }
        expect("extent 0 is not inside the volume") {
            $0.set(Leaf.startHigh, at: base + 12, 0xFFFF)
        }
        expect("extent 0 is not inside the volume") {
            $0.set(Leaf.startLow, at: base + 12, 512)
        }
        expect("extent 0 is not inside the volume") { $0.set(Leaf.startLow, at: base + 12, 0) }
    }

    /// An index that leads out of the volume.
    @Test func extentIndexOutsideVolume() throws {
        var volume = try VolumeFixture()
        let file = try volume.inode("/sparse")
        volume.set(ExtentNode.Index.leafHigh, at: try volume.map(of: file.number) + 12, 0x7FFF)
        let found = volume.corruption { (volume) throws(Ext4Error) in
            _ = try volume.mappings(of: try volume.inode(file.number))
        }
        #expect(found?.structure == .extentNode)
        #expect(found?.place == .init(inode: file.number))
        volume.walk()
    }

    /// The tree of one file in another: the blocks are right for nobody else.
    @Test func extentNodeOfAnotherInode() throws {
        var volume = try VolumeFixture()
        let owner = try volume.inode("/sparse")
        let thief = try volume.inode("/empty")
        let from = try volume.map(of: owner.number)
        let to = try volume.map(of: thief.number)
        for i in 0..<60 { volume.image[to + i] = volume.image[from + i] }
        // The node keeps the owner's checksum: the seal would make it the last one's.
        var image = volume.image
        ChecksumSeal.seal(&image)
        let node = volume.child(of: owner)
        let start = volume.start(of: node)
        image.replaceSubrange(
            start..<start + volume.blockSize,
            with: volume.image[start..<start + volume.blockSize])
        let opened = try Volume.open(MemoryDevice(image))
        _ = try opened.mappings(of: try opened.inode(owner.number))
        #expect {
            try opened.mappings(of: try opened.inode(thief.number))
        } throws: { error in
            guard case .corrupt(let found)? = error as? Ext4Error, case .checksum = found.rule
            else { return false }
            return found.structure == .extentNode
                && found.place == .init(inode: thief.number, block: node)
        }
    }

    // MARK: Group descriptors and the superblock

    /// Bitmaps and tables outside of the volume (CVE-2018-10878 wrote to such a block).
    @Test func descriptorLeadsOutside() throws {
        typealias Layout = GroupDescriptor.Layout
        for (field, name) in [
            (Layout.blockBitmapHigh, "bg_block_bitmap"),
            (Layout.inodeBitmapHigh, "bg_inode_bitmap"),
            (Layout.inodeTableHigh, "bg_inode_table"), (Layout.inodeTableLow, "bg_inode_table"),
        ] {
            for value: UInt32 in [0xFFFF_FFFF, 512] {
                var volume = try VolumeFixture()
                volume.setDescriptor(0, field, value)
                let found = volume.corruption { (volume) throws(Ext4Error) in
                    _ = try volume.groupDescriptor(GroupNumber(0))
                }
                #expect(found?.structure == .groupDescriptor)
                #expect(found?.place == .init(group: GroupNumber(0)))
                #expect(found?.field == name)
                volume.walk()
            }
        }
    }

    /// An inode table over the superblock's own blocks, or over another group's.
    @Test func inodeTableOverlapsMetadata() throws {
        var volume = try VolumeFixture("groups")
        let other = try volume.sound.groupDescriptor(GroupNumber(1)).inodeTable
        for block in [2, 3, UInt32(other.rawValue)] {
            volume.setDescriptor(0, GroupDescriptor.Layout.inodeTableLow, block)
            #expect(volume.walk().errorCount > 0)
        }
    }

    /// `s_first_ino` below the reserved inodes, so that names could lead to them (CVE-2018-10882).
    @Test func firstInodeIsReserved() throws {
        for value: UInt32 in [0, 1, 2, 5, 10, 129, .max] {
            var volume = try VolumeFixture()
            volume.setSuperblock(Superblock.Layout.firstInode, value)
            let found = volume.corruption { (_) throws(Ext4Error) in }
            #expect(found?.structure == .superblock)
            #expect(found?.field == "s_first_ino" && found?.value == UInt64(value))
        }
    }

    /// `s_first_meta_bg` behind the last block of descriptors (CVE-2016-10208, CVE-2015-1572).
    @Test func firstMetaGroupIsTooHigh() throws {
        for value: UInt32 in [2, 0x1_0000, .max] {
            var volume = try VolumeFixture("groups")
            volume.setSuperblock(Superblock.Layout.firstMetaGroup, value)
            let found = volume.corruption { (_) throws(Ext4Error) in }
            #expect(found?.structure == .superblock)
            #expect(found?.field == "s_first_meta_bg" && found?.value == UInt64(value))
        }
    }

    /// Sizes and counts that later divisions, shifts and loops rely on (CVE-2007-5497 multiplied
    /// them; f_ images of zero inode sizes and descriptor sizes).
    @Test func superblockFieldsOutOfRange() throws {
        typealias Layout = Superblock.Layout
        func expect<Value: BinaryInteger>(
            _ field: Field<Value>, _ values: [Value], _ name: String,
            sourceLocation: SourceLocation = #_sourceLocation
        ) throws {
            for value in values {
                var volume = try VolumeFixture()
                volume.setSuperblock(field, value)
                let found = volume.corruption(sourceLocation: sourceLocation) {
                    (_) throws(Ext4Error) in
                }
                #expect(found?.structure == .superblock, sourceLocation: sourceLocation)
                #expect(found?.field == name, sourceLocation: sourceLocation)
            }
        }
        try expect(Layout.revision, [2, .max], "s_rev_level")
        try expect(Layout.logBlockSize, [7, 32, 64, .max], "s_log_block_size")
        try expect(Layout.logClusterSize, [1, 31, .max], "s_log_cluster_size")
        try expect(Layout.inodeSize, [0, 1, 64, 127, 129, 192, 2048, 0xFFFF], "s_inode_size")
        try expect(Layout.inodesPerGroup, [0, 1, 3, 8193, .max], "s_inodes_per_group")
        try expect(Layout.inodesPerGroup, [64, 256], "s_inodes_count")
        try expect(Layout.blocksPerGroup, [0, 8193, .max], "s_blocks_per_group")
        try expect(Layout.blocksPerGroup, [1, 8, 64], "s_inodes_count")
        try expect(Layout.descriptorSize, [0, 1, 32, 63, 65, 96, 2048, 0xFFFF], "s_desc_size")
        try expect(Layout.firstDataBlock, [2, 511, .max], "s_first_data_block")
        try expect(Layout.blocksCountHigh, [0x20_0000, .max], "s_blocks_count")
        try expect(Layout.blocksCountLow, [0, 1, 513], "s_blocks_count")
        try expect(Layout.blocksCountLow, [.max], "s_inodes_count")
        try expect(Layout.inodesCount, [0, 127, 129, .max], "s_inodes_count")
        try expect(Layout.reservedDescriptors, [257, .max], "s_reserved_gdt_blocks")
        try expect(Layout.logGroupsPerFlex, [32, 64, 255], "s_log_groups_per_flex")
        try expect(Layout.checksumType, [0, 2, 255], "s_checksum_type")
    }

    /// Two sizes of clusters that do not go together.
    @Test func clustersContradict() throws {
        typealias Layout = Superblock.Layout
        var volume = try VolumeFixture("bigalloc")
        volume.setSuperblock(Layout.clustersPerGroup, 0)
        #expect(volume.corruption { (_) throws(Ext4Error) in }?.field == "s_clusters_per_group")
        volume = try VolumeFixture("bigalloc")
        volume.setSuperblock(Layout.blocksPerGroup, 8192)
        #expect(volume.corruption { (_) throws(Ext4Error) in }?.field == "s_blocks_per_group")
        volume = try VolumeFixture("bigalloc")
        volume.setSuperblock(Layout.logClusterSize, 21)
        #expect(volume.corruption { (_) throws(Ext4Error) in }?.field == "s_log_cluster_size")
    }

    /// A bit that the kernel only has in memory: it means nothing on disk (FC_REPLAY, 0x20).
    @Test func stateHasUnknownBits() throws {
        var volume = try VolumeFixture()
        let before = volume.walk()
        volume.setSuperblock(Superblock.Layout.state, 0xFFFF)
        #expect(volume.walk().digest == before.digest)
    }

    /// A list of orphans that runs in a circle through reserved inodes: reading does not follow it.
    @Test func orphanListIsACircle() throws {
        var volume = try VolumeFixture()
        let before = volume.walk()
        volume.setSuperblock(Superblock.Layout.lastOrphan, 5)
        try volume.setInode(InodeNumber(5), InodeRecord.Layout.deletionTime, 5)
        #expect(volume.walk().inodeCount >= before.inodeCount)
        volume.setSuperblock(Superblock.Layout.lastOrphan, .max)
        volume.walk()
    }

    // MARK: The root and names

    /// A root that no name leads to (CVE-2018-1092).
    @Test func rootHasNoLinks() throws {
        var volume = try VolumeFixture()
        try volume.setInode(.root, InodeRecord.Layout.linkCount, 0)
        let found = volume.corruption { (volume) throws(Ext4Error) in _ = try volume.root() }
        #expect(found?.structure == .inode)
        #expect(found?.place == .init(inode: .root))
        volume.walk()
    }

    /// A root that is a file.
    @Test func rootIsNoDirectory() throws {
        var volume = try VolumeFixture()
        try volume.setInode(.root, InodeRecord.Layout.mode, 0o100644)
        let found = volume.corruption { (volume) throws(Ext4Error) in _ = try volume.root() }
        #expect(found?.structure == .inode)
        #expect(found?.place == .init(inode: .root))
        volume.walk()
    }

    /// A name that leads to the journal, a reserved inode or no inode at all (CVE-2018-10882).
    @Test(arguments: [1, 3, 5, 7, 8, 10] as [UInt32]) func nameLeadsToReserved(
        _ number: UInt32
    ) throws {
        var volume = try VolumeFixture("journal")
        let root = try volume.sound.root()
        let entry = try volume.entry("hello", in: root)
        volume.set(DirectoryRecord.Layout.inode, at: entry, number)
        var options = OpenOptions()
        options.journal = .ignore
        let opened = try volume.open(options)
        #expect {
            try opened.lookup(FileName("hello"), in: try opened.root())
        } throws: { error in
            guard case .corrupt(let found)? = error as? Ext4Error else { return false }
            return found.structure == .directoryBlock && found.place == .init(inode: .root)
                && found.value == UInt64(number)
        }
        volume.walk(journal: .ignore)
    }

    /// An inode that the volume does not have, in an entry.
    @Test(arguments: [129, 0x8000_0000, .max] as [UInt32]) func nameLeadsNowhere(
        _ number: UInt32
    ) throws {
        var volume = try VolumeFixture()
        let root = try volume.sound.root()
        let entry = try volume.entry("hello", in: root)
        volume.set(DirectoryRecord.Layout.inode, at: entry, number)
        let found = volume.corruption { (volume) throws(Ext4Error) in
            _ = try volume.entries(of: root)
        }
        #expect(found?.structure == .directoryBlock)
        #expect(
            found?.place
                == .init(
                    inode: .root, logicalBlock: LogicalBlock(0),
                    byteOffset: entry % volume.blockSize))
        #expect(found?.field == "inode" && found?.value == UInt64(number))
        volume.walk()
    }

    /// Record lengths that are no multiple of four (bz216540), too short, or past the block.
    @Test(arguments: [0, 1, 4, 8, 11, 13, 18, 1020, 1028, 0x8000, 0xFFFC, 0xFFFF] as [UInt16])
    func recordLength(_ length: UInt16) throws {
        var volume = try VolumeFixture()
        let root = try volume.sound.root()
        let entry = try volume.entry("hello", in: root)
        volume.set(DirectoryRecord.Layout.recordLength, at: entry, length)
        let found = volume.corruption { (volume) throws(Ext4Error) in
            _ = try volume.entries(of: root)
        }
        #expect(found?.structure == .directoryBlock)
        #expect(
            found?.place
                == .init(
                    inode: .root, logicalBlock: LogicalBlock(0),
                    byteOffset: entry % volume.blockSize))
        #expect(found?.field == "rec_len" && found?.value == UInt64(length))
        volume.walk()
    }

    /// A header that the block has no room for, where the last entry was shortened.
    @Test func directoryHeaderIsCutOff() throws {
        var volume = try VolumeFixture("ext2")
        let root = try volume.sound.root()
        let base = volume.start(of: try volume.block(0, of: root))
        let last = try volume.entry("far", in: root) - base
        let length = volume.get(DirectoryRecord.Layout.recordLength, at: base + last)
        try #require(last + Int(length) == volume.blockSize)
        volume.set(DirectoryRecord.Layout.recordLength, at: base + last, length - 4)
        let found = volume.corruption { (volume) throws(Ext4Error) in
            _ = try volume.entries(of: root)
        }
        #expect(
            found
                == Corruption(
                    .directoryBlock,
                    at: .init(
                        inode: .root, logicalBlock: LogicalBlock(0),
                        byteOffset: volume.blockSize - 4), .truncated))
        volume.walk()
    }

    /// The entry that holds the checksum is gone, or has another form.
    @Test func directoryTailIsBroken() throws {
        let sound = try VolumeFixture()
        let directory = try sound.inode("/sub")
        let base = sound.start(of: try sound.block(0, of: directory)) + sound.blockSize - 12
        for change in 0..<4 {
            var volume = sound
            switch change {
            case 0: volume.set(DirectoryRecord.TailLayout.zeroInode, at: base, 11)
            case 1: volume.set(DirectoryRecord.TailLayout.recordLength, at: base, 8)
            case 2: volume.set(DirectoryRecord.TailLayout.zeroName, at: base, 1)
            default: volume.set(DirectoryRecord.TailLayout.type, at: base, 0)
            }
            let found = volume.corruption { (volume) throws(Ext4Error) in
                _ = try volume.entries(of: directory)
            }
            #expect(found?.structure == .directoryBlock)
            #expect(found?.place == .init(inode: directory.number, logicalBlock: LogicalBlock(0)))
            volume.walk()
        }
    }
}
