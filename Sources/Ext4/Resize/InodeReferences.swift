/// Where the numbers stand of inodes that are to get others.
struct InodeReferences {
    /// A place with numbers of inodes.
    enum Place: Hashable {
        /// A block of a directory.
        case entries(InodeNumber, LogicalBlock)
        /// The contents of a directory that stand in its inode.
        case inlineEntries(InodeNumber)
        /// The attributes that stand in an inode.
        case attributes(InodeNumber)
        /// A block of attributes.
        case attributeBlock(BlockNumber)
    }

    /// The inodes that must move, in order.
    private(set) var inodes: [InodeNumber] = []
    /// Where each stands.
    private(set) var places: [InodeNumber: [Place]] = [:]

    /// The most places that one inode stands in.
    var mostPlaces: Int { places.values.reduce(0) { max($0, $1.count) } }

    /// Looks through all directories and attributes for inodes behind `last`.
    init(
        _ volume: Volume, behind last: UInt32, _ options: ResizeOptions
    ) throws(Ext4Error) {
        let walk = UsedInodes(volume)
        let superblock = volume.superblock
        let firstGroup = last / superblock.inodesPerGroup
        for number in firstGroup..<max(superblock.groupCount, firstGroup) {
            inodes += try walk.inodes(of: GroupNumber(number)).map { $0.number }
        }
        guard !inodes.isEmpty else { return }
        var blocks: Set<BlockNumber> = []
        for number in 0..<superblock.groupCount {
            options.tell(.search, UInt64(number), of: UInt64(superblock.groupCount))
            for inode in try walk.inodes(of: GroupNumber(number)) {
                if inode.isDirectory { try scan(inode, volume, behind: last) }
                if superblock.incompatible.contains(.eaInode) {
                    try scanAttributes(of: inode, volume, behind: last, &blocks)
                }
            }
        }
    }

    private mutating func note(_ inode: UInt32, _ place: Place) {
        let number = InodeNumber(inode)
        // A block often has an inode more than once, one entry after the other.
        guard places[number]?.last != place else { return }
        places[number, default: []].append(place)
    }

    private mutating func scan(
        _ directory: Inode, _ volume: Volume, behind last: UInt32
    ) throws(Ext4Error) {
        if directory.usesInlineData {
            var found: [UInt32] = []
            let contents = try directory.record.inlineContents(volume.attributeContext(directory))
            unsafe InlineEntries.forEach(in: contents.span.bytes) { _, number in
                if number > last { found.append(number) }
            }
            for number in found { note(number, .inlineEntries(directory.number)) }
            return
        }
        let runs = try volume.map(of: directory).runs(
            volumeBlocks: volume.superblock.blocksCount)
        for run in runs {
            guard case .mapped(let start) = run.state else { continue }
            for i in 0..<run.count {
                let buffer = try volume.reader.cache.buffer(of: start.advanced(by: i))
                var found: [UInt32] = []
                try buffer.withBytes { (bytes) throws(Ext4Error) in
                    try DirectoryEntries.forEach(
                        in: bytes, blockSize: volume.superblock.blockSize, of: directory.number
                    ) { _, number in
                        if number > last { found.append(number) }
                    }
                }
                for number in found {
                    note(
                        number,
                        .entries(directory.number, LogicalBlock(run.logical.rawValue &+ i)))
                }
            }
        }
    }

    private mutating func scanAttributes(
        of inode: Inode, _ volume: Volume, behind last: UInt32,
        _ blocks: inout Set<BlockNumber>
    ) throws(Ext4Error) {
        var found: [UInt32] = []
        let record = inode.record
        record.withBytes { bytes in
            AttributeEntries.forEach(inInode: bytes, extraSize: record.extraSize) { _, number in
                if number > last { found.append(number) }
            }
        }
        for number in found { note(number, .attributes(inode.number)) }
        let block = inode.attributeBlock
        guard block.rawValue != 0, blocks.insert(block).inserted else { return }
        found = []
        let buffer = try volume.reader.buffer(
            of: block, for: .extendedAttribute, at: .init(inode: inode.number))
        buffer.withBytes { bytes in
            AttributeEntries.forEach(inBlock: bytes) { _, number in
                if number > last { found.append(number) }
            }
        }
        for number in found { note(number, .attributeBlock(block)) }
    }
}

