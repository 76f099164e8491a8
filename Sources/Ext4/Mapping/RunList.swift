/// A few runs that are to stand in a leaf one after the other, as few and as long as they can be.
struct RunList {
    /// As many as one change makes: the neighbours, and what is cut into two or three.
    private var runs: InlineArray<4, BlockRun> = .init(
        repeating: BlockRun(logical: LogicalBlock(0), count: 0, state: .hole))
    private(set) var count = 0

    subscript(index: Int) -> BlockRun { runs[index] }

    /// Adds `run` behind the others; together with the last one, where it continues that.
    mutating func append(_ run: BlockRun) {
        guard count > 0, let merged = runs[count &- 1].merged(with: run) else {
            return add(run)
        }
        let longest = ExtentNode.longest(run)
        guard merged.count > longest else {
            runs[count &- 1] = merged
            return
        }
        runs[count &- 1] = merged.prefix(longest)
        add(merged.suffix(from: LogicalBlock(merged.logical.rawValue &+ longest)))
    }

    /// Adds `run` behind the others, by itself; in pieces where it is too long for one extent.
    mutating func add(_ run: BlockRun) {
        var rest = run
        let longest = ExtentNode.longest(run)
        while rest.count > longest {
            store(rest.prefix(longest))
            rest = rest.suffix(from: LogicalBlock(rest.logical.rawValue &+ longest))
        }
        if rest.count > 0 { store(rest) }
    }

    private mutating func store(_ run: BlockRun) {
        runs[count] = run
        count &+= 1
    }
}
