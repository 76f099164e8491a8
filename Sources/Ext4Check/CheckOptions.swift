public import Ext4

/// How a volume is checked.
public struct CheckOptions: Sendable {
    /// Which copy of the superblock to go by.
    public var superblock: OpenOptions.SuperblockLocation = .automatic
    /// How many threads work; 0 for one a processor.
    public var threads = 0
    /// What time it is, for times that lie in the future.
    public var now: Timestamp?
    /// How many findings are kept; those beyond are counted.
    public var maximumFindings = 100_000
    /// Asked now and then whether to break off; what was found until then is worth nothing.
    public var isCancelled: (@Sendable () -> Bool)?
    /// Told how far the check is, several times a second and from any thread.
    public var progress: (@Sendable (CheckProgress) -> Void)?

    /// The usual way.
    public init() {}
}

/// How far a check is.
public struct CheckProgress: Hashable, Sendable {
    /// What is being looked at.
    public let stage: CheckStage
    /// Steps done.
    public let done: UInt64
    /// Steps in all.
    public let total: UInt64
}
