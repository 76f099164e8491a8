// Moving what lies behind the new end of a volume.
//
// A file is moved by a map that is made anew: the contents are copied, the nodes of the new map are
// written to blocks that were free, and then one transaction makes the new map the file's. It
// changes the inode, which is one write, and bitmaps, which a check could make anew: so it is safe
// also where no journal is.

/// Moves the blocks of files, and those with attributes, to before a block.
struct BlockMover {
    let volume: Volume
    private let writing: Writing
    /// Where the volume ends from now on.
    private let end: BlockNumber
    private let options: ResizeOptions
    /// Blocks that were moved.
    private(set) var movedBlocks: UInt64 = 0
    /// Inodes whose maps lie in more groups than the journal takes: they are left to a mover that
    /// does without it.
    private(set) var left: [InodeNumber] = []
    /// Where blocks of attributes went, which inodes share.
    private var attributeBlocks: [BlockNumber: BlockNumber] = [:]

    /// Bytes that are copied in one request.
    private static let chunk: UInt64 = 4 << 20

    init(_ volume: Volume, end: BlockNumber, _ options: ResizeOptions) throws(Ext4Error) {
        self.volume = volume
        self.end = end
        self.options = options
        writing = try volume.requireWriting()
    }

    private var superblock: Superblock { volume.superblock }

    /// Moves what belongs to all inodes but the journal's and the resize inode's.
    ///
    /// - Returns: false when it was broken off.
    mutating func moveAll() throws(Ext4Error) -> Bool {
        let walk = UsedInodes(volume)
        let own = superblock.journalInode
        for number in 0..<superblock.groupCount {
            guard options.isCancelled?() != true else { return false }
            options.tell(.blocks, UInt64(number), of: UInt64(superblock.groupCount))
            for inode in try walk.inodes(of: GroupNumber(number))
            where inode.number != .resize && inode.number != own {
                try move(inode)
            }
        }
        try moveResizeTable()
        return true
    }

    /// Moves the table of the resize inode. What it leads to lies behind the descriptors and stays.
    private mutating func moveResizeTable() throws(Ext4Error) {
        guard let resize = try ResizeInode(volume), resize.table >= end else { return }
        guard let range = try reserve(1, near: BlockNumber(0), .essential) else { throw .noSpace }
        do throws(Ext4Error) {
            try copy(BlockRange(start: resize.table, count: 1), to: range, of: resize.inode)
            if let stale = volume.reader.cache.drop(range.start) {
                writing.journal.abandon(stale)
            }
            if writing.journal.area == nil { try writing.journal.device.flush() }
            try volume.change { (handle, writing) throws(Ext4Error) in
                try writing.blocks.claim(range, in: &handle)
                try resize.setTable(range.start, in: &handle, writing)
            }
        } catch {
            writing.blocks.cancel(range)
            throw error
        }
        movedBlocks &+= 1
    }

    /// Moves what belongs to one inode.
    mutating func move(_ inode: Inode) throws(Ext4Error) {
        if volume.hasMap(inode) {
            // Each step moves at least one piece, or there is none left.
            while try !moveStep(of: inode) {}
        }
        if inode.attributeBlock >= end { try moveAttributes(of: inode) }
    }

    // MARK: Contents and maps

    /// What one step does.
    private struct Step {
        /// The new map.
        var runs: [BlockRun] = []
        /// What is copied, and to where.
        var pieces: [(from: BlockRange, to: BlockRange, isWritten: Bool)] = []
        /// Blocks that were set aside, for contents and for nodes.
        var reserved: [BlockRange] = []
        /// Blocks of contents that are free afterwards.
        var freed: [BlockRange] = []
        /// Whether more is to be done.
        var isCut = false

        mutating func append(_ run: BlockRun) {
            if let merged = runs.last?.merged(with: run) {
                runs[runs.count - 1] = merged
            } else {
                runs.append(run)
            }
        }
    }

