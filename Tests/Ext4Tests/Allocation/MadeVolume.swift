import Foundation
import Testing

@testable import Ext4

/// A volume that mke2fs made, with the parts of the engine that allocate on it, and e2fsck to say
/// what came of it.
final class MadeVolume: Sendable {
    struct Failed: Error, CustomStringConvertible {
        let description: String
    }

    private let path: String
    let device: MemoryDevice
    let groups: GroupTable
    let journal: Journal
    let blocks: BlockAllocator
    let inodes: InodeAllocator
    /// Messages of the engine.
    private let sink = Messages()
    var messages: [String] { sink.texts.withLock { $0 } }

    private final class Messages: Sendable {
        let texts = Guarded<[String]>([])
    }

    var superblock: Superblock { groups.reader.superblock }
    var cache: BufferCache { groups.reader.cache }

    /// Makes a volume with `options` of mke2fs on what was garbage before; `change` may damage it.
    init(
        _ options: String, kibibytes: Int = 65536,
        change: (inout [UInt8], Volume) throws -> Void = { _, _ in }
    ) throws {
        path =
            FileManager.default.temporaryDirectory
            .appendingPathComponent("swift-ext4-allocation-\(UUID().uuidString)").path
        try Self.shell(
            """
            head -c $(($2 * 1024)) /dev/zero | tr '\\0' '\\245' > $1
            mke2fs -q -F -E lazy_itable_init=1,nodiscard \(options) $1 $2
            """, path, "\(kibibytes)")
        var bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
        try change(&bytes, Volume.open(MemoryDevice(bytes)))
        device = MemoryDevice(bytes)
        let volume = try Volume.open(device)
        let superblock = volume.superblock
        let sink = sink
        let reader = BlockReader(
            superblock: superblock,
            // A small cache, so that bitmaps leave it and come back.
            cache: BufferCache(
                device: device, blockSizeLog2: superblock.blockSizeLog2,
                byteBudget: 64 << superblock.blockSizeLog2),
            verifiesChecksums: true,
            log: Log(least: .warning) { _, text in sink.texts.withLock { $0.append(text) } })
        groups = GroupTable(reader, sourceGroup: GroupNumber(0))
        if superblock.compatible.contains(.hasJournal) {
            journal = try Journal(
                device, at: volume.journalLocation(), of: volume.journalledVolume,
                is64Bit: superblock.incompatible.contains(.bit64),
                hasChecksums: superblock.hasMetadataChecksums,
                clock: { Timestamp(seconds: 1_800_000_000) }, log: .none)
        } else {
            journal = Journal(
                withoutLog: device, blockSize: superblock.blockSize,
                hasChecksums: superblock.hasMetadataChecksums,
                clock: { Timestamp(seconds: 1_800_000_000) }, log: .none)
        }
        blocks = try BlockAllocator(groups, journal: journal)
        inodes = try InodeAllocator(groups, blocks: blocks, journal: journal)
        journal.beforeFreeze.withLock { [groups] hook in hook = { groups.sealBitmaps() } }
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    /// Runs `body` in a handle.
    func change<Result>(
        _ body: (inout Handle) throws(Ext4Error) -> Result
    ) throws(Ext4Error) -> Result {
        try journal.withHandle(credits: 16, body)
    }

    /// Whether the bitmap on the device has `block` as used.
    func isUsed(_ block: BlockNumber) throws -> Bool {
        let group = groups.geometry.group(of: block)
        let descriptor = try groups.descriptor(of: group)
        let index = Int(block.rawValue - superblock.firstBlock(of: group).rawValue)
        if superblock.hasDescriptorChecksums, descriptor.flags.contains(.blockUninit) {
            return blocks.own.intersects(BlockRange(start: block, count: 1))
        }
        let bytes = try device.read(
            at: descriptor.blockBitmap.rawValue * UInt64(superblock.blockSize),
            count: superblock.blockSize)
        return unsafe bytes.span.bytes.isBitSet(index)
    }

    /// Brings everything to the device, and the totals into the superblock.
    func finish() throws {
        try journal.close()
        var bytes = try device.read(at: Superblock.byteOffset, count: Superblock.byteCount)
        do {
            typealias Layout = Superblock.Layout
            var span = bytes.mutableSpan
            var raw = unsafe span.mutableBytes
            raw[Layout.freeBlocksLow] = UInt32(truncatingIfNeeded: blocks.freeBlocks)
            raw[Layout.freeInodes] = UInt32(inodes.freeInodes)
            if superblock.hasMetadataChecksums {
                raw[Layout.checksum] = Superblock.checksum(of: raw.bytes)
            }
        }
        try unsafe device.write(bytes.span.bytes, at: Superblock.byteOffset)
    }

    /// What `e2fsck -fn` says of the device as it is.
    func check() throws -> (status: Int32, output: String) {
        try Data(device.bytes).write(to: URL(fileURLWithPath: path))
        return try Self.run("e2fsck -fn $1 2>&1", [path])
    }

    @discardableResult
    static func shell(_ script: String, _ arguments: String...) throws -> String {
        let (status, output) = try run(script, arguments)
        guard status == 0 else { throw Failed(description: "\(script): \(output)") }
        return output
    }

    private static func run(
        _ script: String, _ arguments: [String]
    ) throws -> (status: Int32, output: String) {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/bin/sh")
        process.arguments = ["-eu", "-c", script, "sh"] + arguments
        process.environment = ["PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"]
        let pipe = Pipe()
        process.standardOutput = pipe
        process.standardError = pipe
        process.standardInput = FileHandle.nullDevice
        try process.run()
        let output = String(
            decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        return (process.terminationStatus, output)
    }
}
