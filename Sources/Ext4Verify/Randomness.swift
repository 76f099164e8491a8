/// A stream of pseudo-random numbers that a seed repeats.
package struct Randomness: Sendable {
    private var state: UInt64

    /// The byte that random contents never have: it stands for what was never written.
    package static let poison: UInt8 = 0xA5

    /// Starts a stream.
    package init(_ seed: UInt64) {
        state = seed &* 0x9E37_79B9_7F4A_7C15 | 1
        for _ in 0..<8 { _ = next() }
    }

    /// Starts the stream of one step of something longer: it does not depend on the other steps.
    package init(_ seed: UInt64, step: Int) {
        self.init(seed &* 0xD134_2543_DE82_EF95 &+ UInt64(truncatingIfNeeded: step))
    }

    /// The next number.
    package mutating func next() -> UInt64 {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        return state
    }

    /// A number from 0 on.
    package mutating func below(_ limit: Int) -> Int { Int(next() >> 11) % max(limit, 1) }

    /// True in so many of a hundred cases.
    package mutating func chance(_ percent: Int) -> Bool { below(100) < percent }

    /// One of them, or nil where there is none.
    package mutating func element<Element>(of array: [Element]) -> Element? {
        array.isEmpty ? nil : array[below(array.count)]
    }

    /// Bytes that tell where they are from, so that a mix-up shows.
    package mutating func bytes(_ count: Int) -> [UInt8] {
        var word = next()
        return unsafe [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
            for index in 0..<count {
                if index % 8 == 0 { word = word &* 6_364_136_223_846_793_005 &+ 1 }
                let byte = UInt8(truncatingIfNeeded: word >> UInt64(index % 8 * 8))
                unsafe buffer[index] = byte == Self.poison ? 1 : byte
            }
            initialized = count
        }
    }
}
