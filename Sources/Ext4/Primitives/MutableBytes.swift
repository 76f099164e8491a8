extension MutableRawSpan {
    /// Puts a copy of `source`, of other memory, at `offset`.
    package mutating func store(_ source: RawSpan, at offset: Int) {
        precondition(
            offset >= 0 && source.byteCount <= byteCount &- offset,
            "bytes were written before the room for them was checked")
        unsafe withUnsafeMutableBytes { target in
            unsafe source.withUnsafeBytes { source in
                unsafe UnsafeMutableRawBufferPointer(
                    rebasing: target[offset..<offset &+ source.count]
                ).copyMemory(from: source)
            }
        }
    }

    /// Moves the bytes of `range` to `offset`; the two places may overlap.
    package mutating func move(_ range: Range<Int>, to offset: Int) {
        precondition(
            range.lowerBound >= 0 && range.upperBound <= byteCount && offset >= 0
                && range.count <= byteCount &- offset,
            "bytes were moved before the room for them was checked")
        unsafe withUnsafeMutableBytes { bytes in
            let source = unsafe UnsafeRawBufferPointer(rebasing: bytes[range])
            unsafe UnsafeMutableRawBufferPointer(
                rebasing: bytes[offset..<offset &+ range.count]
            ).copyMemory(from: source)
        }
    }

    /// Makes the bytes of `range` zero.
    package mutating func clear(_ range: Range<Int>) {
        precondition(range.lowerBound >= 0 && range.upperBound <= byteCount)
        unsafe withUnsafeMutableBytes { bytes in
            _ = unsafe UnsafeMutableRawBufferPointer(rebasing: bytes[range])
                .initializeMemory(as: UInt8.self, repeating: 0)
        }
    }
}
