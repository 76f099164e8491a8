/// How far a repair may go.
public enum RepairMode: Hashable, Sendable {
    /// What loses nothing and needs no decision (`-p`).
    case preen
    /// Everything (`-y`).
    case all
}

/// What a repair tells while it works.
public enum RepairEvent: Hashable, Sendable {
    /// The journal was replayed.
    case replayed
    /// A check begins, the first with 1.
    case round(Int)
    /// A finding is put right.
    case repairing(Finding)
    /// What was changed is being written, so many bytes.
    case writing(UInt64)
}

/// What a repair came to.
public struct RepairReport: Hashable, Sendable {
    /// What was put right, each finding once, in the order of the work.
    public internal(set) var repaired: [Finding] = []
    /// What the last check found; nothing where all is well.
    public internal(set) var left: [Finding] = []
    /// How many checks it took.
    public internal(set) var rounds = 0
    /// How many bytes were written.
    public internal(set) var writtenBytes: UInt64 = 0
    /// Whether the journal was replayed.
    public internal(set) var hasReplayed = false

    /// Whether nothing is damaged any more.
    public var isClean: Bool { !left.contains { $0.rule.severity == .error } }
    /// Whether anything was changed.
    public var hasChanged: Bool { hasReplayed || writtenBytes > 0 }
}
