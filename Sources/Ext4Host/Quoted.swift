/// A name or path for a person's eyes: what is not printable stands as an escape, so that no name
/// in an image can steer the terminal or pretend to be another line.
public struct Quoted: CustomStringConvertible, Sendable {
    /// The text.
    public let description: String

    /// Makes the text for the bytes of a name.
    public init(_ bytes: some Sequence<UInt8>) {
        var text = ""
        var rest = Array(bytes)[...]
        while !rest.isEmpty {
            var decoder = UTF8()
            var iterator = rest.makeIterator()
            switch decoder.decode(&iterator) {
            case .scalarValue(let scalar):
                text += Self.isPrintable(scalar) ? String(scalar) : Self.escape(scalar)
                rest = rest.dropFirst(UTF8.width(scalar))
            case .emptyInput, .error:
                text += Self.escape(rest.removeFirst())
            }
        }
        description = text
    }

    private static func isPrintable(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate, .unassigned:
            false
        default: true
        }
    }

    private static func escape(_ scalar: Unicode.Scalar) -> String {
        switch scalar {
        case "\n": return "\\n"
        case "\t": return "\\t"
        case "\r": return "\\r"
        default: break
        }
        return String(scalar).utf8.map { escape($0) }.joined()
    }

    private static func escape(_ byte: UInt8) -> String {
        let octal = String(byte, radix: 8)
        return "\\" + String(repeating: "0", count: 3 - octal.count) + octal
    }
}
