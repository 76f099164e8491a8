import Ext4Host
import Foundation
import Testing

@testable import Ext4

/// Runs a shell script that must succeed, with its arguments as `$1` and so on.
@discardableResult
func shell(_ script: String, _ arguments: String..., expecting statuses: Set<Int32> = [0]) throws
    -> String
{
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
    guard statuses.contains(process.terminationStatus) else {
        throw ShellFailure(description: "\(script) \(arguments): \(output)")
    }
    return output
}

struct ShellFailure: Error, CustomStringConvertible {
    let description: String
}

/// Whether the tests run as root: mounting needs that.
let isRoot = geteuid() == 0

/// An image as a crash left it, in a directory that goes away with it.
final class CrashImage: Sendable {
    let directory: String

    var path: String { directory + "/image" }

    init(_ makeOptions: String, megabytes: Int = 48) throws {
        directory =
            FileManager.default.temporaryDirectory
            .appendingPathComponent("swift-ext4-journal-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(
            atPath: directory, withIntermediateDirectories: true)
        try shell(
            "truncate -s \(megabytes)M $1; mke2fs -q -F -E lazy_itable_init=0 \(makeOptions) $1",
            path)
    }

    deinit { try? FileManager.default.removeItem(atPath: directory) }

    /// Mounts the image by the kernel, runs `script` in the mount's root and then copies the image
    /// as it is at that moment: what would be left if the power went off.
    func crash(mountedWith options: String, running script: String) throws {
        try shell(
            """
            mkdir $1/mount
            mount -o loop,commit=600,$2 $1/image $1/mount
            trap 'umount $1/mount' EXIT
            (cd $1/mount; eval "$3")
            cp --sparse=always $1/image $1/crashed
            """, directory, options, script)
        try shell("mv $1/crashed $1/image", directory)
    }

    /// A copy of the image beside it.
    func copy(_ name: String) throws -> String {
        let copy = directory + "/" + name
        try shell("cp --sparse=always $1 $2", path, copy)
        return copy
    }

    /// What e2fsck makes of the journal alone.
    func recoveredByE2fsck() throws -> String {
        let copy = try copy("by-e2fsck")
        // 1 says that something was corrected. With `-f` it would go on and correct more.
        try shell("e2fsck -y -E journal_only $1", copy, expecting: [0, 1])
        return copy
    }

    /// The volume's numbers as dumpe2fs tells them, and the journal's blocks as debugfs does:
    /// these tests are of the journal, and not of what finds it.
    func geometry() throws -> (volume: JournalledVolume, journal: JournalLocation) {
        let header = try shell("dumpe2fs -h $1 2>/dev/null", path)
        func number(_ name: String) throws -> UInt64 {
            let line = try #require(
                header.split(separator: "\n").first { $0.hasPrefix(name + ":") })
            return try #require(
                UInt64(line.dropFirst(name.count + 1).trimmingCharacters(in: .whitespaces)))
        }
        let volume = JournalledVolume(
            blockSize: Int(try number("Block size")), blocksCount: try number("Block count"),
            firstDataBlock: try number("First block"))
        let status = try shell("debugfs -R 'stat <8>' $1 2>/dev/null", path)
        let runs = status.matches(of: /\((\d+)(?:-(\d+))?\):(\d+)/).map { match in
            let first = UInt64(match.1) ?? 0
            let last = match.2.flatMap { UInt64($0) } ?? first
            return JournalLocation.Run(
                firstBlock: BlockNumber(UInt64(match.3) ?? 0), count: last - first + 1)
        }
        return (volume, try JournalLocation(runs, on: volume))
    }
}

/// Opens an image, and waits for its lock if it must: a program that another test is starting has
/// a copy of every open file for a moment, and the locks with them.
func openImage(
    _ path: String, access: FileDevice.Access = .readOnly
) throws(Ext4Error) -> FileDevice {
    for _ in 0..<200 {
        do throws(Ext4Error) {
            return try FileDevice(path: path, access: access)
        } catch {
            guard error == .busy else { throw error }
            usleep(10_000)
        }
    }
    throw .busy
}

/// The blocks at which two images of one size differ.
func differingBlocks(_ a: String, _ b: String, blockSize: Int) throws -> [UInt64] {
    let (one, other) = (try openImage(a), try openImage(b))
    #expect(one.byteCount == other.byteCount)
    return try differingBlocks(one, other, blockSize: blockSize)
}

func differingBlocks(
    _ a: any BlockDevice, _ b: any BlockDevice, blockSize: Int
) throws -> [UInt64] {
    var found: [UInt64] = []
    let step = 1 << 20
    for start in stride(from: UInt64(0), to: a.byteCount, by: step) {
        let count = Int(min(UInt64(step), a.byteCount - start))
        let (x, y) = (try a.read(at: start, count: count), try b.read(at: start, count: count))
        // `==` of arrays goes byte by byte where nothing is optimised.
        func differs(_ range: Range<Int>) -> Bool {
            unsafe x.withUnsafeBytes { x in
                unsafe y.withUnsafeBytes { y in
                    guard let a = x.baseAddress, let b = y.baseAddress else {
                        return false
                    }
                    return unsafe memcmp(a + range.lowerBound, b + range.lowerBound, range.count)
                        != 0
                }
            }
        }
        guard differs(0..<count) else { continue }
        for at in stride(from: 0, to: count, by: blockSize)
        where differs(at..<min(count, at + blockSize)) {
            found.append((start + UInt64(at)) / UInt64(blockSize))
        }
    }
    return found
}
