import Ext4
import Ext4Verify
import Testing

/// Volumes that become smaller: sound, and with all that they held.
@Suite struct ShrinkTests {
    static let kinds: [(options: String, megabytes: Int, size: UInt64)] = [
        ("-t ext4 -b 1024 -g 4096", 32, 16),
        ("-t ext4 -b 1024 -g 4096 -O ^resize_inode,^flex_bg", 32, 16),
        ("-t ext4 -b 1024 -g 4096 -O meta_bg,^resize_inode", 32, 16),
        ("-t ext4 -b 1024 -g 4096 -O sparse_super2,^metadata_csum", 32, 16),
        ("-t ext4 -b 1024 -g 4096 -O orphan_file,inline_data", 32, 16),
        ("-t ext4 -b 4096 -O ^has_journal", 200, 80),
    ]

    @Test(arguments: kinds.indices)
    func aVolumeShrinks(kind: Int) throws {
        let (options, megabytes, size) = Self.kinds[kind]
        let volume = try TestVolume(options, megabytes: megabytes)
        try volume.fill(files: 120, ballast: megabytes / 2)
        let before = try volume.manifest()
        let report = try volume.resize(to: size << 20)
        #expect(report.newBlocks < report.oldBlocks)
        #expect(report.movedBlocks > 0)
        #expect(try volume.complaint() == nil, "\(options)")
        let smallest = try volume.resize(to: 0, isMinimum: true)
        #expect(smallest.newBlocks <= report.newBlocks)
        #expect(try volume.complaint() == nil, "\(options), smallest")
        let comparison = TreeComparison(
            expected: before, found: try volume.manifest(),
            aspects: [.tree, .times, .entryTypes])
        #expect(comparison.differences.isEmpty, "\(options)")
        // There is a way back.
        try volume.resize(to: UInt64(megabytes) << 20)
        #expect(try volume.complaint() == nil, "\(options), as it was")
    }

    /// A group that was never used becomes the last one: whole or not, it has a bitmap then.
    @Test(arguments: [1 + 5 * 2048, 5 * 2048 - 300] as [UInt64])
    func theLastGroupHasABitmap(blocks: UInt64) throws {
        let volume = try TestVolume("-t ext4 -b 1024 -g 2048 -G 2", megabytes: 20)
        try volume.resize(to: blocks << 10)
        #expect(try volume.complaint() == nil)
    }

    /// A group that starts a flexible one has room for bitmaps of others before its table: what is
    /// left of it must reach to the table's end, or nothing is left of it.
    @Test(arguments: [(16_450, 16_385), (16_454, 16_454), (16_500, 16_500)] as [(UInt64, UInt64)])
    func aLastGroupThatEndsInItsTableIsLeftOut(goal: UInt64, size: UInt64) throws {
        let volume = try TestVolume("-t ext4 -b 1024 -g 512 -G 32 -N 1348", megabytes: 36)
        #expect(try volume.resize(to: goal << 10).newBlocks == size)
        #expect(try volume.complaint() == nil)
    }

    /// Nothing is done where what the volume holds would not fit.
    @Test func tooSmallIsRefused() throws {
        let volume = try TestVolume("-t ext4 -b 1024 -g 4096", megabytes: 24)
        try volume.fill(files: 200)
        do {
            let device = try volume.open()
            let least = try Resizer.minimumBlocks(of: device)
            #expect(throws: ResizeFailure.self) {
                try Resizer.resize(device, to: least - 1)
            }
        }
        #expect(try volume.complaint() == nil)
    }
}
