import Ext4Verify
import Testing

@testable import Ext4

// Damage with no plan: devices that end too early, blocks that were lost, superblocks that
// contradict each other. Whatever is read gives a result or an error, in time.

@Suite struct DamageTests {
    /// A device that ends at any KiB: the superblock says that there is more.
    @Test(arguments: ["full", "ext2", "original", "bigalloc", "groups", "large"])
    func deviceIsCutOff(_ name: String) throws {
        let image = try PackedImage.bytes(name)
        var options = OpenOptions()
        for size in stride(from: 0, to: image.count, by: 1024) {
            let device = MemoryDevice(Array(image[0..<size]))
            options.superblock = .primary
            #expect {
                try Volume.open(device, options: options)
            } throws: { error in
                guard case .corrupt(let found)? = error as? Ext4Error else { return false }
                return found.structure == .superblock
                    && (size < 2048
                        ? found.rule == .truncated : found.field == "s_blocks_count")
            }
            // Backups are no better. Few sizes: each tries many places.
            guard size % (image.count / 16) == 0 else { continue }
            options.superblock = .automatic
            #expect(throws: Ext4Error.self) { try Volume.open(device, options: options) }
        }
    }

    /// A superblock that says the volume is as long as the device is, which was cut off.
    @Test func volumeIsCutOff() throws {
        let sound = try VolumeFixture()
        for blocks in stride(from: 4, to: 512, by: 23) {
            var volume = sound
            volume.setSuperblock(Superblock.Layout.blocksCountLow, UInt32(blocks))
            volume.image.removeLast((512 - blocks) << 10)
            volume.walk()
        }
    }

    /// Each block with metadata as zeros, as ones, and as a copy of another.
    @Test(arguments: PackedImage.names) func blocksAreLost(_ name: String) throws {
        let sound = try VolumeFixture(name)
        var image = sound.image
        let size = sound.blockSize
        let blocks = Set(ChecksumSeal.seal(&image).map { $0.lowerBound / size }).sorted()
        var options = OpenOptions()
        options.cacheBytes = 1 << 20
        // The logs have a test of their own.
        options.journal = .ignore
        for (index, block) in blocks.prefix(48).enumerated() {
            let range = block * size..<(block + 1) * size
            for kind in 0..<3 {
                var image = sound.image
                let other = blocks[(index + 7) % blocks.count] * size
                for (i, position) in range.enumerated() {
                    image[position] = [0, 0xFF, sound.image[other + i]][kind]
                }
                options.verifiesChecksums = kind == 0
                if kind == 2 {
                    options.verifiesChecksums = true
                    ChecksumSeal.seal(&image)
                }
                _ = timed(#_sourceLocation) {
                    VolumeWalk.read(MemoryDevice(image), options: options, limits: Self.limits)
                }
            }
        }
    }

    private static var limits: VolumeWalk.Limits {
        var limits = VolumeWalk.Limits()
        limits.inodes = 96
        limits.entries = 200
        limits.lookups = 4
        limits.fileBytes = 4096
        limits.allBytes = 64 << 10
        return limits
    }

    /// A primary superblock that is lost, and backups that say something else.
    @Test func backupsContradict() throws {
        let sound = try VolumeFixture("groups")
        // Group 1 of 256 blocks starts at block 257.
        let backup = 257 << 10
        try #require(sound.get(Superblock.Layout.magic, at: backup) == Superblock.magic)
        var options = OpenOptions()
        options.superblock = .backup(atBlock: BlockNumber(257), blockSize: nil)
        let volume = try Volume.open(MemoryDevice(sound.image), options: options)
        #expect(try volume.inode(atPath: "/hello").size == 13)

        func corruption(_ change: (inout VolumeFixture) -> Void) -> Corruption? {
            var volume = sound
            change(&volume)
            do throws(Ext4Error) {
                _ = try Volume.open(MemoryDevice(volume.image), options: options)
            } catch .corrupt(let found) {
                return found
            } catch {}
            return nil
        }
        typealias Layout = Superblock.Layout
        // It says that it is another group's.
        var found = corruption { $0.set(Layout.group, at: backup, 2) }
        #expect(found?.structure == .superblock)
        // It has another block size than the place that it was found by.
        found = corruption {
            $0.set(Layout.logBlockSize, at: backup, 1)
            $0.set(Layout.logClusterSize, at: backup, 1)
        }
        #expect(found?.structure == .superblock)
        found = corruption { $0.set(Layout.blocksCountLow, at: backup, 1 << 20) }
        #expect(found?.structure == .superblock)
        found = corruption { $0.set(Layout.magic, at: backup, 0) }
        #expect(found?.structure == .superblock)
        // A copy in the middle of a group is not a backup.
        options.superblock = .backup(atBlock: BlockNumber(300), blockSize: 1024)
        found = corruption { volume in
            for i in 0..<1024 { volume.image[300 << 10 + i] = volume.image[backup + i] }
        }
        #expect(found?.structure == .superblock)
        #expect(found?.place.block == BlockNumber(300))
        // Places that no device has.
        for block: UInt64 in [1 << 40, 1 << 53, .max] {
            for size in [nil, 1, 3, 1024, 65536, Int.max] {
                options.superblock = .backup(atBlock: BlockNumber(block), blockSize: size)
                #expect(throws: Ext4Error.self) {
                    try Volume.open(MemoryDevice(sound.image), options: options)
                }
            }
        }
    }

    /// The lengths of entries in blocks of 64 KiB, whose low two bits are the high ones.
    @Test func recordLengthsOfLargeBlocks() throws {
        #expect(DirectoryRecord.recordLength(0, blockSize: 65536) == 65536)
        #expect(DirectoryRecord.recordLength(0xFFFF, blockSize: 65536) == 65536)
        #expect(DirectoryRecord.recordLength(0xFFFD, blockSize: 65536) == 0x1FFFC)
        let sound = try VolumeFixture("large")
        let root = try sound.sound.root()
        let entry = try sound.entry("dir", in: root)
        for length: UInt16 in [1, 2, 3, 0xFFFC, 0xFFFD, 0xFFFE, 0xFFFF, 0] {
            var volume = sound
            volume.set(DirectoryRecord.Layout.recordLength, at: entry, length)
            let found = volume.corruption { (volume) throws(Ext4Error) in
                _ = try volume.entries(of: root)
            }
            #expect(found?.structure == .directoryBlock)
            #expect(
                found?.place
                    == .init(
                        inode: .root, logicalBlock: LogicalBlock(0), byteOffset: entry % 65536))
            #expect(found?.field == "rec_len")
            volume.walk()
        }
    }

    /// A hash version that needs a key, on a volume that folds no case (CVE-2024-49968): look-ups
    /// go through all blocks instead.
    @Test func hashNeedsAKey() throws {
        var volume = try VolumeFixture()
        let directory = try volume.inode("/index")
        let names = try volume.sound.entries(of: directory).map(\.name)
        let root = volume.start(of: try volume.block(0, of: directory)) + HTreeNode.rootBase
        for version: UInt8 in [6, 7, 255] {
            volume.set(HTreeNode.RootLayout.hashVersion, at: root, version)
            let opened = try volume.open()
            for name in names { _ = try opened.lookup(name, in: directory) }
            volume.walk()
        }
    }

    /// The facts at an index's root, and its counts.
    @Test func indexRootIsBroken() throws {
        typealias Root = HTreeNode.RootLayout
        let sound = try VolumeFixture()
        let directory = try sound.inode("/index")
        let start = sound.start(of: try sound.block(0, of: directory))
        let root = start + HTreeNode.rootBase
        let entries = root + Root.size
        func expect(
            _ field: String?, sourceLocation: SourceLocation = #_sourceLocation,
            _ change: (inout VolumeFixture) -> Void
        ) {
            var volume = sound
            change(&volume)
            let found = volume.corruption(sourceLocation: sourceLocation) {
                (volume) throws(Ext4Error) in
                _ = try volume.lookup(FileName("x"), in: directory)
            }
            #expect(found?.structure == .htreeNode, sourceLocation: sourceLocation)
            #expect(
                found?.place == .init(inode: directory.number, logicalBlock: LogicalBlock(0)),
                sourceLocation: sourceLocation)
            #expect(found?.field == field, sourceLocation: sourceLocation)
            volume.walk(sourceLocation: sourceLocation)
        }
        expect("indirect_levels") { $0.set(Root.indirectLevels, at: root, 2) }
        expect("indirect_levels") { $0.set(Root.indirectLevels, at: root, 255) }
        expect("info_length") { $0.set(Root.infoLength, at: root, 7) }
        for limit: UInt16 in [0, 1, 122, 124, 0xFFFF] {
            expect("limit") { $0.set(HTreeNode.CountLayout.limit, at: entries, limit) }
        }
        for count: UInt16 in [0, 124, 0xFFFF] {
            expect("count") { $0.set(HTreeNode.CountLayout.count, at: entries, count) }
        }
        // One level more than there is: leaves are taken for nodes.
        var volume = sound
        volume.set(Root.indirectLevels, at: root, 1)
        let found = volume.corruption { (volume) throws(Ext4Error) in
            _ = try volume.lookup(FileName("x"), in: directory)
        }
        #expect(found?.structure == .htreeNode || found?.structure == .directoryBlock)
        #expect(found?.place.inode == directory.number)
        volume.walk()
    }

    /// Quota files that are directories, the root, or nothing (e2fsck's CVE-2019-5094).
    @Test func quotaInodesAreWrong() throws {
        for number: UInt32 in [2, 8, 11, 129, .max] {
            var volume = try VolumeFixture("flags")
            volume.setSuperblock(Superblock.Layout.userQuotaInode, number)
            volume.setSuperblock(Superblock.Layout.groupQuotaInode, number)
            volume.setSuperblock(Superblock.Layout.projectQuotaInode, number)
            volume.walk()
        }
    }
}
