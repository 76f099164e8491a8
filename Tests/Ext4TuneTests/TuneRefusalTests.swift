import Ext4Check
import Ext4Host
import Ext4Verify
import Foundation
import TestShell
import Testing

@testable import Ext4

/// What cannot be done is refused before anything is changed.
@Suite struct TuneRefusalTests {
    /// Files come and go by the volume's way of writing, which knows not every feature.
    @Test(arguments: ["mmp", "bigalloc", "quota", "orphan_file,mmp"])
    func filesStayOnVolumesThatCannotBeWritten(feature: String) throws {
        let volume = try TunedVolume("-t ext4 -O \(feature)", megabytes: 16)
        let words = try volume.refusal {
            $0.featuresOff = FeatureMask([.hasJournal, .orphanFile])
        }
        #expect(words.contains("unsupported feature"), "\(words)")
        #expect(try volume.complaint() == nil)
    }

    /// Nothing is written on the way to what is wrong: `refusal` compares every byte.
    @Test(arguments: ["bitmap", "inode", "directory"])
    func wrongChecksumsAreFoundBefore(damaged: String) throws {
        let volume = try TunedVolume.filled("-t ext4 -b 1024", names: 60)
        try shell(
            """
            image=$1
            case $2 in
                bitmap)
                    block=$(dumpe2fs $image 2>/dev/null |
                        sed -n 's/.*Block bitmap at \\([0-9]*\\).*/\\1/p' | head -1)
                    offset=600 ;;
                inode)
                    set -- $(debugfs -R 'imap /some' $image 2>/dev/null |
                        sed -n 's/.*block \\([0-9]*\\).*offset 0x\\(.*\\)/\\1 0x\\2/p')
                    block=$1
                    offset=$(($2 + 8)) ;;
                directory)
                    block=$(debugfs -R 'blocks /some' $image 2>/dev/null | cut -d ' ' -f 1)
                    offset=30 ;;
            esac
            printf '\\125' |
                dd of=$image bs=1 seek=$((block * 1024 + offset)) conv=notrunc 2>/dev/null
            """, volume.path, damaged)
        for isUUID in [true, false] {
            let words = try volume.refusal { changes in
                if isUUID {
                    changes.uuid = [UInt8](1...16)
                } else {
                    changes.featuresOff = FeatureMask([], [], [.metadataCsum])
                }
            }
            #expect(words.contains("nothing was changed"), "\(words)")
        }
    }

