import Ext4
import Testing

/// Contents of files: as they come, longer and shorter than was said, with holes, and broken off.
@Suite struct ImageContentsTests {
    static let kinds: [ImageKind] = [
        .ext4, .small, .inline, .bigalloc, ImageKind(kind: .ext2, blockSize: 1024),
        ImageKind(features: "^has_journal,bigalloc,inline_data", megabytes: 16),
    ]

    private func write(_ bytes: [UInt8], _ image: TestImage) throws {
        try image.builder.write(unsafe bytes.span.bytes)
    }

    /// Sizes around the limits of inodes and blocks, and contents in pieces that meet neither.
    @Test(arguments: kinds)
    func sizesThatWereSaidWrong(_ kind: ImageKind) throws {
        let image = try TestImage(kind)
        var expected: ShownTree = [:]
        for (index, size) in [0, 1, 60, 61, 150, 160, 1024, 1025, 4096, 9000, 70_000].enumerated() {
            for said in [0, 1, 155, 1024, 20_000, 100_000] {
                let name = FileName("\(size) for \(said)")
                let bytes = pattern(size, seed: index + said)
                _ = try image.builder.openFile(name, in: .root, .file(), size: UInt64(said))
                var done = 0
                while done < size {
                    let end = min(size, done + 777)
                    try write(Array(bytes[done..<end]), image)
                    done = end
                }
                try image.builder.closeFile(size: UInt64(size))
                expected[name] = .file(bytes)
            }
        }
        let volume = try image.finish()
        expectSame(try volume.shownTree(), expected)
        // Blocks that were announced and not needed are nobody's.
        for said in ["0", "1024", "100000"] {
            let short = try volume.inode(atPath: "/1 for \(said)")
            let unit = volume.superblock.clusterSize
            #expect(short.usesInlineData || short.blocks512 == UInt64(unit / 512), "\(said)")
            let none = try volume.inode(atPath: "/0 for \(said)")
            #expect(none.blocks512 == 0, "\(said)")
        }
    }

    /// A file ends where it was said when it ends before, and reads as zeros from there on.
    @Test(arguments: kinds)
    func theEndIsZeros(_ kind: ImageKind) throws {
        let image = try TestImage(kind)
        _ = try image.builder.openFile("said", in: .root, .file(), size: 9000)
        try write(pattern(100), image)
        try image.builder.closeFile()
        _ = try image.builder.openFile("longer", in: .root, .file(), size: 10)
        try write(pattern(10), image)
        try image.builder.closeFile(size: 3_000_000)
        _ = try image.builder.openFile("a little longer", in: .root, .file(), size: 10)
        try write(pattern(10), image)
        try image.builder.closeFile(size: 120)
        let volume = try image.finish()
        func zeros(_ count: Int) -> [UInt8] { [UInt8](repeating: 0, count: count) }
        expectSame(
            try volume.shownTree(),
            [
                "said": .file(pattern(100) + zeros(8900)),
                "longer": .file(pattern(10) + zeros(2_999_990)),
                "a little longer": .file(pattern(10) + zeros(110)),
            ])
        #expect(try volume.inode(atPath: "/longer").blocks512 <= 64)
    }

    /// Holes read as zeros and take no blocks.
    @Test(arguments: kinds)
    func holesAreHoles(_ kind: ImageKind) throws {
        let image = try TestImage(kind)
        let builder = image.builder
        let parts: [(offset: Int, count: Int)] = [
            (0, 5000), (100_003, 10), (300_000, 4096), (1_000_000, 70_001), (5_000_000, 1),
        ]
        var expected = [UInt8](repeating: 0, count: 6_000_000)
        _ = try builder.openFile("holes", in: .root, .file(), size: 6_000_000, hasHoles: true)
        for (offset, count) in parts {
            let bytes = pattern(count, seed: offset)
            expected.replaceSubrange(offset..<offset + count, with: bytes)
            try builder.skip(to: UInt64(offset))
            try builder.reserve(UInt64(count))
            try write(bytes, image)
        }
        try builder.closeFile(size: 6_000_000)
        _ = try builder.openFile("hole", in: .root, .file(), size: 4_000_000_000, hasHoles: true)
        try builder.closeFile()
        _ = try builder.openFile("end", in: .root, .file(), size: 200, hasHoles: true)
        try builder.skip(to: 150)
        try write(pattern(50), image)
        try builder.closeFile()
        let volume = try image.finish()
        #expect(try volume.bytes(at: "/end") == [UInt8](repeating: 0, count: 150) + pattern(50))
        let inode = try volume.inode(atPath: "/holes")
        let isSame = try volume.contents(of: inode) == expected
        #expect(isSame)
        let block = volume.blockSize
        let mapped = try volume.mappings(of: inode).reduce(0) { $0 + Int($1.count) }
        let wanted = parts.reduce(0) {
            $0 + ($1.offset + $1.count - 1) / block - $1.offset / block + 1
        }
        #expect(mapped == wanted)
        let hole = try volume.inode(atPath: "/hole")
        #expect(hole.size == 4_000_000_000)
        #expect(hole.blocks512 == 0)
    }

