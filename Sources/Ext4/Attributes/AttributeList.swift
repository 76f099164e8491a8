// A list of attribute entries, as a block or the area in an inode has it. Rules held here, which
// are the kernel's (`check_xattrs`) and two of our own:
//
// 1. Every entry with its name and the zero bytes that end the list lies within the area.
// 2. A name has no zero byte.
// 3. A value in the area starts behind the list and ends, padded, within the area.
// 4. Together the values in the area fit into it (ours): no list costs more memory than its area.
// 5. A value in an inode of its own needs the feature `ea_inode` and the number of an inode that
//    is neither the root, nor the owner, nor beyond the last one.
// 6. No value has over 16 MiB by its entry, and none over 1 MiB is read (ours): the kernel's users
//    can write 64 KiB at most.
//
// A name may occur twice; the first one is found, and both are listed. The order is not checked.

/// One attribute: its name and where its value stands.
package struct AttributeEntry: Hashable, Sendable {
    /// Where a value stands.
    package enum Value: Hashable, Sendable {
        /// In these bytes of the block, or of the inode.
        case inArea(Range<Int>)
        /// In an inode of its own, of that size in bytes.
        case inode(InodeNumber, size: Int)
    }

    /// The attribute's name.
    package let name: AttributeName
    /// Where its value stands.
    package let value: Value
    /// `e_hash`.
    package let hash: UInt32
    /// Where the entry itself stands, from the start of the block or of the inode.
    package let byteOffset: Int

    /// The size of the value in bytes.
    package var valueSize: Int {
        switch value {
        case .inArea(let range): range.count
        case .inode(_, let size): size
        }
    }
}

