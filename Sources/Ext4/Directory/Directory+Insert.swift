extension Directory {
    /// What adding an entry did to the directory as a whole.
    enum Insertion: Hashable, Sendable {
        /// Nothing.
        case kept
        /// It has an index now: the inode needs the flag `index`.
        case madeIndex
        /// It had an index that this volume does not use, and which is no longer right: the inode
        /// must lose the flag `index`.
        case droppedIndex
    }

    /// Appends a block to the directory, mapped and counted in its size, and returns it with its
    /// buffer of zeros.
    typealias Grow = (inout Handle) throws(Ext4Error) -> (LogicalBlock, Buffer)

    /// Adds an entry.
    ///
    /// A failure of `grow` leaves the directory as it was: blocks that it appended before are the
    /// handle's to take back, and nothing is changed before the last of them is there.
    ///
    /// - Throws: `.exists`; `.nameTooLong`, `.invalidArgument`; `.noSpace` also when the index is
    ///   as deep as the volume allows and full; `.noKey` for an encrypted directory;
    ///   `.notSupported` for a directory that ignores case or whose index is by a hash that is
    ///   unknown here; `.corrupt`; what `grow` throws.
    func insert(
        _ name: RawSpan, inode: InodeNumber, type: FileType, in handle: inout Handle,
        grow: Grow
    ) throws(Ext4Error) -> Insertion {
        try checkInsertion(of: name, inode)
        let target = DirectoryRecord.Target(inode: inode, type: type)
        guard isIndexed else {
            return try insertInOrder(name, target, in: &handle, grow: grow)
        }
        // Without its hash a name cannot be put where others will look for it.
        guard let index = try HTreeIndex(self) else { throw .notSupported }
        try index.insert(name, target, in: &handle, grow: grow)
        return .kept
    }

    private func checkInsertion(of name: RawSpan, _ inode: InodeNumber) throws(Ext4Error) {
        guard name.byteCount <= FileName.maximumLength else { throw .nameTooLong }
        guard name.byteCount > 0, inode.rawValue > 0,
            inode.rawValue <= format.inodesCount
        else { throw .invalidArgument }
        guard !flags.contains(.encrypted) else { throw .noKey }
        // Names that differ in case only are the same there, and the index is by the folded name;
        // which Unicode tables fold it, this engine does not have.
        guard !flags.contains(.casefold) else { throw .notSupported }
        // The kernel does not let such an inode be: checksums came long after the index.
        guard isIndexed || !flags.contains(.index) || !format.hasChecksums
        else {
            throw .corrupt(
                .inode, at: .init(inode: owner.inode),
                .broken("it has an index on a volume without the feature dir_index"))
        }
    }

    /// Adds an entry to the first block with room, or to a new one.
    private func insertInOrder(
        _ name: RawSpan, _ target: DirectoryRecord.Target, in handle: inout Handle, grow: Grow
    ) throws(Ext4Error) -> Insertion {
        guard blockCount > 0 else { throw missingDots }
        let size = DirectoryRecord.size(nameLength: name.byteCount, hasHash: false)
        var place: (buffer: Buffer, room: Int)?
        try forEachBlock(from: 0) { (block, buffer) throws(Ext4Error) in
            let pass = try buffer.withBytes { (bytes) throws(Ext4Error) in
                try checkTail(bytes, of: block)
                return try self.scan(bytes, of: block, for: name, needing: size)
            }
            guard pass.found == nil else { throw .exists }
            if place == nil, let room = pass.room { place = (buffer, room) }
            return true
        }
        if let place {
            add(name, target, at: place.room, in: place.buffer, &handle)
        } else if blockCount == 1, let hash = hashOfNewIndex {
            try makeIndex(adding: name, target, by: hash, in: &handle, grow: grow)
            return .madeIndex
        } else {
            let (_, buffer) = try grow(&handle)
            writeLeaf(with: name, target, to: buffer, in: &handle)
        }
        return flags.contains(.index) ? .droppedIndex : .kept
    }

    /// Fills a new block with one entry.
    private func writeLeaf(
        with name: RawSpan, _ target: DirectoryRecord.Target, to buffer: Buffer,
        in handle: inout Handle
    ) {
        let format = format
        handle.modify(buffer, seal: leafSeal) { bytes in
            DirectoryRecord.write(
                target, name: name, length: format.entriesEnd, at: 0,
                in: &bytes, format: format)
            DirectoryRecord.writeTail(in: &bytes, format: format)
        }
    }

    // MARK: The first index

    /// The hash that the index of a directory with one block would have, or nil when the volume has
    /// no indexes, or by a hash that is unknown here.
    var hashOfNewIndex: DirectoryHash? {
        guard reader.superblock.compatible.contains(.dirIndex) else { return nil }
        return DirectoryHash(version: reader.superblock.defaultHashVersion, of: self)
    }

    /// Makes the only block the root of an index, and two leaves of its entries and a new one.
    private func makeIndex(
        adding name: RawSpan, _ target: DirectoryRecord.Target, by hash: DirectoryHash,
        in handle: inout Handle, grow: Grow
    ) throws(Ext4Error) {
        guard let added = hash.hash(of: name)?.major else { throw .notSupported }
        let version = reader.superblock.defaultHashVersion
        let only = LogicalBlock(0)
        let buffer = try self.buffer(of: only)
        let (parent, split) = try buffer.withBytes { (bytes) throws(Ext4Error) in
            let parent = try dots(bytes).parent
            return (
                parent.inode,
                try LeafSplit(
                    bytes, of: only, from: parent.end, adding: name, target, hash: added,
                    by: hash, in: self)
            )
        }
        guard split.isPossible else { throw missingDots }
        let lower = try grow(&handle)
        let upper = try grow(&handle)
        handle.preserve(buffer)
        handle.modify(lower.1, seal: leafSeal) { split.writeLower(to: &$0) }
        handle.modify(upper.1, seal: leafSeal) { split.writeUpper(to: &$0) }
        handle.modify(buffer, seal: .htreeNode(owner, isRoot: true)) { bytes in
            HTreeNode.writeRoot(
                itself: owner.inode, parent: parent,
                hashVersion: version,
                leaves: [(0, lower.0), (split.bound, upper.0)], in: &bytes, format: format)
        }
    }

    // MARK: Dots

    /// The entries of `.` and `..`, with which the first block of any directory starts.
    func dots(_ bytes: RawSpan) throws(Ext4Error) -> (
        itself: DirectoryRecord, parent: DirectoryRecord
    ) {
        let first = LogicalBlock(0)
        let itself = try record(bytes, at: 0, of: first)
        guard itself.end < format.blockSize else { throw missingDots }
        let parent = try record(bytes, at: itself.end, of: first)
        func isDots(_ record: DirectoryRecord, _ count: Int) -> Bool {
            record.inode.rawValue != 0 && record.name.count == count
                && record.name.allSatisfy { bytes.byte(at: $0) == UInt8(ascii: ".") }
        }
        guard isDots(itself, 1), isDots(parent, 2), itself.inode == owner.inode else {
            throw missingDots
        }
        return (itself, parent)
    }

    var missingDots: Ext4Error {
        .corrupt(
            .directoryBlock, at: .init(inode: owner.inode, logicalBlock: LogicalBlock(0)),
            .broken("it does not start with . and .."))
    }

    /// Fills the first block of a new directory.
    static func initialize(
        _ buffer: Buffer, owner: BlockOwner, parent: InodeNumber, superblock: Superblock,
        in handle: inout Handle
    ) {
        let format = DirectoryFormat(superblock)
        handle.modify(buffer, seal: .directoryLeaf(owner)) { bytes in
            bytes.clear()
            DirectoryRecord.writeDots(
                itself: owner.inode, parent: parent,
                end: format.entriesEnd, in: &bytes, format: format)
            DirectoryRecord.writeTail(in: &bytes, format: format)
        }
    }
}