    /// Moves as much of a file as one transaction should.
    ///
    /// - Returns: whether nothing is left.
    private mutating func moveStep(of inode: Inode) throws(Ext4Error) -> Bool {
        let map = volume.map(of: inode)
        let runs = try map.runs(volumeBlocks: superblock.blocksCount)
        let nodes = try map.nodes(volumeBlocks: superblock.blocksCount)
        let end = end
        guard
            runs.contains(where: { $0.start.map { $0 >= end } ?? false || $0.physicalEnd > end })
                || nodes.contains(where: { $0 >= end })
        else { return true }
        var step = Step()
        let fits: Bool
        do throws(Ext4Error) {
            try plan(&step, runs, of: inode)
            fits = try carryOut(&step, oldNodes: nodes, of: inode)
        } catch {
            for range in step.reserved { writing.blocks.cancel(range) }
            throw error
        }
        guard fits else {
            for range in step.reserved { writing.blocks.cancel(range) }
            left.append(inode.number)
            return true
        }
        inode.lastRun.withLock { $0 = nil }
        movedBlocks &+= step.pieces.reduce(0) { $0 &+ $1.to.count }
        return !step.isCut
    }

    /// Sets blocks aside for what lies behind the end.
    private func plan(
        _ step: inout Step, _ runs: [BlockRun], of inode: Inode
    ) throws(Ext4Error) {
        // Each piece may lie in a group of its own, and comes from one.
        let most = max((writing.journal.largestTransaction &- 24) / 8, 1)
        var budget = UInt64(256 << 20) >> UInt64(superblock.blockSizeLog2)
        if writing.journal.area != nil, isLogged(inode) {
            // Each block that becomes free is an entry in a revoke block.
            let perBlock = UInt64(superblock.blockSize / 16)
            budget = min(budget, UInt64(writing.journal.largestTransaction) / 2 &* perBlock)
        }
        var goal = volume.firstGoal(for: inode.number)
        for run in runs {
            guard let start = run.start else { continue }
            let kept = start < end ? min(end.rawValue &- start.rawValue, run.count) : 0
            if kept > 0 { step.append(run.prefix(kept)) }
            guard kept < run.count else {
                goal = start.advanced(by: run.count)
                continue
            }
            var rest = run.suffix(from: LogicalBlock(run.logical.rawValue &+ kept))
            while let from = rest.start {
                guard step.pieces.count < most, budget > 0 else {
                    step.isCut = true
                    step.append(rest)
                    break
                }
                let range = try reserve(
                    min(rest.count, budget), near: goal, step.pieces.isEmpty ? .essential : nil)
                guard let range else {
                    step.isCut = true
                    step.append(rest)
                    break
                }
                step.reserved.append(range)
                goal = range.end
                budget &-= range.count
                let old = BlockRange(start: from, count: range.count)
                var isWritten = true
                if case .unwritten = rest.state { isWritten = false }
                step.pieces.append((old, range, isWritten))
                step.freed.append(old)
                step.append(
                    BlockRun(
                        logical: rest.logical, count: range.count,
                        state: isWritten ? .mapped(range.start) : .unwritten(range.start)))
                guard range.count < rest.count else { break }
                rest = rest.suffix(from: LogicalBlock(rest.logical.rawValue &+ range.count))
            }
        }
    }

    /// Sets blocks aside; when none is left, what was freed before is waited for, and with no
    /// `spender` nil is the answer.
    private func reserve(
        _ count: UInt64, near goal: BlockNumber, _ spender: Spender?
    ) throws(Ext4Error) -> BlockRange? {
        do throws(Ext4Error) {
            return try writing.blocks.reserve(
                count, near: goal < end ? goal : BlockNumber(0), for: .essential)
        } catch {
            guard error == .noSpace else { throw error }
            if writing.blocks.hasBlocksAwaitingCommit {
                try writing.journal.commitRunning()
                return try writing.blocks.reserve(
                    count, near: goal < end ? goal : BlockNumber(0), for: .essential)
            }
            guard spender == nil else { throw error }
            return nil
        }
    }

