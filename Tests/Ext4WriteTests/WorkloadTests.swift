import Ext4Host
import Ext4Verify
import Foundation
import Testing

@testable import Ext4

/// Random workloads on many kinds of volumes: what the model says, what e2fsck says, and where the
/// kernel can mount it, what that sees.
///
/// `WRITE_TEST_OPERATIONS` and `WRITE_TEST_SEEDS` in the environment make them longer.
@Suite struct WorkloadTests {
    static let operations = number("WRITE_TEST_OPERATIONS") ?? 400
    static let seeds = number("WRITE_TEST_SEEDS") ?? 1

    private static func number(_ name: String) -> Int? {
        ProcessInfo.processInfo.environment[name].flatMap { Int($0) }
    }

    @Test(arguments: VolumeKind.all)
    func theVolumeIsWhatTheModelSays(kind: VolumeKind) throws {
        for seed in 1...Self.seeds {
            let device = try TestImage.make(kind.options, megabytes: kind.megabytes)
            let clock = Workload.Clock(isWhole: kind.hasWholeSeconds)
            var options = Workload.options(clock)
            options.dataMode = kind.dataMode
            let workload = try Workload(
                Volume.open(device, options: options), clock: clock, seed: UInt64(seed))
            workload.run(Self.operations)
            try finish(workload, device, "seed \(seed)")

            // Another user of the volume, of whom nothing is in memory.
            workload.volume = try Volume.open(device, options: options)
            #expect(workload.compare() == [], "seed \(seed), opened again")
            workload.run(Self.operations / 4)
            try finish(workload, device, "seed \(seed), opened again")
            if isRoot, kind.isMountable { try compareWithKernel(device) }
        }
    }

    /// Checks everything, closes the volume and has e2fsck look at it.
    private func finish(_ workload: Workload, _ device: FaultyDevice, _ comment: String) throws {
        try #require(workload.surprises.isEmpty, "\(comment): \(workload.report)")
        #expect(workload.compare() == [], "\(comment): \(workload.report)")
        workload.releaseAll()
        try #require(workload.surprises.isEmpty, "\(comment): \(workload.report)")
        try workload.volume.close()
        let complaints = try TestImage.complaints(about: device)
        #expect(complaints == nil, "\(comment): \(workload.report)")
    }

    private func compareWithKernel(_ device: FaultyDevice) throws {
        let scratch = try Scratch()
        let image = scratch.path("image")
        try device.save(to: image)
        let found = try TreeManifest(reading: Volume.open(device))
        try shell("mkdir $1.d; mount -o loop,ro $1 $1.d", image)
        defer { _ = try? shell("umount $1.d", image) }
        let expected = try HostTree.manifest(ofTreeAt: image + ".d")
        let differences = TreeComparison(expected: expected, found: found).differences
        #expect(differences.isEmpty, "\(differences.prefix(10))")
    }

    /// However little memory there is for metadata, the result is the same.
    @Test(arguments: ["-t ext4 -b 1024", "-t ext4 -b 4096 -O inline_data"])
    func theCachesBudgetChangesNothing(kind: String) throws {
        var manifests: [TreeManifest] = []
        for budget in [8, 64, Int.max] {
            let device = try TestImage.make(
                "\(kind) -U \(Self.uuid)", megabytes: 64, extended: ",hash_seed=\(Self.uuid)")
            let clock = Workload.Clock()
            let blockSize = kind.contains("1024") ? 1024 : 4096
            let bytes = budget == .max ? 1 << 40 : budget * blockSize
            let workload = try Workload(
                Volume.open(device, options: Workload.options(clock, cacheBytes: bytes)),
                clock: clock, seed: 7)
            workload.weightLimit = 6 << 20
            workload.run(Self.operations)
            try finish(workload, device, "a budget of \(budget) blocks")
            manifests.append(try TreeManifest(reading: Volume.open(device)))
        }
        for other in manifests.dropFirst() {
            let differences = TreeComparison(
                expected: manifests[0], found: other,
                aspects: [.tree, .inodeNumbers, .entryTypes]
            ).differences
            #expect(differences.isEmpty, "\(differences.prefix(10))")
        }
    }

    private static let uuid = "01234567-89ab-cdef-0123-456789abcdef"
}
