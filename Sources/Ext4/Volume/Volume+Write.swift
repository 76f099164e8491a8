// Writing contents.
//
// The order is that of data=ordered whatever the mode: blocks are set aside in memory, the data is
// written to them, and only then one handle makes them the file's. So a crash never shows what a
// block held before, and no handle is open while data is on its way. Blocks that the file has
// already are written in place.

extension Volume {
    /// Writes `bytes` to a file from `byteOffset` on; it grows as needed.
    ///
    /// The data is on the disk after `sync(_:dataOnly:)`. Capabilities of a program
    /// (`security.capability`) go with the first write, and with `dropsPrivileges` the set-id bits.
    ///
    /// - Throws: `.noSpace`, with a part perhaps written; `.fileTooLarge`, `.notPermitted` for files
    ///   that are immutable or can only be added to, `.noKey` for encrypted ones, `.isDirectory`,
    ///   `.invalidArgument` for what has no contents; `.readOnlyVolume`, `.io`, `.corrupt`.
    public func write(
        _ bytes: RawSpan, to inode: Inode, at byteOffset: UInt64, dropsPrivileges: Bool = false,
        by credentials: Credentials = .root
    ) throws(Ext4Error) {
        _ = try requireWriting()
        guard bytes.byteCount > 0 else { return }
        let (end, overflow) = byteOffset.addingReportingOverflow(UInt64(bytes.byteCount))
        guard !overflow else { throw .fileTooLarge }
        try inode.lock.exclusive { () throws(Ext4Error) in
            let attributes = inode.attributes
            try checkContentsChange(attributes)
            if attributes.flags.contains(.appendOnly), byteOffset < attributes.size {
                throw .notPermitted
            }
            guard end <= maximumSize(of: attributes) else { throw .fileTooLarge }
            let spender = spender(credentials)
            try dropPrivileges(of: inode, attributes, setID: dropsPrivileges)
            if attributes.flags.contains(.inlineData) {
                if try writeInline(bytes, to: inode, at: byteOffset) { return }
                try moveInlineDataOut(of: inode, spender)
            }
            if byteOffset > attributes.size {
                try clearTail(of: inode, from: attributes.size)
            }
            try writePieces(bytes, to: inode, at: byteOffset, spender)
        }
    }

    /// Writes into blocks; the caller holds the lock and has checked everything.
    func writePieces(
        _ bytes: RawSpan, to inode: Inode, at byteOffset: UInt64, _ spender: Spender
    ) throws(Ext4Error) {
        var done = 0
        while done < bytes.byteCount {
            done += try writePiece(
                bytes.extracting(done..<bytes.byteCount), to: inode,
                at: byteOffset + UInt64(done), spender)
        }
    }

    /// Takes from a program that is being changed what it may do beyond its user.
    func dropPrivileges(
        of inode: Inode, _ attributes: InodeAttributes, setID: Bool
    ) throws(Ext4Error) {
        if setID, attributes.mode.rawValue & 0o6000 != 0 {
            var mode = attributes.mode.rawValue & ~0o4000
            if mode & 0o010 != 0 { mode &= ~0o2000 }
            try change { (handle, _) throws(Ext4Error) in
                try update(inode, in: &handle) { $0[InodeRecord.Layout.mode] = mode }
            }
        }
        guard attributes.attributeBlock.rawValue != 0 || inode.record.hasAttributes else { return }
        let name = AttributeName(prefix: .security, rest: Array("capability".utf8))
        guard try storedAttribute(name, of: inode) != nil else { return }
        try change { (handle, _) throws(Ext4Error) in
            _ = try remove(name, of: inode, in: &handle) { _ in }
        }
    }

    /// Gives back what was set aside for a file that grew; for when it is closed.
    public func endGrowth(of inode: Inode) { writing?.windows.remove(inode.number) }

    /// The size that a file can grow to.
    func maximumSize(of attributes: InodeAttributes) -> UInt64 {
        let log2 = UInt64(superblock.blockSizeLog2)
        if attributes.flags.contains(.extents) || attributes.flags.contains(.inlineData) {
            return (LogicalBlock.end.rawValue - 1) << log2
        }
        let perBlock: UInt64 = 1 << (log2 - 2)
        let mapped = 12 + perBlock + perBlock * perBlock + perBlock * perBlock * perBlock
        // `i_blocks` counts sectors in 32 bits, unless the volume has huge_file.
        let counted: UInt64 =
            superblock.readOnlyCompatible.contains(.hugeFile)
            ? UInt64.max >> 12 : UInt64(1) << (32 - (log2 - 9))
        return min(mapped, counted, LogicalBlock.end.rawValue - 1) << log2
    }

