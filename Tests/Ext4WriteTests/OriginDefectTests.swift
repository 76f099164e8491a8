import Ext4Verify
import Testing

@testable import Ext4

/// What the library that this project began with got wrong, row by row of the list of its defects.
@Suite struct OriginDefectTests {
    private static let file = NewInode(mode: FileMode(rawValue: 0o100644))
    private static let directory = NewInode(mode: FileMode(rawValue: 0o040755))

    private func open(_ device: FaultyDevice) throws -> Volume {
        try Volume.open(device, options: Workload.options(Workload.Clock()))
    }

    private func finish(_ volume: Volume, _ device: FaultyDevice) throws {
        try volume.close()
        #expect(try TestImage.complaints(about: device) == nil)
    }

    @Test func defaultImageKeepsItsChecksums() throws {
        let device = try TestImage.make("-t ext4", megabytes: 64)
        let volume = try open(device)
        #expect(volume.superblock.hasMetadataChecksums)
        for number in 0..<10 {
            let inode = try volume.create(FileName("f\(number)"), in: volume.root(), Self.file)
            try volume.write([UInt8](repeating: 1, count: 9000), to: inode, at: 0)
        }
        try finish(volume, device)
    }

    @Test func unlinkFreesTheBlocks() throws {
        let device = try TestImage.make("-t ext4", megabytes: 64)
        let volume = try open(device)
        let root = try volume.root()
        try volume.sync()
        let before = volume.statistics().freeBlocks
        let inode = try volume.create("large", in: root, Self.file)
        let piece = [UInt8](repeating: 1, count: 1 << 20)
        for index in 0..<20 { try volume.write(piece, to: inode, at: UInt64(index) << 20) }
        try volume.sync()
        #expect(volume.statistics().freeBlocks <= before - 5120)
        // As a mount does it: somebody has it open while its name goes.
        volume.acquire(inode)
        try volume.unlink("large", in: root)
        #expect(try volume.bytes(of: inode, at: 1000, count: 3) == [1, 1, 1])
        try volume.release(inode.number)
        try volume.sync()
        #expect(volume.statistics().freeBlocks == before)
        try finish(volume, device)
    }

    @Test func theSixHundredAndEightySecondExtent() throws {
        let device = try TestImage.make("-t ext4 -b 1024", megabytes: 64)
        let volume = try open(device)
        let inode = try volume.create("deep", in: volume.root(), Self.file)
        for index in 0..<2000 {
            try volume.write(
                [UInt8](repeating: UInt8(index % 255), count: 1024), to: inode,
                at: UInt64(index) * 2048)
        }
        #expect(try volume.mappings(of: inode).count == 2000)
        for index in [0, 340, 681, 682, 683, 1999] {
            let found = try volume.bytes(of: inode, at: UInt64(index) * 2048, count: 2048)
            let data = [UInt8](repeating: UInt8(index % 255), count: 1024)
            let hole = [UInt8](repeating: 0, count: index == 1999 ? 0 : 1024)
            #expect(found == data + hole)
        }
        try finish(volume, device)
    }

    @Test func createInADirectoryThatHasAnIndex() throws {
        let scratch = try Scratch()
        let path = scratch.path("image")
        // The index is e2fsck's, which makes it as Linux does.
        try shell(
            """
            mkdir -p $1.d/d; for i in $(seq 600); do : > $1.d/d/a-name-of-some-length-$i; done
            truncate -s 32M $1; mke2fs -q -F -t ext4 -b 1024 -d $1.d $1
            e2fsck -fyD $1 > /dev/null || [ $? = 1 ]
            """, path)
        let device = try FaultyDevice(path: path)
        let volume = try open(device)
        let parent = try volume.lookup("d", in: volume.root())
        #expect(parent.flags.contains(.index))
        for number in 0..<900 {
            _ = try volume.create(FileName("another-name-\(number)"), in: parent, Self.file)
        }
        #expect(try volume.entries(of: parent).count == 2 + 600 + 900)
        #expect(parent.flags.contains(.index))
        _ = try volume.lookup("a-name-of-some-length-600", in: parent)
        _ = try volume.lookup("another-name-0", in: parent)
        try finish(volume, device)
    }

