internal import Ext4

/// A map of a file's blocks, walked from its root to every block, with every rule that it breaks
/// told on the way.
///
/// What is broken is left out: an entry that leads out of the volume, a node that is none. A tree
/// falls by one level a step, a block of pointers too, and a node that was met before in the same
/// map is not entered again, so a walk ends.
final class MapScan {
    /// Whom the map belongs to.
    struct Owner {
        let inode: InodeNumber
        let generation: UInt32
        let isDirectory: Bool
        /// Blocks beyond the end may be unwritten, and those of a Merkle tree are.
        let size: UInt64
    }

    let state: CheckState
    let volume: CheckedVolume
    let owner: Owner
    /// Clusters taken, nodes of the map included.
    private(set) var clusters: UInt64 = 0
    /// The last block that is there, written or not; -1 for none.
    private(set) var lastBlock: Int64 = -1
    /// The last block that is there and written.
    private(set) var lastWritten: Int64 = -1
    /// The block that holds the start of the contents.
    private(set) var firstBlock: UInt64?
    /// The pieces that the contents are in.
    private(set) var pieces = 0
    /// The runs of a directory's blocks.
    private(set) var runs: [DirectoryRun] = []
    /// Whether the map itself is broken.
    private(set) var isBroken = false
    /// Whether this walk is to find who shares blocks, and claims nothing.
    private let collects: Bool
    private(set) var claims: [BlockClaim] = []

    private var lastCluster = UInt64.max
    private var lastLogicalCluster = UInt64.max
    private var nextBlock = UInt64.max
    /// The nodes on the way down, and those met before.
    private var entered: Set<UInt64> = []

    init(_ state: CheckState, _ owner: Owner, collects: Bool = false) {
        self.state = state
        volume = state.volume
        self.owner = owner
        self.collects = collects
    }

    private var checksumSeed: UInt32 {
        InodeRecord.checksumSeed(
            owner.inode, generation: owner.generation, seed: volume.superblock.checksumSeed)
    }

    private func report(
        _ rule: CheckRule, block: UInt64? = nil, logical: UInt64? = nil, byteOffset: Int? = nil,
        found: UInt64? = nil, expected: UInt64? = nil, count: UInt64? = nil
    ) {
        if rule != .extentKey, rule != .mapMetadata { isBroken = true }
        guard !collects else { return }
        state.report(
            Finding(
                rule,
                at: .init(
                    inode: owner.inode, logicalBlock: logical.map(LogicalBlock.init),
                    block: block.map(BlockNumber.init), byteOffset: byteOffset),
                found: found, expected: expected, count: count))
    }

    // MARK: - Extents

    /// The state of a walk through a tree.
    private struct Bounds {
        /// The first block that the next extent may have.
        var next: UInt64
        /// The block behind the last one that an entry may have.
        let end: UInt64
    }

    /// Walks the tree with that root, the 60 bytes of `i_block`.
    func walkExtents(_ root: RawSpan) throws(Ext4Error) {
        guard checkHeader(root, depth: nil, block: nil) else { return }
        var bounds = Bounds(next: 0, end: 1 << 32)
        try walk(
            root, depth: Int(root[ExtentNode.Header.depth]), block: nil, bounds: &bounds)
    }

    /// Whether a node can be read at all.
    private func checkHeader(_ node: RawSpan, depth: Int?, block: UInt64?) -> Bool {
        typealias Header = ExtentNode.Header
        let capacity = node.byteCount / ExtentNode.entrySize - 1
        let maximum = Int(node[Header.maximum])
        guard node[Header.magic] == ExtentNode.magic, maximum <= capacity, maximum + 2 >= capacity,
            Int(node[Header.entries]) <= maximum
        else {
            report(
                .extentHeader, block: block, byteOffset: 0, found: UInt64(node[Header.entries]),
                expected: UInt64(maximum))
            return false
        }
        let found = Int(node[Header.depth])
        guard depth.map({ $0 == found }) ?? (found <= ExtentNode.maximumDepth) else {
            report(
                .extentDepth, block: block, byteOffset: Header.depth.offset,
                found: UInt64(found), expected: depth.map { UInt64($0) })
            return false
        }
        return true
    }

