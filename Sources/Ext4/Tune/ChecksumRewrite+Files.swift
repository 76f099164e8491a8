// What files consist of besides their contents, the orphan file, and multi-mount protection.

extension ChecksumRewrite {
    // MARK: Extent trees

    /// The nodes of a file's tree, below its root.
    ///
    /// - Parameter collects: whether the file's blocks are wanted.
    /// - Returns: the runs of its blocks, in order.
    mutating func rewriteTree(
        of record: InodeRecord, _ owners: Owners, collects: Bool
    ) throws(Ext4Error) -> [BlockRun] {
        var walk = TreeWalk(owners: owners, collects: collects)
        let root = MapRoot(record)
        try root.withBytes { (node) throws(Ext4Error) in
            try ExtentNode.check(
                node, depth: nil, owner: owners.old, superblock: old, verifiesChecksum: false,
                at: .init(inode: owners.inode))
            try rewrite(below: node, &walk)
        }
        return walk.runs
    }

    /// A walk through a tree.
    private struct TreeWalk {
        let owners: Owners
        let collects: Bool
        var runs: [BlockRun] = []
        /// Nodes met, and blocks of the file.
        var nodes: UInt64 = 0
        var blocks: UInt64 = 0
    }

    /// What a checked node leads to; its depth falls by one a level.
    private func rewrite(below node: RawSpan, _ walk: inout TreeWalk) throws(Ext4Error) {
        let depth = Int(node[ExtentNode.Header.depth])
        guard depth > 0 || walk.collects else { return }
        for index in 0..<ExtentNode.count(node) {
            guard depth > 0 else {
                let run = ExtentNode.extent(node, index)
                walk.blocks &+= run.count
                guard walk.blocks <= old.blocksCount else {
                    throw .corrupt(.extentNode, at: .init(inode: walk.owners.inode), .cycle)
                }
                walk.runs.append(run)
                continue
            }
            walk.nodes &+= 1
            guard walk.nodes <= old.blocksCount else {
                throw .corrupt(.extentNode, at: .init(inode: walk.owners.inode), .cycle)
            }
            try rewriteNode(ExtentNode.child(node, index), depth: depth &- 1, &walk)
        }
    }

    private func rewriteNode(
        _ number: BlockNumber, depth: Int, _ walk: inout TreeWalk
    ) throws(Ext4Error) {
        let place = Corruption.Place(inode: walk.owners.inode, block: number)
        var block = try block(number, .extentNode, place)
        try checkNode(unsafe block.span.bytes, depth: depth, walk.owners, place)
        try rewrite(below: unsafe block.span.bytes, &walk)
        do {
            var span = block.mutableSpan
            var raw = unsafe span.mutableBytes
            let field = ExtentNode.checksumField(raw.bytes)
            if newSeed != nil {
                ExtentNode.seal(&raw, owner: walk.owners.new)
            } else if field.end <= raw.byteCount {
                raw[field] = 0
            }
        }
        try write(block, to: number)
    }

    private func checkNode(
        _ node: RawSpan, depth: Int, _ owners: Owners, _ place: Corruption.Place
    ) throws(Ext4Error) {
        do throws(Ext4Error) {
            try ExtentNode.check(
                node, depth: depth, owner: owners.old, superblock: old,
                verifiesChecksum: oldSeed != nil, at: place)
        } catch {
            guard
                (try? ExtentNode.check(
                    node, depth: depth, owner: owners.new, superblock: new,
                    verifiesChecksum: newSeed != nil, at: place)) != nil
            else { throw error }
            let field = ExtentNode.checksumField(node)
            guard newSeed != nil || (field.end <= node.byteCount && node[field] == 0) else {
                throw error
            }
        }
    }

    // MARK: The orphan file

    /// All blocks of the orphan file.
    func rewriteOrphanFile(_ runs: [BlockRun], _ owners: Owners) throws(Ext4Error) {
        for run in runs {
            guard let start = run.start else { continue }
            for offset in 0..<run.count {
                try rewriteOrphanBlock(start.advanced(by: offset), owners)
            }
        }
    }

    private func rewriteOrphanBlock(
        _ number: BlockNumber, _ owners: Owners
    ) throws(Ext4Error) {
        var block = try block(
            number, .orphanFile, .init(inode: owners.inode, block: number))
        var span = block.mutableSpan
        var raw = unsafe span.mutableBytes
        let field = OrphanFileBlock.Tail.checksum.at(raw.byteCount &- OrphanFileBlock.Tail.size)
        func parse(_ bytes: RawSpan, _ seed: UInt32?) throws(Ext4Error) {
            _ = try OrphanFileBlock(
                parsing: bytes, at: number, of: owners.inode, checksumSeed: seed,
                inodeCount: old.inodesCount)
        }
        let before = oldSeed.map { _ in owners.old.checksumSeed }
        let after = newSeed.map { _ in owners.new.checksumSeed }
        do throws(Ext4Error) {
            try parse(raw.bytes, before)
        } catch {
            guard after != nil || raw[field] == 0, (try? parse(raw.bytes, after)) != nil else {
                throw error
            }
        }
        raw[field] =
            after.map { OrphanFileBlock.checksum(of: raw.bytes, at: number, seed: $0) } ?? 0
        try write(block, to: number)
    }

    // MARK: Multi-mount protection

    func rewriteMultiMount() throws(Ext4Error) {
        guard old.incompatible.contains(.mmp) else { return }
        let number = old.mmpBlock
        var block = try block(number, .multiMountProtection, .init(block: number))
        var span = block.mutableSpan
        var raw = unsafe span.mutableBytes
        let field = MultiMountProtection.Layout.checksum
        do throws(Ext4Error) {
            _ = try MultiMountProtection(parsing: raw.bytes, at: number, checksumSeed: oldSeed)
        } catch {
            guard newSeed != nil || raw[field] == 0,
                (try? MultiMountProtection(parsing: raw.bytes, at: number, checksumSeed: newSeed))
                    != nil
            else { throw error }
        }
        raw[field] = newSeed.map { MultiMountProtection.checksum(of: raw.bytes, seed: $0) } ?? 0
        try write(block, to: number)
    }
}
