// A directory entry's bytes, in a block or in the inline area of an inode.

/// One directory entry as a block has it: checked to lie in the block, its name as a range.
package struct DirectoryRecord {
    /// The inode it leads to; 0 for an unused entry.
    package let inode: InodeNumber
    /// The type as stored; `unknown` without the filetype feature.
    package let type: FileType
    /// Where the entry starts in the block.
    package let start: Int
    /// Where the next one starts.
    package let end: Int
    /// Where the name stands.
    package let name: Range<Int>
    /// The stored hash of an entry in an encrypted directory that ignores case.
    package let hash: (major: UInt32, minor: UInt32)?

    package enum Layout {  // struct ext4_dir_entry_2
        package static let inode = Field<UInt32>.le(0)  // inode
        package static let recordLength = Field<UInt16>.le(4)  // rec_len
        package static let nameLength = Field<UInt8>.le(6)  // name_len
        package static let fileType = Field<UInt8>.le(7)  // file_type
    }

    package enum TailLayout {  // struct ext4_dir_entry_tail
        package static let zeroInode = Field<UInt32>.le(0)  // det_reserved_zero1
        package static let recordLength = Field<UInt16>.le(4)  // det_rec_len
        package static let zeroName = Field<UInt8>.le(6)  // det_reserved_zero2
        package static let type = Field<UInt8>.le(7)  // det_reserved_ft
        package static let checksum = Field<UInt32>.le(8)  // det_checksum
    }

    /// The number of the parent, which stands before the entries in the `i_block` of an inode that
    /// holds them.
    package static let inlineParent = Field<UInt32>.le(0)
    /// Bytes before the name.
    package static let headerSize = 8
    /// Bytes behind the name of a hash, where there is one.
    package static let hashSize = 8
    /// Size of the tail with the checksum.
    package static let tailSize = 12
    /// `EXT4_FT_DIR_CSUM`.
    package static let tailType: UInt8 = 0xDE

    /// The stored form of a record length: 64 KiB does not fit 16 bits, so that the low two bits,
    /// always 0 otherwise, are its high ones, and 0 or 0xFFFF mean a whole block.
    package static func recordLength(_ raw: UInt16, blockSize: Int) -> Int {
        guard blockSize >= 65536 else { return Int(raw) }
        if raw == 0 || raw == 0xFFFF { return blockSize }
        return Int(raw & 0xFFFC) | Int(raw & 3) << 16
    }

    /// Parses the entry at `start` of `bytes`, of which the entries end at `end`.
    ///
    /// `hasHash` says that the directory is both encrypted and ignores case: a hash of 8 bytes
    /// follows the name.
    package init(
        parsing bytes: RawSpan, at start: Int, end: Int, format: DirectoryFormat, hasHash: Bool,
        place: Corruption.Place
    ) throws(Ext4Error) {
        func broken(_ rule: Corruption.Rule) -> Ext4Error {
            var place = place
            place.byteOffset = start
            return .corrupt(.directoryBlock, at: place, rule)
        }
        guard start >= 0, end <= bytes.byteCount, end &- start >= Self.headerSize else {
            throw broken(.truncated)
        }
        let length = Self.recordLength(
            bytes[Layout.recordLength.at(start)], blockSize: format.blockSize)
        let nameLength = Int(bytes[Layout.nameLength.at(start)])
        let hasName = nameLength > 0
        let minimum = Self.size(nameLength: nameLength, hasHash: hasHash && hasName)
        guard length % 4 == 0, length >= max(minimum, 12), length <= end &- start else {
            throw broken(
                .field(
                    "rec_len", value: UInt64(length),
                    rule: "a multiple of 4 from \(max(minimum, 12)) to \(end &- start)"))
        }
        inode = InodeNumber(bytes[Layout.inode.at(start)])
        guard inode.rawValue <= format.inodesCount else {
            throw broken(
                .field(
                    "inode", value: UInt64(inode.rawValue),
                    rule: "at most s_inodes_count (\(format.inodesCount))"))
        }
        guard inode.rawValue == 0 || hasName else { throw broken(.broken("it has no name")) }
        type =
            format.hasTypes
            ? FileType(rawValue: bytes[Layout.fileType.at(start)] & 0x0F) ?? .unknown : .unknown
        self.start = start
        self.end = start &+ length
        name = start &+ Self.headerSize..<start &+ Self.headerSize &+ nameLength
        if hasHash, hasName, inode.rawValue != 0 {
            let offset = start &+ Self.headerSize &+ Self.roundedUp(nameLength)
            hash = (bytes[Field<UInt32>.le(offset)], bytes[Field<UInt32>.le(offset &+ 4)])
        } else {
            hash = nil
        }
    }

    private static func roundedUp(_ length: Int) -> Int { (length &+ 3) & ~3 }

    /// The bytes that an entry with a name of that length takes.
    package static func size(nameLength: Int, hasHash: Bool) -> Int {
        headerSize &+ roundedUp(nameLength) &+ (hasHash ? hashSize : 0)
    }

    /// Whether `bytes`, a whole block, end with the entry that holds a checksum.
    package static func hasTail(_ bytes: RawSpan) -> Bool {
        let base = bytes.byteCount &- tailSize
        guard base >= 0 else { return false }
        return bytes[TailLayout.zeroInode.at(base)] == 0
            && bytes[TailLayout.recordLength.at(base)] == UInt16(tailSize)
            && bytes[TailLayout.zeroName.at(base)] == 0
            && bytes[TailLayout.type.at(base)] == tailType
    }

    /// Puts the checksum into the tail of a block of entries, if it has one.
    package static func sealTail(_ bytes: inout MutableRawSpan, owner: BlockOwner) {
        guard hasTail(bytes.bytes) else { return }
        let base = bytes.byteCount - tailSize
        var crc = CRC32C(owner.checksumSeed)
        crc.update(bytes.bytes.extracting(0..<base))
        bytes[TailLayout.checksum.at(base)] = crc.value
    }

    /// Checks the checksum of a block of entries: of all bytes before the tail.
    package static func checkTail(
        _ bytes: RawSpan, owner: BlockOwner, at place: Corruption.Place
    ) throws(Ext4Error) {
        guard hasTail(bytes) else {
            throw .corrupt(.directoryBlock, at: place, .broken("it has no room for its checksum"))
        }
        let base = bytes.byteCount - tailSize
        var crc = CRC32C(owner.checksumSeed)
        crc.update(bytes.extracting(0..<base))
        let stored = bytes[TailLayout.checksum.at(base)]
        guard stored == crc.value else {
            throw .corrupt(
                .directoryBlock, at: place, .checksum(stored: stored, computed: crc.value))
        }
    }
}
