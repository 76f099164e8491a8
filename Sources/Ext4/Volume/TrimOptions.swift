/// Which free space of a volume is given back to its device.
public struct TrimOptions: Sendable {
    /// Where to begin, in bytes from the start of the volume.
    public var byteOffset: UInt64 = 0
    /// How many bytes from there on are looked at.
    public var byteCount: UInt64 = .max
    /// Free runs with fewer bytes are left alone.
    public var minimumByteCount: UInt64 = 0
    /// What the device gives back in one piece, in bytes: ranges begin and end at multiples of it.
    public var granule: UInt64 = 1
    /// Whether to look only: nothing is written or discarded then.
    public var looksOnly = false
    /// Told how much of the whole is done.
    public var progress: (@Sendable (_ done: UInt64, _ total: UInt64) -> Void)?
    /// Asked now and then whether to break off.
    public var isCancelled: (@Sendable () -> Bool)?

    /// The whole volume, every free block.
    public init() {}
}

/// What was given back to a device.
public struct TrimReport: Hashable, Sendable {
    /// Bytes that were discarded, or would have been.
    public package(set) var byteCount: UInt64 = 0
    /// In how many ranges.
    public package(set) var rangeCount: UInt64 = 0
    /// Whether it was broken off before the end.
    public package(set) var isCancelled = false
}