    /// Refuses to change the contents of what has none, or must not be changed.
    func checkContentsChange(_ attributes: InodeAttributes) throws(Ext4Error) {
        guard attributes.type == .regular else {
            throw attributes.type == .directory ? .isDirectory : .invalidArgument
        }
        guard attributes.flags.isDisjoint(with: [.immutable, .verity]) else { throw .notPermitted }
        guard !attributes.flags.contains(.encrypted) else { throw .noKey }
    }

    /// Whether the contents of `inode` go through the journal.
    func journalsContents(of attributes: InodeAttributes) -> Bool {
        guard let writing, attributes.type == .regular else { return true }
        return writing.dataMode == .journal
            || !attributes.flags.isDisjoint(with: [.journalData, .attributeInode])
    }

    // MARK: A piece

    /// The most that one handle makes part of a file.
    private static let longestPiece: UInt64 = 16 << 20
    private static let mostRuns = 32

    /// Writes a part of `bytes`, and makes its blocks the file's.
    ///
    /// - Returns: how many bytes were written.
    private func writePiece(
        _ bytes: RawSpan, to inode: Inode, at byteOffset: UInt64, _ spender: Spender
    ) throws(Ext4Error) -> Int {
        let attributes = inode.attributes
        if journalsContents(of: attributes) {
            return try writeJournalled(bytes, to: inode, at: byteOffset, spender)
        }
        let writing = try requireWriting()
        let log2 = UInt64(superblock.blockSizeLog2)
        // Pieces end with a block: each sector is old or new, whatever a crash leaves of the write.
        let within = byteOffset & UInt64(blockSize - 1)
        let count = min(UInt64(bytes.byteCount), Self.longestPiece - within)
        let piece = FilePiece(
            byteOffset: byteOffset, byteCount: Int(count), blockSizeLog2: superblock.blockSizeLog2)
        var placed: [BlockRun] = []
        var converted: [Range<LogicalBlock>] = []
        var block = piece.firstBlock
        do throws(Ext4Error) {
            pieces: while block < piece.endBlock, placed.count + converted.count < Self.mostRuns {
                let found = try run(of: inode, at: block).suffix(from: block)
                    .prefix(piece.endBlock)
                switch found.state {
                case .mapped:
                    try put(bytes, of: piece, into: found, isFresh: false)
                    block = found.end
                case .unwritten:
                    try put(bytes, of: piece, into: found, isFresh: true)
                    converted.append(found.logical..<found.end)
                    block = found.end
                case .hole:
                    let range: BlockRange
                    do throws(Ext4Error) {
                        let isEmpty = attributes.blocks512 == 0 && placed.isEmpty
                        let goal = isEmpty ? nil : try goal(before: found, of: inode, placed)
                        range = try reserve(found, for: inode, attributes, near: goal, spender)
                    } catch {
                        // What has found room is written before the failure is told.
                        guard error == .noSpace, block > piece.firstBlock else { throw error }
                        break pieces
                    }
                    let run = BlockRun(
                        logical: block, count: range.count, state: .mapped(range.start))
                    placed.append(run)
                    try put(bytes, of: piece, into: run, isFresh: true)
                    block = run.end
                }
            }
            let end = min(block.rawValue << log2, byteOffset + count)
            try adopt(placed, converted, in: inode, size: end, spender)
            return Int(end - byteOffset)
        } catch {
            for run in placed { if let range = run.range { writing.blocks.cancel(range) } }
            throw error
        }
    }

