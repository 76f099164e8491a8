// Adding a name to an indexed directory: to the leaf where its hash belongs. A full leaf is split
// by hash, and the new one enters the node above it; a full node is split in two as well, up to
// the root, which when it is full itself gets a new node below it with all its entries.
//
//   root  [ .., h1, h2 ]            root  [ .., h1, h2 ]             an entry of a node leads to
//           |   |   |                       |   |   |                names from its hash on; with the
//   nodes  ...  N  ...      ->      nodes  ...  N   N' ...           lowest bit set, names of that
//             |  |                            |  |  |                same hash stand in the leaf
//   leaves    a  b (full)           leaves    a  b  b'               before it too

extension HTreeIndex {
    /// Adds an entry; see `Directory.insert` for what it throws.
    func insert(
        _ name: RawSpan, _ target: DirectoryRecord.Target, in handle: inout Handle,
        grow: Directory.Grow
    ) throws(Ext4Error) {
        guard let hash = hash.hash(of: name)?.major else { throw .notSupported }
        let path = try path(to: hash)
        let block = try leaf(of: path)
        let buffer = try directory.buffer(of: block)
        let size = DirectoryRecord.size(nameLength: name.byteCount, hasHash: false)
        let pass = try buffer.withBytes { (bytes) throws(Ext4Error) in
            try directory.checkTail(bytes, of: block)
            return try directory.scan(bytes, of: block, for: name, needing: size)
        }
        guard pass.found == nil else { throw .exists }
        try checkFollowing(path, name, hash: hash)
        if let room = pass.room {
            directory.add(name, target, at: room, in: buffer, &handle)
            return
        }
        let split = try buffer.withBytes { (bytes) throws(Ext4Error) in
            try LeafSplit(
                bytes, of: block, from: 0, adding: name, target, hash: hash, by: self.hash,
                in: directory)
        }
        // What removals left in pieces is put together, when it is enough for some more names.
        let end = directory.format.entriesEnd
        if split.byteCount <= end - end / 8 {
            handle.preserve(buffer)
            handle.modify(buffer, seal: directory.leafSeal) { split.writeAll(to: &$0) }
            return
        }
        try self.split(path, buffer, split, in: &handle, grow: grow)
    }

    /// Looks for `name` in the leaves in which names with the same hash go on.
    private func checkFollowing(
        _ start: [Frame], _ name: RawSpan, hash: UInt32
    ) throws(Ext4Error) {
        var path = start
        var passed: Set<LogicalBlock> = []
        while try advance(&path, within: hash) {
            let block = try leaf(of: path)
            let found = try directory.locate(name, in: block, directory.buffer(of: block))
            guard found == nil else { throw .exists }
            try pass(block, &passed)
        }
    }

    // MARK: Splitting

    /// Splits the leaf at the end of `path`.
    private func split(
        _ path: [Frame], _ leaf: Buffer, _ split: LeafSplit, in handle: inout Handle,
        grow: Directory.Grow
    ) throws(Ext4Error) {
        let bounds = bounds(of: path)
        guard split.isPossible, split.bound >= bounds.lower ?? 0,
            split.bound <= bounds.upper ?? .max
        else {
            throw .corrupt(
                .directoryBlock,
                at: .init(inode: directory.owner.inode, logicalBlock: try self.leaf(of: path)),
                .broken("it holds names that the index leads past"))
        }
        var new = try newBlocks(for: path, in: &handle, grow: grow)
        var path = path
        if !path.contains(where: { $0.node.hasRoom }) {
            path = try deepen(path, to: new.removeLast(), in: &handle)
        }
        guard let upper = new.popLast() else { throw .noSpace }
        handle.preserve(leaf)
        handle.modify(upper.1, seal: directory.leafSeal) { split.writeUpper(to: &$0) }
        handle.modify(leaf, seal: directory.leafSeal) { split.writeLower(to: &$0) }

        var bound = split.bound
        var child = upper.0
        while let frame = path.popLast() {
            handle.preserve(frame.buffer)
            if frame.node.hasRoom {
                insert(bound, child, behind: frame, in: &handle)
                return
            }
            // `newBlocks` made as many blocks as there are full nodes below one with room.
            guard let node = new.popLast() else { throw .noSpace }
            bound = try self.split(frame, adding: (bound, child), to: node, in: &handle)
            child = node.0
        }
    }

