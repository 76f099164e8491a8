// A node of a directory's index: the root behind `.` and `..` in the first block, or an inner node
// that fills a block behind an unused directory entry. Entries are pairs of a hash and a block;
// the place of the first hash holds the counts instead, since everything below it belongs there.

/// A node of an htree, checked; the bytes stay in their block.
package struct HTreeNode {
    /// Where the entries start, the first of them holding limit and count.
    package let entries: Int
    /// Entries that fit.
    package let limit: Int
    /// Entries there are, the first included.
    package let count: Int
    /// The root's facts, or nil in an inner node.
    package let root: Root?

    /// What only the root says (`struct dx_root_info`).
    package struct Root: Hashable {
        package let hashVersion: UInt8
        package let indirectLevels: Int
    }

    package enum RootLayout {  // struct dx_root_info
        package static let zero = Field<UInt32>.le(0)  // reserved_zero
        package static let hashVersion = Field<UInt8>.le(4)  // hash_version
        package static let infoLength = Field<UInt8>.le(5)  // info_length
        package static let indirectLevels = Field<UInt8>.le(6)  // indirect_levels
        package static let size = 8
    }

    /// Where the root's facts stand: behind the entries of `.` and `..`, 12 bytes each.
    package static let rootBase = 24

    package enum CountLayout {  // struct dx_countlimit
        package static let limit = Field<UInt16>.le(0)  // limit
        package static let count = Field<UInt16>.le(2)  // count
    }

    package enum EntryLayout {  // struct dx_entry
        package static let hash = Field<UInt32>.le(0)  // hash
        package static let block = Field<UInt32>.le(4)  // block
    }

    package enum TailLayout {  // struct dx_tail
        package static let reserved = Field<UInt32>.le(0)  // dt_reserved
        package static let checksum = Field<UInt32>.le(4)  // dt_checksum
    }

    /// The size of an entry, and of the tail.
    package static let entrySize = 8
    /// Levels below the root that a reader goes down: two with large_dir, one without.
    package static func maximumLevels(_ superblock: Superblock) -> Int {
        superblock.incompatible.contains(.largeDir) ? 2 : 1
    }

    /// Parses and checks a node; `isRoot` for the first block of the directory.
    package init(
        parsing bytes: RawSpan, isRoot: Bool, owner: BlockOwner, superblock: Superblock,
        verifiesChecksum: Bool, at place: Corruption.Place
    ) throws(Ext4Error) {
        func broken(_ rule: Corruption.Rule) -> Ext4Error { .corrupt(.htreeNode, at: place, rule) }
        typealias Entry = DirectoryRecord.Layout
        let blockSize = bytes.byteCount
        func length(at offset: Int) -> Int {
            DirectoryRecord.recordLength(
                bytes[Entry.recordLength.at(offset)], blockSize: blockSize)
        }
        if isRoot {
            let base = Self.rootBase
            guard length(at: 0) == 12, length(at: 12) == blockSize - 12 else {
                throw broken(.broken("the entries of . and .. do not frame it"))
            }
            guard bytes[RootLayout.zero.at(base)] == 0, bytes[RootLayout.infoLength.at(base)] == 8
            else {
                throw broken(
                    .field(
                        "info_length", value: UInt64(bytes[RootLayout.infoLength.at(base)]),
                        rule: "8"))
            }
            let levels = Int(bytes[RootLayout.indirectLevels.at(base)])
            guard levels <= Self.maximumLevels(superblock) else {
                throw broken(
                    .field(
                        "indirect_levels", value: UInt64(levels),
                        rule: "at most \(Self.maximumLevels(superblock))"))
            }
            root = Root(hashVersion: bytes[RootLayout.hashVersion.at(base)], indirectLevels: levels)
            entries = base + RootLayout.size
        } else {
            guard bytes[Entry.inode] == 0, length(at: 0) == blockSize else {
                throw broken(.broken("an unused entry of the whole block does not frame it"))
            }
            root = nil
            entries = DirectoryRecord.headerSize
        }
        limit = Int(bytes[CountLayout.limit.at(entries)])
        count = Int(bytes[CountLayout.count.at(entries)])
        let tail = superblock.hasMetadataChecksums ? Self.entrySize : 0
        let capacity = (blockSize - entries - tail) / Self.entrySize
        guard limit == capacity else {
            throw broken(.field("limit", value: UInt64(limit), rule: "\(capacity)"))
        }
        guard count >= 1, count <= limit else {
            throw broken(.field("count", value: UInt64(count), rule: "1 to \(limit)"))
        }
        if verifiesChecksum {
            let stored = bytes[TailLayout.checksum.at(entries + limit * Self.entrySize)]
            let computed = Self.checksum(
                of: bytes, entries: entries, count: count, limit: limit, owner: owner)
            guard stored == computed else {
                throw broken(.checksum(stored: stored, computed: computed))
            }
        }
    }

    /// The checksum of a node: of what is before the entries, those in use, and the tail with its
    /// own field as zeros.
    package static func checksum(
        of bytes: RawSpan, entries: Int, count: Int, limit: Int, owner: BlockOwner
    ) -> UInt32 {
        var crc = CRC32C(owner.checksumSeed)
        crc.update(bytes.extracting(0..<entries + count * entrySize))
        crc.update(littleEndian: bytes[TailLayout.reserved.at(entries + limit * entrySize)])
        crc.update(littleEndian: UInt32(0))
        return crc.value
    }

    /// Puts the checksum behind the entries of a node that this engine changed.
    package static func seal(_ bytes: inout MutableRawSpan, isRoot: Bool, owner: BlockOwner) {
        let entries = isRoot ? rootBase + RootLayout.size : DirectoryRecord.headerSize
        let limit = Int(bytes[CountLayout.limit.at(entries)])
        let count = Int(bytes[CountLayout.count.at(entries)])
        let tail = entries + limit * entrySize
        guard count <= limit, tail + entrySize <= bytes.byteCount else { return }
        bytes[TailLayout.checksum.at(tail)] = checksum(
            of: bytes.bytes, entries: entries, count: count, limit: limit, owner: owner)
    }

    /// The hash from which on entry `index`, not 0, applies; the lowest bit says that the entries
    /// of that hash go on from the block before.
    package func hash(_ bytes: RawSpan, _ index: Int) -> UInt32 {
        bytes[EntryLayout.hash.at(entries &+ index &* Self.entrySize)]
    }

    /// The block of the directory that entry `index` leads to; the high 4 bits are reserved.
    package func block(_ bytes: RawSpan, _ index: Int) -> LogicalBlock {
        LogicalBlock(
            UInt64(bytes[EntryLayout.block.at(entries &+ index &* Self.entrySize)] & 0x0FFF_FFFF))
    }

    /// The last entry that starts at or before `hash`: always one, since entry 0 has no bound.
    package func search(_ bytes: RawSpan, _ hash: UInt32) -> Int {
        var low = 1
        var high = count
        while low < high {
            let middle = (low &+ high) / 2
            if self.hash(bytes, middle) <= hash { low = middle &+ 1 } else { high = middle }
        }
        return low &- 1
    }
}