    private func walk(
        _ node: RawSpan, depth: Int, block: UInt64?, bounds: inout Bounds
    ) throws(Ext4Error) {
        let count = ExtentNode.count(node)
        if count == 0, depth > 0 || block != nil {
            report(.extentHeader, block: block, byteOffset: 0, found: 0, expected: 1)
            return
        }
        for index in 0..<count {
            if depth == 0 {
                take(ExtentNode.extent(node, index), at: index, of: block, &bounds)
                continue
            }
            let key = ExtentNode.key(node, index).rawValue
            let child = ExtentNode.child(node, index).rawValue
            let offset = ExtentNode.entrySize * (index + 1)
            guard volume.contains(child) else {
                report(
                    .extentNode, block: block, logical: key, byteOffset: offset, found: child)
                continue
            }
            guard key >= bounds.next, key < bounds.end else {
                report(
                    .extentOrder, block: block, logical: key, byteOffset: offset, found: key,
                    expected: bounds.next)
                continue
            }
            guard entered.insert(child).inserted else {
                report(
                    .extentNode, block: block, logical: key, byteOffset: offset, found: child)
                continue
            }
            let end =
                index + 1 < count
                ? min(ExtentNode.key(node, index + 1).rawValue, bounds.end) : bounds.end
            var below = Bounds(next: key, end: max(end, key))
            try descend(to: child, key: key, depth: depth - 1, parent: block, offset, &below)
            bounds.next = max(bounds.next, below.next)
        }
    }

    /// Reads the node that an index leads to, and walks it.
    private func descend(
        to child: UInt64, key: UInt64, depth: Int, parent: UInt64?, _ offset: Int,
        _ bounds: inout Bounds
    ) throws(Ext4Error) {
        claimNode(child)
        let bytes = try volume.block(BlockNumber(child))
        let node = unsafe bytes.span.bytes
        guard checkHeader(node, depth: depth, block: child) else { return }
        if volume.hasChecksums {
            let field = ExtentNode.checksumField(node)
            var crc = CRC32C(checksumSeed)
            crc.update(node.extracting(0..<field.offset))
            if field.end > node.byteCount || node[field] != crc.value {
                report(
                    .extentChecksum, block: child, logical: key,
                    found: field.end > node.byteCount ? nil : UInt64(node[field]),
                    expected: UInt64(crc.value))
            }
        }
        if ExtentNode.count(node) > 0 {
            let first = ExtentNode.key(node, 0).rawValue
            if first != key {
                report(
                    .extentKey, block: parent, logical: key, byteOffset: offset, found: key,
                    expected: first)
            }
        }
        try walk(node, depth: depth, block: child, bounds: &bounds)
    }

    private func take(
        _ run: BlockRun, at index: Int, of block: UInt64?, _ bounds: inout Bounds
    ) {
        let offset = ExtentNode.entrySize * (index + 1)
        let logical = run.logical.rawValue
        let (start, isUnwritten): (UInt64, Bool) =
            switch run.state {
            case .mapped(let place): (place.rawValue, false)
            case .unwritten(let place): (place.rawValue, true)
            case .hole: (0, false)
            }
        guard volume.contains(start) else {
            report(
                .extentRange, block: block, logical: logical, byteOffset: offset, found: start,
                count: run.count)
            return
        }
        guard logical >= bounds.next else {
            report(
                .extentOrder, block: block, logical: logical, byteOffset: offset,
                found: logical, expected: bounds.next, count: run.count)
            return
        }
        guard run.count > 0, run.end.rawValue <= 1 << 32 else {
            report(
                .extentLength, block: block, logical: logical, byteOffset: offset,
                found: run.count)
            return
        }
        // The last number that a block could have is no block's.
        guard run.end.rawValue < 1 << 32 else {
            report(
                .inodeTooLarge, block: block, logical: logical, byteOffset: offset,
                found: run.end.rawValue, expected: 1 << 32 - 1, count: run.count)
            return
        }
        guard run.end.rawValue <= bounds.end else {
            report(
                .extentOrder, block: block, logical: logical, byteOffset: offset,
                found: run.end.rawValue, expected: bounds.end, count: run.count)
            return
        }
        guard volume.contains(start, count: run.count) else {
            report(
                .extentRange, block: block, logical: logical, byteOffset: offset, found: start,
                count: run.count)
            return
        }
        if volume.clusterRatioLog2 > 0 {
            let mask: UInt64 = 1 << volume.clusterRatioLog2 - 1
            if (start - volume.firstDataBlock) & mask != logical & mask {
                report(
                    .extentAlignment, block: block, logical: logical, byteOffset: offset,
                    found: start, count: run.count)
                return
            }
        }
        if isUnwritten, owner.isDirectory {
            report(
                .extentUnwritten, block: block, logical: logical, byteOffset: offset,
                found: start, count: run.count)
        }
        bounds.next = run.end.rawValue
        takeData(
            logical: logical, start: start, count: run.count, isUnwritten: isUnwritten,
            node: block, offset: offset)
    }