    /// Appends the blocks that a split needs: the leaf, one for each full node above it up to one
    /// with room, and one more when there is none up to the root.
    private func newBlocks(
        for path: [Frame], in handle: inout Handle, grow: Directory.Grow
    ) throws(Ext4Error) -> [(LogicalBlock, Buffer)] {
        var count = path.count + 1
        if let level = path.lastIndex(where: { $0.node.hasRoom }) {
            count = path.count - level
        } else {
            let deepest = HTreeNode.maximumLevels(directory.reader.superblock)
            guard root.indirectLevels < deepest else { throw .noSpace }
        }
        var blocks: [(LogicalBlock, Buffer)] = []
        for _ in 0..<count {
            let block = try grow(&handle)
            // A node has 28 bits for a block.
            guard HTreeNode.canLead(to: block.0) else { throw .noSpace }
            blocks.append(block)
        }
        return blocks
    }

    /// Puts a new entry behind the one that `frame` took; its node has room.
    private func insert(
        _ bound: UInt32, _ child: LogicalBlock, behind frame: Frame, in handle: inout Handle
    ) {
        let seal = Buffer.Seal.htreeNode(directory.owner, isRoot: frame.node.root != nil)
        handle.modify(frame.buffer, seal: seal) {
            frame.node.insert(bound, child, at: frame.index + 1, in: &$0)
        }
    }

    /// Moves the upper half of a full node to a new one, and puts a new entry behind the one that
    /// `frame` took, which is in either of them now.
    ///
    /// - Returns: the hash that leads to the new node.
    private func split(
        _ frame: Frame, adding entry: (bound: UInt32, child: LogicalBlock),
        to new: (block: LogicalBlock, buffer: Buffer), in handle: inout Handle
    ) throws(Ext4Error) -> UInt32 {
        let format = directory.format
        let seal = Buffer.Seal.htreeNode(directory.owner, isRoot: false)
        let middle = frame.node.count / 2
        let (bound, upper) = frame.buffer.withBytes { bytes in
            (frame.node.hash(bytes, middle), frame.node.entries(bytes, from: middle))
        }
        handle.modify(new.buffer, seal: seal) {
            HTreeNode.writeInner(upper, in: &$0, format: format)
        }
        handle.modify(frame.buffer, seal: seal) { frame.node.truncate(to: middle, in: &$0) }
        let isUpper = frame.index >= middle
        let half = try self.frame(
            isUpper ? new.buffer : frame.buffer, isRoot: false,
            index: isUpper ? frame.index - middle : frame.index)
        insert(entry.bound, entry.child, behind: half, in: &handle)
        return bound
    }

    /// Moves all entries of the root to a new node below it.
    ///
    /// - Returns: the way with that node on it.
    private func deepen(
        _ path: [Frame], to new: (block: LogicalBlock, buffer: Buffer), in handle: inout Handle
    ) throws(Ext4Error) -> [Frame] {
        guard let root = path.first else { return path }
        let format = directory.format
        let all = root.buffer.withBytes { root.node.entries($0, from: 0) }
        handle.preserve(root.buffer)
        handle.modify(new.buffer, seal: .htreeNode(directory.owner, isRoot: false)) {
            HTreeNode.writeInner(all, in: &$0, format: format)
        }
        handle.modify(root.buffer, seal: .htreeNode(directory.owner, isRoot: true)) {
            root.node.deepen(to: new.block, in: &$0)
        }
        let above = try frame(root.buffer, isRoot: true, index: 0)
        let below = try frame(new.buffer, isRoot: false, index: root.index)
        return [above, below] + path.dropFirst()
    }

    /// A node as it is now.
    private func frame(
        _ buffer: Buffer, isRoot: Bool, index: Int
    ) throws(Ext4Error) -> Frame {
        let node = try buffer.withBytes { (bytes) throws(Ext4Error) in
            try directory.node(bytes, isRoot: isRoot, at: .init(inode: directory.owner.inode))
        }
        return Frame(buffer: buffer, node: node, index: index)
    }
}
