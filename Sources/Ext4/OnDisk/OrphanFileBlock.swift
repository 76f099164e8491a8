// A block of the orphan file: the numbers of inodes that are to be freed or cut off at the next
// mount, 0 for a free place, and a tail with a magic number and a checksum. It is a hash table: an
// inode may stand in any place.

/// The contents of one block of the orphan file.
package struct OrphanFileBlock: Hashable, Sendable {
    /// The tail, which the last eight bytes of the block are.
    package enum Tail {  // struct ext4_orphan_block_tail
        package static let magic = Field<UInt32>.le(0)  // ob_magic
        package static let checksum = Field<UInt32>.le(4)  // ob_checksum
        package static let size = 8
    }

    /// `EXT4_ORPHAN_BLOCK_MAGIC`.
    package static let magic: UInt32 = 0x0B10_CA04
    private static let entrySize = 4

    /// The place of an entry; the caller has checked that it lies before the tail.
    package static func slot(_ index: Int) -> Field<UInt32> { .le(index &* entrySize) }

    /// The inodes that the block names, in its order.
    package let inodes: [InodeNumber]

    /// Reads and checks a block of the orphan file.
    ///
    /// - Parameters:
    ///   - number: the block of the volume, which the checksum covers.
    ///   - file: the orphan file's inode.
    ///   - checksumSeed: the seed of what belongs to that inode, nil where checksums are not in use
    ///     or not wanted.
    ///   - inodeCount: the number of inodes of the volume.
    /// - Throws: `Ext4Error.corrupt` when the magic number, the checksum or an entry is wrong.
    package init(
        parsing block: RawSpan, at number: BlockNumber, of file: InodeNumber,
        checksumSeed: UInt32?, inodeCount: UInt32
    ) throws(Ext4Error) {
        let place = Corruption.Place(inode: file, block: number)
        guard block.byteCount >= Tail.size else {
            throw .corrupt(.orphanFile, at: place, .truncated)
        }
        let tail = block.byteCount &- Tail.size
        let magic = block[Tail.magic.at(tail)]
        guard magic == Self.magic else {
            throw .corrupt(.orphanFile, at: place, .magic(found: UInt64(magic)))
        }
        if let checksumSeed {
            let stored = block[Tail.checksum.at(tail)]
            let computed = Self.checksum(of: block, at: number, seed: checksumSeed)
            guard stored == computed else {
                throw .corrupt(
                    .orphanFile, at: place, .checksum(stored: stored, computed: computed))
            }
        }
        var inodes: [InodeNumber] = []
        var offset = 0
        while offset &+ Self.entrySize <= tail {
            let inode = block[Field<UInt32>.le(offset)]
            guard inode <= inodeCount else {
                var place = place
                place.byteOffset = offset
                throw .corrupt(
                    .orphanFile, at: place,
                    .field("ob_orphan", value: UInt64(inode), rule: "an inode of the volume"))
            }
            if inode != 0 { inodes.append(InodeNumber(inode)) }
            offset &+= Self.entrySize
        }
        self.inodes = inodes
    }

    /// The checksum: over the block's number as 64 bits, then the entries without the tail.
    package static func checksum(of block: RawSpan, at number: BlockNumber, seed: UInt32) -> UInt32
    {
        var crc = CRC32C(seed)
        crc.update(littleEndian: number.rawValue)
        let entries = (block.byteCount &- Tail.size) / entrySize &* entrySize
        crc.update(block.extracting(0..<max(entries, 0)))
        return crc.value
    }
}

extension OrphanFileBlock {
    /// Makes the zeros of `block` a block without orphans.
    package static func writeEmpty(
        to block: inout MutableRawSpan, at number: BlockNumber, checksumSeed: UInt32?
    ) {
        let tail = block.byteCount &- Tail.size
        block[Tail.magic.at(tail)] = magic
        if let checksumSeed {
            block[Tail.checksum.at(tail)] = checksum(
                of: block.bytes, at: number, seed: checksumSeed)
        }
    }
}
