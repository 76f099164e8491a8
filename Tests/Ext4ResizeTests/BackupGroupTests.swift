import Ext4
import Ext4Verify
import Testing

/// The two groups that have copies under sparse_super2.
@Suite struct BackupGroupTests {
    static let kinds = [
        "-t ext4 -b 1024 -g 2048 -O sparse_super2",
        "-t ext2 -b 1024 -g 2048 -O sparse_super2,^resize_inode",
        "-t ext4 -b 1024 -g 2048 -O sparse_super2,meta_bg,^resize_inode",
        "-t ext4 -b 1024 -g 2048 -O sparse_super2,^metadata_csum,uninit_bg",
    ]

    /// The second copy lies in the last group, where a volume that was made with that size has it,
    /// and what it took before is free.
    @Test(arguments: kinds)
    func theSecondCopyFollowsTheEnd(options: String) throws {
        let volume = try TestVolume(options, megabytes: 11)
        try volume.fill(files: 20)
        for size: UInt64 in [12, 17, 61] {
            try volume.resize(to: size << 20)
            let superblock = try Volume.open(volume.open()).superblock
            #expect(superblock.backupGroups == [1, superblock.groupCount - 1])
            #expect(try volume.complaint() == nil, "to \(size)")
        }
    }

    /// A volume of one group gets its copies; the last one must have room for them.
    @Test(arguments: [16440, 16450, 16700, 17000] as [UInt64])
    func aShortLastGroupHasRoomForItsCopies(blocks: UInt64) throws {
        let volume = try TestVolume(
            "-t ext4 -b 1024 -N 32 -O sparse_super2 -E resize=33000000", megabytes: 8)
        let report = try volume.resize(to: blocks << 10)
        #expect(report.newBlocks == (blocks < 16_700 ? 16_385 : blocks))
        #expect(try volume.complaint() == nil)
    }
}