    /// Holes that begin and end anywhere: at the border of a block and in its middle, in one block or
    /// over several.
    @Test(arguments: kinds)
    func holesBeginAndEndAnywhere(_ kind: ImageKind) throws {
        let image = try TestImage(kind)
        var expected: ShownTree = [:]
        var state: UInt64 = 11
        func random(_ limit: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % limit
        }
        for number in 0..<60 {
            let name = FileName("\(number)")
            _ = try image.builder.openFile(
                name, in: .root, .file(), size: 40_000, hasHoles: true)
            var bytes: [UInt8] = []
            for _ in 0...random(6) {
                let hole = [0, 10, 512, 904, 1024, 3000, 4096, 9000][random(8)]
                let data = [10, 512, 1000, 1024, 4096, 5000][random(6)]
                bytes += [UInt8](repeating: 0, count: hole)
                try image.builder.skip(to: UInt64(bytes.count))
                let contents = pattern(data, seed: number)
                try write(contents, image)
                bytes += contents
            }
            try image.builder.closeFile(size: UInt64(bytes.count) + 3000)
            expected[name] = .file(bytes + [UInt8](repeating: 0, count: 3000))
        }
        expectSame(try image.finish().shownTree(), expected)
    }

    /// A part that was reserved lies in one piece, whatever is written in between.
    @Test func whatWasReservedLiesTogether() throws {
        let image = try TestImage(.small)
        _ = try image.builder.openFile("f", in: .root, .file(), size: 1 << 20, hasHoles: true)
        try image.builder.skip(to: 1024)
        try image.builder.reserve(500 << 10)
        for _ in 0..<500 { try write(pattern(1024), image) }
        try image.builder.closeFile(size: 1 << 20)
        let volume = try image.finish()
        let runs = try volume.mappings(of: volume.inode(atPath: "/f"))
        #expect(runs.map(\.count) == [500])
        #expect(runs.first?.logical.rawValue == 1)
    }

    /// A source that gives less than it was asked for, at any byte.
    @Test(arguments: kinds)
    func partsMayBeShort(_ kind: ImageKind) throws {
        let image = try TestImage(kind)
        let before = pattern(30_000, seed: 9)
        let bytes = pattern(20_000, seed: 5)
        try image.builder.addFile("before", in: .root, .file(), contents: before)
        _ = try image.builder.openFile("short", in: .root, .file(), size: 20_000)
        var done = 0
        var turn = 0
        while done < 20_000 {
            turn += 1
            let part = [0, 100, 1, 3000, 96, 1500, 5000][turn % 7]
            let wanted = 20_000 - done
            done += try image.builder.fill(upTo: wanted) { target in
                let count = min(part, target.byteCount)
                for index in 0..<count {
                    target.storeBytes(of: bytes[done + index], toByteOffset: index, as: UInt8.self)
                }
                return count
            }
        }
        try image.builder.closeFile()
        // A source that ends before its time.
        _ = try image.builder.openFile("cut", in: .root, .file(), size: 20_000)
        let count = try image.builder.fill(upTo: 20_000) { target in
            for index in 0..<100 {
                target.storeBytes(of: bytes[index], toByteOffset: index, as: UInt8.self)
            }
            return 100
        }
        #expect(count == 100)
        #expect(try image.builder.fill(upTo: 19_900) { _ in -1 } == 0)
        try image.builder.closeFile(size: 100)
        try image.builder.addFile("after", in: .root, .file(), contents: before)
        expectSame(
            try image.finish().shownTree(),
            [
                "before": .file(before), "short": .file(bytes), "cut": .file(Array(bytes[..<100])),
                "after": .file(before),
            ])
    }

