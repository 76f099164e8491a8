import Ext4Verify
import Foundation

struct Failed: Error, CustomStringConvertible {
    let description: String
}

/// Whether the tests run as root: mounting needs that.
let isRoot = geteuid() == 0

/// Runs a shell script, with its arguments as `$1` and so on.
func runShell(_ script: String, _ arguments: [String]) throws -> (status: Int32, output: String) {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/bin/sh")
    process.arguments = ["-eu", "-c", script, "sh"] + arguments
    process.environment = ["PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"]
    let pipe = Pipe()
    process.standardOutput = pipe
    process.standardError = pipe
    process.standardInput = FileHandle.nullDevice
    try process.run()
    let output = String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    process.waitUntilExit()
    return (process.terminationStatus, output)
}

/// Runs a shell script that must succeed.
@discardableResult
func shell(_ script: String, _ arguments: String...) throws -> String {
    let (status, output) = try runShell(script, arguments)
    guard status == 0 else { throw Failed(description: "\(script) \(arguments): \(output)") }
    return output
}

/// A directory that goes away with its owner.
final class Scratch: Sendable {
    let root: String

    init() throws {
        // Images are written and read as a whole again and again: in memory, where that is.
        let memory = "/dev/shm"
        let base =
            unsafe access(memory, W_OK) == 0 ? memory : FileManager.default.temporaryDirectory.path
        root = "\(base)/swift-ext4-write-\(UUID().uuidString)"
        try FileManager.default.createDirectory(
            atPath: root, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: root) }

    func path(_ name: String) -> String { "\(root)/\(name)" }
}

/// Makes volumes by mke2fs, in memory and full of poison: every byte that mke2fs does not write is
/// one that no test writes (`Randomness.poison`), so that what shows of it in a file was never the file's.
enum TestImage {
    static func make(
        _ options: String, megabytes: Int, extended: String = ""
    ) throws -> FaultyDevice {
        let scratch = try Scratch()
        let image = scratch.path("image")
        try shell(
            """
            head -c \(megabytes)M /dev/zero | tr '\\0' '\\245' > $1
            mke2fs -q -F -E nodiscard,lazy_itable_init=0\(extended) \(options) $1
            """, image)
        return try FaultyDevice(path: image)
    }

    /// What `e2fsck -fn` has to say; nil when that is nothing.
    static func complaints(about device: FaultyDevice) throws -> String? {
        let scratch = try Scratch()
        try device.save(to: scratch.path("image"))
        return try complaints(aboutFile: scratch.path("image"))
    }

    static func complaints(aboutFile path: String) throws -> String? {
        let (status, output) = try runShell("e2fsck -fn $1 2>&1", [path])
        return status == 0 ? nil : "e2fsck -fn: \(status)\n\(output.prefix(3000))"
    }

    /// What `e2fsck -p` makes of a volume: it goes on only where nothing is lost by it.
    static func preened(_ device: FaultyDevice) throws -> FaultyDevice {
        let scratch = try Scratch()
        let path = scratch.path("image")
        try device.save(to: path)
        // 1 tells that it did something.
        let (status, output) = try runShell("e2fsck -fp $1 2>&1", [path])
        guard status <= 1 else {
            throw Failed(description: "e2fsck -fp: \(status): \(output)")
        }
        return try FaultyDevice(path: path)
    }
}
