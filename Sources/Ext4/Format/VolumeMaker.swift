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
    package private(set) var layout: VolumeLayout
    /// Whether the size is still open, and with it where bitmaps and inode tables lie.
    package private(set) var isGrowing: Bool
    /// Whether the device reads as zeros where nothing was written.
    package let isZeroed: Bool
    /// What the volume has in the superblock for its own files.
    var own = OwnFiles()
    /// The blocks that were taken, in whole clusters; not those of structures.
    var taken = NumberRanges()
    /// The blocks that were written and given back: whoever needs zeros there writes them.
    var stale = NumberRanges()
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
    private var lastUnit: (number: UInt32, unit: GroupUnit, clusters: NumberRanges)?
    /// What each owner uses of the inodes that were set, by user, by group and by project.
    var usage: [Usage] = [[:], [:], [:]]
    /// The bytes that are kept for quota files while the size is open.
    private var quotaSizes = [Int](repeating: QuotaTree.roomyFile, count: 3)
    /// What the options said of inodes before the size was left open.
    private var askedInodes: UInt64 = 0
    private var inodeRatio: UInt64?
    /// What a volume of an open size keeps for descriptors, if not with meta_bg.
    private var descriptorRoom: UInt32 = 0
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
        (askedInodes, inodeRatio) = (options.inodeCount ?? 0, options.inodeRatio)
        self.descriptorRoom = descriptorRoom
        if options.backupCount == nil { options.backupCount = 1 }
        self.device = device
        isZeroed = true
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

    // MARK: The size

    /// Fixes the size of a growing volume: bitmaps and tables come behind what was written, then
    /// what is left free.
    ///
    /// - Parameters:
    ///   - inodeCount: how many inodes there must be; what is left free has more, by the ratio of
    ///     the options, and if they have a count it is that at the least.
    ///   - freeBlocks: how many blocks must be left when the volume's own files are made.
    ///   - owners: who is in the quota files, by user, by group and by project; nil for some
    ///     hundred of each.
    package func settle(
        inodeCount: UInt64, freeBlocks: UInt64, owners: [Set<UInt32>]? = nil
    ) throws(FormatProblem) {
        guard isGrowing else { return }
        if let owners { quotaSizes = owners.map { QuotaTree.byteCount(of: $0) } }
        var options = layout.options
        options.blockSize = blockSize
        options.inodeRatio = nil
        let room = descriptorRoom
        let end = max(
            wholeClusters(taken.ranges.last?.upperBound ?? 0, up: true),
            layout.copies(in: 0).last?.upperBound ?? 1)
        let most = superblock.blocksCount
        let ratio: UInt64 = 1 << UInt64(superblock.clusterRatioLog2)
        var count = wholeClusters(end + freeBlocks + 8, up: true)
        let log2 = UInt64(superblock.blockSizeLog2)
        let usual = FormatDefaults(options.kind, options.usage, byteCount: count << log2)
        let spare = (freeBlocks << log2) / (inodeRatio ?? usual.inodeRatio)
        options.inodeCount = max(inodeCount + spare, askedInodes)
        if options.journalMebibytes != nil, superblock.compatible.contains(.hasJournal) {
            count = max(count, FormatDefaults.smallestWithJournal)
        }
        // Each turn adds what was missing, at least a cluster.
        while count <= most {
            switch try attempt(options, count, room: room, packedStart: end, freeBlocks) {
            case .fits(let fitting, let surplus):
                let layout = smallest(fitting, surplus) { (count) throws(FormatProblem) in
                    try attempt(options, count, room: room, packedStart: end, freeBlocks)
                }
                self.layout = layout
                if layout.orphanFileBlocks == 0, let inode = own.orphanFile {
                    // It went with the journal that a small volume has no room for.
                    takenInodes.remove(UInt64(inode.rawValue)..<UInt64(inode.rawValue) + 1)
                    own.orphanFile = nil
                }
                isGrowing = false
                lastUnit = nil
                gaps = []
                cursor = 0
                return
            case .lacks(let missing): count += max(wholeClusters(missing, up: true), ratio)
            }
        }
        throw FormatProblem("the contents are too large for a volume of an open size; give a size")
    }

    private enum Attempt {
        case fits(VolumeLayout, surplus: UInt64)
        case lacks(UInt64)
    }

    /// The smallest volume that holds everything, from one that does and has blocks to spare: what
    /// a small one lacks is not always known exactly.
    private func smallest(
        _ fitting: VolumeLayout, _ surplus: UInt64,
        _ attempt: (UInt64) throws(FormatProblem) -> Attempt
    ) -> VolumeLayout {
        var layout = fitting
        var cut = wholeClusters(surplus, up: false)
        while cut > 0 {
            let count = layout.superblock.blocksCount
            // A journal that was promised stays.
            if count > cut, case .fits(let smaller, let rest) = try? attempt(count - cut),
                smaller.journalBlocks == layout.journalBlocks
            {
                layout = smaller
                cut = min(cut, wholeClusters(rest, up: false))
            } else {
                cut = wholeClusters(cut / 2, up: false)
            }
        }
        return layout
    }

    /// Whether a volume of `count` blocks holds everything.
    private func attempt(
        _ options: FormatOptions, _ count: UInt64, room: UInt32, packedStart: UInt64,
        _ freeBlocks: UInt64
    ) throws(FormatProblem) -> Attempt {
        // Small volumes are no error yet: they grow.
        var layout: VolumeLayout
        var options = options
        if let wanted = options.inodeCount {
            let bytes = count << UInt64(superblock.blockSizeLog2)
            let needed = wanted * UInt64(superblock.inodeSize)
            if needed >= bytes { return .lacks((needed - bytes) / UInt64(blockSize) + 1) }
            options.inodeCount = max(wanted, 12)
        }
        do throws(FormatProblem) {
            let byteCount = count << UInt64(superblock.blockSizeLog2)
            layout = try VolumeLayout(
                options, byteCount: byteCount, descriptorRoom: room, packedStart: packedStart)
            // Inodes of a group are a multiple of 8, rounded down.
            let wanted = options.inodeCount ?? 0
            if UInt64(layout.superblock.inodesCount) < wanted {
                options.inodeCount = wanted + 8 * UInt64(layout.superblock.groupCount)
                layout = try VolumeLayout(
                    options, byteCount: byteCount, descriptorRoom: room, packedStart: packedStart)
            }
        } catch {
            // By how much is not known: what is too much is cut off again.
            let step = max(16, count / 8)
            if count + step <= superblock.blocksCount { return .lacks(step) }
            throw error
        }
        // The copies of the superblock in the last group must not be cut.
        let last = layout.superblock.groupCount - 1
        let copies = layout.copies(in: last).reduce(0) { $0 + UInt64($1.count) }
        let rest = layout.blocks(of: last)
        if rest.upperBound - rest.lowerBound < copies + 1 {
            return .lacks(copies + 1 - (rest.upperBound - rest.lowerBound))
        }
        guard let unit = try? layout.unit(0) else {
            return .lacks(UInt64(layout.superblock.inodeTableBlocks) / 4 + 1)
        }
        let all = rest.upperBound - UInt64(layout.superblock.firstDataBlock)
        var used = taken
        for range in clusters(of: unit.structures).ranges { used.insert(range) }
        let usedCount = used.count(in: 0..<rest.upperBound)
        let needed = usedCount + layout.ownFileBlocks(quotaSizes: quotaSizes) + freeBlocks
        return needed <= all ? .fits(layout, surplus: all - needed) : .lacks(needed - all)
    }
}
