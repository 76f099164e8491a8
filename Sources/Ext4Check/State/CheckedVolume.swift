package import Ext4

/// A volume as a check sees it: its bytes, a superblock that can be calculated with, and the
/// descriptors as they stand, sound or not.
package final class CheckedVolume: Sendable {
    /// Where the bytes come from.
    package let device: any BlockDevice
    /// The superblock that the check goes by: the primary one, or a backup.
    package let superblock: Superblock
    /// Its bytes.
    package let superblockBytes: [UInt8]
    /// Where it starts, in bytes.
    package let superblockOffset: UInt64
    /// The group whose copies of superblock and descriptors are used: 0 for the primary ones.
    package let sourceGroup: GroupNumber
    /// The groups' descriptors, as they stand.
    package let descriptors: [GroupDescriptor]

    /// The size of a block in bytes.
    package let blockSize: Int
    let blockSizeLog2: UInt64
    let inodeSize: Int
    let inodesPerGroup: UInt32
    let blocksCount: UInt64
    let firstDataBlock: UInt64
    let clusterRatioLog2: UInt64
    let hasChecksums: Bool
    let directoryFormat: DirectoryFormat

    init(
        _ device: any BlockDevice, superblock: Superblock, bytes: [UInt8], byteOffset: UInt64,
        sourceGroup: GroupNumber
    ) throws(Ext4Error) {
        self.device = device
        self.superblock = superblock
        superblockBytes = bytes
        superblockOffset = byteOffset
        self.sourceGroup = sourceGroup
        blockSize = superblock.blockSize
        blockSizeLog2 = UInt64(superblock.blockSizeLog2)
        inodeSize = superblock.inodeSize
        inodesPerGroup = superblock.inodesPerGroup
        blocksCount = superblock.blocksCount
        firstDataBlock = UInt64(superblock.firstDataBlock)
        clusterRatioLog2 = UInt64(superblock.clusterRatioLog2)
        hasChecksums = superblock.hasMetadataChecksums
        directoryFormat = DirectoryFormat(superblock)
        descriptors = try Self.readDescriptors(device, superblock, copyOf: sourceGroup)
    }

    private static func readDescriptors(
        _ device: any BlockDevice, _ superblock: Superblock, copyOf source: GroupNumber
    ) throws(Ext4Error) -> [GroupDescriptor] {
        let perBlock = superblock.descriptorsPerBlock
        let size = superblock.descriptorSize
        var descriptors: [GroupDescriptor] = []
        descriptors.reserveCapacity(Int(superblock.groupCount))
        var block = [UInt8](repeating: 0, count: superblock.blockSize)
        for number in 0..<superblock.groupCount {
            let slot = Int(number % perBlock)
            if slot == 0 {
                let place = superblock.location(
                    ofDescriptorBlock: number / perBlock, copyOf: source)
                try device.readOrZeros(
                    at: place.rawValue << UInt64(superblock.blockSizeLog2), into: &block)
            }
            descriptors.append(
                GroupDescriptor(
                    unchecked: unsafe block.span.bytes.extracting(slot * size..<(slot + 1) * size),
                    superblock: superblock))
        }
        return descriptors
    }

    // MARK: Places

    /// The group of an inode of the volume.
    package func group(of inode: InodeNumber) -> GroupNumber {
        GroupNumber((inode.rawValue &- 1) / inodesPerGroup)
    }

    /// Where an inode of the volume starts, in bytes.
    package func byteOffset(of inode: InodeNumber) -> UInt64 {
        let index = inode.rawValue &- 1
        let group = Int(min(index / inodesPerGroup, superblock.groupCount &- 1))
        return descriptors[group].inodeTable.rawValue &<< blockSizeLog2
            &+ UInt64(index % inodesPerGroup) &* UInt64(inodeSize)
    }

    /// Whether `count` blocks from `block` on lie in the volume, behind its first one.
    func contains(_ block: UInt64, count: UInt64 = 1) -> Bool {
        block > firstDataBlock && block < blocksCount && count <= blocksCount &- block
    }

    /// The clusters that hold blocks of the volume.
    func clusters(of start: UInt64, count: UInt64) -> Range<UInt64> {
        guard count > 0 else { return 0..<0 }
        let first = (start &- firstDataBlock) >> clusterRatioLog2
        return first..<((start &- firstDataBlock &+ count &- 1) >> clusterRatioLog2) &+ 1
    }

    /// The blocks of a group that hold copies of superblock and descriptors, and the room that the
    /// descriptors may grow into.
    func copies(of group: GroupNumber) -> BlockRange {
        let start = superblock.firstBlock(of: group)
        var count = UInt64(superblock.copiedBlockCount(of: group))
        // With blocks of 1 KiB and clusters the first block of all comes before the superblock.
        if group.rawValue == 0, blockSize == 1024, firstDataBlock == 0 { count += 1 }
        return BlockRange(start: start, count: min(count, blocksCount - start.rawValue))
    }

    // MARK: Reading

    /// Reads a block; what lies behind the end of the device is zeros.
    package func read(_ block: BlockNumber, into bytes: inout [UInt8]) throws(Ext4Error) {
        try device.readOrZeros(at: block.rawValue &<< blockSizeLog2, into: &bytes)
    }

    /// Reads a block.
    package func block(_ block: BlockNumber) throws(Ext4Error) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: blockSize)
        try read(block, into: &bytes)
        return bytes
    }

    /// Reads the bytes of an inode of the volume.
    package func inodeBytes(_ number: InodeNumber) throws(Ext4Error) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: inodeSize)
        try device.readOrZeros(at: byteOffset(of: number), into: &bytes)
        return bytes
    }
}

extension BlockDevice {
    /// Fills `bytes` from `byteOffset` on, with zeros where the device has no more.
    func readOrZeros(at byteOffset: UInt64, into bytes: inout [UInt8]) throws(Ext4Error) {
        let total = UInt64(bytes.count)
        let there = byteOffset < byteCount ? min(total, byteCount &- byteOffset) : 0
        var span = bytes.mutableSpan
        var raw = unsafe span.mutableBytes
        if there > 0 {
            var part = raw._mutatingExtracting(0..<Int(there))
            try read(at: byteOffset, into: &part)
        }
        if there < total { raw.clear(Int(there)..<Int(total)) }
    }
}
