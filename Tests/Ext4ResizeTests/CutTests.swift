import Ext4
import Ext4Verify
import Foundation
import TestShell
import Testing

/// A resize that is cut off at a write: either the volume is sound at once, or a check makes it so;
/// it can be resized again; and no file loses a byte.
@Suite struct CutTests {
    /// A volume, the size that it gets, and whether the next mount finds it sound wherever the
    /// resize is cut off.
    struct Kind: Sendable, CustomStringConvertible {
        let options: String
        let megabytes: Int
        let files: Int
        let goal: Int
        let isAlwaysSound: Bool
        /// Whether a file stays one file with all its names, whatever a check has to put right.
        var keepsLinks = false
        /// Whether it grows while it is open, with a file that has no name any more.
        var isOpen = false
        var description: String {
            "\(options), \(megabytes) to \(goal) MiB\(isOpen ? ", open" : "")"
        }
    }

    static let kinds = [
        Kind(
            options: "-t ext4 -b 1024 -J size=4", megabytes: 16, files: 30, goal: 40,
            isAlwaysSound: true),
        Kind(
            options: "-t ext4 -b 1024 -J size=4,location=1M -N 3000 -g 4096", megabytes: 28,
            files: 200, goal: 16, isAlwaysSound: true),
        Kind(
            options: "-t ext4 -b 1024 -J size=4,location=18M -g 4096", megabytes: 28, files: 200,
            goal: 16, isAlwaysSound: false),
        Kind(
            options: "-t ext2 -b 1024 -g 4096", megabytes: 20, files: 200, goal: 12,
            isAlwaysSound: false, keepsLinks: true),
        Kind(
            options: "-t ext4 -b 1024 -g 4096 -O ^has_journal", megabytes: 20, files: 200,
            goal: 12, isAlwaysSound: false, keepsLinks: true),
        Kind(
            options: "-t ext4 -b 1024 -O ^has_journal,^resize_inode", megabytes: 12, files: 60,
            goal: 40, isAlwaysSound: false),
        Kind(
            options: "-t ext4 -b 1024 -J size=4", megabytes: 16, files: 30, goal: 40,
            isAlwaysSound: true, isOpen: true),
        // In two steps: what is reserved for descriptors, then meta groups.
        Kind(
            options: "-t ext4 -b 1024 -g 1024 -J size=4 -E resize=40000 -O orphan_file",
            megabytes: 24, files: 30, goal: 60, isAlwaysSound: true, isOpen: true),
        Kind(
            options: "-t ext4 -b 1024 -O ^has_journal", megabytes: 12, files: 60, goal: 40,
            isAlwaysSound: false, isOpen: true),
    ]

    /// How many places a resize is cut off at.
    static let cuts = ProcessInfo.processInfo.environment["RESIZE_CUTS"].flatMap { Int($0) } ?? 6

    @Test(arguments: kinds)
    func aCutLosesNothing(kind: Kind) throws {
        let volume = try TestVolume(kind.options, megabytes: kind.megabytes)
        try volume.fill(files: kind.files, ballast: kind.goal < kind.megabytes ? 10 : 0)
        let before = try volume.manifest()
        let size = max(kind.megabytes, kind.goal) << 20
        let start = DeviceImage(byteCount: size)
        start.put(try Data(contentsOf: URL(fileURLWithPath: volume.path)), at: 0)
        let device = RecordingDevice(start)
        let goal = UInt64(kind.goal << 10)
        let report =
            try kind.isOpen
            ? Self.growOpen(device, to: goal)
            : Resizer.resize(device, to: goal, options: Self.options)
        #expect(report.newBlocks != report.oldBlocks)
        if kind.goal < kind.megabytes { #expect(report.movedBlocks > 0) }

        let events = device.events
        var random = SystemlessRandom(state: 7)
        for index in 0..<Self.cuts {
            let cut = events.count * index / Self.cuts
            for isTorn in [false, true] {
                let image = Self.state(
                    of: start, events, before: cut, tearing: isTorn ? random.next() : nil)
                let reason = try Self.complaint(
                    about: image, kind: kind, goal: goal, before: before, in: volume)
                #expect(
                    reason == nil, "\(kind): \(isTorn ? "torn " : "")cut \(cut) of \(events.count)")
                guard reason == nil else { return }
            }
        }
    }

