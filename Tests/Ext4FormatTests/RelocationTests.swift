import Testing

@testable import Ext4
import Ext4Check

/// Volumes of an open size in which each group has structures of its own.
@Suite struct RelocationTests {
    private func run(_ logical: UInt64, _ start: UInt64, _ count: UInt64) -> BlockRun {
        BlockRun(
            logical: LogicalBlock(logical), count: count, state: .mapped(BlockNumber(start)))
    }

    @Test func theOrderStays() throws {
        let moved = try #require(
            Relocation(of: [10..<20, 30..<35], to: [5..<8, 12..<15, 40..<60]))
        #expect(moved.places == [5..<8, 12..<15, 40..<44, 44..<49])
        #expect(Relocation(of: [10..<20], to: [5..<8, 12..<15]) == nil)
        // Room that fits to the block.
        #expect(Relocation(of: [10..<20], to: [0..<10])?.places == [0..<10])
        #expect(Relocation(of: [], to: [])?.places == [])
    }

    @Test func runsAreCutWhereTheirPlaceEnds() throws {
        let moved = try #require(
            Relocation(of: [10..<20, 30..<35], to: [5..<8, 12..<15, 40..<60]))
        #expect(moved.moved([run(0, 10, 10)]) == [run(0, 5, 3), run(3, 12, 3), run(6, 40, 4)])
        // What lies in two places and comes together; a hole stays one.
        #expect(moved.moved([run(2, 18, 2), run(4, 30, 5)]) == [run(2, 42, 7)])
        #expect(moved.moved([run(0, 11, 1), run(9, 19, 1)]) == [run(0, 6, 1), run(9, 43, 1)])
    }

    /// Contents go towards the start and towards the end, over what is yet to move.
    @Test func whatWasWrittenMoves() throws {
        var options = try someOptions(.ext2, "")
        options.blockSize = 1024
        let device = MemoryDevice([UInt8](repeating: 0, count: 4 << 20))
        let maker = try VolumeMaker(
            device, try VolumeLayout(options, byteCount: 4 << 20), isZeroed: true)
        let taken: [Range<UInt64>] = [300..<900, 1000..<1800]
        for block in taken.joined() {
            try maker.write([UInt8](repeating: UInt8(block % 251), count: 1024), atBlock: block)
        }
        let room: [Range<UInt64>] = [100..<450, 800..<1000, 1300..<2300]
        let relocation = try #require(Relocation(of: taken, to: room))
        try maker.carryOut(relocation)
        let bytes = device.bytes
        var expected = [UInt8](repeating: 0, count: 4 << 10)
        for (from, to) in zip(taken.joined(), room.joined()) {
            expected[Int(to)] = UInt8(from % 251)
        }
        for (block, byte) in expected.enumerated() {
            let isRight = bytes[block << 10..<(block + 1) << 10].allSatisfy { $0 == byte }
            #expect(isRight, "block \(block)")
        }
    }

    /// A kind of volume.
    struct Kind: Sendable, CustomTestStringConvertible {
        let kind: FormatOptions.Kind
        let features: String
        let perGroup: UInt32
        var testDescription: String { "\(kind) \(features) \(perGroup)" }
    }

    static let kinds = [
        Kind(kind: .ext2, features: "", perGroup: 512),
        Kind(kind: .ext2, features: "^sparse_super,^resize_inode", perGroup: 1024),
        Kind(kind: .ext3, features: "", perGroup: 1024),
        Kind(kind: .ext4, features: "^flex_bg", perGroup: 512),
        Kind(kind: .ext4, features: "^flex_bg,meta_bg,^resize_inode", perGroup: 512),
        Kind(kind: .ext4, features: "^flex_bg,inline_data,ea_inode,quota", perGroup: 1024),
        Kind(kind: .ext4, features: "^flex_bg,bigalloc,^has_journal", perGroup: 256),
        Kind(kind: .ext4, features: "meta_bg,^resize_inode", perGroup: 512),
    ]

    /// As small as it can be, and everything is there.
    @Test(arguments: kinds)
    func groupsHaveTheirOwn(_ kind: Kind) throws {
        var options = try someOptions(kind.kind, kind.features)
        options.blockSize = 1024
        options.blocksPerGroup = kind.perGroup
        if kind.features.contains("bigalloc") { options.clusterSize = 4096 }
        options.journalMebibytes = kind.kind == .ext3 ? 1 : nil
        let device = MemoryDevice([UInt8](repeating: 0, count: 24 << 20))
        let builder = try ImageBuilder(
            device, options, size: .automatic(free: 100 << 10, limit: 24 << 20))
        func contents(_ number: Int, _ count: Int) -> [UInt8] {
            (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ $0 >> 8 &+ number) }
        }
        let sizes = [0, 1, 1023, 5000, 20_000, 1_300_000, 700]
        for (number, size) in sizes.enumerated() {
            let directory = try builder.add(
                FileName(Array("d\(number)".utf8)), in: .root, .directory())
            for copy in 0..<(size > 100_000 ? 2 : 8) {
                try builder.addFile(
                    FileName(Array("f\(copy)".utf8)), in: directory, .file(),
                    contents: contents(number, size))
            }
        }
        let link = [UInt8](repeating: 0x6C, count: 500)
        try builder.add("link", in: .root, .symlink(to: link))
        // A file with holes, and one that is gone.
        _ = try builder.openFile("sparse", in: .root, .file(), size: 900_000, hasHoles: true)
        try builder.skip(to: 400_000)
        let piece = contents(3, 30_000)
        try builder.write(unsafe piece.span.bytes)
        try builder.closeFile(size: 900_000)
        try builder.addFile("gone", in: .root, .file(), contents: contents(9, 200_000))
        try builder.remove("gone", in: .root)
        let size = try builder.finish()

        let image = MemoryDevice(Array(device.bytes[..<Int(size)]))
        var checking = CheckOptions()
        checking.threads = 1
        #expect(try Check.run(image, options: checking).report.findings.map { "\($0)" } == [])
        let volume = try Volume.open(image)
        #expect(volume.superblock.groupCount > 2)
        #expect(volume.superblock.freeBlocksCount >= 100)
        #expect(volume.superblock.freeBlocksCount < 260)
        for (number, size) in sizes.enumerated() {
            for copy in 0..<(size > 100_000 ? 2 : 8) {
                let file = try volume.inode(atPath: "/d\(number)/f\(copy)")
                let isSame = try volume.contents(of: file) == contents(number, size)
                #expect(isSame, "/d\(number)/f\(copy)")
            }
        }
        #expect(try volume.symlinkTarget(of: volume.lookup("link", in: volume.root())) == link)
        var sparse = [UInt8](repeating: 0, count: 900_000)
        sparse.replaceSubrange(400_000..<430_000, with: piece)
        let isSame = try volume.contents(of: volume.inode(atPath: "/sparse")) == sparse
        #expect(isSame)
        // Behind the contents nothing is left of what was written on the way.
        #expect(device.bytes[Int(size)...].allSatisfy { $0 == 0 })
    }

    /// What was replaced is not in the image any more, wherever it lay.
    @Test(arguments: ["", "^flex_bg"])
    func nothingIsLeftOfWhatWasReplaced(_ features: String) throws {
        var options = try someOptions(.ext4, features)
        options.blockSize = 1024
        let device = MemoryDevice([UInt8](repeating: 0, count: 8 << 20))
        let builder = try ImageBuilder(
            device, options, size: .automatic(free: 0, limit: 8 << 20))
        let secret = Array("a secret that nobody is to find ".utf8)
        var contents: [UInt8] = []
        while contents.count < 60_000 { contents += secret }
        try builder.addFile("file", in: .root, .file(), contents: contents)
        try builder.add("file", in: .root, .symlink(to: [0x78]))
        _ = try builder.finish()
        let bytes = device.bytes
        let found = stride(from: 0, to: bytes.count, by: 1024).filter {
            bytes[$0..<$0 + secret.count].elementsEqual(secret)
                || bytes[$0..<$0 + 1024].contains(0x61)
                    && String(decoding: bytes[$0..<$0 + 1024], as: UTF8.self).contains("a secret")
        }
        #expect(found.isEmpty)
    }

    /// More inodes than a group can have make smaller groups, of which no copy of the superblock
    /// lies where contents are.
    @Test(arguments: [(100, 9000), (3000, 9000), (3000, 20_000)])
    func manyInodesMakeSmallerGroups(_ taken: UInt64, _ inodeCount: UInt64) throws {
        var options = try someOptions(.ext4, "^has_journal")
        options.blockSize = 1024
        let device = MemoryDevice([UInt8](repeating: 0, count: 24 << 20))
        let maker = try VolumeMaker(growingOn: device, options, descriptorRoom: 8)
        let runs = try maker.takeFirst(taken)
        try maker.settle(inodeCount: inodeCount, freeBlocks: 0)
        let superblock = maker.superblock
        #expect(superblock.inodesCount >= inodeCount)
        #expect(superblock.blocksPerGroup < 8192)
        // A block has four inodes. As much is empty as it takes to get out of the way.
        let least = taken + inodeCount / 4
        #expect((least..<least + 1200).contains(superblock.blocksCount))
        for group in 0..<superblock.groupCount {
            for copy in maker.layout.copies(in: group) {
                #expect(!runs.contains { $0.overlaps(copy) })
            }
        }
        for run in runs { maker.free(run) }
        try maker.makeEmptyRoot()
        try maker.makeOwnFiles(hasContents: true)
        try maker.finish()
        var checking = CheckOptions()
        checking.threads = 1
        #expect(try Check.run(device, options: checking).report.findings.map { "\($0)" } == [])
    }
}
