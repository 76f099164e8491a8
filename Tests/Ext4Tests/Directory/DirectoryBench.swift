import Testing

@testable import Ext4

/// A device that keeps the blocks that were written.
final class BlockMapDevice: BlockDevice {
    let byteCount: UInt64
    let isReadOnly = false
    private let blockSize: Int
    private let blocks = Guarded<[UInt64: [UInt8]]>([:])

    init(blockSize: Int, blockCount: UInt64) {
        self.blockSize = blockSize
        byteCount = UInt64(blockSize) * blockCount
    }

    func read(at byteOffset: UInt64, into bytes: inout MutableRawSpan) throws(Ext4Error) {
        try checkBounds(.read, at: byteOffset, count: bytes.byteCount)
        let size = UInt64(blockSize)
        precondition(byteOffset % size == 0 && bytes.byteCount == blockSize)
        let block = blocks.withLock { $0[byteOffset / size] }
        bytes.clear()
        if let block { unsafe bytes.copy(from: block.span.bytes) }
    }

    func write(_ bytes: RawSpan, at byteOffset: UInt64) throws(Ext4Error) {
        try checkBounds(.write, at: byteOffset, count: bytes.byteCount)
        precondition(bytes.byteCount % blockSize == 0)
        for i in 0..<bytes.byteCount / blockSize {
            let copy = bytes.copy(i * blockSize..<(i + 1) * blockSize)
            blocks.withLock { $0[byteOffset / UInt64(blockSize) + UInt64(i)] = copy }
        }
    }

    func flush() throws(Ext4Error) {}
}

/// One directory on a volume that is nothing but its blocks.
final class DirectoryBench {
    struct Options: CustomTestStringConvertible, Sendable {
        var blockSizeLog2 = 10
        var hasChecksums = true
        /// Nil for a volume without the feature dir_index.
        var hashVersion: UInt8? = 1
        var isUnsigned = false
        var hasTypes = true
        var hasLargeDir = false
        var flags: InodeFlags = .extents

        var testDescription: String {
            "\(1 << blockSizeLog2) bytes, hash \(hashVersion.map(String.init) ?? "none")"
                + (hasChecksums ? ", checksums" : "") + (hasTypes ? "" : ", no types")
                + (hasLargeDir ? ", large_dir" : "") + (isUnsigned ? ", unsigned" : "")
        }
    }

    typealias Entry = DirectoryRecord.Target

    static let owner = BlockOwner(inode: InodeNumber(12), checksumSeed: 0x1234_5678)
    static let parent = InodeNumber(2)
    /// Where the blocks of the directory start on the volume.
    static let firstBlock: UInt64 = 100
    static let maximumBlocks: UInt64 = 32768

    /// The features may change; the geometry may not.
    var superblock: Superblock
    let device: BlockMapDevice
    let journal: Journal
    private(set) var cache: BufferCache
    private let record: InodeRecord
    var blockCount: UInt64 = 0
    var flags: InodeFlags
    /// How many blocks may still be appended before there are no more.
    var growths = Int.max

    init(_ options: Options = .init()) throws {
        superblock = try Self.superblock(options)
        let blockSize = superblock.blockSize
        device = BlockMapDevice(blockSize: blockSize, blockCount: superblock.blocksCount)
        journal = Journal(
            withoutLog: device, blockSize: blockSize, hasChecksums: options.hasChecksums,
            clock: { Timestamp(seconds: 1_700_000_000) }, log: .none)
        cache = Self.cache(device, superblock)
        flags = options.flags

        var root = [UInt8](repeating: 0, count: 256)
        do {
            var span = root.mutableSpan
            var bytes = unsafe span.mutableBytes
            let base = InodeRecord.Layout.block.lowerBound
            let entry = base + ExtentNode.entrySize
            bytes[ExtentNode.Header.magic.at(base)] = ExtentNode.magic
            bytes[ExtentNode.Header.entries.at(base)] = 1
            bytes[ExtentNode.Header.maximum.at(base)] = 4
            bytes[ExtentNode.Leaf.length.at(entry)] = UInt16(Self.maximumBlocks)
            bytes[ExtentNode.Leaf.startLow.at(entry)] = UInt32(Self.firstBlock)
        }
        record = try InodeRecord(
            parsing: unsafe root.span.bytes, number: Self.owner.inode, superblock: superblock,
            verifiesChecksum: false)
        try journal.withHandle(credits: 0) { (handle) throws(Ext4Error) in
            let (_, buffer) = try grow(&handle)
            Directory.initialize(
                buffer, owner: Self.owner, parent: Self.parent, superblock: superblock,
                in: &handle)
        }
    }

