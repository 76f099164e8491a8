// fallocate: space before it is needed, holes, and parts of a file that come and go.

/// What to do to a range of a file.
public enum RangeChange: Hashable, Sendable {
    /// Give it space that reads as zeros where it has none; the file grows if the range reaches
    /// behind its end, unless `keepsSize`.
    case allocate(keepsSize: Bool)
    /// Give its space back: a hole (`FALLOC_FL_PUNCH_HOLE`).
    case punchHole
    /// Make it zeros, with space (`FALLOC_FL_ZERO_RANGE`).
    case zero(keepsSize: Bool)
    /// Take it out of the file (`FALLOC_FL_COLLAPSE_RANGE`).
    case collapse
    /// Move what starts there behind it, and leave a hole (`FALLOC_FL_INSERT_RANGE`).
    case insert
}

extension Volume {
    /// Changes what stands behind a range of a file.
    ///
    /// - Throws: `.notSupported` for files with an indirect map, but for holes; `.invalidArgument`
    ///   for an empty range, and for one that is not whole blocks where that is needed; and what
    ///   `write(_:to:at:by:)` throws.
    public func change(
        _ change: RangeChange, of inode: Inode, at byteOffset: UInt64, count: UInt64,
        by credentials: Credentials = .root
    ) throws(Ext4Error) {
        _ = try requireWriting()
        let (end, overflow) = byteOffset.addingReportingOverflow(count)
        guard count > 0 else { throw .invalidArgument }
        guard !overflow else { throw .fileTooLarge }
        let spender = spender(credentials)
        try inode.lock.exclusive { () throws(Ext4Error) in
            try checkContentsChange(inode.attributes)
            if inode.flags.contains(.appendOnly) {
                guard case .allocate = change else { throw .notPermitted }
            }
            if inode.usesInlineData { try moveInlineDataOut(of: inode, spender) }
            if change != .punchHole {
                guard end <= maximumSize(of: inode.attributes) else { throw .fileTooLarge }
                guard inode.usesExtents else { throw .notSupported }
            }
            switch change {
            case .allocate(let keepsSize):
                try allocate(byteOffset, end, of: inode, spender)
                try grow(inode, to: keepsSize ? 0 : end)
            case .punchHole:
                try punch(byteOffset, min(end, .max), of: inode, spender)
            case .zero(let keepsSize):
                try zero(byteOffset, end, of: inode, spender)
                try grow(inode, to: keepsSize ? 0 : end)
            case .collapse: try collapse(byteOffset, end, of: inode, spender)
            case .insert: try insertHole(byteOffset, end, of: inode, spender)
            }
        }
    }

    /// Sets times, and the size if it is larger than the present one.
    private func grow(_ inode: Inode, to size: UInt64) throws(Ext4Error) {
        if size > inode.size { try clearTail(of: inode, from: inode.size) }
        try change { (handle, writing) throws(Ext4Error) in
            let now = writing.clock()
            try update(inode, in: &handle) { record in
                if size > record.size { record.setSize(size) }
                record.setModificationTime(now)
                record.setChangeTime(now)
                record.advanceVersion()
            }
        }
    }

    /// Fills the holes of a range with unwritten extents, a few at a time: what is done stays when
    /// the volume fills up.
    private func allocate(
        _ start: UInt64, _ end: UInt64, of inode: Inode, _ spender: Spender
    ) throws(Ext4Error) {
        let log2 = UInt64(superblock.blockSizeLog2)
        let last = LogicalBlock((end + UInt64(blockSize) - 1) >> log2)
        var block = LogicalBlock(start >> log2)
        while block < last {
            let found = try run(of: inode, at: block).suffix(from: block).prefix(last)
            guard case .hole = found.state else {
                block = found.end
                continue
            }
            let goal = try self.goal(before: found, of: inode)
            block = try change(credits: 32) { (handle, writing) throws(Ext4Error) in
                let range = try writing.blocks.reserve(found.count, near: goal, for: spender)
                handle.onFailure { _ in writing.blocks.cancel(range) }
                try writing.blocks.claim(range, in: &handle)
                var editor = try editor(of: inode, spender)
                try editor.insert(
                    BlockRun(
                        logical: block, count: range.count, state: .unwritten(range.start)),
                    in: &handle)
                try update(inode, in: &handle) { (record) throws(Ext4Error) in
                    if editor.rootChanged { editor.root.store(in: &record) }
                    try record.addBlocks(
                        Int64(range.count) + Int64(editor.metadataBlocksDelta), superblock)
                }
                return LogicalBlock(block.rawValue + range.count)
            }
            inode.lastRun.withLock { $0 = nil }
        }
    }

    private func goal(before hole: BlockRun, of inode: Inode) throws(Ext4Error) -> BlockNumber {
        guard hole.logical.rawValue > 0 else { return firstGoal(for: inode.number) }
        let before = LogicalBlock(hole.logical.rawValue - 1)
        let run = try run(of: inode, at: before).suffix(from: before)
        return run.range.map { $0.start.advanced(by: 1) } ?? firstGoal(for: inode.number)
    }

    /// Makes a hole: whole blocks are freed, the rest of the range becomes zeros.
    private func punch(
        _ start: UInt64, _ end: UInt64, of inode: Inode, _ spender: Spender
    ) throws(Ext4Error) {
        let whole = try zeroEdges(start, end, of: inode, spender)
        if let whole { try remove(whole, of: inode) }
        try grow(inode, to: 0)
    }