    /// Makes blocks with written data the file's.
    private func adopt(
        _ placed: [BlockRun], _ converted: [Range<LogicalBlock>], in inode: Inode, size: UInt64,
        _ spender: Spender
    ) throws(Ext4Error) {
        let isMapChanged = !placed.isEmpty || !converted.isEmpty
        let isData = isMapChanged || size > inode.size
        try change(credits: 8 + 8 * (placed.count + converted.count)) {
            (handle, writing) throws(Ext4Error) in
            var blocks: Int64 = 0
            var root: MapRoot?
            if isMapChanged {
                var editor = try editor(of: inode, spender)
                for run in placed {
                    guard let range = run.range else { continue }
                    try writing.blocks.claim(range, in: &handle)
                    try editor.insert(run, in: &handle)
                    blocks += Int64(range.count)
                }
                for range in converted {
                    try editor.convert(range, toWritten: true, in: &handle)
                }
                blocks += Int64(editor.metadataBlocksDelta)
                if editor.rootChanged { root = editor.root }
            }
            let now = writing.clock()
            try update(inode, isData: isData, in: &handle) { (record) throws(Ext4Error) in
                root?.store(in: &record)
                if blocks != 0 { try record.addBlocks(blocks, superblock) }
                if size > record.size { record.setSize(size) }
                record.setModificationTime(now)
                record.setChangeTime(now)
                record.advanceVersion()
            }
        }
        if isMapChanged { inode.lastRun.withLock { $0 = nil } }
    }

    /// The map of `inode`, to be changed; the caller stores its root.
    func editor(of inode: Inode, _ spender: Spender) throws(Ext4Error) -> MapEditor {
        let writing = try requireWriting()
        return MapEditor(
            MapRoot(inode.record), usesExtents: inode.usesExtents, owner: inode.owner,
            reader: reader, blocks: writing.blocks, spender: spender)
    }

    // MARK: Places

    /// Sets blocks aside for the start of `hole`.
    ///
    /// - Parameter place: where they would best be; nil for the first ones of a file.
    private func reserve(
        _ hole: BlockRun, for inode: Inode, _ attributes: InodeAttributes, near place: BlockNumber?,
        mayCommit: Bool = true, _ spender: Spender
    ) throws(Ext4Error) -> BlockRange {
        let writing = try requireWriting()
        let log2 = UInt64(superblock.blockSizeLog2)
        let isEmpty = place == nil
        let goal = place ?? firstGoal(for: inode.number)
        let grown = hole.logical.rawValue << log2 >= attributes.size ? attributes.size >> log2 : 0
        let range: BlockRange
        do throws(Ext4Error) {
            range = try writing.windows.reserve(
                hole.count, for: inode.number, near: goal, grown: isEmpty ? 0 : grown,
                blockSize: blockSize, by: spender)
        } catch {
            // Before the volume counts as full: what is set aside for others, and what was freed
            // and waits for its commit. A handle that is open would wait for itself there.
            guard error == .noSpace else { throw error }
            writing.windows.removeAll()
            if mayCommit, writing.blocks.hasBlocksAwaitingCommit {
                try writing.journal.commitRunning()
            }
            range = try writing.blocks.reserve(hole.count, near: goal, for: spender)
        }
        if isEmpty { writing.windows.noteFirst(range, in: group(of: inode.number)) }
        return range
    }

    /// The block behind what comes before `hole` in the file.
    private func goal(
        before hole: BlockRun, of inode: Inode, _ placed: [BlockRun]
    ) throws(Ext4Error) -> BlockNumber {
        if let last = placed.last, last.end == hole.logical, let range = last.range {
            return range.end
        }
        guard hole.logical.rawValue > 0 else { return firstGoal(for: inode.number) }
        let before = LogicalBlock(hole.logical.rawValue - 1)
        let run = try run(of: inode, at: before).suffix(from: before)
        return run.range.map { $0.start.advanced(by: 1) } ?? firstGoal(for: inode.number)
    }

    /// As `goal(before:of:_:)` while the map is being changed: the root that the inode has does not
    /// fit its nodes then.
    private func goal(
        before hole: BlockRun, of inode: Inode, in editor: borrowing MapEditor
    ) throws(Ext4Error) -> BlockNumber {
        guard hole.logical.rawValue > 0 else { return firstGoal(for: inode.number) }
        let before = LogicalBlock(hole.logical.rawValue - 1)
        let run = try editor.run(at: before).suffix(from: before)
        return run.range.map { $0.start.advanced(by: 1) } ?? firstGoal(for: inode.number)
    }

    /// Where the blocks of `inode` should start: in its group, behind those of its neighbours.
    func firstGoal(for inode: InodeNumber) -> BlockNumber {
        let group = group(of: inode)
        return writing?.windows.firstGoal(in: group) ?? superblock.firstBlock(of: group)
    }

    /// The group whose table holds `inode`.
    func group(of inode: InodeNumber) -> GroupNumber {
        GroupNumber((max(inode.rawValue, 1) - 1) / superblock.inodesPerGroup)
    }

