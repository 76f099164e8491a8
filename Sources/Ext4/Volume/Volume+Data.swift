/// A piece of a file's contents and where it comes from.
public struct DataRun: Hashable, Sendable {
    /// Where bytes come from.
    public enum Source: Hashable, Sendable {
        /// From that byte of the volume's device on.
        case device(byteOffset: UInt64)
        /// Nothing was written there: zeros.
        case zeros
        /// These bytes.
        case bytes([UInt8])
    }

    /// Where the bytes come from.
    public let source: Source
    /// How many bytes they are; not 0.
    public let count: Int
}

/// What a seek looks for.
public enum SeekTarget: Hashable, Sendable {
    /// Contents that were written.
    case data
    /// Space that was not; the end of a file counts as a hole.
    case hole
}

extension Volume {
    /// Reads from a file, as much as is there.
    ///
    /// - Returns: the number of bytes read; less than asked for at the end, 0 behind it.
    /// - Throws: `.isDirectory`, `.invalidArgument` for what has no contents, `.noKey` for
    ///   encrypted contents; `.corrupt`, `.io`.
    public func read(
        _ inode: Inode, at byteOffset: UInt64, into bytes: inout MutableRawSpan
    ) throws(Ext4Error) -> Int {
        inode.lock.lockShared()
        defer { inode.lock.unlockShared() }
        try checkReadable(inode)
        return try read(any: inode, at: byteOffset, into: &bytes)
    }

    /// The whole contents of a file of at most 1 GiB.
    ///
    /// - Throws: `.fileTooLarge`, and what `read(_:at:into:)` throws.
    public func contents(of inode: Inode) throws(Ext4Error) -> [UInt8] {
        try inode.lock.shared { () throws(Ext4Error) in
            try checkReadable(inode)
            return try contents(ofAny: inode)
        }
    }

    /// The run of a file's blocks that holds `block`.
    ///
    /// A hole, and a run of an indirect map, may be cut short of where it ends.
    ///
    /// - Throws: `.invalidArgument` for a block that no file can have; `.corrupt`.
    public func mapping(
        of inode: Inode, at block: LogicalBlock
    ) throws(Ext4Error) -> BlockRun {
        guard block < .end else { throw .invalidArgument }
        return try inode.lock.shared { () throws(Ext4Error) in try run(of: inode, at: block) }
    }

    /// As `mapping(of:at:)`, for who holds the inode's lock.
    func run(of inode: Inode, at block: LogicalBlock) throws(Ext4Error) -> BlockRun {
        if let last = inode.lastRun.withLock({ $0 }), last.contains(block) { return last }
        let run = try hasMap(inode) ? map(of: inode).run(at: block) : .hole(from: block)
        inode.lastRun.withLock { $0 = run }
        return run
    }

    /// Every run of a file's blocks that is mapped or unwritten, in order, adjacent ones in one.
    ///
    /// - Throws: `.corrupt`.
    public func mappings(of inode: Inode) throws(Ext4Error) -> [BlockRun] {
        try inode.lock.shared { () throws(Ext4Error) in
            guard hasMap(inode) else { return [] }
            // With shared_blocks a block may stand for many blocks of one file.
            let isShared = superblock.readOnlyCompatible.contains(.sharedBlocks)
            return try map(of: inode).runs(volumeBlocks: isShared ? .max : superblock.blocksCount)
        }
    }

    /// Where the bytes of a range of a file come from, for readers that move them on their own.
    ///
    /// The pieces are consecutive, and end with the file.
    ///
    /// - Throws: what `read(_:at:into:)` throws.
    public func dataRuns(
        of inode: Inode, at byteOffset: UInt64, count: Int
    ) throws(Ext4Error) -> [DataRun] {
        inode.lock.lockShared()
        defer { inode.lock.unlockShared() }
        try checkReadable(inode)
        let count = available(inode, at: byteOffset, count)
        guard count > 0 else { return [] }
        if isBuffered(inode) {
            // The device may not have them yet.
            var contents = [UInt8](repeating: 0, count: count)
            var span = contents.mutableSpan
            var raw = unsafe span.mutableBytes
            _ = try read(any: inode, at: byteOffset, into: &raw)
            return [DataRun(source: .bytes(contents), count: count)]
        }
        if inode.usesInlineData {
            let contents = try inlineContents(of: inode, at: byteOffset, count: count)
            return [DataRun(source: .bytes(contents), count: count)]
        }
        var runs: [DataRun] = []
        var done = 0
        while done < count {
            let (source, length) = try piece(of: inode, at: byteOffset + UInt64(done))
            let part = Int(min(length, UInt64(count - done)))
            runs.append(DataRun(source: source, count: part))
            done += part
        }
        return runs
    }

