/// A range of a file's blocks that are in the same state, and if they have a place, in one place.
public struct BlockRun: Hashable, Sendable {
    /// What stands behind a range of a file's blocks.
    public enum State: Hashable, Sendable {
        /// Data, from that block of the volume on.
        case mapped(BlockNumber)
        /// Space that was reserved but never written, from that block on; reads as zeros.
        case unwritten(BlockNumber)
        /// Nothing; reads as zeros.
        case hole
    }

    /// The first block of the file.
    public let logical: LogicalBlock
    /// The number of blocks; not 0.
    public let count: UInt64
    /// What stands behind them.
    public let state: State

    /// Makes a run.
    public init(logical: LogicalBlock, count: UInt64, state: State) {
        self.logical = logical
        self.count = count
        self.state = state
    }

    /// The first block of the file behind the run.
    public var end: LogicalBlock { LogicalBlock(logical.rawValue &+ count) }

    /// Whether the run holds `block`.
    public func contains(_ block: LogicalBlock) -> Bool { logical <= block && block < end }

    /// The hole from `block` to the last block a file can have, or that one block behind it.
    package static func hole(from block: LogicalBlock) -> BlockRun {
        let end = LogicalBlock.end.rawValue
        return BlockRun(
            logical: block, count: block.rawValue < end ? end &- block.rawValue : 1, state: .hole)
    }

    /// The same run without its blocks before `block`, which it holds.
    package func suffix(from block: LogicalBlock) -> BlockRun {
        let skipped = block.rawValue &- logical.rawValue
        let state: State =
            switch self.state {
            case .mapped(let start): .mapped(start.advanced(by: skipped))
            case .unwritten(let start): .unwritten(start.advanced(by: skipped))
            case .hole: .hole
            }
        return BlockRun(logical: block, count: count &- skipped, state: state)
    }

    /// The first `count` blocks of the run, or all when they are fewer.
    package func prefix(_ count: UInt64) -> BlockRun {
        BlockRun(logical: logical, count: min(count, self.count), state: state)
    }

    /// The run's first block of the volume; nil for a hole.
    package var start: BlockNumber? {
        switch state {
        case .mapped(let start), .unwritten(let start): start
        case .hole: nil
        }
    }

    /// Both runs in one, when `next` continues this one in file and volume alike.
    package func merged(with next: BlockRun) -> BlockRun? {
        guard next.logical == end else { return nil }
        switch (state, next.state) {
        case (.mapped(let a), .mapped(let b)) where a.advanced(by: count) == b: break
        case (.unwritten(let a), .unwritten(let b)) where a.advanced(by: count) == b: break
        case (.hole, .hole): break
        default: return nil
        }
        return BlockRun(logical: logical, count: count &+ next.count, state: state)
    }
}
