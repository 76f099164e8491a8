/// Consecutive blocks of the volume.
struct BlockRange: Hashable, Sendable {
    /// The first of them.
    let start: BlockNumber
    /// How many they are.
    let count: UInt64

    /// The block behind the last one.
    var end: BlockNumber { start.advanced(by: count) }

    /// The first `count` of the blocks, or all when they are fewer.
    func prefix(_ count: UInt64) -> BlockRange {
        BlockRange(start: start, count: min(count, self.count))
    }

    /// The blocks without the first `count`.
    func dropFirst(_ count: UInt64) -> BlockRange {
        let skipped = min(count, self.count)
        return BlockRange(start: start.advanced(by: skipped), count: self.count &- skipped)
    }

    /// Whether `block` is one of them.
    func contains(_ block: BlockNumber) -> Bool { start <= block && block < end }
}