    /// A change that was cut off is not said to be done when it is asked for again.
    @Test func whatWasCutOffIsNotDone() throws {
        for feature in [FeatureMask([.dirIndex]), FeatureMask([.hasJournal])] {
            let volume = try TunedVolume.filled("-t ext4 -b 1024", names: 60)
            var changes = TuneChanges()
            changes.featuresOff = feature
            do {
                let device = FailingDevice(try volume.open(), writes: 4)
                _ = try? Tuner.tune(device, changes, options: TunedVolume.tuneOptions)
            }
            // The journal may have to be replayed before that is known.
            #expect {
                try volume.tuneOnly { $0 = changes }
            } throws: { "\($0)".contains("not unmounted cleanly") }
        }
    }

    @Test func unknownFeaturesAreLeftAlone() throws {
        let volume = try TunedVolume("-t ext4", megabytes: 16)
        try shell("debugfs -w -R 'ssv feature_ro_compat 0x8046b' $1", volume.path)
        #expect(try volume.refusal { $0.label = [65] }.contains("unsupported feature"))
    }

    @Test func aJournalThatIsThereHasItsSize() throws {
        let volume = try TunedVolume("-t ext4", megabytes: 16)
        let words = try volume.refusal { changes in
            changes.featuresOn = FeatureMask([.hasJournal])
            changes.journalMebibytes = 2
        }
        #expect(words.contains("already"), "\(words)")
        // Asked for again, it is there.
        try volume.tuneOnly { changes in
            changes.featuresOn = FeatureMask([.hasJournal])
            changes.journalMebibytes = 1
        }
        _ = try volume.refusal { $0.journalMebibytes = 2 }
        _ = try volume.refusal { $0.mmpInterval = 301 }
    }

    @Test func aJournalNeedsItsRoom() throws {
        let volume = try TunedVolume(
            "-t ext2 -b 1024", megabytes: 8, contents: "head -c 6M /dev/zero | tr '\\0' x > $1/x")
        #expect(try volume.refusal { $0.featuresOn = FeatureMask([.hasJournal]) } != "")
        #expect(try volume.isMarkedSound)
        #expect(try volume.complaint() == nil)
    }

    /// An inode 8 that is in use for something, or was left by a change that was cut off.
    @Test func blocksOfInodeEightAreNotLost() throws {
        let volume = try TunedVolume("-t ext4", megabytes: 16)
        try shell("debugfs -w -R 'feature ^has_journal' $1", volume.path)
        let words = try volume.refusal { $0.featuresOn = FeatureMask([.hasJournal]) }
        #expect(words.contains("inode 8"), "\(words)")
        try shell("e2fsck -fy $1 || [ $? -eq 1 ]", volume.path)
        try volume.tuneOnly { $0.featuresOn = FeatureMask([.hasJournal]) }
        #expect(try volume.complaint() == nil)
    }

    /// Another machine has the volume, or crashed with it.
    @Test(arguments: [1, 0xE24D_4D50] as [UInt32])
    func volumesThatOthersHaveAreLeftAlone(sequence: UInt32) throws {
        let volume = try TunedVolume("-t ext4 -O mmp,^metadata_csum", megabytes: 16)
        let superblock = try volume.superblock()
        do {
            let device = try volume.open()
            let offset = superblock.mmpBlock.rawValue << UInt64(superblock.blockSizeLog2)
            var block = try device.read(at: offset, count: superblock.blockSize)
            do {
                var span = block.mutableSpan
                var raw = unsafe span.mutableBytes
                raw[MultiMountProtection.Layout.sequence] = sequence
            }
            try unsafe device.write(block.span.bytes, at: offset)
        }
        #expect(try volume.refusal { $0.label = [65] } == Ext4Error.busy.description)
        try volume.tuneOnly(isForced: true) { $0.label = [65] }
        #expect(try volume.superblock().label == [65])
    }

    /// The hashes of values in inodes of their own go by the UUID, with checksums and without.
    @Test func hashesOfLargeValuesKeepTheirSeed() throws {
        func make(_ options: String) throws -> TunedVolume {
            let volume = try TunedVolume(
                "-t ext4 -O ea_inode,\(options)", megabytes: 16, contents: "echo > $1/a")
            try shell(
                """
                head -c 9000 /dev/zero | tr '\\0' v > $1.value
                debugfs -w -R "ea_set -f $1.value /a user.large" $1
                e2fsck -fy $1 || [ $? -eq 1 ]
                """, volume.path)
            return volume
        }
        let uuid = [UInt8](1...16)
        for options in ["^metadata_csum", "metadata_csum"] {
            let volume = try make(options)
            let words = try volume.refusal { $0.uuid = uuid }
            #expect(words.contains("metadata_csum_seed"), "\(words)")
            _ = try volume.refusal { changes in
                changes.uuid = uuid
                changes.featuresOn = FeatureMask([], [], [.metadataCsum])
                changes.featuresOff = FeatureMask([], [], [.gdtCsum])
            }
            // A seed of its own keeps them, whenever the UUID changes.
            try volume.tuneOnly { changes in
                changes.uuid = uuid
                changes.featuresOn = FeatureMask([], [.csumSeed], [.metadataCsum])
            }
            #expect(try volume.complaint() == nil, "\(options)")
            let refused = try volume.refusal {
                $0.featuresOff = FeatureMask([], [], [.metadataCsum])
            }
            #expect(refused.contains("seed"), "\(refused)")
        }
    }
}
