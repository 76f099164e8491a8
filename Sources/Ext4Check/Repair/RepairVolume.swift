import Ext4

/// A volume under repair: reads and writes its structures by their places, without a thought for
/// whether what they lead to is sound, and gives each its checksum.
final class RepairVolume {
    let device: RepairOverlay
    /// The superblock, whose sizes hold by now.
    let superblock: Superblock
    /// Where each group's structures are.
    private(set) var descriptors: [GroupDescriptor]
    /// The descriptors' blocks.
    let format: DirectoryFormat
    /// Which blocks are taken, by cluster; those that were taken in this round are added.
    private let isTaken: (UInt64) -> Bool
    private var taken: Set<UInt64> = []
    private var cursor: UInt64 = 0
    private var isFull = false

    /// - Parameter isTaken: whether anything claims a block.
    init(
        _ device: RepairOverlay, superblock: Superblock, descriptors: [GroupDescriptor],
        isTaken: @escaping (_ block: UInt64) -> Bool
    ) {
        self.device = device
        self.superblock = superblock
        self.descriptors = descriptors
        self.isTaken = isTaken
        format = DirectoryFormat(superblock)
    }

    var blockSize: Int { superblock.blockSize }

    // MARK: Blocks

    private func byteOffset(of block: UInt64) -> UInt64? {
        guard block < superblock.blocksCount else { return nil }
        return block << UInt64(superblock.blockSizeLog2)
    }

    /// The bytes of a block; nil when it is none of the volume's or cannot be read.
    func block(_ number: UInt64) -> Record? {
        guard let start = byteOffset(of: number) else { return nil }
        return (try? device.read(at: start, count: blockSize)).map { Record($0) }
    }

    func setBlock(_ number: UInt64, _ record: Record) throws(Ext4Error) {
        guard let start = byteOffset(of: number), record.bytes.count == blockSize else {
            throw .invalidArgument
        }
        try unsafe device.write(record.bytes.span.bytes, at: start)
    }

    /// A block of zeros.
    var zeroes: Record { Record([UInt8](repeating: 0, count: blockSize)) }

    // MARK: Inodes

    private func byteOffset(ofInode number: UInt32) -> UInt64? {
        guard number >= 1, number <= superblock.inodesCount else { return nil }
        let index = number &- 1
        let group = Int(index / superblock.inodesPerGroup)
        guard group < descriptors.count else { return nil }
        let inside = UInt64(index % superblock.inodesPerGroup) &* UInt64(superblock.inodeSize)
        let table = descriptors[group].inodeTable
        guard superblock.contains(table, count: UInt64(superblock.inodeTableBlocks)) else {
            return nil
        }
        return table.rawValue << UInt64(superblock.blockSizeLog2) &+ inside
    }

    /// The bytes of an inode; nil when there is none or it cannot be read.
    func inode(_ number: UInt32) -> Record? {
        guard let start = byteOffset(ofInode: number) else { return nil }
        return (try? device.read(at: start, count: superblock.inodeSize)).map { Record($0) }
    }

    /// Writes an inode with its checksum; zeros stay zeros.
    func setInode(_ number: UInt32, _ record: Record) throws(Ext4Error) {
        guard let start = byteOffset(ofInode: number) else { throw .invalidArgument }
        var record = record
        if !record.bytes.allSatisfy({ $0 == 0 }) { seal(&record, ofInode: number) }
        try unsafe device.write(record.bytes.span.bytes, at: start)
    }

    /// Changes an inode that can be read.
    func changeInode(
        _ number: UInt32, _ body: (inout Record) -> Void
    ) throws(Ext4Error) {
        guard var record = inode(number) else { return }
        body(&record)
        try setInode(number, record)
    }

    private func seal(_ record: inout Record, ofInode number: UInt32) {
        guard superblock.hasMetadataChecksums else { return }
        typealias Layout = InodeRecord.Layout
        let hasHigh =
            record.bytes.count > InodeRecord.goodOldSize
            && Int(record[Layout.extraSize]) + InodeRecord.goodOldSize >= Layout.checksumHigh.end
        let checksum = record.withBytes {
            InodeRecord.checksum(
                of: $0, number: InodeNumber(number), hasHighHalf: hasHigh,
                seed: superblock.checksumSeed)
        }
        record[Layout.checksumLow] = UInt16(truncatingIfNeeded: checksum)
        if hasHigh { record[Layout.checksumHigh] = UInt16(truncatingIfNeeded: checksum >> 16) }
    }

    /// What the checksums of an inode's own blocks start from.
    func owner(_ number: UInt32, _ record: Record) -> BlockOwner {
        BlockOwner(
            inode: InodeNumber(number),
            checksumSeed: InodeRecord.checksumSeed(
                InodeNumber(number), generation: record[InodeRecord.Layout.generation],
                seed: superblock.checksumSeed))
    }

