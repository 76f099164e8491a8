// The order in which directories are listed whose entries may move to other blocks.
//
// A split moves half of a leaf's entries to the end of the directory: who is listing it by bytes
// would see them twice or, if they move the other way, never. So those directories are listed in
// the order of the hashes of their names, and a position in the listing is a hash. That depends on
// the name alone: an entry that stays is seen exactly once, whatever comes, goes or moves
// meanwhile. A directory of one block is listed that way as well, since its second one may give it
// an index, and an inline one, since it may become a directory of one block.
//
// A position has 63 bits:
//
//   bit 62: 1        bits 61 to 31: the hash's major    bits 30 to 0: a second hash of the name
//   bit 62: 0        a byte's offset, in a directory that is listed in the order of its blocks
//
// so that a position says itself what it is, whatever has become of the directory. 0 is the start
// of either. The hash's minor would not do for the second one: the format's old hash has none, and
// with TEA names come in fours that have both in common.

/// The order of a listing by hash.
struct HashOrder: Sendable {
    private let hash: DirectoryHash
    private let key: UInt64

    /// The position of `.`; 1 more is that of `..`, and 2 more that of the first hash.
    static let first: UInt64 = 1 << 62

    /// Whether a position is one of this order.
    static func isPosition(_ position: UInt64) -> Bool { position & first != 0 }

    init(_ hash: DirectoryHash, superblock: Superblock) {
        self.hash = hash
        // The volume's secret, so that nobody makes names that have both hashes in common.
        var key: UInt64 = 0x9E37_79B9_7F4A_7C15
        for word in superblock.hashSeed { key = Self.mixed(key, UInt64(word)) }
        self.key = key
    }

    /// The hashes that the names of a leaf have.
    ///
    /// A name that does not belong there, in a damaged directory, comes first or last among those
    /// that do: who goes on from a position in that leaf does not pass it.
    struct Bounds {
        let least: UInt32
        let greatest: UInt32

        /// Of a leaf by the entries of the index that lead to it and to the next one.
        init(lower: UInt32? = nil, upper: UInt32? = nil) {
            least = (lower ?? 0) & ~1
            // With the lowest bit, names of that very hash stand in this leaf too.
            guard let upper else {
                greatest = .max & ~1
                return
            }
            greatest = max(upper & 1 == 1 ? upper & ~1 : max(upper, 2) &- 2, least)
        }
    }

    /// The place of a name among those of its leaf.
    @inline(__always)
    func position(of name: RawSpan, in bounds: Bounds) -> UInt64 {
        let major = min(max(hash.hash(of: name)?.major ?? 0, bounds.least), bounds.greatest)
        return max(Self.first | UInt64(major >> 1) << 31 | second(name), Self.first &+ 2)
    }

    /// The place of `.` or `..`, nil for any other name.
    @inline(__always)
    static func position(ofDots name: RawSpan) -> UInt64? {
        name.isDotOrDotDot ? first &+ UInt64(name.byteCount &- 1) : nil
    }

    /// The position from which on everything is listed that has at least that hash.
    static func major(of position: UInt64) -> UInt32 {
        UInt32(truncatingIfNeeded: (position & ~first) >> 31) << 1
    }

    private func second(_ name: RawSpan) -> UInt64 {
        var sum = key ^ UInt64(truncatingIfNeeded: name.byteCount)
        var offset = 0
        while name.byteCount &- offset >= 8 {
            sum = Self.mixed(sum, name[Field<UInt64>.le(offset)])
            offset &+= 8
        }
        var last: UInt64 = 0
        while offset < name.byteCount {
            last = last << 8 | UInt64(name.byte(at: offset))
            offset &+= 1
        }
        return Self.mixed(sum, last) >> 33
    }

    @inline(__always)
    private static func mixed(_ sum: UInt64, _ word: UInt64) -> UInt64 {
        let product = (sum ^ word).multipliedFullWidth(by: 0xD6E8_FEB8_6659_FD93)
        return product.high ^ product.low &+ 0x9E37_79B9_7F4A_7C15
    }
}
