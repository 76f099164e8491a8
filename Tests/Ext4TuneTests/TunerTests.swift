import Ext4Check
import Ext4Host
import Ext4Verify
import Foundation
import TestShell
import Testing

@testable import Ext4

/// What `ext4 tune` does to volumes of many kinds, by e2fsck and by our own check.
@Suite struct TunerTests {
    private static var options: TuneOptions {
        var options = TuneOptions()
        options.clock = { Timestamp.now }
        return options
    }

    /// Changes the volume, and repairs what the change calls for, as the command does.
    @discardableResult
    private func tune(
        _ volume: TunedVolume, _ change: (inout TuneChanges) -> Void
    ) throws -> TuneReport {
        var changes = TuneChanges()
        change(&changes)
        let device = try volume.open()
        let report = try Tuner.tune(device, changes, options: Self.options)
        if report.needsRepair {
            var options = CheckOptions()
            options.now = Timestamp.now
            let repaired = try Repairer.repair(device, options: options, mode: .all)
            #expect(repaired.isClean)
        }
        return report
    }

    /// Makes a change on a device that fails after `limit` writes, and repairs what that leaves.
    ///
    /// - Returns: whether the change came to its end.
    private func breakOff(
        _ volume: TunedVolume, _ changes: TuneChanges, after limit: Int
    ) throws -> Bool {
        let file = try volume.open()
        let device = FailingDevice(file, writes: limit)
        if let report = try? Tuner.tune(device, changes, options: Self.options) {
            #expect(!report.needsRepair)
            return true
        }
        var options = CheckOptions()
        options.now = Timestamp.now
        _ = try Repairer.repair(file, options: options, mode: .all)
        return false
    }

    /// What a user would see of a change that is none of names, contents and attributes.
    private func differences(
        from before: TreeManifest, in volume: TunedVolume
    ) throws -> [TreeComparison.Difference] {
        try TreeComparison(
            expected: before, found: volume.manifest(),
            aspects: [.tree, .times, .creationTime, .entryTypes]
        ).differences
    }

    @Test func fieldsAreWritten() throws {
        let volume = try TunedVolume("-t ext4", megabytes: 16)
        let uuid = (1...16).map { UInt8($0) }
        try tune(volume) { changes in
            changes.label = Array("wurzel".utf8)
            changes.uuid = uuid
            changes.reserve = .blocks(77)
            changes.reserveUser = 5
            changes.reserveGroup = 6
            changes.errorPolicy = .panic
            changes.defaultOptionsOff = 0x4
            changes.defaultOptionsOn = 0x400
            changes.mountOptions = Array("noatime,commit=7".utf8)
            changes.lastMounted = Array("/somewhere".utf8)
            changes.maximumMountCount = -1
            changes.mountCount = 3
            changes.checkInterval = 86_400
            changes.lastCheck = Timestamp(seconds: 1_700_000_000)
            changes.raidStride = 16
            changes.stripeWidth = 64
            changes.hashVersion = 2
            changes.featuresOn = FeatureMask([], [.csumSeed])
        }
        let words = try shell("dumpe2fs -h $1 2>/dev/null", volume.path)
        for expected in [
            "volume name:   wurzel", "01020304-0506-0708-090a-0b0c0d0e0f10",
            "Reserved block count:     77", "uid:      5 ", "gid:      6 ", "Panic",
            "Default mount options:    acl discard", "noatime,commit=7", "/somewhere",
            "Maximum mount count:      -1", "Mount count:              3", "(1 day)",
            "Nov 14 22:13:20 2023", "RAID stride:              16", "RAID stripe width:        64",
            "hash:   tea", "metadata_csum_seed",
        ] { #expect(words.contains(expected), "\(expected) in \(words)") }
        #expect(try volume.complaint() == nil)
    }

    @Test(arguments: [
        "-t ext4", "-t ext2", "-t ext3 -b 1024", "-t ext4 -b 1024 -O ^metadata_csum,uninit_bg",
        "-t ext4 -O metadata_csum_seed,orphan_file",
    ])
    func journalsComeAndGo(_ options: String) throws {
        let volume = try TunedVolume(options, contents: "echo one > $1/one; mkdir $1/two")
        let before = try volume.manifest()
        try tune(volume) { $0.featuresOff = FeatureMask([.hasJournal, .orphanFile]) }
        #expect(try volume.complaint() == nil)
        #expect(try !volume.superblock().compatible.contains(.hasJournal))
        #expect(try volume.superblock().journalInode.rawValue == 0)
        let free = try volume.superblock().freeBlocksCount
        try tune(volume) { changes in
            changes.featuresOn = FeatureMask([.hasJournal])
            changes.journalMebibytes = 4
        }
        #expect(try volume.complaint() == nil)
        let made = try volume.superblock()
        #expect(made.compatible.contains(.hasJournal))
        #expect(free - made.freeBlocksCount >= (4 << 20) >> UInt64(made.blockSizeLog2))
        #expect(
            try differences(from: before, in: volume).isEmpty)
        // The journal is one that can be used.
        var writing = OpenOptions()
        writing.access = .readWrite
        do {
            let opened = try Volume.open(volume.open(), options: writing)
            #expect(opened.writing?.journal.area != nil)
            try opened.close()
        }
        #expect(try volume.complaint() == nil)
    }

