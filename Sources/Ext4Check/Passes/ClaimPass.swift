internal import Ext4
internal import Synchronization

/// Who shares blocks that nobody may share. The inodes are read a second time, but only where
/// there are such blocks at all.
struct ClaimPass {
    let state: CheckState
    let workers: Workers

    func run() throws(Ext4Error) {
        guard state.blocks.hasShared else { return }
        let state = state
        let inodes = state.volume.superblock.inodesCount
        let portion: UInt32 = 4096
        let tasks = Int((inodes - 1) / portion) + 1
        let shares = try workers.run(tasks) { (tasks) throws(Ext4Error) -> [BlockClaim] in
            var claims: [BlockClaim] = []
            while let task = tasks.take() {
                let first = UInt32(task) * portion + 1
                let end = min(UInt64(first) + UInt64(portion), UInt64(inodes) + 1)
                for number in UInt64(first)..<end {
                    let inode = InodeNumber(UInt32(truncatingIfNeeded: number))
                    guard state.inodes.isUsed(inode) else { continue }
                    try Self.collect(inode, state, &claims)
                    // More of them than a report can name are for the next check.
                    if claims.count > state.options.maximumFindings { break }
                }
            }
            return claims
        }
        let claims = shares.flatMap { $0 }.sorted {
            ($0.block, $0.inode, $0.logical) < ($1.block, $1.inode, $1.logical)
        }
        for claim in claims {
            state.report(
                Finding(
                    .claimShared,
                    at: .init(
                        inode: claim.inode,
                        logicalBlock: claim.use == .data ? claim.logical : nil,
                        block: claim.block),
                    count: claim.count, detail: claim.use.rawValue))
        }
        state.gathered.withLock { $0.claimants = claims }
    }

    private static func collect(
        _ number: InodeNumber, _ state: CheckState, _ claims: inout [BlockClaim]
    ) throws(Ext4Error) {
        let volume = state.volume
        let bytes = try volume.inodeBytes(number)
        let span = unsafe bytes.span.bytes
        let fields = InodeFields(span, number: number)
        let attributes = fields.attributeBlock
        if attributes != 0, volume.contains(attributes),
            state.blocks.isShared(cluster: state.blocks.cluster(of: attributes))
        {
            claims.append(
                BlockClaim(
                    inode: number, block: BlockNumber(attributes), count: 1, use: .attributes,
                    logical: LogicalBlock(0)))
        }
        let hasMap =
            switch fields.type {
            case .regular, .directory: true
            case .symlink: fields.size >= UInt64(InodeRecord.Layout.block.count)
            case .unknown: number < volume.superblock.firstInode
            default: false
            }
        guard hasMap, !fields.flags.contains(.inlineData) else { return }
        let scan = MapScan(
            state,
            MapScan.Owner(
                inode: number, generation: fields.generation,
                isDirectory: fields.type == .directory, size: fields.size), collects: true)
        let root = span.extracting(InodeRecord.Layout.block)
        if fields.flags.contains(.extents) {
            try scan.walkExtents(root)
        } else {
            try scan.walkPointers(root)
        }
        claims += scan.claims
    }
}
