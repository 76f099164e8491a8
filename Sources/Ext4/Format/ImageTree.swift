// The tree of an image that is being built: every inode to be, every name, in memory. Names are
// bytes in one long array, and nothing of a node is an object of its own: a node takes about a
// hundred bytes, a name its length and 16 more.

/// An inode to be, by its place in the tree; see `ImageBuilder`.
public struct ImageNode: Hashable, Sendable {
    let index: Int32

    /// The root directory.
    public static let root = ImageNode(index: 0)
    /// The directory `lost+found`, which every volume has.
    public static let lostAndFound = ImageNode(index: 1)
}

/// What becomes of a tree's inodes and names until they are written.
struct ImageTree {
    /// Where what a node holds is.
    enum Contents {
        /// Nothing.
        case none
        /// `count` blocks in one run, from the first block of the file on.
        case run(start: UInt64, count: UInt64)
        /// Runs that are kept apart, by their index.
        case runs(Int32)
        /// Bytes that stand in the inode: a link's target, or a file's contents. Where they are in
        /// the array of such, and how many.
        case bytes(offset: Int, count: Int)
        /// A directory, by its index.
        case directory(Int32)
        /// A device.
        case device(DeviceNumber)
    }

    /// A point in time as an inode keeps it.
    struct StoredTime {
        private let low: UInt32
        private let extra: UInt32

        init(_ time: Timestamp) {
            (low, extra) = time.encoded(hasExtra: true)
        }

        var time: Timestamp { Timestamp(low: low, extra: extra) }
    }

    /// An inode to be.
    struct Node {
        var mode: UInt16
        var linkCount: UInt32 = 0
        var userID: UInt32
        var groupID: UInt32
        var size: UInt64 = 0
        var accessTime: StoredTime
        var changeTime: StoredTime
        var modificationTime: StoredTime
        var contents = Contents.none
        /// The set of its attributes, by its index; -1 for none.
        var attributes: Int32 = -1

        var type: FileType { FileMode(rawValue: mode).type }
    }

    /// A name in a directory.
    struct Entry {
        var nameOffset: Int
        var nameLength: UInt8
        /// -1 for a name that was removed.
        var node: Int32
    }

    /// The names of a directory, in the order in which they came.
    struct Directory {
        let node: Int32
        let parent: Int32
        var entries: [Entry] = []
        /// How many entries were removed.
        var removedCount = 0
        var subdirectoryCount: UInt32 = 0
        /// Places of entries by the hash of their names, -1 where there is none; empty until
        /// somebody looks for a name in a directory that is not small.
        var table: [Int32] = []
    }

    private(set) var nodes: [Node] = []
    var directories: [Directory] = []
    /// Maps of more than one run.
    var maps: [[BlockRun]] = []
    /// The bytes of all names.
    private(set) var names: [UInt8] = []
    /// Targets of links, and contents that stand in inodes.
    private(set) var stored: [UInt8] = []
    private let key: SipHash.Key

    /// Directories with so many names are searched one by one.
    private static let smallDirectory = 8

    /// - Parameter seed: what makes the hashes of names another one's secret.
    init(seed: (UInt64, UInt64)) {
        key = SipHash.Key(low: seed.0, high: seed.1)
    }

    // MARK: Nodes

    subscript(_ node: ImageNode) -> Node {
        get { nodes[Int(node.index)] }
        set { nodes[Int(node.index)] = newValue }
    }

    /// Whether it is one of the tree's.
    func contains(_ node: ImageNode) -> Bool { node.index >= 0 && Int(node.index) < nodes.count }

    /// Adds a node, without a name so far.
    mutating func add(_ node: Node) throws(Ext4Error) -> ImageNode {
        guard let index = Int32(exactly: nodes.count), index < Int32.max - 16 else {
            throw .noSpace
        }
        nodes.append(node)
        return ImageNode(index: index)
    }

    /// Keeps bytes that are to stand in an inode.
    mutating func store(_ bytes: RawSpan) -> Contents {
        let offset = stored.count
        unsafe bytes.withUnsafeBytes { unsafe stored.append(contentsOf: $0) }
        return .bytes(offset: offset, count: bytes.byteCount)
    }

    /// Where a node's blocks are.
    func runs(of node: Node) -> [BlockRun] {
        switch node.contents {
        case .run(let start, let count):
            return [
                BlockRun(
                    logical: LogicalBlock(0), count: count, state: .mapped(BlockNumber(start)))
            ]
        case .runs(let index): return maps[Int(index)]
        default: return []
        }
    }

    /// The form in which `runs` are kept.
    mutating func contents(_ runs: [BlockRun]) -> Contents {
        guard let first = runs.first else { return .none }
        if runs.count == 1, first.logical.rawValue == 0, case .mapped(let start) = first.state {
            return .run(start: start.rawValue, count: first.count)
        }
        maps.append(runs)
        return .runs(Int32(truncatingIfNeeded: maps.count - 1))
    }

    // MARK: Directories

