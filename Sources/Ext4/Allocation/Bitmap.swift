// Maps of bits, as a group has them of its blocks and of its inodes: bit n is bit n mod 8 of byte
// n / 8, so a little-endian word of 64 bits has 64 of them in order.
//
// All of it works a word at a time. A map's length is a multiple of 8 bytes, and bounds are for the
// caller to hold; a bound outside the map is our own mistake and stops at the precondition of the
// field's access.

extension RawSpan {
    /// The word that has bit `64 * index` as its lowest one.
    @inline(__always)
    private func word(_ index: Int) -> UInt64 { self[Field<UInt64>.le(index &<< 3)] }

    /// Whether bit `index` is set.
    package func isBitSet(_ index: Int) -> Bool {
        byte(at: index >> 3) & (1 << UInt8(index & 7)) != 0
    }

    /// The first clear bit of `start..<limit`, or `limit`.
    package func firstClearBit(from start: Int, below limit: Int) -> Int {
        firstBit(from: start, below: limit, flipping: ~0)
    }

    /// The first set bit of `start..<limit`, or `limit`.
    package func firstSetBit(from start: Int, below limit: Int) -> Int {
        firstBit(from: start, below: limit, flipping: 0)
    }

    @inline(__always)
    private func firstBit(from start: Int, below limit: Int, flipping mask: UInt64) -> Int {
        guard start < limit else { return limit }
        var index = start >> 6
        let last = (limit &- 1) >> 6
        var found = (word(index) ^ mask) & (~0 &<< UInt64(start & 63))
        while found == 0 {
            index &+= 1
            guard index <= last else { return limit }
            found = word(index) ^ mask
        }
        return min(index &<< 6 &+ found.trailingZeroBitCount, limit)
    }

    /// Whether all bits of `range` are set.
    package func areBitsSet(_ range: Range<Int>) -> Bool {
        firstClearBit(from: range.lowerBound, below: range.upperBound) == range.upperBound
    }

    /// Whether all bits of `range` are clear.
    package func areBitsClear(_ range: Range<Int>) -> Bool {
        firstSetBit(from: range.lowerBound, below: range.upperBound) == range.upperBound
    }

    /// How many of the first `limit` bits are clear.
    package func clearBitCount(below limit: Int) -> Int {
        var count = 0
        for index in 0..<limit >> 6 { count &+= (~word(index)).nonzeroBitCount }
        if limit & 63 != 0 {
            let rest = ~word(limit >> 6) & ((1 &<< UInt64(limit & 63)) &- 1)
            count &+= rest.nonzeroBitCount
        }
        return count
    }

    /// The first run of clear bits in `range` that has `count` or more of them, from its start to
    /// its end in `range`; without one, the longest that there is, and an empty one when no bit is
    /// clear.
    package func clearRun(ofAtLeast count: Int, in range: Range<Int>) -> Range<Int> {
        var best = range.lowerBound..<range.lowerBound
        var next = range.lowerBound
        while true {
            let start = firstClearBit(from: next, below: range.upperBound)
            guard start < range.upperBound else { return best }
            let end = firstSetBit(from: start, below: range.upperBound)
            if end &- start > best.count {
                best = start..<end
                if best.count >= count { return best }
            }
            next = end
        }
    }

    /// Where the run of clear bits starts that ends before bit `end`; `end` when there is none.
    package func startOfClearRun(before end: Int) -> Int {
        var start = end
        while start > 0 {
            let index = (start &- 1) >> 6
            // The bits of the word before `start`, moved up to the top of a word.
            let kept = start &- index &<< 6
            let bits = word(index) &<< UInt64((64 &- kept) & 63)
            guard bits == 0 else { return start &- bits.leadingZeroBitCount }
            start = index &<< 6
        }
        return 0
    }
}

extension MutableRawSpan {
    /// Sets all bits of `range`.
    package mutating func setBits(_ range: Range<Int>) {
        change(range) { word, mask in word | mask }
    }

    /// Clears all bits of `range`.
    package mutating func clearBits(_ range: Range<Int>) {
        change(range) { word, mask in word & ~mask }
    }

    @inline(__always)
    private mutating func change(_ range: Range<Int>, _ body: (UInt64, UInt64) -> UInt64) {
        guard !range.isEmpty else { return }
        let first = range.lowerBound >> 6
        let last = (range.upperBound &- 1) >> 6
        for index in first...last {
            var mask = ~0 as UInt64
            if index == first { mask &= ~0 &<< UInt64(range.lowerBound & 63) }
            if index == last { mask &= ~0 &>> UInt64(63 &- (range.upperBound &- 1) & 63) }
            let field = Field<UInt64>.le(index &<< 3)
            self[field] = body(self[field], mask)
        }
    }
}
