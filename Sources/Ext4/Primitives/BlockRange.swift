/// Consecutive blocks of the volume.
package struct BlockRange: Hashable, Sendable {
    /// The first of them.
    package let start: BlockNumber
    /// How many they are.
    package let count: UInt64

    /// `count` blocks from `start` on.
    package init(start: BlockNumber, count: UInt64) {
        self.start = start
        self.count = count
    }

    /// The block behind the last one.
    package var end: BlockNumber { start.advanced(by: count) }

    /// The first `count` of the blocks, or all when they are fewer.
    package func prefix(_ count: UInt64) -> BlockRange {
        BlockRange(start: start, count: min(count, self.count))
    }

    /// The blocks without the first `count`.
    package func dropFirst(_ count: UInt64) -> BlockRange {
        let skipped = min(count, self.count)
        return BlockRange(start: start.advanced(by: skipped), count: self.count &- skipped)
    }

    /// Whether `block` is one of them.
    package func contains(_ block: BlockNumber) -> Bool { start <= block && block < end }
}
