import Foundation
import Testing

/// A program that a test runs, found in the path. `make test` installs what is missing.
struct Tool {
    struct Result {
        let status: Int32
        let output: [UInt8]
        let errors: String

        var text: String { String(decoding: output, as: UTF8.self) }
    }

    struct Missing: Error, CustomStringConvertible {
        let name: String
        var description: String { "\(name) is not installed: run scripts/install-dependencies" }
    }

    struct Failed: Error, CustomStringConvertible {
        let description: String
    }

    /// Runs a program to its end and takes what it prints.
    static func run(
        _ name: String, _ arguments: [String], input: String? = nil,
        environment: [String: String] = [:]
    ) throws -> Result {
        let path =
            name.contains("/")
            ? name
            : ["/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/bin"]
                .map { "\($0)/\(name)" }
                .first { FileManager.default.isExecutableFile(atPath: $0) }
        guard let path else { throw Missing(name: name) }
        // Output goes through files: a pipe would fill up while the other one is read.
        let scratch = try ScratchDirectory()
        let (outPath, errorPath) = (scratch.path("out"), scratch.path("errors"))
        for file in ["out", "errors"] { try scratch.file(file, []) }
        let process = Process()
        process.executableURL = URL(fileURLWithPath: path)
        process.arguments = arguments
        process.environment = ["PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"]
            .merging(environment) { $1 }
        process.standardOutput = try FileHandle(forWritingTo: URL(fileURLWithPath: outPath))
        process.standardError = try FileHandle(forWritingTo: URL(fileURLWithPath: errorPath))
        let inPath = scratch.path("in")
        try scratch.file("in", Array((input ?? "").utf8))
        process.standardInput = try FileHandle(forReadingFrom: URL(fileURLWithPath: inPath))
        try process.run()
        process.waitUntilExit()
        return Result(
            status: process.terminationStatus,
            output: [UInt8](try Data(contentsOf: URL(fileURLWithPath: outPath))),
            errors: String(
                decoding: try Data(contentsOf: URL(fileURLWithPath: errorPath)), as: UTF8.self))
    }

    /// Runs a program that must succeed.
    @discardableResult
    static func check(
        _ name: String, _ arguments: [String], input: String? = nil,
        environment: [String: String] = [:]
    ) throws -> Result {
        let result = try run(name, arguments, input: input, environment: environment)
        guard result.status == 0 else {
            throw Failed(
                description:
                    "\(name) \(arguments.map { $0.prefix(80) }) ended with \(result.status): \(result.errors)"
            )
        }
        return result
    }

    /// Runs a shell script that must succeed, with `$1` and so on set.
    @discardableResult
    static func shell(_ script: String, _ arguments: String...) throws -> Result {
        try check("sh", ["-eu", "-c", script, "sh"] + arguments)
    }

    /// The command under test.
    static func ext4(_ arguments: String..., environment: [String: String] = [:]) throws -> Result {
        try run(commandPath, arguments, environment: environment)
    }

    /// The command was built beside the tests.
    static let commandPath = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
        .deletingLastPathComponent().appendingPathComponent("ext4").path
}

/// A directory that goes away with its owner.
final class ScratchDirectory: Sendable {
    let root: String

    init() throws {
        let base = FileManager.default.temporaryDirectory
            .appendingPathComponent("swift-ext4-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: base, withIntermediateDirectories: true)
        root = base.path
    }

    deinit {
        // What a test copied as another user, or without permissions, is root's to remove.
        try? FileManager.default.removeItem(atPath: root)
    }

    func path(_ name: String) -> String { "\(root)/\(name)" }

    @discardableResult
    func file(_ name: String, _ bytes: [UInt8]) throws -> String {
        try Data(bytes).write(to: URL(fileURLWithPath: path(name)))
        return path(name)
    }

    func bytes(_ name: String) throws -> [UInt8] {
        [UInt8](try Data(contentsOf: URL(fileURLWithPath: path(name))))
    }
}

/// Whether the tests run as root: locks on devices, mounts and owners need that.
let isRoot = geteuid() == 0
