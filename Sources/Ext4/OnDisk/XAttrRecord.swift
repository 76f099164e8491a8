// The records of extended attributes: the header of an attribute block, the header of the area
// behind an inode's fields, and the entry that both hold.
//
// In a block the entries follow the header and their values grow down from the block's end,
// `e_value_offs` counts from the block's first byte. In an inode the entries follow the four bytes
// of the magic number and `e_value_offs` counts from the first entry. Four zero bytes where an
// entry would start end the list; entries and values are padded to four bytes.

/// The header of a block of extended attributes.
package struct XAttrBlockHeader: Hashable, Sendable {
    package enum Layout {  // struct ext4_xattr_header
        package static let magic = Field<UInt32>.le(0x00)  // h_magic
        package static let referenceCount = Field<UInt32>.le(0x04)  // h_refcount
        package static let blockCount = Field<UInt32>.le(0x08)  // h_blocks
        package static let hash = Field<UInt32>.le(0x0C)  // h_hash
        package static let checksum = Field<UInt32>.le(0x10)  // h_checksum
        package static let size = 0x20  // with h_reserved[3]
    }

    /// `EXT4_XATTR_MAGIC`, of blocks and of the area in an inode.
    package static let magic: UInt32 = 0xEA02_0000
    /// `EXT4_XATTR_REFCOUNT_MAX`: more inodes than that never share a block.
    package static let maximumReferenceCount: UInt32 = 1024

    /// How many inodes share the block.
    package let referenceCount: UInt32
    /// What `XAttrHash.ofBlock` gave when the block was written; 0 when it must not be shared.
    package let hash: UInt32

    /// Reads and checks the header of `block`.
    ///
    /// - Parameter checksumSeed: the volume's seed, nil where checksums are not in use or not
    ///   wanted.
    /// - Throws: `Ext4Error.corrupt` when the magic number, the checksum or a count is wrong.
    package init(
        parsing block: RawSpan, at number: BlockNumber, checksumSeed: UInt32?
    ) throws(Ext4Error) {
        let place = Corruption.Place(block: number)
        guard block.byteCount >= Layout.size + XAttrEntryRecord.terminatorSize else {
            throw .corrupt(.extendedAttribute, at: place, .truncated)
        }
        guard block[Layout.magic] == Self.magic else {
            throw .corrupt(
                .extendedAttribute, at: place, .magic(found: UInt64(block[Layout.magic])))
        }
        if let checksumSeed {
            let stored = block[Layout.checksum]
            let computed = Self.checksum(of: block, at: number, seed: checksumSeed)
            guard stored == computed else {
                throw .corrupt(
                    .extendedAttribute, at: place, .checksum(stored: stored, computed: computed))
            }
        }
        guard block[Layout.blockCount] == 1 else {
            throw .corrupt(
                .extendedAttribute, at: place,
                .field("h_blocks", value: UInt64(block[Layout.blockCount]), rule: "1"))
        }
        referenceCount = block[Layout.referenceCount]
        guard referenceCount >= 1, referenceCount <= Self.maximumReferenceCount else {
            throw .corrupt(
                .extendedAttribute, at: place,
                .field("h_refcount", value: UInt64(referenceCount), rule: "from 1 to 1024"))
        }
        hash = block[Layout.hash]
    }

    /// The checksum of a block: over its number as 64 bits, then its bytes without the checksum.
    package static func checksum(of block: RawSpan, at number: BlockNumber, seed: UInt32) -> UInt32
    {
        var crc = CRC32C(seed)
        crc.update(littleEndian: number.rawValue)
        crc.update(block, zeroing: Layout.checksum.offset..<Layout.checksum.end)
        return crc.value
    }
}

/// The header of the attributes that stand in an inode.
package enum XAttrInodeHeader {
    package enum Layout {  // struct ext4_xattr_ibody_header
        package static let magic = Field<UInt32>.le(0x00)  // h_magic
        package static let size = 0x04
    }
}

/// The fixed part of an entry; the name follows it.
package struct XAttrEntryRecord: Hashable, Sendable {
    package enum Layout {  // struct ext4_xattr_entry
        package static let nameLength = Field<UInt8>.le(0x00)  // e_name_len
        package static let nameIndex = Field<UInt8>.le(0x01)  // e_name_index
        package static let valueOffset = Field<UInt16>.le(0x02)  // e_value_offs
        package static let valueInode = Field<UInt32>.le(0x04)  // e_value_inum
        package static let valueSize = Field<UInt32>.le(0x08)  // e_value_size
        package static let hash = Field<UInt32>.le(0x0C)  // e_hash
        package static let name = 0x10  // e_name
    }

    /// The zero bytes that end the list of entries.
    package static let terminatorSize = 4
    /// `EXT4_XATTR_PAD`: entries and values are multiples of it.
    package static let padding = 4

    package let nameLength: Int
    package let nameIndex: UInt8
    package let valueOffset: Int
    package let valueInode: UInt32
    package let valueSize: UInt32
    package let hash: UInt32

    /// Reads the record at `offset`, of which the caller knows that it lies within `bytes`.
    package init(parsing bytes: RawSpan, at offset: Int) {
        nameLength = Int(bytes[Layout.nameLength.at(offset)])
        nameIndex = bytes[Layout.nameIndex.at(offset)]
        valueOffset = Int(bytes[Layout.valueOffset.at(offset)])
        valueInode = bytes[Layout.valueInode.at(offset)]
        valueSize = bytes[Layout.valueSize.at(offset)]
        hash = bytes[Layout.hash.at(offset)]
    }

    /// The bytes that the entry takes with its name and padding; at most 272.
    package var paddedSize: Int { Self.padded(Layout.name &+ nameLength) }

    /// `count` rounded up to the padding. It cannot overflow below 2⁶² bytes, and no size of the
    /// format has more than 32 bits.
    package static func padded(_ count: Int) -> Int { (count &+ (padding &- 1)) & ~(padding &- 1) }
}
