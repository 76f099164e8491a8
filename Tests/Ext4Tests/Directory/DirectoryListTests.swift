import Testing

@testable import Ext4

/// Listings in pieces, while names come and go: what is there all the time is seen exactly once.
@Suite struct DirectoryListTests {
    typealias Entry = DirectoryBench.Entry
    typealias Options = DirectoryBench.Options

    static let entry = Entry(inode: InodeNumber(77), type: .regular)

    static let options: [Options] = [
        Options(hashVersion: nil), Options(blockSizeLog2: 12, hashVersion: nil),
        Options(hashVersion: 0), Options(hashVersion: 1), Options(hashVersion: 2),
        Options(blockSizeLog2: 12), Options(hasChecksums: false, hashVersion: 2),
    ]

    @Test(arguments: options) func whatStaysIsSeenOnce(_ options: Options) throws {
        for seed in 1...6 as ClosedRange<UInt64> {
            var random = Xorshift(seed)
            let bench = try DirectoryBench(options)
            var staying: Set<[UInt8]> = [[46], [46, 46]]
            var passing: [[UInt8]] = []
            // From a directory of one block, which gets its index meanwhile, to larger ones.
            let start = [3, 12, 40, 300][Int(seed % 4)]
            for i in 0..<start {
                let name = Array("stays \(i) \(random.next())".utf8)
                try bench.insert(name, Self.entry)
                staying.insert(name)
            }
            var seen: [[UInt8]: Int] = [:]
            var position: UInt64 = 0
            while let piece = try bench.list(from: position, count: 1 + random.next(below: 7)) {
                for (name, _) in piece.entries { seen[name, default: 0] += 1 }
                #expect(piece.next > position && piece.next <= UInt64(Int64.max))
                position = piece.next
                for _ in 0..<random.next(below: 12) {
                    // Replacing is no leaving.
                    if let name = staying.randomElement(), name.count > 2 {
                        _ = try bench.replace(name, Self.entry)
                    }
                    if random.next(below: 3) > 0 {
                        let name = Array("comes \(random.next())".utf8)
                        try bench.insert(name, Self.entry)
                        passing.append(name)
                    } else if !passing.isEmpty {
                        _ = try bench.remove(
                            passing.remove(at: random.next(below: passing.count)))
                    }
                }
                // Some names come in front of a listing by offsets for ever: it is long enough.
                if seen.count > 2_000 { passing = try thin(bench, passing) }
            }
            for name in staying { #expect(seen[name] == 1, "\(name)") }
            #expect(seen.values.allSatisfy { $0 == 1 })
        }
    }

    /// Removes all that comes and goes.
    private func thin(_ bench: DirectoryBench, _ names: [[UInt8]]) throws -> [[UInt8]] {
        for name in names { _ = try bench.remove(name) }
        return []
    }

    /// What `rm -rf` does: a piece is listed, and what it shows removed.
    @Test(arguments: options) func removingWhatIsListedLeavesNothing(_ options: Options) throws {
        for size in [1, 2, 30, 1_000] {
            var random = Xorshift(UInt64(size))
            let bench = try DirectoryBench(options)
            for i in 0..<1_500 {
                let length = random.next(below: 60)
                try bench.insert(
                    Array("\(i)".utf8) + [UInt8](repeating: 97, count: length), Self.entry)
            }
            var position: UInt64 = 0
            while let piece = try bench.list(from: position, count: size) {
                for (name, _) in piece.entries where name != [46] && name != [46, 46] {
                    _ = try bench.remove(name)
                }
                position = piece.next
            }
            #expect(try bench.directory.isEmpty())
        }
    }

    /// An index that cannot be followed, or that does not lead to all leaves, is not used.
    @Test func damagedIndexesAreListedByBlocks() throws {
        let bench = try DirectoryBench(Options(hasChecksums: false))
        var names: Set<[UInt8]> = [[46], [46, 46]]
        for i in 0..<1_000 {
            let name = Array("name \(i)".utf8)
            try bench.insert(name, Self.entry)
            names.insert(name)
        }
        let root = try bench.cache.buffer(of: BlockNumber(DirectoryBench.firstBlock))
        let entries = HTreeNode.rootBase + HTreeNode.RootLayout.size
        let sound = try bench.contents()[0]
        typealias Layout = HTreeNode.EntryLayout
        let damages: [(inout MutableRawSpan) -> Void] = [
            { $0[HTreeNode.CountLayout.count.at(entries)] -= 1 },
            { $0[HTreeNode.CountLayout.count.at(entries)] = 0 },
            { $0[Layout.block.at(entries + 8)] = $0[Layout.block.at(entries + 16)] },
            { $0[Layout.hash.at(entries + 8)] = $0[Layout.hash.at(entries + 24)] },
            { $0[Layout.block.at(entries + 8)] = 0x0FFF_FFFF },
            { $0[HTreeNode.RootLayout.hashVersion.at(HTreeNode.rootBase)] = 99 },
            { $0[HTreeNode.RootLayout.indirectLevels.at(HTreeNode.rootBase)] = 1 },
        ]
        for damage in damages {
            root.withMutableBytes { damage(&$0) }
            var seen: [[UInt8]: Int] = [:]
            var position: UInt64 = 0
            while let piece = try bench.list(from: position, count: 17) {
                for (name, _) in piece.entries { seen[name, default: 0] += 1 }
                #expect(!HashOrder.isPosition(piece.next))
                position = piece.next
            }
            #expect(Set(seen.keys) == names && seen.values.allSatisfy { $0 == 1 })
            root.withMutableBytes { unsafe $0.copy(from: sound.span.bytes) }
        }
        #expect(try bench.list(from: 0, count: 1)?.next == HashOrder.first + 1)
    }

    /// Positions that nobody was given end a listing or start it somewhere; they do no harm.
    @Test(arguments: options) func inventedPositionsDoNoHarm(_ options: Options) throws {
        let bench = try DirectoryBench(options)
        for i in 0..<400 { try bench.insert(Array("name \(i)".utf8), Self.entry) }
        var random = Xorshift(5)
        for _ in 0..<300 {
            let position = random.next() >> UInt64(random.next(below: 64))
            do throws(Ext4Error) {
                let count = try bench.list(from: position, count: .max)?.entries.count ?? 0
                #expect(count <= 402)
            } catch {
                #expect(error == .invalidArgument)
            }
        }
    }
}
