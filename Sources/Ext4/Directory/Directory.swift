/// The blocks of a directory: finding a name, and walking through all entries.
///
/// An indexed directory reads as a linear one too, since its index hides behind unused entries;
/// the index serves look-ups. Positions are offsets in bytes from the start of the directory.
struct Directory: Sendable {
    let reader: BlockReader
    let owner: BlockOwner
    let flags: InodeFlags
    let map: FileMap
    let format: DirectoryFormat
    /// The number of blocks.
    let blockCount: UInt64

    init(
        _ reader: BlockReader, owner: BlockOwner, flags: InodeFlags, map: FileMap, size: UInt64
    ) throws(Ext4Error) {
        self.reader = reader
        self.owner = owner
        self.flags = flags
        self.map = map
        format = DirectoryFormat(reader.superblock)
        blockCount = size >> UInt64(reader.superblock.blockSizeLog2)
        guard blockCount <= reader.superblock.blocksCount else {
            throw .corrupt(
                .inode, at: .init(inode: owner.inode),
                .field("i_size", value: size, rule: "less than the volume, for a directory"))
        }
    }

    /// Whether the entries keep a hash behind their name.
    var hasHashes: Bool { flags.isSuperset(of: [.encrypted, .casefold]) }

    /// Whether the directory has an index that look-ups can go by.
    var isIndexed: Bool {
        flags.contains(.index) && reader.superblock.compatible.contains(.dirIndex)
    }

    private var blockSize: Int { format.blockSize }

    /// Calls `body` with each used entry and its name from `position` on, until it returns false.
    func forEach(
        from position: UInt64 = 0,
        _ body: (_ record: DirectoryRecord, _ name: RawSpan, _ block: LogicalBlock)
            throws(Ext4Error) -> Bool
    ) throws(Ext4Error) {
        let first = position >> UInt64(reader.superblock.blockSizeLog2)
        // Positions that never were an entry's, or are no longer one's, move up to the next.
        let start = Int(position & UInt64(blockSize - 1))
        try forEachBlock(from: first) { (block, buffer) throws(Ext4Error) in
            try buffer.withBytes { (bytes) throws(Ext4Error) in
                try forEach(in: bytes, of: block, from: block.rawValue == first ? start : 0, body)
            }
        }
    }

    /// Calls `body` with each block from `first` on, until it returns false.
    ///
    /// - Throws: `.corrupt` also for a block of the volume that the directory has twice: a few real
    ///   ones could stand for more entries than anybody can wait for.
    func forEachBlock(
        from first: UInt64, _ body: (LogicalBlock, Buffer) throws(Ext4Error) -> Bool
    ) throws(Ext4Error) {
        var passed: Set<BlockNumber> = []
        var block = first
        while block < blockCount {
            let logical = LogicalBlock(block)
            let buffer = try self.buffer(of: logical)
            // Most directories have one block, and need no set for that.
            guard blockCount == 1 || passed.insert(buffer.block).inserted else {
                throw .corrupt(
                    .directoryBlock,
                    at: .init(inode: owner.inode, logicalBlock: logical, block: buffer.block),
                    .cycle)
            }
            guard try body(logical, buffer) else { return }
            block += 1
        }
    }

    /// The entry named `name`, or nil.
    func find(_ name: RawSpan) throws(Ext4Error) -> DirectoryRecord? {
        guard let location = try locate(name) else { return nil }
        return try record(at: location)
    }

    /// The entry of an encrypted directory that is shown as `name`, or nil.
    func find(_ name: EncryptedName) throws(Ext4Error) -> DirectoryRecord? {
        guard let location = try locate(name) else { return nil }
        return try record(at: location)
    }

    /// The entry named `name` in one block, or nil.
    func find(_ name: RawSpan, in block: LogicalBlock) throws(Ext4Error) -> DirectoryRecord? {
        guard let location = try locate(name, in: block, buffer(of: block)) else { return nil }
        return try record(at: location)
    }

