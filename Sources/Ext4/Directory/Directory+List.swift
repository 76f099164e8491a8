extension Directory {
    /// An entry in a listing.
    struct Listed {
        let inode: InodeNumber
        let type: FileType
        /// The hash that stands behind the name.
        let hash: (major: UInt32, minor: UInt32)?
        /// The position behind the entry.
        let next: UInt64
    }

    /// Calls `body` with each used entry and its name from `position` on, until it returns false.
    ///
    /// `position` is 0 or the `next` of the entry that was taken last. Entries that are there all
    /// the time are seen exactly once, in as many pieces as the listing may be, and whatever is
    /// added and removed between them.
    func list(
        from position: UInt64,
        _ body: (_ entry: Listed, _ name: RawSpan) throws(Ext4Error) -> Bool
    ) throws(Ext4Error) {
        if HashOrder.isPosition(position) {
            return try listByHash(from: position, body)
        }
        if position == 0, isListedByHash {
            return try listByHash(from: HashOrder.first, body)
        }
        let log2 = UInt64(reader.superblock.blockSizeLog2)
        try forEach(from: position) { (record, name, block) throws(Ext4Error) in
            try body(
                Listed(
                    inode: record.inode, type: record.type, hash: record.hash,
                    next: block.rawValue << log2 + UInt64(record.end)), name)
        }
    }

    /// Whether a listing from the start is one by hash. Where the index is damaged it is not: the
    /// order of the blocks shows all that is left.
    private var isListedByHash: Bool {
        guard isIndexed else { return blockCount == 1 && hashOfNewIndex != nil }
        guard let index = try? HTreeIndex(self) else { return false }
        return index.isSound
    }

    /// Goes through an indexed directory leaf by leaf, through any other as if it were one leaf.
    private func listByHash(
        from position: UInt64,
        _ body: (_ entry: Listed, _ name: RawSpan) throws(Ext4Error) -> Bool
    ) throws(Ext4Error) {
        guard isIndexed else {
            guard let hash = hashOfNewIndex else { throw .invalidArgument }
            let order = HashOrder(hash, superblock: reader.superblock)
            var sheet = Sheet(order: order, from: position)
            try forEachBlock(from: 0) { (block, buffer) throws(Ext4Error) in
                try sheet.add(buffer, of: block, in: self)
                return true
            }
            _ = try sheet.forEach(in: self, body)
            return
        }
        guard let index = try HTreeIndex(self) else { throw .invalidArgument }
        let order = HashOrder(index.hash, superblock: reader.superblock)
        if position <= HashOrder.first + 1 {
            var sheet = Sheet(order: order, from: position)
            try sheet.add(index.rootFrame.buffer, of: LogicalBlock(0), in: self)
            guard try sheet.forEach(in: self, body) else { return }
        }
        var path = try index.path(to: HashOrder.major(of: position))
        // Positions only ever rise, whatever a damaged index says: a listing has an end.
        var position = position
        var passed: Set<LogicalBlock> = []
        var goesOn = true
        while goesOn {
            // Leaves that share a hash are sorted together.
            var sheet = Sheet(order: order, from: position)
            var isContinued = true
            while goesOn, isContinued {
                let block = try index.leaf(of: path)
                let bounds = index.bounds(of: path)
                try index.pass(block, &passed)
                try sheet.add(
                    buffer(of: block), of: block, in: self,
                    .init(lower: bounds.lower, upper: bounds.upper))
                isContinued = (bounds.upper ?? 0) & 1 == 1
                goesOn = try index.advance(&path)
            }
            guard try sheet.forEach(in: self, body) else { return }
            position = sheet.end
        }
    }
}

/// Entries of one or more blocks, to be listed in the order of their hashes.
private struct Sheet {
    private let order: HashOrder
    private let first: UInt64
    private var buffers: [(block: LogicalBlock, buffer: Buffer)] = []
    private var entries: [Entry] = []

    private struct Entry {
        let position: UInt64
        /// The index of the buffer, and where in it the entry starts.
        let place: UInt64
    }

    /// A sheet for the entries at `position` and behind.
    init(order: HashOrder, from position: UInt64) {
        self.order = order
        first = position
    }

    /// The position behind the last entry.
    var end: UInt64 { entries.last.map { $0.position &+ 1 } ?? first }

    /// Adds the entries of a block.
    mutating func add(
        _ buffer: Buffer, of block: LogicalBlock, in directory: Directory,
        _ bounds: HashOrder.Bounds = .init()
    ) throws(Ext4Error) {
        let index = UInt64(buffers.count)
        buffers.append((block, buffer))
        try buffer.withBytes { (bytes) throws(Ext4Error) in
            if entries.isEmpty { entries.reserveCapacity(bytes.byteCount / 24) }
            _ = try directory.scan(bytes, of: block) { start, length in
                let name = bytes.extracting(start..<start &+ length)
                let dots = block.rawValue == 0 ? HashOrder.position(ofDots: name) : nil
                let position = dots ?? order.position(of: name, in: bounds)
                if position >= first {
                    let place = index << 32 | UInt64(start &- DirectoryRecord.headerSize)
                    entries.append(Entry(position: position, place: place))
                }
                return false
            }
        }
    }

    /// Calls `body` with each entry in order, until it returns false; and says whether it did not.
    mutating func forEach(
        in directory: Directory,
        _ body: (_ entry: Directory.Listed, _ name: RawSpan) throws(Ext4Error) -> Bool
    ) throws(Ext4Error) -> Bool {
        entries.sort { $0.position < $1.position }
        for entry in entries {
            let (block, buffer) = buffers[Int(entry.place >> 32)]
            let start = Int(UInt32(truncatingIfNeeded: entry.place))
            let goesOn = try buffer.withBytes { (bytes) throws(Ext4Error) in
                let record = try directory.record(bytes, at: start, of: block)
                return try body(
                    Directory.Listed(
                        inode: record.inode, type: record.type, hash: record.hash,
                        next: entry.position &+ 1), bytes.extracting(record.name))
            }
            guard goesOn else { return false }
        }
        return true
    }
}
