import Testing

/// The engine's folders, lowest first: a file may name only types of its own folder and of those
/// before it.
let engineLayers = [
    "Primitives", "OnDisk", "Device", "Cache", "Journal", "Allocation", "Mapping", "Directory",
    "Attributes", "Inodes", "Volume", "Format", "Resize",
    "Tune",
]

/// The names of the types that a file declares at top level.
func declaredTypes(in file: SourceFile) -> [String] {
    let keywords: Set = ["class", "struct", "enum", "protocol", "typealias", "actor"]
    return file.codeLines.compactMap { line in
        // At top level, or one step in behind `#if`; a nested type has its parent's name before it.
        guard let first = line.first, first != " " || file.code.contains("#if") else { return nil }
        guard line.prefix(while: { $0 == " " }).count <= (file.code.contains("#if") ? 4 : 0)
        else { return nil }
        if first == " ", !isInsideConditionOnly(line, in: file) { return nil }
        let words = words(of: line)
        guard let at = words.firstIndex(where: { keywords.contains($0.word) }),
            at + 1 < words.count,
            words[..<at].allSatisfy({ modifiers.contains($0.word) }),
            !words[..<at].contains(where: { $0.word == "private" || $0.word == "fileprivate" })
        else { return nil }
        return words[at + 1].word
    }
}

private let modifiers: Set = [
    "public", "package", "internal", "private", "fileprivate", "final", "indirect", "open", "safe",
    "unsafe", "frozen", "usableFromInline", "unchecked", "Sendable",
]

/// Whether an indented line stands directly in an `#if`, with no brace open around it.
private func isInsideConditionOnly(_ line: Substring, in file: SourceFile) -> Bool {
    var depth = 0
    for byte in file.code[..<line.startIndex].utf8 {
        if byte == UInt8(ascii: "{") { depth += 1 }
        if byte == UInt8(ascii: "}") { depth -= 1 }
    }
    return depth == 0
}

/// Every place where a file names a type of a folder above its own.
func layerViolations(in files: [SourceFile]) -> [String] {
    var homes: [String: Int] = [:]
    var violations: [String] = []
    for file in files {
        guard let folder = file.engineFolder else {
            violations.append("\(file.path): stands in no folder of the engine")
            continue
        }
        guard let layer = engineLayers.firstIndex(of: folder) else {
            violations.append("\(file.path): \(folder) is not in the list of layers")
            continue
        }
        for type in declaredTypes(in: file) { homes[type] = layer }
    }
    for file in files {
        guard let folder = file.engineFolder, let layer = engineLayers.firstIndex(of: folder)
        else { continue }
        for (number, line) in file.codeLines.enumerated() {
            for (word, isMember) in words(of: line) where !isMember {
                if let home = homes[word], home > layer {
                    violations.append(
                        "\(file.path):\(number + 1): \(word) is of \(engineLayers[home]), above")
                }
            }
        }
    }
    return violations
}

/// Every import of the engine that is not one of the two it may have.
func importViolations(in files: [SourceFile]) -> [String] {
    files.flatMap { file in
        file.codeLines.enumerated().compactMap { number, line in
            let words = words(of: line).map(\.word)
            guard let at = words.firstIndex(of: "import"), at + 1 < words.count,
                words[..<at].allSatisfy({
                    ["internal", "public", "private", "fileprivate", "package"].contains($0)
                }),
                !["Synchronization", "CCRC32C", "CMonitor"].contains(words[at + 1])
            else { return nil }
            return "\(file.path):\(number + 1): imports \(words[at + 1])"
        }
    }
}

@Suite struct LayerTests {
    @Test func filesNameOnlyTypesOfLowerFolders() throws {
        expectNone(try layerViolations(in: SourceTree.engine()))
    }

    @Test func engineImportsNothing() throws {
        expectNone(try importViolations(in: SourceTree.engine()))
    }

    @Test func namingAHigherTypeIsFound() {
        let low = SourceFile(
            path: "Sources/Ext4/Device/A.swift",
            text: "struct A {\n    // Summit in a comment\n    var top: Summit\n}\n")
        let high = SourceFile(
            path: "Sources/Ext4/Volume/B.swift", text: "public final class Summit { let a: A }\n")
        #expect(
            layerViolations(in: [low, high])
                == ["Sources/Ext4/Device/A.swift:3: Summit is of Volume, above"])
    }

    @Test func typesInConditionsAreFoundAndNestedOnesAreNot() {
        let file = SourceFile(
            path: "Sources/Ext4/Device/A.swift",
            text: """
                #if hasFeature(Embedded)
                    @safe
                    struct Lock: ~Copyable, @unchecked Sendable {
                        enum Inner {}
                    }
                #else
                    public struct Other {}
                #endif
                extension Lock {
                    enum Layout {}
                }
                """)
        #expect(declaredTypes(in: file) == ["Lock", "Other"])
    }

    @Test func unknownFoldersAreFound() {
        let stray = SourceFile(path: "Sources/Ext4/Stray.swift", text: "")
        let odd = SourceFile(path: "Sources/Ext4/Misc/Odd.swift", text: "")
        #expect(layerViolations(in: [stray, odd]).count == 2)
    }

    @Test func foreignImportsAreFound() {
        let file = SourceFile(
            path: "Sources/Ext4/Device/A.swift",
            text: "import Synchronization\n#if os(Linux)\n    internal import Glibc\n#endif\n")
        #expect(importViolations(in: [file]) == ["Sources/Ext4/Device/A.swift:3: imports Glibc"])
    }
}
