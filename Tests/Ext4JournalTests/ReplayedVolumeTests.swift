import Ext4Host
import Foundation
import Testing

@testable import Ext4

/// What a replay does to the volume around the blocks: its superblock, and what it refuses.
@Suite struct ReplayedVolumeTests {
    /// One UUID, so that the checksums of one image's blocks are right on another.
    private static let make = "-t ext4 -b 4096 -U 6c1f4a0e-7d33-4b8e-9a55-0f2e61d0c3b7"

    /// A volume with a log of one transaction in its journal, made by debugfs.
    private func image(
        logging contents: [UInt8]? = nil, at block: UInt64? = nil,
        make: String = ReplayedVolumeTests.make
    ) throws -> CrashImage {
        let image = try CrashImage(make, megabytes: 24)
        let target = try block ?? image.geometry().volume.blocksCount - 10
        let data = image.directory + "/data"
        try Data(contents ?? [UInt8](repeating: 0x5A, count: 4096))
            .write(to: URL(fileURLWithPath: data))
        let script = image.directory + "/script"
        try "jo -c\njw -b \(target) \(data)\njc\n"
            .write(toFile: script, atomically: true, encoding: .utf8)
        try shell("debugfs -w -f $1 $2", script, image.path)
        return image
    }

    private func bytes(_ path: String) throws -> [UInt8] {
        [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
    }

    /// The image with its superblock changed, and its checksum made right.
    private func device(
        of image: CrashImage, _ change: (inout [UInt8]) -> Void
    ) throws -> MemoryDevice {
        var bytes = try bytes(image.path)
        var superblock = Array(bytes[1024..<2048])
        change(&superblock)
        fixChecksum(&superblock)
        bytes.replaceSubrange(1024..<2048, with: superblock)
        return MemoryDevice(bytes)
    }

    private func fixChecksum(_ superblock: inout [UInt8]) {
        let checksum = unsafe Superblock.checksum(of: superblock.span.bytes)
        superblock.put(checksum, at: 0x3FC)
    }

    @Test func errorsThatTheSuperblockKnowsAreKept() throws {
        // The log holds the superblock of before the error.
        let clean = try CrashImage(Self.make, megabytes: 24)
        let old = Array(try bytes(clean.path)[..<4096])
        let image = try image(logging: old, at: 0)
        let device = try device(of: image) {
            $0[0x3A] |= 2
            $0.put(7, at: 0x194)  // s_error_count
            $0.put(123, at: 0x1D4)  // s_last_error_line
            $0[0x27B] = 5  // s_last_error_errcode
        }
        let report = try #require(try Volume.replayJournal(on: device))
        #expect(report.replayedBlockCount == 1)
        let volume = try Volume.open(device)
        #expect(volume.recovery == nil)
        #expect(volume.superblock.state & 2 == 2)
        #expect(volume.superblock.errorCount == 7)
        let after = try device.read(at: 1024, count: 1024)
        #expect(after[0x1D4] == 123)
        #expect(after[0x27B] == 5)
        // The rest is the log's.
        #expect(after[0x68..<0x78] == old[1024 + 0x68..<1024 + 0x78])
    }

    @Test func anErrorOfTheJournalMovesToTheSuperblock() throws {
        for isEmpty in [false, true] {
            let image = try image()
            let (volume, journal) = try image.geometry()
            let device = MemoryDevice(try bytes(image.path))
            try Recovery.patchSuperblock(of: journal, on: device, volume) { bytes in
                bytes[JournalSuperblock.Layout.errno] = UInt32(bitPattern: -30)
                JournalSuperblock.clearErrno(&bytes)
                bytes[JournalSuperblock.Layout.errno] = UInt32(bitPattern: -30)
                if isEmpty { bytes[JournalSuperblock.Layout.start] = 0 }
                bytes[JournalSuperblock.Layout.checksum] = JournalSuperblock.checksum(
                    of: bytes.bytes)
            }
            let report = try Volume.replayJournal(on: device)
            #expect((report == nil) == isEmpty)
            if let report { #expect(report.recordedError == -30) }
            let opened = try Volume.open(device)
            #expect(opened.superblock.state & 2 == 2)
            #expect(!opened.superblock.incompatible.contains(.recover))
            let after = try Recovery.readSuperblock(device, journal, volume)
            #expect(after.errno == 0)
            #expect(!after.isDirty)
        }
    }

    @Test func markOfAJournalThatIsEmptyIsTakenAway() throws {
        // As a replay leaves it that is cut off before its last write.
        let image = try image()
        let device = MemoryDevice(try bytes(image.path))
        let (volume, journal) = try image.geometry()
        let recovery = try #require(
            try Recovery.scan(device, journal: journal, volume: volume, log: .none))
        try recovery.replay(to: device)
        let before = device.bytes
        #expect(try Volume.replayJournal(on: device) == nil)
        let after = device.bytes
        #expect(before != after)
        let opened = try Volume.open(device)
        #expect(!opened.superblock.incompatible.contains(.recover))
        #expect(try Volume.replayJournal(on: device) == nil)
        #expect(device.bytes == after)
    }

    @Test(arguments: ["s_journal_inum", "s_log_block_size", "s_feature_incompat", "s_magic"])
    func aLogThatWouldBreakTheSuperblockIsNotReplayed(_ field: String) throws {
        let clean = try CrashImage(Self.make, megabytes: 24)
        var block = Array(try bytes(clean.path)[..<4096])
        var superblock = Array(block[1024..<2048])
        switch field {
        case "s_journal_inum": superblock.put(9, at: 0xE0)
        case "s_log_block_size": superblock.put(1, at: 0x18)
        case "s_feature_incompat": superblock.put(0x8000_02C2, at: 0x60)
        default: superblock.put(0, at: 0x38)
        }
        fixChecksum(&superblock)
        block.replaceSubrange(1024..<2048, with: superblock)
        let image = try image(logging: block, at: 0)
        let device = MemoryDevice(try bytes(image.path))
        let before = device.bytes
        do throws(Ext4Error) {
            _ = try Volume.replayJournal(on: device)
            Issue.record("it was replayed")
        } catch {
            switch (field, error) {
            case ("s_feature_incompat", .unsupported(let features)):
                #expect(features.names == ["FEATURE_I31"])
            case ("s_journal_inum", .corrupt(let corruption)):
                #expect(
                    corruption.rule
                        == .field(
                            field, value: 9, rule: "what it was before the journal's replay"))
            case ("s_magic", .corrupt(let corruption)):
                #expect(corruption.rule == .magic(found: 0))
            case ("s_log_block_size", .corrupt(let corruption)):
                #expect(corruption.structure == .superblock)
            default:
                Issue.record("\(error)")
            }
        }
        #expect(device.bytes == before, "something was written")
        #expect(throws: Ext4Error.self) { try Volume.open(device) }
    }

