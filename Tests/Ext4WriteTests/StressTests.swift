import Ext4Host
import Ext4Verify
import Foundation
import Testing

@testable import Ext4

/// Many threads at once. `make tsan` runs these under the thread sanitizer; `STRESS_SECONDS` in the
/// environment makes them longer.
@Suite(.serialized) struct StressTests {
    static let seconds =
        ProcessInfo.processInfo.environment["STRESS_SECONDS"].flatMap { Double($0) } ?? 4

    static let kinds: [VolumeKind] = [
        VolumeKind(name: "default", options: "-t ext4 -b 4096"),
        VolumeKind(name: "1K blocks", options: "-t ext4 -b 1024 -J size=2 -O orphan_file"),
        VolumeKind(name: "inline data", options: "-t ext4 -b 1024 -O inline_data,ea_inode"),
        VolumeKind(name: "ext3", options: "-t ext3 -b 1024 -J size=1"),
        VolumeKind(
            name: "data=journal", options: "-t ext4 -b 1024 -J size=4", dataMode: .journal),
    ]

    @Test(arguments: kinds)
    func threadsDoNotMeet(kind: VolumeKind) throws {
        let scratch = try Scratch()
        let path = scratch.path("image")
        // A file and no device in memory: that would have a lock, and so hide races.
        try shell(
            "truncate -s 192M $1; mke2fs -q -F -E lazy_itable_init=0 \(kind.options) $1", path)
        let clock = Workload.Clock(isStopped: true)
        var options = Workload.options(clock, cacheBytes: 1 << 20)
        options.dataMode = kind.dataMode
        do {
            let volume = try Volume.open(
                FileDevice(path: path, access: .readWrite), options: options)
            let stress = try Stress(volume)
            stress.run(threads: 8, for: .seconds(Self.seconds), clock: clock)
            #expect(stress.surprises == [])
            try volume.close()
        }
        #expect(try TestImage.complaints(aboutFile: path) == nil)
    }

    /// A crash while many threads are at work leaves a volume that recovery makes sound.
    @Test func aCrashUnderManyThreads() throws {
        let device = try TestImage.make("-t ext4 -b 1024 -J size=2", megabytes: 64)
        let start = FaultyDevice(copyOf: device)
        device.startRecording()
        let clock = Workload.Clock(isStopped: true)
        let options = Workload.options(clock, cacheBytes: 1 << 20)
        let volume = try Volume.open(device, options: options)
        let stress = try Stress(volume)
        stress.run(
            threads: 8, for: .seconds(min(Self.seconds, 3) / 2), clock: clock)
        #expect(stress.surprises == [])
        try CrashTrial.forEachCrash(of: device, from: start, after: 10, cuts: 40, seed: 1) {
            image, event in
            let complaints = try Self.recover(image, options)
            #expect(complaints == nil, "crash behind event \(event)")
            return complaints == nil
        }
    }

    private static func recover(
        _ image: FaultyDevice, _ options: OpenOptions
    ) throws -> String? {
        try Volume.open(image, options: options).close()
        return try TestImage.complaints(about: image)
    }
}