    /// Something with blocks of its own between two parts of a file.
    @Test func namesMayComeWhileAFileIsOpen() throws {
        let image = try TestImage(.small)
        let bytes = pattern(5000)
        let target = [UInt8](repeating: 0x74, count: 700)
        try image.builder.addFile("old", in: .root, .file(), contents: pattern(3000, seed: 4))
        _ = try image.builder.openFile("f", in: .root, .file(), size: 5000)
        try write(Array(bytes[..<1500]), image)
        try image.builder.add("link", in: .root, .symlink(to: target))
        try image.builder.remove("old", in: .root)
        try write(Array(bytes[1500...]), image)
        try image.builder.closeFile()
        _ = try image.builder.openFile("gone", in: .root, .file(), size: 5000)
        try write(bytes, image)
        try image.builder.remove("gone", in: .root)
        try image.builder.closeFile()
        expectSame(
            try image.finish().shownTree(), ["f": .file(bytes), "link": .symlink(target)])
    }

    @Test(arguments: kinds)
    func anAbandonedFileIsGone(_ kind: ImageKind) throws {
        let image = try TestImage(kind)
        let builder = image.builder
        builder.abandonFile()
        let open = try builder.openFile("file", in: .root, .file(), size: 100_000)
        try write(pattern(50_000), image)
        try builder.addLink("link", in: .root, to: open)
        builder.abandonFile()
        #expect(!builder.isNamed(open))
        #expect(throws: Ext4Error.invalidArgument) { try builder.closeFile() }
        try builder.addFile("other", in: .root, .file(), contents: pattern(70_000, seed: 2))
        expectSame(try image.finish().shownTree(), ["other": .file(pattern(70_000, seed: 2))])
    }

    /// Calls that make no sense are refused, and the builder goes on.
    @Test func callsOutOfOrderAreRefused() throws {
        let image = try TestImage(.ext4)
        let builder = image.builder
        #expect(throws: Ext4Error.invalidArgument) { try write([1], image) }
        #expect(throws: Ext4Error.invalidArgument) { try builder.skip(to: 1) }
        #expect(throws: Ext4Error.invalidArgument) { try builder.reserve(1) }
        #expect(throws: Ext4Error.invalidArgument) { try builder.closeFile() }
        #expect(throws: Ext4Error.invalidArgument) {
            try builder.openFile("d", in: .root, .directory(), size: 1)
        }
        _ = try builder.openFile("file", in: .root, .file(), size: 5)
        try write([1, 2, 3, 4, 5], image)
        #expect(throws: Ext4Error.busy) {
            try builder.openFile("two", in: .root, .file(), size: 1)
        }
        #expect(throws: Ext4Error.invalidArgument) { try builder.skip(to: 4) }
        #expect(throws: Ext4Error.invalidArgument) { try builder.closeFile(size: 4) }
        #expect(throws: Ext4Error.invalidArgument) { try builder.finish() }
        try builder.closeFile()
        let volume = try image.finish()
        expectSame(try volume.shownTree(), ["file": .file([1, 2, 3, 4, 5])])
        #expect(throws: Ext4Error.invalidArgument) { try builder.finish() }
    }

    /// Sizes that the format has no room for.
    @Test func sizesBeyondTheFormatAreRefused() throws {
        let image = try TestImage(.ext4)
        let builder = image.builder
        for size: UInt64 in [.max, 1 << 62, 1 << 60, 16 << 40] {
            #expect(throws: Ext4Error.fileTooLarge, "\(size)") {
                try builder.openFile("f", in: .root, .file(), size: size, hasHoles: true)
            }
            #expect(try builder.find("f", in: .root) == nil)
            _ = try builder.openFile("g", in: .root, .file(), size: 0)
            try write([1], image)
            #expect(throws: Ext4Error.fileTooLarge) { try builder.skip(to: size) }
            #expect(throws: Ext4Error.fileTooLarge) { try builder.reserve(size) }
            #expect(throws: Ext4Error.fileTooLarge) { try builder.closeFile(size: size) }
            try builder.closeFile()
        }
        _ = try builder.openFile(
            "large", in: .root, .file(), size: (16 << 40) - 8192, hasHoles: true)
        try builder.closeFile()
        let volume = try image.finish()
        #expect(try volume.inode(atPath: "/large").size == (16 << 40) - 8192)
        #expect(try volume.bytes(at: "/g") == [1])
    }
}