    static func superblock(_ options: Options) throws -> Superblock {
        typealias Layout = Superblock.Layout
        var bytes = SuperblockBytes()
        let blockSize = UInt32(1) << UInt32(options.blockSizeLog2)
        let perGroup = min(8 * blockSize, 65528)
        let groups = (40_000 + perGroup - 1) / perGroup
        bytes[Layout.logBlockSize] = UInt32(options.blockSizeLog2 - 10)
        bytes[Layout.logClusterSize] = UInt32(options.blockSizeLog2 - 10)
        bytes[Layout.firstDataBlock] = options.blockSizeLog2 == 10 ? 1 : 0
        bytes[Layout.blocksPerGroup] = perGroup
        bytes[Layout.clustersPerGroup] = perGroup
        bytes[Layout.blocksCountLow] = groups * perGroup
        bytes[Layout.inodesPerGroup] = perGroup & ~7
        bytes[Layout.inodesCount] = groups * (perGroup & ~7)
        for (i, word) in [0x0123_4567, 0x89AB_CDEF, 0xDEAD_BEEF, 0x1357_9BDF].enumerated() {
            bytes[Layout.hashSeed.at(4 * i)] = UInt32(word)
        }
        bytes[Layout.flags] = options.isUnsigned ? 2 : 1
        if let version = options.hashVersion {
            bytes[Layout.compatible] = CompatibleFeatures.dirIndex.rawValue
            bytes[Layout.defaultHashVersion] = version
        }
        var incompatible: IncompatibleFeatures = [.extents]
        if options.hasTypes { incompatible.insert(.filetype) }
        if options.hasLargeDir { incompatible.insert(.largeDir) }
        bytes[Layout.incompatible] = incompatible.rawValue
        if options.hasChecksums {
            bytes[Layout.readOnlyCompatible] = ReadOnlyCompatibleFeatures.metadataCsum.rawValue
            bytes[Layout.checksumType] = 1
            bytes[Layout.checksum] = Superblock.checksum(of: unsafe bytes.bytes.span.bytes)
        }
        return try bytes.parse()
    }

    private static func cache(_ device: BlockMapDevice, _ superblock: Superblock) -> BufferCache {
        BufferCache(
            device: device, blockSizeLog2: superblock.blockSizeLog2, byteBudget: 1 << 30)
    }

    /// The directory as its inode would give it now.
    var directory: Directory {
        get throws(Ext4Error) {
            let reader = BlockReader(
                superblock: superblock, cache: cache, verifiesChecksums: true, log: .none)
            return try Directory(
                reader, owner: Self.owner, flags: flags,
                map: FileMap(record, flags: .extents, owner: Self.owner, reader: reader),
                size: blockCount << UInt64(superblock.blockSizeLog2))
        }
    }

    func grow(_ handle: inout Handle) throws(Ext4Error) -> (LogicalBlock, Buffer) {
        guard growths > 0, blockCount < Self.maximumBlocks else { throw .noSpace }
        growths -= 1
        let block = LogicalBlock(blockCount)
        blockCount += 1
        handle.onFailure { [self] _ in blockCount -= 1 }
        let buffer = handle.fresh(
            BlockNumber(Self.firstBlock + block.rawValue), in: cache, seal: .none)
        return (block, buffer)
    }

    // MARK: Operations

    func insert(_ name: [UInt8], _ entry: Entry) throws(Ext4Error) {
        let insertion = try journal.withHandle(credits: 0) { (handle) throws(Ext4Error) in
            try insert(name, entry, in: &handle)
        }
        note(insertion)
    }

    func insert(
        _ name: [UInt8], _ entry: Entry, in handle: inout Handle
    ) throws(Ext4Error) -> Directory.Insertion {
        try directory.insert(
            unsafe name.span.bytes, inode: entry.inode, type: entry.type, in: &handle
        ) { (handle) throws(Ext4Error) in
            try grow(&handle)
        }
    }

