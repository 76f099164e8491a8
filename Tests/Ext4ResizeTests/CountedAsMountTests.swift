import Ext4
import Ext4Verify
import Testing

/// What a resize leaves as it was.
@Suite struct CountedAsMountTests {
    /// It is no mount: no check is due any sooner, and the next resize needs none.
    @Test(arguments: ["-t ext4 -b 1024 -g 2048", "-t ext2 -b 1024 -g 2048"])
    func aResizeIsNoMount(options: String) throws {
        let volume = try TestVolume(options, megabytes: 16)
        try volume.fill(files: 30, ballast: 6)
        let before = try Volume.open(volume.open()).superblock
        for size: UInt64 in [20, 12, 30] { try volume.resize(to: size << 20) }
        let after = try Volume.open(volume.open()).superblock
        #expect(after.mountCount == before.mountCount)
        #expect(after.mountTime == before.mountTime)
        #expect(try volume.complaint() == nil)
    }
}
