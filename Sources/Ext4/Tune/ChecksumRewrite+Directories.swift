// The blocks of directories. What a block is tells the index, from its root down, and not the
// block's look: a block of entries that holds none looks like a node of the index.

extension ChecksumRewrite {
    /// Bytes of a directory that are read at once.
    private static let chunkBytes: UInt64 = 1 << 18

    /// All blocks of a directory whose blocks are in `runs`.
    mutating func rewriteDirectory(
        _ flags: InodeFlags, _ runs: [BlockRun], _ owners: Owners
    ) throws(Ext4Error) {
        let hasHash = flags.isSuperset(of: [.encrypted, .casefold])
        var hasRoom = true
        var nodes: Set<UInt64> = []
        if flags.contains(.index), old.compatible.contains(.dirIndex) {
            hasRoom = try rewriteIndex(runs, owners, &nodes)
        }
        let most = max(Self.chunkBytes >> UInt64(old.blockSizeLog2), 1)
        for run in runs {
            guard let start = run.start else { continue }
            var offset: UInt64 = 0
            while offset < run.count {
                let count = min(most, run.count &- offset)
                let first = start.advanced(by: offset)
                let logical = run.logical.rawValue &+ offset
                guard old.contains(first, count: count) else {
                    throw .corrupt(
                        .directoryBlock, at: .init(inode: owners.inode, block: first),
                        .field("block number", value: first.rawValue, rule: "inside the volume"))
                }
                var chunk = try device.read(
                    at: byteOffset(first), count: Int(count) << old.blockSizeLog2)
                do {
                    var span = chunk.mutableSpan
                    var raw = unsafe span.mutableBytes
                    for index in 0..<count where !nodes.contains(logical &+ index) {
                        let from = Int(index) << old.blockSizeLog2
                        var block = raw._mutatingExtracting(from..<from &+ old.blockSize)
                        let place = Corruption.Place(
                            inode: owners.inode, logicalBlock: LogicalBlock(logical &+ index),
                            block: first.advanced(by: index))
                        if try !rewriteLeaf(&block, owners, hasHash: hasHash, place) {
                            hasRoom = false
                        }
                    }
                }
                try unsafe device.write(chunk.span.bytes, at: byteOffset(first))
                offset &+= count
            }
        }
        if !hasRoom { crowded.append(owners.inode) }
    }

    // MARK: Blocks of entries

    /// - Returns: whether the block has room for its checksum.
    private func rewriteLeaf(
        _ block: inout MutableRawSpan, _ owners: Owners, hasHash: Bool, _ place: Corruption.Place
    ) throws(Ext4Error) -> Bool {
        if oldSeed != nil {
            // Without a tail it is one of a rewrite that was broken off.
            if newSeed != nil || DirectoryRecord.hasTail(block.bytes) {
                do throws(Ext4Error) {
                    try DirectoryRecord.checkTail(block.bytes, owner: owners.old, at: place)
                } catch {
                    guard newSeed != nil,
                        (try? DirectoryRecord.checkTail(block.bytes, owner: owners.new, at: place))
                            != nil
                    else { throw error }
                }
            }
        }
        if newSeed != nil {
            if oldSeed == nil {
                guard
                    try DirectoryRecord.makeTail(
                        in: &block, format: newFormat, hasHash: hasHash, place: place)
                else { return false }
            }
            DirectoryRecord.sealTail(&block, owner: owners.new)
        } else {
            try DirectoryRecord.removeTail(
                in: &block, format: newFormat, hasHash: hasHash, place: place)
        }
        return true
    }

    // MARK: The index

    /// All nodes of the index, whose blocks of the directory come into `nodes`.
    ///
    /// - Returns: whether all of them have room for their checksum.
    private func rewriteIndex(
        _ runs: [BlockRun], _ owners: Owners, _ nodes: inout Set<UInt64>
    ) throws(Ext4Error) -> Bool {
        var hasRoom = true
        var levels = 0
        var waiting: [(logical: LogicalBlock, level: Int)] = [(LogicalBlock(0), 0)]
        // No node is entered twice, and each adds no more than it holds.
        while let next = waiting.popLast() {
            var place = Corruption.Place(inode: owners.inode, logicalBlock: next.logical)
            guard let number = Self.block(next.logical, in: runs) else {
                throw .corrupt(
                    .htreeNode, at: place, .broken("it leads to a block that is not there"))
            }
            place.block = number
            guard nodes.insert(next.logical.rawValue).inserted else {
                throw .corrupt(.htreeNode, at: place, .cycle)
            }
            var block = try block(number, .htreeNode, place)
            do {
                var span = block.mutableSpan
                var raw = unsafe span.mutableBytes
                let isRoot = next.level == 0
                let node = try node(raw.bytes, isRoot: isRoot, owners, place)
                if let root = node.root { levels = root.indirectLevels }
                if next.level < levels {
                    for index in 0..<node.count {
                        waiting.append((node.block(raw.bytes, index), next.level &+ 1))
                    }
                }
                if node.setLimit(in: &raw, format: newFormat) {
                    if newSeed != nil { HTreeNode.seal(&raw, isRoot: isRoot, owner: owners.new) }
                } else {
                    hasRoom = false
                }
            }
            try write(block, to: number)
        }
        return hasRoom
    }

    /// A node, right before the rewrite or after it.
    private func node(
        _ bytes: RawSpan, isRoot: Bool, _ owners: Owners, _ place: Corruption.Place
    ) throws(Ext4Error) -> HTreeNode {
        do throws(Ext4Error) {
            return try HTreeNode(
                parsing: bytes, isRoot: isRoot, owner: owners.old, superblock: old,
                verifiesChecksum: oldSeed != nil, at: place)
        } catch {
            guard
                let node = try? HTreeNode(
                    parsing: bytes, isRoot: isRoot, owner: owners.new, superblock: new,
                    verifiesChecksum: newSeed != nil, at: place)
            else { throw error }
            return node
        }
    }

    /// The block of the volume behind a block of the directory.
    private static func block(_ logical: LogicalBlock, in runs: [BlockRun]) -> BlockNumber? {
        var low = 0
        var high = runs.count
        while low < high {
            let middle = (low &+ high) / 2
            if runs[middle].logical <= logical { low = middle &+ 1 } else { high = middle }
        }
        guard low > 0, runs[low &- 1].contains(logical) else { return nil }
        return runs[low &- 1].suffix(from: logical).start
    }
}
