import Testing

@testable import Ext4

@Suite struct ExtentEditingTests {
    private func run(_ logical: UInt64, _ count: UInt64, _ state: BlockRun.State) -> BlockRun {
        BlockRun(logical: LogicalBlock(logical), count: count, state: state)
    }

    private func range(_ start: UInt64, _ end: UInt64) -> Range<LogicalBlock> {
        LogicalBlock(start)..<LogicalBlock(end)
    }

    /// Every run of a single block, none next to the one before.
    private func fill(_ bench: inout MapWorkbench, _ numbers: some Sequence<UInt64>) throws {
        let numbers = Array(numbers)
        var rest = numbers[...]
        while !rest.isEmpty {
            try bench.edit { (editor, handle) throws(Ext4Error) in
                for i in rest.prefix(50) {
                    let run = run(2 * i, 1, .mapped(BlockNumber(MapWorkbench.contents + 2 * i)))
                    try editor.insert(run, in: &handle)
                }
            }
            rest = rest.dropFirst(50)
        }
        for i in numbers {
            bench.model[2 * i] = .mapped(BlockNumber(MapWorkbench.contents + 2 * i))
        }
    }

    // MARK: Random changes

    /// One change of each kind, at random, done to the map and to the model.
    private func change(
        _ bench: inout MapWorkbench, _ random: inout Xorshift, shifts: Bool = true
    ) throws -> String {
        let space = 3000
        let start = UInt64(random.next(below: space))
        let count = 1 + UInt64(random.next(below: random.next(below: 4) == 0 ? 200 : 8))
        switch random.next(below: shifts ? 20 : 18) {
        case 0..<9:
            // Into a hole, up to where it ends; in half of the cases where it continues neighbours.
            guard bench.model[start] == nil else { return "" }
            var free: UInt64 = 1
            while free < count, bench.model[start + free] == nil { free += 1 }
            let offset = random.next(below: 2) == 0 ? 0 : 10_000 * (1 + random.next(below: 50))
            let block = BlockNumber(MapWorkbench.contents + start + UInt64(offset))
            let run = run(
                start, free, random.next(below: 3) == 0 ? .unwritten(block) : .mapped(block))
            try bench.edit { (editor, handle) throws(Ext4Error) in
                try editor.insert(run, in: &handle)
            }
            bench.note(run)
            return "insert \(run)"
        case 9..<14:
            let isWritten = random.next(below: 2) == 0
            try bench.edit { (editor, handle) throws(Ext4Error) in
                try editor.convert(range(start, start + count), toWritten: isWritten, in: &handle)
            }
            bench.noteConversion(start..<start + count, toWritten: isWritten)
            return "convert \(start) \(count) \(isWritten)"
        case 14..<18:
            let limit = 1 + random.next(below: 40)
            try remove(&bench, start..<start + count, limit: limit)
            return "remove \(start) \(count) by \(limit)"
        case 18:
            try bench.edit { (editor, handle) throws(Ext4Error) in
                try editor.shift(from: LogicalBlock(start), by: Int64(count), in: &handle)
            }
            bench.noteShift(from: start, by: Int64(count))
            return "insert range \(start) \(count)"
        default:
            try remove(&bench, start..<start + count, limit: 1000)
            try bench.edit { (editor, handle) throws(Ext4Error) in
                try editor.shift(from: LogicalBlock(start + count), by: -Int64(count), in: &handle)
            }
            bench.noteShift(from: start + count, by: -Int64(count))
            return "collapse \(start) \(count)"
        }
    }

    /// Removes in as many steps as it takes; what comes back must be what was there.
    private func remove(
        _ bench: inout MapWorkbench, _ blocks: Range<UInt64>, limit: Int
    ) throws {
        var freed: [UInt64] = []
        var end = LogicalBlock(blocks.upperBound)
        while true {
            let rest = LogicalBlock(blocks.lowerBound)..<end
            let (ranges, resumeAt) = try bench.edit { (editor, handle) throws(Ext4Error) in
                try editor.remove(rest, limit: limit, in: &handle)
            }
            for range in ranges {
                freed += range.start.rawValue..<range.end.rawValue
            }
            guard let resumeAt else { break }
            #expect(resumeAt < end)
            end = resumeAt
        }
        var expected: [UInt64] = []
        for block in blocks {
            switch bench.model.removeValue(forKey: block) {
            case .mapped(let place), .unwritten(let place): expected.append(place.rawValue)
            default: break
            }
        }
        #expect(freed.sorted() == expected.sorted())
    }

