/// The index of a directory: from a name's hash to the block that holds the name.
struct HTreeIndex {
    let directory: Directory
    let root: HTreeNode.Root
    /// The hash by which the index orders names.
    let hash: DirectoryHash
    /// The root, and its first entry.
    let rootFrame: Frame

    /// A node on the way down and the entry of it that the way takes.
    struct Frame {
        let buffer: Buffer
        let node: HTreeNode
        var index: Int
    }

    /// The index of `directory`, or nil when its hash cannot be computed here: an unknown version,
    /// or one that needs a key or the folding of names. Look-ups go through all blocks then.
    init?(_ directory: Directory) throws(Ext4Error) {
        let buffer = try directory.buffer(of: LogicalBlock(0))
        let node = try buffer.withBytes { (bytes) throws(Ext4Error) in
            try directory.node(
                bytes, isRoot: true,
                at: .init(inode: directory.owner.inode, logicalBlock: LogicalBlock(0)))
        }
        guard let root = node.root,
            let hash = DirectoryHash(version: root.hashVersion, of: directory)
        else {
            directory.reader.log(
                .debug,
                "directory \(directory.owner.inode): no look-ups by hash version \(node.root?.hashVersion ?? 0)"
            )
            return nil
        }
        self.directory = directory
        self.root = root
        self.hash = hash
        rootFrame = Frame(buffer: buffer, node: node, index: 0)
    }

    // MARK: Look-ups

    /// Where the entry named `name` stands, or nil.
    func locate(_ name: RawSpan) throws(Ext4Error) -> Directory.Location? {
        guard let wanted = hash.hash(of: name)?.major else { return nil }
        var path = try path(to: wanted)
        var passed: Set<LogicalBlock> = []
        while true {
            let block = try leaf(of: path)
            let found = try directory.locate(name, in: block, directory.buffer(of: block))
            if let found { return found }
            guard try advance(&path, within: wanted) else { return nil }
            try pass(block, &passed)
        }
    }

    /// Where the entry of an encrypted directory stands that is shown as `name`, or nil. Such a
    /// name brings the hash of what it stands for.
    func locate(_ name: EncryptedName) throws(Ext4Error) -> Directory.Location? {
        var path = try path(to: name.hash.major)
        var passed: Set<LogicalBlock> = []
        while true {
            let block = try leaf(of: path)
            let found = try directory.locate(name, in: block, directory.buffer(of: block))
            if let found { return found }
            guard try advance(&path, within: name.hash.major) else { return nil }
            try pass(block, &passed)
        }
    }

    /// Notes that a walk came by a leaf: a sound index leads to each of them once.
    func pass(
        _ block: LogicalBlock, _ passed: inout Set<LogicalBlock>
    ) throws(Ext4Error) {
        guard passed.insert(block).inserted else {
            throw .corrupt(
                .htreeNode, at: .init(inode: directory.owner.inode, logicalBlock: block), .cycle)
        }
    }

    // MARK: Ways through the tree

    /// The way from the root to the level above the leaves, to where `hash` belongs.
    func path(to hash: UInt32) throws(Ext4Error) -> [Frame] {
        var path: [Frame] = []
        path.reserveCapacity(root.indirectLevels + 2)
        var frame = rootFrame
        frame.index = frame.buffer.withBytes { frame.node.search($0, hash) }
        path.append(frame)
        try descend(&path, hash: hash)
        return path
    }

    /// The leaf that the way leads to.
    func leaf(of path: [Frame]) throws(Ext4Error) -> LogicalBlock {
        guard let last = path.last else { return LogicalBlock(0) }
        return try checked(last.buffer.withBytes { last.node.block($0, last.index) })
    }

    /// Goes down from the last frame to the level above the leaves, to where `hash` belongs; to the
    /// first leaf with nil.
    private func descend(_ path: inout [Frame], hash: UInt32?) throws(Ext4Error) {
        while path.count <= root.indirectLevels {
            path.append(try frame(of: try leaf(of: path), hash: hash))
        }
    }

    /// Moves to the next leaf when it may hold names of the same hash: that says the lowest bit of
    /// its entry.
    func advance(_ path: inout [Frame], within hash: UInt32) throws(Ext4Error) -> Bool {
        guard let bound = bounds(of: path).upper, bound & 1 == 1, bound & ~1 == hash else {
            return false
        }
        return try advance(&path)
    }

    /// Moves to the next leaf, if there is one.
    func advance(_ path: inout [Frame]) throws(Ext4Error) -> Bool {
        guard let level = path.lastIndex(where: { $0.index + 1 < $0.node.count }) else {
            return false
        }
        path.removeSubrange((level + 1)...)
        path[level].index += 1
        try descend(&path, hash: nil)
        return true
    }

    /// The hashes from which on, and up to which, the leaf has its names, as the entries say it:
    /// with the bit that tells of names that go on from the leaf before. Nil where nothing bounds.
    func bounds(of path: [Frame]) -> (lower: UInt32?, upper: UInt32?) {
        var lower: UInt32?
        var upper: UInt32?
        for frame in path.reversed() {
            if lower == nil, frame.index > 0 {
                lower = frame.buffer.withBytes { frame.node.hash($0, frame.index) }
            }
            if upper == nil, frame.index + 1 < frame.node.count {
                upper = frame.buffer.withBytes { frame.node.hash($0, frame.index + 1) }
            }
        }
        return (lower, upper)
    }

    func frame(of block: LogicalBlock, hash: UInt32?) throws(Ext4Error) -> Frame {
        let buffer = try directory.buffer(of: block)
        return try buffer.withBytes { (bytes) throws(Ext4Error) in
            let node = try directory.node(
                bytes, isRoot: false,
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

extension DirectoryHash {
    /// The hash by which the names of `directory` are ordered, of a version as the disk has it.
    ///
    /// - Returns: nil when it cannot be computed here: an unknown version, or one that needs a key
    ///   or the folding of names.
    init?(version: UInt8, of directory: Directory) {
        self.init(
            version: version, flags: directory.flags, superblock: directory.reader.superblock)
    }

    /// The hash of names in a directory with these flags.
    init?(version: UInt8, flags: InodeFlags, superblock: Superblock) {
        let version = Version(rawValue: version).resolved(isUnsigned: superblock.flags & 2 != 0)
        let seed = superblock.hashSeed
        guard version.isKnown, version != .sipHash, !flags.contains(.casefold), seed.count == 4
        else { return nil }
        self.init(version, seed: (seed[0], seed[1], seed[2], seed[3]))
    }
}
