import Ext4Check
import Ext4Host
import Ext4Verify
import Foundation
import TestShell
import Testing

@testable import Ext4

/// What the superblock says of the volume while a change is under way, and after it.
@Suite struct TuneStateTests {
    /// Directories that the repair has yet to make are a reason for a check, until it has.
    @Test(arguments: [false, true])
    func aRepairThatIsDueIsToldByTheVolume(isHash: Bool) throws {
        let volume = try TunedVolume.filled("-t ext4 -b 1024", names: 300)
        let before = try volume.manifest()
        let change: (inout TuneChanges) -> Void = { changes in
            if isHash {
                changes.hashSeed = [UInt8](1...16)
            } else {
                changes.featuresOff = FeatureMask([.dirIndex])
            }
        }
        #expect(try volume.tuneOnly(change).needsRepair)
        #expect(try !volume.isMarkedSound)
        // What a system does with it at its start.
        try shell("e2fsck -fy $1 || [ $? -eq 1 ]", volume.path)
        #expect(try volume.isMarkedSound)
        #expect(try volume.complaint() == nil)
        try volume.tuneAndRepair { changes in
            if isHash {
                changes.hashSeed = [UInt8](2...17)
            } else {
                changes.featuresOn = FeatureMask([.dirIndex])
            }
        }
        #expect(try volume.isMarkedSound)
        #expect(try volume.complaint() == nil)
        let comparison = TreeComparison(
            expected: before, found: try volume.manifest(), aspects: [.tree, .times])
        #expect(comparison.differences.isEmpty)
    }

    /// Cut off anywhere, the volume is as before, changed, or says that it wants a check.
    @Test(arguments: ["-t ext4 -O orphan_file", "-t ext2 -b 1024"])
    func cutsAreToldByTheVolume(_ options: String) throws {
        let volume = try TunedVolume(options, megabytes: 16, contents: "echo text > $1/b")
        let sound = try volume.bytes
        var changes = TuneChanges()
        if options.contains("ext4") {
            changes.featuresOff = FeatureMask([.hasJournal, .orphanFile])
        } else {
            changes.featuresOn = FeatureMask([.hasJournal])
        }
        var limit = 0
        var isDone = false
        while !isDone {
            try sound.write(to: URL(fileURLWithPath: volume.path))
            do {
                let device = FailingDevice(try volume.open(), writes: limit)
                isDone =
                    (try? Tuner.tune(device, changes, options: TunedVolume.tuneOptions)) != nil
            }
            if try volume.isMarkedSound {
                #expect(try volume.complaint(isDeep: false) == nil, "cut at write \(limit)")
            }
            limit += 1
        }
    }

    /// There and back again: the superblock is what it was, but for times.
    @Test(arguments: [
        (FeatureMask([], [], [.metadataCsum]), FeatureMask([], [], [.gdtCsum])),
        (FeatureMask([.hasJournal]), FeatureMask()),
    ])
    func aChangeIsTakenBack(changed: FeatureMask, instead: FeatureMask) throws {
        let volume = try TunedVolume("-t ext4 -b 1024", megabytes: 16, contents: "echo > $1/a")
        func header() throws -> [String] {
            try shell("dumpe2fs -h $1 2>/dev/null", volume.path).split(separator: "\n")
                .map(String.init).filter {
                    !$0.contains("time:") && !$0.contains("Checksum:")
                        // A transaction was made.
                        && !$0.hasPrefix("Journal checksum") && !$0.hasPrefix("Journal features")
                        && !$0.hasPrefix("Journal sequence")
                }
        }
        let before = try header()
        let overhead = try volume.superblock().overheadClusters
        #expect(overhead > 0)
        try volume.tuneAndRepair { $0.featuresOff = changed }
        if changed.compatible.contains(.hasJournal) {
            // The journal is room for files now.
            #expect(try volume.superblock().overheadClusters == overhead - 1024)
        }
        #expect(try volume.superblock().mountCount == 0)
        try volume.tuneAndRepair { changes in
            changes.featuresOn = changed
            changes.featuresOff = instead
        }
        #expect(try header() == before)
        #expect(try volume.superblock().overheadClusters == overhead)
        #expect(try volume.complaint() == nil)
    }

    /// What tune2fs writes besides the bit.
    @Test func featuresBringTheirFields() throws {
        let volume = try TunedVolume("-t ext2", megabytes: 16)
        try shell(
            """
            debugfs -w -R 'set_super_value def_hash_version 0' $1
            debugfs -w -R 'feature ^dir_index' $1
            """, volume.path)
        try volume.tuneOnly { $0.featuresOn = FeatureMask([.dirIndex], [.encrypt]) }
        #expect(try volume.superblock().defaultHashVersion == 1)
        let bytes = try volume.bytes
        #expect(bytes[1024 + Superblock.Layout.contentsCipher.offset] == 1)
        #expect(bytes[1024 + Superblock.Layout.namesCipher.offset] == 4)
        #expect(try volume.complaint() == nil)
    }

    /// One that tune2fs made on a mounted volume: it has a name, and is a file from now on.
    @Test func aJournalWithANameBecomesAFile() throws {
        let volume = try TunedVolume(
            "-t ext3 -b 4096", megabytes: 16, contents: "echo > $1/a")
        // The journal's inode becomes an ordinary one, as it was.
        try shell(
            """
            debugfs -w -R 'dump <8> '$1.journal $1 && cp $1.journal $1.log
            tune2fs -O ^has_journal $1
            debugfs -w -R "write $1.log .journal" $1
            inode=$(debugfs -R 'stat .journal' $1 2>/dev/null | sed -n 's/^Inode: *\\([0-9]*\\).*/\\1/p')
            debugfs -w -R 'feature has_journal' $1
            debugfs -w -R "set_super_value journal_inum $inode" $1
            debugfs -w -R 'set_inode_field .journal flags 0x10' $1
            """, volume.path)
        let before = try volume.manifest()
        #expect(try volume.superblock().journalInode.rawValue > 10)
        try volume.tuneOnly { $0.featuresOff = FeatureMask([.hasJournal]) }
        #expect(try volume.complaint() == nil)
        let after = try volume.manifest()
        #expect(
            TreeComparison(
                expected: before, found: after, aspects: [.tree, .times, .creationTime]
            ).differences.count <= 1)
        let opened = try Volume.open(FileDevice(path: volume.path))
        let file = try opened.inode(atPath: "/.journal")
        #expect(file.size == 4 << 20)
        #expect(!file.attributes.flags.contains(.immutable))
    }
}
