import Testing

@testable import Ext4
@testable import Ext4Verify

/// The explorer on small workloads: nothing is wrong where nothing is, and each fault that is
/// switched on is found.
@Suite struct CrashExplorerTests {
    private static func workload(
        _ operations: [CrashOperation], on volume: String
    ) -> CrashWorkload {
        CrashWorkload(
            volume: volume,
            numbers: operations.compactMap { CrashOperation.all.firstIndex(of: $0) })
    }

    /// What meets most of the engine in few operations.
    private static let usual: [CrashOperation] = [
        .rename("foo", to: "bar", []), .fsync("bar"), .unlinkOpen("big"),
        .write("A/foo", at: 1024, count: 3072), .sync,
    ]

    @Test(arguments: CrashVolume.all.map(\.name))
    func nothingIsWrong(volume: String) throws {
        let kind = try #require(CrashVolume.named(volume))
        let explorer = try CrashExplorer([kind])
        var limits = CrashExplorer.Limits()
        limits.threads = 1
        let report = try explorer.run([Self.workload(Self.usual, on: volume)], limits: limits)
        #expect(report.findings.map { "\($0.seed): \($0.complaint)" } == [])
        #expect(report.counts.states > 20)
        #expect(report.counts.workloads == 1)
    }

    /// A write that takes several transactions leaves each sector old or new: one that begins and
    /// ends inside of sectors, longer than a transaction of a short log.
    @Test(arguments: ["journal", "ext3-journal"])
    func aPartOfAWriteIsWholeSectors(volume: String) throws {
        let kind = try #require(CrashVolume.named(volume))
        var limits = CrashExplorer.Limits()
        limits.states = 300
        let report = try CrashExplorer([kind]).run(
            [Self.workload([.write("big", at: 4000, count: 9000)], on: volume)], limits: limits)
        #expect(report.findings.map { "\($0.seed): \($0.complaint)" } == [])
    }

    /// The shortest workload that shows each fault, with one that does not matter before it.
    private static let exposing: [String: (volume: String, operations: [CrashOperation])] = [
        "commit-without-flush": ("ordered", [.create("new"), .fsync("new")]),
        "revoke-skipped": (
            "tight",
            [
                .makeDirectory("dir"), .sync, .removeDirectory("dir"), .sync,
                .append("big", count: 30_000), .fsync("big"),
            ]
        ),
        "tail-too-early": ("ordered", [.create("new"), .sync]),
        "orphan-not-recorded": ("ordered", [.unlinkOpen("foo"), .sync]),
        "data-too-late": ("ordered", [.write("foo", at: 40_000, count: 1024), .fsync("foo")]),
        "checksum-not-set": ("ordered", [.create("new"), .sync]),
    ]

    @Test(arguments: CrashMutant.all.map(\.name))
    func aFaultIsFound(name: String) throws {
        let mutant = try #require(CrashMutant.named(name))
        let (volume, operations) = try #require(Self.exposing[name])
        let kind = try #require(CrashVolume.named(volume))
        let explorer = try CrashExplorer([kind], mutant: mutant)
        let workload = Self.workload([.setMode("A", 0o700)] + operations, on: volume)
        let report = try explorer.run([workload])
        let finding = try #require(report.findings.first, "it was not found")

        // The failure shrinks, and its seed shows it again; without the fault nothing is wrong.
        let shrunk = try explorer.shrink(finding, seconds: 20)
        #expect(shrunk.seed.workload.numbers.count <= workload.numbers.count)
        // Where it takes seconds to try again, time may be up before.
        if operations.count < 4 {
            #expect(shrunk.seed.workload.numbers.count <= operations.count)
        }
        let again = try explorer.replay(shrunk.seed)
        #expect(again.complaint != nil)
        #expect(again.operations.count == shrunk.seed.workload.numbers.count)
        let sound = try CrashExplorer([kind]).run([shrunk.seed.workload])
        #expect(sound.findings.isEmpty)
    }

    @Test func everyFaultHasAWorkload() {
        #expect(Set(CrashMutant.all.map(\.name)) == Set(Self.exposing.keys))
        #expect(CrashMutant.all.count == 6)
    }

    /// The same workload gives the same requests each time, or no seed would show anything again.
    @Test func recordingsRepeat() throws {
        let kind = try #require(CrashVolume.named("ordered"))
        let hashes = try (0..<2).map { _ -> [[UInt64]] in
            let image = try kind.makeImage()
            let recording = CrashRecording(
                Self.workload(Self.usual, on: "ordered"), on: kind, image, nil)
            #expect(recording.failure == nil)
            #expect(recording.refusals == 0)
            return recording.events.map { event -> [UInt64] in
                switch event {
                case .flush: [0]
                case .write(let write, _), .discard(let write): write.hashes
                }
            }
        }
        #expect(hashes[0] == hashes[1])
        #expect(hashes[0].count > 20)
    }

    /// On a short log, a mix goes round it and checkpoints.
    @Test func mixesGoRoundTheLog() throws {
        var plan = CrashPlan()
        plan.volumes = [try #require(CrashVolume.named("ordered"))]
        plan.ways = 0
        plan.mixes = 1
        let workload = try #require(plan.workloads().first)
        #expect(workload.numbers.count >= 60)
        let image = try plan.volumes[0].makeImage()
        let recording = CrashRecording(workload, on: plan.volumes[0], image, nil)
        #expect(recording.failure == nil)
        let journal = BlockMap(image, plan.volumes[0])
        var superblocks = 0
        for case .write(let write, _) in recording.events
        where journal.words(forSector: write.firstSector).contains("journal superblock") {
            superblocks += 1
        }
        #expect(superblocks > 3)
    }
}
