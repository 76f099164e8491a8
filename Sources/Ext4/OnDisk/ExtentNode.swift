// A node of an extent tree: a header of 12 bytes and entries of 12 bytes, in the 60 bytes of
// `i_block` (the root) or in a block of its own, where a checksum follows the last entry's place.

package enum ExtentNode {
    /// `EXT4_EXT_MAGIC`.
    package static let magic: UInt16 = 0xF30A
    /// The deepest tree that the format has use for (`EXT4_MAX_EXTENT_DEPTH`).
    package static let maximumDepth = 5
    /// Size of the header and of each entry.
    package static let entrySize = 12
    /// The longest initialised extent; longer lengths mean unwritten ones (`EXT_INIT_MAX_LEN`).
    package static let maximumLength: UInt16 = 32768

    package enum Header {  // struct ext4_extent_header
        package static let magic = Field<UInt16>.le(0)  // eh_magic
        package static let entries = Field<UInt16>.le(2)  // eh_entries
        package static let maximum = Field<UInt16>.le(4)  // eh_max
        package static let depth = Field<UInt16>.le(6)  // eh_depth
        package static let generation = Field<UInt32>.le(8)  // eh_generation
    }

    package enum Leaf {  // struct ext4_extent
        package static let block = Field<UInt32>.le(0)  // ee_block
        package static let length = Field<UInt16>.le(4)  // ee_len
        package static let startHigh = Field<UInt16>.le(6)  // ee_start_hi
        package static let startLow = Field<UInt32>.le(8)  // ee_start_lo
    }

    package enum Index {  // struct ext4_extent_idx
        package static let block = Field<UInt32>.le(0)  // ei_block
        package static let leafLow = Field<UInt32>.le(4)  // ei_leaf_lo
        package static let leafHigh = Field<UInt16>.le(8)  // ei_leaf_hi
        package static let unused = Field<UInt16>.le(10)  // ei_unused
    }

    /// The number of entries of a checked node.
    package static func count(_ node: RawSpan) -> Int { Int(node[Header.entries]) }

    /// The first block of the file that entry `index` is about: the same place in both kinds.
    package static func key(_ node: RawSpan, _ index: Int) -> LogicalBlock {
        LogicalBlock(UInt64(node[Leaf.block.at(entrySize &* (index &+ 1))]))
    }

    /// Entry `index` of a checked leaf.
    package static func extent(_ node: RawSpan, _ index: Int) -> BlockRun {
        let base = entrySize &* (index &+ 1)
        let length = node[Leaf.length.at(base)]
        let start = BlockNumber(
            UInt64(node[Leaf.startHigh.at(base)]) << 32 | UInt64(node[Leaf.startLow.at(base)]))
        let isUnwritten = length > maximumLength
        return BlockRun(
            logical: key(node, index),
            count: UInt64(isUnwritten ? length &- maximumLength : length),
            state: isUnwritten ? .unwritten(start) : .mapped(start))
    }

    /// The block that entry `index` of a checked inner node leads to.
    package static func child(_ node: RawSpan, _ index: Int) -> BlockNumber {
        let base = entrySize &* (index &+ 1)
        return BlockNumber(
            UInt64(node[Index.leafHigh.at(base)]) << 32 | UInt64(node[Index.leafLow.at(base)]))
    }

    /// The last entry that starts at or before `block`, or nil.
    package static func search(_ node: RawSpan, _ block: LogicalBlock) -> Int? {
        var low = 0
        var high = count(node)
        while low < high {
            let middle = (low &+ high) / 2
            if key(node, middle) <= block { low = middle &+ 1 } else { high = middle }
        }
        return low == 0 ? nil : low &- 1
    }

    /// Where the checksum of a node in a block of its own stands (`struct ext4_extent_tail`).
    package static func checksumField(_ node: RawSpan) -> Field<UInt32> {
        .le(entrySize &* (Int(node[Header.maximum]) &+ 1))  // et_checksum
    }

    /// Puts the checksum behind the entries of a node in a block of its own.
    package static func seal(_ node: inout MutableRawSpan, owner: BlockOwner) {
        let field = checksumField(node.bytes)
        guard field.end <= node.byteCount else { return }
        var crc = CRC32C(owner.checksumSeed)
        crc.update(node.bytes.extracting(0..<field.offset))
        node[field] = crc.value
    }

    /// Checks the whole of a node: header, order, ranges and, for a node in a block of its own,
    /// the checksum. `depth` is what the level above says; nil for a root, which says it itself.
    package static func check(
        _ node: RawSpan, depth: Int?, owner: BlockOwner, superblock: Superblock,
        verifiesChecksum: Bool, at place: Corruption.Place
    ) throws(Ext4Error) {
        func broken(_ rule: Corruption.Rule) -> Ext4Error { .corrupt(.extentNode, at: place, rule) }
        let magic = node[Header.magic]
        guard magic == Self.magic else { throw broken(.magic(found: UInt64(magic))) }
        let found = Int(node[Header.depth])
        guard found <= maximumDepth, depth == nil || found == depth else {
            throw broken(
                .field(
                    "eh_depth", value: UInt64(found),
                    rule: depth.map { "\($0)" } ?? "at most \(maximumDepth)"))
        }
        let count = Int(node[Header.entries])
        let maximum = Int(node[Header.maximum])
        let capacity = node.byteCount / entrySize - 1
        guard maximum > 0, maximum <= capacity else {
            throw broken(
                .field("eh_max", value: UInt64(maximum), rule: "1 to \(capacity)"))
        }
        guard count <= maximum, count > 0 || found == 0 else {
            throw broken(
                .field("eh_entries", value: UInt64(count), rule: "at most eh_max (\(maximum))"))
        }
        if depth != nil, verifiesChecksum {
            let field = checksumField(node)
            guard field.end <= node.byteCount else { throw broken(.truncated) }
            var crc = CRC32C(owner.checksumSeed)
            crc.update(node.extracting(0..<field.offset))
            guard node[field] == crc.value else {
                throw broken(.checksum(stored: node[field], computed: crc.value))
            }
        }
        var end: UInt64 = 0
        for i in 0..<count {
            let start = key(node, i).rawValue
            guard i == 0 || start >= end else {
                throw broken(.broken("entry \(i) is out of order or overlaps the one before"))
            }
            if found == 0 {
                let run = extent(node, i)
                guard run.count > 0, run.end <= LogicalBlock.end else {
                    throw broken(.broken("extent \(i) is empty or ends behind the last block"))
                }
                guard
                    case .mapped(let block) = run.state.placed,
                    superblock.contains(block, count: run.count)
                else {
                    throw broken(.broken("extent \(i) is not inside the volume"))
                }
                end = run.end.rawValue
            } else {
                guard superblock.contains(child(node, i)) else {
                    throw broken(.broken("index \(i) is not inside the volume"))
                }
                end = start &+ 1
            }
        }
    }
}

extension BlockRun.State {
    /// An unwritten run's place as if it were mapped.
    fileprivate var placed: BlockRun.State {
        if case .unwritten(let block) = self { .mapped(block) } else { self }
    }
}
