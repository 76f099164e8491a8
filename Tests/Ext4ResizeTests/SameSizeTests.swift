import Ext4
import Ext4Verify
import TestShell
import Testing

/// The size that a volume has by now.
@Suite struct SameSizeTests {
    /// mke2fs and the kernel make last groups that a resize would leave out.
    @Test func aShortLastGroupStays() throws {
        let options = "-t ext4 -b 1024 -g 1024 -N 120 -O meta_bg,^resize_inode"
        let volume = try TestVolume(options, megabytes: 8)
        // 50 blocks more than its bitmaps and table.
        try shell("mke2fs -q -F \(options) $1 4155; truncate -s 4155K $1", volume.path)
        let superblock = try Volume.open(volume.open()).superblock
        #expect(superblock.blocksCount == 4155)
        #expect(Resizer.usableBlocks(4155, of: superblock) == 4155)
        let report = try volume.resize(to: 4155 << 10)
        #expect(report.newBlocks == 4155)
        #expect(try volume.complaint() == nil)
    }
}