    /// Makes a range zeros: whole blocks become unwritten extents, the rest is written.
    private func zero(
        _ start: UInt64, _ end: UInt64, of inode: Inode, _ spender: Spender
    ) throws(Ext4Error) {
        let log2 = UInt64(superblock.blockSizeLog2)
        let whole = try zeroEdges(start, end, of: inode, spender)
        try allocate(start, end, of: inode, spender)
        guard let whole else { return }
        if journalsContents(of: inode.attributes) {
            // What is in the journal must not come over what the extents get later.
            try remove(whole, of: inode)
            try allocate(
                whole.lowerBound.rawValue << log2, whole.upperBound.rawValue << log2, of: inode,
                spender)
            return
        }
        var block = whole.lowerBound
        while block < whole.upperBound {
            let found = try run(of: inode, at: block).suffix(from: block)
                .prefix(whole.upperBound)
            if case .mapped = found.state {
                try change(credits: 32) { (handle, _) throws(Ext4Error) in
                    var editor = try editor(of: inode, spender)
                    try editor.convert(found.logical..<found.end, toWritten: false, in: &handle)
                    try update(inode, in: &handle) { (record) throws(Ext4Error) in
                        if editor.rootChanged { editor.root.store(in: &record) }
                        try record.addBlocks(Int64(editor.metadataBlocksDelta), superblock)
                    }
                }
                inode.lastRun.withLock { $0 = nil }
            }
            block = found.end
        }
    }

    /// Writes zeros to the parts of a range that are not whole blocks, as far as they have space
    /// and lie before the end of the file.
    ///
    /// - Returns: the whole blocks between them; nil for none.
    private func zeroEdges(
        _ start: UInt64, _ end: UInt64, of inode: Inode, _ spender: Spender
    ) throws(Ext4Error) -> Range<LogicalBlock>? {
        let log2 = UInt64(superblock.blockSizeLog2)
        let mask = UInt64(blockSize - 1)
        let first = (start + mask) & ~mask
        let last = end & ~mask
        if first > last {
            try writeZeros(start, end, of: inode, spender)
            return nil
        }
        try writeZeros(start, first, of: inode, spender)
        try writeZeros(last, end, of: inode, spender)
        guard first < last else { return nil }
        return LogicalBlock(first >> log2)..<min(LogicalBlock(last >> log2), .end)
    }

    /// Zeros within one block; nothing where the block has no data.
    private func writeZeros(
        _ start: UInt64, _ end: UInt64, of inode: Inode, _ spender: Spender
    ) throws(Ext4Error) {
        let end = min(end, inode.size)
        guard start < end else { return }
        let block = LogicalBlock(start >> UInt64(superblock.blockSizeLog2))
        guard block < .end, case .mapped = try run(of: inode, at: block).state else { return }
        let zeros = [UInt8](repeating: 0, count: Int(end - start))
        try writePieces(unsafe zeros.span.bytes, to: inode, at: start, spender)
    }

    private func remove(
        _ range: Range<LogicalBlock>, of inode: Inode
    ) throws(Ext4Error) {
        var isDone = false
        while !isDone {
            isDone = try change(credits: 56) { (handle, writing) throws(Ext4Error) in
                try removeBlocks(of: inode, range, in: &handle, writing)
            }
        }
    }

    // MARK: Shifts

    private func wholeBlocks(
        _ start: UInt64, _ end: UInt64
    ) throws(Ext4Error) -> Range<LogicalBlock> {
        let mask = UInt64(blockSize - 1)
        guard start & mask == 0, end & mask == 0 else { throw .invalidArgument }
        let log2 = UInt64(superblock.blockSizeLog2)
        return LogicalBlock(start >> log2)..<LogicalBlock(end >> log2)
    }

    private func collapse(
        _ start: UInt64, _ end: UInt64, of inode: Inode, _ spender: Spender
    ) throws(Ext4Error) {
        let blocks = try wholeBlocks(start, end)
        // A range up to the end is for truncate, Linux says.
        guard end < inode.size else { throw .invalidArgument }
        writing?.windows.remove(inode.number)
        try remove(blocks, of: inode)
        let count = Int64(blocks.upperBound.rawValue - blocks.lowerBound.rawValue)
        try shift(
            inode, from: blocks.upperBound, by: -count, size: inode.size - (end - start), spender)
    }

    private func insertHole(
        _ start: UInt64, _ end: UInt64, of inode: Inode, _ spender: Spender
    ) throws(Ext4Error) {
        let blocks = try wholeBlocks(start, end)
        guard start < inode.size else { throw .invalidArgument }
        let (size, overflow) = inode.size.addingReportingOverflow(end - start)
        guard !overflow, size <= maximumSize(of: inode.attributes) else { throw .fileTooLarge }
        writing?.windows.remove(inode.number)
        let count = Int64(blocks.upperBound.rawValue - blocks.lowerBound.rawValue)
        try shift(inode, from: blocks.lowerBound, by: count, size: size, spender)
    }

    /// Moves all blocks from `first` on, in one transaction: half a move would be another file.
    private func shift(
        _ inode: Inode, from first: LogicalBlock, by count: Int64, size: UInt64,
        _ spender: Spender
    ) throws(Ext4Error) {
        try change(credits: 64) { (handle, writing) throws(Ext4Error) in
            var editor = try editor(of: inode, spender)
            try editor.shift(from: first, by: count, in: &handle)
            let now = writing.clock()
            try update(inode, in: &handle) { (record) throws(Ext4Error) in
                if editor.rootChanged { editor.root.store(in: &record) }
                try record.addBlocks(Int64(editor.metadataBlocksDelta), superblock)
                record.setSize(size)
                record.setModificationTime(now)
                record.setChangeTime(now)
                record.advanceVersion()
            }
        }
        inode.lastRun.withLock { $0 = nil }
    }
}
