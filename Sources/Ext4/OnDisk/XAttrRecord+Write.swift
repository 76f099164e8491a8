// Writing the records of extended attributes. The bytes were zeroed before.

extension XAttrBlockHeader {
    /// Writes a header without its checksum, which a block gets when it goes to the disk.
    package static func write(referenceCount: UInt32, hash: UInt32, to block: inout MutableRawSpan)
    {
        block[Layout.magic] = magic
        block[Layout.referenceCount] = referenceCount
        block[Layout.blockCount] = 1
        block[Layout.hash] = hash
    }
}

extension XAttrEntryRecord {
    /// The bytes of an entry whose name has `nameLength` bytes, with its padding.
    package static func size(nameLength: Int) -> Int { padded(Layout.name &+ nameLength) }

    /// Writes an entry with its name.
    ///
    /// - Precondition: the name has at most 255 bytes, and the entry lies within `bytes`.
    package static func write(
        name: [UInt8], index: UInt8, valueOffset: Int, valueInode: UInt32, valueSize: Int,
        hash: UInt32, to bytes: inout MutableRawSpan, at offset: Int
    ) {
        precondition(name.count <= 255, "a name was not checked")
        bytes[Layout.nameLength.at(offset)] = UInt8(truncatingIfNeeded: name.count)
        bytes[Layout.nameIndex.at(offset)] = index
        bytes[Layout.valueOffset.at(offset)] = UInt16(truncatingIfNeeded: valueOffset)
        bytes[Layout.valueInode.at(offset)] = valueInode
        bytes[Layout.valueSize.at(offset)] = UInt32(truncatingIfNeeded: valueSize)
        bytes[Layout.hash.at(offset)] = hash
        for (i, byte) in name.enumerated() {
            bytes[Field<UInt8>.le(offset &+ Layout.name &+ i)] = byte
        }
    }
}
