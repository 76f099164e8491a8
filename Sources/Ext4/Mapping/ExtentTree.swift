/// The map of a file by extents: where each of its blocks is.
struct ExtentTree: Sendable {
    let reader: BlockReader
    let owner: BlockOwner
    /// The root, of the inode.
    let root: MapRoot

    /// Where the search for a block has come to.
    private struct Position {
        /// The entry of the node, -1 when all of them start behind the block.
        var slot: Int
        /// What the entry is about, up to the next one; in front of the first one, up to there.
        var range: Range<LogicalBlock>
        /// The node that the entry leads to; nil in a leaf, and in front of the first entry.
        var child: BlockNumber?
    }

    /// The whole of a file.
    private static let whole = LogicalBlock(0)..<LogicalBlock.end

    /// The run that holds `block`: an extent, or the hole between two.
    ///
    /// A hole may be cut where a node ends, though it goes on in the next.
    func run(at block: LogicalBlock) throws(Ext4Error) -> BlockRun {
        guard block < .end else { return .hole(from: block) }
        try checkRoot()
        var position = try root.withBytes { (node) throws(Ext4Error) in
            try look(in: node, for: block, within: Self.whole, at: .init(inode: owner.inode))
        }
        var depth = self.depth
        // The depth falls by one a step, as each node is checked to say: the loop ends.
        while let child = position.child {
            depth &-= 1
            let buffer = try node(child, depth: depth)
            position = try buffer.withBytes { (node) throws(Ext4Error) in
                try look(
                    in: node, for: block, within: position.range,
                    at: .init(inode: owner.inode, block: child))
            }
            if position.child == nil {
                return buffer.withBytes { run(at: block, in: $0, position) }
            }
        }
        return root.withBytes { run(at: block, in: $0, position) }
    }

    /// The way down to the leaf that holds `block` or would hold it.
    ///
    /// In front of everything that a node holds it goes on to the node's first child.
    func path(to block: LogicalBlock) throws(Ext4Error) -> ExtentPath {
        try checkRoot()
        var path = ExtentPath()
        var position = try root.withBytes { (node) throws(Ext4Error) in
            try step(in: node, for: block, within: Self.whole, at: .init(inode: owner.inode))
        }
        var depth = self.depth
        while let child = position.child {
            depth &-= 1
            let buffer = try node(child, depth: depth)
            path.descend(by: position.slot, to: buffer, holding: position.range)
            position = try buffer.withBytes { (node) throws(Ext4Error) in
                try step(
                    in: node, for: block, within: position.range,
                    at: .init(inode: owner.inode, block: child))
            }
        }
        path[slot: path.depth] = position.slot
        return path
    }

    /// Levels below the root.
    private var depth: Int { root.withBytes { Int($0[ExtentNode.Header.depth]) } }

    /// Checks the root, as `node(_:depth:)` does the nodes below.
    func checkRoot() throws(Ext4Error) {
        try root.withBytes { (root) throws(Ext4Error) in
            try ExtentNode.check(
                root, depth: nil, owner: owner, superblock: reader.superblock,
                verifiesChecksum: false, at: .init(inode: owner.inode))
        }
    }

    /// The node in `block`, checked, with `depth` levels below it.
    func node(_ block: BlockNumber, depth: Int) throws(Ext4Error) -> Buffer {
        let place = Corruption.Place(inode: owner.inode, block: block)
        let buffer = try reader.buffer(of: block, for: .extentNode, at: place)
        try buffer.verify(as: .init(.extentNode, owner: owner.inode, detail: depth)) {
            (node) throws(Ext4Error) in
            try ExtentNode.check(
                node, depth: depth, owner: owner, superblock: reader.superblock,
                verifiesChecksum: reader.checksBlocks, at: place)
        }
        return buffer
    }

    /// Looks `block` up in one checked node, which the level above says covers `range`.
    private func look(
        in node: RawSpan, for block: LogicalBlock, within range: Range<LogicalBlock>,
        at place: Corruption.Place
    ) throws(Ext4Error) -> Position {
        let count = ExtentNode.count(node)
        let slot = ExtentNode.search(node, block) ?? -1
        let following = slot &+ 1
        // Up to where the answer holds: the next entry, or the end of the node.
        let limit = following < count ? ExtentNode.key(node, following) : range.upperBound
        guard count == 0 || ExtentNode.key(node, 0) >= range.lowerBound, limit <= range.upperBound
        else { throw overreach(at: place) }
        guard slot >= 0 else {
            return Position(slot: -1, range: range.lowerBound..<limit)
        }
        let key = ExtentNode.key(node, slot)
        if node[ExtentNode.Header.depth] > 0 {
            return Position(
                slot: slot, range: key..<limit, child: ExtentNode.child(node, slot))
        }
        guard ExtentNode.extent(node, slot).end <= range.upperBound else {
            throw overreach(at: place)
        }
        return Position(slot: slot, range: key..<limit)
    }

    /// As `look`, but in front of all entries of an inner node it is the first one.
    private func step(
        in node: RawSpan, for block: LogicalBlock, within range: Range<LogicalBlock>,
        at place: Corruption.Place
    ) throws(Ext4Error) -> Position {
        let position = try look(in: node, for: block, within: range, at: place)
        guard position.slot < 0, node[ExtentNode.Header.depth] > 0 else { return position }
        return try look(in: node, for: ExtentNode.key(node, 0), within: range, at: place)
    }

    private func overreach(at place: Corruption.Place) -> Ext4Error {
        .corrupt(
            .extentNode, at: place, .broken("it holds blocks that the node above leads past"))
    }

    /// The answer for `block`, which led to `position` in a leaf, or in front of all there is.
    private func run(at block: LogicalBlock, in node: RawSpan, _ position: Position) -> BlockRun {
        guard position.slot >= 0 else { return Self.hole(position.range) }
        let extent = ExtentNode.extent(node, position.slot)
        return extent.contains(block)
            ? extent : Self.hole(extent.end..<position.range.upperBound)
    }

    private static func hole(_ range: Range<LogicalBlock>) -> BlockRun {
        BlockRun(
            logical: range.lowerBound,
            count: range.upperBound.rawValue &- range.lowerBound.rawValue, state: .hole)
    }
}
