/// The name of a directory entry: bytes, not text. Two names are the same when all bytes are.
public struct FileName: Hashable, Sendable {
    /// The bytes; most names are UTF-8, but nothing says so.
    public let bytes: [UInt8]

    /// The longest name, in bytes (`EXT4_NAME_LEN`).
    public static let maximumLength = 255

    /// Makes a name from bytes.
    public init(_ bytes: [UInt8]) { self.bytes = bytes }

    /// Makes a name from text, as UTF-8.
    public init(_ text: String) { bytes = Array(text.utf8) }
}

extension FileName: ExpressibleByStringLiteral, CustomStringConvertible {
    /// Makes a name from text, as UTF-8.
    public init(stringLiteral text: String) { self.init(text) }

    /// The name as text; bytes that are not UTF-8 show as U+FFFD.
    public var description: String { String(decoding: bytes, as: UTF8.self) }
}
