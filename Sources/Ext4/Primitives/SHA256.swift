// SHA-256 (FIPS 180-4). Names of encrypted files that are too long to be shown whole end in one, and
// the files of a container image are called by theirs.

/// SHA-256.
package enum SHA256 {
    /// The number of bytes of a digest.
    package static let size = 32

    /// The digest of `bytes`.
    package static func digest(of bytes: RawSpan) -> [UInt8] {
        var running = Running()
        running.update(bytes)
        return running.digest()
    }

    /// The digest of bytes that come part by part.
    package struct Running: Sendable {
        private var state: [8 of UInt32] = [
            0x6A09_E667, 0xBB67_AE85, 0x3C6E_F372, 0xA54F_F53A, 0x510E_527F, 0x9B05_688C,
            0x1F83_D9AB, 0x5BE0_CD19,
        ]
        /// What does not fill a block yet.
        private var rest: [UInt8] = []
        private var count: UInt64 = 0

        /// Begins with no bytes.
        package init() {}

        /// Goes on with `bytes`.
        package mutating func update(_ bytes: RawSpan) {
            count &+= UInt64(bytes.byteCount)
            var offset = 0
            if !rest.isEmpty {
                offset = min(SHA256.blockSize &- rest.count, bytes.byteCount)
                rest += bytes.copy(0..<offset)
                guard rest.count == SHA256.blockSize else { return }
                let block = rest
                unsafe SHA256.compress(&state, block.span.bytes, at: 0)
                rest.removeAll(keepingCapacity: true)
            }
            while bytes.byteCount &- offset >= SHA256.blockSize {
                SHA256.compress(&state, bytes, at: offset)
                offset &+= SHA256.blockSize
            }
            rest += bytes.copy(offset..<bytes.byteCount)
        }

        /// The digest of all of them.
        package func digest() -> [UInt8] {
            // The rest, a one bit, zeros, and the count of bits.
            var state = state
            var tail = rest
            tail.append(0x80)
            while tail.count % SHA256.blockSize != 56 { tail.append(0) }
            let bits = count &* 8
            for shift in stride(from: 56 as UInt64, through: 0, by: -8) {
                tail.append(UInt8(truncatingIfNeeded: bits >> shift))
            }
            for offset in stride(from: 0, to: tail.count, by: SHA256.blockSize) {
                unsafe SHA256.compress(&state, tail.span.bytes, at: offset)
            }
            var digest: [UInt8] = []
            digest.reserveCapacity(SHA256.size)
            for i in 0..<8 {
                for shift in stride(from: 24 as UInt32, through: 0, by: -8) {
                    digest.append(UInt8(truncatingIfNeeded: state[i] >> shift))
                }
            }
            return digest
        }
    }

    /// Bytes that are taken together.
    private static let blockSize = 64

    private static func compress(_ state: inout [8 of UInt32], _ bytes: RawSpan, at offset: Int) {
        var schedule: [64 of UInt32] = .init(repeating: 0)
        for i in 0..<16 { schedule[i] = bytes[Field<UInt32>.be(offset &+ 4 &* i)] }
        for i in 16..<64 {
            let early = schedule[i &- 15]
            let late = schedule[i &- 2]
            let low = rotated(early, 7) ^ rotated(early, 18) ^ (early >> 3)
            let high = rotated(late, 17) ^ rotated(late, 19) ^ (late >> 10)
            schedule[i] = schedule[i &- 16] &+ low &+ schedule[i &- 7] &+ high
        }
        var (a, b, c, d) = (state[0], state[1], state[2], state[3])
        var (e, f, g, h) = (state[4], state[5], state[6], state[7])
        for i in 0..<64 {
            let high = rotated(e, 6) ^ rotated(e, 11) ^ rotated(e, 25)
            let choice = (e & f) ^ (~e & g)
            let first = h &+ high &+ choice &+ constants[i] &+ schedule[i]
            let low = rotated(a, 2) ^ rotated(a, 13) ^ rotated(a, 22)
            let majority = (a & b) ^ (a & c) ^ (b & c)
            (h, g, f, e) = (g, f, e, d &+ first)
            (d, c, b, a) = (c, b, a, first &+ low &+ majority)
        }
        state[0] &+= a
        state[1] &+= b
        state[2] &+= c
        state[3] &+= d
        state[4] &+= e
        state[5] &+= f
        state[6] &+= g
        state[7] &+= h
    }

    private static func rotated(_ word: UInt32, _ count: UInt32) -> UInt32 {
        (word >> count) | (word << (32 &- count))
    }

    /// The first 32 bits of the fractional parts of the cube roots of the first 64 primes.
    private static let constants: [UInt32] = [
        0x428A_2F98, 0x7137_4491, 0xB5C0_FBCF, 0xE9B5_DBA5, 0x3956_C25B, 0x59F1_11F1,
        0x923F_82A4, 0xAB1C_5ED5, 0xD807_AA98, 0x1283_5B01, 0x2431_85BE, 0x550C_7DC3,
        0x72BE_5D74, 0x80DE_B1FE, 0x9BDC_06A7, 0xC19B_F174, 0xE49B_69C1, 0xEFBE_4786,
        0x0FC1_9DC6, 0x240C_A1CC, 0x2DE9_2C6F, 0x4A74_84AA, 0x5CB0_A9DC, 0x76F9_88DA,
        0x983E_5152, 0xA831_C66D, 0xB003_27C8, 0xBF59_7FC7, 0xC6E0_0BF3, 0xD5A7_9147,
        0x06CA_6351, 0x1429_2967, 0x27B7_0A85, 0x2E1B_2138, 0x4D2C_6DFC, 0x5338_0D13,
        0x650A_7354, 0x766A_0ABB, 0x81C2_C92E, 0x9272_2C85, 0xA2BF_E8A1, 0xA81A_664B,
        0xC24B_8B70, 0xC76C_51A3, 0xD192_E819, 0xD699_0624, 0xF40E_3585, 0x106A_A070,
        0x19A4_C116, 0x1E37_6C08, 0x2748_774C, 0x34B0_BCB5, 0x391C_0CB3, 0x4ED8_AA4A,
        0x5B9C_CA4F, 0x682E_6FF3, 0x748F_82EE, 0x78A5_636F, 0x84C8_7814, 0x8CC7_0208,
        0x90BE_FFFA, 0xA450_6CEB, 0xBEF9_A3F7, 0xC671_78F2,
    ]
}
