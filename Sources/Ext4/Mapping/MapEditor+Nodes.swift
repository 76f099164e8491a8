// Changing the nodes of an extent tree so that it stays one, whatever happens in a leaf: nodes
// that overflow are split, up to a root that grows; nodes that become empty go, and a tree that is
// small enough moves back into the inode.

/// What takes the place of some entries of a node.
private enum NodeEntries {
    case none
    case extents(RunList)
    case child(BlockNumber, key: LogicalBlock)

    var count: Int {
        switch self {
        case .none: 0
        case .extents(let runs): runs.count
        case .child: 1
        }
    }

    /// Makes them the entries of `node` from `index` on.
    func store(at index: Int, of node: inout MutableRawSpan) {
        switch self {
        case .none: break
        case .extents(let runs):
            for i in 0..<runs.count {
                ExtentNode.setExtent(runs[i], at: index &+ i, of: &node)
            }
        case .child(let block, let key):
            ExtentNode.setChild(block, from: key, at: index, of: &node)
        }
    }
}

extension MapEditor {
    /// Runs `body` on the node at `level`.
    @inline(__always)
    func withNode<Result, Failure: Error>(
        _ level: Int, of path: borrowing ExtentPath, _ body: (RawSpan) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        if let buffer = path.buffer(level) {
            return try buffer.withBytes(body)
        }
        return try root.withBytes(body)
    }

    /// Changes the node at `level`; of its entries only those in `slots`, where they are given.
    private mutating func modify(
        _ level: Int, of path: borrowing ExtentPath, only slots: Range<Int>? = nil,
        in handle: inout Handle, _ body: (inout MutableRawSpan) -> Void
    ) {
        guard let buffer = path.buffer(level) else {
            rootChanged = true
            return root.withMutableBytes(body)
        }
        handle.preserve(buffer, slots.map { ExtentNode.bytes(of: $0) })
        handle.modify(buffer, seal: .extentNode(owner, depth: path.depth &- level), body)
    }

    /// Puts `runs` in the place of `slots` of the leaf that `path` leads to, which is of no more
    /// use after that.
    mutating func replace(
        _ slots: Range<Int>, of path: inout ExtentPath, with runs: RunList,
        in handle: inout Handle
    ) throws(Ext4Error) {
        let level = path.depth
        if slots.count > runs.count { hasShrunk = true }
        let (count, maximum) = room(level, of: path)
        let total = count &- slots.count &+ runs.count
        if total == 0, level > 0 {
            try removeNode(at: level, of: path, in: &handle)
        } else if total > maximum {
            try overflow(slots, of: &path, with: runs, in: &handle)
        } else {
            put(.extents(runs), inPlaceOf: slots, at: level, of: path, in: &handle)
        }
    }

    /// The number of entries of a node, and how many it has room for.
    private func room(_ level: Int, of path: borrowing ExtentPath) -> (count: Int, maximum: Int) {
        withNode(level, of: path) {
            (ExtentNode.count($0), Int($0[ExtentNode.Header.maximum]))
        }
    }

    /// Puts entries into a node that has room for them, and is not empty then unless it is the
    /// root.
    private mutating func put(
        _ entries: NodeEntries, inPlaceOf slots: Range<Int>, at level: Int,
        of path: borrowing ExtentPath,
        in handle: inout Handle
    ) {
        if entries.count == slots.count {
            modify(level, of: path, only: slots, in: &handle) {
                entries.store(at: slots.lowerBound, of: &$0)
            }
        } else {
            modify(level, of: path, in: &handle) { node in
                ExtentNode.resize(slots, to: entries.count, in: &node)
                entries.store(at: slots.lowerBound, of: &node)
            }
        }
        if slots.lowerBound == 0 { updateKeys(above: level, of: path, in: &handle) }
    }

