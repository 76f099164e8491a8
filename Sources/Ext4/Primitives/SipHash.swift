// SipHash-2-4 (Aumasson and Bernstein): the hash of names in directories that are encrypted and
// fold case, keyed so that it tells nothing about them.

/// SipHash-2-4 with a result of 64 bits.
package enum SipHash {
    /// The key, as two little-endian words.
    package struct Key: Hashable, Sendable {
        package let low: UInt64
        package let high: UInt64
    }

    /// The hash of `bytes`.
    package static func hash(_ bytes: RawSpan, key: Key) -> UInt64 {
        var state = State(key)
        var offset = 0
        while bytes.byteCount &- offset >= 8 {
            state.absorb(bytes[Field<UInt64>.le(offset)])
            offset &+= 8
        }
        // The last word has the count in its top byte.
        var last = UInt64(truncatingIfNeeded: bytes.byteCount) << 56
        for i in offset..<bytes.byteCount {
            last |= UInt64(bytes.byte(at: i)) << UInt64(8 &* (i &- offset))
        }
        state.absorb(last)
        return state.finish()
    }

    private struct State {
        package var a: UInt64
        package var b: UInt64
        package var c: UInt64
        package var d: UInt64

        package init(_ key: Key) {
            a = key.low ^ 0x736F_6D65_7073_6575
            b = key.high ^ 0x646F_7261_6E64_6F6D
            c = key.low ^ 0x6C79_6765_6E65_7261
            d = key.high ^ 0x7465_6462_7974_6573
        }

        package mutating func absorb(_ word: UInt64) {
            d ^= word
            round()
            round()
            a ^= word
        }

        package mutating func finish() -> UInt64 {
            c ^= 0xFF
            for _ in 0..<4 { round() }
            return a ^ b ^ c ^ d
        }

        private mutating func round() {
            a &+= b
            b = Self.rotated(b, 13) ^ a
            a = Self.rotated(a, 32)
            c &+= d
            d = Self.rotated(d, 16) ^ c
            a &+= d
            d = Self.rotated(d, 21) ^ a
            c &+= b
            b = Self.rotated(b, 17) ^ c
            c = Self.rotated(c, 32)
        }

        private static func rotated(_ word: UInt64, _ count: UInt64) -> UInt64 {
            (word << count) | (word >> (64 &- count))
        }
    }
}
