import Ext4Check
import Ext4Host
import Ext4Verify
import Foundation
import TestShell
import Testing

@testable import Ext4

/// Changes of volumes with large directories and deep trees that are cut off: either check, ours or
/// e2fsck, makes them sound with all that they hold.
@Suite struct TuneCutTests {
    private static let kinds = [
        "-t ext4 -b 1024 -O orphan_file", "-t ext4 -b 1024 -O ^metadata_csum,uninit_bg",
        "-t ext4 -b 1024 -I 128 -O ^metadata_csum,^extent,^64bit", "-t ext4 -b 1024 -O inline_data",
    ]

    /// How many places a change is cut off at.
    private static let cuts =
        ProcessInfo.processInfo.environment["TUNE_CUTS"].flatMap { Int($0) } ?? 4

    private static func changes(of superblock: Superblock) -> [TuneChanges] {
        var all: [TuneChanges] = []
        func add(_ change: (inout TuneChanges) -> Void) {
            var changes = TuneChanges()
            change(&changes)
            all.append(changes)
        }
        if superblock.hasMetadataChecksums {
            add { $0.uuid = [UInt8](1...16) }
            add { $0.featuresOff = FeatureMask([], [], [.metadataCsum]) }
            add { changes in
                changes.uuid = [UInt8](1...16)
                changes.featuresOff = FeatureMask([.dirIndex, .hasJournal, .orphanFile])
            }
        } else {
            add { $0.featuresOn = FeatureMask([], [], [.metadataCsum]) }
            add { changes in
                changes.uuid = [UInt8](1...16)
                changes.featuresOn = FeatureMask([], [.csumSeed], [.metadataCsum])
                changes.featuresOff = FeatureMask([.hasJournal])
            }
        }
        add { $0.hashSeed = [UInt8](1...16) }
        return all
    }

    /// Every checksum of a file with many pieces is wrong at once, the inode's and those of its map.
    @Test func filesWithDeepMapsAreKept() throws {
        let volume = try TunedVolume(
            "-t ext4 -b 1024 -O ^has_journal", megabytes: 8, pieces: 350)
        let before = try volume.manifest()
        let sound = try volume.bytes
        for limit in 0..<12 {
            try sound.write(to: URL(fileURLWithPath: volume.path))
            try cut(volume, after: limit) { $0.uuid = [UInt8](1...16) }
            try repair(volume)
            #expect(try volume.complaint(isDeep: false) == nil, "cut at \(limit)")
            let comparison = TreeComparison(
                expected: before, found: try volume.manifest(), aspects: [.tree, .times])
            #expect(comparison.differences.isEmpty, "cut at \(limit): \(comparison.differences)")
        }
    }

    /// A UUID of zeros is the seed of checksums as any other: a check leaves it.
    @Test(arguments: ["-t ext4 -b 1024", "-t ext4 -b 1024 -O ^metadata_csum,uninit_bg,ea_inode"])
    func aVolumeWithoutUUIDIsLeft(_ options: String) throws {
        let volume = try TunedVolume(options, megabytes: 8, pieces: 350)
        let before = try volume.manifest()
        if options.contains("ea_inode") {
            try shell("tune2fs -f -U clear $1", volume.path)
        } else {
            try volume.tuneOnly { $0.uuid = [UInt8](repeating: 0, count: 16) }
        }
        #expect(try volume.complaint() == nil)
        try repair(volume)
        #expect(try volume.superblock().uuid.allSatisfy { $0 == 0 })
        #expect(TreeComparison(expected: before, found: try volume.manifest()).differences.isEmpty)
    }

    private func cut(
        _ volume: TunedVolume, after limit: Int, _ change: (inout TuneChanges) -> Void
    ) throws {
        var changes = TuneChanges()
        change(&changes)
        let device = FailingDevice(try volume.open(), writes: limit)
        _ = try? Tuner.tune(device, changes, options: TunedVolume.tuneOptions)
    }

    private func repair(_ volume: TunedVolume) throws {
        var options = CheckOptions()
        options.now = Timestamp.now
        let report = try Repairer.repair(volume.open(), options: options, mode: .all)
        #expect(report.isClean)
    }

    @Test(arguments: kinds.indices)
    func eitherCheckMendsWhatIsCutOff(kind: Int) throws {
        let options = Self.kinds[kind]
        let volume = try TunedVolume.filled(options, names: 250)
        let before = try volume.manifest()
        let sound = try volume.bytes
        let url = URL(fileURLWithPath: volume.path)
        for (number, changes) in Self.changes(of: try volume.superblock()).enumerated() {
            // How many writes it takes.
            let writes = try {
                let counter = FailingDevice(try volume.open(), writes: .max)
                _ = try Tuner.tune(counter, changes, options: TunedVolume.tuneOptions)
                return counter.writes
            }()
            for part in 0..<Self.cuts {
                let limit = (number * 7919 + 9 * kind + part * writes / Self.cuts) % writes
                try sound.write(to: url)
                try cut(volume, after: limit) { $0 = changes }
                let words = "\(options), change \(number), cut at \(limit) of \(writes)"
                let torn = try volume.bytes
                for isOurs in [true, false] {
                    try torn.write(to: url)
                    if isOurs {
                        try repair(volume)
                    } else {
                        try shell("e2fsck -fy $1 || [ $? -eq 1 ]", volume.path)
                    }
                    // e2fsck leaves copies of the superblock as they are.
                    let complaint = try volume.complaint(isDeep: isOurs)
                    #expect(complaint == nil, "\(words), ours \(isOurs)")
                    let comparison = TreeComparison(
                        expected: before, found: try volume.manifest(),
                        aspects: [.tree, .times, .creationTime, .entryTypes]
                    ).differences.filter {
                        // The file of orphans has no name, and gets one.
                        !changes.featuresOff.compatible.contains(.orphanFile)
                            || !$0.path.hasPrefix("/lost+found/#")
                    }
                    #expect(
                        comparison.isEmpty, "\(words), ours \(isOurs): \(comparison.prefix(3))")
                }
            }
        }
    }
}
