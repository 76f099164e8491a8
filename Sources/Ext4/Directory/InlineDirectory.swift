/// A directory whose entries stand in its inode: those that fit in `i_block` behind the number of
/// the parent, the rest in the attribute `system.data`. `.` and `..` are not stored.
struct InlineDirectory: Sendable {
    let superblock: Superblock
    let inode: InodeNumber
    /// The directory's flags.
    let flags: InodeFlags
    /// The 60 bytes of `i_block`, of which the first 4 are the parent's number.
    var block: [UInt8]
    /// The value of `system.data`; empty when there is none.
    var rest: [UInt8]

    init(
        superblock: Superblock, inode: InodeNumber, flags: InodeFlags, block: [UInt8],
        rest: [UInt8]
    ) {
        precondition(block.count == InodeRecord.Layout.block.count)
        self.superblock = superblock
        self.inode = inode
        self.flags = flags
        self.block = block
        self.rest = rest
    }

    /// The parent's number, before the entries of `i_block` (`i_block[0]`).
    static let parentField = DirectoryRecord.inlineParent
    /// Bytes of `i_block` before the entries.
    static let parentSize = parentField.end
    /// Where stored entries start, as positions go: behind those of `.` and `..`.
    static let firstPosition: UInt64 = 24

    /// The parent.
    var parent: InodeNumber { InodeNumber(unsafe block.span.bytes[Self.parentField]) }

    /// How the entries look.
    var format: DirectoryFormat { DirectoryFormat(superblock) }

    /// Whether the entries keep a hash behind their name.
    var hasHashes: Bool { flags.isSuperset(of: [.encrypted, .casefold]) }

    /// Calls `body` with `.` and `..`, then each used entry, from `position` on, until it returns
    /// false. The last argument is the position behind the entry.
    func forEach(
        from position: UInt64 = 0,
        _ body: (_ inode: InodeNumber, _ type: FileType, _ name: RawSpan, _ next: UInt64)
            throws(Ext4Error) -> Bool
    ) throws(Ext4Error) {
        let dots: [UInt8] = [UInt8(ascii: "."), UInt8(ascii: ".")]
        let type: FileType =
            format.hasTypes ? .directory : .unknown
        if position == 0 {
            guard try unsafe body(inode, type, dots.span.bytes.extracting(0..<1), 12) else {
                return
            }
        }
        if position <= 12 {
            guard try unsafe body(parent, type, dots.span.bytes, Self.firstPosition) else {
                return
            }
        }
        let first = block.count - Self.parentSize
        let goesOn = try forEach(
            in: unsafe block.span.bytes.extracting(Self.parentSize..<block.count),
            base: Self.firstPosition, from: position, body)
        guard goesOn else { return }
        _ = try forEach(
            in: unsafe rest.span.bytes, base: Self.firstPosition + UInt64(first), from: position,
            body)
    }

    /// The entry named `name`, or nil.
    func find(_ name: RawSpan) throws(Ext4Error) -> (inode: InodeNumber, type: FileType)? {
        var found: (inode: InodeNumber, type: FileType)?
        try forEach { (inode, type, candidate, _) in
            guard candidate.isEqual(to: name) else { return true }
            found = (inode, type)
            return false
        }
        return found
    }

    /// Walks through one of the two areas, whose first byte is at position `base`.
    private func forEach(
        in bytes: RawSpan, base: UInt64, from position: UInt64,
        _ body: (_ inode: InodeNumber, _ type: FileType, _ name: RawSpan, _ next: UInt64)
            throws(Ext4Error) -> Bool
    ) throws(Ext4Error) -> Bool {
        var offset = 0
        while offset < bytes.byteCount {
            let record = try DirectoryRecord(
                parsing: bytes, at: offset, end: bytes.byteCount, format: format,
                hasHash: hasHashes, place: .init(inode: inode))
            if record.inode.rawValue != 0, base + UInt64(offset) >= position {
                let name = bytes.extracting(record.name)
                guard try body(record.inode, record.type, name, base + UInt64(record.end)) else {
                    return false
                }
            }
            offset = record.end
        }
        return true
    }
}
