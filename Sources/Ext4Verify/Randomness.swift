/// A stream of pseudo-random numbers that a seed repeats.
struct Randomness {
    private var state: UInt64

    init(_ seed: UInt64) {
        state = seed &* 0x9E37_79B9_7F4A_7C15 | 1
        for _ in 0..<8 { _ = next() }
    }

    mutating func next() -> UInt64 {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        return state
    }

    mutating func below(_ limit: Int) -> Int { Int(next() >> 11) % max(limit, 1) }

    mutating func chance(_ percent: Int) -> Bool { below(100) < percent }

    mutating func element<Element>(of array: [Element]) -> Element? {
        array.isEmpty ? nil : array[below(array.count)]
    }

    /// Bytes that tell where they are from, so that a mix-up shows.
    mutating func bytes(_ count: Int) -> [UInt8] {
        var word = next()
        return unsafe [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
            for index in 0..<count {
                if index % 8 == 0 { word = word &* 6_364_136_223_846_793_005 &+ 1 }
                // Never the poison, which stands for what was not written.
                let byte = UInt8(truncatingIfNeeded: word >> UInt64(index % 8 * 8))
                unsafe buffer[index] = byte == TestImage.poison ? 1 : byte
            }
            initialized = count
        }
    }
}
