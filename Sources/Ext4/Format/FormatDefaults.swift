// What e2fsprogs 1.47 makes when it is told nothing: the values of its mke2fs.conf as Debian ships
// it, and those of its code.

/// The values that stand behind options that were not given.
package struct FormatDefaults: Hashable, Sendable {
    /// Bytes of a block.
    package var blockSize = 4096
    /// Bytes of an inode.
    package var inodeSize = 256
    /// Bytes of the volume for each inode.
    package var inodeRatio: UInt64 = 16384
    /// The features.
    package var features = FeatureMask(
        [.resizeInode, .dirIndex, .extAttr], [.filetype], [.sparseSuper, .largeFile])

    /// acl and user_xattr (`EXT4_DEFM_ACL`, `EXT4_DEFM_XATTR_USER`).
    package static let mountOptions: UInt32 = 0x8 | 0x4
    /// Groups of a flexible group.
    package static let flexGroupSize: UInt32 = 16
    /// Hundredths of the volume for root.
    package static let reservedPercentage = 5.0
    /// Blocks of a cluster with bigalloc.
    package static let blocksPerCluster = 16
    /// Copies of the superblock with sparse_super2.
    package static let backupCount = 2
    /// The hash of new directory indexes (`EXT2_HASH_HALF_MD4`).
    package static let hashVersion: UInt8 = 1

    package init(
        _ kind: FormatOptions.Kind, _ usage: [FormatOptions.Usage], byteCount: UInt64
    ) {
        switch kind {
        case .ext2: break
        case .ext3: features.apply(.set(FeatureMask([.hasJournal])))
        case .ext4:
            features.apply(
                .set(
                    FeatureMask(
                        [.hasJournal], [.extents, .flexBg, .bit64],
                        [.hugeFile, .metadataCsum, .dirNlink, .extraIsize])))
        }
        for usage in usage.isEmpty ? [Self.usage(byteCount)] : usage {
            switch usage {
            case .floppy: (blockSize, inodeRatio) = (1024, 8192)
            case .small: (blockSize, inodeRatio) = (1024, 4096)
            case .default: break
            case .big: inodeRatio = 32768
            case .huge: inodeRatio = 65536
            case .news: inodeRatio = 4096
            case .largefile: (blockSize, inodeRatio) = (4096, 1 << 20)
            case .largefile4: (blockSize, inodeRatio) = (4096, 4 << 20)
            case .hurd: (blockSize, inodeSize) = (4096, 128)
            }
        }
    }

    /// The use that goes with a size.
    package static func usage(_ byteCount: UInt64) -> FormatOptions.Usage {
        switch byteCount {
        case ..<(3 << 20): .floppy
        case ..<(512 << 20): .small
        case ..<(4 << 40): .default
        case ..<(16 << 40): .big
        default: .huge
        }
    }

    /// The fewest blocks of a volume with a journal.
    package static let smallestWithJournal: UInt64 = 2048

    /// The blocks of the journal of a volume of so many blocks; nil for one that is too small.
    package static func journalBlocks(_ blockCount: UInt64) -> UInt32? {
        let mebi: UInt64 = 1 << 20
        return switch blockCount {
        case ..<smallestWithJournal: nil
        case ..<32768: 1024
        case ..<(mebi / 4): 4096
        case ..<(mebi / 2): 8192
        case ..<(4 * mebi): 16384
        case ..<(8 * mebi): 32768
        case ..<(16 * mebi): 65536
        case ..<(32 * mebi): 131_072
        default: 262_144
        }
    }

    /// The blocks of an orphan file.
    package static func orphanFileBlocks(_ blockCount: UInt64) -> UInt32 {
        switch blockCount {
        case ..<(128 << 10): 32
        case ..<(2 << 20): UInt32(blockCount / 4096)
        default: 512
        }
    }

    /// The fewest blocks of a journal (`JBD2_MIN_JOURNAL_BLOCKS`), and the most.
    package static let journalRange: ClosedRange<UInt64> = 1024...10_240_000
    /// Of how many blocks of a journal one more is for fast commits.
    package static let journalPerFastCommit: UInt32 = 64
}
