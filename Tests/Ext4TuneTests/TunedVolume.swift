import Ext4Check
import Ext4Host
import Ext4Verify
import Foundation
import TestShell
import Testing

@testable import Ext4

/// A folder in memory, gone with its owner.
final class ScratchFolder: Sendable {
    let path: String

    init() throws {
        let memory = "/dev/shm"
        let base =
            unsafe access(memory, W_OK) == 0 ? memory : FileManager.default.temporaryDirectory.path
        path = "\(base)/swift-ext4-tune-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }
}

/// An image file that mke2fs made.
final class TunedVolume {
    let folder: ScratchFolder
    var path: String { "\(folder.path)/image" }

    /// Makes a volume with what `script` puts into the folder `$1`.
    init(
        _ options: String, megabytes: Int = 32, contents script: String = ":", pieces: Int = 0
    ) throws {
        folder = try ScratchFolder()
        let tree = "\(folder.path)/tree"
        try shell("mkdir $1; \(script)", tree)
        if pieces > 0 {
            // A file with holes: an extent a piece.
            let path = "\(tree)/sparse"
            _ = FileManager.default.createFile(atPath: path, contents: nil)
            let file = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
            for piece in 0..<pieces {
                try file.seek(toOffset: UInt64(piece) * 8192)
                try file.write(contentsOf: [0x78])
            }
            try file.close()
        }
        try shell(
            "truncate -s \(megabytes)M $1; mke2fs -q -F -N 4096 \(options) -d $2 $1; rm -r $2",
            path, tree)
    }

    /// A volume with what checksums are kept of: large directories, a deep tree of extents, blocks
    /// of attributes that are shared and that are not, links, holes.
    static func filled(_ options: String, names: Int = 1200) throws -> TunedVolume {
        let volume = try TunedVolume(
            options,
            contents: """
                mkdir $1/many $1/some $1/some/empty
                i=0; while [ $i -lt \(names) ]; do
                    : > $1/many/$(printf 'name-%095d' $i); i=$((i+1))
                done
                i=0; while [ $i -lt 60 ]; do echo $i > $1/some/file$i; i=$((i+1)); done
                ln -s here $1/short; ln -s $(printf '%0200d' 7) $1/long
                ln $1/some/file1 $1/some/other
                """, pieces: 400)
        // Half of an attribute's value is more than an inode has room for.
        let value = String(repeating: "v", count: 600)
        try shell(
            """
            for name in /sparse /some /some/file2; do
                echo "ea_set $name user.long \(value)"
            done | debugfs -w -f - $1
            e2fsck -fyD $1 || [ $? -eq 1 ]
            """, volume.path)
        #expect(try volume.complaint() == nil, "\(options): as mke2fs made it")
        return volume
    }

    func open() throws -> FileDevice { try FileDevice(path: path, access: .readWrite) }

    func superblock() throws -> Superblock {
        let bytes = try FileDevice(path: path).read(
            at: Superblock.byteOffset, count: Superblock.byteCount)
        return try unsafe Superblock(parsing: bytes.span.bytes)
    }

    /// Gives the volume the UUID and features that `edit` puts into the superblock, and the
    /// checksums that go with them.
    ///
    /// - Parameter limit: after so many requests to write the device fails.
    /// - Returns: directories without room.
    @discardableResult
    func change(
        limit: Int = .max, _ edit: (inout MutableRawSpan) -> Void
    ) throws -> [InodeNumber] {
        let device = FailingDevice(try open(), writes: limit)
        var bytes = try device.read(at: Superblock.byteOffset, count: Superblock.byteCount)
        let old = try unsafe Superblock(parsing: bytes.span.bytes)
        do {
            var span = bytes.mutableSpan
            var raw = unsafe span.mutableBytes
            edit(&raw)
            let features = ReadOnlyCompatibleFeatures(
                rawValue: raw[Superblock.Layout.readOnlyCompatible])
            let hasChecksums = features.contains(.metadataCsum)
            raw[Superblock.Layout.checksumType] = hasChecksums ? 1 : 0
            raw[Superblock.Layout.checksum] =
                hasChecksums ? Superblock.checksum(of: raw.bytes) : 0
        }
        let new = try unsafe Superblock(parsing: bytes.span.bytes)
        let rest = try ChecksumRewrite(device: device, from: old, to: new).run()
        try rest.table.write(to: device, new)
        try unsafe device.write(bytes.span.bytes, at: Superblock.byteOffset)
        try BackupCopies(device: device, superblock: new).write { _, _ in }
        return rest.crowded
    }

    /// Changes the UUID.
    func change(limit: Int = .max, uuid first: UInt8) throws {
        try change(limit: limit) { raw in
            for (index, offset) in Superblock.Layout.uuid.enumerated() {
                raw[Field<UInt8>.le(offset)] = first &+ UInt8(index) &* 7
            }
        }
    }

    /// Changes which checksums there are.
    @discardableResult
    func change(
        limit: Int = .max, checksums: ReadOnlyCompatibleFeatures
    ) throws -> [InodeNumber] {
        try change(limit: limit) { raw in
            let field = Superblock.Layout.readOnlyCompatible
            let both: ReadOnlyCompatibleFeatures = [.metadataCsum, .gdtCsum]
            raw[field] = raw[field] & ~both.rawValue | checksums.rawValue
        }
    }

    func manifest() throws -> TreeManifest {
        try TreeManifest(reading: Volume.open(FileDevice(path: path)))
    }

    /// What e2fsck and our own check have to say; nil when that is nothing.
    func complaint(isDeep: Bool = true) throws -> String? {
        let words = try shell("e2fsck -fn $1 2>&1 || echo FAILED", path)
        // Some versions say nothing but that with a word on what they would do.
        if words.contains("FAILED") || words.contains("Fix?") {
            return "e2fsck: \(words.prefix(2000))"
        }
        guard isDeep else { return nil }
        let report = try Check.run(FileDevice(path: path)).report
        let findings = report.findings.filter { $0.rule.severity == .error }
        guard findings.isEmpty else { return "\(findings.prefix(5))" }
        return report.findings.contains { $0.rule == .superblockBackup }
            ? "a copy of the superblock is out of date" : nil
    }
}

/// A device that fails after some writes, as one does that loses its power.
final class FailingDevice: BlockDevice {
    private let device: FileDevice
    private let left: Guarded<Int>
    private let limit: Int

    init(_ device: FileDevice, writes: Int) {
        self.device = device
        limit = writes
        left = Guarded(writes)
    }

    var byteCount: UInt64 { device.byteCount }
    var isReadOnly: Bool { device.isReadOnly }
    /// How many writes there were.
    var writes: Int { limit - left.withLock { $0 } }

    func read(at byteOffset: UInt64, into bytes: inout MutableRawSpan) throws(Ext4Error) {
        try device.read(at: byteOffset, into: &bytes)
    }

    func write(_ bytes: RawSpan, at byteOffset: UInt64) throws(Ext4Error) {
        let isAlive = left.withLock { left in
            left -= 1
            return left >= 0
        }
        guard isAlive else {
            throw .io(IOFailure(.write, at: byteOffset, count: bytes.byteCount, errno: 5))
        }
        try device.write(bytes, at: byteOffset)
    }

    func flush() throws(Ext4Error) { try device.flush() }
}
