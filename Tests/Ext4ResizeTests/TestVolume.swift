import Ext4
import Ext4Check
import Ext4Host
import Ext4Verify
import TestShell
import Foundation

/// An image file that mke2fs made, gone with its owner.
final class TestVolume {
    let root: String
    var path: String { "\(root)/image" }

    init(_ options: String, megabytes: Int) throws {
        let memory = "/dev/shm"
        let base =
            unsafe access(memory, W_OK) == 0 ? memory : FileManager.default.temporaryDirectory.path
        root = "\(base)/swift-ext4-resize-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: root, withIntermediateDirectories: true)
        try shell(
            "truncate -s \(megabytes)M $1; mke2fs -q -F \(options) $1", path)
    }

    deinit { try? FileManager.default.removeItem(atPath: root) }

    func open() throws -> FileDevice { try FileDevice(path: path, access: .readWrite) }

    /// Fills the volume with files all over it: `count` of them in some directories.
    ///
    /// - Parameter ballast: a file of so many MiB is there first and gone afterwards.
    func fill(files count: Int, bytes: Int = 20_000, ballast: Int = 0) throws {
        let volume = try Volume.open(open(), options: Self.writing)
        let root = try volume.root()
        if ballast > 0 {
            let file = try volume.create(
                name("ballast"), in: root, NewInode(mode: FileMode(rawValue: 0o100600)))
            let contents = [UInt8](repeating: 1, count: 1 << 20)
            for part in 0..<ballast {
                _ = try volume.write(
                    unsafe contents.span.bytes, to: file, at: UInt64(part) << 20)
            }
        }
        defer {
            if ballast > 0 { try? volume.unlink(name("ballast"), in: root) }
            try? volume.close()
        }
        var parents: [Inode] = []
        for number in 0..<8 {
            parents.append(
                try volume.create(
                    name("directory\(number)"), in: root,
                    NewInode(mode: FileMode(rawValue: 0o040755))))
        }
        for number in 0..<count {
            let parent = parents[number % parents.count]
            let file = try volume.create(
                name("file\(number)"), in: parent, NewInode(mode: FileMode(rawValue: 0o100644)))
            let contents = (0..<bytes).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ number) }
            _ = try volume.write(unsafe contents.span.bytes, to: file, at: 0)
            if number % 5 == 0 {
                _ = try volume.write(
                    unsafe contents.span.bytes, to: file, at: UInt64(bytes) * 3)
            }
            if number % 7 == 0 {
                try volume.link(file, as: name("link\(number)"), in: root)
            }
            if number % 9 == 0 {
                _ = try volume.create(
                    name("below\(number)"), in: parent,
                    NewInode(mode: FileMode(rawValue: 0o040700)))
            }
        }
    }

    private func name(_ text: String) -> FileName { FileName(Array(text.utf8)) }

    static var writing: OpenOptions {
        var options = OpenOptions()
        options.access = .readWrite
        options.clock = { Timestamp(seconds: 1_700_000_000) }
        return options
    }

    func manifest() throws -> TreeManifest {
        try TreeManifest(reading: Volume.open(FileDevice(path: path)))
    }

    /// Resizes the volume, and the file with it.
    @discardableResult
    func resize(to bytes: UInt64, isMinimum: Bool = false) throws -> ResizeReport {
        let device = try open()
        let superblock = try Volume.open(device).superblock
        var options = ResizeOptions()
        options.clock = { Timestamp(seconds: 1_700_000_100) }
        if bytes > device.byteCount {
            options.zerosFrom = device.byteCount
            try device.setByteCount(bytes)
        }
        let report = try Resizer.resize(
            device, to: bytes >> UInt64(superblock.blockSizeLog2), isMinimum: isMinimum,
            options: options)
        try device.setByteCount(report.newBlocks << UInt64(superblock.blockSizeLog2))
        return report
    }

    /// What e2fsck and our own check have to say; nil when that is nothing.
    func complaint(withCopies: Bool = true) throws -> String? {
        let words = try shell("e2fsck -fn $1 2>&1 || echo FAILED", path)
        if words.contains("FAILED") { return "e2fsck: \(words.prefix(2000))" }
        let report = try Check.run(FileDevice(path: path)).report
        let findings = report.findings.filter { $0.rule.severity == .error }
        guard findings.isEmpty else { return "\(findings.prefix(5))" }
        let copies = report.findings.filter {
            $0.rule == .superblockBackup || $0.rule == .groupBackup
        }
        return withCopies && !copies.isEmpty ? "copies are out of date: \(copies.prefix(3))" : nil
    }
}
