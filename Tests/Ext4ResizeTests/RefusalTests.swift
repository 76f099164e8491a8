import Ext4
import Ext4Verify
import Testing

/// Volumes and sizes that are not resized.
@Suite struct RefusalTests {
    /// Of what cannot be resized no smallest size is told either: it would be a wrong one.
    @Test(arguments: ["bigalloc", "quota"])
    func theSmallestSizeIsRefused(feature: String) throws {
        let volume = try TestVolume("-t ext4 -b 1024 -O \(feature)", megabytes: 32)
        let device = try volume.open()
        #expect(throws: ResizeFailure.self) { try Resizer.minimumBlocks(of: device) }
        #expect(throws: ResizeFailure.self) { try Resizer.resize(device, to: 20 << 10) }
        #expect(throws: ResizeFailure.self) {
            try Resizer.resize(device, to: 0, isMinimum: true)
        }
    }

    /// No number of blocks is one too many for the arithmetic.
    @Test(arguments: ["-t ext4 -b 1024 -g 2048", "-t ext4 -b 4096 -O ^64bit", "-t ext2 -r 0"])
    func noSizeTraps(options: String) throws {
        let volume = try TestVolume(options, megabytes: 16)
        let device = try volume.open()
        let blocks = try Volume.open(device).superblock.blocksCount
        for size in [
            0, 1, 2, blocks + 1, UInt64(UInt32.max), 1 << 32, 1 << 45, 1 << 63, .max - 1, .max,
        ] {
            #expect(throws: ResizeFailure.self) { try Resizer.resize(device, to: size) }
        }
        #expect(try Volume.open(device).superblock.blocksCount == blocks)
    }
}
