// What a new volume is to be. What is not said is what e2fsprogs 1.47 would take: see
// `FormatDefaults`.

/// The options by which a volume is made.
///
/// The engine knows no clock and no randomness: who makes a volume gives it its UUID, the seed of
/// its hashes and the time, and the same options make the same bytes.
public struct FormatOptions: Hashable, Sendable {
    /// The kinds of volume, by the features that they have of themselves.
    public enum Kind: String, Hashable, Sendable, CaseIterable {
        /// No journal.
        case ext2
        /// With a journal.
        case ext3
        /// With extents, checksums and the rest.
        case ext4
    }

    /// What a volume is used for: sets the block size and how many inodes there are.
    public enum Usage: String, Hashable, Sendable, CaseIterable {
        /// Under 3 MiB.
        case floppy
        /// Under 512 MiB.
        case small
        /// What is neither small nor big.
        case `default`
        /// From 4 TiB on.
        case big
        /// From 16 TiB on.
        case huge
        /// Many small files.
        case news
        /// Few large files: an inode for each MiB.
        case largefile
        /// Very few: an inode for 4 MiB.
        case largefile4
        /// For GNU/Hurd.
        case hurd
    }

    /// What a mount does on an error (`s_errors`).
    public enum ErrorBehaviour: UInt16, Hashable, Sendable {
        /// Goes on.
        case `continue` = 1
        /// Goes on reading.
        case remountReadOnly = 2
        /// Stops the machine.
        case panic = 3
    }

    /// A length on the volume, by blocks or by bytes.
    public enum Length: Hashable, Sendable {
        /// So many blocks.
        case blocks(UInt64)
        /// So many bytes, which whole blocks of are counted.
        case bytes(UInt64)

        func blocks(ofSize blockSize: Int) -> UInt64 {
            switch self {
            case .blocks(let count): count
            case .bytes(let count): count / UInt64(blockSize)
            }
        }
    }

    /// The files in which quota is kept.
    public struct QuotaKinds: OptionSet, Hashable, Sendable {
        /// The mask.
        public let rawValue: UInt8
        /// Makes a set from the mask.
        public init(rawValue: UInt8) { self.rawValue = rawValue }
        /// By user.
        public static let user = Self(rawValue: 1)
        /// By group.
        public static let group = Self(rawValue: 2)
        /// By project.
        public static let project = Self(rawValue: 4)
    }

    /// The kind of volume.
    public var kind: Kind = .ext4
    /// What it is used for, each setting what it knows of; empty to go by the size.
    public var usage: [Usage] = []
    /// Changes to the features, in order.
    public var features: [FeatureChange] = []

    /// Bytes of a block: a power of two from 1,024 to 65,536.
    public var blockSize: Int?
    /// Bytes of a cluster, with bigalloc.
    public var clusterSize: Int?
    /// Bytes of an inode: a power of two from 128 to the block size.
    public var inodeSize: Int?
    /// Bytes of the volume for each inode.
    public var inodeRatio: UInt64?
    /// The number of inodes; rounded up to what fills the blocks of the tables.
    public var inodeCount: UInt64?
    /// Blocks of a group; with bigalloc, clusters.
    public var blocksPerGroup: UInt32?
    /// Groups whose bitmaps and tables lie together, with flex_bg: a power of two.
    public var flexGroupSize: UInt32?
    /// Bytes of a group descriptor, with 64bit: a power of two from 64 to 1,024.
    public var descriptorSize: Int?
    /// How many hundredths of the volume only root may take; 5 if nothing is said.
    public var reservedPercentage: Double?
    /// The size up to which the volume may grow while it is mounted.
    public var resizeLimit: Length?
    /// The number of copies of the superblock with sparse_super2: 0, 1 or 2.
    public var backupCount: Int?
    /// Whether all bitmaps and tables lie at the start of the volume, with flex_bg.
    public var packsMetadata = false

    /// The size of the journal in MiB, the area of fast commits not counted.
    public var journalMebibytes: UInt32?
    /// What fast commits have at the end of the journal, in KiB.
    public var fastCommitKibibytes: UInt32?
    /// From where on the journal is to lie.
    public var journalLocation: Length?
    /// The size of the orphan file.
    public var orphanFileSize: Length?
    /// The quota files, with the feature quota; nil for what the features call for.
    public var quotas: QuotaKinds?
    /// The seconds between two marks of who has it open, with mmp.
    public var mmpInterval: UInt16 = 0

    /// The name, at most 16 bytes.
    public var label: [UInt8] = []
    /// The UUID: 16 bytes.
    public var uuid: [UInt8]
    /// The seed of the hashes of names: 16 bytes.
    public var hashSeed: [UInt8]
    /// When it is made.
    public var time: Timestamp
    /// Where it was last mounted, at most 64 bytes.
    public var lastMounted: [UInt8] = []
    /// Who makes it (`s_creator_os`): 0 Linux, 1 Hurd, 3 FreeBSD, 4 Lites.
    public var creatorOS: UInt32 = 0
    /// What a mount does on an error.
    public var errorBehaviour: ErrorBehaviour = .continue
    /// `s_default_mount_opts`; nil for acl and user_xattr.
    public var defaultMountOptions: UInt32?
    /// The RAID chunk of a disk in blocks.
    public var stride: UInt16 = 0
    /// The RAID stripe in blocks.
    public var stripeWidth: UInt32 = 0
    /// `s_encoding_flags`, with casefold: 1 refuses names that are no UTF-8.
    public var encodingFlags: UInt16 = 0
    /// Whether it is marked as a test file system.
    public var isTest = false
    /// 0 for the format before features, 1 for all others.
    public var revision: UInt32 = 1

    /// Who owns the root directory.
    public var rootOwner: (user: UInt32, group: UInt32) {
        get { (rootUser, rootGroup) }
        set { (rootUser, rootGroup) = newValue }
    }
    private var rootUser: UInt32 = 0
    private var rootGroup: UInt32 = 0
    /// The permissions of the root directory.
    public var rootPermissions: UInt16 = 0o755

    /// Whether inode tables are left for the kernel to clear, where the features allow that.
    public var leavesInodeTables = true
    /// Whether the journal's blocks are left as they are.
    public var leavesJournal = false

    /// Options of a volume of the default kind.
    public init(uuid: [UInt8], hashSeed: [UInt8], time: Timestamp) {
        self.uuid = uuid
        self.hashSeed = hashSeed
        self.time = time
    }
}
