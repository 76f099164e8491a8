import Ext4
import Foundation

/// Whether the tests run as root, which mounting needs.
let isRoot = geteuid() == 0

/// A volume that `mke2fs` makes and the kernel fills, in a directory that goes away with it.
final class KernelImage {
    struct Failed: Error, CustomStringConvertible {
        let description: String
    }

    let directory: String
    var path: String { "\(directory)/image" }
    var mountPoint: String { "\(directory)/mount" }

    /// Makes the image; `options` are those of `mke2fs`.
    init(_ options: [String], mebibytes: Int = 16) throws {
        directory =
            FileManager.default.temporaryDirectory
            .appendingPathComponent("swift-ext4-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(
            atPath: mountPoint, withIntermediateDirectories: true)
        try Self.shell("truncate -s \"$2\"M \"$1\"", path, "\(mebibytes)")
        try Self.run(["mke2fs", "-q", "-F"] + options + [path])
    }

    deinit { try? FileManager.default.removeItem(atPath: directory) }

    /// Mounts the volume by the kernel for as long as `body` runs.
    @discardableResult
    func mounted<Result>(
        readOnly: Bool = false, _ body: (_ root: String) throws -> Result
    ) throws -> Result {
        let options = readOnly ? "loop,ro,noload" : "loop,user_xattr,acl"
        try Self.run(["mount", "-t", "ext4", "-o", options, path, mountPoint])
        let result: Result
        do {
            result = try body(mountPoint)
        } catch {
            try unmount()
            throw error
        }
        try unmount()
        return result
    }

    /// Unmounts. A process that another test starts at this moment may still have what this one
    /// had open, until it is that other program: that is waited for.
    private func unmount() throws {
        try Self.shell(
            """
            i=0
            until umount "$1" 2>/dev/null; do
                i=$((i + 1)); [ $i -lt 50 ] || exec umount "$1"; sleep 0.1
            done
            """, mountPoint)
    }

    /// All bytes of the image.
    func bytes() throws -> [UInt8] {
        [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
    }

    /// The volume, opened by this engine.
    func volume() throws -> Volume { try Volume.open(MemoryDevice(bytes(), isReadOnly: true)) }

    /// Opens the volume for writing by this engine for as long as `body` runs, then lets `e2fsck`
    /// look at what came of it.
    @discardableResult
    func written<Result>(_ body: (Volume) throws -> Result) throws -> Result {
        let device = MemoryDevice(try bytes())
        var options = OpenOptions()
        options.access = .readWrite
        options.clock = { Timestamp(seconds: 1_700_000_000, nanoseconds: 5) }
        let volume = try Volume.open(device, options: options)
        let result = try body(volume)
        try volume.close()
        try Data(device.bytes).write(to: URL(fileURLWithPath: path))
        try check()
        return result
    }

    /// Lets `e2fsck` look at the volume, which must have nothing to say.
    func check() throws {
        try Self.shell("e2fsck -fn \"$1\" >&2", path)
    }

    /// Runs a shell script that must succeed, with `$1` and so on set.
    @discardableResult
    static func shell(_ script: String, _ arguments: String...) throws -> [UInt8] {
        try run(["sh", "-eu", "-c", script, "sh"] + arguments)
    }

    /// Runs a program that must succeed.
    ///
    /// - Returns: what it printed.
    @discardableResult
    static func run(_ command: [String]) throws -> [UInt8] {
        let scratch = FileManager.default.temporaryDirectory
            .appendingPathComponent("swift-ext4-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: scratch, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: scratch) }
        // Output goes through files: a pipe would fill up while the other one is read.
        let output = scratch.appendingPathComponent("output")
        let errors = scratch.appendingPathComponent("errors")
        for file in [output, errors] { try Data().write(to: file) }
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = command
        process.environment = ["PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"]
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = try FileHandle(forWritingTo: output)
        process.standardError = try FileHandle(forWritingTo: errors)
        try process.run()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else {
            let words = String(decoding: try Data(contentsOf: errors), as: UTF8.self)
            throw Failed(
                description: "\(command) ended with \(process.terminationStatus): \(words)")
        }
        return [UInt8](try Data(contentsOf: output))
    }
}
