// Moving the rest of a file with an extent tree: every key behind a point changes, in the leaves
// and in the nodes above them, and no entry leaves its node.

extension MapEditor {
    /// `shift` for an extent tree.
    mutating func shiftExtents(
        from start: LogicalBlock, by distance: Int64, in handle: inout Handle
    ) throws(Ext4Error) {
        guard start < .end, distance != 0, let last = try lastExtent(before: .end) else { return }
        let end = withNode(last.depth, of: last) { ExtentNode.extent($0, last.leafSlot).end }
        guard end > start else { return }
        if distance > 0 {
            guard distance.magnitude <= Self.extentsEnd.rawValue,
                end.rawValue &+ distance.magnitude <= Self.extentsEnd.rawValue
            else { throw .fileTooLarge }
            try cut(at: start, in: &handle)
        } else {
            guard distance.magnitude <= start.rawValue else { throw .invalidArgument }
            if let before = try lastExtent(before: start) {
                let end = withNode(before.depth, of: before) {
                    ExtentNode.extent($0, before.leafSlot).end
                }
                guard end.rawValue <= start.rawValue &- distance.magnitude else {
                    throw .invalidArgument
                }
            }
        }
        try tree.checkRoot()
        let shift = Shift(start: start, distance: distance)
        let depth = root.withBytes { Int($0[ExtentNode.Header.depth]) }
        let whole = LogicalBlock(0)..<LogicalBlock.end
        if depth == 0 {
            rootChanged = true
            root.withMutableBytes { shift.move(in: &$0) }
        } else {
            let old = root
            try old.withBytes { (node) throws(Ext4Error) in
                for slot in shift.firstSlot(in: node)..<ExtentNode.count(node) {
                    let key = try shiftNode(
                        Child(slot, of: node, before: whole.upperBound), depth: depth &- 1, shift,
                        in: &handle)
                    rootChanged = true
                    root.withMutableBytes { ExtentNode.setKey(key, at: slot, of: &$0) }
                }
            }
        }
        if distance < 0 {
            try join(at: shift.target(start), in: &handle)
            try collapse(in: &handle)
        }
    }

    /// A point, and how far everything from there on moves.
    private struct Shift {
        let start: LogicalBlock
        let distance: Int64

        func target(_ block: LogicalBlock) -> LogicalBlock {
            LogicalBlock(block.rawValue &+ UInt64(bitPattern: distance))
        }

        /// The first entry of an inner node that leads to something that moves.
        func firstSlot(in node: RawSpan) -> Int { max(ExtentNode.search(node, start) ?? 0, 0) }

        /// Moves the entries of a leaf.
        func move(in leaf: inout MutableRawSpan) {
            for slot in 0..<ExtentNode.count(leaf.bytes) {
                let key = ExtentNode.key(leaf.bytes, slot)
                if key >= start { ExtentNode.setKey(target(key), at: slot, of: &leaf) }
            }
        }
    }

    /// A node and the range that the entry above it leads to it for.
    private struct Child {
        let block: BlockNumber
        let range: Range<LogicalBlock>

        init(_ slot: Int, of node: RawSpan, before end: LogicalBlock) {
            let key = ExtentNode.key(node, slot)
            block = ExtentNode.child(node, slot)
            let next = slot &+ 1 < ExtentNode.count(node) ? ExtentNode.key(node, slot &+ 1) : end
            range = key..<max(key, next)
        }
    }

    /// Moves what stands in a node and below it.
    ///
    /// The depth falls by one a level, and as each node has to keep to its own range, none is come
    /// to twice.
    ///
    /// - Returns: the first block that the node is about now.
    /// - Throws: `.corrupt` also for an empty leaf, which has no place between those that move.
    private mutating func shiftNode(
        _ child: Child, depth: Int, _ shift: Shift, in handle: inout Handle
    ) throws(Ext4Error) -> LogicalBlock {
        let buffer = try tree.node(child.block, depth: depth)
        let (count, first, end) = buffer.withBytes { node -> (Int, LogicalBlock, LogicalBlock) in
            let count = ExtentNode.count(node)
            guard count > 0 else { return (0, child.range.lowerBound, child.range.lowerBound) }
            let last = ExtentNode.key(node, count &- 1)
            return (
                count, ExtentNode.key(node, 0),
                depth == 0 ? ExtentNode.extent(node, count &- 1).end : last
            )
        }
        guard count > 0 else {
            throw .corrupt(
                .extentNode, at: .init(inode: owner.inode, block: child.block),
                .field("eh_entries", value: 0, rule: "not 0 below a root"))
        }
        guard first >= child.range.lowerBound, end <= child.range.upperBound else {
            throw .corrupt(
                .extentNode, at: .init(inode: owner.inode, block: child.block),
                .broken("it holds blocks that the node above leads past"))
        }
        handle.preserve(buffer)
        if depth == 0 {
            handle.modify(buffer, seal: .extentNode(owner, depth: depth)) { shift.move(in: &$0) }
        } else {
            for slot in buffer.withBytes({ shift.firstSlot(in: $0) })..<count {
                let below = buffer.withBytes {
                    Child(slot, of: $0, before: child.range.upperBound)
                }
                let key = try shiftNode(below, depth: depth &- 1, shift, in: &handle)
                handle.modify(buffer, seal: .extentNode(owner, depth: depth)) {
                    ExtentNode.setKey(key, at: slot, of: &$0)
                }
            }
        }
        return buffer.withBytes { ExtentNode.key($0, 0) }
    }

    /// Cuts an extent that goes on over `block` into two.
    private mutating func cut(
        at block: LogicalBlock, in handle: inout Handle
    ) throws(Ext4Error) {
        var path = try tree.path(to: block)
        let slot = path.leafSlot
        guard slot >= 0 else { return }
        let extent = withNode(path.depth, of: path) { ExtentNode.extent($0, slot) }
        guard extent.logical < block, extent.contains(block) else { return }
        var runs = RunList()
        runs.add(extent.prefix(block.rawValue &- extent.logical.rawValue))
        runs.add(extent.suffix(from: block))
        try replace(slot..<slot &+ 1, of: &path, with: runs, in: &handle)
    }

    /// Joins the extents that meet at `block`, when they go on on the volume and are not too long.
    private mutating func join(
        at block: LogicalBlock, in handle: inout Handle
    ) throws(Ext4Error) {
        guard var left = try lastExtent(before: block) else { return }
        var right = try tree.path(to: block)
        guard right.leafSlot >= 0 else { return }
        let before = withNode(left.depth, of: left) { ExtentNode.extent($0, left.leafSlot) }
        let after = withNode(right.depth, of: right) { ExtentNode.extent($0, right.leafSlot) }
        guard after.logical == block, let merged = before.merged(with: after),
            merged.count <= ExtentNode.longest(merged)
        else { return }
        var runs = RunList()
        runs.add(merged)
        if left.buffer(left.depth)?.block == right.buffer(right.depth)?.block {
            try replace(
                left.leafSlot..<right.leafSlot &+ 1, of: &left, with: runs, in: &handle)
        } else {
            // The second leaf first: until then its range and that of the first are apart.
            try replace(
                right.leafSlot..<right.leafSlot &+ 1, of: &right, with: RunList(), in: &handle)
            left = try tree.path(to: before.logical)
            try replace(
                left.leafSlot..<left.leafSlot &+ 1, of: &left, with: runs, in: &handle)
        }
    }
}
