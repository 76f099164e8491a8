// Maps written anew, as a whole, from the runs of a file: for files that are made at once, and for
// maps that a repair replaces. Nothing is read, and nothing of an old map is changed.

/// The map of a file, from its runs.
package struct MapBuilder: Sendable {
    /// A finished map.
    package struct Map: Sendable {
        /// The 60 bytes of `i_block`.
        package let root: [UInt8]
        /// The contents of each block that was given for a node, in that order.
        package let nodes: [[UInt8]]
    }

    private let blockSize: Int
    private let owner: BlockOwner
    private let usesExtents: Bool
    private let hasChecksums: Bool

    /// Where the root has its entries.
    private static let rootSize = InodeRecord.Layout.block.count
    /// Blocks that `i_block` leads to directly (`EXT4_NDIR_BLOCKS`).
    private static let directCount: UInt64 = 12
    private static let pointerSize = 4

    /// The map of a file that `owner` names, of extents or of pointers.
    package init(blockSize: Int, owner: BlockOwner, usesExtents: Bool, hasChecksums: Bool) {
        self.blockSize = blockSize
        self.owner = owner
        self.usesExtents = usesExtents
        self.hasChecksums = hasChecksums
    }

    /// How many blocks the map needs besides the root.
    package func nodeCount(of runs: [BlockRun]) -> Int {
        usesExtents ? extentNodeCount(runs) : pointerTables(runs).count
    }

    /// The map of `runs`, which are in order and apart from each other.
    ///
    /// - Parameter nodes: as many blocks as `nodeCount(of:)` says.
    package func map(of runs: [BlockRun], nodes: [BlockNumber]) -> Map {
        usesExtents ? extents(runs, nodes) : pointers(runs, nodes)
    }

    // MARK: Extents

    private typealias Entry = (key: LogicalBlock, child: BlockNumber)

    private var rootCapacity: Int { Self.rootSize / ExtentNode.entrySize &- 1 }

    private func extentNodeCount(_ runs: [BlockRun]) -> Int {
        var entries = 0
        for run in runs {
            let longest = ExtentNode.longest(run)
            entries &+= Int(clamping: (run.count &+ longest &- 1) / longest)
        }
        let capacity = ExtentNode.capacity(blockSize: blockSize)
        var count = 0
        while entries > rootCapacity {
            entries = (entries &+ capacity &- 1) / capacity
            count &+= entries
        }
        return count
    }

    private func extents(_ runs: [BlockRun], _ places: [BlockNumber]) -> Map {
        let runs = runs.flatMap(Self.pieces)
        let capacity = ExtentNode.capacity(blockSize: blockSize)
        var nodes: [[UInt8]] = []
        guard runs.count > rootCapacity else {
            return Map(root: leaf(runs[...], size: Self.rootSize, rootCapacity), nodes: [])
        }
        // Leaves first, then level by level what leads to them.
        var level: [Entry] = []
        for start in stride(from: 0, to: runs.count, by: capacity) {
            let part = runs[start..<min(start + capacity, runs.count)]
            level.append((runs[start].logical, places[nodes.count]))
            nodes.append(leaf(part, size: blockSize, capacity))
        }
        var depth = 1
        while level.count > rootCapacity {
            var above: [Entry] = []
            for start in stride(from: 0, to: level.count, by: capacity) {
                let part = level[start..<min(start + capacity, level.count)]
                above.append((level[start].key, places[nodes.count]))
                nodes.append(inner(part, size: blockSize, capacity, depth: depth))
            }
            level = above
            depth += 1
        }
        return Map(
            root: inner(level[...], size: Self.rootSize, rootCapacity, depth: depth), nodes: nodes)
    }

    private func leaf(_ runs: ArraySlice<BlockRun>, size: Int, _ maximum: Int) -> [UInt8] {
        node(size: size) { node in
            ExtentNode.writeHeader(to: &node, count: runs.count, maximum: maximum, depth: 0)
            for (i, run) in runs.enumerated() { ExtentNode.setExtent(run, at: i, of: &node) }
        }
    }

    private func inner(
        _ entries: ArraySlice<Entry>, size: Int, _ maximum: Int, depth: Int
    ) -> [UInt8] {
        node(size: size) { node in
            ExtentNode.writeHeader(to: &node, count: entries.count, maximum: maximum, depth: depth)
            for (i, entry) in entries.enumerated() {
                ExtentNode.setChild(entry.child, from: entry.key, at: i, of: &node)
            }
        }
    }

    /// A node of a tree; the root, which is in the inode, has no checksum.
    private func node(size: Int, _ write: (inout MutableRawSpan) -> Void) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: size)
        var span = bytes.mutableSpan
        var raw = unsafe span.mutableBytes
        write(&raw)
        if hasChecksums, size > Self.rootSize { ExtentNode.seal(&raw, owner: owner) }
        return bytes
    }

    /// A run in pieces that an extent can hold.
    private static func pieces(_ run: BlockRun) -> [BlockRun] {
        var rest = run
        var pieces: [BlockRun] = []
        let longest = ExtentNode.longest(run)
        while rest.count > longest {
            pieces.append(rest.prefix(longest))
            rest = rest.suffix(from: LogicalBlock(rest.logical.rawValue &+ longest))
        }
        return pieces + [rest]
    }

    // MARK: Pointers

    /// A block of pointers: how many levels of such are below it, and the first block of the file
    /// that it is about.
    private struct Table: Hashable {
        let height: Int
        let first: UInt64
    }

    /// Where the blocks start that the single, double and triple indirect block are about, and how
    /// many those are.
    private func part(_ level: Int) -> (first: UInt64, count: UInt64) {
        let perTable = UInt64(blockSize / Self.pointerSize)
        var first = Self.directCount
        var count = perTable
        for _ in 0..<level {
            first &+= count
            count &*= perTable
        }
        return (first, count)
    }

    /// Calls `body` for each table on the way to the blocks of `runs`, the lowest first, with the
    /// piece of a run that the lowest is about. Tables next to each other may come twice.
    private func forEachPiece(
        _ runs: [BlockRun],
        _ body: (_ level: Int, _ piece: BlockRun, _ table: Table) -> Void
    ) {
        let perTable = UInt64(blockSize / Self.pointerSize)
        for run in runs where run.start != nil {
            var rest = run
            for level in -1..<3 {
                let (first, count) = level < 0 ? (0, Self.directCount) : part(level)
                while rest.logical.rawValue < first &+ count {
                    let inside = rest.logical.rawValue &- first
                    let start =
                        level < 0 ? first : first &+ inside / perTable &* perTable
                    let end = level < 0 ? first &+ count : start &+ perTable
                    let piece = rest.prefix(end &- rest.logical.rawValue)
                    body(level, piece, Table(height: 0, first: start))
                    guard piece.count < rest.count else {
                        rest = BlockRun(logical: .end, count: 0, state: .hole)
                        break
                    }
                    rest = rest.suffix(from: piece.end)
                }
            }
        }
    }

    /// The tables that are needed, in the order of the file, those of a higher level behind the
    /// first that they lead to.
    private func pointerTables(_ runs: [BlockRun]) -> [Table] {
        var tables: [Table] = []
        var known: Set<Table> = []
        var last: [Table?] = [nil, nil, nil]
        forEachPiece(runs) { level, _, table in
            guard level >= 0 else { return }
            for height in 0...level {
                let table = above(table, level, height)
                guard last[height] != table else { break }
                last[height] = table
                if known.insert(table).inserted { tables.append(table) }
            }
        }
        return tables
    }

    /// The table `height` levels above a lowest one, or that itself.
    private func above(_ table: Table, _ level: Int, _ height: Int) -> Table {
        let perTable = UInt64(blockSize / Self.pointerSize)
        let first = part(level).first
        var width = perTable
        for _ in 0..<height { width &*= perTable }
        return Table(
            height: height, first: first &+ (table.first &- first) / width &* width)
    }

    private func pointers(_ runs: [BlockRun], _ places: [BlockNumber]) -> Map {
        let perTable = UInt64(blockSize / Self.pointerSize)
        var indices: [Table: Int] = [:]
        for (i, table) in pointerTables(runs).enumerated() { indices[table] = i }
        var nodes = [[UInt8]](
            repeating: [UInt8](repeating: 0, count: blockSize), count: indices.count)
        var root = [UInt8](repeating: 0, count: Self.rootSize)
        forEachPiece(runs) { level, piece, table in
            guard let start = piece.start else { return }
            guard level >= 0 else {
                let first = Int(clamping: piece.logical.rawValue)
                Self.set(start, piece.count, at: first, in: &root)
                return
            }
            guard let index = indices[table] else { return }
            Self.set(
                start, piece.count, at: Int(clamping: piece.logical.rawValue &- table.first),
                in: &nodes[index])
            var below = index
            var width = perTable
            for height in 1..<(level + 1) {
                let parent = above(table, level, height)
                guard let upper = indices[parent] else { return }
                let slot = (table.first &- parent.first) / width
                Self.set(places[below], 1, at: Int(clamping: slot), in: &nodes[upper])
                below = upper
                width &*= perTable
            }
            Self.set(places[below], 1, at: Int(Self.directCount) + level, in: &root)
        }
        return Map(root: root, nodes: nodes)
    }

    /// Writes pointers to `count` blocks from `start` on.
    private static func set(
        _ start: BlockNumber, _ count: UInt64, at index: Int, in table: inout [UInt8]
    ) {
        var span = table.mutableSpan
        var bytes = unsafe span.mutableBytes
        for i in 0..<Int(clamping: count) {
            let field = Field<UInt32>.le(pointerSize &* (index &+ i))
            bytes[field] = UInt32(truncatingIfNeeded: start.rawValue &+ UInt64(i))
        }
    }
}
