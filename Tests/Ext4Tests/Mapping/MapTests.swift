import Testing

@testable import Ext4

/// A volume of 1 KiB blocks in memory, on which maps are laid out by hand.
private struct MapFixture {
    var disk = [UInt8](repeating: 0, count: 32768 << 10)
    var nextBlock: UInt64 = 1000
    let superblock: Superblock
    let owner = BlockOwner(inode: InodeNumber(12), checksumSeed: 0x1234_5678)

    init() throws {
        superblock = try SuperblockBytes().parse()
    }

    mutating func store<Value>(_ value: Value, _ field: Field<Value>, at base: Int) {
        var span = disk.mutableSpan
        var raw = unsafe span.mutableBytes
        raw[field.at(base)] = value
    }

    mutating func allocate() -> UInt64 {
        defer { nextBlock += 1 }
        return nextBlock
    }

    var reader: BlockReader {
        BlockReader(
            superblock: superblock,
            cache: BufferCache(
                device: MemoryDevice(disk), blockSizeLog2: 10, byteBudget: 64 << 10),
            verifiesChecksums: true, log: .none)
    }

    /// The root of a map: the 60 bytes at `offset`.
    func root(at offset: Int) -> MapRoot {
        MapRoot(copying: unsafe disk.span.bytes.extracting(offset..<offset + 60))
    }

    // MARK: Extents

    mutating func writeHeader(count: Int, maximum: Int, depth: Int, at base: Int) {
        store(ExtentNode.magic, ExtentNode.Header.magic, at: base)
        store(UInt16(count), ExtentNode.Header.entries, at: base)
        store(UInt16(maximum), ExtentNode.Header.maximum, at: base)
        store(UInt16(depth), ExtentNode.Header.depth, at: base)
    }

    mutating func writeExtent(_ run: BlockRun, index: Int, at base: Int) {
        let entry = base + 12 * (index + 1)
        var length = UInt16(run.count)
        var start: UInt64 = 0
        switch run.state {
        case .mapped(let block): start = block.rawValue
        case .unwritten(let block):
            start = block.rawValue
            length += 32768
        case .hole: break
        }
        store(UInt32(run.logical.rawValue), ExtentNode.Leaf.block, at: entry)
        store(length, ExtentNode.Leaf.length, at: entry)
        store(UInt32(start), ExtentNode.Leaf.startLow, at: entry)
    }

    /// Lays `runs` out as a tree with `fanOut` entries a node; the root lies at byte 0.
    mutating func writeTree(_ runs: [BlockRun], fanOut: Int) -> Int {
        struct Child {
            let key: LogicalBlock
            let block: UInt64
        }
        func groups<T>(_ items: [T]) -> [[T]] {
            stride(from: 0, to: items.count, by: fanOut).map {
                Array(items[$0..<min($0 + fanOut, items.count)])
            }
        }
        guard runs.count > 4 else {
            writeHeader(count: runs.count, maximum: 4, depth: 0, at: 0)
            for (i, run) in runs.enumerated() { writeExtent(run, index: i, at: 0) }
            return 0
        }
        var children: [Child] = []
        for group in groups(runs) {
            let block = allocate()
            writeHeader(count: group.count, maximum: fanOut, depth: 0, at: Int(block) << 10)
            for (i, run) in group.enumerated() { writeExtent(run, index: i, at: Int(block) << 10) }
            children.append(Child(key: group[0].logical, block: block))
        }
        var depth = 1
        func write(_ children: [Child], maximum: Int, at base: Int) {
            writeHeader(count: children.count, maximum: maximum, depth: depth, at: base)
            for (i, child) in children.enumerated() {
                let entry = base + 12 * (i + 1)
                store(UInt32(child.key.rawValue), ExtentNode.Index.block, at: entry)
                store(UInt32(child.block), ExtentNode.Index.leafLow, at: entry)
            }
        }
        while children.count > 4 {
            var above: [Child] = []
            for group in groups(children) {
                let block = allocate()
                write(group, maximum: fanOut, at: Int(block) << 10)
                above.append(Child(key: group[0].key, block: block))
            }
            children = above
            depth += 1
        }
        write(children, maximum: 4, at: 0)
        return depth
    }
}

private struct Random {
    var state: UInt64
    mutating func next(_ limit: UInt64) -> UInt64 {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        return state % limit
    }
}

