import Foundation
import Testing

/// A file of the project, by its path from the project's root.
struct SourceFile {
    let path: String
    let text: String
    /// The text with the insides of comments and string literals blanked, line breaks kept: what
    /// a rule about code looks at.
    let code: String

    init(path: String, text: String) {
        self.path = path
        self.text = text
        code = path.hasSuffix(".swift") ? blanked(text) : ""
    }

    var lines: [Substring] { text.split(separator: "\n", omittingEmptySubsequences: false) }
    var codeLines: [Substring] { code.split(separator: "\n", omittingEmptySubsequences: false) }

    /// The folder inside `Sources/Ext4`, or nil for a file of another place.
    var engineFolder: String? {
        let parts = path.split(separator: "/")
        guard parts.count >= 4, parts[0] == "Sources", parts[1] == "Ext4" else { return nil }
        return String(parts[2])
    }
}

/// The project's files, found from where this file was compiled.
enum SourceTree {
    static let root = URL(filePath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent()

    /// All Swift files under `folder`, sorted by path.
    static func swiftFiles(in folder: String) throws -> [SourceFile] {
        try files(in: folder) { $0.hasSuffix(".swift") }
    }

    /// The engine's files.
    static func engine() throws -> [SourceFile] { try swiftFiles(in: "Sources/Ext4") }

    /// The text files under `folder` (all with an empty name) whose path `isWanted` accepts.
    static func files(
        in folder: String, where isWanted: (String) -> Bool
    ) throws -> [SourceFile] {
        try everything.get().filter {
            (folder.isEmpty || $0.path.hasPrefix(folder + "/")) && isWanted($0.path)
        }
    }

    /// Every text file but those of hidden folders, read once for all rules.
    private static let everything = Result<[SourceFile], any Error> {
        guard let walker = FileManager.default.enumerator(atPath: root.path) else {
            throw CocoaError(.fileReadNoSuchFile)
        }
        var found: [SourceFile] = []
        for case let path as String in walker {
            guard !path.hasPrefix(".") else {
                walker.skipDescendants()
                continue
            }
            let data = FileManager.default.contents(atPath: root.appending(path: path).path)
            guard let data, let text = String(data: data, encoding: .utf8), !text.contains("\0")
            else { continue }
            found.append(SourceFile(path: path, text: text))
        }
        return found.sorted { $0.path < $1.path }
    }

    static func text(of path: String) throws -> String {
        try String(contentsOf: root.appending(path: path), encoding: .utf8)
    }
}

/// Swift source with comments and the characters of string literals turned into spaces.
///
/// Interpolations are blanked with their string: a name that occurs nowhere else than in one is
/// not seen. `///` comments count as comments.
func blanked(_ text: String) -> String {
    var out: [UInt8] = []
    let bytes = Array(text.utf8)
    out.reserveCapacity(bytes.count)
    var i = 0
    func matches(_ pattern: StaticString) -> Bool {
        let pattern = Array("\(pattern)".utf8)
        return i + pattern.count <= bytes.count
            && bytes[i..<i + pattern.count].elementsEqual(pattern)
    }
    func blank(_ count: Int) {
        for _ in 0..<count where i < bytes.count {
            out.append(bytes[i] == 0x0A ? 0x0A : 0x20)
            i += 1
        }
    }
    while i < bytes.count {
        if matches("//") {
            while i < bytes.count, bytes[i] != 0x0A { blank(1) }
        } else if matches("/*") {
            var depth = 0
            repeat {
                if matches("/*") {
                    depth += 1
                    blank(2)
                } else if matches("*/") {
                    depth -= 1
                    blank(2)
                } else {
                    blank(1)
                }
            } while depth > 0 && i < bytes.count
        } else if bytes[i] == UInt8(ascii: "\"") || bytes[i] == UInt8(ascii: "#") {
            // A string literal, perhaps raw: `#"…"#`. Any other `#` stands for itself.
            var hashes = 0
            while i + hashes < bytes.count, bytes[i + hashes] == UInt8(ascii: "#") { hashes += 1 }
            guard i + hashes < bytes.count, bytes[i + hashes] == UInt8(ascii: "\"") else {
                out.append(contentsOf: bytes[i..<i + hashes])
                i += hashes
                continue
            }
            let three = [UInt8](repeating: UInt8(ascii: "\""), count: 3)
            let quotes = bytes[(i + hashes)...].starts(with: three) ? 3 : 1
            let end =
                [UInt8](repeating: UInt8(ascii: "\""), count: quotes)
                + [UInt8](repeating: UInt8(ascii: "#"), count: hashes)
            blank(hashes + quotes)
            var depth = 0  // of the parentheses of an interpolation
            while i < bytes.count {
                if depth == 0, bytes[i...].starts(with: end) {
                    blank(end.count)
                    break
                }
                let escape =
                    [UInt8(ascii: "\\")] + [UInt8](repeating: UInt8(ascii: "#"), count: hashes)
                if bytes[i...].starts(with: escape) {
                    let next = i + escape.count
                    if next < bytes.count, bytes[next] == UInt8(ascii: "(") { depth += 1 }
                    blank(escape.count + 1)
                } else {
                    if depth > 0, bytes[i] == UInt8(ascii: "(") { depth += 1 }
                    if depth > 0, bytes[i] == UInt8(ascii: ")") { depth -= 1 }
                    blank(1)
                }
            }
        } else {
            out.append(bytes[i])
            i += 1
        }
    }
    return String(decoding: out, as: UTF8.self)
}

/// The identifiers of a piece of code, each with whether a dot stands before it.
func words(of code: some StringProtocol) -> [(word: String, isMember: Bool)] {
    var found: [(String, Bool)] = []
    var word: [UInt8] = []
    var before: UInt8 = 0
    func isWordByte(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: "_") || byte >= 0x80
            || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
            || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte)
            || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte)
    }
    var last: UInt8 = 0
    for byte in Array(code.utf8) + [0x20] {
        if isWordByte(byte) {
            if word.isEmpty { before = last }
            word.append(byte)
        } else if !word.isEmpty {
            found.append((String(decoding: word, as: UTF8.self), before == UInt8(ascii: ".")))
            word.removeAll(keepingCapacity: true)
        }
        last = byte
    }
    return found
}

/// Records each violation of a rule as an issue of its own.
func expectNone(_ violations: [String], sourceLocation: SourceLocation = #_sourceLocation) {
    for violation in violations { Issue.record("\(violation)", sourceLocation: sourceLocation) }
}