    @Test func unwrittenExtentsAndHolesAreZeros() throws {
        let device = try TestImage.make("-t ext4", megabytes: 64)
        let volume = try open(device)
        let inode = try volume.create("sparse", in: volume.root(), Self.file)
        try volume.change(.allocate(keepsSize: false), of: inode, at: 0, count: 100_000)
        try volume.write([1], to: inode, at: 50_000)
        try volume.write([2], to: inode, at: 300_000)
        var expected = [UInt8](repeating: 0, count: 300_001)
        expected[50_000] = 1
        expected[300_000] = 2
        #expect(equal(try volume.contents(of: inode), expected))
        try finish(volume, device)
    }

    @Test func renameToItselfIntoItselfAndOfALink() throws {
        let device = try TestImage.make("-t ext4", megabytes: 64)
        let volume = try open(device)
        let root = try volume.root()
        let a = try volume.create("a", in: root, Self.file)
        try volume.rename("a", in: root, to: "a", in: root)
        #expect(try volume.lookup("a", in: root) === a)
        let d = try volume.create("d", in: root, Self.directory)
        let below = try volume.create("below", in: d, Self.directory)
        #expect(throws: Ext4Error.invalidArgument) {
            try volume.rename("d", in: root, to: "x", in: d)
        }
        #expect(throws: Ext4Error.invalidArgument) {
            try volume.rename("d", in: root, to: "x", in: below)
        }
        _ = try volume.create("link", in: root, .symlink(to: Array("a".utf8)))
        try volume.rename("link", in: root, to: "moved", in: d)
        let entry = try volume.entries(of: d).first { $0.name == "moved" }
        #expect(entry?.type == .symlink)
        try finish(volume, device)
    }

    /// What must be replayed is replayed; what cannot be written is refused by name, and not
    /// touched.
    @Test func nothingIsWrittenThatIsNotUnderstood() throws {
        let dirty = try TestImage.make("-t ext4", megabytes: 64)
        do {
            let volume = try open(dirty)
            _ = try volume.create("synced", in: volume.root(), Self.file)
            try volume.sync()
            // No close: as after a crash.
        }
        let volume = try open(dirty)
        #expect(volume.recovery != nil)
        _ = try volume.lookup("synced", in: volume.root())
        try finish(volume, dirty)

        for features in ["bigalloc", "encrypt", "casefold", "quota"] {
            let device = try TestImage.make("-t ext4 -O \(features)", megabytes: 64)
            let before = FaultyDevice(copyOf: device)
            do throws(Ext4Error) {
                let volume = try Volume.open(
                    device, options: Workload.options(Workload.Clock()))
                // Then it is written right.
                let inode = try volume.create("f", in: volume.root(), Self.file)
                try volume.write([UInt8](repeating: 1, count: 100_000), to: inode, at: 0)
                try volume.close()
            } catch {
                guard case .unsupported(let unsupported) = error else {
                    Issue.record("\(features): \(error)")
                    continue
                }
                #expect(unsupported.names.contains(features))
                let found = try device.read(at: 0, count: 1 << 20)
                #expect(equal(found, try before.read(at: 0, count: 1 << 20)))
            }
            #expect(try TestImage.complaints(about: device) == nil, "\(features)")
        }
    }

    @Test(arguments: ["-t ext3 -b 1024", "-t ext2 -b 1024", "-t ext4 -b 1024"])
    func blocksAreMappedAsTheVolumeHasIt(kind: String) throws {
        let device = try TestImage.make(kind, megabytes: 64)
        let volume = try open(device)
        let inode = try volume.create("f", in: volume.root(), Self.file)
        try volume.write([UInt8](repeating: 1, count: 500_000), to: inode, at: 0)
        #expect(inode.usesExtents == kind.contains("ext4"))
        // Data and the blocks of the map, in units of 512 bytes.
        let data = UInt64((500_000 + 1023) / 1024)
        let tree: UInt64 = kind.contains("ext4") ? 0 : 1 + 1 + 1
        #expect(inode.blocks512 == (data + tree) * 2)
        try finish(volume, device)
    }

    @Test func directoriesCountTheirLinksAndAttributesHaveHashes() throws {
        let device = try TestImage.make("-t ext4 -b 4096 -O ea_inode", megabytes: 64)
        let volume = try open(device)
        let root = try volume.root()
        let links = root.linkCount
        let d = try volume.create("d", in: root, Self.directory)
        _ = try volume.create("e", in: d, Self.directory)
        #expect(root.linkCount == links + 1)
        #expect(d.linkCount == 3)
        for number in 0..<33 {
            try volume.setExtendedAttribute(
                FileName("user.\(number)"), to: [UInt8](repeating: 1, count: 100), of: d)
        }
        #expect(try volume.extendedAttributes(of: d).count == 33)
        try finish(volume, device)
    }

    @Test func timesTypesAndNames() throws {
        let device = try TestImage.make("-t ext4", megabytes: 64)
        let clock = Workload.Clock()
        let volume = try Volume.open(device, options: Workload.options(clock))
        let root = try volume.root()
        let odd = FileName([0xFF, 0xFE, 0x0A, 0x80])
        let inode = try volume.create(odd, in: root, Self.file)
        for time in [inode.accessTime, inode.changeTime, inode.modificationTime] {
            #expect(time == clock.now)
        }
        #expect(inode.creationTime == clock.now)
        #expect(clock.now.nanoseconds != 0)
        #expect(try volume.lookup(odd, in: root) === inode)
        let types: [(UInt16, FileType)] = [
            (0o010644, .fifo), (0o140644, .socket), (0o020644, .characterDevice),
            (0o060644, .blockDevice),
        ]
        for (mode, type) in types {
            let name = FileName("special\(mode)")
            let made = try volume.create(
                name, in: root,
                NewInode(
                    mode: FileMode(rawValue: mode), device: DeviceNumber(major: 8, minor: 1)))
            #expect(made.type == type)
            #expect(try volume.entries(of: root).first { $0.name == name }?.type == type)
        }
        let d = try volume.create("d", in: root, Self.directory)
        _ = try volume.create("e", in: d, Self.directory)
        #expect(try volume.inode(atPath: "/d/e/../../d/.").number == d.number)
        try finish(volume, device)
    }

    /// A create in a directory with ten thousand names costs about what one costs with two
    /// thousand, and a long write is few requests.
    @Test func costDoesNotGrow() throws {
        let device = try TestImage.make("-t ext4 -N 20000", megabytes: 96)
        let volume = try open(device)
        let d = try volume.create("d", in: volume.root(), Self.directory)
        var reads: [Int] = []
        for number in 0..<10_000 {
            if number % 2000 == 0 { reads.append(device.count(of: .read)) }
            _ = try volume.create(FileName("file-\(number)"), in: d, Self.file)
        }
        reads.append(device.count(of: .read))
        let steps = zip(reads, reads.dropFirst()).map { $1 - $0 }
        #expect((steps.last ?? 0) <= 2 * max(steps[1], 50), "reads for each 2000: \(steps)")

        let inode = try volume.create("long", in: volume.root(), Self.file)
        let before = device.count(of: .write)
        let piece = [UInt8](repeating: 1, count: 1 << 20)
        for index in 0..<16 { try volume.write(piece, to: inode, at: UInt64(index) << 20) }
        #expect(device.count(of: .write) - before < 64)
        try finish(volume, device)
    }
}
