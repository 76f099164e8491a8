import Ext4

/// A field of a record and the name that the kernel has for it.
///
/// Where it stands comes from the record's `Layout`. What the format keeps in two halves is one
/// field here.
struct NamedField: Sendable {
    /// How a value is shown.
    enum Style: Sendable {
        case decimal, octal, hexadecimal
        /// Seconds, and in a second half their further bits and the nanoseconds.
        case time
        /// Text that ends at the first zero.
        case text
        /// Bytes, in hexadecimal.
        case bytes
    }

    private struct Part: Sendable {
        let range: Range<Int>
        let isBigEndian: Bool
    }

    let name: String
    private let parts: [Part]
    private let style: Style

    init<Value>(_ name: String, _ field: Field<Value>, _ style: Style = .decimal) {
        self.name = name
        parts = [Part(range: field.offset..<field.end, isBigEndian: field.isBigEndian)]
        self.style = style
    }

    /// A field in two halves, the low one first.
    init<Low, High>(
        _ name: String, _ low: Field<Low>, _ high: Field<High>, _ style: Style = .decimal
    ) {
        self.name = name
        parts = [
            Part(range: low.offset..<low.end, isBigEndian: low.isBigEndian),
            Part(range: high.offset..<high.end, isBigEndian: high.isBigEndian),
        ]
        self.style = style
    }

    init(_ name: String, _ range: Range<Int>, _ style: Style) {
        self.name = name
        parts = [Part(range: range, isBigEndian: false)]
        self.style = style
    }

    /// The bytes that it takes.
    var ranges: [Range<Int>] { parts.map(\.range) }

    /// The value in words; nil where the record is too short to have it.
    ///
    /// - Parameter end: where the record's fields end, which may be before its bytes do.
    func text(in bytes: [UInt8], fieldsEnd end: Int) -> String? {
        guard let first = parts.first, first.range.upperBound <= min(end, bytes.count) else {
            return nil
        }
        let present = parts.filter { $0.range.upperBound <= min(end, bytes.count) }
        switch style {
        case .text:
            return Quoting.text(bytes[first.range].prefix { $0 != 0 })
        case .bytes: return Quoting.hexadecimal(bytes[first.range])
        case .time:
            let low = Int64(Int32(truncatingIfNeeded: Self.number(bytes, first)))
            guard present.count > 1 else { return "\(low)" }
            let extra = Self.number(bytes, present[1])
            let seconds = low + Int64(extra & 3) << 32
            let digits = "\(extra >> 2)"
            return "\(seconds)." + String(repeating: "0", count: max(9 - digits.count, 0)) + digits
        case .decimal, .octal, .hexadecimal:
            var value: UInt64 = 0
            var shift: UInt64 = 0
            for part in present {
                value |= Self.number(bytes, part) << shift
                shift += UInt64(part.range.count * 8)
            }
            return switch style {
            case .octal: "0" + String(value, radix: 8)
            case .hexadecimal: "0x" + String(value, radix: 16)
            default: "\(value)"
            }
        }
    }

    private static func number(_ bytes: [UInt8], _ part: Part) -> UInt64 {
        let range = bytes[part.range]
        return part.isBigEndian
            ? range.reduce(0) { $0 << 8 | UInt64($1) }
            : range.reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }
}

/// Bytes as people read them.
enum Quoting {
    static func hexadecimal(_ bytes: some Collection<UInt8>) -> String {
        let digits = Array("0123456789abcdef".utf8)
        return String(
            decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] },
            as: UTF8.self)
    }

    /// Text in quotation marks where it is text, else hexadecimal; long ones are cut off.
    static func text(_ bytes: some Collection<UInt8>) -> String {
        let part = bytes.prefix(60)
        let rest = bytes.count > 60 ? "… (\(bytes.count) bytes)" : ""
        let isText = part.allSatisfy { $0 >= 0x20 && $0 < 0x7F && $0 != 0x22 && $0 != 0x5C }
        return isText
            ? "\"" + String(decoding: part, as: UTF8.self) + "\"" + rest
            : "0x" + hexadecimal(part) + rest
    }
}
