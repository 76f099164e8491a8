import Ext4Host
import Ext4Verify
import Testing

@testable import Ext4

// Structures that lead back to themselves, to one another, or to one place by many ways.

/// A device that is larger than what it holds: zeros behind its image.
private final class RoomyDevice: BlockDevice {
    private let image: MemoryDevice
    let byteCount: UInt64
    var isReadOnly: Bool { true }

    init(_ bytes: [UInt8], byteCount: UInt64) {
        image = MemoryDevice(bytes)
        self.byteCount = byteCount
    }

    func read(at byteOffset: UInt64, into bytes: inout MutableRawSpan) throws(Ext4Error) {
        try checkBounds(.read, at: byteOffset, count: bytes.byteCount)
        for i in 0..<bytes.byteCount { bytes[Field<UInt8>.le(i)] = 0 }
        guard byteOffset < image.byteCount else { return }
        let count = Int(min(UInt64(bytes.byteCount), image.byteCount - byteOffset))
        var part = bytes._mutatingExtracting(0..<count)
        try image.read(at: byteOffset, into: &part)
    }

    func write(_ bytes: RawSpan, at byteOffset: UInt64) throws(Ext4Error) {
        throw .readOnlyVolume
    }

    func flush() throws(Ext4Error) {}
}

@Suite struct LoopTests {
    // MARK: Indirect maps

    /// A block of pointers all of which lead to the block itself.
    @Test(arguments: [13, 14]) func pointersLeadBack(_ slot: Int) throws {
        var volume = try VolumeFixture("ext2")
        let file = try volume.inode("/far")
        let map = try volume.map(of: file.number)
        let own = BlockNumber(UInt64(volume.get(Field<UInt32>.le(4 * 12), at: map)))
        for i in 0..<volume.blockSize / 4 {
            volume.set(.le(4 * i), at: volume.start(of: own), UInt32(own.rawValue))
        }
        // As a block of data, a block of pointers is as good as any.
        volume.walk()
        for other in 12...14 {
            volume.set(.le(4 * other), at: map, other == slot ? UInt32(own.rawValue) : 0)
        }
        let found = volume.corruption { (volume) throws(Ext4Error) in
            _ = try volume.mappings(of: try volume.inode(file.number))
        }
        #expect(found?.structure == .indirectBlock)
        #expect(found?.place.inode == file.number)
        #expect(found?.place.block == own)
        #expect(found?.rule == .cycle)
        volume.walk()
    }

    /// One block of pointers behind every pointer of the block above: a file of 64 MiB more than
    /// it has blocks, and no circle.
    @Test func pointersMeet() throws {
        var volume = try VolumeFixture("ext2")
        let file = try volume.inode("/far")
        let map = try volume.map(of: file.number)
        let low = volume.get(Field<UInt32>.le(4 * 12), at: map)
        let high = volume.get(Field<UInt32>.le(4 * 13), at: map)
        for i in 0..<volume.blockSize / 4 {
            volume.set(.le(4 * i), at: volume.start(of: BlockNumber(UInt64(low))), UInt32(0))
            volume.set(.le(4 * i), at: volume.start(of: BlockNumber(UInt64(high))), low)
        }
        let found = volume.corruption { (volume) throws(Ext4Error) in
            _ = try volume.mappings(of: try volume.inode(file.number))
        }
        #expect(found?.structure == .indirectBlock)
        #expect(found?.place.inode == file.number)
        #expect(found?.place.block == BlockNumber(UInt64(low)))
        #expect(found?.rule == .cycle)
        volume.walk()
    }

