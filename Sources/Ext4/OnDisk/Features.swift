// The feature masks of the superblock, with the kernel's names in lowerCamelCase and, for people,
// the names that `dumpe2fs` prints.

/// A mask of features of which each bit has a name.
public protocol FeatureSet: OptionSet, Sendable where RawValue == UInt32, Element == Self {
    /// The names of the known bits, as `dumpe2fs` prints them.
    static var table: [(feature: Self, name: String)] { get }
    /// The letter in `FEATURE_x<bit>`, for bits with no name.
    static var letter: String { get }
}

extension FeatureSet {
    /// The names of all features that are set, lowest bit first; `FEATURE_I17` for an unknown one.
    public var names: [String] {
        var names: [String] = []
        for bit in 0..<32 where rawValue & (1 << UInt32(bit)) != 0 {
            let feature = Self(rawValue: 1 << UInt32(bit))
            var name = "FEATURE_\(Self.letter)\(bit)"
            for known in Self.table where known.feature == feature { name = known.name }
            names.append(name)
        }
        return names
    }
}

/// Features that change nothing for who does not know them (`s_feature_compat`).
public struct CompatibleFeatures: FeatureSet, Hashable {
    /// The mask, as the disk has it.
    public let rawValue: UInt32
    /// Makes a set from the mask.
    public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// Directory blocks are preallocated.
    public static let dirPrealloc = Self(rawValue: 0x1)
    /// Used by AFS servers.
    public static let imagicInodes = Self(rawValue: 0x2)
    /// There is a journal.
    public static let hasJournal = Self(rawValue: 0x4)
    /// Extended attributes may exist.
    public static let extAttr = Self(rawValue: 0x8)
    /// Inode 7 reserves blocks for group descriptors.
    public static let resizeInode = Self(rawValue: 0x10)
    /// Directories may have an htree index.
    public static let dirIndex = Self(rawValue: 0x20)
    /// Never came into use.
    public static let lazyBg = Self(rawValue: 0x40)
    /// Never came into use.
    public static let excludeBitmap = Self(rawValue: 0x100)
    /// At most two backup superblocks, in the groups of `s_backup_bgs`.
    public static let sparseSuper2 = Self(rawValue: 0x200)
    /// The journal may have a fast-commit area.
    public static let fastCommit = Self(rawValue: 0x400)
    /// Inode numbers and the UUID are part of encryption; they must not change.
    public static let stableInodes = Self(rawValue: 0x800)
    /// Orphans are recorded in a file.
    public static let orphanFile = Self(rawValue: 0x1000)

    /// The names of the known bits.
    public static var table: [(feature: Self, name: String)] {
        [
            (.dirPrealloc, "dir_prealloc"), (.imagicInodes, "imagic_inodes"),
            (.hasJournal, "has_journal"), (.extAttr, "ext_attr"), (.resizeInode, "resize_inode"),
            (.dirIndex, "dir_index"), (.lazyBg, "lazy_bg"), (.excludeBitmap, "snapshot_bitmap"),
            (.sparseSuper2, "sparse_super2"), (.fastCommit, "fast_commit"),
            (.stableInodes, "stable_inodes"), (.orphanFile, "orphan_file"),
        ]
    }
    /// The letter of unknown bits.
    public static var letter: String { "C" }
}

/// Features without which the volume cannot be read (`s_feature_incompat`).
public struct IncompatibleFeatures: FeatureSet, Hashable {
    /// The mask, as the disk has it.
    public let rawValue: UInt32
    /// Makes a set from the mask.
    public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// Compressed files.
    public static let compression = Self(rawValue: 0x1)
    /// Directory entries have a file type.
    public static let filetype = Self(rawValue: 0x2)
    /// The journal must be replayed.
    public static let recover = Self(rawValue: 0x4)
    /// The device holds nothing but a journal.
    public static let journalDev = Self(rawValue: 0x8)
    /// Group descriptors lie in their own meta groups.
    public static let metaBg = Self(rawValue: 0x10)
    /// Files may be mapped by extents.
    public static let extents = Self(rawValue: 0x40)
    /// Block numbers have 64 bits.
    public static let bit64 = Self(rawValue: 0x80)
    /// Multi-mount protection.
    public static let mmp = Self(rawValue: 0x100)
    /// Bitmaps and inode tables may lie outside their group.
    public static let flexBg = Self(rawValue: 0x200)
    /// Large attribute values have inodes of their own.
    public static let eaInode = Self(rawValue: 0x400)
    /// Data in directory entries (Lustre).
    public static let dirData = Self(rawValue: 0x1000)
    /// The checksum seed is stored and not derived from the UUID.
    public static let csumSeed = Self(rawValue: 0x2000)
    /// Directories of over 2 GiB and htrees of three levels.
    public static let largeDir = Self(rawValue: 0x4000)
    /// Small files stand in their inode.
    public static let inlineData = Self(rawValue: 0x8000)
    /// Encrypted files and names.
    public static let encrypt = Self(rawValue: 0x10000)
    /// Directories that ignore case.
    public static let casefold = Self(rawValue: 0x20000)

