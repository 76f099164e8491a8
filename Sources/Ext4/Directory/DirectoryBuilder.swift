// Directories written anew, as a whole, from their names: for directories that are made at once,
// and for those that a repair replaces.

/// The blocks of a directory, from its names: one after another, or with an index that has as many
/// levels as it takes.
package struct DirectoryBuilder {
    /// A name and what it leads to. The bytes of the names of many entries stand in one array.
    package struct Entry: Sendable {
        /// Where the name starts in that array.
        package var nameOffset: Int
        /// Its length, 1 to 255.
        package var nameLength: UInt8
        /// The type that the entry tells.
        package var type: UInt8
        /// What it leads to.
        package var inode: UInt32

        /// Makes an entry.
        package init(nameOffset: Int, nameLength: UInt8, type: UInt8, inode: UInt32) {
            self.nameOffset = nameOffset
            self.nameLength = nameLength
            self.type = type
            self.inode = inode
        }

        /// Where the name stands.
        fileprivate var name: Range<Int> { nameOffset..<nameOffset &+ Int(nameLength) }

        fileprivate var size: Int {
            DirectoryRecord.size(nameLength: Int(nameLength), hasHash: false)
        }
    }

    private typealias Lead = (hash: UInt32, block: LogicalBlock)

    private let owner: BlockOwner
    private let parent: InodeNumber
    private let format: DirectoryFormat
    private let hash: DirectoryHash?
    private let maximumLevels: Int
    /// The names.
    private let names: [UInt8]

    /// A directory whose inode `owner` names.
    ///
    /// - Parameters:
    ///   - hash: the hash that an index is by; nil for no index.
    ///   - maximumLevels: the levels below the root that an index may have.
    ///   - names: the bytes of all names.
    package init(
        owner: BlockOwner, parent: InodeNumber, format: DirectoryFormat, hash: DirectoryHash?,
        maximumLevels: Int, names: [UInt8]
    ) {
        self.owner = owner
        self.parent = parent
        self.format = format
        self.hash = hash
        self.maximumLevels = maximumLevels
        self.names = names
    }

    /// The blocks, in the order of the directory, and whether they have an index.
    package func blocks(_ entries: [Entry]) -> (blocks: [UInt8], isIndexed: Bool) {
        let dots = 2 * DirectoryRecord.dotSize
        let size = entries.reduce(dots) { $0 + $1.size }
        if size > format.entriesEnd, let indexed = indexed(entries) { return (indexed, true) }
        return (linear(entries), false)
    }

    private func linear(_ entries: [Entry]) -> [UInt8] {
        var blocks: [UInt8] = []
        var position = 0
        repeat {
            addLeaf(entries, from: &position, hasDots: blocks.isEmpty, to: &blocks)
        } while position < entries.count
        return blocks
    }

    /// Adds a block of zeros and fills it.
    private func addBlock(to blocks: inout [UInt8], _ fill: (inout MutableRawSpan) -> Void) {
        let start = blocks.count
        blocks.append(contentsOf: repeatElement(0, count: format.blockSize))
        var span = blocks.mutableSpan
        var all = unsafe span.mutableBytes
        var block = all._mutatingExtracting(start..<start &+ format.blockSize)
        fill(&block)
    }

    /// Adds a block with as many entries as fit.
    private func addLeaf(
        _ entries: [Entry], from position: inout Int, hasDots: Bool, to blocks: inout [UInt8]
    ) {
        let end = format.entriesEnd
        let first = position
        var offset = hasDots ? 2 * DirectoryRecord.dotSize : 0
        while position < entries.count, offset + entries[position].size <= end {
            offset += entries[position].size
            position += 1
        }
        let last = position
        addBlock(to: &blocks) { bytes in
            if hasDots {
                let dotsEnd = first == last ? end : 2 * DirectoryRecord.dotSize
                DirectoryRecord.writeDots(
                    itself: owner.inode, parent: parent, end: dotsEnd, in: &bytes, format: format)
            } else if first == last {
                DirectoryRecord.writeUnused(length: end, at: 0, in: &bytes, format: format)
            }
            var start = hasDots ? 2 * DirectoryRecord.dotSize : 0
            for i in first..<last {
                let entry = entries[i]
                let next = i + 1 < last ? start + entry.size : end
                unsafe DirectoryRecord.write(
                    DirectoryRecord.Target(
                        inode: InodeNumber(entry.inode),
                        type: FileType(rawValue: entry.type) ?? .unknown),
                    name: names.span.bytes.extracting(entry.name), length: next - start, at: start,
                    in: &bytes,
                    format: format)
                start = next
            }
            DirectoryRecord.writeTail(in: &bytes, format: format)
            if format.hasChecksums { DirectoryRecord.sealTail(&bytes, owner: owner) }
        }
    }

    // MARK: The index

    private func indexed(_ entries: [Entry]) -> [UInt8]? {
        guard let hash else { return nil }
        var hashed: [(value: DirectoryHash.Value, index: Int)] = []
        hashed.reserveCapacity(entries.count)
        for (i, entry) in entries.enumerated() {
            guard let value = unsafe hash.hash(of: names.span.bytes.extracting(entry.name)) else {
                return nil
            }
            hashed.append((value, i))
        }
        hashed.sort { $0.value != $1.value ? $0.value < $1.value : $0.index < $1.index }
        let sorted = hashed.map { entries[$0.index] }
        let rootCapacity = HTreeNode.capacity(
            from: HTreeNode.rootBase + HTreeNode.RootLayout.size, format)
        let capacity = HTreeNode.capacity(from: DirectoryRecord.headerSize, format)
        // The root is written when it is known what it leads to.
        var blocks = [UInt8](repeating: 0, count: format.blockSize)
        var level: [Lead] = []
        var position = 0
        while position < sorted.count {
            let first = position
            let block = LogicalBlock(UInt64(blocks.count / format.blockSize))
            addLeaf(sorted, from: &position, hasDots: false, to: &blocks)
            var major = hashed[first].value.major
            // The block before ends with the same hash: the chain goes on here.
            if first > 0, hashed[first - 1].value.major == major { major |= 1 }
            level.append((major, block))
        }
        var levels = 0
        while level.count > rootCapacity {
            levels += 1
            guard levels <= maximumLevels else { return nil }
            var above: [Lead] = []
            for start in stride(from: 0, to: level.count, by: capacity) {
                let block = LogicalBlock(UInt64(blocks.count / format.blockSize))
                above.append((level[start].hash, block))
                addInner(level[start..<min(start + capacity, level.count)], to: &blocks)
            }
            level = above
        }
        writeRoot(level, levels: levels, version: hash.version, to: &blocks)
        return blocks
    }

    private func addInner(_ leads: ArraySlice<Lead>, to blocks: inout [UInt8]) {
        var copies = [UInt8](repeating: 0, count: leads.count * HTreeNode.entrySize)
        var span = copies.mutableSpan
        var raw = unsafe span.mutableBytes
        for (i, lead) in leads.enumerated() {
            let base = i * HTreeNode.entrySize
            raw[HTreeNode.EntryLayout.hash.at(base)] = lead.hash
            raw[HTreeNode.EntryLayout.block.at(base)] = UInt32(
                truncatingIfNeeded: lead.block.rawValue)
        }
        let entries = copies
        addBlock(to: &blocks) { bytes in
            HTreeNode.writeInner(entries, in: &bytes, format: format)
            if format.hasChecksums { HTreeNode.seal(&bytes, isRoot: false, owner: owner) }
        }
    }

    private func writeRoot(
        _ leads: [Lead], levels: Int, version: DirectoryHash.Version, to blocks: inout [UInt8]
    ) {
        // What the disk has of the hash's version does not tell how bytes are taken.
        let stored =
            version.isUnsigned && version != .sipHash ? version.rawValue - 3 : version.rawValue
        var span = blocks.mutableSpan
        var all = unsafe span.mutableBytes
        var root = all._mutatingExtracting(0..<format.blockSize)
        HTreeNode.writeRoot(
            itself: owner.inode, parent: parent, hashVersion: stored, leaves: leads, in: &root,
            format: format)
        root[HTreeNode.RootLayout.indirectLevels.at(HTreeNode.rootBase)] = UInt8(
            truncatingIfNeeded: levels)
        if format.hasChecksums { HTreeNode.seal(&root, isRoot: true, owner: owner) }
    }
}
