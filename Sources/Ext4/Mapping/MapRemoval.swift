/// How far the removal of a range of a file's blocks has come.
struct MapRemoval {
    let range: Range<LogicalBlock>
    /// Everything of the range from here on is a hole.
    private(set) var end: LogicalBlock
    /// The blocks that were there.
    private(set) var freed: [BlockRange] = []
    private var credits: Int
    private let blocksPerCredit: UInt64

    /// - Parameters:
    ///   - limit: blocks of the log that the removal may take, about.
    ///   - blocksPerCredit: blocks of contents that cost one of those to free.
    init(_ range: Range<LogicalBlock>, limit: Int, blocksPerCredit: Int) {
        self.range = range
        end = max(range.lowerBound, min(range.upperBound, .end))
        credits = max(limit, 1)
        self.blocksPerCredit = UInt64(max(blocksPerCredit, 1))
    }

    /// Where to go on; nil when all is done.
    var resumeAt: LogicalBlock? { end > range.lowerBound ? end : nil }
    /// Whether all is done.
    var isDone: Bool { end <= range.lowerBound }
    /// Whether it must stop for now.
    var isExhausted: Bool { credits <= 0 }

    /// The most blocks of one run to take now.
    var mostBlocks: UInt64 { UInt64(max(credits, 1)) &* blocksPerCredit }

    /// The range is a hole from `block` on.
    mutating func advance(to block: LogicalBlock) {
        end = max(range.lowerBound, min(block, end))
    }

    /// A node changed or went.
    mutating func countNode() { credits &-= 1 }

    /// The blocks of `run`, which lie before all others that were removed, are free.
    mutating func free(_ run: BlockRun) {
        guard let start = run.start, run.count > 0 else { return }
        credits &-= 1 &+ Int(clamping: run.count / blocksPerCredit)
        if let last = freed.last, start.advanced(by: run.count) == last.start {
            freed[freed.count &- 1] = BlockRange(start: start, count: run.count &+ last.count)
        } else {
            freed.append(BlockRange(start: start, count: run.count))
        }
        end = run.logical
    }
}
