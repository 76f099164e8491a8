import Ext4
import Ext4Verify
import Foundation
import TestShell
import Testing

/// The journal that a volume without one has while its inodes move.
@Suite struct PassingJournalTests {
    /// Wherever the resize is cut off: a volume that says it was unmounted needs no check.
    @Test(arguments: [
        "-t ext2 -b 1024 -g 4096", "-t ext4 -b 1024 -g 4096 -N 280 -O ^has_journal",
    ])
    func itComesAndGoesWithoutADoubt(options: String) throws {
        let volume = try TestVolume(options, megabytes: 16)
        try volume.fill(files: 150, bytes: 5000, ballast: 6)
        let start = DeviceImage(byteCount: 16 << 20)
        start.put(try Data(contentsOf: URL(fileURLWithPath: volume.path)), at: 0)
        let device = RecordingDevice(start)
        let report = try Resizer.resize(device, to: 10 << 10)
        #expect(report.movedInodes > 0)

        let image = DeviceImage(copyOf: start)
        var hadJournal = false
        var isChanged = false
        for event in device.events {
            if case .write(let write, _) = event {
                image.put(write.bytes, at: write.firstSector * DeviceImage.sectorSize)
                isChanged = isChanged || write.firstSector <= 2
            }
            guard case .flush = event, isChanged else { continue }
            isChanged = false
            let superblock = try Self.superblock(of: image)
            hadJournal = hadJournal || superblock.compatible.contains(.hasJournal)
            guard superblock.state & 1 != 0, !superblock.incompatible.contains(.recover) else {
                continue
            }
            try Data(image.bytes(0..<image.byteCount)).write(
                to: URL(fileURLWithPath: volume.path))
            #expect(throws: Never.self) { try shell("e2fsck -fn $1 2>&1", volume.path) }
        }
        #expect(hadJournal)
    }

    private static func superblock(of image: DeviceImage) throws -> Superblock {
        let bytes = image.bytes(1024..<2048)
        return try unsafe Superblock(parsing: bytes.span.bytes)
    }
}
