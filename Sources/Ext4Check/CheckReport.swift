internal import Ext4

/// What a check came to.
public struct CheckReport: Hashable, Sendable {
    /// What was found, in the order of the stages, and in each by place.
    public let findings: [Finding]
    /// Findings beyond those that are kept.
    public let omitted: UInt64
    /// What there is on the volume.
    public let statistics: CheckStatistics

    /// Whether nothing is damaged.
    public var isClean: Bool {
        omitted == 0 && !findings.contains { $0.rule.severity == .error }
    }

    /// Whether everything that was found can be put right without a decision.
    public var isSafe: Bool { omitted == 0 && findings.allSatisfy(\.rule.isSafe) }
}

/// What there is on a volume.
public struct CheckStatistics: Hashable, Sendable {
    /// Inodes in use, the volume's own included.
    public var inodes: UInt64 = 0
    /// Regular files.
    public var files: UInt64 = 0
    /// Directories.
    public var directories: UInt64 = 0
    /// Symbolic links.
    public var symlinks: UInt64 = 0
    /// Devices, pipes and sockets.
    public var special: UInt64 = 0
    /// Blocks in use, with bigalloc those of clusters in use.
    public var blocks: UInt64 = 0
    /// Files whose contents are in more than one piece.
    public var fragmented: UInt64 = 0

    /// Nothing.
    public init() {}

    mutating func add(_ other: CheckStatistics) {
        inodes += other.inodes
        files += other.files
        directories += other.directories
        symlinks += other.symlinks
        special += other.special
        blocks += other.blocks
        fragmented += other.fragmented
    }
}
