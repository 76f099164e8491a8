import Ext4

// Blocks that several inodes claim: the first keeps them, every other one gets a copy.

extension RepairRound {
    private typealias Layout = InodeRecord.Layout

    func applyClaims() throws(Ext4Error) {
        // All claims are settled together, once a round.
        guard !settled.contains(0) else { return }
        settled.insert(0)
        let claims = state.claimants
        let owners = keepers(claims)
        var losers: [UInt32: [BlockClaim]] = [:]
        for claim in claims where claim.inode.rawValue != 0 {
            let isKept = (0..<claim.count).allSatisfy {
                owners[claim.block.rawValue &+ $0] == claim
            }
            if !isKept { losers[claim.inode.rawValue, default: []].append(claim) }
        }
        for number in losers.keys.sorted() {
            try part(number, from: owners, claims: losers[number] ?? [])
        }
    }

    /// Who keeps each block: the volume itself, then its own inodes, then whoever needs it to be
    /// found at all, then the lowest number.
    private func keepers(_ claims: [BlockClaim]) -> [UInt64: BlockClaim] {
        func rank(_ claim: BlockClaim) -> (Int, Int, UInt32, UInt64) {
            let number = claim.inode.rawValue
            let isOwn = number < superblock.firstInode.rawValue && number != 2
            let isDirectory = state.inodes.type(of: claim.inode) == .directory
            let use = claim.use == .data ? (isDirectory ? 1 : 2) : 0
            return (number == 0 ? 0 : isOwn ? 1 : 2, use, number, claim.logical.rawValue)
        }
        var owners: [UInt64: BlockClaim] = [:]
        for claim in claims {
            for i in 0..<claim.count {
                let block = claim.block.rawValue &+ i
                if let other = owners[block], rank(other) <= rank(claim) { continue }
                owners[block] = claim
            }
        }
        return owners
    }

    /// Gives an inode blocks of its own for those that another one keeps.
    private func part(
        _ number: UInt32, from owners: [UInt64: BlockClaim], claims: [BlockClaim]
    ) throws(Ext4Error) {
        guard var record = volume.inode(number) else { return }
        let isReserved = number < superblock.firstInode.rawValue && number != 2
        guard !isReserved else {
            try giveUp(number, 0)
            return
        }
        if claims.contains(where: { $0.use == .attributes }) {
            try partAttributes(number, &record)
        }
        var lost: Set<UInt64> = []
        var nodes: Set<UInt64> = []
        for claim in claims {
            for i in 0..<claim.count {
                let block = claim.block.rawValue &+ i
                if claim.use == .map, owners[block] != claim { nodes.insert(block) }
                if claim.use == .data { lost.insert(block) }
            }
        }
        guard !lost.isEmpty || !nodes.isEmpty else { return }
        let salvage = MapSalvage(record, in: volume, isStructure: { _ in false })
        var seen: Set<UInt64> = []
        let runs = try copied(salvage.runs) { piece, block in
            let isKept =
                !lost.contains(block)
                || owners[block]?.inode.rawValue == number
                    && owners[block]?.use == .data && seen.insert(block).inserted
                    && keepsLogical(owners[block], piece, block)
            return !isKept || isStructure(block)
        }
        guard
            try volume.setMap(
                runs, in: &record, owner: volume.owner(number, record))
        else {
            try clearInode(number)
            return
        }
        try volume.setInode(number, record)
        settled.insert(number)
    }

    /// The same blocks of a file, with copies of those that it has to leave. With bigalloc a whole
    /// cluster moves with one of its blocks: what is one cluster in the file is one in the volume.
    ///
    /// - Parameter leaves: whether a block, which lies where the second parameter says, must go.
    func copied(
        _ runs: [BlockRun], where leaves: (BlockRun, UInt64) -> Bool
    ) throws(Ext4Error) -> [BlockRun] {
        let ratio = UInt64(1) << UInt64(superblock.clusterRatioLog2)
        var result: [BlockRun] = []
        var cluster: (number: UInt64, pieces: [BlockRun], moves: Bool) = (.max, [], false)
        for run in runs {
            for i in 0..<run.count {
                let piece = run.suffix(from: LogicalBlock(run.logical.rawValue &+ i)).prefix(1)
                guard let block = piece.start?.rawValue else { continue }
                let number = piece.logical.rawValue / ratio
                if number != cluster.number {
                    try Self.append(cluster.pieces, moves: cluster.moves, volume, to: &result)
                    cluster = (number, [], false)
                }
                cluster.pieces.append(piece)
                if leaves(piece, block) { cluster.moves = true }
            }
        }
        try Self.append(cluster.pieces, moves: cluster.moves, volume, to: &result)
        return result
    }

    /// Appends the blocks of one cluster, or their copies in a cluster of their own, each at its
    /// place in it; nothing when there is no room for them.
    private static func append(
        _ pieces: [BlockRun], moves: Bool, _ volume: RepairVolume, to runs: inout [BlockRun]
    ) throws(Ext4Error) {
        guard moves else {
            for piece in pieces { append(piece, to: &runs) }
            return
        }
        guard let target = volume.allocateCluster() else { return }
        let ratio = UInt64(1) << UInt64(volume.superblock.clusterRatioLog2)
        for piece in pieces {
            guard let block = piece.start?.rawValue else { continue }
            let place = target &+ piece.logical.rawValue % ratio
            if let bytes = volume.block(block) { try volume.setBlock(place, bytes) }
            var isUnwritten = false
            if case .unwritten = piece.state { isUnwritten = true }
            append(
                BlockRun(
                    logical: piece.logical, count: 1,
                    state: isUnwritten
                        ? .unwritten(BlockNumber(place)) : .mapped(BlockNumber(place))),
                to: &runs)
        }
    }

    /// Whether the claim that won is that of this very place in the file.
    private func keepsLogical(_ claim: BlockClaim?, _ piece: BlockRun, _ block: UInt64) -> Bool {
        guard let claim else { return false }
        let inside = block &- claim.block.rawValue
        return claim.logical.rawValue &+ inside == piece.logical.rawValue
    }

    private static func append(_ run: BlockRun, to runs: inout [BlockRun]) {
        if let last = runs.last, let merged = last.merged(with: run) {
            runs[runs.count - 1] = merged
        } else {
            runs.append(run)
        }
    }

    /// A block of attributes that something else has too.
    private func partAttributes(_ number: UInt32, _ record: inout Record) throws(Ext4Error) {
        let block =
            UInt64(record[Layout.fileACLHigh]) << 32
            | UInt64(record[Layout.fileACLLow])
        guard var contents = volume.block(block), let copy = volume.allocateCluster() else {
            record[Layout.fileACLLow] = 0
            record[Layout.fileACLHigh] = 0
            try volume.setInode(number, record)
            return
        }
        contents[XAttrBlockHeader.Layout.referenceCount] = 1
        if superblock.hasMetadataChecksums {
            contents[XAttrBlockHeader.Layout.checksum] = contents.withBytes {
                XAttrBlockHeader.checksum(
                    of: $0, at: BlockNumber(copy), seed: superblock.checksumSeed)
            }
        }
        try volume.setBlock(copy, contents)
        record[Layout.fileACLLow] = UInt32(truncatingIfNeeded: copy)
        record[Layout.fileACLHigh] = UInt16(truncatingIfNeeded: copy >> 32)
        try volume.setInode(number, record)
    }
}