    // MARK: Groups and superblock

    /// Where a group's descriptor stands.
    private func byteOffset(ofDescriptor group: UInt32) -> UInt64 {
        let perBlock = superblock.descriptorsPerBlock
        let block = superblock.location(
            ofDescriptorBlock: group / perBlock, copyOf: GroupNumber(0))
        return block.rawValue << UInt64(superblock.blockSizeLog2)
            &+ UInt64(group % perBlock) &* UInt64(superblock.descriptorSize)
    }

    /// Changes a group's descriptor and gives it its checksum.
    func changeDescriptor(_ group: UInt32, _ body: (inout Record) -> Void) throws(Ext4Error) {
        guard group < superblock.groupCount else { return }
        let start = byteOffset(ofDescriptor: group)
        var record = Record(try device.read(at: start, count: superblock.descriptorSize))
        body(&record)
        let checksum = record.withBytes {
            GroupDescriptor.checksum(of: $0, group: GroupNumber(group), superblock: superblock)
        }
        if let checksum { record[GroupDescriptor.Layout.checksum] = checksum }
        try unsafe device.write(record.bytes.span.bytes, at: start)
        let parsed = try? unsafe GroupDescriptor(
            parsing: record.bytes.span.bytes, group: GroupNumber(group), superblock: superblock,
            verifiesChecksum: false)
        if let parsed { descriptors[Int(group)] = parsed }
    }

    /// Changes the superblock and gives it its checksum.
    func changeSuperblock(_ body: (inout Record) -> Void) throws(Ext4Error) {
        var record = Record(
            try device.read(at: Superblock.byteOffset, count: Superblock.byteCount))
        body(&record)
        let features = ReadOnlyCompatibleFeatures(
            rawValue: record[Superblock.Layout.readOnlyCompatible])
        if features.contains(.metadataCsum), record[Superblock.Layout.revision] > 0 {
            record[Superblock.Layout.checksum] = record.withBytes { Superblock.checksum(of: $0) }
        }
        try unsafe device.write(record.bytes.span.bytes, at: Superblock.byteOffset)
    }

    // MARK: Space

    private var clusterBlocks: UInt64 { 1 << UInt64(superblock.clusterRatioLog2) }

    /// The first block of a cluster that nothing claims, taken from now on; nil on a full volume.
    func allocateCluster() -> UInt64? {
        guard !isFull else { return nil }
        let step = clusterBlocks
        let first = UInt64(superblock.firstDataBlock)
        var block = max(cursor, first)
        while block < superblock.blocksCount {
            defer { block &+= step }
            let whole = block &+ step <= superblock.blocksCount
            guard whole, block > first, !taken.contains(block), !isTaken(block) else { continue }
            taken.insert(block)
            cursor = block &+ step
            return block
        }
        isFull = true
        return nil
    }

    /// `count` blocks, each in a cluster of its own or with its neighbours; nil, and nothing taken,
    /// when there is not enough room.
    func allocate(_ count: Int) -> [UInt64]? {
        var blocks: [UInt64] = []
        while blocks.count < count {
            guard let start = allocateCluster() else {
                // What was taken stays so until the round ends.
                return nil
            }
            for i in 0..<clusterBlocks where blocks.count < count { blocks.append(start &+ i) }
        }
        return blocks
    }

    /// Blocks for nodes of a map, one a cluster.
    func allocateNodes(_ count: Int) -> [UInt64]? {
        var blocks: [UInt64] = []
        for _ in 0..<count {
            guard let block = allocateCluster() else { return nil }
            blocks.append(block)
        }
        return blocks
    }

    /// `count` blocks that follow each other, anywhere or in one group.
    func allocateRun(_ count: UInt64, in group: GroupNumber? = nil) -> UInt64? {
        let step = clusterBlocks
        let first =
            group.map { superblock.firstBlock(of: $0).rawValue }
            ?? UInt64(superblock.firstDataBlock)
        let limit =
            group == nil
            ? superblock.blocksCount
            : min(superblock.blocksCount, first + UInt64(superblock.blocksPerGroup))
        var start = first
        var length: UInt64 = 0
        var block = first
        while block < limit {
            if block == first || taken.contains(block) || isTaken(block) {
                start = block &+ step
                length = 0
            } else {
                length &+= step
                if length >= count {
                    guard start &+ count <= limit else { return nil }
                    var cluster = start
                    while cluster < start &+ count {
                        taken.insert(cluster)
                        cluster &+= step
                    }
                    return start
                }
            }
            block &+= step
        }
        return nil
    }
}