/// The entries of an attribute block, or of the area in an inode.
package struct AttributeList: Sendable {
    /// What of the volume and of the owner decides which entries are good.
    package struct Context: Sendable {
        /// Whose attributes these are; nil when that does not matter.
        package var owner: InodeNumber?
        /// The number of inodes of the volume.
        package var inodeCount: UInt32
        /// The first inode that is not reserved.
        package var firstInode: UInt32
        /// Whether the volume has the feature `ea_inode`.
        package var hasAttributeInodes: Bool
        /// The volume's seed; nil where checksums are not in use or not wanted.
        package var checksumSeed: UInt32?

        /// What the rules for entries depend on.
        package init(
            owner: InodeNumber?, inodeCount: UInt32, firstInode: UInt32,
            hasAttributeInodes: Bool, checksumSeed: UInt32?
        ) {
            self.owner = owner
            self.inodeCount = inodeCount
            self.firstInode = firstInode
            self.hasAttributeInodes = hasAttributeInodes
            self.checksumSeed = checksumSeed
        }
    }

    /// `EXT4_XATTR_SIZE_MAX`.
    package static let maximumStatedSize: UInt32 = 1 << 24
    /// The largest value that is read.
    package static let maximumValueSize = 1 << 20

    /// The entries, in the order of the disk.
    package let entries: [AttributeEntry]
    /// The header, of a block.
    package let header: XAttrBlockHeader?
    /// Where the list stands.
    package let place: Corruption.Place

    /// Reads the attribute block `bytes`.
    ///
    /// - Throws: `Ext4Error.corrupt` when it breaks a rule.
    package init(
        parsingBlock bytes: RawSpan, at number: BlockNumber, _ context: Context
    ) throws(Ext4Error) {
        header = try XAttrBlockHeader(
            parsing: bytes, at: number, checksumSeed: context.checksumSeed)
        place = Corruption.Place(inode: context.owner, block: number)
        entries = try Self.entries(
            in: bytes, firstEntry: XAttrBlockHeader.Layout.size, valueBase: 0, context, place)
    }

    /// Reads the entries of the attribute block `bytes`, whatever its header says.
    ///
    /// - Throws: `Ext4Error.corrupt` when they break a rule.
    package init(
        parsingBlockEntries bytes: RawSpan, at number: BlockNumber, _ context: Context
    ) throws(Ext4Error) {
        header = nil
        place = Corruption.Place(inode: context.owner, block: number)
        entries = try Self.entries(
            in: bytes, firstEntry: XAttrBlockHeader.Layout.size, valueBase: 0, context, place)
    }

    /// Reads the attributes in an inode, which has all of `bytes` and `extraSize` bytes
    /// (`i_extra_isize`) of fields behind the first 128.
    ///
    /// - Returns: nil when it has no such area.
    /// - Throws: `Ext4Error.corrupt` when it breaks a rule.
    package init?(
        parsingInode bytes: RawSpan, extraSize: Int, _ context: Context
    ) throws(Ext4Error) {
        let start = 128 &+ extraSize
        let firstEntry = start &+ XAttrInodeHeader.Layout.size
        // Without extra fields the kernel does not look for attributes; a magic number that is
        // another one means that there are none.
        guard extraSize > 0, extraSize <= bytes.byteCount &- 128,
            firstEntry &+ XAttrEntryRecord.terminatorSize <= bytes.byteCount,
            bytes[XAttrInodeHeader.Layout.magic.at(start)] == XAttrBlockHeader.magic
        else { return nil }
        header = nil
        place = Corruption.Place(inode: context.owner)
        entries = try Self.entries(
            in: bytes, firstEntry: firstEntry, valueBase: firstEntry, context, place)
    }

    /// The first entry of that name.
    package func entry(named name: AttributeName) -> AttributeEntry? {
        for entry in entries where entry.name == name { return entry }
        return nil
    }

    private static func entries(
        in bytes: RawSpan, firstEntry: Int, valueBase: Int, _ context: Context,
        _ place: Corruption.Place
    ) throws(Ext4Error) -> [AttributeEntry] {
        let (records, end) = try records(in: bytes, from: firstEntry, place)
        var room = bytes.byteCount &- end
        var entries: [AttributeEntry] = []
        entries.reserveCapacity(records.count)
        for (offset, record) in records {
            var place = place
            place.byteOffset = offset
            let value = try value(
                of: record, in: end..<bytes.byteCount, base: valueBase, context, place)
            if case .inArea(let range) = value {
                room &-= range.count
                guard room >= 0 else {
                    throw .corrupt(
                        .extendedAttribute, at: place, .broken("values overlap each other"))
                }
            }
            let nameStart = offset &+ XAttrEntryRecord.Layout.name
            entries.append(
                AttributeEntry(
                    name: AttributeName(
                        prefix: .init(rawValue: record.nameIndex),
                        rest: bytes.copy(nameStart..<nameStart &+ record.nameLength)),
                    value: value, hash: record.hash, byteOffset: offset))
        }
        return entries
    }

    /// Walks the list. Each step takes 16 bytes at least, so the area bounds the walk.
    ///
    /// - Returns: the records and where they stand, and the offset behind the list's end.
    private static func records(
        in bytes: RawSpan, from firstEntry: Int, _ place: Corruption.Place
    ) throws(Ext4Error) -> ([(offset: Int, record: XAttrEntryRecord)], end: Int) {
        var records: [(offset: Int, record: XAttrEntryRecord)] = []
        var offset = firstEntry
        while true {
            var place = place
            place.byteOffset = offset
            let remaining = bytes.byteCount &- offset
            guard remaining >= XAttrEntryRecord.terminatorSize else {
                throw .corrupt(.extendedAttribute, at: place, .truncated)
            }
            if bytes[Field<UInt32>.le(offset)] == 0 {
                return (records, offset &+ XAttrEntryRecord.terminatorSize)
            }
            guard remaining >= XAttrEntryRecord.Layout.name else {
                throw .corrupt(.extendedAttribute, at: place, .truncated)
            }
            let record = XAttrEntryRecord(parsing: bytes, at: offset)
            guard record.paddedSize <= remaining else {
                throw .corrupt(
                    .extendedAttribute, at: place,
                    .field(
                        "e_name_len", value: UInt64(record.nameLength),
                        rule: "within the area"))
            }
            let nameStart = offset &+ XAttrEntryRecord.Layout.name
            for i in nameStart..<nameStart &+ record.nameLength where bytes.byte(at: i) == 0 {
                throw .corrupt(
                    .extendedAttribute, at: place, .broken("the name has a zero byte"))
            }
            records.append((offset, record))
            offset &+= record.paddedSize
        }
    }

    private static func value(
        of record: XAttrEntryRecord, in room: Range<Int>, base: Int, _ context: Context,
        _ place: Corruption.Place
    ) throws(Ext4Error) -> AttributeEntry.Value {
        guard record.valueSize <= maximumStatedSize else {
            throw .corrupt(
                .extendedAttribute, at: place,
                .field("e_value_size", value: UInt64(record.valueSize), rule: "at most 2^24"))
        }
        let size = Int(record.valueSize)
        if record.valueInode != 0 {
            return .inode(try inode(of: record, context, place), size: size)
        }
        // An empty value stands nowhere; its offset means nothing.
        guard size > 0 else { return .inArea(room.upperBound..<room.upperBound) }
        let start = base &+ record.valueOffset
        guard start >= room.lowerBound, start <= room.upperBound else {
            throw .corrupt(
                .extendedAttribute, at: place,
                .field(
                    "e_value_offs", value: UInt64(record.valueOffset),
                    rule: "behind the entries and within the area"))
        }
        guard XAttrEntryRecord.padded(size) <= room.upperBound &- start else {
            throw .corrupt(
                .extendedAttribute, at: place,
                .field("e_value_size", value: UInt64(size), rule: "within the area"))
        }
        return .inArea(start..<start &+ size)
    }

    private static func inode(
        of record: XAttrEntryRecord, _ context: Context, _ place: Corruption.Place
    ) throws(Ext4Error) -> InodeNumber {
        let number = InodeNumber(record.valueInode)
        guard context.hasAttributeInodes else {
            throw .corrupt(
                .extendedAttribute, at: place,
                .field(
                    "e_value_inum", value: UInt64(number.rawValue),
                    rule: "0 without the feature ea_inode"))
        }
        guard number.rawValue >= context.firstInode, number.rawValue <= context.inodeCount else {
            throw .corrupt(
                .extendedAttribute, at: place,
                .field(
                    "e_value_inum", value: UInt64(number.rawValue),
                    rule: "an inode of the volume that is not reserved"))
        }
        guard number != context.owner else {
            throw .corrupt(.extendedAttribute, at: place, .cycle)
        }
        return number
    }
}