@Suite struct ExtentTreeTests {
    /// Random extents in trees of 0 to 5 levels: each block maps as the list of extents says.
    @Test(arguments: [
        (count: 0, fanOut: 2), (3, 2), (4, 3), (5, 2), (30, 3), (100, 3), (120, 4), (124, 2),
        (700, 80),
    ])
    func everyBlockMapsAsItsExtentSays(count: Int, fanOut: Int) throws {
        var random = Random(state: 77)
        var fixture = try MapFixture()
        var runs: [BlockRun] = []
        var next: UInt64 = 0
        for _ in 0..<count {
            let start = next + random.next(3) * random.next(5)
            let length = 1 + random.next(9)
            let block = BlockNumber(2 + random.next(30_000))
            runs.append(
                BlockRun(
                    logical: LogicalBlock(start), count: length,
                    state: random.next(4) == 0 ? .unwritten(block) : .mapped(block)))
            next = start + length
        }
        let depth = fixture.writeTree(runs, fanOut: fanOut)
        #expect(depth <= 5)
        let tree = ExtentTree(
            reader: fixture.reader, owner: fixture.owner, root: fixture.root(at: 0))
        for number in 0..<next + 10 {
            let block = LogicalBlock(number)
            let found = try tree.run(at: block)
            #expect(found.contains(block))
            if let expected = runs.first(where: { $0.contains(block) }) {
                #expect(found == expected)
            } else {
                #expect(found.state == .hole)
                #expect(!runs.contains { $0.logical < found.end && found.logical < $0.end })
            }
        }
        let map = FileMap.extents(tree)
        let listed = try map.runs(volumeBlocks: fixture.superblock.blocksCount)
        #expect(listed.reduce(0) { $0 + $1.count } == runs.reduce(0) { $0 + $1.count })
    }

    private func failure(
        _ runs: [BlockRun], fanOut: Int = 3, _ mutate: (inout MapFixture) -> Void
    ) throws -> Corruption? {
        var fixture = try MapFixture()
        _ = fixture.writeTree(runs, fanOut: fanOut)
        mutate(&fixture)
        let map = FileMap.extents(
            ExtentTree(
                reader: fixture.reader, owner: fixture.owner,
                root: fixture.root(at: 0)))
        do {
            _ = try map.runs(volumeBlocks: fixture.superblock.blocksCount)
            return nil
        } catch {
            guard case .corrupt(let corruption) = error else { return nil }
            return corruption
        }
    }

    private let nine = (0..<9).map {
        BlockRun(
            logical: LogicalBlock(10 * $0), count: 5, state: .mapped(BlockNumber(100 + 10 * $0)))
    }

    @Test func soundTreesDoNotFail() throws {
        #expect(try failure(nine) { _ in } == nil)
    }

    @Test func wrongMagic() throws {
        let found = try failure(nine) { $0.store(0xF30B, ExtentNode.Header.magic, at: 1001 << 10) }
        #expect(found?.rule == .magic(found: 0xF30B))
        #expect(found?.place.block == BlockNumber(1001))
        #expect(found?.place.inode == InodeNumber(12))
    }

    @Test func entriesBeyondTheNode() throws {
        // CVE-2026-31449 is of this kind.
        let found = try failure(nine) {
            $0.store(300, ExtentNode.Header.entries, at: 1000 << 10)
            $0.store(300, ExtentNode.Header.maximum, at: 1000 << 10)
        }
        #expect(found?.rule == .field("eh_max", value: 300, rule: "1 to 84"))
    }

    @Test func aDepthThatDoesNotFall() throws {
        let found = try failure(nine) { $0.store(1, ExtentNode.Header.depth, at: 1000 << 10) }
        #expect(found?.rule == .field("eh_depth", value: 1, rule: "0"))
    }

    @Test func aNodeThatIsItsOwnChild() throws {
        let found = try failure(nine) {
            $0.writeHeader(count: 1, maximum: 3, depth: 1, at: 1000 << 10)
            $0.store(1000, ExtentNode.Index.leafLow, at: 1000 << 10 + 12)
        }
        #expect(found?.structure == .extentNode)
    }

    @Test func extentsThatOverlapOrGoBack() throws {
        let found = try failure(nine) {
            $0.store(2, ExtentNode.Leaf.block, at: 1000 << 10 + 24)
        }
        #expect(found?.rule == .broken("entry 1 is out of order or overlaps the one before"))
    }

