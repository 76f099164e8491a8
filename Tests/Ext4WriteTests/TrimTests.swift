import Ext4Verify
import Foundation
import Synchronization
import Testing

@testable import Ext4

/// Free space is given back while the volume is in use, on a device that has junk from then on
/// where something was discarded.
@Suite struct TrimTests {
    static let kinds: [VolumeKind] = [
        VolumeKind(name: "1K blocks", options: "-t ext4 -b 1024 -J size=1", megabytes: 16),
        VolumeKind(name: "4K blocks", options: "-t ext4 -b 4096 -J size=4", megabytes: 24),
        VolumeKind(name: "ext2", options: "-t ext2 -b 1024", megabytes: 16),
        VolumeKind(
            name: "no checksums", options: "-t ext4 -b 1024 -g 1024 -O ^metadata_csum,^flex_bg",
            megabytes: 16),
        VolumeKind(
            name: "data=journal", options: "-t ext4 -b 1024 -J size=1", megabytes: 16,
            dataMode: .journal),
    ]

    @Test(arguments: kinds)
    func nothingThatIsInUseIsDiscarded(kind: VolumeKind) throws {
        let device = try TestImage.make(kind.options, megabytes: kind.megabytes)
        let clock = Workload.Clock()
        var options = Workload.options(clock)
        options.dataMode = kind.dataMode
        let workload = try Workload(
            Volume.open(device, options: options), clock: clock, seed: 1)
        var trimmed: UInt64 = 0
        for _ in 0..<8 {
            workload.run(WorkloadTests.operations / 20)
            try #require(workload.surprises.isEmpty, "\(workload.report)")
            trimmed = try workload.volume.trim().byteCount
            #expect(workload.compare() == [], "\(workload.report)")
        }
        // All that is free but for what is set aside for files that grow.
        let free = workload.volume.statistics().freeBlocks * UInt64(workload.volume.blockSize)
        #expect(trimmed > free / 2 && trimmed <= free)
        workload.releaseAll()
        try workload.volume.close()
        #expect(try TestImage.complaints(about: device) == nil)

        // Now nothing is set aside: it is all of it, and each byte of it.
        let volume = try Volume.open(device, options: options)
        #expect(
            try volume.trim().byteCount
                == volume.statistics().freeBlocks * UInt64(volume.blockSize))
        try volume.close()
        let reading = try Volume.open(device)
        var looking = TrimOptions()
        looking.looksOnly = true
        #expect(
            try reading.trim(looking).byteCount
                == reading.statistics().freeBlocks * UInt64(reading.blockSize))
        #expect(throws: Ext4Error.readOnlyVolume) { try reading.trim() }
        #expect(try TestImage.complaints(about: device) == nil)
        #expect(TreeState(workload.model.root).paths == (try TreeState(reading)).paths)
    }

    /// What a crash may bring back is not discarded.
    @Test(arguments: kinds.filter { $0.name != "ext2" })
    func crashesBringBackNothingThatWasDiscarded(kind: VolumeKind) throws {
        let device = try TestImage.make(kind.options, megabytes: kind.megabytes)
        let clock = Workload.Clock()
        var options = Workload.options(clock)
        options.dataMode = kind.dataMode
        let trial = try CrashTrial(device, options: options, clock: clock, seed: 3)
        var random = Randomness(5)
        for _ in 0..<20 {
            trial.run(WorkloadTests.operations / 80)
            // A piece at a time: each discarded sector is one that the device may lose.
            var part = TrimOptions()
            part.byteOffset = UInt64(random.below(kind.megabytes)) << 20
            part.byteCount = 1 << 20
            _ = try trial.workload.volume.trim(part)
        }
        try #require(trial.workload.surprises.isEmpty, "\(trial.workload.report)")
        try trial.forEachCrash(cuts: 30, seed: 3) { image, event in
            let reason = try trial.complaint(
                about: image, options, after: event, check: TestImage.complaints(about:))
            #expect(reason == nil, "crash behind event \(event)")
            return reason == nil
        }
    }

    /// A device that takes its time over a discard.
    private final class SlowDevice: BlockDevice {
        let device: FaultyDevice
        let isDiscarding = Atomic(false)
        let mayEnd = Atomic(false)
        var byteCount: UInt64 { device.byteCount }
        var isReadOnly: Bool { false }

        init(_ device: FaultyDevice) { self.device = device }

        func read(at byteOffset: UInt64, into bytes: inout MutableRawSpan) throws(Ext4Error) {
            try device.read(at: byteOffset, into: &bytes)
        }
        func write(_ bytes: RawSpan, at byteOffset: UInt64) throws(Ext4Error) {
            try device.write(bytes, at: byteOffset)
        }
        func flush() throws(Ext4Error) { try device.flush() }
        func discard(at byteOffset: UInt64, count: UInt64) throws(Ext4Error) {
            isDiscarding.store(true, ordering: .releasing)
            while !mayEnd.load(ordering: .acquiring) { usleep(1000) }
            try device.discard(at: byteOffset, count: count)
        }
    }

    /// All that is free is being discarded: whoever wants a block waits, and is not told that the
    /// volume is full.
    @Test func nobodyIsToldThatTheVolumeIsFull() throws {
        let device = SlowDevice(
            try TestImage.make("-t ext2 -b 1024 -g 8192 -N 64", megabytes: 8))
        let volume = try Volume.open(device, options: Workload.options(Workload.Clock()))
        let root = try volume.root()
        let file = try volume.create("f", in: root, NewInode(mode: FileMode(rawValue: 0o100644)))
        let bytes = [UInt8](repeating: 7, count: 100_000)
        let outcome = Mutex<(report: TrimReport?, errors: [Ext4Error])>((nil, []))
        @Sendable func waitForDiscard() {
            while !device.isDiscarding.load(ordering: .acquiring) { usleep(1000) }
        }
        onThreads(3) { number in
            do throws(Ext4Error) {
                switch number {
                case 0:
                    let report = try volume.trim()
                    outcome.withLock { $0.report = report }
                case 1:
                    waitForDiscard()
                    try volume.write(bytes, to: file, at: 0)
                default:
                    waitForDiscard()
                    usleep(200_000)
                    device.mayEnd.store(true, ordering: .releasing)
                }
            } catch {
                outcome.withLock { $0.errors.append(error) }
                device.isDiscarding.store(true, ordering: .releasing)
                device.mayEnd.store(true, ordering: .releasing)
            }
        }
        let (report, errors) = outcome.withLock { $0 }
        #expect(errors == [])
        #expect(report?.rangeCount == 1)
        #expect(try volume.contents(of: file) == bytes)
        try volume.close()
        #expect(try TestImage.complaints(about: device.device) == nil)
    }

    @Test func runsAreHandedOutAsWasAskedFor() throws {
        let device = try TestImage.make("-t ext4 -b 1024 -g 1024 -O ^has_journal", megabytes: 16)
        let volume = try Volume.open(device, options: Workload.options(Workload.Clock()))
        var options = TrimOptions()
        options.looksOnly = true
        let all = try volume.trim(options)
        #expect(all.byteCount == volume.statistics().freeBlocks * 1024)
        // Whole granules only.
        options.granule = 1 << 16
        let coarse = try volume.trim(options)
        #expect(coarse.byteCount % (1 << 16) == 0)
        #expect(coarse.byteCount < all.byteCount)
        #expect(coarse.byteCount > all.byteCount - all.rangeCount * (2 << 16))
        options.granule = 1
        // No run is longer than the volume.
        options.minimumByteCount = 16 << 20
        #expect(try volume.trim(options).byteCount == 0)
        options.minimumByteCount = .max
        #expect(try volume.trim(options).byteCount == 0)
        // Halves add up, and a block that lies in no half as a whole is in none.
        options.minimumByteCount = 0
        options.byteCount = 8 << 20
        let first = try volume.trim(options).byteCount
        options.byteOffset = 8 << 20
        options.byteCount = .max
        #expect(try first + volume.trim(options).byteCount == all.byteCount)
        options.byteOffset = (16 << 20) - 1500
        #expect(try volume.trim(options).byteCount == 1024)
        options.byteOffset = 16 << 20
        #expect(throws: Ext4Error.invalidArgument) { try volume.trim(options) }
        options.byteOffset = .max
        #expect(throws: Ext4Error.invalidArgument) { try volume.trim(options) }
        options.byteOffset = 0
        options.byteCount = 1023
        #expect(throws: Ext4Error.invalidArgument) { try volume.trim(options) }
        try volume.close()
    }
}