    /// Grows a volume that is open, and leaves it so.
    private static func growOpen(
        _ device: RecordingDevice, to goal: UInt64
    ) throws -> ResizeReport {
        var volume = try Volume.open(device, options: TestVolume.writing)
        let name = FileName(Array("unnamed".utf8))
        let file = try volume.create(
            name, in: volume.root(), NewInode(mode: FileMode(rawValue: 0o100600)))
        volume.acquire(file)
        let contents = [UInt8](repeating: 3, count: 50_000)
        _ = try volume.write(unsafe contents.span.bytes, to: file, at: 0)
        try volume.unlink(name, in: volume.root())
        let report = try Resizer.grow(&volume, to: goal, options: options)
        let same = try volume.inode(file.number)
        #expect(same.linkCount == 0 && same.size == 50_000)
        return report
    }

    private static var options: ResizeOptions {
        var options = ResizeOptions()
        options.clock = { Timestamp(seconds: 1_700_000_100) }
        return options
    }

    /// What the device has after a cut: everything that was flushed, and of the rest all that was
    /// written before the cut, or any part of it.
    private static func state(
        of start: DeviceImage, _ events: [DeviceEvent], before cut: Int, tearing seed: UInt64?
    ) -> DeviceImage {
        let image = DeviceImage(copyOf: start)
        var lastFlush = 0
        for index in 0..<cut {
            if case .flush = events[index] { lastFlush = index }
        }
        var random = SystemlessRandom(state: seed ?? 0)
        for index in 0..<cut {
            guard case .write(let write, _) = events[index] else { continue }
            if seed != nil, index > lastFlush, random.next() & 1 == 0 { continue }
            image.put(write.bytes, at: write.firstSector * DeviceImage.sectorSize)
        }
        return image
    }

    private static func complaint(
        about image: DeviceImage, kind: Kind, goal: UInt64, before: TreeManifest,
        in volume: TestVolume
    ) throws -> String? {
        let path = volume.path
        func save(_ device: LayeredDevice) throws {
            try Data(device.bytes(0..<Int(device.byteCount))).write(
                to: URL(fileURLWithPath: path))
        }
        func differences() throws -> String? {
            let found = TreeComparison(
                expected: before, found: try volume.manifest(),
                aspects: [.tree, .times, .entryTypes]
            ).differences.filter {
                // Where no journal keeps them together, an inode that was on its way to another
                // number becomes two files with the same contents.
                kind.isAlwaysSound || kind.keepsLinks
                    || !$0.path.hasPrefix("/lost+found") && $0.field != "hard link"
                        && $0.field != "link count"
            }
            return found.isEmpty ? nil : "\(found.prefix(5))"
        }
        // The next user finds a sound volume.
        if kind.isAlwaysSound {
            let device = LayeredDevice(image)
            try Volume.open(device, options: TestVolume.writing).close()
            try save(device)
            if let words = try volume.complaint(withCopies: false) ?? differences() {
                return "opened again: \(words)"
            }
        }
        // The resize is done again, where the volume says that it may be.
        let device = LayeredDevice(image)
        do {
            _ = try Resizer.resize(device, to: goal, options: options)
            try save(device)
            if let words = try volume.complaint() ?? differences() {
                return "resized again: \(words)"
            }
        } catch let failure as ResizeFailure {
            guard case .refused = failure, !kind.isAlwaysSound else { throw failure }
        }
        // A check makes it sound.
        try save(LayeredDevice(image))
        try shell("e2fsck -fy $1 > /dev/null 2>&1 || test $? -le 1", path)
        if let words = try volume.complaint(withCopies: false) ?? differences() {
            return "repaired: \(words)"
        }
        return nil
    }
}

/// Numbers that look random, and are the same every time.
private struct SystemlessRandom {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ mixed >> 30) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ mixed >> 27) &* 0x94D0_49BB_1331_11EB
        return mixed ^ mixed >> 31
    }
}
