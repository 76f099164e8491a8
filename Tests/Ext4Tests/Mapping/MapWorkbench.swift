import Testing

@testable import Ext4

/// Blocks for the nodes of maps, the lowest first; it can be told to fail.
final class TestTreeBlocks: TreeBlocks {
    struct State {
        var used: Set<UInt64> = []
        /// Freed, and not to be used before the next commit.
        var freed: Set<UInt64> = []
        /// Calls until one fails; nil for never.
        var callsLeft: Int?
        var next: UInt64
    }

    let state: Guarded<State>
    private let cache: BufferCache
    private let first: UInt64
    private let limit: UInt64

    init(_ cache: BufferCache, from first: UInt64, to limit: UInt64) {
        self.cache = cache
        self.first = first
        self.limit = limit
        state = Guarded(State(next: first))
    }

    var used: Set<UInt64> { state.withLock { $0.used } }

    private static func count(_ state: inout State) throws(Ext4Error) {
        guard let left = state.callsLeft else { return }
        guard left > 0 else { throw .noSpace }
        state.callsLeft = left - 1
    }

    func allocate(
        near goal: BlockNumber, for spender: Spender, in handle: inout Handle
    ) throws(Ext4Error) -> BlockNumber {
        let block = try state.withLock { (state) throws(Ext4Error) -> UInt64 in
            try Self.count(&state)
            for _ in first..<limit {
                let block = state.next
                state.next = block + 1 < limit ? block + 1 : first
                if !state.freed.contains(block), state.used.insert(block).inserted { return block }
            }
            throw .noSpace
        }
        handle.onFailure { [self] _ in state.withLock { _ = $0.used.remove(block) } }
        return BlockNumber(block)
    }

    func free(_ range: BlockRange, isMetadata: Bool, in handle: inout Handle) throws(Ext4Error) {
        guard isMetadata, range.count == 1 else { throw .invalidArgument }
        let block = range.start.rawValue
        try state.withLock { (state) throws(Ext4Error) in
            try Self.count(&state)
            guard state.used.remove(block) != nil else {
                throw .corrupt(.blockBitmap, at: .init(block: range.start), .broken("freed twice"))
            }
            state.freed.insert(block)
        }
        handle.release(range.start, from: cache)
        handle.onFailure { [self] _ in
            state.withLock {
                $0.used.insert(block)
                $0.freed.remove(block)
            }
        }
    }
}

/// One file's map on a volume without a log, and what it should be.
struct MapWorkbench {
    let device: MemoryDevice
    let superblock: Superblock
    let cache: BufferCache
    let reader: BlockReader
    let journal: Journal
    let blocks: TestTreeBlocks
    let usesExtents: Bool
    let owner = BlockOwner(inode: InodeNumber(12), checksumSeed: 0x1234_5678)
    var root: MapRoot
    var blockCount = 0
    /// What each block of the file should be mapped to.
    var model: [UInt64: BlockRun.State] = [:]

    /// - Parameter treeBlocks: how many blocks there are for nodes; contents lie behind them, and
    ///   need no room on the device.
    init(
        blockSizeLog2: Int, usesExtents: Bool = true, treeBlocks: UInt64 = 8000,
        cacheBytes: Int = 1 << 20, verifiesChecksums: Bool = true
    ) throws {
        var bytes = SuperblockBytes()
        typealias Layout = Superblock.Layout
        let perGroup: UInt32 = 8 << UInt32(blockSizeLog2)
        let groups: UInt32 = 4096
        bytes[Layout.logBlockSize] = UInt32(blockSizeLog2 - 10)
        bytes[Layout.firstDataBlock] = blockSizeLog2 == 10 ? 1 : 0
        bytes[Layout.blocksPerGroup] = perGroup
        bytes[Layout.clustersPerGroup] = perGroup
        bytes[Layout.blocksCountLow] = groups * perGroup
        bytes[Layout.inodesCount] = groups * 512
        bytes[Layout.logClusterSize] = UInt32(blockSizeLog2 - 10)
        bytes[Layout.readOnlyCompatible] = ReadOnlyCompatibleFeatures.metadataCsum.rawValue
        bytes[Layout.checksumType] = 1
        bytes[Layout.checksum] = Superblock.checksum(of: unsafe bytes.bytes.span.bytes)
        superblock = try bytes.parse()
        device = MemoryDevice(
            [UInt8](repeating: 0, count: Int(100 + treeBlocks) << blockSizeLog2))
        cache = BufferCache(device: device, blockSizeLog2: blockSizeLog2, byteBudget: cacheBytes)
        reader = BlockReader(
            superblock: superblock, cache: cache, verifiesChecksums: verifiesChecksums, log: .none)
        journal = Journal(
            withoutLog: device, blockSize: 1 << blockSizeLog2, hasChecksums: true,
            clock: { Timestamp(seconds: 0) }, log: .none)
        blocks = TestTreeBlocks(cache, from: 100, to: 100 + treeBlocks)
        self.usesExtents = usesExtents
        root = MapRoot(emptyWithExtents: usesExtents)
    }