    // MARK: Bytes

    /// From how many bytes on blocks are written as they come, without a copy to pad them.
    private static let longestCopy = 16 << 10

    /// Writes what of `piece` lies in `run`. Of a fresh run, the rest of its blocks becomes zeros.
    private func put(
        _ bytes: RawSpan, of piece: FilePiece, into run: BlockRun, isFresh: Bool
    ) throws(Ext4Error) {
        guard let range = run.range else { return }
        let log2 = UInt64(superblock.blockSizeLog2)
        let runStart = run.logical.rawValue << log2
        let start = max(piece.byteOffset, runStart)
        let end = min(piece.byteOffset + UInt64(piece.byteCount), run.end.rawValue << log2)
        let part = bytes.extracting(
            Int(start - piece.byteOffset)..<Int(end - piece.byteOffset))
        let place = range.start.rawValue << log2 + (start - runStart)
        let mask = UInt64(blockSize - 1)
        if place & mask == 0, UInt64(part.byteCount) & mask == 0 {
            try device.write(part, at: place)
            return
        }
        if part.byteCount <= Self.longestCopy {
            try putPadded(part, at: place, isFresh: isFresh)
            return
        }
        // The blocks in the middle are whole, if there are any.
        let head = min(Int((UInt64(blockSize) - place & mask) & mask), part.byteCount)
        let whole = (part.byteCount - head) & ~(blockSize - 1)
        if head > 0 { try putPadded(part.extracting(0..<head), at: place, isFresh: isFresh) }
        if whole > 0 {
            try device.write(part.extracting(head..<head + whole), at: place + UInt64(head))
        }
        if head + whole < part.byteCount {
            try putPadded(
                part.extracting(head + whole..<part.byteCount), at: place + UInt64(head + whole),
                isFresh: isFresh)
        }
    }

    /// Writes `part` with the rest of the blocks that it touches: zeros when they are fresh, what
    /// they hold otherwise.
    private func putPadded(
        _ part: RawSpan, at place: UInt64, isFresh: Bool
    ) throws(Ext4Error) {
        let mask = UInt64(blockSize - 1)
        let start = place & ~mask
        let end = (place + UInt64(part.byteCount) + mask) & ~mask
        let offset = Int(place - start)
        let count = Int(end - start)
        var block =
            isFresh
            ? [UInt8](repeating: 0, count: count) : try device.read(at: start, count: count)
        do {
            var span = block.mutableSpan
            var raw = unsafe span.mutableBytes
            var target = raw._mutatingExtracting(offset..<offset + part.byteCount)
            target.copy(from: part)
        }
        try unsafe device.write(block.span.bytes, at: start)
    }

    /// Makes the rest of the block that `size` lies in zeros, before the file grows beyond it.
    func clearTail(of inode: Inode, from size: UInt64) throws(Ext4Error) {
        let within = Int(size & UInt64(blockSize - 1))
        guard within > 0 else { return }
        let block = LogicalBlock(size >> UInt64(superblock.blockSizeLog2))
        guard block < .end else { return }
        let run = try run(of: inode, at: block).suffix(from: block)
        guard case .mapped(let physical) = run.state else { return }
        if journalsContents(of: inode.attributes) {
            try change { (handle, _) throws(Ext4Error) in
                let buffer = try reader.cache.buffer(of: physical)
                handle.modify(buffer) { bytes in
                    var tail = bytes._mutatingExtracting(within..<bytes.byteCount)
                    tail.clear()
                }
            }
            return
        }
        let place = physical.rawValue << UInt64(superblock.blockSizeLog2)
        var bytes = try device.read(at: place, count: blockSize)
        guard bytes[within...].contains(where: { $0 != 0 }) else { return }
        for i in within..<blockSize { bytes[i] = 0 }
        try unsafe device.write(bytes.span.bytes, at: place)
    }

    // MARK: data=journal