    /// The first offset at or behind `byteOffset` with data, or with a hole.
    ///
    /// Unwritten space is a hole, as it reads.
    ///
    /// - Throws: `.endOfFile` when there is none, or the offset is not inside the file; and what
    ///   `read(_:at:into:)` throws.
    public func offset(
        of target: SeekTarget, in inode: Inode, from byteOffset: UInt64
    ) throws(Ext4Error) -> UInt64 {
        inode.lock.lockShared()
        defer { inode.lock.unlockShared() }
        guard !inode.isDirectory else { throw .isDirectory }
        guard byteOffset < inode.size else { throw .endOfFile }
        if inode.usesInlineData {
            // Behind all that is there, a file may go on as a hole.
            let stored = InodeRecord.Layout.block.count + (try inlineRest(of: inode)).count
            let end = min(inode.size, UInt64(stored))
            if target == .hole { return max(byteOffset, end) }
            guard byteOffset < end else { throw .endOfFile }
            return byteOffset
        }
        let log2 = UInt64(superblock.blockSizeLog2)
        var block = LogicalBlock(byteOffset >> log2)
        while block < .end, block.rawValue << log2 < inode.size {
            let run = try run(of: inode, at: block)
            let isData = if case .mapped = run.state { true } else { false }
            if isData == (target == .data) { return max(byteOffset, block.rawValue << log2) }
            block = run.end
        }
        guard target == .hole else { throw .endOfFile }
        return inode.size
    }

    // MARK: For the engine itself

    /// The whole contents of anything that has some, also of symbolic links and encrypted files.
    func contents(ofAny inode: Inode) throws(Ext4Error) -> [UInt8] {
        guard inode.size <= 1 << 30 else { throw .fileTooLarge }
        var bytes = [UInt8](repeating: 0, count: Int(inode.size))
        var span = bytes.mutableSpan
        var raw = unsafe span.mutableBytes
        _ = try read(any: inode, at: 0, into: &raw)
        return bytes
    }

    /// Reads without asking whether the inode is a file whose contents may be seen.
    func read(
        any inode: Inode, at byteOffset: UInt64, into bytes: inout MutableRawSpan
    ) throws(Ext4Error) -> Int {
        let count = available(inode, at: byteOffset, bytes.byteCount)
        guard count > 0 else { return 0 }
        if inode.usesInlineData {
            let contents = try inlineContents(of: inode, at: byteOffset, count: count)
            for i in 0..<count {
                bytes.storeBytes(of: contents[i], toByteOffset: i, as: UInt8.self)
            }
            return count
        }
        let isBuffered = isBuffered(inode)
        var done = 0
        while done < count {
            let (source, length) = try piece(of: inode, at: byteOffset + UInt64(done))
            let part = Int(min(length, UInt64(count - done)))
            var target = bytes._mutatingExtracting(done..<done + part)
            if case .device(let offset) = source {
                if isBuffered {
                    try readBuffered(at: offset, into: &target)
                } else {
                    try device.read(at: offset, into: &target)
                }
            } else {
                unsafe target.withUnsafeMutableBytes {
                    _ = unsafe $0.initializeMemory(as: UInt8.self, repeating: 0)
                }
            }
            done += part
        }
        return count
    }

    /// Whether contents may be in the journal only, and so have to be read through the cache.
    private func isBuffered(_ inode: Inode) -> Bool {
        writing != nil && journalsContents(of: inode.attributes)
    }

    /// Reads bytes of the volume through the cache of blocks.
    private func readBuffered(
        at byteOffset: UInt64, into bytes: inout MutableRawSpan
    ) throws(Ext4Error) {
        let log2 = UInt64(superblock.blockSizeLog2)
        var done = 0
        while done < bytes.byteCount {
            let place = byteOffset + UInt64(done)
            let within = Int(place & UInt64(blockSize - 1))
            let part = min(blockSize - within, bytes.byteCount - done)
            let buffer = try reader.cache.buffer(of: BlockNumber(place >> log2))
            var target = bytes._mutatingExtracting(done..<done + part)
            buffer.withBytes { target.copy(from: $0.extracting(within..<within + part)) }
            done += part
        }
    }

