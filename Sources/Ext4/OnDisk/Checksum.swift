#if canImport(CCRC32C)
    internal import CCRC32C
#endif

// The checksums of the format: CRC32C (`metadata_csum`, the journal) and CRC-16 (`gdt_csum`).
// Both start from all ones and are not inverted at the end, as the format has it.

/// A running CRC32C (polynomial 0x1EDC6F41, reflected; no final inversion).
package struct CRC32C: Sendable {
    package private(set) var value: UInt32

    package init(_ seed: UInt32 = ~0) { value = seed }

    package mutating func update(_ bytes: RawSpan) {
        #if canImport(CCRC32C)
            if Self.hasHardware {
                value = unsafe bytes.withUnsafeBytes { buffer in
                    guard let base = buffer.baseAddress else { return value }
                    return unsafe crc32c_hardware(value, base, buffer.count)
                }
                return
            }
        #endif
        value = Self.portable(value, bytes)
    }

    /// Continues over `value` as `size` little-endian bytes.
    package mutating func update<Value: FixedWidthInteger & BitwiseCopyable>(
        littleEndian number: Value
    ) {
        unsafe withUnsafeBytes(of: number.littleEndian) { unsafe update($0.bytes) }
    }

    /// Continues over `value` as big-endian bytes.
    package mutating func update<Value: FixedWidthInteger & BitwiseCopyable>(
        bigEndian number: Value
    ) {
        unsafe withUnsafeBytes(of: number.bigEndian) { unsafe update($0.bytes) }
    }

    /// Continues over `bytes`, with those in `hole` taken as zeros: a checksum leaves its own
    /// field out that way.
    package mutating func update(_ bytes: RawSpan, zeroing hole: Range<Int>) {
        update(bytes.extracting(0..<hole.lowerBound))
        for _ in hole { update(littleEndian: UInt8(0)) }
        update(bytes.extracting(hole.upperBound..<bytes.byteCount))
    }

    #if canImport(CCRC32C)
        private static let hasHardware = crc32c_hardware_available()
    #endif

    /// Slicing by 8: eight tables, one look-up a byte, eight bytes a step.
    package static func portable(_ seed: UInt32, _ bytes: RawSpan) -> UInt32 {
        var crc = seed
        var i = 0
        let table = Self.table
        while bytes.byteCount &- i >= 8 {
            let low = bytes[Field<UInt32>.le(i)] ^ crc
            let high = bytes[Field<UInt32>.le(i &+ 4)]
            crc =
                table[0x700 &+ Int(low & 0xFF)] ^ table[0x600 &+ Int((low >> 8) & 0xFF)]
                ^ table[0x500 &+ Int((low >> 16) & 0xFF)] ^ table[0x400 &+ Int(low >> 24)]
                ^ table[0x300 &+ Int(high & 0xFF)] ^ table[0x200 &+ Int((high >> 8) & 0xFF)]
                ^ table[0x100 &+ Int((high >> 16) & 0xFF)] ^ table[Int(high >> 24)]
            i &+= 8
        }
        while i < bytes.byteCount {
            crc = table[Int((crc ^ UInt32(bytes.byte(at: i))) & 0xFF)] ^ (crc >> 8)
            i &+= 1
        }
        return crc
    }

    private static let table: [UInt32] = {
        var table = [UInt32](repeating: 0, count: 8 * 256)
        for byte in 0..<256 {
            var crc = UInt32(byte)
            for _ in 0..<8 { crc = (crc >> 1) ^ (crc & 1 == 0 ? 0 : 0x82F6_3B78) }
            table[byte] = crc
        }
        for slice in 1..<8 {
            for byte in 0..<256 {
                let before = table[(slice - 1) * 256 + byte]
                table[slice * 256 + byte] = table[Int(before & 0xFF)] ^ (before >> 8)
            }
        }
        return table
    }()
}

/// A running CRC-16 (polynomial 0x8005, reflected; no final inversion): `gdt_csum`.
package struct CRC16: Sendable {
    package private(set) var value: UInt16 = ~0

    package mutating func update(_ bytes: RawSpan) {
        let table = Self.table
        var crc = value
        for i in 0..<bytes.byteCount {
            crc = table[Int((crc ^ UInt16(bytes.byte(at: i))) & 0xFF)] ^ (crc >> 8)
        }
        value = crc
    }

    package mutating func update(littleEndian number: UInt32) {
        unsafe withUnsafeBytes(of: number.littleEndian) { unsafe update($0.bytes) }
    }

    private static let table: [UInt16] = (0..<256).map { byte in
        var crc = UInt16(byte)
        for _ in 0..<8 { crc = (crc >> 1) ^ (crc & 1 == 0 ? 0 : 0xA001) }
        return crc
    }
}