    @Test func aLogThatWouldMoveTheJournalIsNotReplayed() throws {
        // The block of the inode table with the journal's inode, its map cleared.
        let plain = try CrashImage("-t ext4 -b 4096 -O ^metadata_csum", megabytes: 24)
        let where8 = try shell("debugfs -R 'imap <8>' $1 2>/dev/null", plain.path)
        let match = try #require(where8.firstMatch(of: /block (\d+), offset 0x([0-9a-f]+)/))
        let number = try #require(UInt64(match.1))
        let offset = try #require(Int(match.2, radix: 16))
        let all = try bytes(plain.path)
        var table = Array(all[Int(number) * 4096..<Int(number + 1) * 4096])
        table[offset + 0x28 + 12 + 8] &+= 1  // ee_start_lo of the first extent
        let image = try image(
            logging: table, at: number, make: "-t ext4 -b 4096 -O ^metadata_csum")
        let device = MemoryDevice(try bytes(image.path))
        let before = device.bytes
        #expect(throws: Ext4Error.self) { try Volume.replayJournal(on: device) }
        #expect(device.bytes == before, "something was written")
    }

    @Test func externalJournalsAreRefusedByName() throws {
        let image = try image()
        let device = try device(of: image) {
            $0.put(0, at: 0xE0)
            $0.put(0x801, at: 0xE4)
        }
        let before = device.bytes
        let refusal = Ext4Error.unsupported(
            UnsupportedFeatures(["external journal"], for: .recovery))
        #expect(throws: refusal) { try Volume.replayJournal(on: device) }
        #expect(throws: refusal) { try Volume.open(device) }
        #expect(device.bytes == before)
    }

