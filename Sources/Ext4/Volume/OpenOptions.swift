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

    /// What to do with a journal that must be replayed.
    public enum JournalPolicy: Hashable, Sendable {
        /// Read the volume as if it were replayed; nothing is written.
        case replayInMemory
        /// Read the volume as it lies, which may be in the middle of a change (`noload`).
        case ignore
    }

    /// Which copy of the superblock to use.
    public var superblock: SuperblockLocation = .automatic
    /// What to do with a journal that must be replayed.
    public var journal: JournalPolicy = .replayInMemory
    /// Whether checksums are verified on everything that is read.
    public var verifiesChecksums = true
    /// The memory for metadata blocks, in bytes. The cache goes over it only while more than that
    /// is in use at once.
    public var cacheBytes = 32 << 20
    /// Where messages go.
    public var log: Log = .none

    /// The defaults.
    public init() {}
}
