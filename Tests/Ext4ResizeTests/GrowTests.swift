import Ext4
import Ext4Verify
import Testing

/// Volumes that become larger: sound, with what they held, and with room in what is new.
@Suite struct GrowTests {
    static let kinds: [(options: String, megabytes: Int, sizes: [UInt64])] = [
        ("-t ext4", 64, [300]),
        ("-t ext4 -b 1024", 24, [30, 900]),
        ("-t ext4 -b 1024 -g 1024 -J size=1", 12, [60]),
        ("-t ext2 -b 1024", 12, [40, 900]),
        ("-t ext4 -b 1024 -O meta_bg,^resize_inode", 24, [100, 900]),
        ("-t ext4 -b 1024 -O ^resize_inode", 24, [100, 900]),
        ("-t ext4 -b 1024 -E resize=100000", 24, [900]),
        ("-t ext4 -b 1024 -O ^has_journal", 24, [100, 900]),
        ("-t ext4 -b 1024 -O ^metadata_csum,uninit_bg", 24, [100]),
    ]

    @Test(arguments: kinds.indices)
    func aVolumeGrows(kind: Int) throws {
        let (options, megabytes, sizes) = Self.kinds[kind]
        let volume = try TestVolume(options, megabytes: megabytes)
        try volume.fill(files: 40)
        let before = try volume.manifest()
        for size in sizes {
            let report = try volume.resize(to: size << 20)
            #expect(report.newBlocks > report.oldBlocks)
            #expect(try volume.complaint() == nil, "\(options) to \(size)")
        }
        let comparison = TreeComparison(expected: before, found: try volume.manifest())
        #expect(comparison.differences.isEmpty, "\(options)")
        try fillWhatIsNew(volume)
        #expect(try volume.complaint() == nil, "\(options), filled")
    }

    /// Side by side the bitmaps of a flexible group would leave no room for a table.
    @Test func largeTablesFit() throws {
        let volume = try TestVolume(
            "-t ext4 -b 1024 -g 256 -G 64 -N 6144 -O ^has_journal,^resize_inode", megabytes: 2)
        let report = try volume.resize(to: 24 << 20)
        #expect(report.newBlocks > 23 << 10)
        #expect(try volume.complaint() == nil)
    }

    /// Makes files until inodes and blocks of new groups are in use.
    private func fillWhatIsNew(_ volume: TestVolume) throws {
        let opened = try Volume.open(volume.open(), options: TestVolume.writing)
        let root = try opened.root()
        let contents = [UInt8](repeating: 7, count: 1 << 20)
        for number in 0..<16 {
            let parent = try opened.create(
                FileName(Array("new\(number)".utf8)), in: root,
                NewInode(mode: FileMode(rawValue: 0o040755)))
            let file = try opened.create(
                FileName(Array("file".utf8)), in: parent,
                NewInode(mode: FileMode(rawValue: 0o100644)))
            _ = try opened.write(unsafe contents.span.bytes, to: file, at: 0)
        }
        try opened.close()
    }

    /// Nothing changes but what must; a size that is none is refused in words.
    @Test func whatCannotBeIsRefused() throws {
        let volume = try TestVolume("-t ext4 -b 1024 -O ^64bit", megabytes: 16)
        do {
            let device = try volume.open()
            #expect(throws: ResizeFailure.self) {
                try Resizer.resize(device, to: 1 << 33)
            }
            // Longer than the device.
            #expect(throws: ResizeFailure.self) {
                try Resizer.resize(device, to: 1 << 20)
            }
            #expect(try Resizer.resize(device, to: 16 << 10).newBlocks == 16 << 10)
        }
        #expect(try volume.complaint() == nil)
    }
}
