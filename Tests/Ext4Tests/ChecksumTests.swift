import Testing

@testable import Ext4

@Suite struct ChecksumTests {
    /// The check value of the Castagnoli polynomial, without the final inversion that ext4 omits.
    @Test func crc32cOfTheCheckString() {
        let bytes = Array("123456789".utf8)
        var crc = CRC32C()
        unsafe crc.update(bytes.span.bytes)
        #expect(crc.value == ~0xE306_9283)
    }

    @Test func portableEqualsHardwareAtEveryLengthAndAlignment() {
        let bytes = (0..<300).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ 7) }
        for start in 0..<9 {
            for end in start..<bytes.count {
                let part = unsafe bytes.span.bytes.extracting(start..<end)
                var crc = CRC32C(0x1234_5678)
                crc.update(part)
                #expect(crc.value == CRC32C.portable(0x1234_5678, part))
            }
        }
    }

    /// CRC-16/MODBUS is this polynomial from all ones without inversion.
    @Test func crc16OfTheCheckString() {
        let bytes = Array("123456789".utf8)
        var crc = CRC16()
        unsafe crc.update(bytes.span.bytes)
        #expect(crc.value == 0x4B37)
    }
}
