import Testing

@testable import Ext4

/// Changes of maps whose blocks say anything: an error or a result, never a trap or a loop, and
/// after an error everything is as it was.
@Suite struct DamagedMapTests {
    @Test(arguments: [true, false], [1, 2, 3, 4] as [UInt64])
    func damagedMapsGiveErrors(usesExtents: Bool, seed: UInt64) throws {
        var random = Xorshift(seed)
        var errors = 0
        for _ in 0..<60 {
            var bench = try MapWorkbench(
                blockSizeLog2: 10, usesExtents: usesExtents, treeBlocks: 300,
                verifiesChecksums: false)
            let extents = UInt64(10 + random.next(below: 600))
            try bench.edit { (editor, handle) throws(Ext4Error) in
                for i in 0..<extents {
                    let run = BlockRun(
                        logical: LogicalBlock(i * 3), count: 2,
                        state: .mapped(BlockNumber(MapWorkbench.contents + i * 5)))
                    try editor.insert(run, in: &handle)
                }
            }
            try damage(&bench, &random)
            for _ in 0..<20 {
                let before = try bench.nodes()
                let root = bench.root.bytes
                do throws(Ext4Error) {
                    try change(&bench, &random, end: extents * 3 + 10)
                } catch {
                    errors += 1
                    #expect(try bench.nodes() == before)
                    #expect(bench.root.bytes == root)
                    switch error {
                    case .corrupt, .noSpace, .io, .invalidArgument, .fileTooLarge: break
                    default: Issue.record("\(error)")
                    }
                }
            }
        }
        #expect(errors > 20)
    }

    /// Changes some bytes of the nodes, most of them to what stands elsewhere in the map.
    private func damage(_ bench: inout MapWorkbench, _ random: inout Xorshift) throws {
        let used = bench.blocks.used.sorted()
        for _ in 0...random.next(below: 4) {
            let offset = 4 * random.next(below: random.next(below: 3) == 0 ? 250 : 16)
            let value: UInt32 =
                switch random.next(below: 4) {
                case 0: UInt32(truncatingIfNeeded: random.next())
                case 1: UInt32(random.next(below: 2000))
                case 2: used.isEmpty ? 0 : UInt32(used[random.next(below: used.count)])
                default: UInt32(1) << UInt32(random.next(below: 32))
                }
            if used.isEmpty || random.next(below: 5) == 0 {
                bench.root.withMutableBytes { $0[Field<UInt32>.le(offset % 60)] = value }
            } else {
                let block = BlockNumber(used[random.next(below: used.count)])
                // Through the cache: the next look finds it as a disk without checksums has it.
                let bytes = try bench.cache.buffer(of: block).withBytes { $0.copy() }
                let (fresh, _) = bench.cache.fresh(block)
                fresh.fill(from: unsafe bytes.span.bytes)
                fresh.withMutableBytes { $0[Field<UInt32>.le(offset)] = value }
            }
        }
    }

    private func change(
        _ bench: inout MapWorkbench, _ random: inout Xorshift, end: UInt64
    ) throws(Ext4Error) {
        let start = LogicalBlock(UInt64(random.next(below: Int(end))))
        let count = 1 + UInt64(random.next(below: random.next(below: 2) == 0 ? 1000 : 5))
        let behind = LogicalBlock(start.rawValue + count)
        let kind = random.next(below: bench.usesExtents ? 6 : 3)
        try bench.edit { (editor, handle) throws(Ext4Error) in
            switch kind {
            case 0:
                let run = BlockRun(
                    logical: start, count: 1, state: .mapped(BlockNumber(700_000)))
                try editor.insert(run, in: &handle)
            case 1:
                _ = try editor.remove(start..<behind, limit: 50, in: &handle)
            case 2:
                _ = try editor.remove(LogicalBlock(0)..<LogicalBlock.end, limit: 50, in: &handle)
            case 3:
                try editor.convert(start..<behind, toWritten: false, in: &handle)
            case 4:
                try editor.shift(from: start, by: Int64(count), in: &handle)
            default:
                try editor.shift(from: start, by: -1, in: &handle)
            }
        }
    }
}
