// The little JSON that describes container images, read without Foundation, which would cost every
// start of the command a few milliseconds. What is read comes from strangers: size and depth are
// bounded.

/// A value of a JSON text.
enum JSONValue: Hashable {
    case null
    case bool(Bool)
    /// A number, as it stands there.
    case number(String)
    case string(String)
    case array([JSONValue])
    /// Names and values in the order of the text; of a name that occurs twice the last one counts.
    case object([Member])

    /// A name of an object, with its value.
    struct Member: Hashable {
        let name: String
        let value: JSONValue
    }

    /// Why a text is no JSON: what is wrong, and at which byte.
    struct Problem: Error, Hashable, CustomStringConvertible {
        let words: String
        let offset: Int
        var description: String { "not JSON at byte \(offset): \(words)" }
    }

    /// The value of a text.
    init(parsing text: [UInt8]) throws(Problem) {
        var reader = JSONReader(text)
        self = try reader.document()
    }

    /// The member with that name of an object.
    subscript(_ name: String) -> JSONValue? {
        guard case .object(let members) = self else { return nil }
        return members.last { $0.name == name }?.value
    }

    /// The text of a string.
    var string: String? {
        guard case .string(let text) = self else { return nil }
        return text
    }

    /// The elements of an array.
    var array: [JSONValue]? {
        guard case .array(let elements) = self else { return nil }
        return elements
    }

    /// The value of a number without a fraction.
    var integer: UInt64? {
        guard case .number(let text) = self else { return nil }
        return UInt64(text)
    }
}

private struct JSONReader {
    private let text: [UInt8]
    private var position = 0
    private static let mostLevels = 64

    init(_ text: [UInt8]) { self.text = text }

    mutating func document() throws(JSONValue.Problem) -> JSONValue {
        let value = try value(level: 0)
        skipBlanks()
        guard position == text.count else { throw problem("something follows the value") }
        return value
    }

    private func problem(_ words: String) -> JSONValue.Problem {
        JSONValue.Problem(words: words, offset: position)
    }

    private var next: UInt8? { position < text.count ? text[position] : nil }

    private mutating func skipBlanks() {
        while let byte = next, [0x20, 0x09, 0x0A, 0x0D].contains(byte) { position += 1 }
    }

    private mutating func take(_ byte: UInt8) -> Bool {
        skipBlanks()
        guard next == byte else { return false }
        position += 1
        return true
    }

    private mutating func take(word: String) -> Bool {
        guard text[position...].starts(with: word.utf8) else { return false }
        position += word.utf8.count
        return true
    }

    private mutating func value(level: Int) throws(JSONValue.Problem) -> JSONValue {
        guard level < Self.mostLevels else { throw problem("too many levels") }
        skipBlanks()
        switch next {
        case UInt8(ascii: "{"): return try object(level)
        case UInt8(ascii: "["): return try array(level)
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): if take(word: "true") { return .bool(true) }
        case UInt8(ascii: "f"): if take(word: "false") { return .bool(false) }
        case UInt8(ascii: "n"): if take(word: "null") { return .null }
        default: return try number()
        }
        throw problem("an unknown word")
    }

    private mutating func object(_ level: Int) throws(JSONValue.Problem) -> JSONValue {
        position += 1
        var members: [JSONValue.Member] = []
        if take(UInt8(ascii: "}")) { return .object([]) }
        repeat {
            skipBlanks()
            guard next == UInt8(ascii: "\"") else { throw problem("a name is missing") }
            let name = try string()
            guard take(UInt8(ascii: ":")) else { throw problem("a colon is missing") }
            members.append(JSONValue.Member(name: name, value: try value(level: level + 1)))
        } while take(UInt8(ascii: ","))
        guard take(UInt8(ascii: "}")) else { throw problem("a brace is missing") }
        return .object(members)
    }

    private mutating func array(_ level: Int) throws(JSONValue.Problem) -> JSONValue {
        position += 1
        var elements: [JSONValue] = []
        if take(UInt8(ascii: "]")) { return .array([]) }
        repeat { elements.append(try value(level: level + 1)) } while take(UInt8(ascii: ","))
        guard take(UInt8(ascii: "]")) else { throw problem("a bracket is missing") }
        return .array(elements)
    }

    private mutating func number() throws(JSONValue.Problem) -> JSONValue {
        let start = position
        while let byte = next,
            (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
                || Array("+-.eE".utf8).contains(byte)
        {
            position += 1
        }
        guard position > start else { throw problem("a value is missing") }
        return .number(String(decoding: text[start..<position], as: UTF8.self))
    }

    private mutating func string() throws(JSONValue.Problem) -> String {
        position += 1
        var units: [UInt16] = []
        var bytes: [UInt8] = []
        func flush(_ units: inout [UInt16], _ bytes: inout [UInt8]) {
            bytes += Array(String(decoding: units, as: UTF16.self).utf8)
            units = []
        }
        while let byte = next {
            position += 1
            switch byte {
            case UInt8(ascii: "\""):
                flush(&units, &bytes)
                return String(decoding: bytes, as: UTF8.self)
            case UInt8(ascii: "\\"): units.append(try escape())
            case 0..<0x20: throw problem("a control character in a string")
            default:
                flush(&units, &bytes)
                bytes.append(byte)
            }
        }
        throw problem("a string has no end")
    }

    private mutating func escape() throws(JSONValue.Problem) -> UInt16 {
        guard let letter = next else { throw problem("a string has no end") }
        position += 1
        switch letter {
        case UInt8(ascii: "b"): return 8
        case UInt8(ascii: "f"): return 12
        case UInt8(ascii: "n"): return 10
        case UInt8(ascii: "r"): return 13
        case UInt8(ascii: "t"): return 9
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return UInt16(letter)
        case UInt8(ascii: "u"):
            let digits = text[position...].prefix(4)
            guard digits.count == 4,
                let unit = UInt16(String(decoding: digits, as: UTF8.self), radix: 16)
            else { throw problem("four hexadecimal digits are missing") }
            position += 4
            return unit
        default: throw problem("an unknown escape")
        }
    }
}