    @Test func volumesWithoutAJournalNeedNothing() throws {
        let image = try CrashImage("-t ext2 -b 1024", megabytes: 8)
        let device = MemoryDevice(try bytes(image.path))
        let before = device.bytes
        #expect(try Volume.replayJournal(on: device) == nil)
        #expect(device.bytes == before)
        let readOnly = MemoryDevice(before, isReadOnly: true)
        #expect(throws: Ext4Error.readOnlyVolume) { try Volume.replayJournal(on: readOnly) }
    }

    @Test func aVolumeThatJustGrewIsRecovered() throws {
        // What is new stands in the log at blocks that the superblock on the disk does not know,
        // and the new superblock stands in the log as well.
        let image = try CrashImage("-t ext4 -b 1024", megabytes: 24)
        var small = Array(try bytes(image.path)[1024..<2048])
        small.put(small.get(0x60) | 4, at: 0x60)  // needs_recovery
        fixChecksum(&small)
        try shell("truncate -s 96M $1; resize2fs -f $1 90M", image.path)
        let target: UInt64 = 80_000
        let large = Array(try bytes(image.path)[1024..<2048])
        let (superblock, data) = (image.directory + "/superblock", image.directory + "/data")
        try Data(large).write(to: URL(fileURLWithPath: superblock))
        try Data([UInt8](repeating: 0x5A, count: 1024)).write(to: URL(fileURLWithPath: data))
        let script = image.directory + "/script"
        func log(_ transactions: [String]) throws -> MemoryDevice {
            let copy = try image.copy("log")
            try transactions.map { "jo -c\njw \($0)\njc\n" }.joined()
                .write(toFile: script, atomically: true, encoding: .utf8)
            try shell("debugfs -w -f $1 $2", script, copy)
            var bytes = try bytes(copy)
            bytes.replaceSubrange(1024..<2048, with: small)
            return MemoryDevice(bytes)
        }

        let device = try log(["-b \(target) \(data)", "-b 1 \(superblock)"])
        let seen = try Volume.open(device)
        #expect(seen.superblock.blocksCount == 90 * 1024)
        #expect(try seen.device.read(at: target * 1024, count: 1) == [0x5A])
        #expect(try Volume.replayJournal(on: device)?.replayedBlockCount == 2)
        #expect(try device.read(at: target * 1024, count: 1) == [0x5A])
        #expect(try Volume.open(device).superblock.blocksCount == 90 * 1024)

        // Without the superblock it is a block of no volume.
        let alone = try log(["-b \(target) \(data)"])
        #expect(throws: Ext4Error.self) { try Volume.replayJournal(on: alone) }
        #expect(throws: Ext4Error.self) { try Volume.open(alone) }
    }
}

extension [UInt8] {
    fileprivate func get(_ offset: Int) -> UInt32 {
        (0..<4).reduce(0) { $0 | UInt32(self[offset + $1]) << UInt32(8 * $1) }
    }

    fileprivate mutating func put(_ value: UInt32, at offset: Int) {
        for i in 0..<4 { self[offset + i] = UInt8(truncatingIfNeeded: value >> (8 * i)) }
    }
}
