// Changes to the entries in an inode. They are made in the two areas in memory, `block` and `rest`;
// the caller stores what changed, in the same handle: `i_block` with `rest` as `system.data`, and
// as the size `byteCount`. Nothing is taken back here, since nothing is shared before that.

extension InlineDirectory {
    /// The size of the directory (`i_size`).
    var byteCount: UInt64 { UInt64(block.count + rest.count) }

    /// The `i_block` of a new directory without entries.
    static func empty(parent: InodeNumber, superblock: Superblock) -> [UInt8] {
        let format = DirectoryFormat(superblock)
        var block = [UInt8](repeating: 0, count: InodeRecord.Layout.block.count)
        var span = block.mutableSpan
        var bytes = unsafe span.mutableBytes
        bytes[parentField] = parent.rawValue
        DirectoryRecord.writeUnused(
            length: bytes.byteCount - parentSize, at: parentSize, in: &bytes,
            format: format)
        return block
    }

    /// Whether there is no entry.
    ///
    /// - Throws: `.corrupt`.
    func isEmpty() throws(Ext4Error) -> Bool {
        var isEmpty = true
        try forEach(from: Self.firstPosition) { (_, _, _, _) in
            isEmpty = false
            return false
        }
        return isEmpty
    }

    /// Adds an entry, if there is room.
    ///
    /// - Parameter capacity: up to how many bytes `rest` may grow.
    /// - Returns: false when there is no room: the entries must move to a block.
    /// - Throws: as `Directory.insert`.
    mutating func insert(
        _ name: RawSpan, inode target: InodeNumber, type: FileType, capacity: Int
    ) throws(Ext4Error) -> Bool {
        guard name.byteCount <= FileName.maximumLength else { throw .nameTooLong }
        guard name.byteCount > 0, target.rawValue > 0, target.rawValue <= format.inodesCount
        else { throw .invalidArgument }
        guard !flags.contains(.encrypted) else { throw .noKey }
        // For the reason see `Directory.insert`.
        guard !flags.contains(.casefold) else { throw .notSupported }
        guard !name.isDotOrDotDot else { throw .exists }
        let new = DirectoryRecord.Target(inode: target, type: type)
        let size = DirectoryRecord.size(nameLength: name.byteCount, hasHash: false)

        let inBlock = try look(for: name, needing: size, in: block, from: Self.parentSize)
        let inRest = try look(for: name, needing: size, in: rest, from: 0)
        guard inBlock.found == nil, inRest.found == nil else { throw .exists }
        if let room = inBlock.room {
            Self.add(name, new, at: room, in: &block, format)
        } else if let room = inRest.room {
            Self.add(name, new, at: room, in: &rest, format)
        } else {
            // The last entry gets all that `rest` may grow by.
            let count = capacity & ~3
            let start = inRest.last?.lowerBound ?? 0
            let used = inRest.last.map { self.used($0, in: rest) } ?? 0
            guard count > rest.count, count - start - used >= max(size, 12) else { return false }
            rest += [UInt8](repeating: 0, count: count - rest.count)
            Self.setLength(count - start, at: start, in: &rest, format)
            Self.add(name, new, at: start, in: &rest, format)
        }
        return true
    }

    /// Removes an entry, by its name or, of an encrypted directory, by the one that is shown.
    ///
    /// - Throws: `.notFound`; `.invalidArgument` for `.` and `..`; `.corrupt`.
    mutating func remove(
        _ name: RawSpan
    ) throws(Ext4Error) -> (inode: InodeNumber, type: FileType) {
        let place = try locate(name)
        if place.isInRest {
            Self.remove(at: place, from: &rest, format)
        } else {
            Self.remove(at: place, from: &block, format)
        }
        return (place.record.inode, place.record.type)
    }

    /// Lets an entry lead to another inode; the result is what it led to before.
    ///
    /// - Throws: `.notFound`; `.invalidArgument` for `.` and `..`; `.corrupt`.
    mutating func replace(
        _ name: RawSpan, inode target: InodeNumber, type: FileType
    ) throws(Ext4Error) -> (inode: InodeNumber, type: FileType) {
        guard target.rawValue > 0, target.rawValue <= format.inodesCount else {
            throw .invalidArgument
        }
        let place = try locate(name)
        let new = DirectoryRecord.Target(inode: target, type: type)
        if place.isInRest {
            Self.set(new, at: place, in: &rest, format)
        } else {
            Self.set(new, at: place, in: &block, format)
        }
        return (place.record.inode, place.record.type)
    }

    /// Lets `..` lead to `parent`.
    mutating func setParent(_ parent: InodeNumber) {
        var span = block.mutableSpan
        var bytes = unsafe span.mutableBytes
        bytes[Self.parentField] = parent.rawValue
    }

