import Ext4
import TestShell
import Testing

/// Where things lie: files in one piece, one behind the other, around what cannot move.
@Suite struct ImageLayoutTests {
    /// The runs of a file, by blocks of the volume.
    private func runs(_ path: String, _ volume: Volume) throws -> [Range<UInt64>] {
        try volume.mappings(of: volume.inode(atPath: path)).map { run in
            let start = try #require(run.start).rawValue
            return start..<start + run.count
        }
    }

    /// Contents come first, right behind the descriptors, and nothing lies between them.
    @Test(arguments: [ImageKind.ext4, .small, ImageKind(), ImageKind(kind: .ext2)])
    func filesLieBehindEachOther(_ kind: ImageKind) throws {
        let image = try TestImage(kind)
        let sizes = [3_000_000, 1, 70_000, 4096, 1_500_000, 12_288]
        for (index, size) in sizes.enumerated() {
            try image.builder.addFile(
                FileName("\(index)"), in: .root, .file(), contents: pattern(size, seed: index))
        }
        let volume = try image.finish()
        let superblock = volume.superblock
        // The superblock, one block of descriptors, and those that may come to be.
        var next = UInt64(superblock.firstDataBlock) + 2
        next += UInt64(superblock.reservedDescriptorBlocks)
        // Without flex_bg the group's bitmaps and its table come before them.
        let hasTablesBehind = superblock.incompatible.contains(.flexBg)
        if !hasTablesBehind { next += 2 + UInt64(superblock.inodeTableBlocks) }
        for (index, size) in sizes.enumerated() {
            let blocks = UInt64((size + volume.blockSize - 1) / volume.blockSize)
            #expect(try runs("/\(index)", volume) == [next..<next + blocks], "\(index)")
            next += blocks
        }
        let table = try volume.groupDescriptor(GroupNumber(0)).inodeTable.rawValue
        #expect((table >= next) == hasTablesBehind)
        // Of tables of pointers, which e2fsck counts as parts of a file, others stand at the end.
        guard superblock.incompatible.contains(.extents) else { return }
        let said = try shell("e2fsck -fn $1 2>/dev/null | tail -1", image.path)
        #expect(said.contains("(0.0% non-contiguous)"), "\(said)")
    }

    /// Groups of a MiB, with a copy of the superblock at the start of 1, 3, 5, 7 and 9.
    private func smallGroups(_ features: String = "^has_journal") throws -> FormatOptions {
        var options = try someOptions(.ext4, features)
        options.blockSize = 1024
        options.blocksPerGroup = 1024
        return options
    }

    /// The blocks of the copies behind group 0.
    private func copies(_ superblock: Superblock) -> [Range<UInt64>] {
        let count = 2 + UInt64(superblock.reservedDescriptorBlocks)
        return [1, 3, 5, 7, 9].filter { $0 < superblock.groupCount }.map {
            UInt64($0) * 1024 + 1..<UInt64($0) * 1024 + 1 + count
        }
    }