    @Test(arguments: [
        "-t ext4", "-t ext4 -b 1024 -O ^metadata_csum,uninit_bg", "-t ext2 -b 1024",
        "-t ext4 -b 2048 -O metadata_csum_seed",
    ])
    func checksumsAndIndexesChange(_ options: String) throws {
        let volume = try TunedVolume.filled(options, names: 300)
        let before = try volume.manifest()
        func check(_ words: String) throws {
            #expect(try volume.complaint() == nil, "\(options), \(words)")
            let differences = try self.differences(from: before, in: volume)
            #expect(differences.isEmpty, "\(options), \(words): \(differences.prefix(3))")
        }
        try tune(volume) { $0.uuid = (0..<16).map { UInt8($0 &* 9 &+ 1) } }
        try check("UUID")
        try tune(volume) { $0.hashSeed = (0..<16).map { UInt8($0 &* 5 &+ 3) } }
        try check("hash seed")
        if try volume.superblock().compatible.contains(.dirIndex) {
            try tune(volume) { $0.featuresOff = FeatureMask([.dirIndex]) }
            try check("^dir_index")
            try tune(volume) { $0.featuresOn = FeatureMask([.dirIndex]) }
            try check("dir_index")
        }
        if try volume.superblock().hasMetadataChecksums {
            try tune(volume) { $0.featuresOff = FeatureMask([], [], [.metadataCsum]) }
            try check("^metadata_csum")
            #expect(try volume.superblock().readOnlyCompatible.contains(.gdtCsum))
        }
        try tune(volume) { $0.featuresOn = FeatureMask([], [], [.metadataCsum]) }
        try check("metadata_csum")
        #expect(try volume.superblock().hasMetadataChecksums)
        try tune(volume) { $0.featuresOn = FeatureMask([], [.csumSeed]) }
        try tune(volume) { $0.uuid = [UInt8](repeating: 7, count: 16) }
        try check("UUID with a seed of its own")
        try tune(volume) { $0.featuresOff = FeatureMask([], [.csumSeed]) }
        try check("^metadata_csum_seed")
    }

    @Test func refusalsChangeNothing() throws {
        let volume = try TunedVolume("-t ext4 -O orphan_file", megabytes: 16)
        let before = try Data(contentsOf: URL(fileURLWithPath: volume.path))
        let refused: [(inout TuneChanges) -> Void] = [
            { $0.label = [UInt8](repeating: 65, count: 17) },
            { $0.uuid = [1] },
            { $0.reserve = .percent(51) },
            { $0.reserve = .percent(.nan) },
            { $0.reserve = .blocks(.max) },
            { $0.journalMebibytes = .max },
            { $0.featuresOn = FeatureMask([], [.bit64, .inlineData], [.bigalloc]) },
            { $0.featuresOn = FeatureMask([], [], [.quota]) },
            { $0.featuresOff = FeatureMask([.hasJournal]) },
            { $0.featuresOff = FeatureMask([], [.filetype]) },
            {
                $0.featuresOn = FeatureMask([], [.largeDir])
                $0.featuresOff = FeatureMask([], [.largeDir])
            },
            { $0.mountOptions = [UInt8](repeating: 65, count: 64) },
        ]
        for change in refused {
            var changes = TuneChanges()
            change(&changes)
            #expect(throws: TuneFailure.self) {
                try Tuner.tune(volume.open(), changes, options: Self.options)
            }
        }
        #expect(try Data(contentsOf: URL(fileURLWithPath: volume.path)) == before)
    }

    /// Cut off anywhere, a check makes the volume sound, and the change can be made again.
    @Test(arguments: ["-t ext4", "-t ext2 -b 1024"])
    func cutsAreMended(_ options: String) throws {
        let volume = try TunedVolume(
            options, megabytes: 16, contents: "mkdir $1/a; echo text > $1/a/b")
        let before = try volume.manifest()
        let sound = try Data(contentsOf: URL(fileURLWithPath: volume.path))
        let changes: [(inout TuneChanges) -> Void] = [
            { $0.uuid = (0..<16).map { UInt8($0 &* 9 &+ 1) } },
            { $0.featuresOff = FeatureMask([.hasJournal]) },
            {
                $0.featuresOn = FeatureMask([.hasJournal], [], [.metadataCsum])
                if options.contains("ext2") { $0.journalMebibytes = 4 }
            },
        ]
        for change in changes {
            var asked = TuneChanges()
            change(&asked)
            var limit = 0
            var isDone = false
            while !isDone {
                try sound.write(to: URL(fileURLWithPath: volume.path))
                isDone = try breakOff(volume, asked, after: limit)
                if !isDone { try tune(volume) { $0 = asked } }
                #expect(try volume.complaint() == nil, "\(options), cut at write \(limit)")
                let differences = try self.differences(from: before, in: volume)
                #expect(differences.isEmpty, "\(options), cut at write \(limit)")
                limit += limit < 24 ? 1 : limit / 3
            }
        }
    }
}
