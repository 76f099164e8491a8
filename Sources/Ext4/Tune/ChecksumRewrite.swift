// Every checksum of a volume anew: under another seed, switched on, or switched off.
//
// What stands in a structure's own bytes is written, group by group: inodes, and what they lead to.
// The checksums of bitmaps stand in the descriptors, which are for the caller to write, together with
// the superblock. Each structure is checked under the old superblock before it is touched; one that is
// right under the new one was reached by another way before.

/// Brings the checksums of a volume that nobody has open, whose journal is empty and whose
/// structures are sound, from what one superblock asks for to what another one does.
///
/// The superblocks differ in nothing but the UUID, the seed and the features `metadata_csum`,
/// `metadata_csum_seed` and `uninit_bg`. Neither they nor descriptors nor any copies are written here.
package struct ChecksumRewrite {
    let device: any BlockDevice
    /// The volume as it is.
    let old: Superblock
    /// The volume as it shall be.
    let new: Superblock
    /// The volume as its descriptors are by now.
    let present: Superblock
    /// What checksums start from; nil where there are none.
    let oldSeed: UInt32?
    let newSeed: UInt32?
    let oldFormat: DirectoryFormat
    let newFormat: DirectoryFormat
    /// Reads blocks of pointers, and descriptors for where the volume's own structures are.
    let reader: BlockReader
    /// Blocks of attributes that were done of late: many inodes share one.
    private var recentAttributes = [UInt64](repeating: 0, count: 4096)

    /// Directories with a block that has no room for its checksum, in the order of their numbers.
    var crowded: [InodeNumber] = []

    /// Bytes of an inode table that are read at once.
    private static let tableBytes = 1 << 20

    /// Plans a rewrite of the volume on `device`.
    ///
    /// - Parameter present: how the descriptors are, where that is not how the rest is.
    package init(
        device: any BlockDevice, from old: Superblock, to new: Superblock,
        present: Superblock? = nil
    ) {
        self.device = device
        self.old = old
        self.new = new
        self.present = present ?? old
        oldSeed = old.hasMetadataChecksums ? old.checksumSeed : nil
        newSeed = new.hasMetadataChecksums ? new.checksumSeed : nil
        oldFormat = DirectoryFormat(old)
        newFormat = DirectoryFormat(new)
        reader = BlockReader(
            superblock: old,
            cache: BufferCache(
                device: device, blockSizeLog2: old.blockSizeLog2, byteBudget: 8 << 20),
            verifiesChecksums: false, log: .none)
    }

    /// Whether more than descriptors changes.
    var changesSeed: Bool { oldSeed != newSeed }

    /// Whether any structure but the superblock changes.
    package var changesAnything: Bool {
        let hasGroups = old.readOnlyCompatible.contains(.gdtCsum)
        return oldSeed != newSeed || hasGroups != new.readOnlyCompatible.contains(.gdtCsum)
            || (oldSeed == nil && hasGroups && old.uuid != new.uuid)
    }

    /// What is left to do after a rewrite.
    package struct Rest {
        /// The blocks of descriptors, to be written with the superblock.
        package let table: DescriptorTable
        /// Directories with a block that has no room for a checksum, and has none. They have to be
        /// written anew, as a repair of the volume does.
        package let crowded: [InodeNumber]
    }

    /// Writes everything but descriptors, and flushes the device.
    ///
    /// - Parameter progress: told how far it is, a step a group and stage.
    /// - Throws: `.corrupt` for a structure that is not right: the volume needs a check first;
    ///   `.invalidArgument` for superblocks that differ in more than they may; `.io`.
    package func run(
        _ progress: (_ done: UInt64, _ total: UInt64) -> Void = { _, _ in }
    ) throws(Ext4Error) -> Rest {
        var rewrite = self
        let table = try rewrite.rewrite(progress)
        return Rest(table: table, crowded: rewrite.crowded)
    }

    private mutating func rewrite(
        _ progress: (_ done: UInt64, _ total: UInt64) -> Void
    ) throws(Ext4Error) -> DescriptorTable {
        guard old.blocksCount == new.blocksCount, old.blockSizeLog2 == new.blockSizeLog2,
            old.inodesCount == new.inodesCount, old.inodeSize == new.inodeSize,
            old.groupCount == new.groupCount, old.descriptorSize == new.descriptorSize,
            old.clustersPerGroup == new.clustersPerGroup
        else { throw .invalidArgument }
        guard changesAnything else { return DescriptorTable() }
        let groups = UInt64(old.groupCount)
        let stages: UInt64 = oldSeed == newSeed ? 1 : 2
        var done: UInt64 = 0
        if oldSeed != newSeed {
            for index in 0..<old.descriptorBlockCount {
                let block = try descriptorBlock(index)
                for slot in 0..<Int(descriptorCount(index)) {
                    let group = GroupNumber(
                        index &* old.descriptorsPerBlock &+ UInt32(truncatingIfNeeded: slot))
                    let descriptor = unsafe GroupDescriptor(
                        unchecked: block.span.bytes.extracting(range(ofDescriptor: slot)),
                        superblock: old)
                    try rewriteInodes(of: group, descriptor)
                    done &+= 1
                    progress(done, groups &* stages)
                }
            }
            try rewriteMultiMount()
        }
        let table = try newDescriptors { (group) in
            done &+= 1
            progress(done, groups &* stages)
        }
        try device.flush()
        return table
    }

    // MARK: Places

    func byteOffset(_ block: BlockNumber) -> UInt64 {
        block.rawValue << UInt64(old.blockSizeLog2)
    }

    /// How many descriptors block `index` of the table holds.
    func descriptorCount(_ index: UInt32) -> UInt32 {
        min(old.descriptorsPerBlock, old.groupCount &- index &* old.descriptorsPerBlock)
    }

    /// Where descriptor `slot` of a block stands.
    func range(ofDescriptor slot: Int) -> Range<Int> {
        slot &* old.descriptorSize..<(slot &+ 1) &* old.descriptorSize
    }

    /// A block of the volume, of which somebody says that it is a `structure`.
    func block(
        _ number: BlockNumber, _ structure: Corruption.Structure, _ place: Corruption.Place
    ) throws(Ext4Error) -> [UInt8] {
        guard old.contains(number) else {
            throw .corrupt(
                structure, at: place,
                .field("block number", value: number.rawValue, rule: "inside the volume"))
        }
        return try device.read(at: byteOffset(number), count: old.blockSize)
    }

    func write(_ block: [UInt8], to number: BlockNumber) throws(Ext4Error) {
        try unsafe device.write(block.span.bytes, at: byteOffset(number))
    }

    // MARK: Inodes

    /// Whether the marks of what was never used count.
    var hasMarks: Bool { old.hasDescriptorChecksums }

    /// The inodes of a group, and all that they lead to.
    private mutating func rewriteInodes(
        of group: GroupNumber, _ descriptor: GroupDescriptor
    ) throws(Ext4Error) {
        var count = old.inodesPerGroup
        if hasMarks {
            guard !descriptor.flags.contains(.inodeUninit) else { return }
            count &-= min(descriptor.unusedInodesCount, count)
        }
        guard count > 0 else { return }
        let bitmap = try block(descriptor.inodeBitmap, .inodeBitmap, .init(group: group))
        let size = old.inodeSize
        let perChunk = UInt32(max(Self.tableBytes, old.blockSize) / size)
        var first: UInt32 = 0
        while first < count {
            let part = min(perChunk, count &- first)
            let blocks = (Int(part) &* size &+ old.blockSize &- 1) >> old.blockSizeLog2
            let start = byteOffset(descriptor.inodeTable) &+ UInt64(first) &* UInt64(size)
            var chunk = try device.read(at: start, count: blocks << old.blockSizeLog2)
            var isChanged = false
            do {
                var span = chunk.mutableSpan
                var raw = unsafe span.mutableBytes
                for slot in 0..<part {
                    let index = first &+ slot
                    let number = InodeNumber(
                        group.rawValue &* old.inodesPerGroup &+ index &+ 1)
                    let from = Int(slot) &* size
                    var record = raw._mutatingExtracting(from..<from &+ size)
                    // A record that was never written stays one.
                    guard !record.bytes.isAllZero else { continue }
                    let isUsed = unsafe bitmap.span.bytes.isBitSet(Int(index))
                    if isUsed {
                        try check(record.bytes, number)
                        try rewriteContents(of: record.bytes, number)
                    }
                    InodeRecord.seal(&record, number: number, seed: newSeed)
                    isChanged = true
                }
            }
            if isChanged { try unsafe device.write(chunk.span.bytes, at: start) }
            first &+= part
        }
    }

    /// Checks the checksum of an inode in use: the old one or, of a rewrite that was broken off,
    /// the new one.
    private func check(_ record: RawSpan, _ number: InodeNumber) throws(Ext4Error) {
        guard let oldSeed, !InodeRecord.isSealed(record, number: number, seed: oldSeed),
            !InodeRecord.isSealed(record, number: number, seed: newSeed)
        else { return }
        // It says what is wrong.
        _ = try InodeRecord(
            parsing: record, number: number, superblock: old, verifiesChecksum: true)
    }

    /// What an inode in use leads to.
    private mutating func rewriteContents(
        of bytes: RawSpan, _ number: InodeNumber
    ) throws(Ext4Error) {
        let flags = InodeFlags(rawValue: bytes[InodeRecord.Layout.flags])
        let type = FileMode(rawValue: bytes[InodeRecord.Layout.mode]).type
        let hasBlocks = !flags.contains(.inlineData)
        let isOrphanFile = number == old.orphanFileInode && old.compatible.contains(.orphanFile)
        let isDirectory = type == .directory
        let hasTree =
            flags.contains(.extents)
            && bytes[ExtentNode.Header.depth.at(InodeRecord.Layout.block.lowerBound)] > 0
            && (type == .regular || type == .directory || type == .symlink)
            && bytes[ExtentNode.Header.magic.at(InodeRecord.Layout.block.lowerBound)]
                == ExtentNode.magic
        let hasAttributes =
            bytes[InodeRecord.Layout.fileACLLow] != 0 || bytes[InodeRecord.Layout.fileACLHigh] != 0
        guard hasAttributes || (hasBlocks && (hasTree || isDirectory || isOrphanFile)) else {
            return
        }
        let record = try InodeRecord(
            parsing: bytes, number: number, superblock: old, verifiesChecksum: false)
        let owners = Owners(
            record, number, old: old.checksumSeed, new: new.checksumSeed)
        if hasBlocks {
            var runs: [BlockRun] = []
            if hasTree {
                runs = try rewriteTree(
                    of: record, owners, collects: isDirectory || isOrphanFile)
            } else if isDirectory || isOrphanFile {
                runs = try FileMap(record, flags: flags, owner: owners.old, reader: reader)
                    .runs(volumeBlocks: old.blocksCount)
            }
            if isDirectory { try rewriteDirectory(flags, runs, owners) }
            if isOrphanFile { try rewriteOrphanFile(runs, owners) }
        }
        let attributes = try InodeAttributes(record, number: number, superblock: old)
        try rewriteAttributes(attributes.attributeBlock, of: number)
    }

    /// An inode as the checksums of its blocks know it, before and after.
    struct Owners {
        let old: BlockOwner
        let new: BlockOwner
        var inode: InodeNumber { old.inode }

        init(_ record: InodeRecord, _ number: InodeNumber, old: UInt32, new: UInt32) {
            let generation = record[InodeRecord.Layout.generation]
            self.old = BlockOwner(
                inode: number,
                checksumSeed: InodeRecord.checksumSeed(
                    number, generation: generation, seed: old))
            self.new = BlockOwner(
                inode: number,
                checksumSeed: InodeRecord.checksumSeed(
                    number, generation: generation, seed: new))
        }
    }

    // MARK: Attributes

    /// A block of attributes, which several inodes may share.
    private mutating func rewriteAttributes(
        _ number: BlockNumber, of inode: InodeNumber
    ) throws(Ext4Error) {
        guard number.rawValue != 0 else { return }
        let slot = Int(number.rawValue % UInt64(recentAttributes.count))
        guard recentAttributes[slot] != number.rawValue else { return }
        recentAttributes[slot] = number.rawValue
        var block = try block(number, .extendedAttribute, .init(inode: inode, block: number))
        let field = XAttrBlockHeader.Layout.checksum
        var span = block.mutableSpan
        var raw = unsafe span.mutableBytes
        do throws(Ext4Error) {
            _ = try XAttrBlockHeader(parsing: raw.bytes, at: number, checksumSeed: oldSeed)
        } catch {
            // Another inode came here before, or another rewrite.
            guard newSeed != nil || raw[field] == 0,
                (try? XAttrBlockHeader(parsing: raw.bytes, at: number, checksumSeed: newSeed))
                    != nil
            else { throw error }
        }
        let value =
            newSeed.map { XAttrBlockHeader.checksum(of: raw.bytes, at: number, seed: $0) } ?? 0
        guard raw[field] != value else { return }
        raw[field] = value
        try write(block, to: number)
    }
}