    /// The index of a node's directory.
    func directory(_ node: ImageNode) throws(Ext4Error) -> Int {
        guard contains(node), case .directory(let index) = self[node].contents else {
            throw .notDirectory
        }
        return Int(index)
    }

    /// Makes a node a directory without entries.
    mutating func makeDirectory(_ node: ImageNode, parent: ImageNode) {
        self[node].contents = .directory(Int32(truncatingIfNeeded: directories.count))
        directories.append(Directory(node: node.index, parent: parent.index))
    }

    /// Adds a name that the directory does not have.
    mutating func insert(_ name: RawSpan, _ node: ImageNode, in directory: Int) {
        let offset = names.count
        unsafe name.withUnsafeBytes { unsafe names.append(contentsOf: $0) }
        let place = directories[directory].entries.count
        directories[directory].entries.append(
            Entry(
                nameOffset: offset, nameLength: UInt8(truncatingIfNeeded: name.byteCount),
                node: node.index))
        nodes[Int(node.index)].linkCount &+= 1
        if nodes[Int(node.index)].type == .directory {
            directories[directory].subdirectoryCount &+= 1
        }
        guard !directories[directory].table.isEmpty else { return }
        if 2 * directories[directory].entries.count > directories[directory].table.count {
            makeTable(directory)
        } else {
            note(place, hash: SipHash.hash(name, key: key), in: directory)
        }
    }

    /// Takes a name away.
    ///
    /// - Returns: what it led to.
    mutating func remove(_ place: Int, in directory: Int) -> ImageNode {
        let node = directories[directory].entries[place].node
        directories[directory].entries[place].node = -1
        directories[directory].removedCount += 1
        nodes[Int(node)].linkCount &-= 1
        if nodes[Int(node)].type == .directory { directories[directory].subdirectoryCount &-= 1 }
        return ImageNode(index: node)
    }

    /// The place of a name's entry.
    mutating func place(of name: RawSpan, in directory: Int) -> Int? {
        let count = directories[directory].entries.count
        if count <= Self.smallDirectory {
            for place in 0..<count where isName(name, at: place, in: directory) { return place }
            return nil
        }
        if directories[directory].table.isEmpty { makeTable(directory) }
        let mask = directories[directory].table.count &- 1
        var slot = Int(truncatingIfNeeded: SipHash.hash(name, key: key)) & mask
        while true {
            let place = directories[directory].table[slot]
            if place < 0 { return nil }
            if isName(name, at: Int(place), in: directory) { return Int(place) }
            slot = (slot &+ 1) & mask
        }
    }

    private func isName(_ name: RawSpan, at place: Int, in directory: Int) -> Bool {
        let entry = directories[directory].entries[place]
        guard entry.node >= 0, Int(entry.nameLength) == name.byteCount else { return false }
        let own = unsafe names.span.bytes
        for i in 0..<name.byteCount
        where own.byte(at: entry.nameOffset &+ i) != name.byte(at: i) {
            return false
        }
        return true
    }

    /// Makes the table anew, with room for twice as many names. It never is more than half full.
    private mutating func makeTable(_ directory: Int) {
        let count = directories[directory].entries.count
        var size = 64
        while size < 4 * count { size *= 2 }
        directories[directory].table = [Int32](repeating: -1, count: size)
        for place in 0..<count {
            let entry = directories[directory].entries[place]
            guard entry.node >= 0 else { continue }
            let range = entry.nameOffset..<entry.nameOffset &+ Int(entry.nameLength)
            let hash = unsafe SipHash.hash(names.span.bytes.extracting(range), key: key)
            note(place, hash: hash, in: directory)
        }
    }

    private mutating func note(_ place: Int, hash: UInt64, in directory: Int) {
        let mask = directories[directory].table.count &- 1
        var slot = Int(truncatingIfNeeded: hash) & mask
        while directories[directory].table[slot] >= 0 { slot = (slot &+ 1) & mask }
        directories[directory].table[slot] = Int32(truncatingIfNeeded: place)
    }

    // MARK: At the end

    /// The places of a directory's entries in the order of the bytes of their names.
    func sortedPlaces(_ directory: Directory) -> [Int] {
        var places: [Int] = []
        places.reserveCapacity(directory.entries.count - directory.removedCount)
        var isSorted = true
        for (place, entry) in directory.entries.enumerated() where entry.node >= 0 {
            if isSorted, let last = places.last {
                isSorted = precedes(directory.entries[last], entry)
            }
            places.append(place)
        }
        if !isSorted {
            places.sort { precedes(directory.entries[$0], directory.entries[$1]) }
        }
        return places
    }

    private func precedes(_ a: Entry, _ b: Entry) -> Bool {
        let bytes = unsafe names.span.bytes
        for i in 0..<Int(min(a.nameLength, b.nameLength)) {
            let (first, second) = (
                bytes.byte(at: a.nameOffset &+ i), bytes.byte(at: b.nameOffset &+ i)
            )
            if first != second { return first < second }
        }
        return a.nameLength < b.nameLength
    }
}