    // MARK: - Blocks of pointers

    /// Walks the map of an ext2 or ext3 file, whose root is the 60 bytes of `i_block`.
    func walkPointers(_ root: RawSpan) throws(Ext4Error) {
        let direct = 12
        let perBlock = UInt64(volume.blockSize / 4)
        for index in 0..<direct {
            takePointer(
                root[Field<UInt32>.le(4 &* index)], logical: UInt64(index), node: nil,
                offset: 4 &* index)
        }
        var logical = UInt64(direct)
        var covered: UInt64 = 1
        for level in 1...3 {
            covered &*= perBlock
            let index = direct + level - 1
            try walkPointers(
                of: root[Field<UInt32>.le(4 &* index)], level: level, logical: logical,
                node: nil, offset: 4 &* index)
            logical &+= covered
        }
    }

    private func walkPointers(
        of pointer: UInt32, level: Int, logical: UInt64, node: UInt64?, offset: Int
    ) throws(Ext4Error) {
        guard pointer != 0 else { return }
        let block = UInt64(pointer)
        guard volume.contains(block), entered.insert(block).inserted else {
            report(
                .indirectRange, block: node, logical: logical, byteOffset: offset, found: block)
            return
        }
        claimNode(block)
        let bytes = try volume.block(BlockNumber(block))
        let pointers = unsafe bytes.span.bytes
        let perBlock = volume.blockSize / 4
        var covered: UInt64 = 1
        for _ in 1..<level { covered &*= UInt64(perBlock) }
        for index in 0..<perBlock {
            let pointer = pointers[Field<UInt32>.le(4 &* index)]
            guard pointer != 0 else { continue }
            let first = logical &+ UInt64(index) &* covered
            if level == 1 {
                takePointer(pointer, logical: first, node: block, offset: 4 &* index)
            } else {
                try walkPointers(
                    of: pointer, level: level - 1, logical: first, node: block,
                    offset: 4 &* index)
            }
        }
    }

    private func takePointer(
        _ pointer: UInt32, logical: UInt64, node: UInt64?, offset: Int
    ) {
        guard pointer != 0 else { return }
        let block = UInt64(pointer)
        guard volume.contains(block), logical < 1 << 32 else {
            report(
                .indirectRange, block: node, logical: logical, byteOffset: offset, found: block)
            return
        }
        // What the resize inode names was placed before there were clusters.
        if volume.clusterRatioLog2 > 0, owner.inode != .resize {
            let mask: UInt64 = 1 << volume.clusterRatioLog2 - 1
            if (block - volume.firstDataBlock) & mask != logical & mask {
                report(
                    .indirectAlignment, block: node, logical: logical, byteOffset: offset,
                    found: block)
                return
            }
        }
        takeData(
            logical: logical, start: block, count: 1, isUnwritten: false, node: node,
            offset: offset)
    }

    // MARK: - Claims