    /// Where the entry named `name` stands, or nil.
    func locate(_ name: RawSpan) throws(Ext4Error) -> Location? {
        if isIndexed, let index = try HTreeIndex(self) {
            return try index.locate(name)
        }
        var found: Location?
        try forEachBlock(from: 0) { (block, buffer) throws(Ext4Error) in
            found = try locate(name, in: block, buffer)
            return found == nil
        }
        return found
    }

    /// Where the entry of an encrypted directory stands that is shown as `name`, or nil.
    func locate(_ name: EncryptedName) throws(Ext4Error) -> Location? {
        if isIndexed, let index = try HTreeIndex(self) {
            return try index.locate(name)
        }
        var found: Location?
        try forEachBlock(from: 0) { (block, buffer) throws(Ext4Error) in
            found = try locate(name, in: block, buffer)
            return found == nil
        }
        return found
    }

    /// Walks through the used entries of one block that start at `first` or behind it.
    private func forEach(
        in bytes: RawSpan, of block: LogicalBlock, from first: Int,
        _ body: (_ record: DirectoryRecord, _ name: RawSpan, _ block: LogicalBlock)
            throws(Ext4Error) -> Bool
    ) throws(Ext4Error) -> Bool {
        let place = Corruption.Place(inode: owner.inode, logicalBlock: block)
        // The tail with the checksum looks like an unused entry and needs no care here.
        var offset = 0
        while offset < blockSize {
            let record = try DirectoryRecord(
                parsing: bytes, at: offset, end: blockSize, format: format,
                hasHash: hasHashes, place: place)
            if record.inode.rawValue != 0, offset >= first {
                guard try body(record, bytes.extracting(record.name), block) else { return false }
            }
            offset = record.end
        }
        return true
    }

    /// The buffer of one block, its checksum verified as a leaf or as a node of the index.
    func buffer(of block: LogicalBlock) throws(Ext4Error) -> Buffer {
        let place = Corruption.Place(inode: owner.inode, logicalBlock: block)
        let run = try map.run(at: block).suffix(from: block)
        guard case .mapped(let physical) = run.state else {
            throw .corrupt(.directoryBlock, at: place, .broken("it is missing"))
        }
        let buffer = try reader.buffer(of: physical, for: .directoryBlock, at: place)
        guard reader.checksBlocks else { return buffer }
        let isRoot = block.rawValue == 0 && flags.contains(.index)
        try buffer.verify(
            as: .init(.directoryLeaf, owner: owner.inode, detail: isRoot ? 1 : 0)
        ) { (bytes) throws(Ext4Error) in
            if isRoot || isInnerNode(bytes) {
                // The node's own check, so that a broken one is told apart from a broken leaf.
                _ = try HTreeNode(
                    parsing: bytes, isRoot: isRoot, owner: owner, superblock: reader.superblock,
                    verifiesChecksum: true, at: place)
            } else {
                try DirectoryRecord.checkTail(bytes, owner: owner, at: place)
            }
        }
        return buffer
    }

    /// Parses a node of the index from a buffer that `buffer(of:)` gave and so verified.
    func node(
        _ bytes: RawSpan, isRoot: Bool, at place: Corruption.Place
    ) throws(Ext4Error) -> HTreeNode {
        try HTreeNode(
            parsing: bytes, isRoot: isRoot, owner: owner, superblock: reader.superblock,
            verifiesChecksum: false, at: place)
    }

    /// Whether a block of an indexed directory is a node and not a leaf: an unused entry fills it.
    private func isInnerNode(_ bytes: RawSpan) -> Bool {
        guard flags.contains(.index) else { return false }
        let length = bytes[DirectoryRecord.Layout.recordLength]
        return DirectoryRecord.recordLength(length, blockSize: blockSize) == blockSize
            && bytes[DirectoryRecord.Layout.inode] == 0
    }
}

extension RawSpan {
    /// Whether both have the same bytes.
    func isEqual(to other: RawSpan) -> Bool {
        guard byteCount == other.byteCount else { return false }
        var i = 0
        while byteCount &- i >= 8 {
            guard self[Field<UInt64>.le(i)] == other[Field<UInt64>.le(i)] else { return false }
            i &+= 8
        }
        while i < byteCount {
            guard byte(at: i) == other.byte(at: i) else { return false }
            i &+= 1
        }
        return true
    }
}
