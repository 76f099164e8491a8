// Changing the entries of a node. Whoever calls has checked the node, and keeps to its room.

extension ExtentNode {
    /// The longest unwritten extent: its length stands in what is left above the longest
    /// initialised one (`EXT_UNWRITTEN_MAX_LEN`).
    package static let maximumUnwrittenLength: UInt16 = 32767

    /// Entries of a node in a block of its own. What is left behind them holds the checksum.
    package static func capacity(blockSize: Int) -> Int { blockSize / entrySize &- 1 }

    /// The most blocks that an extent in the state of `run` can have.
    package static func longest(_ run: BlockRun) -> UInt64 {
        if case .unwritten = run.state {
            UInt64(maximumUnwrittenLength)
        } else {
            UInt64(maximumLength)
        }
    }

    /// Where the entries `slots` stand.
    package static func bytes(of slots: Range<Int>) -> Range<Int> {
        entrySize &* (slots.lowerBound &+ 1)..<entrySize &* (slots.upperBound &+ 1)
    }

    /// Writes the header of a new node.
    package static func writeHeader(
        to node: inout MutableRawSpan, count: Int, maximum: Int, depth: Int
    ) {
        node[Header.magic] = magic
        node[Header.entries] = UInt16(truncatingIfNeeded: count)
        node[Header.maximum] = UInt16(truncatingIfNeeded: maximum)
        node[Header.depth] = UInt16(truncatingIfNeeded: depth)
        node[Header.generation] = 0
    }

    /// Sets the number of entries.
    package static func setCount(_ count: Int, of node: inout MutableRawSpan) {
        node[Header.entries] = UInt16(truncatingIfNeeded: count)
    }

    /// Sets the first block of the file that entry `index` is about.
    package static func setKey(_ key: LogicalBlock, at index: Int, of node: inout MutableRawSpan) {
        node[Leaf.block.at(entrySize &* (index &+ 1))] = UInt32(truncatingIfNeeded: key.rawValue)
    }

    /// Makes `run`, which is no hole and not too long, entry `index` of a leaf.
    package static func setExtent(_ run: BlockRun, at index: Int, of leaf: inout MutableRawSpan) {
        let base = entrySize &* (index &+ 1)
        var length = UInt16(truncatingIfNeeded: run.count)
        var start = BlockNumber(0)
        switch run.state {
        case .mapped(let block): start = block
        case .unwritten(let block):
            start = block
            length &+= maximumLength
        case .hole: break
        }
        leaf[Leaf.block.at(base)] = UInt32(truncatingIfNeeded: run.logical.rawValue)
        leaf[Leaf.length.at(base)] = length
        leaf[Leaf.startHigh.at(base)] = UInt16(truncatingIfNeeded: start.rawValue >> 32)
        leaf[Leaf.startLow.at(base)] = UInt32(truncatingIfNeeded: start.rawValue)
    }

    /// Makes the node in `child`, for blocks from `key` on, entry `index` of an inner node.
    package static func setChild(
        _ child: BlockNumber, from key: LogicalBlock, at index: Int, of node: inout MutableRawSpan
    ) {
        let base = entrySize &* (index &+ 1)
        node[Index.block.at(base)] = UInt32(truncatingIfNeeded: key.rawValue)
        node[Index.leafLow.at(base)] = UInt32(truncatingIfNeeded: child.rawValue)
        node[Index.leafHigh.at(base)] = UInt16(truncatingIfNeeded: child.rawValue >> 32)
        node[Index.unused.at(base)] = 0
    }

    /// Moves the entries behind `slots` so that `count` new ones have room in place of those, and
    /// counts them.
    package static func resize(_ slots: Range<Int>, to count: Int, in node: inout MutableRawSpan) {
        let total = Int(node[Header.entries])
        let moved = entrySize &* (total &- slots.upperBound)
        let from = entrySize &* (slots.upperBound &+ 1)
        let to = entrySize &* (slots.lowerBound &+ count &+ 1)
        if moved > 0, from != to {
            precondition(max(from, to) + moved <= node.byteCount, "a node has no room for that")
            unsafe node.withUnsafeMutableBytes { bytes in
                let source = unsafe UnsafeRawBufferPointer(rebasing: bytes[from..<from + moved])
                unsafe UnsafeMutableRawBufferPointer(rebasing: bytes[to..<to + moved])
                    .copyMemory(from: source)
            }
        }
        setCount(total &- slots.count &+ count, of: &node)
    }

    /// Copies the entries `range` of `source` to where entries from `index` on stand.
    package static func copyEntries(
        _ range: Range<Int>, of source: RawSpan, to index: Int, of node: inout MutableRawSpan
    ) {
        guard !range.isEmpty else { return }
        let part = source.extracting(bytes(of: range))
        let to = entrySize &* (index &+ 1)
        precondition(to + part.byteCount <= node.byteCount, "a node has no room for that")
        unsafe node.withUnsafeMutableBytes { bytes in
            unsafe part.withUnsafeBytes { source in
                unsafe UnsafeMutableRawBufferPointer(rebasing: bytes[to..<to + source.count])
                    .copyMemory(from: source)
            }
        }
    }
}
