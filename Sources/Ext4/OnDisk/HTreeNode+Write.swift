// Writing nodes of a directory's index. Entry 0 has no hash of its own: limit and count stand in
// its place, so that only its block is ever written.

extension HTreeNode {
    /// The entries that fit behind byte `entries` of a block.
    package static func capacity(from entries: Int, _ format: DirectoryFormat) -> Int {
        let tail = format.hasChecksums ? entrySize : 0
        return (format.blockSize &- entries &- tail) / entrySize
    }

    /// Writes the frame of a root behind the entries of `.` and `..`, the way that `..` fills the
    /// block and so hides it, with entries that lead to `leaves`.
    package static func writeRoot(
        itself: InodeNumber, parent: InodeNumber, hashVersion: UInt8,
        leaves: [(hash: UInt32, block: LogicalBlock)], in bytes: inout MutableRawSpan,
        format: DirectoryFormat
    ) {
        bytes.clear()
        DirectoryRecord.writeDots(
            itself: itself, parent: parent, end: format.blockSize, in: &bytes,
            format: format)
        bytes[RootLayout.hashVersion.at(rootBase)] = hashVersion
        bytes[RootLayout.infoLength.at(rootBase)] = UInt8(RootLayout.size)
        let entries = rootBase &+ RootLayout.size
        for (i, leaf) in leaves.enumerated() {
            bytes[EntryLayout.hash.at(entries &+ i &* entrySize)] = leaf.hash
            setBlock(leaf.block, i, from: entries, in: &bytes)
        }
        writeCounts(from: entries, count: leaves.count, in: &bytes, format)
    }

    private static func writeCounts(
        from entries: Int, count: Int, in bytes: inout MutableRawSpan, _ format: DirectoryFormat
    ) {
        bytes[CountLayout.limit.at(entries)] = UInt16(
            truncatingIfNeeded: capacity(from: entries, format))
        bytes[CountLayout.count.at(entries)] = UInt16(truncatingIfNeeded: count)
    }

    private static func setBlock(
        _ block: LogicalBlock, _ index: Int, from entries: Int, in bytes: inout MutableRawSpan
    ) {
        bytes[EntryLayout.block.at(entries &+ index &* entrySize)] = UInt32(
            truncatingIfNeeded: block.rawValue)
    }

    private func setCount(_ count: Int, in bytes: inout MutableRawSpan) {
        bytes[CountLayout.count.at(entries)] = UInt16(truncatingIfNeeded: count)
    }

    /// Whether an entry has the bits for that block.
    package static func canLead(to block: LogicalBlock) -> Bool { block.rawValue < 1 << 28 }

    /// Whether one more entry fits.
    package var hasRoom: Bool { count < limit }

    /// Makes a new entry before entry `index`, which is not 0; there is room for it.
    package func insert(
        _ hash: UInt32, _ block: LogicalBlock, at index: Int, in bytes: inout MutableRawSpan
    ) {
        precondition(index > 0 && index <= count && hasRoom)
        let start = entries &+ index &* Self.entrySize
        bytes.move(start..<entries &+ count &* Self.entrySize, to: start &+ Self.entrySize)
        bytes[EntryLayout.hash.at(start)] = hash
        Self.setBlock(block, index, from: entries, in: &bytes)
        setCount(count &+ 1, in: &bytes)
    }

    /// A copy of the entries from `index` on, as `writeInner` takes them.
    package func entries(_ bytes: RawSpan, from index: Int) -> [UInt8] {
        bytes.copy(entries &+ index &* Self.entrySize..<entries &+ count &* Self.entrySize)
    }

    /// Writes an inner node with `copies` of entries. The hash of the first of them falls to the
    /// counts: the level above has it.
    package static func writeInner(
        _ copies: [UInt8], in bytes: inout MutableRawSpan, format: DirectoryFormat
    ) {
        let start = DirectoryRecord.headerSize
        bytes.clear()
        DirectoryRecord.writeUnused(
            length: format.blockSize, at: 0, in: &bytes, format: format)
        unsafe bytes.store(copies.span.bytes, at: start)
        writeCounts(from: start, count: copies.count / entrySize, in: &bytes, format)
    }

    /// Drops the entries from `index` on, which is not 0.
    package func truncate(to index: Int, in bytes: inout MutableRawSpan) {
        precondition(index > 0 && index <= count)
        bytes.clear(entries &+ index &* Self.entrySize..<entries &+ count &* Self.entrySize)
        setCount(index, in: &bytes)
    }

    /// Lets a root lead to nothing but the inner node at `block`, which holds its entries now: the
    /// tree has one level more.
    package func deepen(to block: LogicalBlock, in bytes: inout MutableRawSpan) {
        truncate(to: 1, in: &bytes)
        Self.setBlock(block, 0, from: entries, in: &bytes)
        bytes[RootLayout.indirectLevels.at(Self.rootBase)] &+= 1
    }

    /// Gives a node the limit that blocks of `format` have, when its entries stay below that, and
    /// zeros in the place of what follows.
    ///
    /// - Returns: whether they do; when not, nothing has changed.
    package func setLimit(in bytes: inout MutableRawSpan, format: DirectoryFormat) -> Bool {
        let capacity = Self.capacity(from: entries, format)
        guard count <= capacity else { return false }
        bytes[CountLayout.limit.at(entries)] = UInt16(truncatingIfNeeded: capacity)
        bytes.clear(entries &+ min(limit, capacity) &* Self.entrySize..<bytes.byteCount)
        return true
    }
}
