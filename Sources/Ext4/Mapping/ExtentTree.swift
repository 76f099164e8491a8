/// The map of a file by extents: where each of its blocks is.
struct ExtentTree: Sendable {
    let reader: BlockReader
    let owner: BlockOwner
    /// The inode; its `i_block` is the root.
    let record: InodeRecord

    /// What one node says about a block: the answer, or the node below and the range it covers.
    private enum Step {
        case found(BlockRun)
        case below(BlockNumber, depth: Int, range: Range<LogicalBlock>)
    }

    /// The run that holds `block`: an extent, or the hole between two.
    ///
    /// A hole may be cut where a node ends, though it goes on in the next.
    func run(at block: LogicalBlock) throws(Ext4Error) -> BlockRun {
        guard block < .end else { return .hole(from: block) }
        let whole = LogicalBlock(0)..<LogicalBlock.end
        var step = try record.withBlock { (root) throws(Ext4Error) in
            try ExtentNode.check(
                root, depth: nil, owner: owner, superblock: reader.superblock,
                verifiesChecksum: false, at: .init(inode: owner.inode))
            return try look(in: root, for: block, within: whole, at: .init(inode: owner.inode))
        }
        // The depth falls by one a step, as each node was checked to say: the loop ends.
        while true {
            switch step {
            case .found(let run):
                return run
            case .below(let child, let depth, let range):
                let place = Corruption.Place(inode: owner.inode, block: child)
                let buffer = try reader.buffer(of: child, for: .extentNode, at: place)
                try buffer.verify(as: .init(.extentNode, owner: owner.inode, detail: depth)) {
                    (node) throws(Ext4Error) in
                    try ExtentNode.check(
                        node, depth: depth, owner: owner, superblock: reader.superblock,
                        verifiesChecksum: reader.checksBlocks, at: place)
                }
                step = try buffer.withBytes { (node) throws(Ext4Error) in
                    try look(in: node, for: block, within: range, at: place)
                }
            }
        }
    }

    /// Looks `block` up in one checked node, which the level above says covers `range`.
    private func look(
        in node: RawSpan, for block: LogicalBlock, within range: Range<LogicalBlock>,
        at place: Corruption.Place
    ) throws(Ext4Error) -> Step {
        let count = ExtentNode.count(node)
        let depth = Int(node[ExtentNode.Header.depth])
        let hit = ExtentNode.search(node, block)
        let following = (hit ?? -1) + 1
        // Up to where the answer holds: the next entry, or the end of the node.
        let limit = following < count ? ExtentNode.key(node, following) : range.upperBound
        guard count == 0 || ExtentNode.key(node, 0) >= range.lowerBound, limit <= range.upperBound
        else {
            throw .corrupt(
                .extentNode, at: place, .broken("it holds blocks that the node above leads past"))
        }
        guard let hit else {
            return .found(hole(from: range.lowerBound, to: limit))
        }
        if depth > 0 {
            return .below(
                ExtentNode.child(node, hit), depth: depth - 1,
                range: ExtentNode.key(node, hit)..<limit)
        }
        let extent = ExtentNode.extent(node, hit)
        guard extent.end <= range.upperBound else {
            throw .corrupt(
                .extentNode, at: place, .broken("it holds blocks that the node above leads past"))
        }
        return .found(extent.contains(block) ? extent : hole(from: extent.end, to: limit))
    }

    private func hole(from start: LogicalBlock, to end: LogicalBlock) -> BlockRun {
        BlockRun(logical: start, count: end.rawValue - start.rawValue, state: .hole)
    }
}