    func note(_ insertion: Directory.Insertion) {
        switch insertion {
        case .kept: break
        case .madeIndex: flags.insert(.index)
        case .droppedIndex: flags.remove(.index)
        }
    }

    func remove(_ name: [UInt8]) throws(Ext4Error) -> Entry {
        try journal.withHandle(credits: 0) { (handle) throws(Ext4Error) in
            let old = try directory.remove(unsafe name.span.bytes, in: &handle)
            return Entry(inode: old.inode, type: old.type)
        }
    }

    func replace(_ name: [UInt8], _ entry: Entry) throws(Ext4Error) -> Entry {
        try journal.withHandle(credits: 0) { (handle) throws(Ext4Error) in
            let old = try directory.replace(
                unsafe name.span.bytes, inode: entry.inode, type: entry.type, in: &handle)
            return Entry(inode: old.inode, type: old.type)
        }
    }

    func find(_ name: [UInt8]) throws(Ext4Error) -> Entry? {
        let record = try directory.find(unsafe name.span.bytes)
        return record.map { Entry(inode: $0.inode, type: $0.type) }
    }

    /// Up to `count` entries from `position` on, and the position behind them; nil at the end.
    func list(
        from position: UInt64, count: Int
    ) throws(Ext4Error) -> (entries: [(name: [UInt8], entry: Entry)], next: UInt64)? {
        var entries: [(name: [UInt8], entry: Entry)] = []
        var next = position
        try directory.list(from: position) { (entry, name) in
            entries.append((name.copy(), Entry(inode: entry.inode, type: entry.type)))
            next = entry.next
            return entries.count < count
        }
        return entries.isEmpty ? nil : (entries, next)
    }

    /// Everything, in one listing.
    func all() throws(Ext4Error) -> [(name: [UInt8], entry: Entry)] {
        try list(from: 0, count: .max)?.entries ?? []
    }

    /// Writes all blocks and forgets them, so that their checksums must be right.
    func reload() throws(Ext4Error) {
        try journal.commitRunning()
        cache = Self.cache(device, superblock)
    }

    /// The contents of all blocks.
    func contents() throws(Ext4Error) -> [[UInt8]] {
        var all: [[UInt8]] = []
        for block in 0..<blockCount {
            let buffer = try cache.buffer(of: BlockNumber(Self.firstBlock + block))
            all.append(buffer.withBytes { $0.copy() })
        }
        return all
    }

    // MARK: Checks

    /// Checks that the directory holds `model` and nothing else, by a listing and by look-ups, and
    /// that each name is in the leaf where its hash belongs.
    func check(_ model: [[UInt8]: Entry]) throws {
        var listed: [[UInt8]: Entry] = [:]
        for (name, entry) in try all() {
            #expect(listed.updateValue(entry, forKey: name) == nil, "listed twice")
        }
        let type: FileType = superblock.incompatible.contains(.filetype) ? .directory : .unknown
        #expect(listed.removeValue(forKey: [46]) == Entry(inode: Self.owner.inode, type: type))
        #expect(listed.removeValue(forKey: [46, 46])?.type == type)
        #expect(listed == model)
        for (name, entry) in model where try find(name) != entry {
            Issue.record("not found")
        }
        #expect(try directory.isEmpty() == model.isEmpty)
        try checkTree()
    }

    private func checkTree() throws {
        let directory = try directory
        guard directory.isIndexed, let index = try HTreeIndex(directory) else { return }
        #expect(index.isSound)
        var path = try index.path(to: 0)
        repeat {
            let bounds = index.bounds(of: path)
            let block = try index.leaf(of: path)
            let buffer = try directory.buffer(of: block)
            try buffer.withBytes { (bytes) throws(Ext4Error) in
                _ = try directory.scan(bytes, of: block) { start, length in
                    let hash = index.hash.hash(of: bytes.extracting(start..<start + length))
                    let major = hash?.major ?? 1
                    #expect(major >= (bounds.lower ?? 0) & ~1)
                    #expect(major <= (bounds.upper ?? .max))
                    #expect(major != bounds.upper)
                    return false
                }
            }
        } while try index.advance(&path)
    }
}