    /// Whether older copies of the contents may wait in the journal.
    private func isLogged(_ inode: Inode) -> Bool {
        inode.isDirectory || volume.journalsContents(of: inode.attributes)
    }

    /// How many blocks a step changes: bitmaps, the descriptors of their groups, the inode.
    private func credits(of step: Step, _ oldNodes: [BlockNumber]) -> Int {
        let geometry = writing.blocks.geometry
        var groups: Set<GroupNumber> = []
        for range in step.reserved + step.freed { groups.insert(geometry.group(of: range.start)) }
        for node in oldNodes { groups.insert(geometry.group(of: node)) }
        let perBlock = superblock.descriptorsPerBlock
        return groups.count &+ Set(groups.map { $0.rawValue / perBlock }).count &+ 8
    }

    /// Copies, writes the new map, and makes it the file's.
    ///
    /// - Returns: false when a transaction would not have room for it; nothing is done then.
    private func carryOut(
        _ step: inout Step, oldNodes: [BlockNumber], of inode: Inode
    ) throws(Ext4Error) -> Bool {
        let builder = MapBuilder(
            blockSize: superblock.blockSize, owner: inode.owner, usesExtents: inode.usesExtents,
            hasChecksums: superblock.hasMetadataChecksums)
        var nodes: [BlockNumber] = []
        let nodeCount = builder.nodeCount(of: step.runs)
        while nodes.count < nodeCount {
            let goal = nodes.last ?? step.reserved.last?.start ?? BlockNumber(0)
            guard
                let range = try reserve(
                    UInt64(nodeCount &- nodes.count), near: goal, .essential)
            else { throw .noSpace }
            step.reserved.append(range)
            for i in 0..<range.count { nodes.append(range.start.advanced(by: i)) }
        }
        if !inode.usesExtents {
            // A pointer has 32 bits.
            guard step.reserved.allSatisfy({ $0.end.rawValue <= 1 << 32 }) else { throw .noSpace }
        }
        let credits = credits(of: step, oldNodes)
        // One that is alone may take most of the log.
        guard credits <= 3 &* writing.journal.largestTransaction else { return false }
        for piece in step.pieces where piece.isWritten {
            try copy(piece.from, to: piece.to, of: inode)
        }
        let map = builder.map(of: step.runs, nodes: nodes)
        for (node, bytes) in zip(nodes, map.nodes) {
            if let old = volume.reader.cache.drop(node) { writing.journal.abandon(old) }
            try unsafe writing.journal.device.write(bytes.span.bytes, at: byteOffset(node))
        }
        // With a journal, the flush before the commit block does it.
        if writing.journal.area == nil { try writing.journal.device.flush() }

        let reserved = step.reserved
        let freed = step.freed
        let delta = Int64(nodes.count) &- Int64(oldNodes.count)
        let isLogged = isLogged(inode)
        let isJournal = inode.number == superblock.journalInode
        try volume.change(credits: credits) { (handle, writing) throws(Ext4Error) in
            for range in reserved { try writing.blocks.claim(range, in: &handle) }
            for range in freed {
                try writing.blocks.free(range, isMetadata: isLogged, in: &handle)
            }
            for node in oldNodes {
                try writing.blocks.free(
                    BlockRange(start: node, count: 1), isMetadata: true, in: &handle)
            }
            try volume.update(inode, in: &handle) { (record) throws(Ext4Error) in
                record.block = map.root
                try record.addBlocks(delta, superblock)
            }
            if isJournal, superblock.journalBackupType == 1 {
                writing.superblock.modify(in: &handle) {
                    $0.store(
                        unsafe map.root.span.bytes, at: Superblock.Layout.journalBackup.offset)
                }
            }
        }
        // From here on they are the file's.
        step.reserved = []
        return true
    }

    private func byteOffset(_ block: BlockNumber) -> UInt64 {
        block.rawValue << UInt64(superblock.blockSizeLog2)
    }