    @Test func extentsOfLengthZero() throws {
        let found = try failure(nine) { $0.store(0, ExtentNode.Leaf.length, at: 1000 << 10 + 12) }
        #expect(found?.rule == .broken("extent 0 is empty or ends behind the last block"))
    }

    @Test func extentsOutsideTheVolume() throws {
        let found = try failure(nine) {
            $0.store(0xFFFF, ExtentNode.Leaf.startHigh, at: 1000 << 10 + 12)
        }
        #expect(found?.rule == .broken("extent 0 is not inside the volume"))
    }

    @Test func aLeafThatReachesIntoItsNeighboursRange() throws {
        let found = try failure(nine) { $0.store(25, ExtentNode.Leaf.length, at: 1000 << 10 + 36) }
        #expect(
            found?.rule == .broken("it holds blocks that the node above leads past"))
    }
}

@Suite struct IndirectMapTests {
    /// One block in each level of the map, and a run that crosses from the direct pointers.
    @Test func allFourLevels() throws {
        var fixture = try MapFixture()
        let pointer = Field<UInt32>.le(0)
        func write(_ block: UInt64, slot: Int, _ value: UInt64, _ f: inout MapFixture) {
            f.store(UInt32(value), pointer, at: Int(block) << 10 + 4 * slot)
        }
        let (single, double, triple) = (fixture.allocate(), fixture.allocate(), fixture.allocate())
        let (second, third, last) = (fixture.allocate(), fixture.allocate(), fixture.allocate())
        for i in 0..<12 where i != 3 { write(0, slot: i, 500 + UInt64(i), &fixture) }
        write(0, slot: 12, single, &fixture)
        write(0, slot: 13, double, &fixture)
        write(0, slot: 14, triple, &fixture)
        for i in 0..<5 { write(single, slot: i, 512 + UInt64(i), &fixture) }
        write(double, slot: 7, second, &fixture)
        write(second, slot: 9, 700, &fixture)
        write(triple, slot: 255, third, &fixture)
        write(third, slot: 255, last, &fixture)
        write(last, slot: 255, 800, &fixture)
        let map = FileMap.indirect(
            IndirectMap(
                reader: fixture.reader, owner: fixture.owner, root: fixture.root(at: 0))
        )
        func run(_ logical: UInt64, _ count: UInt64, _ block: UInt64) -> BlockRun {
            BlockRun(
                logical: LogicalBlock(logical), count: count, state: .mapped(BlockNumber(block)))
        }
        let last32: UInt64 = 12 + 256 + 256 * 256 + 256 * 256 * 256 - 1
        #expect(
            try map.runs(volumeBlocks: 32768) == [
                run(0, 3, 500), run(4, 13, 504), run(12 + 256 + 7 * 256 + 9, 1, 700),
                run(last32, 1, 800),
            ])
        #expect(try map.run(at: LogicalBlock(last32 + 1)).state == .hole)
        #expect(try map.run(at: LogicalBlock(.max)).state == .hole)
    }

    @Test func pointersOutsideTheVolume() throws {
        var fixture = try MapFixture()
        fixture.store(40_000, Field<UInt32>.le(0), at: 0)
        let map = IndirectMap(
            reader: fixture.reader, owner: fixture.owner, root: fixture.root(at: 0))
        #expect(throws: Ext4Error.self) { try map.run(at: LogicalBlock(0)) }
    }

    /// Blocks of pointers that lead back to themselves: 256³ blocks by 3 real ones.
    @Test func aMapThatClaimsMoreThanTheVolumeHas() throws {
        var fixture = try MapFixture()
        let block = fixture.allocate()
        for slot in 0..<256 {
            fixture.store(UInt32(block), Field<UInt32>.le(4 * slot), at: Int(block) << 10)
        }
        fixture.store(UInt32(block), Field<UInt32>.le(56), at: 0)
        let map = FileMap.indirect(
            IndirectMap(
                reader: fixture.reader, owner: fixture.owner, root: fixture.root(at: 0))
        )
        let place = Corruption.Place(
            inode: fixture.owner.inode, logicalBlock: LogicalBlock(12 + 256 + 65536),
            block: BlockNumber(block))
        #expect(throws: Ext4Error.corrupt(.indirectBlock, at: place, .cycle)) {
            try map.runs(volumeBlocks: fixture.superblock.blocksCount)
        }
    }
}