    /// Brings the keys that lead to the node at `level` in line with its first entry.
    private mutating func updateKeys(
        above level: Int, of path: borrowing ExtentPath, in handle: inout Handle
    ) {
        guard level > 0 else { return }
        let key = withNode(level, of: path) { ExtentNode.key($0, 0) }
        var level = level
        while level > 0 {
            level &-= 1
            let slot = path[slot: level]
            let old = withNode(level, of: path) { ExtentNode.key($0, slot) }
            guard old != key else { return }
            modify(level, of: path, only: slot..<slot &+ 1, in: &handle) {
                ExtentNode.setKey(key, at: slot, of: &$0)
            }
            // The key above is about the first entry of this node.
            guard slot == 0 else { return }
        }
    }

    // MARK: Less

    /// Frees the node at `level`, which is to have no entry left, and those above that become
    /// empty with it.
    private mutating func removeNode(
        at level: Int, of path: borrowing ExtentPath, in handle: inout Handle
    ) throws(Ext4Error) {
        var level = level
        repeat {
            guard let buffer = path.buffer(level) else { break }
            try freeBlock(buffer.block, in: &handle)
            level &-= 1
        } while room(level, of: path).count == 1
        let slot = path[slot: level]
        put(.none, inPlaceOf: slot..<slot &+ 1, at: level, of: path, in: &handle)
        if level == 0, room(0, of: path).count == 0 {
            modify(0, of: path, in: &handle) { $0[ExtentNode.Header.depth] = 0 }
        }
    }

    /// Moves the contents of the root's only child into the root, as long as there is room.
    mutating func collapse(in handle: inout Handle) throws(Ext4Error) {
        guard hasShrunk else { return }
        hasShrunk = false
        while true {
            let (depth, only, maximum) = root.withBytes { node in
                (
                    Int(node[ExtentNode.Header.depth]),
                    ExtentNode.count(node) == 1 ? ExtentNode.child(node, 0) : nil,
                    Int(node[ExtentNode.Header.maximum])
                )
            }
            guard depth > 0, let only else { return }
            // The depth falls by one a step.
            let child = try tree.node(only, depth: depth &- 1)
            let count = child.withBytes { ExtentNode.count($0) }
            guard count <= maximum else { return }
            try freeBlock(only, in: &handle)
            let entries = child.withBytes { $0.copy(0..<ExtentNode.entrySize &* (count &+ 1)) }
            rootChanged = true
            root.withMutableBytes { node in
                ExtentNode.setCount(count, of: &node)
                node[ExtentNode.Header.depth] = UInt16(truncatingIfNeeded: depth &- 1)
                unsafe ExtentNode.copyEntries(
                    0..<count, of: entries.span.bytes, to: 0, of: &node)
            }
        }
    }

    // MARK: More

    /// Puts `runs` into a leaf that has no room for them.
    private mutating func overflow(
        _ slots: Range<Int>, of path: inout ExtentPath, with runs: RunList,
        in handle: inout Handle
    ) throws(Ext4Error) {
        // Each node that is split asks for one entry more above it.
        var splits = 0
        var level = path.depth
        var isFull = true
        while level > 0, isFull {
            splits &+= 1
            level &-= 1
            let (count, maximum) = room(level, of: path)
            isFull = count >= maximum
        }
        // A root has no neighbour: what it holds moves down, to where there is more room.
        let grows = level == 0 && isFull
        guard !grows || path.depth < ExtentNode.maximumDepth else { throw .fileTooLarge }
        let goal = path.buffer(path.depth)?.block ?? runs[0].start ?? BlockNumber(0)
        var fresh: [BlockNumber] = []
        for _ in 0..<splits &+ (grows ? 1 : 0) {
            fresh.append(try allocateBlock(near: fresh.last ?? goal, in: &handle))
        }
        // From here on nothing fails.
        if grows, let block = fresh.popLast() { grow(into: block, &path, in: &handle) }
        var slots = slots
        var entries = NodeEntries.extents(runs)
        level = path.depth
        while let block = fresh.popLast() {
            let key = split(
                at: level, of: path, into: block, with: entries, inPlaceOf: slots, in: &handle)
            level &-= 1
            let slot = path[slot: level] &+ 1
            slots = slot..<slot
            entries = .child(block, key: key)
        }
        put(entries, inPlaceOf: slots, at: level, of: path, in: &handle)
    }