    /// How many of `count` bytes from `byteOffset` on lie before the end of the file.
    private func available(_ inode: Inode, at byteOffset: UInt64, _ count: Int) -> Int {
        guard byteOffset < inode.size else { return 0 }
        return Int(min(UInt64(max(count, 0)), inode.size - byteOffset))
    }

    /// Where the byte at `byteOffset` comes from, and how many behind it come from there too.
    private func piece(
        of inode: Inode, at byteOffset: UInt64
    ) throws(Ext4Error) -> (DataRun.Source, UInt64) {
        let log2 = UInt64(superblock.blockSizeLog2)
        let block = LogicalBlock(byteOffset >> log2)
        guard block < .end else { return (.zeros, inode.size - byteOffset) }
        let run = try run(of: inode, at: block)
        let within = byteOffset - run.logical.rawValue << log2
        let length = run.count << log2 - within
        guard case .mapped(let start) = run.state else { return (.zeros, length) }
        return (.device(byteOffset: start.rawValue << log2 + within), length)
    }

    /// Whether `i_block` is a map at all: it is the target of short links, or a device's number.
    func hasMap(_ inode: Inode) -> Bool {
        switch inode.type {
        case .regular, .directory: !inode.usesInlineData
        case .symlink: !inode.usesInlineData && (inode.usesExtents || inode.size >= 60)
        default: false
        }
    }

    private func checkReadable(_ inode: Inode) throws(Ext4Error) {
        guard inode.type == .regular else {
            throw inode.isDirectory ? .isDirectory : .invalidArgument
        }
        guard !inode.isEncrypted else { throw .noKey }
    }

    /// A range of the contents that stand in the inode: 60 bytes of `i_block`, then `system.data`.
    ///
    /// The range lies within the file's size, which may be larger than all that is there: what
    /// `mke2fs -d` makes of a file that is one hole, and older kernels of a small file that
    /// `truncate` makes a large one. The rest reads as zeros.
    private func inlineContents(
        of inode: Inode, at byteOffset: UInt64, count: Int
    ) throws(Ext4Error) -> [UInt8] {
        let stored = inode.record.withBlock { $0.copy() } + (try inlineRest(of: inode))
        let start = Int(min(byteOffset, UInt64(stored.count)))
        let end = min(start &+ count, stored.count)
        let rest = count &- (end &- start)
        return Array(stored[start..<end]) + [UInt8](repeating: 0, count: rest)
    }

    /// The value of `system.data`, where inline contents go on; empty when there is none.
    func inlineRest(of inode: Inode) throws(Ext4Error) -> [UInt8] {
        guard superblock.incompatible.contains(.inlineData) else {
            throw .corrupt(
                .inode, at: .init(inode: inode.number),
                .field(
                    "i_flags", value: UInt64(inode.flags.rawValue),
                    rule: "without EXT4_INLINE_DATA_FL, since inline_data is off"))
        }
        return try inode.record.withBytes { (bytes) throws(Ext4Error) in
            let list = try AttributeList(
                parsingInode: bytes, extraSize: inode.record.extraSize, attributeContext(inode))
            switch list?.entry(named: .inlineData)?.value {
            case .inArea(let range): return bytes.copy(range)
            case nil: return []
            case .inode(let number, _):
                // The kernel looks for them in the inode only.
                throw .corrupt(
                    .inlineData, at: .init(inode: inode.number),
                    .field(
                        "e_value_inum", value: UInt64(number.rawValue),
                        rule: "0 for the rest of inline contents"))
            }
        }
    }

    /// What decides which attributes of `inode` are good; without one, of any.
    func attributeContext(_ inode: Inode?) -> AttributeList.Context {
        .init(
            owner: inode?.number, inodeCount: superblock.inodesCount,
            firstInode: superblock.firstInode.rawValue,
            hasAttributeInodes: superblock.incompatible.contains(.eaInode),
            checksumSeed: reader.checksBlocks ? superblock.checksumSeed : nil)
    }
}