/// The entries of a directory's block, as they lie there, whatever its place in an index: blocks of
/// an index are entries of their own, without an inode.
enum DirectoryEntries {
    /// Calls `body` with where the number of each entry's inode stands, and the number.
    static func forEach(
        in bytes: RawSpan, from start: Int = 0, to end: Int? = nil, blockSize: Int,
        of directory: InodeNumber, _ body: (_ field: Field<UInt32>, _ inode: UInt32) -> Void
    ) throws(Ext4Error) {
        let end = end ?? bytes.byteCount
        var offset = start
        while offset < end {
            guard end &- offset >= DirectoryRecord.headerSize else {
                throw .corrupt(.directoryBlock, at: .init(inode: directory), .truncated)
            }
            let field = DirectoryRecord.Layout.inode.at(offset)
            let length = DirectoryRecord.recordLength(
                bytes[DirectoryRecord.Layout.recordLength.at(offset)], blockSize: blockSize)
            guard length >= DirectoryRecord.headerSize, length <= end &- offset else {
                throw .corrupt(
                    .directoryBlock, at: .init(inode: directory),
                    .field("rec_len", value: UInt64(length), rule: "inside the block"))
            }
            let number = bytes[field]
            if number != 0 { body(field, number) }
            offset &+= length
        }
    }
}

/// The entries of a directory in its inode: first the parent's number, then two areas of entries.
enum InlineEntries {
    /// Calls `body` with where each number stands in the inline contents, and the number.
    static func forEach(
        in contents: RawSpan, _ body: (_ field: Field<UInt32>, _ inode: UInt32) -> Void
    ) {
        let first = InodeRecord.Layout.block.count
        guard contents.byteCount >= first else { return }
        body(DirectoryRecord.inlineParent, contents[DirectoryRecord.inlineParent])
        for area in [DirectoryRecord.inlineParent.end..<first, first..<contents.byteCount] {
            // What is damaged here a check has found before.
            try? DirectoryEntries.forEach(
                in: contents, from: area.lowerBound, to: area.upperBound, blockSize: 1024,
                of: InodeNumber(0), body)
        }
    }
}

/// The entries of attributes whose values are inodes.
enum AttributeEntries {
    /// Calls `body` with where each inode's number stands in an inode's record.
    static func forEach(
        inInode bytes: RawSpan, extraSize: Int,
        _ body: (_ field: Field<UInt32>, _ inode: UInt32) -> Void
    ) {
        let start = InodeRecord.goodOldSize &+ extraSize
        let first = start &+ XAttrInodeHeader.Layout.size
        guard extraSize > 0, first <= bytes.byteCount,
            bytes[XAttrInodeHeader.Layout.magic.at(start)] == XAttrBlockHeader.magic
        else { return }
        forEach(in: bytes, from: first, body)
    }

    /// Calls `body` with where each inode's number stands in a block of attributes.
    static func forEach(
        inBlock bytes: RawSpan, _ body: (_ field: Field<UInt32>, _ inode: UInt32) -> Void
    ) {
        forEach(in: bytes, from: XAttrBlockHeader.Layout.size, body)
    }

    private static func forEach(
        in bytes: RawSpan, from start: Int,
        _ body: (_ field: Field<UInt32>, _ inode: UInt32) -> Void
    ) {
        var offset = start
        while bytes.byteCount &- offset >= XAttrEntryRecord.Layout.name,
            bytes[Field<UInt32>.le(offset)] != 0
        {
            let record = XAttrEntryRecord(parsing: bytes, at: offset)
            if record.valueInode != 0 {
                body(XAttrEntryRecord.Layout.valueInode.at(offset), record.valueInode)
            }
            offset &+= record.paddedSize
        }
    }
}