    /// Writes a part of `bytes` through the journal.
    private func writeJournalled(
        _ bytes: RawSpan, to inode: Inode, at byteOffset: UInt64, _ spender: Spender
    ) throws(Ext4Error) -> Int {
        let writing = try requireWriting()
        let log2 = UInt64(superblock.blockSizeLog2)
        let most = UInt64(max(min(writing.journal.largestTransaction / 4, 256), 1)) << log2
        let within = byteOffset & UInt64(blockSize - 1)
        let count = min(UInt64(bytes.byteCount), most - within)
        let piece = FilePiece(
            byteOffset: byteOffset, byteCount: Int(count), blockSizeLog2: superblock.blockSizeLog2)
        let attributes = inode.attributes
        let end = try change(credits: 24 + Int(count >> log2)) {
            (handle, writing) throws(Ext4Error) -> UInt64 in
            var editor = try editor(of: inode, spender)
            var block = piece.firstBlock
            var added: Int64 = 0
            while block < piece.endBlock {
                let found = try editor.run(at: block).suffix(from: block).prefix(piece.endBlock)
                var run = found
                switch found.state {
                case .mapped: break
                case .unwritten:
                    try editor.convert(found.logical..<found.end, toWritten: true, in: &handle)
                case .hole:
                    let isEmpty = attributes.blocks512 == 0 && added == 0
                    let goal = isEmpty ? nil : try goal(before: found, of: inode, in: editor)
                    let range = try reserve(
                        found, for: inode, attributes, near: goal, mayCommit: false, spender)
                    handle.onFailure { _ in writing.blocks.cancel(range) }
                    try writing.blocks.claim(range, in: &handle)
                    run = BlockRun(logical: block, count: range.count, state: .mapped(range.start))
                    try editor.insert(run, in: &handle)
                    added += Int64(range.count)
                }
                var isFresh = true
                if case .mapped = found.state { isFresh = false }
                try log(bytes, of: piece, into: run, isFresh: isFresh, in: &handle)
                block = run.end
            }
            added += Int64(editor.metadataBlocksDelta)
            let end = byteOffset + count
            let now = writing.clock()
            try update(inode, in: &handle) { (record) throws(Ext4Error) in
                if editor.rootChanged { editor.root.store(in: &record) }
                try record.addBlocks(added, superblock)
                if end > record.size { record.setSize(end) }
                record.setModificationTime(now)
                record.setChangeTime(now)
                record.advanceVersion()
            }
            return end
        }
        inode.lastRun.withLock { $0 = nil }
        return Int(end - byteOffset)
    }

    /// Puts what of `piece` lies in `run` into buffers of this transaction.
    private func log(
        _ bytes: RawSpan, of piece: FilePiece, into run: BlockRun, isFresh: Bool,
        in handle: inout Handle
    ) throws(Ext4Error) {
        guard let range = run.range else { return }
        let log2 = UInt64(superblock.blockSizeLog2)
        for index in 0..<range.count {
            let blockStart = (run.logical.rawValue + index) << log2
            let start = max(piece.byteOffset, blockStart)
            let end = min(
                piece.byteOffset + UInt64(piece.byteCount), blockStart + UInt64(blockSize))
            guard start < end else { continue }
            let place = range.start.advanced(by: index)
            let buffer =
                isFresh
                ? handle.fresh(place, in: reader.cache, seal: .none)
                : try reader.cache.buffer(of: place)
            let part = bytes.extracting(
                Int(start - piece.byteOffset)..<Int(end - piece.byteOffset))
            handle.modify(buffer) { contents in
                var target = contents._mutatingExtracting(
                    Int(start - blockStart)..<Int(end - blockStart))
                target.copy(from: part)
            }
        }
    }
}

/// A part of a file that is written at once.
private struct FilePiece {
    let byteOffset: UInt64
    let byteCount: Int
    let firstBlock: LogicalBlock
    /// Behind the last block that it touches.
    let endBlock: LogicalBlock

    init(byteOffset: UInt64, byteCount: Int, blockSizeLog2: Int) {
        self.byteOffset = byteOffset
        self.byteCount = byteCount
        let log2 = UInt64(blockSizeLog2)
        firstBlock = LogicalBlock(byteOffset >> log2)
        endBlock = LogicalBlock((byteOffset + UInt64(byteCount) + (1 << log2) - 1) >> log2)
    }
}

extension BlockRun {
    /// The run without its blocks from `block` on.
    func prefix(_ end: LogicalBlock) -> BlockRun {
        guard end < self.end, end > logical else { return self }
        return BlockRun(logical: logical, count: end.rawValue - logical.rawValue, state: state)
    }

    /// The run's place on the volume; nil for a hole.
    var range: BlockRange? {
        switch state {
        case .mapped(let start), .unwritten(let start): BlockRange(start: start, count: count)
        case .hole: nil
        }
    }
}