    /// Fills the first block of what is a directory with blocks from now on. Entries keep their
    /// positions: `.` and `..` come before them as they did in listings.
    ///
    /// - Throws: `.corrupt` when the entries do not fit.
    func move(to buffer: Buffer, owner: BlockOwner, in handle: inout Handle) throws(Ext4Error) {
        let first = Int(Self.firstPosition)
        let end = format.entriesEnd
        let restStart = first + block.count - Self.parentSize
        guard restStart + rest.count <= end else {
            throw .corrupt(
                .inlineData, at: .init(inode: inode), .broken("it is larger than a block"))
        }
        let inBlock = try look(for: nil, needing: .max, in: block, from: Self.parentSize)
        let inRest = try look(for: nil, needing: .max, in: rest, from: 0)
        // The last entry gets the rest of the block.
        let last =
            inRest.last.map { $0.lowerBound + restStart }
            ?? inBlock.last.map { $0.lowerBound - Self.parentSize + first }
        handle.modify(buffer, seal: .directoryLeaf(owner)) { bytes in
            bytes.clear()
            DirectoryRecord.writeDots(
                itself: inode, parent: parent, end: first, in: &bytes, format: format)
            unsafe bytes.store(
                block.span.bytes.extracting(Self.parentSize..<block.count), at: first)
            unsafe bytes.store(rest.span.bytes, at: restStart)
            if let last {
                DirectoryRecord.setLength(
                    end - last, at: last, in: &bytes, format: format)
            }
            DirectoryRecord.writeTail(in: &bytes, format: format)
        }
    }

    // MARK: One area

    /// What one pass over an area found.
    private struct Pass {
        var found: Place?
        /// Where the first entry starts that has room to spare.
        var room: Int?
        /// The last entry.
        var last: Range<Int>?
    }

    private struct Place {
        let record: DirectoryRecord
        let before: Int?
        var isInRest = false
    }

    private func look(
        for name: RawSpan?, needing size: Int, in area: [UInt8], from first: Int
    ) throws(Ext4Error) -> Pass {
        var pass = Pass()
        let bytes = unsafe area.span.bytes
        var offset = first
        while offset < bytes.byteCount {
            let record = try DirectoryRecord(
                parsing: bytes, at: offset, end: bytes.byteCount, format: format,
                hasHash: hasHashes, place: .init(inode: inode))
            if let name, record.inode.rawValue != 0,
                isShown(bytes.extracting(record.name), as: name)
            {
                pass.found = Place(record: record, before: pass.last?.lowerBound)
                return pass
            }
            let range = record.start..<record.end
            if pass.room == nil, range.count - used(range, in: area) >= size {
                pass.room = record.start
            }
            pass.last = range
            offset = record.end
        }
        return pass
    }

    private func isShown(_ stored: RawSpan, as name: RawSpan) -> Bool {
        guard flags.contains(.encrypted) else { return stored.isEqual(to: name) }
        return EncryptedName(shownAs: name.copy())?.matches(ciphertext: stored) ?? false
    }

    private func locate(_ name: RawSpan) throws(Ext4Error) -> Place {
        guard !name.isDotOrDotDot else { throw .invalidArgument }
        let inBlock = try look(for: name, needing: .max, in: block, from: Self.parentSize)
        if let found = inBlock.found { return found }
        let inRest = try look(for: name, needing: .max, in: rest, from: 0)
        guard var found = inRest.found else { throw .notFound }
        found.isInRest = true
        return found
    }

    /// The bytes that an entry needs.
    private func used(_ entry: Range<Int>, in area: [UInt8]) -> Int {
        unsafe DirectoryRecord.Header(
            area.span.bytes, at: entry.lowerBound, isWide: superblock.blockSize >= 65536
        ).used(hasHash: hasHashes)
    }

    private static func setLength(
        _ length: Int, at start: Int, in area: inout [UInt8], _ format: DirectoryFormat
    ) {
        var span = area.mutableSpan
        var bytes = unsafe span.mutableBytes
        DirectoryRecord.setLength(length, at: start, in: &bytes, format: format)
    }

    private static func set(
        _ target: DirectoryRecord.Target, at place: Place, in area: inout [UInt8],
        _ format: DirectoryFormat
    ) {
        var span = area.mutableSpan
        var bytes = unsafe span.mutableBytes
        DirectoryRecord.setTarget(
            target, at: place.record.start, in: &bytes, format: format)
    }

    private static func add(
        _ name: RawSpan, _ target: DirectoryRecord.Target, at room: Int, in area: inout [UInt8],
        _ format: DirectoryFormat
    ) {
        var span = area.mutableSpan
        var bytes = unsafe span.mutableBytes
        DirectoryRecord.add(name, target, at: room, in: &bytes, format: format)
    }

    private static func remove(
        at place: Place, from area: inout [UInt8], _ format: DirectoryFormat
    ) {
        var span = area.mutableSpan
        var bytes = unsafe span.mutableBytes
        DirectoryRecord.remove(
            place.record.start..<place.record.end, before: place.before, in: &bytes,
            format: format)
    }
}