extension AttributeEntry {
    /// Checks `e_hash` against the value that stands in the area of which `bytes` is the whole.
    ///
    /// In an inode's area the kernel writes no hash, which is 0.
    ///
    /// - Parameter mayBeMissing: whether 0 will do.
    /// - Throws: `Ext4Error.corrupt` when it is that of neither way to take the name's bytes.
    package func checkHash(
        ofValueIn bytes: RawSpan, at place: Corruption.Place, mayBeMissing: Bool = true
    ) throws(Ext4Error) {
        if hash == 0, mayBeMissing { return }
        var computed: UInt32 = 0
        for signedness in XAttrHash.Signedness.allCases.reversed() {
            guard let made = madeHash(ofValueIn: bytes, signedness) else { return }
            computed = made
            if computed == hash { return }
        }
        throw mismatch(computed: computed, place)
    }

    /// The hash that the entry should have; nil when its value is not in the area of which `bytes`
    /// is the whole.
    ///
    /// The kernel takes whole words: what pads the last one is zeros, unless something broke it.
    package func madeHash(
        ofValueIn bytes: RawSpan, _ signedness: XAttrHash.Signedness = .unsigned
    ) -> UInt32? {
        guard case .inArea(let range) = value, range.upperBound <= bytes.byteCount else {
            return nil
        }
        let end = min((range.count + 3) & ~3, bytes.byteCount - range.lowerBound)
        return unsafe XAttrHash.ofEntry(
            name: name.rest.span.bytes,
            value: bytes.extracting(range.lowerBound..<range.lowerBound + end), signedness)
    }

    /// Checks the hash that the value's own inode keeps, and `e_hash` which is made from it.
    ///
    /// - Throws: `Ext4Error.corrupt` when one of them is wrong.
    package func checkHash(
        ofInodeValue value: RawSpan, storedInInode stored: UInt32, seed: UInt32,
        at place: Corruption.Place
    ) throws(Ext4Error) {
        let computed = XAttrHash.ofInodeValue(value, seed: seed)
        guard stored == computed else {
            var inode: InodeNumber?
            if case .inode(let number, _) = self.value { inode = number }
            throw .corrupt(
                .attributeInode, at: .init(inode: inode),
                .checksum(stored: stored, computed: computed))
        }
        var expected: UInt32 = 0
        for signedness in XAttrHash.Signedness.allCases.reversed() {
            expected = unsafe XAttrHash.ofEntry(
                name: name.rest.span.bytes, valueHash: computed, signedness)
            if expected == hash { return }
        }
        throw mismatch(computed: expected, place)
    }

    private func mismatch(computed: UInt32, _ place: Corruption.Place) -> Ext4Error {
        var place = place
        place.byteOffset = byteOffset
        return .corrupt(.extendedAttribute, at: place, .checksum(stored: hash, computed: computed))
    }
}
