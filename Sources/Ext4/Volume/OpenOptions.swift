/// How a volume is opened.
public struct OpenOptions: Sendable {
    /// Which copy of the superblock to use.
    public enum SuperblockLocation: Hashable, Sendable {
        /// The primary one, and when that is bad the first good backup.
        case automatic
        /// The primary one only.
        case primary
        /// The copy at that block, counted in blocks of `blockSize` bytes; with nil, each block
        /// size is tried.
        case backup(atBlock: BlockNumber, blockSize: Int?)
    }

    /// What to do with a journal that must be replayed, on a volume that is opened for reading.
    public enum JournalPolicy: Hashable, Sendable {
        /// Read the volume as if it were replayed; nothing is written.
        case replayInMemory
        /// Read the volume as it lies, which may be in the middle of a change (`noload`).
        case ignore
    }

    /// What a volume is opened for.
    public enum Access: Hashable, Sendable {
        /// Nothing is written.
        case readOnly
        /// A journal that must be replayed is replayed on the device first.
        case readWrite
    }

    /// What the journal does for the contents of files (`data=`).
    public enum DataMode: String, Hashable, Sendable {
        /// Contents are on the disk before the change that makes them part of a file.
        case ordered
        /// No order between contents and what refers to them.
        case writeback
        /// Contents go through the journal too.
        case journal
    }

    /// What to do about a corruption (`errors=`).
    public enum ErrorPolicy: String, Hashable, Sendable {
        /// The operation fails, others go on.
        case goOn = "continue"
        /// The volume is not written to any more.
        case remountReadOnly = "remount-ro"
        /// As `remountReadOnly`; the program that has the volume open ends, too.
        case panic
    }

    /// When reading a file changes its access time.
    public enum AccessTimePolicy: Hashable, Sendable {
        /// Never (`noatime`).
        case never
        /// When it is older than the last change, or than a day (`relatime`).
        case relative
        /// At each read that reaches the volume (`strictatime`).
        case always
    }

    /// What the volume is opened for.
    public var access = Access.readOnly
    /// Which copy of the superblock to use; for writing, the primary one is used.
    public var superblock: SuperblockLocation = .automatic
    /// What to do with a journal that must be replayed.
    public var journal: JournalPolicy = .replayInMemory
    /// Whether checksums are verified on everything that is read.
    public var verifiesChecksums = true
    /// The memory for metadata blocks, in bytes. The cache goes over it only while more than that
    /// is in use at once. What waits in the journal to be brought to its place takes as much
    /// again at most, and no more than 32 MiB.
    public var cacheBytes = 32 << 20
    /// What the journal does for contents.
    public var dataMode = DataMode.ordered
    /// What to do about a corruption; nil for what the superblock says (`s_errors`).
    public var errorPolicy: ErrorPolicy?
    /// When reading a file or directory changes its access time.
    public var accessTimes = AccessTimePolicy.relative
    /// Whether new files take the group of their directory always (`grpid`), and not only where it
    /// has the set-group-id bit.
    public var inheritsGroup = false
    /// The time of what is written; without one, everything happens in 1970.
    public var clock: @Sendable () -> Timestamp = { Timestamp(seconds: 0) }
    /// Where messages go.
    public var log: Log = .none
    /// Where a volume ends that is to be made smaller: nothing is allocated behind that.
    var allocationLimit: AllocationLimit?
    /// Whether what is written goes through the journal, where there is one. Without it the volume
    /// is as one that has none, and the journal's own blocks can be moved.
    var usesJournal = true
    /// Whether the superblock counts it as a mount, which sets the time when a check is due.
    var countsAsMount = true
    #if MUTANTS
        /// A fault to have.
        package var mutant: Mutant?
    #endif

    /// The defaults.
    public init() {}
}
