/// How a volume is resized.
public struct ResizeOptions: Sendable {
    /// Where the device is known to hold zeros, from that byte to its end, because it was made
    /// longer just now; nil when nothing is known. Inode tables there need not be written.
    public var zerosFrom: UInt64?
    /// Whether a volume that has errors, or that was not unmounted cleanly, is resized all the
    /// same.
    public var isForced = false
    /// The time of what is written.
    public var clock: @Sendable () -> Timestamp = { Timestamp(seconds: 0) }
    /// Where messages go.
    public var log: Log = .none
    /// The memory for metadata blocks, in bytes.
    public var cacheBytes = 32 << 20
    /// Told how far the work is.
    public var progress: (@Sendable (ResizeProgress) -> Void)?
    /// Asked now and then whether to break off; what is done until then stays done, and the volume
    /// is sound.
    public var isCancelled: (@Sendable () -> Bool)?

    /// The usual way.
    public init() {}

    /// What the volume is opened with.
    var openOptions: OpenOptions {
        var options = OpenOptions()
        options.access = .readWrite
        options.superblock = .primary
        options.clock = clock
        options.log = log
        options.cacheBytes = cacheBytes
        options.countsAsMount = false
        return options
    }

    /// Tells how far the work is.
    func tell(_ stage: ResizeStage, _ done: UInt64, of total: UInt64) {
        progress?(ResizeProgress(stage: stage, done: done, total: total))
    }
}

/// What a resize is at.
public enum ResizeStage: Hashable, Sendable {
    /// Bitmaps and inode tables of new groups.
    case newGroups
    /// Looking for what lies behind the new end.
    case search
    /// Moving the contents of files, and what leads to them.
    case blocks
    /// Moving inodes.
    case inodes
    /// Copies of the superblock and the descriptors.
    case backups
}

/// How far a resize is.
public struct ResizeProgress: Hashable, Sendable {
    /// What it is at.
    public let stage: ResizeStage
    /// Steps done.
    public let done: UInt64
    /// Steps in all.
    public let total: UInt64
}

/// What a resize did.
public struct ResizeReport: Hashable, Sendable {
    /// Blocks before.
    public let oldBlocks: UInt64
    /// Blocks now.
    public package(set) var newBlocks: UInt64
    /// The size of a block.
    public let blockSize: Int
    /// Blocks that were moved.
    public package(set) var movedBlocks: UInt64 = 0
    /// Inodes that got another number.
    public package(set) var movedInodes: UInt64 = 0
    /// Whether it was broken off before the size that was asked for.
    public package(set) var isCancelled = false

    package init(oldBlocks: UInt64, newBlocks: UInt64, blockSize: Int) {
        self.oldBlocks = oldBlocks
        self.newBlocks = newBlocks
        self.blockSize = blockSize
    }
}

/// Why a volume is not resized.
public enum ResizeFailure: Error, Hashable, Sendable {
    /// What the engine met.
    case volume(Ext4Error)
    /// Something that cannot be done, in words that say what to do.
    case refused(String)

    /// Runs `body`, and passes on what it throws.
    static func wrap<Result>(
        _ body: () throws(Ext4Error) -> Result
    ) throws(ResizeFailure) -> Result {
        do throws(Ext4Error) {
            return try body()
        } catch {
            throw .volume(error)
        }
    }
}

extension ResizeFailure: CustomStringConvertible {
    /// The failure in words.
    public var description: String {
        switch self {
        case .volume(let error): error.description
        case .refused(let words): words
        }
    }
}
