extension Directory {
    /// What one pass over the entries of a block found.
    struct Scan {
        /// Where the wanted entry starts.
        var found: Int?
        /// Where the entry before that starts, in the same block.
        var before: Int?
        /// Where the first entry starts that has room to spare for what shall be added.
        var room: Int?
    }

    /// Where an entry stands.
    struct Location {
        let block: LogicalBlock
        let buffer: Buffer
        let start: Int
        let before: Int?
    }

    /// Passes over the entries of one block up to the one named `name`.
    ///
    /// - Parameter size: the bytes that an entry to be added needs; no room is looked for with nil.
    @inline(__always)
    func scan(
        _ bytes: RawSpan, of block: LogicalBlock, for name: RawSpan, needing size: Int? = nil
    ) throws(Ext4Error) -> Scan {
        // Most names that share their beginning and their length differ at the end.
        let count = name.byteCount
        let last = Field<UInt64>.le(max(count &- 8, 0))
        let end = count >= 8 ? name[last] : 0
        return try scan(bytes, of: block, needing: size) { start, length in
            length == count && (count < 8 || bytes[last.at(start)] == end)
                && bytes.extracting(start..<start &+ count).isEqual(to: name)
        }
    }

    /// Passes over the entries of one block up to the one whose name, which is given by where it
    /// stands and its length, `isWanted`.
    @inline(__always)
    func scan(
        _ bytes: RawSpan, of block: LogicalBlock, needing size: Int? = nil,
        _ isWanted: (_ start: Int, _ length: Int) -> Bool
    ) throws(Ext4Error) -> Scan {
        let inodesCount = format.inodesCount
        let isWide = format.blockSize >= 65536
        let hashSize = hasHashes ? DirectoryRecord.hashSize : 0
        // The tail looks like an unused entry, but is not free; where this engine adds entries,
        // `checkTail` has made sure that it is there.
        let end = size == nil ? bytes.byteCount : format.entriesEnd
        let needed = size ?? .max
        var before = -1
        var room = -1
        var offset = 0
        while offset < end {
            let left = end &- offset
            guard left >= DirectoryRecord.headerSize else {
                throw broken(bytes, at: offset, end: end, of: block)
            }
            let header = DirectoryRecord.Header(bytes, at: offset, isWide: isWide)
            guard header.isSound(room: left, inodesCount: inodesCount, hashSize: hashSize) else {
                throw broken(bytes, at: offset, end: end, of: block)
            }
            if header.inode == 0 {
                if room < 0, header.length >= needed { room = offset }
            } else {
                if isWanted(offset &+ DirectoryRecord.headerSize, header.nameLength) {
                    return Scan(
                        found: offset, before: before < 0 ? nil : before,
                        room: room < 0 ? nil : room)
                }
                if room < 0, header.length &- header.size(hashSize: hashSize) >= needed {
                    room = offset
                }
            }
            before = offset
            offset &+= header.length
        }
        return Scan(room: room < 0 ? nil : room)
    }

    /// What is wrong with the entry at `offset`, in the words of the parser.
    private func broken(
        _ bytes: RawSpan, at offset: Int, end: Int, of block: LogicalBlock
    ) -> Ext4Error {
        let place = Corruption.Place(inode: owner.inode, logicalBlock: block)
        do throws(Ext4Error) {
            _ = try DirectoryRecord(
                parsing: bytes, at: offset, end: end, format: format,
                hasHash: hasHashes, place: place)
            return .corrupt(.directoryBlock, at: place, .truncated)
        } catch {
            return error
        }
    }

    /// Parses the entry at `start` of a block that was passed over.
    func record(_ bytes: RawSpan, at start: Int, of block: LogicalBlock) throws(Ext4Error)
        -> DirectoryRecord
    {
        try DirectoryRecord(
            parsing: bytes, at: start, end: format.blockSize,
            format: format, hasHash: hasHashes,
            place: .init(inode: owner.inode, logicalBlock: block))
    }

    /// The record of an entry that was found.
    func record(at location: Location) throws(Ext4Error) -> DirectoryRecord {
        try location.buffer.withBytes { (bytes) throws(Ext4Error) in
            try record(bytes, at: location.start, of: location.block)
        }
    }

    /// Where in `block` the entry named `name` stands, or nil.
    func locate(
        _ name: RawSpan, in block: LogicalBlock, _ buffer: Buffer
    ) throws(Ext4Error) -> Location? {
        let pass = try buffer.withBytes { (bytes) throws(Ext4Error) in
            try self.scan(bytes, of: block, for: name)
        }
        return location(pass, in: block, buffer)
    }

    /// Where in `block` the entry stands that is shown as `name`, or nil.
    func locate(
        _ name: EncryptedName, in block: LogicalBlock, _ buffer: Buffer
    ) throws(Ext4Error) -> Location? {
        let pass = try buffer.withBytes { (bytes) throws(Ext4Error) in
            try self.scan(bytes, of: block) { start, length in
                name.matches(ciphertext: bytes.extracting(start..<start &+ length))
            }
        }
        return location(pass, in: block, buffer)
    }

    private func location(
        _ scan: Scan, in block: LogicalBlock, _ buffer: Buffer
    ) -> Location? {
        scan.found.map {
            Location(block: block, buffer: buffer, start: $0, before: scan.before)
        }
    }
}
