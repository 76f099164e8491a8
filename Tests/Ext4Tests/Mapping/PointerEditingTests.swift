import Testing

@testable import Ext4

@Suite struct PointerEditingTests {
    private func run(_ logical: UInt64, _ count: UInt64, _ block: UInt64) -> BlockRun {
        BlockRun(
            logical: LogicalBlock(logical), count: count, state: .mapped(BlockNumber(block)))
    }

    /// The first blocks of the parts of a map with 256 pointers a block, and the end of the last.
    private let seams: [UInt64] = [
        0, 12, 12 + 256, 12 + 256 + 65536, 12 + 256 + 65536 + 16_777_216,
    ]

    @Test(arguments: [1, 2, 3] as [UInt64])
    func randomChangesGiveWhatTheModelSays(seed: UInt64) throws {
        var bench = try MapWorkbench(blockSizeLog2: 10, usesExtents: false, cacheBytes: 16 << 10)
        var random = Xorshift(seed)
        for step in 0..<400 {
            // Around the seams of the map, and of its blocks of pointers.
            let seam = seams[random.next(below: 4)] + 256 * UInt64(random.next(below: 3))
            let start = seam + UInt64(random.next(below: 300)) - min(seam, 20)
            let count = 1 + UInt64(random.next(below: random.next(below: 3) == 0 ? 600 : 9))
            if random.next(below: 3) > 0 {
                guard bench.model[start] == nil else { continue }
                var free: UInt64 = 1
                while free < count, bench.model[start + free] == nil { free += 1 }
                let run = run(
                    start, free,
                    MapWorkbench.contents + start % 1_000_000 + UInt64(random.next(below: 3)))
                try bench.edit { (editor, handle) throws(Ext4Error) in
                    try editor.insert(run, in: &handle)
                }
                bench.note(run)
            } else {
                try remove(&bench, start..<start + count, limit: 1 + random.next(below: 20))
            }
            try bench.check("step \(step): \(start) \(count)")
            if step % 100 == 99 { try bench.checkDurable() }
        }
        #expect(bench.blocks.used.count > 5)
        try remove(&bench, 0..<1 << 32, limit: 10)
        try bench.check()
        #expect(bench.root.bytes == [UInt8](repeating: 0, count: 60))
    }

    /// Removes in as many steps as it takes; what comes back must be what was there.
    private func remove(_ bench: inout MapWorkbench, _ blocks: Range<UInt64>, limit: Int) throws {
        var freed: [UInt64] = []
        var end = LogicalBlock(blocks.upperBound)
        while true {
            let rest = LogicalBlock(blocks.lowerBound)..<end
            let (ranges, resumeAt) = try bench.edit { (editor, handle) throws(Ext4Error) in
                try editor.remove(rest, limit: limit, in: &handle)
            }
            for range in ranges { freed += range.start.rawValue..<range.end.rawValue }
            guard let resumeAt else { break }
            try #require(resumeAt < end)
            end = resumeAt
        }
        var expected: [UInt64] = []
        for (block, state) in bench.model where blocks.contains(block) {
            if case .mapped(let place) = state { expected.append(place.rawValue) }
            bench.model[block] = nil
        }
        #expect(freed.sorted() == expected.sorted())
    }

    @Test func allLevelsAreMadeAndGo() throws {
        var bench = try MapWorkbench(blockSizeLog2: 10, usesExtents: false)
        var block = MapWorkbench.contents
        for seam in seams.dropLast() {
            for logical in [seam, seam + 5] {
                let run = run(logical, 3, block)
                try bench.edit { (editor, handle) throws(Ext4Error) in
                    try editor.insert(run, in: &handle)
                }
                bench.note(run)
                block += 10
            }
        }
        try bench.check()
        #expect(bench.blocks.used.count == 1 + 2 + 3)
        try bench.checkDurable()
        // The last block that the map reaches, with a way of its own.
        let last = run(seams[4] - 1, 1, block)
        try bench.edit { (editor, handle) throws(Ext4Error) in
            try editor.insert(last, in: &handle)
        }
        bench.note(last)
        try bench.check()
        #expect(bench.blocks.used.count == 8)
        try remove(&bench, (seams[4] - 1)..<(1 << 32), limit: 1)
        try bench.check()
        #expect(bench.blocks.used.count == 6)
        try remove(&bench, 12..<seams[3] + 5, limit: 2)
        try bench.check()
        #expect(bench.blocks.used.count == 3)
    }

    @Test func aChangeThatFailsChangesNothing() throws {
        var bench = try MapWorkbench(blockSizeLog2: 10, usesExtents: false)
        let first = run(5, 700, MapWorkbench.contents)
        try bench.edit { (editor, handle) throws(Ext4Error) in
            try editor.insert(first, in: &handle)
        }
        bench.note(first)
        let contents = try bench.nodes()
        let root = bench.root.bytes
        var failures = 0
        for kind in 0..<3 {
            for calls in 0..<20 {
                bench.blocks.state.withLock { $0.callsLeft = calls }
                let error = #expect(throws: Ext4Error.self) {
                    try bench.edit { (editor, handle) throws(Ext4Error) in
                        switch kind {
                        case 0:
                            try editor.insert(run(seams[3] - 300, 700, 90_000), in: &handle)
                        case 1:
                            _ = try editor.remove(
                                LogicalBlock(0)..<LogicalBlock(1000), limit: 99, in: &handle)
                        default:
                            _ = try editor.remove(
                                LogicalBlock(100)..<LogicalBlock(600), limit: 99, in: &handle)
                        }
                        throw .busy
                    }
                }
                bench.blocks.state.withLock { $0.callsLeft = nil }
                #expect(try bench.nodes() == contents)
                #expect(bench.root.bytes == root)
                try bench.check("kind \(kind), call \(calls)")
                guard error == .noSpace else {
                    #expect(error == .busy)
                    break
                }
                failures += 1
            }
        }
        #expect(failures > 10)
    }

    @Test func whatAMapCannotDoIsRefused() throws {
        var bench = try MapWorkbench(blockSizeLog2: 10, usesExtents: false)
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
        #expect(insert(run(300, 5, 5000)) == nil)
        #expect(insert(run(seams[4], 1, 5000)) == .fileTooLarge)
        #expect(insert(run(seams[4] - 1, 2, 5000)) == .fileTooLarge)
        #expect(insert(run(.max, .max, 5000)) == .invalidArgument)
        let unwritten = BlockRun(
            logical: LogicalBlock(0), count: 1, state: .unwritten(BlockNumber(5000)))
        #expect(insert(unwritten) == .notSupported)
        for start in [299, 300, 304] as [UInt64] {
            guard case .corrupt? = insert(run(start, 2, 6000)) else {
                Issue.record("\(start)")
                continue
            }
        }
        let all = LogicalBlock(0)..<LogicalBlock(1000)
        #expect(
            failure { (editor, handle) throws(Ext4Error) in
                try editor.convert(all, toWritten: true, in: &handle)
            } == .notSupported)
        #expect(
            failure { (editor, handle) throws(Ext4Error) in
                try editor.shift(from: LogicalBlock(9), by: 1, in: &handle)
            } == .notSupported)
    }
}
