// Base64 with the alphabet that is safe in file names (RFC 4648 §5), without padding.

/// Base64url without padding.
package enum Base64URL {
    /// The text of `bytes`.
    package static func encode(_ bytes: [UInt8]) -> [UInt8] {
        var text: [UInt8] = []
        text.reserveCapacity((bytes.count &* 4 &+ 2) / 3)
        var held: UInt32 = 0
        var bits: UInt32 = 0
        for byte in bytes {
            held = (held << 8) | UInt32(byte)
            bits &+= 8
            while bits >= 6 {
                bits &-= 6
                text.append(character(of: UInt8(truncatingIfNeeded: held >> bits) & 0x3F))
            }
            held &= (1 << bits) &- 1
        }
        if bits > 0 {
            text.append(character(of: UInt8(truncatingIfNeeded: held << (6 &- bits)) & 0x3F))
        }
        return text
    }

    /// The bytes of `text`, or nil when no bytes have this text.
    package static func decode(_ text: [UInt8]) -> [UInt8]? {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.count &* 3 / 4)
        var held: UInt32 = 0
        var bits: UInt32 = 0
        for character in text {
            guard let value = value(of: character) else { return nil }
            held = (held << 6) | UInt32(value)
            bits &+= 6
            if bits >= 8 {
                bits &-= 8
                bytes.append(UInt8(truncatingIfNeeded: held >> bits))
                held &= (1 << bits) &- 1
            }
        }
        // Six bits left over are a character too many; others are padding, which is zeros.
        guard bits < 6, held == 0 else { return nil }
        return bytes
    }

    private static func character(of value: UInt8) -> UInt8 {
        switch value {
        case 0..<26: UInt8(ascii: "A") &+ value
        case 26..<52: UInt8(ascii: "a") &+ (value &- 26)
        case 52..<62: UInt8(ascii: "0") &+ (value &- 52)
        case 62: UInt8(ascii: "-")
        default: UInt8(ascii: "_")
        }
    }

    private static func value(of character: UInt8) -> UInt8? {
        switch character {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): character &- UInt8(ascii: "A")
        case UInt8(ascii: "a")...UInt8(ascii: "z"): character &- UInt8(ascii: "a") &+ 26
        case UInt8(ascii: "0")...UInt8(ascii: "9"): character &- UInt8(ascii: "0") &+ 52
        case UInt8(ascii: "-"): 62
        case UInt8(ascii: "_"): 63
        default: nil
        }
    }
}
