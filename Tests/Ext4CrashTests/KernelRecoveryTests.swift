import Foundation
import Testing

@testable import Ext4
@testable import Ext4Verify

/// The kernel recovers what our crashes leave: what it makes of it passes the same oracles.
@Suite struct KernelRecoveryTests {
    private static let operations: [CrashOperation] = [
        .rename("foo", to: "bar", []), .fsync("bar"), .unlink("big"), .makeDirectory("dir"),
        .write("A/foo", at: 1024, count: 3072), .sync, .truncate("bar", size: 6143), .commit,
    ]

    @Test(.enabled(if: geteuid() == 0), arguments: ["ordered", "journal", "ext3", "inline"])
    func theKernelRecoversIt(name: String) throws {
        HostProgram.fixTime()
        var kind = try #require(CrashVolume.named(name))
        // The kernel does not take a log of fewer blocks than it always has.
        kind.logBlocks = .max
        let image = try kind.makeImage()
        let numbers = Self.operations.compactMap { CrashOperation.all.firstIndex(of: $0) }
        try #require(numbers.count == Self.operations.count)
        let recording = CrashRecording(
            CrashWorkload(volume: name, numbers: numbers), on: kind, image, nil)
        try #require(recording.failure == nil)
        let judge = try CrashJudge(kind, image, CrashShares())
        var walk = CrashWalk(image)
        var count = 0
        for cut in 0...recording.events.count {
            if recording.isBoundary(cut) {
                let sectors = walk.sectors
                let choices = CrashStates().choices(sectors, seed: UInt64(cut))
                // The kernel wants a superblock, and a commit block, that are whole.
                let state = walk.device(choices[0], sectors)
                let complaint = try complaint(
                    about: state, judge, recording, recording.window(at: cut))
                #expect(complaint == nil, "cut off behind request \(cut)")
                count += 1
            }
            if cut < recording.events.count { walk.advance(over: recording.events[cut]) }
        }
        #expect(count > 8)
    }

    private func complaint(
        about state: LayeredDevice, _ judge: CrashJudge, _ recording: CrashRecording,
        _ window: CrashWindow
    ) throws -> String? {
        let file = try ScratchFile()
        let output = try ScratchFile()
        try state.save(to: file.path)
        let folder = NSTemporaryDirectory() + "/crash-\(UUID().uuidString)"
        try FileManager.default.createDirectory(
            atPath: folder, withIntermediateDirectories: false)
        defer { _ = unsafe rmdir(folder) }
        let status = HostProgram.run(
            ["mount", "-o", "loop,noatime", file.path, folder], output: output.path)
        guard status == 0 else { return "mount: \(output.text)" }
        guard HostProgram.run(["umount", folder], output: output.path) == 0 else {
            return "umount: \(output.text)"
        }
        return judge.recoveryComplaint(
            LayeredDevice(try file.load()), recording.oracle, window)
    }
}