    private func copy(
        _ from: BlockRange, to: BlockRange, of inode: Inode
    ) throws(Ext4Error) {
        let device = writing.journal.device
        let most = max(Self.chunk >> UInt64(superblock.blockSizeLog2), 1)
        var done: UInt64 = 0
        while done < from.count {
            let count = min(most, from.count &- done)
            var bytes = try device.read(
                at: byteOffset(from.start.advanced(by: done)),
                count: Int(count) << superblock.blockSizeLog2)
            if inode.number == superblock.orphanFileInode, superblock.hasMetadataChecksums {
                seal(&bytes, from: to.start.advanced(by: done), inode.owner)
            }
            try unsafe device.write(
                bytes.span.bytes, at: byteOffset(to.start.advanced(by: done)))
            done &+= count
        }
    }

    /// The checksums of the orphan file's blocks are about their places, too.
    private func seal(_ bytes: inout [UInt8], from first: BlockNumber, _ owner: BlockOwner) {
        let size = superblock.blockSize
        var span = bytes.mutableSpan
        var raw = unsafe span.mutableBytes
        for index in 0..<raw.byteCount / size {
            var block = raw._mutatingExtracting(index &* size..<(index &+ 1) &* size)
            Buffer.Seal.orphanFile(owner).apply(
                to: &block, block: first.advanced(by: UInt64(index)))
        }
    }

    // MARK: Attributes

    /// Gives an inode another block of attributes: a copy, which the next ones share that shared
    /// the old one.
    private mutating func moveAttributes(of inode: Inode) throws(Ext4Error) {
        typealias Layout = XAttrBlockHeader.Layout
        let old = inode.attributeBlock
        let cache = volume.reader.cache
        let buffer = try cache.buffer(of: old)
        let seal = Buffer.Seal.attributes(seed: superblock.checksumSeed)
        let count = buffer.withBytes { $0[Layout.referenceCount] }
        let known = attributeBlocks[old]
        var range: BlockRange?
        if known == nil {
            let goal = volume.firstGoal(for: inode.number)
            guard let fresh = try reserve(1, near: goal, .essential) else { throw .noSpace }
            range = fresh
            // What the inode leads to is there before it does.
            var bytes = buffer.withBytes { $0.copy() }
            do {
                var span = bytes.mutableSpan
                var raw = unsafe span.mutableBytes
                raw[Layout.referenceCount] = 1
                if superblock.hasMetadataChecksums { seal.apply(to: &raw, block: fresh.start) }
            }
            do throws(Ext4Error) {
                if let stale = cache.drop(fresh.start) { writing.journal.abandon(stale) }
                try unsafe writing.journal.device.write(
                    bytes.span.bytes, at: byteOffset(fresh.start))
                if writing.journal.area == nil { try writing.journal.device.flush() }
            } catch {
                writing.blocks.cancel(fresh)
                throw error
            }
        }
        guard let new = known ?? range?.start else { throw .noSpace }
        let copy = try cache.buffer(of: new)
        do throws(Ext4Error) {
            try volume.change(credits: 12) { (handle, writing) throws(Ext4Error) in
                if let range { try writing.blocks.claim(range, in: &handle) }
                if range == nil {
                    handle.preserve(copy)
                    handle.modify(copy, seal: seal) { $0[Layout.referenceCount] &+= 1 }
                }
                if count > 1 {
                    handle.preserve(buffer)
                    handle.modify(buffer, seal: seal) { $0[Layout.referenceCount] = count &- 1 }
                } else {
                    try writing.blocks.free(
                        BlockRange(start: old, count: 1), isMetadata: true, in: &handle)
                }
                try volume.update(inode, in: &handle) { $0.setAttributeBlock(new) }
            }
        } catch {
            if let range { writing.blocks.cancel(range) }
            throw error
        }
        if known == nil {
            attributeBlocks[old] = new
            movedBlocks &+= 1
        }
    }
}

extension BlockRun {
    /// The block of the volume behind the run; 0 for a hole.
    var physicalEnd: BlockNumber { start?.advanced(by: count) ?? BlockNumber(0) }
}