    /// While the size is open a large file goes on behind a copy that it meets.
    @Test func aFileGoesAroundCopies() throws {
        let image = try TestImage(
            smallGroups(), size: .automatic(free: 0, limit: 16 << 20))
        let bytes = pattern(5 << 20)
        try image.builder.addFile("large", in: .root, .file(), contents: bytes)
        let volume = try image.finish()
        let copies = copies(volume.superblock)
        let found = try runs("/large", volume)
        #expect(copies.count == 3)
        #expect(found.count == 4)
        for (run, copy) in zip(found, copies) { #expect(run.upperBound == copy.lowerBound) }
        for (run, copy) in zip(found.dropFirst(), copies) {
            #expect(run.lowerBound == copy.upperBound)
        }
        let isSame = try volume.bytes(at: "/large") == bytes
        #expect(isSame)
    }

    /// With meta_bg each block of descriptors lies with its sixteen groups, three times.
    @Test(arguments: [1, 3, 18, 40]) func aFileGoesAroundDescriptors(_ megabytes: Int) throws {
        let image = try TestImage(
            smallGroups("^has_journal,meta_bg,^resize_inode"),
            size: .automatic(free: 0, limit: 64 << 20))
        let bytes = pattern(megabytes << 20)
        try image.builder.addFile("large", in: .root, .file(), contents: bytes)
        let volume = try image.finish()
        #expect(volume.superblock.groupCount == UInt32(megabytes) + 1)
        #expect(volume.superblock.freeBlocksCount < 20)
        let isSame = try volume.bytes(at: "/large") == bytes
        #expect(isSame)
    }

    /// Less than 256 blocks before a copy are left to smaller files, and those take them.
    @Test func whatIsLeftBeforeACopyIsUsed() throws {
        let image = try TestImage(smallGroups(), size: .automatic(free: 0, limit: 16 << 20))
        let builder = image.builder
        try builder.addFile("first", in: .root, .file(), contents: pattern(900 << 10))
        try builder.addFile("large", in: .root, .file(), contents: pattern(600 << 10, seed: 2))
        try builder.addFile("small", in: .root, .file(), contents: pattern(30 << 10, seed: 3))
        let volume = try image.finish()
        let copy = try #require(copies(volume.superblock).first)
        #expect(try runs("/large", volume) == [copy.upperBound..<copy.upperBound + 600])
        let small = try runs("/small", volume)
        #expect(small.count == 1)
        #expect(try #require(small.first).upperBound <= copy.lowerBound)
    }

    /// With a size that is set, tables and copies lie where they lie, and files go around them in
    /// one piece each.
    @Test(arguments: ["^has_journal", "^has_journal,^flex_bg,^resize_inode"])
    func filesStayWholeOnASetSize(_ features: String) throws {
        let image = try TestImage(smallGroups(features), size: .fixed(12 << 20))
        for number in 0..<9 {
            try image.builder.addFile(
                FileName("\(number)"), in: .root, .file(),
                contents: pattern(700 << 10, seed: number))
        }
        for number in 10..<40 {
            try image.builder.addFile(
                FileName("\(number)"), in: .root, .file(),
                contents: pattern(40 << 10, seed: number))
        }
        let volume = try image.finish()
        for number in [Int](0..<9) + [Int](10..<40) {
            #expect(try runs("/\(number)", volume).count == 1, "\(number)")
            let size = number < 10 ? 700 << 10 : 40 << 10
            let isSame = try volume.bytes(at: "/\(number)") == pattern(size, seed: number)
            #expect(isSame, "\(number)")
        }
    }

    /// Maps with nodes: more pieces than an inode has room for, up to two levels.
    @Test(arguments: [
        ImageKind.small, ImageKind(kind: .ext2, blockSize: 1024), .ext4, .bigalloc,
        ImageKind(kind: .ext3, blockSize: 1024),
    ])
    func filesOfManyPieces(_ kind: ImageKind) throws {
        let image = try TestImage(kind)
        let unit = kind.features.contains("bigalloc") ? 16 << 10 : 4096
        let count = 400
        var expected = [UInt8](repeating: 0, count: count * 2 * unit)
        _ = try image.builder.openFile(
            "f", in: .root, .file(), size: UInt64(expected.count), hasHoles: true)
        for piece in 0..<count {
            let bytes = pattern(700, seed: piece)
            expected.replaceSubrange(piece * 2 * unit..<piece * 2 * unit + 700, with: bytes)
            try image.builder.skip(to: UInt64(piece * 2 * unit))
            try image.builder.write(unsafe bytes.span.bytes)
        }
        try image.builder.closeFile()
        let volume = try image.finish()
        #expect(try runs("/f", volume).count == count)
        let isSame = try volume.bytes(at: "/f") == expected
        #expect(isSame)
        _ = try image.debugfs("dump /f \(image.scratch.path("out"))")
        let read = try image.scratch.read("out")
        let isSameByDebugfs =
            read.count <= expected.count
            && read + [UInt8](repeating: 0, count: expected.count - read.count) == expected
        #expect(isSameByDebugfs)
    }

    /// A directory of more than a block has an index, where the volume has indexes.
    @Test(arguments: [
        (ImageKind.small, true), (.ext4, true), (ImageKind(kind: .ext3, blockSize: 1024), true),
        (ImageKind(features: "^has_journal,^dir_index", blockSize: 1024), false),
        (ImageKind(features: "^has_journal,inline_data", blockSize: 1024), true),
    ])
    func largeDirectoriesHaveAnIndex(_ kind: ImageKind, _ isIndexed: Bool) throws {
        let image = try TestImage(kind)
        var expected: ShownTree = ["few": .directory(), "few/one": .file([]), "many": .directory()]
        let few = try image.builder.add("few", in: .root, .directory())
        try image.builder.add("one", in: few, .file())
        let many = try image.builder.add("many", in: .root, .directory())
        for number in 0..<1500 {
            let name = String(repeating: "n", count: number % 200) + "\(number)"
            try image.builder.add(FileName(name), in: many, .file())
            expected[FileName("many/\(name)")] = .file([])
        }
        let volume = try image.finish()
        expectSame(try volume.shownTree(), expected)
        #expect(try !volume.inode(atPath: "/few").flags.contains(.index))
        #expect(try volume.inode(atPath: "/many").flags.contains(.index) == isIndexed)
        guard isIndexed else { return }
        // Of 1 KiB, two levels.
        let said = try image.debugfs("htree_dump /many")
        #expect(said.contains("Indirect levels: \(volume.blockSize == 1024 ? 1 : 0)"))
    }
}