    /// A pointer out of the volume, to the superblock, and one to block 0 of larger blocks.
    @Test func pointersLeadOut() throws {
        for value: UInt32 in [1, 512, 0x7FFF_FFFF, .max] {
            var volume = try VolumeFixture("ext2")
            let file = try volume.inode("/hello")
            volume.set(.le(0), at: try volume.map(of: file.number), value)
            let found = volume.corruption { (volume) throws(Ext4Error) in
                _ = try volume.contents(of: try volume.inode(file.number))
            }
            #expect(found?.structure == .indirectBlock)
            #expect(
                found?.place == .init(inode: file.number, logicalBlock: LogicalBlock(0)))
            #expect(found?.value == UInt64(value))
            volume.walk()
        }
    }

    // MARK: Directories

    /// A directory of two blocks that are one: its entries would be listed, and looked for, twice;
    /// with a million pointers to it, a million times.
    @Test func directoryHasABlockTwice() throws {
        var volume = try VolumeFixture("ext2")
        let map = try volume.map(of: .root)
        let first = volume.get(Field<UInt32>.le(0), at: map)
        volume.set(.le(4), at: map, first)
        try volume.setInode(.root, InodeRecord.Layout.sizeLow, UInt32(2 * volume.blockSize))
        let listing = volume.corruption { (volume) throws(Ext4Error) in
            _ = try volume.entries(of: try volume.root())
        }
        let search = volume.corruption { (volume) throws(Ext4Error) in
            _ = try volume.inode(atPath: "/no-such-name")
        }
        for found in [listing, search] {
            #expect(found?.structure == .directoryBlock)
            #expect(found?.place.inode == .root)
            #expect(found?.place.block == BlockNumber(UInt64(first)))
            #expect(found?.rule == .cycle)
        }
        volume.walk()
    }

    // MARK: Sizes

    /// Sizes that no file, directory or link can have, up to the largest number.
    @Test(arguments: ["/hello", "/sub", "/slow", "/fast", "/sparse", "/index", "/old"])
    func hugeSize(_ path: String) throws {
        for name in ["full", "inline"] where path != "/index" || name == "full" {
            let sound = try VolumeFixture(name)
            let number = try sound.inode(path).number
            for high: UInt32 in [1, 0x7FFF_FFFF, .max] {
                var volume = sound
                try volume.setInode(number, InodeRecord.Layout.sizeLow, .max)
                try volume.setInode(number, InodeRecord.Layout.sizeHigh, high)
                #expect(volume.walk().errorCount > 0)
            }
        }
    }

    /// A journal of 8 TiB on a volume that large: its map ends at 2³² blocks, as every map does.
    @Test func journalIsHuge() throws {
        typealias Layout = Superblock.Layout
        var volume = try VolumeFixture("journal")
        let features = volume.get(Layout.readOnlyCompatible, at: 1024)
        let groups: UInt32 = 3
        volume.setSuperblock(
            Layout.readOnlyCompatible, features | ReadOnlyCompatibleFeatures.bigalloc.rawValue)
        volume.setSuperblock(Layout.logClusterSize, 20)
        volume.setSuperblock(Layout.clustersPerGroup, 4095)
        volume.setSuperblock(Layout.blocksPerGroup, 4095 << 20)
        volume.setSuperblock(Layout.blocksCountLow, 0)
        volume.setSuperblock(Layout.blocksCountHigh, 2)
        volume.setSuperblock(
            Layout.inodesCount, groups * volume.sound.superblock.inodesPerGroup)
        try volume.setInode(.journal, InodeRecord.Layout.sizeHigh, 1 << 11)
        try volume.setInode(.journal, InodeRecord.Layout.sizeLow, 0)
        let device = RoomyDevice(volume.sealed, byteCount: 1 << 44)
        var options = OpenOptions()
        options.superblock = .primary
        // The seal cannot read a volume that its bytes do not hold: the last checksums are missing.
        options.verifiesChecksums = false
        timed(#_sourceLocation) {
            #expect {
                try Volume.open(device, options: options)
            } throws: { error in
                guard case .corrupt(let found)? = error as? Ext4Error else { return false }
                return found.structure == .journal
                    && found.place
                        == .init(inode: .journal, logicalBlock: LogicalBlock(1024))
            }
        }
    }

    // MARK: The index of a directory

    /// Entries of an index that lead to its own root, behind the directory, or twice to one leaf.
    @Test func indexLeadsBack() throws {
        typealias Entry = HTreeNode.EntryLayout
        let sound = try VolumeFixture()
        let directory = try sound.inode("/index")
        let root = sound.start(of: try sound.block(0, of: directory))
        let entries = root + 32
        let count = Int(sound.get(HTreeNode.CountLayout.count, at: entries))
        try #require(count > 3)
        let names = try sound.sound.entries(of: directory).map(\.name).suffix(60)
        func lookUpAll(_ volume: Volume) throws(Ext4Error) {
            for name in names { _ = try volume.lookup(name, in: directory) }
        }
        for block: UInt32 in [0, 100, 0x0FFF_FFFF] {
            var volume = sound
            for i in 0..<count { volume.set(Entry.block, at: entries + 8 * i, block) }
            let found = volume.corruption(lookUpAll)
            #expect(found?.structure == .htreeNode)
            #expect(found?.place == .init(inode: directory.number))
            #expect(found?.field == "block" && found?.value == UInt64(block))
            volume.walk()
        }
        // One leaf for all hashes, each of which says that it goes on in the next one.
        var volume = sound
        let name = try #require(names.first)
        let seed = volume.sound.superblock.hashSeed
        let version = DirectoryHash.Version(
            rawValue: volume.get(HTreeNode.RootLayout.hashVersion, at: root + HTreeNode.rootBase)
        ).resolved(isUnsigned: volume.sound.superblock.flags & 2 != 0)
        let hash = try #require(
            unsafe DirectoryHash(version, seed: (seed[0], seed[1], seed[2], seed[3]))
                .hash(of: name.bytes.span.bytes)?.major)
        let leaves = try (1...UInt64(count)).filter {
            try !sound.holds(name, in: directory, block: $0)
        }
        let other = try #require(leaves.first)
        for i in 0..<count {
            volume.set(Entry.block, at: entries + 8 * i, UInt32(other))
            if i > 0 { volume.set(Entry.hash, at: entries + 8 * i, hash | 1) }
        }
        let found = volume.corruption { (volume) throws(Ext4Error) in
            _ = try volume.lookup(name, in: directory)
        }
        #expect(found?.structure == .htreeNode)
        #expect(found?.place.inode == directory.number)
        #expect(found?.rule == .cycle)
        volume.walk()
    }

    // MARK: Names

    /// A directory that holds its own parent: a walk enters each once and says so.
    @Test func directoryHoldsItsAncestor() throws {
        var volume = try VolumeFixture()
        let deep = try volume.inode("/sub/deep")
        let entry = try volume.entry("er", in: deep)
        volume.set(DirectoryRecord.Layout.inode, at: entry, InodeNumber.root.rawValue)
        let opened = try volume.open()
        #expect(try opened.inode(atPath: "/sub/deep/er/sub/deep/er").number == .root)
        var walk = TreeWalk(opened, from: try opened.root())
        var problems: [TreeProblem] = []
        var steps = 0
        while let step = walk.next() {
            steps += 1
            if case .problem(let problem) = step { problems.append(problem) }
            try #require(steps < 10_000)
        }
        #expect(problems.count == 1)
        if case .enteredBefore(let number)? = problems.first?.reason {
            #expect(number == .root)
        } else {
            Issue.record("the way back to the root was not seen")
        }
        volume.walk()
    }

    /// Links that lead to themselves end with the fortieth.
    @Test func symlinksLeadBack() throws {
        let volume = try VolumeFixture()
        let opened = try volume.open()
        #expect(throws: Ext4Error.tooManySymlinks) { try opened.inode(atPath: "/loop") }
        let path = String(repeating: "here/", count: 41) + "hello"
        #expect(throws: Ext4Error.tooManySymlinks) { try opened.inode(atPath: path) }
    }
}

