import Ext4Verify
import Testing

@testable import Ext4

/// Crashes in the middle of random workloads: whatever sectors of what was not flushed are there,
/// the next mount finds a sound volume, with all that was made durable and nothing that was never
/// written.
@Suite struct CrashTests {
    static let kinds: [VolumeKind] = [
        VolumeKind(name: "1K blocks", options: "-t ext4 -b 1024 -J size=1", megabytes: 16),
        VolumeKind(name: "4K blocks", options: "-t ext4 -b 4096 -J size=4", megabytes: 24),
        VolumeKind(
            name: "orphan file", options: "-t ext4 -b 1024 -J size=1 -O orphan_file",
            megabytes: 16),
        VolumeKind(
            name: "inline data", options: "-t ext4 -b 1024 -J size=1 -O inline_data",
            megabytes: 16),
        VolumeKind(name: "ext3", options: "-t ext3 -b 1024 -J size=1", megabytes: 16),
        VolumeKind(
            name: "values in inodes", options: "-t ext4 -b 1024 -J size=1 -O ea_inode",
            megabytes: 16),
        VolumeKind(
            name: "data=journal", options: "-t ext4 -b 1024 -J size=1", megabytes: 16,
            dataMode: .journal),
    ]

    @Test(arguments: kinds)
    func everyCrashLeavesASoundVolume(kind: VolumeKind) throws {
        for seed in 1...WorkloadTests.seeds {
            let device = try TestImage.make(kind.options, megabytes: kind.megabytes)
            let clock = Workload.Clock()
            var options = Workload.options(clock)
            options.dataMode = kind.dataMode
            let trial = try CrashTrial(
                device, options: options, clock: clock, seed: UInt64(seed))
            trial.run(WorkloadTests.operations / 2)
            try #require(trial.workload.surprises.isEmpty, "\(trial.workload.report)")
            // e2fsck frees orphans, but leaves the inodes with their values unattached.
            let mayCheck = !kind.options.contains("ea_inode")
            var count = 0
            try trial.forEachCrash(cuts: 40, seed: UInt64(seed)) { image, event in
                count += 1
                let preened =
                    mayCheck && count % 5 == 0 ? try TestImage.preened(image) : image
                let reason = try trial.complaint(
                    about: preened, options, after: event, check: TestImage.complaints(about:))
                #expect(reason == nil, "seed \(seed), crash behind event \(event)")
                return reason == nil
            }
        }
    }

    /// A superblock of which only one sector came to its place: the journal has it whole. Without
    /// a journal to replay it is bad.
    @Test(arguments: [false, true])
    func aTornSuperblockIsInTheJournal(isClosed: Bool) throws {
        let device = try TestImage.make("-t ext4 -b 1024 -J size=1", megabytes: 16)
        let options = Workload.options(Workload.Clock())
        let volume = try Volume.open(device, options: options)
        // Files without a name are on the list that begins in the superblock.
        for _ in 0..<2 {
            _ = try volume.createUnnamed(
                in: volume.root(), NewInode(mode: FileMode(rawValue: 0o100644)))
        }
        try volume.sync()
        if isClosed { try volume.close() }
        // s_last_orphan, in the first sector; the checksum stands in the second.
        device.put([0x77, 0, 0, 0], at: 1024 + 0xE8)
        if isClosed {
            #expect(throws: Ext4Error.self) { try Volume.open(device, options: options) }
            return
        }
        try Volume.open(device, options: options).close()
        #expect(try TestImage.complaints(about: device) == nil)
    }
}
