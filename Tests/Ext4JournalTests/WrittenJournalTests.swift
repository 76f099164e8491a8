import Ext4Host
import Testing

@testable import Ext4

/// What this engine writes into a journal, as e2fsck and the kernel replay it.
///
/// The blocks that are journalled are those of a file, so that the file shows what arrived.
@Suite(.enabled(if: isRoot, "mounting needs root"), .serialized)
struct WrittenJournalTests {
    static let makes = [
        "-t ext4 -b 4096", "-t ext4 -b 1024", "-t ext4 -b 1024 -O ^64bit -J size=1",
        "-t ext4 -b 2048 -O ^metadata_csum", "-t ext4 -b 1024 -O ^metadata_csum,^64bit",
        "-t ext3 -b 4096",
    ]

    /// The contents that block `index` of the file gets in `round`.
    private static func contents(_ index: Int, round: Int, count: Int) -> [UInt8] {
        var bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ index &+ round &* 31) }
        // Every third looks like a control block of the journal and must be escaped.
        if (index + round) % 3 == 0 {
            bytes.replaceSubrange(0..<4, with: [0xC0, 0x3B, 0x39, 0x98])
        }
        return bytes
    }

    @Test(arguments: makes)
    func othersReplayIt(make: String) throws {
        let image = try CrashImage(make)
        let fileBlocks = 64
        try shell(
            "head -c 262144 /dev/zero | tr '\\0' x > $1.blob; debugfs -w -R \"write $1.blob blob\" $1",
            image.path)
        let device = try FileDevice(path: image.path, access: .readWrite)
        let volume = try Volume.open(device)
        let blob = try volume.inode(atPath: "/blob")
        var blocks: [BlockNumber] = []
        for run in try volume.mappings(of: blob) {
            guard case .mapped(let first) = run.state else { continue }
            for i in 0..<run.count { blocks.append(first.advanced(by: i)) }
        }
        #expect(blocks.count == 262144 / volume.blockSize)
        try markDirty(device)

        let journal = try Journal(
            device, at: volume.journalLocation(), of: volume.journalledVolume,
            is64Bit: volume.superblock.incompatible.contains(.bit64),
            hasChecksums: volume.superblock.hasMetadataChecksums,
            clock: { Timestamp(seconds: 1_800_000_000, nanoseconds: 1) }, log: .none)
        // Enough rounds for the smallest log to wrap; what is not committed must not show.
        var expected = [[UInt8]](
            repeating: [UInt8](repeating: UInt8(ascii: "x"), count: volume.blockSize),
            count: blocks.count)
        let cache = volume.reader.cache
        for round in 0..<60 {
            for index in stride(from: round % 5, to: min(fileBlocks, blocks.count), by: 5) {
                let bytes = Self.contents(index, round: round, count: volume.blockSize)
                let buffer = try cache.buffer(of: blocks[index])
                try journal.withHandle(credits: 1) { (handle) throws(Ext4Error) in
                    handle.modify(buffer) { target in
                        for (i, byte) in bytes.enumerated() { target[Field<UInt8>.le(i)] = byte }
                    }
                }
                expected[index] = bytes
            }
            try journal.commitRunning()
        }
        let lost = try cache.buffer(of: blocks[0])
        try journal.withHandle(credits: 1) { (handle) throws(Ext4Error) in
            handle.modify(lost) { $0.clear() }
        }

        let contents = image.path + ".expected"
        try shellWrite(expected.flatMap { $0 }, to: contents)
        let byE2fsck = try image.recoveredByE2fsck()
        try shell(
            """
            e2fsck -fn $1 >&2
            debugfs -R "dump blob $1.blob" $1
            cmp $1.blob $2
            """, byE2fsck, contents)
        let forKernel = try image.copy("for-the-kernel")
        try shell(
            """
            mkdir $1.mount
            mount -o loop $1 $1.mount
            trap 'umount $1.mount' EXIT
            cmp $1.mount/blob $2
            """, forKernel, contents)
        // And as a reader of ours sees it.
        let seen = try Volume.open(FileDevice(path: try image.copy("for-us")))
        #expect(seen.recovery?.transactionCount ?? 0 > 0)
        #expect(try seen.contents(of: seen.inode(atPath: "/blob")) == expected.flatMap { $0 })
    }

    private func shellWrite(_ bytes: [UInt8], to path: String) throws {
        try shell("truncate -s \(bytes.count) $1", path)
        let device = try FileDevice(path: path, access: .readWrite)
        try unsafe device.write(bytes.span.bytes, at: 0)
    }

    /// Sets needs_recovery, as a mount for writing does before its first transaction.
    private func markDirty(_ device: FileDevice) throws {
        var bytes = try device.read(at: Superblock.byteOffset, count: Superblock.byteCount)
        do {
            var span = bytes.mutableSpan
            var raw = unsafe span.mutableBytes
            raw[Superblock.Layout.incompatible] |= IncompatibleFeatures.recover.rawValue
            raw[Superblock.Layout.checksum] = Superblock.checksum(of: raw.bytes)
        }
        try unsafe device.write(bytes.span.bytes, at: Superblock.byteOffset)
        try device.flush()
    }
}