    /// The first block of the volume that contents may have.
    static let contents: UInt64 = 1 << 20

    /// Runs `body` with an editor in a handle of its own; what it made counts when it succeeds.
    mutating func edit<Result>(
        _ body: (inout MapEditor, inout Handle) throws(Ext4Error) -> Result
    ) throws(Ext4Error) -> Result {
        var editor = MapEditor(
            root, usesExtents: usesExtents, owner: owner, reader: reader, blocks: blocks,
            spender: .ordinary)
        let result = try journal.withHandle(credits: 8) { (handle) throws(Ext4Error) in
            try body(&editor, &handle)
        }
        if editor.rootChanged {
            root = editor.root
        } else {
            #expect(editor.root.bytes == root.bytes)
        }
        blockCount += editor.metadataBlocksDelta
        return result
    }

    /// Writes all changes to the device.
    func commit() throws {
        if let running = journal.runningTransaction { try journal.commit(running) }
        blocks.state.withLock { $0.freed = [] }
    }

    /// The map with nothing in memory: what is on the device, its checksums verified.
    var reopened: FileMap {
        let reader = BlockReader(
            superblock: superblock,
            cache: BufferCache(
                device: device, blockSizeLog2: superblock.blockSizeLog2, byteBudget: 1 << 20),
            verifiesChecksums: true, log: .none)
        return map(reader)
    }

    var map: FileMap { map(reader) }

    private func map(_ reader: BlockReader) -> FileMap {
        usesExtents
            ? .extents(ExtentTree(reader: reader, owner: owner, root: root))
            : .indirect(IndirectMap(reader: reader, owner: owner, root: root))
    }

    // MARK: The model

    mutating func note(_ run: BlockRun) {
        for i in 0..<run.count {
            model[run.logical.rawValue + i] =
                switch run.state {
                case .mapped(let start): .mapped(start.advanced(by: i))
                case .unwritten(let start): .unwritten(start.advanced(by: i))
                case .hole: .hole
                }
        }
    }

    mutating func noteConversion(_ range: Range<UInt64>, toWritten isWritten: Bool) {
        for block in range {
            switch model[block] {
            case .mapped(let place), .unwritten(let place):
                model[block] = isWritten ? .mapped(place) : .unwritten(place)
            default: break
            }
        }
    }

    mutating func noteShift(from start: UInt64, by distance: Int64) {
        var moved: [UInt64: BlockRun.State] = [:]
        for (block, state) in model {
            moved[block < start ? block : UInt64(Int64(block) + distance)] = state
        }
        model = moved
    }

    /// The model's runs, as `FileMap.runs` gives those of the map.
    var expectedRuns: [BlockRun] {
        var runs: [BlockRun] = []
        for (block, state) in model.sorted(by: { $0.key < $1.key }) {
            let run = BlockRun(logical: LogicalBlock(block), count: 1, state: state)
            if let merged = runs.last?.merged(with: run) {
                runs[runs.count - 1] = merged
            } else {
                runs.append(run)
            }
        }
        return runs
    }

