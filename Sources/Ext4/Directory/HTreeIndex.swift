/// The index of a directory: from a name's hash to the block that holds the name.
struct HTreeIndex {
    private let directory: Directory
    private let root: HTreeNode.Root
    /// The hash by which the index orders names.
    let hash: DirectoryHash

    /// The index of `directory`, or nil when its hash cannot be computed here: an unknown version,
    /// or one that needs a key or the folding of names. Look-ups go through all blocks then.
    init?(_ directory: Directory) throws(Ext4Error) {
        let superblock = directory.reader.superblock
        let place = Corruption.Place(
            inode: directory.owner.inode, logicalBlock: LogicalBlock(0))
        let buffer = try directory.buffer(of: LogicalBlock(0))
        let node = try buffer.withBytes { (bytes) throws(Ext4Error) in
            try directory.node(bytes, isRoot: true, at: place)
        }
        guard let root = node.root, !directory.flags.contains(.casefold) else { return nil }
        let version = DirectoryHash.Version(rawValue: root.hashVersion)
            .resolved(isUnsigned: superblock.flags & 2 != 0)
        guard version.isKnown, version != .sipHash, superblock.hashSeed.count == 4 else {
            directory.reader.log(
                .debug,
                "directory \(directory.owner.inode): no look-ups by hash version \(root.hashVersion)"
            )
            return nil
        }
        self.directory = directory
        self.root = root
        let seed = superblock.hashSeed
        hash = DirectoryHash(version, seed: (seed[0], seed[1], seed[2], seed[3]))
    }

    /// A node on the way down and the entry of it that the way takes.
    private struct Frame {
        let buffer: Buffer
        let node: HTreeNode
        var index: Int
    }

    /// The entry named `name`, or nil.
    func find(_ name: RawSpan) throws(Ext4Error) -> DirectoryRecord? {
        guard let wanted = hash.hash(of: name)?.major else { return nil }
        return try find(wanted) { $0.isEqual(to: name) }
    }

    /// The entry of an encrypted directory that is shown as `name`, or nil. Such a name brings the
    /// hash of what it stands for.
    func find(_ name: EncryptedName) throws(Ext4Error) -> DirectoryRecord? {
        try find(name.hash.major) { name.matches(ciphertext: $0) }
    }

    /// The first entry that `isWanted` among those whose names have the hash `wanted`, or nil.
    private func find(
        _ wanted: UInt32, _ isWanted: (RawSpan) -> Bool
    ) throws(Ext4Error) -> DirectoryRecord? {
        var frames = [try frame(of: LogicalBlock(0), isRoot: true, hash: wanted)]
        try descend(&frames, hash: wanted)
        // Names with the same hash may go on in the next leaf, which says so in its entry's lowest
        // bit. A sound index leads to each leaf once.
        var passed: Set<LogicalBlock> = []
        while let leaf = frames.last {
            let block = try checked(leaf.buffer.withBytes { leaf.node.block($0, leaf.index) })
            let found = try directory.find(in: block, isWanted)
            if let found { return found }
            guard try advance(&frames, hash: wanted) else { return nil }
            guard passed.insert(block).inserted else {
                throw .corrupt(
                    .htreeNode, at: .init(inode: directory.owner.inode, logicalBlock: block),
                    .cycle)
            }
        }
        return nil
    }

    /// Goes down from the last frame to the level above the leaves, to where `hash` belongs.
    private func descend(_ frames: inout [Frame], hash: UInt32?) throws(Ext4Error) {
        while frames.count <= root.indirectLevels, let last = frames.last {
            let block = last.buffer.withBytes { last.node.block($0, last.index) }
            frames.append(try frame(of: try checked(block), isRoot: false, hash: hash))
        }
    }

    /// Moves to the next leaf when it may hold names of the same hash.
    private func advance(_ frames: inout [Frame], hash: UInt32) throws(Ext4Error) -> Bool {
        while let last = frames.last, last.index + 1 >= last.node.count { frames.removeLast() }
        guard var frame = frames.popLast() else { return false }
        frame.index += 1
        let bound = frame.buffer.withBytes { frame.node.hash($0, frame.index) }
        frames.append(frame)
        guard bound & 1 == 1, bound & ~1 == hash else { return false }
        try descend(&frames, hash: nil)
        return true
    }

    private func frame(
        of block: LogicalBlock, isRoot: Bool, hash: UInt32?
    ) throws(Ext4Error) -> Frame {
        let buffer = try directory.buffer(of: block)
        return try buffer.withBytes { (bytes) throws(Ext4Error) in
            let node = try directory.node(
                bytes, isRoot: isRoot,
                at: .init(inode: directory.owner.inode, logicalBlock: block))
            return Frame(
                buffer: buffer, node: node, index: hash.map { node.search(bytes, $0) } ?? 0)
        }
    }

    /// A leaf's or a node's number: not that of the root, and inside the directory.
    private func checked(_ block: LogicalBlock) throws(Ext4Error) -> LogicalBlock {
        guard block.rawValue > 0, block.rawValue < directory.blockCount else {
            throw .corrupt(
                .htreeNode, at: .init(inode: directory.owner.inode),
                .field(
                    "block", value: block.rawValue,
                    rule: "1 to \(directory.blockCount), the directory's blocks"))
        }
        return block
    }
}