    @Test(arguments: [(10, 1), (10, 2), (10, 3), (12, 4), (12, 5)] as [(Int, UInt64)])
    func randomChangesGiveWhatTheModelSays(blockSizeLog2: Int, seed: UInt64) throws {
        var bench = try MapWorkbench(blockSizeLog2: blockSizeLog2, cacheBytes: 16 << 10)
        var random = Xorshift(seed)
        var depths: Set<Int> = []
        for step in 0..<600 {
            let what = try change(&bench, &random)
            try bench.check("step \(step): \(what)")
            depths.insert(bench.root.withBytes { Int($0[ExtentNode.Header.depth]) })
            if step % 100 == 99 { try bench.checkDurable() }
        }
        #expect(depths.count > 1)
        try remove(&bench, 0..<20_000, limit: 30)
        try bench.check()
        #expect(bench.root.bytes.prefix(12) == MapRoot(emptyWithExtents: true).bytes.prefix(12))
    }

    /// Trees that others may have made: keys below the first block of their node, leaves without an
    /// entry, nodes that use less than their room.
    @Test(arguments: [1, 2, 3] as [UInt64], [false, true])
    func treesOfAnotherMakeAreChangedToo(seed: UInt64, hasEmptyLeaves: Bool) throws {
        var bench = try MapWorkbench(blockSizeLog2: 10)
        try fill(&bench, 0..<1200)
        let root = bench.root.withBytes { ExtentNode.child($0, 0) }
        let index = try bench.cache.buffer(of: root)
        #expect(index.withBytes { $0[ExtentNode.Header.depth] } == 1)
        let leaves = index.withBytes { node in
            (0..<ExtentNode.count(node)).map { ExtentNode.child(node, $0) }
        }
        for (i, leaf) in leaves.enumerated() {
            let buffer = try bench.cache.buffer(of: leaf)
            let first = buffer.withBytes { ExtentNode.key($0, 0).rawValue }
            if i > 0 {
                index.withMutableBytes {
                    ExtentNode.setKey(LogicalBlock(first - 1), at: i, of: &$0)
                }
            }
            let kept = i % 4 == 1 ? (hasEmptyLeaves ? 0 : 1) : i % 4 == 2 ? 3 : 84
            buffer.withMutableBytes { node in
                for slot in kept..<ExtentNode.count(node.bytes) {
                    bench.model[ExtentNode.key(node.bytes, slot).rawValue] = nil
                }
                ExtentNode.setCount(min(kept, ExtentNode.count(node.bytes)), of: &node)
                if kept == 3 { node[ExtentNode.Header.maximum] = 3 }
            }
        }
        #expect(try bench.map.runs(volumeBlocks: .max) == bench.expectedRuns)
        var random = Xorshift(seed)
        for step in 0..<150 {
            // Nothing can move over a leaf that has no entry.
            let what = try change(&bench, &random, shifts: !hasEmptyLeaves)
            let runs = try bench.map.runs(volumeBlocks: .max)
            try #require(runs == bench.expectedRuns, "step \(step): \(what)")
            let shape = try TreeShape(bench)
            try #require(shape.blocks == bench.blocks.used, "step \(step): \(what)")
        }
        try bench.checkDurable()
        try remove(&bench, 0..<20_000, limit: 100)
        #expect(try bench.map.runs(volumeBlocks: .max) == [])
        let (depth, count) = bench.root.withBytes {
            ($0[ExtentNode.Header.depth], ExtentNode.count($0))
        }
        // What is left are the leaves that held nothing from the start.
        #expect(count == 0 || depth > 0)
    }

