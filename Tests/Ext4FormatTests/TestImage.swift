import Ext4
import Ext4Check
import Ext4Host
import Foundation
import TestShell
import Testing

/// A directory in memory where there is one, gone with its owner.
final class ScratchDirectory {
    let root: String

    init() throws {
        let memory = "/dev/shm"
        let base =
            unsafe access(memory, W_OK) == 0 ? memory : FileManager.default.temporaryDirectory.path
        root = "\(base)/swift-ext4-format-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: root, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: root) }

    func path(_ name: String) -> String { "\(root)/\(name)" }

    /// The bytes of a path, as the library takes it.
    func bytes(ofPath name: String) -> [UInt8] { Array(path(name).utf8) }

    func write(_ bytes: [UInt8], to name: String) throws {
        try Data(bytes).write(to: URL(fileURLWithPath: path(name)))
    }

    func read(_ name: String) throws -> [UInt8] {
        [UInt8](try Data(contentsOf: URL(fileURLWithPath: path(name))))
    }

    func read(_ name: String, from offset: UInt64, count: Int) throws -> [UInt8] {
        let file = try FileHandle(forReadingFrom: URL(fileURLWithPath: path(name)))
        defer { try? file.close() }
        try file.seek(toOffset: offset)
        return [UInt8](try file.read(upToCount: count) ?? Data())
    }
}

/// A kind of volume, small enough for a test.
struct ImageKind: Sendable, CustomTestStringConvertible {
    var kind = FormatOptions.Kind.ext4
    var features = ""
    var blockSize: Int?
    /// The size in MiB; nil for the smallest that holds everything.
    var megabytes: UInt64?

    var testDescription: String {
        "\(kind) \(features) \(blockSize.map { "\($0)" } ?? "") \(megabytes.map { "\($0)M" } ?? "")"
    }

    var options: FormatOptions {
        get throws {
            var options = try someOptions(kind, features)
            options.blockSize = blockSize
            return options
        }
    }

    static let ext4 = ImageKind(features: "^has_journal")
    static let small = ImageKind(features: "^has_journal", blockSize: 1024)
    static let inline = ImageKind(features: "^has_journal,inline_data")
    static let bigalloc = ImageKind(
        features: "^has_journal,bigalloc", blockSize: 1024, megabytes: 8)

    /// One of each kind that lays an image out in a way of its own.
    static let all = [
        ImageKind(), ext4, small, ImageKind(blockSize: 2048),
        ImageKind(kind: .ext2, blockSize: 1024, megabytes: 6), ImageKind(kind: .ext2),
        ImageKind(kind: .ext3, blockSize: 1024, megabytes: 8), inline,
        ImageKind(features: "^has_journal,inline_data,ea_inode", blockSize: 1024),
        ImageKind(features: "ea_inode,orphan_file,metadata_csum_seed"), bigalloc,
        ImageKind(features: "^has_journal,bigalloc,inline_data,ea_inode", megabytes: 16),
        ImageKind(features: "^metadata_csum,uninit_bg", blockSize: 1024),
        ImageKind(
            features: "^has_journal,meta_bg,^resize_inode,^flex_bg", blockSize: 1024, megabytes: 12),
        ImageKind(features: "^has_journal,^dir_index,^64bit"), ImageKind(features: "quota"),
    ]
}

/// An image that is being made in a file, and then read, gone with its owner.
final class TestImage {
    let scratch: ScratchDirectory
    let path: String
    let device: FileDevice
    let builder: ImageBuilder
    /// How many bytes the volume has; known at the end.
    private(set) var byteCount: UInt64 = 0

    /// As far as the tests' volumes may grow.
    static let limit: UInt64 = 32 << 20

    convenience init(_ kind: ImageKind = .ext4, free: UInt64 = 0) throws {
        try self.init(
            kind.options,
            size: kind.megabytes.map { .fixed($0 << 20) }
                ?? .automatic(free: free, limit: Self.limit))
    }

    init(_ options: FormatOptions, size: ImageBuilder.Size) throws {
        scratch = try ScratchDirectory()
        path = scratch.path("image")
        try scratch.write([], to: "image")
        device = try FileDevice(path: path, access: .readWrite)
        switch size {
        case .fixed(let count): try device.setByteCount(count)
        case .automatic(_, let limit): try device.setByteCount(max(limit, Self.limit))
        }
        builder = try ImageBuilder(device, options, size: size)
    }

    /// Finishes the image, has both checks look at it, and opens it.
    func finish(_ place: SourceLocation = #_sourceLocation) throws -> Volume {
        byteCount = try builder.finish()
        try device.setByteCount(byteCount)
        if let complaint = try complaint() { Issue.record("\(complaint)", sourceLocation: place) }
        return try Volume.open(device)
    }

    /// What e2fsck and our own check have to say; nil when that is nothing.
    func complaint() throws -> String? {
        let words = try shell("e2fsck -fn $1 2>&1 || echo FAILED", path)
        if words.contains("FAILED") { return "e2fsck: \(words.prefix(2000))" }
        var options = CheckOptions()
        options.threads = 1
        let findings = try Check.run(device, options: options).report.findings
        return findings.isEmpty ? nil : "check: \(findings.prefix(5).map { "\($0)" })"
    }

    /// What debugfs says to a command: a reader that is not ours.
    func debugfs(_ command: String) throws -> String {
        try shell("debugfs -R \"$1\" $2 2>/dev/null", command, path)
    }
}

/// `count` bytes of which no two blocks are the same.
func pattern(_ count: Int, seed: Int = 1) -> [UInt8] {
    unsafe [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
        var state = UInt32(truncatingIfNeeded: seed &* 0x9E37_79B1 | 1)
        for index in 0..<count {
            state ^= state << 13
            state ^= state >> 17
            state ^= state << 5
            unsafe buffer[index] = UInt8(truncatingIfNeeded: state)
        }
        initialized = count
    }
}
