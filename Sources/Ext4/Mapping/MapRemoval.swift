/// How far the removal of a range of a file's blocks has come.
struct MapRemoval {
    let range: Range<LogicalBlock>
    /// Everything of the range from here on is a hole.
    private(set) var end: LogicalBlock
    /// The blocks that were there.
    private(set) var freed: [BlockRange] = []
    private var credits: Int
    private let blocksPerGroup: UInt64

    init(_ range: Range<LogicalBlock>, limit: Int, blocksPerGroup: UInt32) {
        self.range = range
        end = max(range.lowerBound, min(range.upperBound, .end))
        credits = max(limit, 1)
        self.blocksPerGroup = UInt64(max(blocksPerGroup, 1))
    }

    /// Where to go on; nil when all is done.
    var resumeAt: LogicalBlock? { end > range.lowerBound ? end : nil }
    /// Whether all is done.
    var isDone: Bool { end <= range.lowerBound }
    /// Whether it must stop for now.
    var isExhausted: Bool { credits <= 0 }

    /// The range is a hole from `block` on.
    mutating func advance(to block: LogicalBlock) {
        end = max(range.lowerBound, min(block, end))
    }

    /// A node changed or went.
    mutating func countNode() { credits &-= 1 }

    /// The blocks of `run`, which lie before all others that were removed, are free.
    mutating func free(_ run: BlockRun) {
        guard let start = run.start, run.count > 0 else { return }
        // What it costs to free them: the bitmap of each group that they lie in.
        credits &-= 1 &+ Int(clamping: run.count / blocksPerGroup)
        if let last = freed.last, start.advanced(by: run.count) == last.start {
            freed[freed.count &- 1] = BlockRange(start: start, count: run.count &+ last.count)
        } else {
            freed.append(BlockRange(start: start, count: run.count))
        }
        end = run.logical
    }
}