    /// Moves the contents of the root to `block`, which becomes the root's only child.
    private mutating func grow(
        into block: BlockNumber, _ path: inout ExtentPath, in handle: inout Handle
    ) {
        let old = root
        let (count, depth, key) = old.withBytes { node in
            let count = ExtentNode.count(node)
            return (
                count, Int(node[ExtentNode.Header.depth]),
                count > 0 ? ExtentNode.key(node, 0) : LogicalBlock(0)
            )
        }
        let capacity = ExtentNode.capacity(blockSize: reader.superblock.blockSize)
        let buffer = handle.fresh(
            block, in: reader.cache, seal: .extentNode(owner, depth: depth))
        handle.modify(buffer) { node in
            ExtentNode.writeHeader(to: &node, count: count, maximum: capacity, depth: depth)
            old.withBytes { ExtentNode.copyEntries(0..<count, of: $0, to: 0, of: &node) }
        }
        rootChanged = true
        root.withMutableBytes { node in
            ExtentNode.setCount(1, of: &node)
            node[ExtentNode.Header.depth] = UInt16(truncatingIfNeeded: depth &+ 1)
            ExtentNode.setChild(block, from: key, at: 0, of: &node)
        }
        path.grow(by: buffer)
    }

    /// Splits the node at `level`, with `entries` in the place of `slots`, in two: the second half
    /// goes to `block`, and its key is returned.
    private mutating func split(
        at level: Int, of path: borrowing ExtentPath, into block: BlockNumber,
        with entries: NodeEntries,
        inPlaceOf slots: Range<Int>, in handle: inout Handle
    ) -> LogicalBlock {
        let old = withNode(level, of: path) { $0.copy() }
        let (count, maximum) = room(level, of: path)
        let total = count &- slots.count &+ entries.count
        let capacity = ExtentNode.capacity(blockSize: reader.superblock.blockSize)

        // All entries in one node that is large enough.
        var whole = [UInt8](repeating: 0, count: ExtentNode.entrySize &* (total &+ 1))
        do {
            var span = whole.mutableSpan
            var node = unsafe span.mutableBytes
            unsafe ExtentNode.copyEntries(
                0..<slots.lowerBound, of: old.span.bytes, to: 0, of: &node)
            entries.store(at: slots.lowerBound, of: &node)
            unsafe ExtentNode.copyEntries(
                slots.upperBound..<count, of: old.span.bytes,
                to: slots.lowerBound &+ entries.count, of: &node)
        }

        // Where a file grows at its end the nodes stay full, and where it grows downwards too.
        let isAtStart =
            unsafe slots.isEmpty && slots.lowerBound == 0
            && ExtentNode.key(whole.span.bytes, 0) < ExtentNode.key(old.span.bytes, 0)
        let wanted =
            if slots.upperBound == count { maximum } else if isAtStart { 1 } else { total / 2 }
        let left = max(1, total &- capacity, min(wanted, maximum, total &- 1))

        let depth = path.depth &- level
        let right = handle.fresh(
            block, in: reader.cache, seal: .extentNode(owner, depth: depth))
        handle.modify(right) { node in
            ExtentNode.writeHeader(
                to: &node, count: total &- left, maximum: capacity, depth: depth)
            unsafe ExtentNode.copyEntries(left..<total, of: whole.span.bytes, to: 0, of: &node)
        }
        modify(level, of: path, in: &handle) { node in
            ExtentNode.setCount(left, of: &node)
            unsafe ExtentNode.copyEntries(0..<left, of: whole.span.bytes, to: 0, of: &node)
        }
        if slots.lowerBound == 0 { updateKeys(above: level, of: path, in: &handle) }
        return unsafe ExtentNode.key(whole.span.bytes, left)
    }
}
