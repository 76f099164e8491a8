import Ext4
import Ext4Host
import TestShell
import Testing

/// How large an image becomes: as small as it can be, or as large as it is told to be.
@Suite struct ImageSizeTests {
    static let kinds: [ImageKind] = [
        ImageKind(), .ext4, .small, .inline, ImageKind(kind: .ext2),
        ImageKind(features: "^has_journal,^resize_inode"),
        ImageKind(features: "^has_journal,^resize_inode,meta_bg", blockSize: 1024),
        ImageKind(features: "^metadata_csum,uninit_bg", blockSize: 2048),
        ImageKind(features: "^has_journal,bigalloc", blockSize: 1024),
        ImageKind(features: "quota,orphan_file,^resize_inode", blockSize: 1024),
    ]

    /// A number of the superblock, as dumpe2fs tells it.
    private func number(_ name: String, _ image: TestImage) throws -> Int {
        let said = try shell(
            "dumpe2fs -h $1 2>/dev/null | sed -n \"s/^$2: *//p\"", image.path, name)
        return try #require(Int(said.split(separator: "\n").first ?? ""), "\(name): \(said)")
    }

    /// What is asked for is what is free, to the block; with bigalloc to the cluster.
    @Test(arguments: kinds)
    func asMuchIsFreeAsWasAskedFor(_ kind: ImageKind) throws {
        for (free, counts): (UInt64, [Int]) in [
            (0, [0, 5, 300]), (100_001, [0, 200]), (9 << 20, [9]),
        ] {
            for count in counts {
                let image = try TestImage(kind, free: free)
                for file in 0..<count {
                    try image.builder.addFile(
                        FileName("\(file)"), in: .root, .file(), contents: pattern(3000))
                }
                let volume = try image.finish()
                #expect(try volume.entries(of: volume.root()).count == count + 3)
                let unit = volume.superblock.clusterSize
                let wanted = (Int(free) + unit - 1) / unit * (unit / volume.blockSize)
                let found = try number("Free blocks", image)
                #expect(found == wanted, "\(free), \(count) files")
                // Inodes fill whole blocks of tables, in each group.
                let perBlock = volume.blockSize / volume.superblock.inodeSize
                let inodes = try number("Free inodes", image)
                let rounded = max(perBlock, 16) * Int(volume.superblock.groupCount)
                // What is free has one for 4 KiB, or for 8 KiB on less than 3 MiB.
                #expect((Int(free) / 8192..<Int(free) / 4096 + rounded).contains(inodes))
                #expect(
                    image.byteCount == UInt64(try number("Block count", image) * volume.blockSize))
            }
        }
    }

    /// Free blocks are of no use without inodes: as many as a volume of that size would have.
    @Test func whatIsFreeHasInodes() throws {
        for (ratio, wanted): (UInt64?, Int) in [(nil, 2560), (65536, 160)] {
            var options = try ImageKind.small.options
            options.inodeRatio = ratio
            let image = try TestImage(
                options, size: .automatic(free: 10 << 20, limit: TestImage.limit))
            try image.builder.addFile("f", in: .root, .file(), contents: [1])
            _ = try image.finish()
            let found = try number("Free inodes", image)
            #expect((wanted..<wanted + 32).contains(found), "\(found)")
            #expect(try number("Free blocks", image) == 10 << 10)
        }
        var options = try ImageKind.small.options
        options.inodeCount = 5000
        let image = try TestImage(options, size: .automatic(free: 0, limit: TestImage.limit))
        _ = try image.finish()
        #expect((5000..<5032).contains(try number("Inode count", image)))
    }

    /// A journal of a size that is set needs a volume of twice that: it becomes so large, and the
    /// search for that takes no time.
    @Test(arguments: [4, 300]) func aLargeJournalFits(_ megabytes: UInt32) throws {
        var options = try ImageKind().options
        options.journalMebibytes = megabytes
        let image = try TestImage(options, size: .automatic(free: 0))
        try image.device.setByteCount(2 << 30)
        try image.builder.addFile("f", in: .root, .file(), contents: [1])
        let start = ContinuousClock.now
        let volume = try image.finish()
        #expect(ContinuousClock.now - start < .seconds(20))
        #expect(try volume.inode(.journal).size == UInt64(megabytes) << 20)
        // No journal has more than half of a volume.
        #expect(volume.superblock.blocksCount == UInt64(megabytes) << 20 / 4096 * 2)
    }

    /// Quota files grow with the owners that there are: they have to find room, too.
    @Test func manyOwnersAreCounted() throws {
        let image = try TestImage(ImageKind(features: "quota,^has_journal", blockSize: 1024))
        for number in 0..<3000 {
            var new = NewImageNode.file()
            (new.userID, new.groupID) = (UInt32(number * 1000), UInt32(number * 77))
            try image.builder.add(FileName("\(number)"), in: .root, new)
        }
        let volume = try image.finish()
        #expect(try volume.inode(atPath: "/2999").userID == 2_999_000)
    }

    /// The volume of a set size is that size, and goes on being used up to its last blocks.
    @Test(
        arguments: ImageKind.all.filter { $0.megabytes != nil } + [
            ImageKind(features: "^has_journal", blockSize: 1024, megabytes: 9),
            ImageKind(
                features: "^has_journal,^flex_bg,^resize_inode", blockSize: 1024, megabytes: 20),
        ])
    func aSetSizeIsKept(_ kind: ImageKind) throws {
        let image = try TestImage(kind)
        let megabytes = try #require(kind.megabytes)
        // As much as there may be, in files of half a MiB.
        var count = 0
        do throws(Ext4Error) {
            while true {
                try image.builder.addFile(
                    FileName("\(count)"), in: .root, .file(),
                    contents: pattern(400 << 10, seed: count))
                count += 1
            }
        } catch {
            #expect(error == .noSpace)
        }
        #expect(count >= Int(megabytes) * 2 - 12)
        // Once more, with what fits.
        let again = try TestImage(kind)
        for file in 0..<count - 4 {
            try again.builder.addFile(
                FileName("\(file)"), in: .root, .file(),
                contents: pattern(400 << 10, seed: file))
        }
        let volume = try again.finish()
        #expect(again.byteCount == megabytes << 20)
        for file in 0..<count - 4 {
            let isSame = try volume.bytes(at: "/\(file)") == pattern(400 << 10, seed: file)
            #expect(isSame, "\(file)")
        }
    }

    /// Too small for the contents, the inodes, or itself.
    @Test func whatIsTooSmallIsRefused() throws {
        let kind = ImageKind(features: "^has_journal", blockSize: 1024, megabytes: 1)
        let image = try TestImage(kind)
        #expect(throws: Ext4Error.noSpace) {
            try image.builder.addFile("a", in: .root, .file(), contents: pattern(2 << 20))
        }
        let atOnce = try TestImage(kind)
        #expect(throws: Ext4Error.noSpace) {
            try atOnce.builder.openFile("a", in: .root, .file(), size: 1 << 30)
        }
        var options = try kind.options
        options.inodeCount = 16
        let inodes = try TestImage(options, size: .fixed(1 << 20))
        for number in 0..<6 { try inodes.builder.add(FileName("\(number)"), in: .root, .file()) }
        #expect(throws: Ext4Error.noSpace) { try inodes.builder.finish() }
        let exact = try TestImage(options, size: .fixed(1 << 20))
        for number in 0..<5 { try exact.builder.add(FileName("\(number)"), in: .root, .file()) }
        #expect(try exact.finish().superblock.freeInodesCount == 0)
        #expect(throws: FormatProblem.self) {
            try ImageBuilder(MemoryDevice([]), options, size: .fixed(0))
        }
        #expect(throws: FormatProblem.self) {
            let device = MemoryDevice([UInt8](repeating: 0, count: 1 << 19))
            return try ImageBuilder(device, options, size: .fixed(1 << 20))
        }
    }

    /// A device with something on it: nothing of that is read as the volume's.
    @Test(arguments: [ImageKind.small, ImageKind(kind: .ext3, blockSize: 1024), .inline])
    func aUsedDeviceIsCleared(_ kind: ImageKind) throws {
        let size: UInt64 = 6 << 20
        let image = try TestImage(kind.options, size: .fixed(size))
        let junk = [UInt8](repeating: 0xA5, count: Int(size))
        try image.device.write(unsafe junk.span.bytes, at: 0)
        let builder = try ImageBuilder(
            image.device, kind.options, size: .fixed(size), isZeroed: false)
        try builder.addFile("a", in: .root, .file(), contents: pattern(5000))
        _ = try builder.openFile("holes", in: .root, .file(), size: 20_000, hasHoles: true)
        try builder.skip(to: 10_100)
        try builder.write(unsafe pattern(10).span.bytes)
        try builder.closeFile()
        #expect(try builder.finish() == size)
        #expect(try image.complaint() == nil)
        var holes = [UInt8](repeating: 0, count: 20_000)
        holes.replaceSubrange(10_100..<10_110, with: pattern(10))
        expectSame(
            try Volume.open(image.device).shownTree(),
            ["a": .file(pattern(5000)), "holes": .file(holes)])
    }

    /// The room for descriptors is what the limit asks for, and no smaller volume is begun for it.
    @Test func theDefaultLimitIsNoBurden() throws {
        var options = try ImageKind.ext4.options
        options.blockSize = 4096
        let image = try TestImage(options, size: .automatic(free: 0))
        try image.builder.addFile("a", in: .root, .file(), contents: pattern(3000))
        let volume = try image.finish()
        // 256 GiB are 2,048 groups of 128 MiB, 64 descriptors to a block.
        #expect(volume.superblock.reservedDescriptorBlocks == 32)
        #expect(image.byteCount < 200_000)
    }
}
