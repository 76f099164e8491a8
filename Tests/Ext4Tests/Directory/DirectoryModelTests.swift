import Testing

@testable import Ext4

/// Long runs of random changes, against a dictionary.
@Suite struct DirectoryModelTests {
    typealias Entry = DirectoryBench.Entry
    typealias Options = DirectoryBench.Options

    static let options: [Options] =
        [
            Options(hasChecksums: false, hashVersion: nil, hasTypes: false),
            Options(hashVersion: nil),
            Options(blockSizeLog2: 11, hasChecksums: false),
            Options(blockSizeLog2: 12),
            Options(blockSizeLog2: 16, hasChecksums: false),
            Options(blockSizeLog2: 16),
            Options(hasChecksums: false, hashVersion: 2, hasTypes: false, hasLargeDir: true),
        ]
        + (0...2).flatMap {
            [Options(hashVersion: $0), Options(hashVersion: $0, isUnsigned: true)]
        }

    @Test(arguments: options) func behavesLikeADictionary(_ options: Options) throws {
        var random = Xorshift(UInt64(options.blockSizeLog2) * 31 + UInt64(options.hashVersion ?? 7))
        let bench = try DirectoryBench(options)
        var model: [[UInt8]: Entry] = [:]
        var names: [[UInt8]] = []
        // It grows, shrinks to nothing, and grows again.
        let steps = options.blockSizeLog2 == 16 ? 1_500 : 600
        for phase in 0..<4 {
            for step in 0..<steps {
                try change(bench, &model, &names, growth: phase % 2 == 0 ? 8 : 3, &random)
                if step % 300 == 0 { try bench.check(model) }
            }
            try bench.reload()
            try bench.check(model)
        }
        for name in names {
            let expected = model.removeValue(forKey: name)
            #expect(expected != nil)
            #expect(try bench.remove(name) == expected)
        }
        try bench.check([:])
        #expect(bench.flags.contains(.index) == (options.hashVersion != nil))
    }

    /// One random change, which may be one that fails.
    private func change(
        _ bench: DirectoryBench, _ model: inout [[UInt8]: Entry], _ names: inout [[UInt8]],
        growth: Int, _ random: inout Xorshift
    ) throws {
        let hasTypes = bench.superblock.incompatible.contains(.filetype)
        let type = FileType(rawValue: UInt8(1 + random.next(below: 7))) ?? .regular
        let inode = InodeNumber(UInt32(13 + random.next(below: 30_000)))
        let stored = Entry(inode: inode, type: hasTypes ? type : .unknown)
        let entry = Entry(inode: inode, type: type)
        let known = names.isEmpty ? nil : random.next(below: names.count)
        switch (random.next(below: 12), known) {
        case (0..<growth, _):
            let name = Self.name(&random)
            guard model[name] == nil, !name.isDotOrDotDot else { return }
            try bench.insert(name, entry)
            model[name] = stored
            names.append(name)
        case (growth..<10, let known?):
            let name = names.remove(at: known)
            #expect(try bench.remove(name) == model.removeValue(forKey: name))
        case (10, let known?):
            #expect(try bench.replace(names[known], entry) == model[names[known]])
            model[names[known]] = stored
        case (_, let known?):
            #expect(throws: Ext4Error.exists) { try bench.insert(names[known], entry) }
            #expect(throws: Ext4Error.notFound) { try bench.remove(names[known] + [1]) }
            #expect(throws: Ext4Error.notFound) { try bench.replace(names[known] + [1], entry) }
        default: break
        }
    }

    /// A name of any bytes and any length; short ones are as frequent as long ones.
    static func name(_ random: inout Xorshift) -> [UInt8] {
        let longest = random.next(below: 2) == 0 ? 255 : 16
        return (0...random.next(below: longest)).map { _ in
            let byte = UInt8(truncatingIfNeeded: random.next())
            return byte == 0 || byte == UInt8(ascii: "/") ? 1 : byte
        }
    }

    /// With TEA a name's hash stays the same when the high bits of bytes 0 and 4, or 8 and 12, of a
    /// piece of 16 change together.
    static func twins(of stem: [UInt8]) -> [[UInt8]] {
        var names = [stem]
        for start in stride(from: 0, to: stem.count - 7, by: 8) where start + 4 < stem.count {
            names += names.map { name in
                var twin = name
                twin[start] ^= 0x80
                twin[start + 4] ^= 0x80
                return twin
            }
        }
        return names
    }

    @Test(arguments: [false, true]) func namesWithOneHashFillManyLeaves(isUnsigned: Bool) throws {
        let bench = try DirectoryBench(Options(hashVersion: 2, isUnsigned: isUnsigned))
        var random = Xorshift(77)
        var model: [[UInt8]: Entry] = [:]
        let stem = Array(
            "a name of seventy-two bytes, so that there are five hundred and twelve..".utf8)
        let names = Self.twins(of: stem)
        #expect(names.count == 512)
        for (i, name) in names.enumerated() {
            let entry = Entry(inode: InodeNumber(UInt32(100 + i)), type: .regular)
            try bench.insert(name, entry)
            model[name] = entry
            // Others come between them.
            let other = Self.name(&random)
            guard model[other] == nil, !other.isDotOrDotDot else { continue }
            try bench.insert(other, entry)
            model[other] = entry
        }
        let index = try #require(try HTreeIndex(bench.directory))
        let hashes = names.map { unsafe index.hash.hash(of: $0.span.bytes) }
        #expect(Set(hashes).count == 1)
        try bench.reload()
        try bench.check(model)
        for name in names {
            #expect(throws: Ext4Error.exists) {
                try bench.insert(name, Entry(inode: InodeNumber(99), type: .regular))
            }
        }
        // In pieces, names with one hash are told apart by their second.
        var position: UInt64 = 0
        var seen: Set<[UInt8]> = []
        while let piece = try bench.list(from: position, count: 3) {
            for (name, _) in piece.entries { #expect(seen.insert(name).inserted) }
            position = piece.next
        }
        #expect(seen.count == model.count + 2)
        for name in names.reversed() {
            #expect(try bench.remove(name) == model.removeValue(forKey: name))
        }
        try bench.reload()
        try bench.check(model)
    }

    /// With names of 250 bytes a leaf of 1 KiB has two or three, and a node 126 leaves.
    @Test func levelsAreAddedUpToTheLimit() throws {
        let bench = try DirectoryBench(Options())
        var model: [[UInt8]: Entry] = [:]
        var next = 0
        func insertOne() throws(Ext4Error) {
            let name = Array("\(1_000_000_000 + next)".utf8) + [UInt8](repeating: 120, count: 240)
            let entry = Entry(inode: InodeNumber(UInt32(13 + next % 30_000)), type: .regular)
            try bench.insert(name, entry)
            model[name] = entry
            next += 1
        }
        #expect(throws: Ext4Error.noSpace) {
            while true { try insertOne() }
        }
        #expect(next > 20_000)
        #expect(try HTreeIndex(bench.directory)?.root.indirectLevels == 1)
        let before = try bench.contents()
        #expect(throws: Ext4Error.noSpace) { try insertOne() }
        #expect(try bench.contents() == before)

        bench.superblock = try DirectoryBench.superblock(Options(hasLargeDir: true))
        for _ in 0..<500 { try insertOne() }
        #expect(try HTreeIndex(bench.directory)?.root.indirectLevels == 2)
        try bench.reload()
        try bench.check(model)
    }
}

extension [UInt8] {
    fileprivate var isDotOrDotDot: Bool { self == [46] || self == [46, 46] }
}