    func check(
        _ context: String = "", sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let runs = try map.runs(volumeBlocks: .max)
        let expected = expectedRuns
        try #require(runs == expected, "\(context)", sourceLocation: sourceLocation)
        let shape = try TreeShape(self)
        try #require(shape.problems == [], "\(context)", sourceLocation: sourceLocation)
        try #require(shape.blocks == blocks.used, "\(context)", sourceLocation: sourceLocation)
        try #require(
            blockCount == blocks.used.count, "\(context)", sourceLocation: sourceLocation)
    }

    /// As `check`, for what the device has after a commit.
    func checkDurable(sourceLocation: SourceLocation = #_sourceLocation) throws {
        try commit()
        let runs = try reopened.runs(volumeBlocks: .max)
        try #require(runs == expectedRuns, sourceLocation: sourceLocation)
    }
}

/// What a map is made of, and which rules it breaks.
struct TreeShape {
    var problems: [String] = []
    /// The blocks that nodes stand in.
    var blocks: Set<UInt64> = []
    /// The entries of each leaf, in order.
    var leaves: [Int] = []
    var depth = 0

    init(_ bench: MapWorkbench) throws {
        if bench.usesExtents {
            depth = bench.root.withBytes { Int($0[ExtentNode.Header.depth]) }
            try walk(bench.root.bytes, depth: depth, isRoot: true, key: nil, bench)
        } else {
            for level in 1...3 {
                try walk(bench.root.pointer(11 + level), level: level, bench)
            }
        }
    }

    private mutating func walk(
        _ node: [UInt8], depth: Int, isRoot: Bool, key: LogicalBlock?, _ bench: MapWorkbench
    ) throws {
        let span = unsafe node.span.bytes
        let count = ExtentNode.count(span)
        let maximum = isRoot ? 4 : (bench.superblock.blockSize - 12) / 12
        func expect(_ holds: Bool, _ rule: String) { if !holds { problems.append(rule) } }
        expect(Int(span[ExtentNode.Header.maximum]) == maximum, "eh_max")
        expect(count <= maximum, "eh_entries")
        expect(isRoot || count > 0, "an empty node")
        expect(Int(span[ExtentNode.Header.depth]) == depth, "eh_depth")
        if let key, count > 0 { expect(ExtentNode.key(span, 0) == key, "a key above") }
        if depth == 0 {
            leaves.append(count)
            for i in 0..<max(count - 1, 0) {
                let (a, b) = (ExtentNode.extent(span, i), ExtentNode.extent(span, i + 1))
                expect(a.end <= b.logical, "order")
                if let merged = a.merged(with: b), merged.count <= ExtentNode.longest(a) {
                    problems.append("\(a) and \(b) are not merged")
                }
            }
            return
        }
        if isRoot, count == 1 {
            let only = try bench.cache.buffer(of: ExtentNode.child(span, 0))
            expect(only.withBytes { ExtentNode.count($0) } > 4, "the tree would fit into the inode")
        }
        for i in 0..<count {
            let child = ExtentNode.child(span, i)
            expect(blocks.insert(child.rawValue).inserted, "a node in two places")
            try walk(
                try bench.cache.buffer(of: child).withBytes { $0.copy() }, depth: depth - 1,
                isRoot: false, key: ExtentNode.key(span, i), bench)
        }
    }

    private mutating func walk(_ pointer: UInt32, level: Int, _ bench: MapWorkbench) throws {
        guard pointer != 0 else { return }
        if !blocks.insert(UInt64(pointer)).inserted { problems.append("a block in two places") }
        let bytes = try bench.cache.buffer(of: BlockNumber(UInt64(pointer)))
            .withBytes { $0.copy() }
        let span = unsafe bytes.span.bytes
        if span.isAllZero { problems.append("a block of pointers without one") }
        guard level > 1 else { return }
        for slot in 0..<bytes.count / 4 {
            try walk(span[IndirectMap.pointer(slot)], level: level - 1, bench)
        }
    }
}