    /// Every call to the allocator of a change fails in turn, and in the end whatever comes after
    /// the change: the map stays as it was, to the byte.
    @Test(arguments: [336, 337, 400, 3000] as [UInt64])
    func aChangeThatFailsChangesNothing(extents: UInt64) throws {
        var bench = try MapWorkbench(blockSizeLog2: 10)
        // Full leaves: 84 · 4 of these fill a root.
        try bench.edit { (editor, handle) throws(Ext4Error) in
            for i in 0..<extents {
                try editor.insert(
                    run(5 * i, 3, .mapped(BlockNumber(MapWorkbench.contents + 5 * i))),
                    in: &handle)
            }
        }
        try bench.commit()
        let contents = try bench.nodes()
        let root = bench.root.bytes
        var random = Xorshift(extents)
        var failures = 0
        for _ in 0..<60 {
            let i = UInt64(random.next(below: Int(extents)))
            let kind = random.next(below: 6)
            for calls in 0..<1000 {
                bench.blocks.state.withLock { $0.callsLeft = calls }
                let error = #expect(throws: Ext4Error.self) {
                    try bench.edit { (editor, handle) throws(Ext4Error) in
                        try change(&editor, kind, at: 5 * i, &handle)
                        throw .busy
                    }
                }
                bench.blocks.state.withLock { $0.callsLeft = nil }
                let after = try bench.nodes()
                try #require(after == contents, "kind \(kind) at \(5 * i), call \(calls)")
                #expect(bench.root.bytes == root)
                guard error == .noSpace else {
                    #expect(error == .busy)
                    break
                }
                failures += 1
            }
        }
        #expect(failures > 30)
        try bench.commit()
        #expect(try bench.reopened.runs(volumeBlocks: .max).count == extents)
    }

    private func change(
        _ editor: inout MapEditor, _ kind: Int, at start: UInt64, _ handle: inout Handle
    ) throws(Ext4Error) {
        switch kind {
        case 0:
            try editor.insert(run(start + 3, 1, .mapped(BlockNumber(500))), in: &handle)
        case 1:
            try editor.convert(range(start + 1, start + 2), toWritten: false, in: &handle)
        case 2:
            try editor.convert(range(start + 1, start + 400), toWritten: false, in: &handle)
        case 3:
            _ = try editor.remove(range(start + 1, start + 2), limit: 9, in: &handle)
        case 4:
            _ = try editor.remove(range(start + 1, start + 3000), limit: 1000, in: &handle)
        default:
            try editor.shift(from: LogicalBlock(start + 2), by: 7, in: &handle)
        }
    }

    // MARK: Shapes

    /// A file that grows at its end has full leaves, and full nodes above them.
    @Test(arguments: [10, 12]) func growingFilesFillTheirNodes(blockSizeLog2: Int) throws {
        var bench = try MapWorkbench(blockSizeLog2: blockSizeLog2)
        let count = 100_000
        try fill(&bench, 0..<UInt64(count))
        try bench.check()
        let shape = try TreeShape(bench)
        let perNode = (superblockSize(blockSizeLog2) - 12) / 12
        #expect(shape.leaves.dropLast().allSatisfy { $0 == perNode })
        #expect(shape.leaves.reduce(0, +) == count)
        var nodes = 0
        var level = count
        var depth = 0
        while level > 4 {
            level = (level + perNode - 1) / perNode
            nodes += level
            depth += 1
        }
        #expect(shape.blocks.count == nodes)
        #expect(shape.depth == depth)
        #expect(depth == (blockSizeLog2 == 10 ? 3 : 2))
        try bench.checkDurable()

        // And away again, from the end, in small steps.
        let before = bench.model.count
        var steps = 0
        var end = LogicalBlock.end
        var freed: UInt64 = 0
        while true {
            let (ranges, resumeAt) = try bench.edit { (editor, handle) throws(Ext4Error) in
                try editor.remove(LogicalBlock(0)..<end, limit: 500, in: &handle)
            }
            freed += ranges.reduce(0) { $0 + $1.count }
            steps += 1
            guard let resumeAt else { break }
            end = resumeAt
        }
        #expect(freed == UInt64(before))
        #expect(steps > 150 && steps < 300)
        bench.model = [:]
        try bench.check()
        #expect(bench.blocks.used == [])
    }

    private func superblockSize(_ log2: Int) -> Int { 1 << log2 }

    @Test func filesThatGrowDownwardsFillTheirNodesToo() throws {
        var bench = try MapWorkbench(blockSizeLog2: 10)
        try fill(&bench, (0..<5000).reversed())
        try bench.check()
        let shape = try TreeShape(bench)
        #expect(shape.leaves.dropFirst().allSatisfy { $0 == 84 })
    }

    @Test func randomOrderGivesAtLeastHalfFullNodes() throws {
        var bench = try MapWorkbench(blockSizeLog2: 10)
        // 8191 is prime: each number once.
        let numbers = (1..<8191).map { UInt64($0) * 3001 % 8191 }
        try fill(&bench, numbers)
        try bench.check()
        let shape = try TreeShape(bench)
        #expect(shape.leaves.reduce(0, +) == 8190)
        #expect(shape.leaves.count < 8190 / 42 + 10)
        try bench.checkDurable()
    }

    @Test func longRunsAreCutWhereAnExtentEnds() throws {
        var bench = try MapWorkbench(blockSizeLog2: 12)
        let start = BlockNumber(MapWorkbench.contents)
        try bench.edit { (editor, handle) throws(Ext4Error) in
            try editor.insert(run(0, 100_000, .mapped(start)), in: &handle)
            try editor.insert(
                run(200_000, 70_000, .unwritten(start.advanced(by: 200_000))), in: &handle)
        }
        #expect(
            try bench.map.runs(volumeBlocks: .max) == [
                run(0, 100_000, .mapped(start)),
                run(200_000, 70_000, .unwritten(start.advanced(by: 200_000))),
            ])
        #expect(try bench.map.run(at: LogicalBlock(40_000)).count == 32768)
        #expect(try bench.map.run(at: LogicalBlock(200_000)).count == 32767)
        #expect(try TreeShape(bench).leaves == [7])

        // A whole written extent is one block too long to be unwritten.
        try bench.edit { (editor, handle) throws(Ext4Error) in
            try editor.convert(range(0, 300_000), toWritten: false, in: &handle)
        }
        #expect(try bench.map.runs(volumeBlocks: .max).map(\.count) == [100_000, 70_000])
        try bench.edit { (editor, handle) throws(Ext4Error) in
            try editor.convert(range(0, 300_000), toWritten: true, in: &handle)
        }
        #expect(
            try bench.map.runs(volumeBlocks: .max) == [
                run(0, 100_000, .mapped(start)),
                run(200_000, 70_000, .mapped(start.advanced(by: 200_000))),
            ])
    }

    @Test func appendingTouchesOneLeaf() throws {
        var bench = try MapWorkbench(blockSizeLog2: 10)
        try fill(&bench, 0..<1000)
        try bench.commit()
        let end: UInt64 = 1999
        let run = run(
            end, 5, .mapped(BlockNumber(MapWorkbench.contents + end)))
        try bench.edit { (editor, handle) throws(Ext4Error) in
            try editor.insert(run, in: &handle)
            #expect(handle.transaction.buffers.count == 1)
            #expect(editor.metadataBlocksDelta == 0)
            #expect(!editor.rootChanged)
        }
        bench.note(run)
        try bench.check()
    }

    // MARK: Refusals

    @Test func whatAMapCannotDoIsRefused() throws {
        var bench = try MapWorkbench(blockSizeLog2: 12)
        let block = BlockNumber(MapWorkbench.contents)
        func failure(
            _ body: (inout MapEditor, inout Handle) throws(Ext4Error) -> Void
        ) -> Ext4Error? {
            do throws(Ext4Error) {
                try bench.edit(body)
                return nil
            } catch { return error }
        }
        func insert(_ run: BlockRun) -> Ext4Error? {
            failure { (editor, handle) throws(Ext4Error) in try editor.insert(run, in: &handle) }
        }
        func shift(_ start: UInt64, _ distance: Int64) -> Ext4Error? {
            failure { (editor, handle) throws(Ext4Error) in
                try editor.shift(from: LogicalBlock(start), by: distance, in: &handle)
            }
        }
        #expect(insert(run(100, 10, .mapped(block))) == nil)
        #expect(insert(run(0xFFFF_FFFE, 1, .mapped(block))) == nil)
        let root = bench.root.bytes
        #expect(insert(run(0xFFFF_FFFE, 2, .mapped(block))) == .fileTooLarge)
        #expect(insert(run(1 << 32, 1, .mapped(block))) == .fileTooLarge)
        #expect(insert(run(.max, .max, .mapped(block))) == .fileTooLarge)
        #expect(insert(run(0, 1, .hole)) == .invalidArgument)
        #expect(insert(run(0, 0, .mapped(block))) == .invalidArgument)
        #expect(insert(run(0, 1, .mapped(BlockNumber(1 << 40)))) == .invalidArgument)
        for (start, count) in [(95, 6), (100, 1), (109, 5), (90, 30)] as [(UInt64, UInt64)] {
            guard case .corrupt? = insert(run(start, count, .mapped(block))) else {
                Issue.record("\(start) \(count)")
                continue
            }
        }
        #expect(shift(50, 1) == .fileTooLarge)
        #expect(shift(50, .max) == .fileTooLarge)
        #expect(shift(50, -51) == .invalidArgument)
        #expect(shift(50, .min) == .invalidArgument)
        #expect(shift(112, -3) == .invalidArgument)
        #expect(bench.root.bytes == root)
        #expect(shift(112, -2) == nil)
        let last = try bench.map.run(at: LogicalBlock(0xFFFF_FFFC))
        #expect(last == run(0xFFFF_FFFC, 1, .mapped(block)))
    }
}

extension MapWorkbench {
    /// The contents of all nodes.
    func nodes() throws -> [UInt64: [UInt8]] {
        var nodes: [UInt64: [UInt8]] = [:]
        for block in blocks.used {
            nodes[block] = try cache.buffer(of: BlockNumber(block)).withBytes { bytes in
                // The checksum behind the entries is made when the block is written.
                usesExtents ? bytes.copy(0..<bytes.byteCount - 4) : bytes.copy()
            }
        }
        return nodes
    }
}