extension VolumeFixture {
    /// Whether a block of a directory holds an entry of that name.
    func holds(_ name: FileName, in directory: Inode, block: UInt64) throws -> Bool {
        do {
            _ = try entry(String(decoding: name.bytes, as: UTF8.self), in: directory, block: block)
            return true
        } catch Ext4Error.notFound {
            return false
        }
    }
}

extension LoopTests {
    /// A name in a directory that leads to the directory: whoever takes it away would wait for a
    /// lock that is held already.
    @Test func aNameLeadsToItsOwnDirectory() throws {
        var fixture = try VolumeFixture("ext2")
        let root = try fixture.sound.root()
        let entry = try #require(
            try fixture.sound.entries(of: root).first {
                $0.type == .directory && !$0.name.bytes.starts(with: [0x2E])
            })
        let start = fixture.start(of: try fixture.block(0, of: root))
        let block = Array(fixture.image[start..<start + fixture.blockSize])
        var field: Field<UInt32>?
        try unsafe DirectoryEntries.forEach(
            in: block.span.bytes, blockSize: fixture.blockSize, of: .root
        ) { place, inode in
            if inode == entry.inode.rawValue { field = place }
        }
        fixture.set(try #require(field), at: start, InodeNumber.root.rawValue)
        ChecksumSeal.seal(&fixture.image)
        var options = OpenOptions()
        options.access = .readWrite
        let volume = try Volume.open(MemoryDevice(fixture.image), options: options)
        let damaged = try volume.root()
        let other = FileName(Array("other".utf8))
        func expectCycle(_ change: () throws(Ext4Error) -> Void) {
            do throws(Ext4Error) {
                try change()
                Issue.record("nothing was said")
            } catch {
                guard case .corrupt(let corruption) = error else {
                    // The first one made the volume read-only.
                    #expect(error == .readOnlyVolume)
                    return
                }
                #expect(corruption.structure == .directoryBlock)
                #expect(corruption.place.inode == .root)
                #expect(corruption.rule == .cycle)
            }
        }
        expectCycle { () throws(Ext4Error) in try volume.removeDirectory(entry.name, in: damaged) }
        expectCycle { () throws(Ext4Error) in try volume.unlink(entry.name, in: damaged) }
        expectCycle { () throws(Ext4Error) in
            try volume.rename(entry.name, in: damaged, to: other, in: damaged)
        }
        try? volume.close()
    }
}
