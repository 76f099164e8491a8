// The attributes of one area, taken out of its bytes to be changed and put back as a whole.
//
// What is put back keeps to the kernel's rules: in a block the entries are sorted, because the
// kernel stops its search at the first one that is greater; values are packed from the end; gaps
// and paddings are zeros, because blocks are compared for sharing. Entries that were not touched
// keep their `e_hash`, which may be the one of signed bytes or one that an old kernel left behind.

/// The attributes in an inode, or in an attribute block.
struct AttributeSet: Hashable, Sendable {
    /// The two places where attributes stand.
    enum Area: Hashable, Sendable {
        /// Behind the fields of an inode, where that is so many bytes.
        case inode(byteCount: Int)
        /// A block of that size.
        case block(byteCount: Int)

        /// The bytes of all of it.
        var byteCount: Int {
            switch self {
            case .inode(let count), .block(let count): count
            }
        }
    }

    /// A value.
    enum Value: Hashable, Sendable {
        /// One that stands in the area itself.
        case bytes([UInt8])
        /// One in an inode of its own, of `size` bytes.
        case inode(InodeNumber, size: Int)

        /// The size in bytes.
        var size: Int {
            switch self {
            case .bytes(let bytes): bytes.count
            case .inode(_, let size): size
            }
        }

        /// The bytes that it takes in the area.
        fileprivate var sizeInArea: Int {
            switch self {
            case .bytes(let bytes): XAttrEntryRecord.padded(bytes.count)
            case .inode: 0
            }
        }
    }

    /// One attribute.
    struct Item: Hashable, Sendable {
        let name: AttributeName
        let value: Value
        /// `e_hash`.
        let hash: UInt32

        fileprivate var size: Int {
            XAttrEntryRecord.size(nameLength: name.rest.count) &+ value.sizeInArea
        }
    }

    /// Where the attributes stand.
    let area: Area
    /// The attributes, in the order of the disk.
    private(set) var items: [Item]

    /// An area without attributes.
    init(emptyIn area: Area) {
        self.area = area
        items = []
    }

    /// Takes the attributes of `list` out of `bytes`, which are what the list was parsed from.
    ///
    /// - Throws: `Ext4Error.corrupt` when values share bytes, so that they would not all have room.
    init(_ list: AttributeList, in bytes: RawSpan, _ area: Area) throws(Ext4Error) {
        self.area = area
        items = list.entries.map { entry in
            let value: Value =
                switch entry.value {
                case .inArea(let range): .bytes(bytes.copy(range))
                case .inode(let number, let size): .inode(number, size: size)
                }
            return Item(name: entry.name, value: value, hash: entry.hash)
        }
        guard usedSize <= capacity else {
            throw .corrupt(
                .extendedAttribute, at: list.place, .broken("values overlap each other"))
        }
    }

    /// The bytes for entries and values together.
    var capacity: Int {
        let header =
            switch area {
            case .inode: XAttrInodeHeader.Layout.size
            case .block: XAttrBlockHeader.Layout.size
            }
        return max(area.byteCount &- header &- XAttrEntryRecord.terminatorSize, 0)
    }

    /// The bytes that entries and values take.
    var usedSize: Int { items.reduce(0) { $0 &+ $1.size } }

    /// Whether there are none.
    var isEmpty: Bool { items.isEmpty }

    /// The value of the first attribute of that name.
    func value(of name: AttributeName) -> Value? { item(named: name)?.value }

    /// The first attribute of that name.
    func item(named name: AttributeName) -> Item? {
        for item in items where item.name == name { return item }
        return nil
    }

    /// The largest value that `name` could have with what else is here, nil when not even an empty
    /// one fits.
    func room(for name: AttributeName) -> Int? {
        let others = items.reduce(0) { $1.name == name ? $0 : $0 &+ $1.size }
        let room = capacity &- others &- XAttrEntryRecord.size(nameLength: name.rest.count)
        return room >= 0 ? room & ~(XAttrEntryRecord.padding &- 1) : nil
    }

    /// Values that have inodes of their own, as often as they are named.
    var valueInodes: [(inode: InodeNumber, size: Int)] {
        items.compactMap { item in
            guard case .inode(let number, let size) = item.value else { return nil }
            return (number, size)
        }
    }

    // MARK: Changing