    /// Those that this engine reads.
    package static let readable: Self = [
        .filetype, .recover, .metaBg, .extents, .bit64, .mmp, .flexBg, .eaInode, .csumSeed,
        .largeDir, .inlineData, .encrypt, .casefold,
    ]

    /// Those with which this engine can write. Encrypted files and names are left as they are, and
    /// names that ignore case are not made; MMP would need a clock of its own.
    package static let writable: Self = [
        .filetype, .recover, .metaBg, .extents, .bit64, .flexBg, .eaInode, .csumSeed, .largeDir,
        .inlineData, .encrypt, .casefold,
    ]

    /// The names of the known bits.
    public static var table: [(feature: Self, name: String)] {
        [
            (.compression, "compression"), (.filetype, "filetype"), (.recover, "needs_recovery"),
            (.journalDev, "journal_dev"), (.metaBg, "meta_bg"), (.extents, "extent"),
            (.bit64, "64bit"), (.mmp, "mmp"), (.flexBg, "flex_bg"), (.eaInode, "ea_inode"),
            (.dirData, "dirdata"), (.csumSeed, "metadata_csum_seed"), (.largeDir, "large_dir"),
            (.inlineData, "inline_data"), (.encrypt, "encrypt"), (.casefold, "casefold"),
        ]
    }
    /// The letter of unknown bits.
    public static var letter: String { "I" }
}

/// Features without which the volume can be read but not written (`s_feature_ro_compat`).
public struct ReadOnlyCompatibleFeatures: FeatureSet, Hashable {
    /// The mask, as the disk has it.
    public let rawValue: UInt32
    /// Makes a set from the mask.
    public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// Backup superblocks in groups 1 and powers of 3, 5 and 7 only.
    public static let sparseSuper = Self(rawValue: 0x1)
    /// Files of over 2 GiB.
    public static let largeFile = Self(rawValue: 0x2)
    /// Never came into use.
    public static let btreeDir = Self(rawValue: 0x4)
    /// `i_blocks` has 48 bits and may count whole blocks.
    public static let hugeFile = Self(rawValue: 0x8)
    /// Descriptors have a CRC-16, groups may be uninitialised.
    public static let gdtCsum = Self(rawValue: 0x10)
    /// A directory with more than 64,999 subdirectories has the link count 1.
    public static let dirNlink = Self(rawValue: 0x20)
    /// Inodes reserve room for the fields behind the first 128 bytes.
    public static let extraIsize = Self(rawValue: 0x40)
    /// Quota is kept in hidden files.
    public static let quota = Self(rawValue: 0x100)
    /// Blocks are allocated in clusters.
    public static let bigalloc = Self(rawValue: 0x200)
    /// All metadata has CRC32C checksums.
    public static let metadataCsum = Self(rawValue: 0x400)
    /// Never came into use.
    public static let replica = Self(rawValue: 0x800)
    /// The volume must not be written.
    public static let readOnly = Self(rawValue: 0x1000)
    /// Inodes have a project id, with quota.
    public static let project = Self(rawValue: 0x2000)
    /// Files share blocks (Android); implies read-only.
    public static let sharedBlocks = Self(rawValue: 0x4000)
    /// Files may have a Merkle tree behind their end.
    public static let verity = Self(rawValue: 0x8000)
    /// The orphan file may hold orphans.
    public static let orphanPresent = Self(rawValue: 0x10000)

    /// Those whose meaning this engine knows, be it only for reading.
    package static let known: Self = [
        .sparseSuper, .largeFile, .hugeFile, .gdtCsum, .dirNlink, .extraIsize, .quota, .bigalloc,
        .metadataCsum, .readOnly, .project, .sharedBlocks, .verity, .orphanPresent,
    ]

    /// Those with which this engine can write: neither quota, whose files would have to follow, nor
    /// clusters.
    package static let writable: Self = [
        .sparseSuper, .largeFile, .hugeFile, .gdtCsum, .dirNlink, .extraIsize, .metadataCsum,
        .project, .verity, .orphanPresent,
    ]

    /// The names of the known bits.
    public static var table: [(feature: Self, name: String)] {
        [
            (.sparseSuper, "sparse_super"), (.largeFile, "large_file"), (.btreeDir, "btree_dir"),
            (.hugeFile, "huge_file"), (.gdtCsum, "uninit_bg"), (.dirNlink, "dir_nlink"),
            (.extraIsize, "extra_isize"), (.quota, "quota"), (.bigalloc, "bigalloc"),
            (.metadataCsum, "metadata_csum"), (.replica, "replica"), (.readOnly, "read-only"),
            (.project, "project"), (.sharedBlocks, "shared_blocks"), (.verity, "verity"),
            (.orphanPresent, "orphan_present"),
        ]
    }
    /// The letter of unknown bits.
    public static var letter: String { "R" }
}
