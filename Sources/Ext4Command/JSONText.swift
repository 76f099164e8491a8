/// A value that is written as JSON. Small, so that the command needs no Foundation.
indirect enum JSONText {
    case null
    case bool(Bool)
    case number(String)
    case string(String)
    case array([JSONText])
    case object([(String, JSONText)])

    static func number(_ value: some BinaryInteger) -> JSONText { .number("\(value)") }

    /// A name. JSON holds Unicode only: a name that is not UTF-8 gets its bytes beside it.
    static func name(_ key: String, _ bytes: [UInt8]) -> [(String, JSONText)] {
        let text = String(decoding: bytes, as: UTF8.self)
        guard Array(text.utf8) != bytes else { return [(key, .string(text))] }
        return [(key, .string(text)), ("\(key)Bytes", .string(hexadecimal(bytes)))]
    }

    /// Bytes in hexadecimal.
    static func hexadecimal(_ bytes: some Sequence<UInt8>) -> String {
        let digits = Array("0123456789abcdef".utf8)
        return String(
            decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] },
            as: UTF8.self)
    }

    /// The text, indented for people.
    var text: String {
        var text = ""
        write(to: &text, indent: 0)
        return text + "\n"
    }

    /// The text on one line.
    var compactText: String {
        var text = ""
        write(to: &text, indent: nil)
        return text
    }

    private func write(to text: inout String, indent: Int?) {
        switch self {
        case .null: text += "null"
        case .bool(let value): text += value ? "true" : "false"
        case .number(let value): text += value
        case .string(let value): Self.write(value, to: &text)
        case .array(let items):
            Self.write(items.count, "[", "]", to: &text, indent: indent) { index, text, inner in
                items[index].write(to: &text, indent: inner)
            }
        case .object(let members):
            Self.write(members.count, "{", "}", to: &text, indent: indent) { index, text, inner in
                Self.write(members[index].0, to: &text)
                text += inner == nil ? ":" : ": "
                members[index].1.write(to: &text, indent: inner)
            }
        }
    }

    private static func write(
        _ count: Int, _ open: String, _ close: String, to text: inout String, indent: Int?,
        _ writeItem: (_ index: Int, _ text: inout String, _ indent: Int?) -> Void
    ) {
        text += open
        let inner = indent.map { $0 + 2 }
        for index in 0..<count {
            if index > 0 { text += "," }
            if let inner { text += "\n" + String(repeating: " ", count: inner) }
            writeItem(index, &text, inner)
        }
        if count > 0, let indent { text += "\n" + String(repeating: " ", count: indent) }
        text += close
    }

    private static func write(_ value: String, to text: inout String) {
        text += "\""
        for scalar in value.unicodeScalars {
            switch scalar {
            case "\"": text += "\\\""
            case "\\": text += "\\\\"
            case "\n": text += "\\n"
            case "\r": text += "\\r"
            case "\t": text += "\\t"
            case "\u{0}"..."\u{1F}", "\u{7F}"..."\u{9F}":
                let digits = String(scalar.value, radix: 16)
                text += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: text.unicodeScalars.append(scalar)
            }
        }
        text += "\""
    }
}
