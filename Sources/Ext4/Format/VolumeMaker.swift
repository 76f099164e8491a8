// Writing a new volume. Nothing reads it while it is made, so there is no journal and no cache: who
// makes it takes blocks and inodes, writes what they hold, and `finish` writes the maps, the
// descriptors and the superblock, that of group 0 last.
//
// What is taken is kept as ranges; a group from which nothing was taken costs its descriptor.

/// Makes a volume on a device.
package final class VolumeMaker {
    /// What it is made on.
    package let device: any BlockDevice
    /// What it is to be. While the size is open: the largest that it can become.
    package internal(set) var layout: VolumeLayout
    /// Whether the size is still open, and with it where bitmaps and inode tables lie.
    package internal(set) var isGrowing: Bool
    /// What the options said of the inodes of a volume of an open size.
    let askedInodes: (count: UInt64, ratio: UInt64?)
    /// Whether the device reads as zeros where nothing was written.
    package let isZeroed: Bool
    /// What the volume has in the superblock for its own files.
    var own = OwnFiles()
    /// The blocks that were taken, in whole clusters; not those of structures.
    var taken = NumberRanges()
    /// The inodes that were taken.
    var takenInodes = NumberRanges()
    /// Those of them that are directories.
    var directories = NumberRanges()
    /// Blocks of inode tables of which not every inode is known yet.
    var openTables: [UInt64: OpenTable] = [:]
    /// The blocks of inode tables that were written.
    var writtenTables = NumberRanges()
    /// What waits to be written in one piece.
    var tableQueue: WriteQueue
    /// From where on nothing was taken for data.
    var cursor: UInt64 = 0
    /// Free runs before the cursor: too short for what was looked for, or given back.
    var gaps: [Range<UInt64>] = []
    /// The unit that was looked at last.
    var lastUnit: (number: UInt32, unit: GroupUnit, clusters: NumberRanges)?
    /// What each owner uses of the inodes that were set, by user, by group and by project.
    var usage: [Usage] = [[:], [:], [:]]
    /// The bytes that are kept for quota files while the size is open.
    var quotaSizes = [Int](repeating: QuotaTree.roomyFile, count: 3)
    /// Whether the quota files are made at the end, when all is known that they count.
    var owesQuota = false
    /// Told how many groups are done, of how many.
    package var progress: ((UInt32, UInt32) -> Void)?
    /// The bytes that were written.
    package var writtenBytes: UInt64 = 0

    /// A block of an inode table.
    struct OpenTable {
        var bytes: [UInt8]
        var missing: UInt32
    }

    /// The inodes of the volume's own files, and where its own blocks are.
    struct OwnFiles {
        var journal: InodeNumber?
        var journalMap: [UInt8] = []
        var journalSize: UInt64 = 0
        var quotas: [(field: Field<UInt32>, inode: InodeNumber)] = []
        var orphanFile: InodeNumber?
        var projectQuota: InodeNumber?
        var mmpBlock: UInt64?
    }

    /// Makes the volume of `layout`.
    ///
    /// - Parameter isZeroed: the device reads as zeros everywhere.
    package init(_ device: any BlockDevice, _ layout: VolumeLayout, isZeroed: Bool)
        throws(Ext4Error)
    {
        self.device = device
        self.layout = layout
        self.isZeroed = isZeroed
        askedInodes = (0, nil)
        isGrowing = false
        tableQueue = WriteQueue(blockSize: layout.superblock.blockSize)
        reserveInodes()
        guard
            layout.superblock.blocksCount
                <= device.byteCount >> UInt64(layout.superblock.blockSizeLog2)
        else { throw .noSpace }
        if !isZeroed { try clearSignatures() }
    }

    /// Begins a volume of which the size comes last: the smallest that holds what it is given.
    ///
    /// - Parameters:
    ///   - options: with the block size, as data is written in blocks before the size is known.
    ///   - descriptorRoom: the blocks behind each copy of the superblock for descriptors; they
    ///     set how large the volume can become.
    package init(
        growingOn device: any BlockDevice, _ options: FormatOptions, descriptorRoom: UInt32
    ) throws(FormatProblem) {
        var options = options
        if options.backupCount == nil { options.backupCount = 1 }
        self.device = device
        isZeroed = true
        askedInodes = (options.inodeCount ?? 0, options.inodeRatio)
        isGrowing = true
        layout = try VolumeLayout.largest(options, descriptorRoom: descriptorRoom)
        tableQueue = WriteQueue(blockSize: layout.superblock.blockSize)
        reserveInodes()
    }

    /// The superblock as far as it is known: features, sizes, seeds.
    package var superblock: Superblock { layout.superblock }
    /// The size of a block in bytes.
    package var blockSize: Int { layout.superblock.blockSize }
    /// The time of everything that the volume has of itself.
    package var time: Timestamp { layout.options.time }

    /// The first inode that is nobody's yet: those before it are reserved, lost+found's, and the
    /// volume's own.
    package private(set) var firstFreeInode = InodeNumber(0)

    /// Takes the reserved inodes and those of the volume's own files, which come behind
    /// lost+found's.
    private func reserveInodes() {
        let first = superblock.firstInode.rawValue
        takenInodes.insert(1..<UInt64(first))
        var next = first + 1
        func take() -> InodeNumber {
            takenInodes.insert(UInt64(next)..<UInt64(next) + 1)
            next += 1
            return InodeNumber(next - 1)
        }
        if layout.quotas.contains(.project) { own.projectQuota = take() }
        if layout.orphanFileBlocks > 0 { own.orphanFile = take() }
        firstFreeInode = InodeNumber(next)
    }

    /// Takes away what would make another file system, or a RAID, of the device.
    private func clearSignatures() throws(Ext4Error) {
        let size = min(
            superblock.blocksCount << UInt64(superblock.blockSizeLog2), device.byteCount)
        let start: UInt64 = 128 << 10
        let end: UInt64 = 64 << 10
        try device.writeZeros(at: 0, count: min(start, size))
        if size > start + 2 * end {
            let from = size / end * end - end
            try device.writeZeros(at: from, count: size - from)
        }
    }

    // MARK: Units

    /// The structures around `block`: its unit, and what they take in whole clusters.
    func unit(at block: UInt64) throws(Ext4Error) -> (GroupUnit, NumberRanges) {
        let group = (block - UInt64(superblock.firstDataBlock)) / UInt64(superblock.blocksPerGroup)
        let number =
            isGrowing ? UInt32(group) : UInt32(group / UInt64(layout.groupsPerUnit))
        return try unit(number)
    }

    func unit(_ number: UInt32) throws(Ext4Error) -> (GroupUnit, NumberRanges) {
        if let lastUnit, lastUnit.number == number { return (lastUnit.unit, lastUnit.clusters) }
        let unit = isGrowing ? layout.bareUnit(number) : try layout.unit(number)
        let clusters = clusters(of: unit.structures)
        lastUnit = (number, unit, clusters)
        return (unit, clusters)
    }

    /// Ranges of blocks, rounded up to whole clusters.
    func clusters(of blocks: NumberRanges) -> NumberRanges {
        guard superblock.clusterRatioLog2 > 0 else { return blocks }
        var clusters = NumberRanges()
        for range in blocks.ranges {
            clusters.insert(
                wholeClusters(
                    range.lowerBound, up: false)..<wholeClusters(
                        range.upperBound, up: true))
        }
        return clusters
    }

    func wholeClusters(_ count: UInt64, up: Bool) -> UInt64 {
        let ratio: UInt64 = 1 << UInt64(superblock.clusterRatioLog2)
        return (up ? count + ratio - 1 : count) & ~(ratio - 1)
    }

    // MARK: Writing

    /// Writes blocks of the volume.
    package func write(_ bytes: RawSpan, atBlock block: UInt64) throws(Ext4Error) {
        writtenBytes += UInt64(bytes.byteCount)
        try device.write(bytes, at: block << UInt64(superblock.blockSizeLog2))
    }

    /// Writes blocks of the volume.
    package func write(_ bytes: [UInt8], atBlock block: UInt64) throws(Ext4Error) {
        try write(unsafe bytes.span.bytes, atBlock: block)
    }
}