    /// Gives `name` a value that stands in the area.
    ///
    /// - Parameter reserve: bytes at the start of the area that no value may stand in.
    /// - Returns: false when it does not fit; then nothing is changed.
    mutating func set(_ name: AttributeName, to value: [UInt8], reserve: Int = 0) -> Bool {
        let size = XAttrEntryRecord.padded(value.count)
        guard let room = room(for: name), size <= room else { return false }
        if reserve > 0 {
            let others = items.reduce(0) { $1.name == name ? $0 : $0 &+ $1.value.sizeInArea }
            guard others &+ size <= area.byteCount &- reserve else { return false }
        }
        var hash: UInt32 = 0
        // In an inode nothing is shared, so nothing is hashed.
        if case .block = area {
            hash = unsafe XAttrHash.ofEntry(
                name: name.rest.span.bytes, value: value.span.bytes)
        }
        put(Item(name: name, value: .bytes(value), hash: hash))
        return true
    }

    /// Gives `name` a value in an inode of its own that keeps `hash` of the value.
    ///
    /// - Returns: false when the entry does not fit; then nothing is changed.
    mutating func set(
        _ name: AttributeName, toValueIn inode: InodeNumber, size: Int, hash: UInt32
    ) -> Bool {
        guard room(for: name) != nil else { return false }
        let hash = unsafe XAttrHash.ofEntry(name: name.rest.span.bytes, valueHash: hash)
        put(Item(name: name, value: .inode(inode, size: size), hash: hash))
        return true
    }

    /// Takes all attributes of that name away.
    ///
    /// - Returns: whether there was one.
    @discardableResult
    mutating func remove(_ name: AttributeName) -> Bool {
        let count = items.count
        items.removeAll { $0.name == name }
        return items.count < count
    }

    private mutating func put(_ item: Item) {
        let place = items.firstIndex { $0.name == item.name }
        // What stands behind another one of the same name could not be seen; it shall not appear
        // when this one goes.
        items.removeAll { $0.name == item.name }
        switch area {
        case .inode: items.insert(item, at: place ?? items.count)
        case .block:
            let index = items.firstIndex { item.name.precedes($0.name) }
            items.insert(item, at: index ?? items.count)
        }
    }

    // MARK: Writing

    /// The bytes of an attribute block without its checksum.
    ///
    /// - Precondition: the area is a block.
    func block(referenceCount: UInt32) -> [UInt8] {
        guard case .block = area else { preconditionFailure("not a block") }
        var bytes = [UInt8](repeating: 0, count: area.byteCount)
        var contents = bytes.mutableSpan
        var span = unsafe contents.mutableBytes
        let header = XAttrBlockHeader.Layout.size
        write(to: &span, from: header, valueBase: 0)
        XAttrBlockHeader.write(referenceCount: referenceCount, hash: blockHash, to: &span)
        return bytes
    }

    /// `h_hash`: what equal sets have in common; 0 when the block must not be shared.
    var blockHash: UInt32 { XAttrHash.ofBlock(items.map { $0.hash }) }

    /// All bytes behind the fields of an inode. Without attributes they are zeros: the magic number
    /// says that there are some.
    ///
    /// - Precondition: the area is that of an inode.
    var inodeArea: [UInt8] {
        guard case .inode = area else { preconditionFailure("not an inode") }
        var bytes = [UInt8](repeating: 0, count: area.byteCount)
        guard !items.isEmpty else { return bytes }
        var contents = bytes.mutableSpan
        var span = unsafe contents.mutableBytes
        span[XAttrInodeHeader.Layout.magic] = XAttrBlockHeader.magic
        let header = XAttrInodeHeader.Layout.size
        write(to: &span, from: header, valueBase: header)
        return bytes
    }

    private func write(to bytes: inout MutableRawSpan, from start: Int, valueBase: Int) {
        precondition(usedSize <= capacity, "attributes were not checked for their size")
        var offset = start
        var end = bytes.byteCount
        for item in items {
            var place = 0
            var inode: UInt32 = 0
            switch item.value {
            case .bytes(let value):
                // An empty value stands nowhere.
                guard !value.isEmpty else { break }
                end &-= XAttrEntryRecord.padded(value.count)
                place = end &- valueBase
                unsafe bytes.withUnsafeMutableBytes { target in
                    unsafe UnsafeMutableRawBufferPointer(rebasing: target[end...]).copyBytes(
                        from: value)
                }
            case .inode(let number, _): inode = number.rawValue
            }
            XAttrEntryRecord.write(
                name: item.name.rest, index: item.name.prefix.rawValue, valueOffset: place,
                valueInode: inode, valueSize: item.value.size, hash: item.hash, to: &bytes,
                at: offset)
            offset &+= XAttrEntryRecord.size(nameLength: item.name.rest.count)
        }
    }
}

extension AttributeName {
    /// The order of entries in a block: by prefix, then by length, then by bytes.
    func precedes(_ other: AttributeName) -> Bool {
        if prefix != other.prefix { return prefix.rawValue < other.prefix.rawValue }
        if rest.count != other.rest.count { return rest.count < other.rest.count }
        return rest.lexicographicallyPrecedes(other.rest)
    }
}