    private func takeData(
        logical: UInt64, start: UInt64, count: UInt64, isUnwritten: Bool, node: UInt64?,
        offset: Int
    ) {
        let end = logical &+ count
        lastBlock = max(lastBlock, Int64(end) - 1)
        if !isUnwritten { lastWritten = max(lastWritten, Int64(end) - 1) }
        if logical == 0 { firstBlock = start }
        if start != nextBlock { pieces += 1 }
        nextBlock = start &+ count
        if owner.isDirectory { addRun(logical: logical, start: start, count: count) }

        var taken = volume.clusters(of: start, count: count)
        if volume.clusterRatioLog2 > 0, owner.inode != .resize,
            logical >> volume.clusterRatioLog2 == lastLogicalCluster,
            taken.lowerBound != lastCluster
        {
            report(
                .extentAlignment, block: node, logical: logical, byteOffset: offset, found: start,
                count: count)
        }
        // A cluster of which an earlier run has other blocks counts once.
        if volume.clusterRatioLog2 > 0, owner.inode != .resize, taken.lowerBound == lastCluster,
            logical >> volume.clusterRatioLog2 == lastLogicalCluster
        {
            taken = taken.lowerBound &+ 1..<taken.upperBound
        }
        if let last = taken.last {
            lastCluster = last
            lastLogicalCluster = (end &- 1) >> volume.clusterRatioLog2
        }
        clusters &+= UInt64(taken.count)
        // What the resize inode names are the volume's own blocks, held to their places elsewhere.
        guard owner.inode != .resize else { return }
        guard !collects else {
            collect(start: start, count: count, .data, logical: logical)
            return
        }
        let first = start &- volume.firstDataBlock
        if state.metadata.isAnyClaimed(first..<first &+ count) {
            report(
                .mapMetadata, block: node, logical: logical, byteOffset: offset, found: start,
                count: count)
            claimAround(first..<first &+ count)
        } else {
            state.blocks.claim(taken)
        }
    }

    /// Claims those of the blocks that are not the volume's own.
    private func claimAround(_ blocks: Range<UInt64>) {
        for block in blocks where !state.metadata.isClaimed(cluster: block) {
            let cluster = block >> volume.clusterRatioLog2
            state.blocks.claim(cluster..<cluster + 1)
        }
    }

    private func addRun(logical: UInt64, start: UInt64, count: UInt64) {
        if let last = runs.last, UInt64(last.logical) + UInt64(last.count) == logical,
            last.block + UInt64(last.count) == start,
            !last.count.addingReportingOverflow(UInt32(count)).overflow
        {
            runs[runs.count - 1] = DirectoryRun(
                logical: last.logical, count: last.count + UInt32(count), block: last.block)
        } else {
            runs.append(
                DirectoryRun(logical: UInt32(logical), count: UInt32(count), block: start))
        }
    }

    private func claimNode(_ block: UInt64) {
        clusters &+= 1
        // A cluster with a node holds nothing else.
        guard !collects else {
            collect(start: block, count: 1, .map, logical: 0)
            return
        }
        let first = block &- volume.firstDataBlock
        if state.metadata.isAnyClaimed(first..<first &+ 1) {
            guard owner.inode != .resize else { return }
            report(.mapMetadata, block: block, found: block)
        } else {
            state.blocks.claim(volume.clusters(of: block, count: 1))
        }
    }

    private func collect(
        start: UInt64, count: UInt64, _ use: BlockClaim.Use, logical: UInt64
    ) {
        var block = start
        let end = start &+ count
        while block < end {
            guard state.blocks.isShared(cluster: state.blocks.cluster(of: block)) else {
                block &+= 1
                continue
            }
            let first = block
            while block < end, state.blocks.isShared(cluster: state.blocks.cluster(of: block)) {
                block &+= 1
            }
            claims.append(
                BlockClaim(
                    inode: owner.inode, block: BlockNumber(first), count: block &- first,
                    use: use, logical: LogicalBlock(logical &+ first &- start)))
        }
    }
}
