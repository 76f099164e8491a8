import Foundation
import Testing

/// What a document says of the project: files, links, targets of make, functions.
struct Document {
    let path: String
    let text: String

    /// The Swift files that it names.
    var swiftFiles: [String] {
        text.matches(of: #/[\w+\/-]+\.swift\b/#).map { String($0.0) }
    }

    /// Where its relative links lead, from the root of the project.
    var links: [String] {
        let folder = path.split(separator: "/").dropLast().map { $0 + "/" }.joined()
        return text.matches(of: #/\]\(([^)#\s]+)(?:#[^)]*)?\)/#).map { String($0.1) }
            .filter { !$0.contains("://") }
            .map { $0.hasPrefix("../") ? String($0.dropFirst(3)) : folder + $0 }
    }

    /// The targets of make that it tells people to use.
    var targets: [String] {
        text.matches(of: #/(?:`|^    )make ([a-z-]+)/#.anchorsMatchLineEndings())
            .map { String($0.1) }
    }

    /// The rows of a walk: a file and a function in it, each in backquotes in its own column.
    var hops: [(file: String, function: String)] {
        text.matches(of: #/\| `([\w+\/-]+\.swift)` \| `([\w.]+)[^`]*` \|/#)
            .map { (String($0.1), String($0.2)) }
    }

    /// The first block of code in Swift.
    var example: String? {
        text.firstMatch(of: #/```swift\n([\s\S]*?)```/#).map { String($0.1) }
    }
}

/// Names in a document that nothing in the project has.
func documentViolations(
    in document: Document, files: [String: String], targets: Set<String>
) -> [String] {
    func file(named name: String) -> String? {
        files.keys.first { $0 == name || $0.hasSuffix("/" + name) }
    }
    var found: [String] = []
    for name in document.swiftFiles where file(named: name) == nil {
        found.append("\(document.path): no file \(name)")
    }
    for link in document.links where files[link] == nil {
        let folder = link.hasSuffix("/") ? link : link + "/"
        if !files.keys.contains(where: { $0.hasPrefix(folder) }) {
            found.append("\(document.path): the link \(link) leads nowhere")
        }
    }
    for target in document.targets where !targets.contains(target) {
        found.append("\(document.path): make has no \(target)")
    }
    for hop in document.hops {
        guard let file = file(named: hop.file), let text = files[file] else { continue }
        let name = hop.function.split(separator: ".").last.map(String.init) ?? ""
        let declarations =
            name == "init" ? ["init("] : ["func \(name)(", "func \(name)<", "var \(name):"]
        if !declarations.contains(where: { text.contains($0) }) {
            found.append("\(document.path): \(hop.file) has no \(hop.function)")
        }
    }
    return found
}

@Suite struct DocumentTests {
    private func documents() throws -> [Document] {
        try SourceTree.files(in: "") { $0.hasSuffix(".md") }
            .map { Document(path: $0.path, text: $0.text) }
    }

    @Test func whatDocumentsNameIsThere() throws {
        let files = try SourceTree.files(in: "") { _ in true }
        let texts = Dictionary(uniqueKeysWithValues: files.map { ($0.path, $0.text) })
        let makefile = try SourceTree.text(of: "Makefile")
        let targets = Set(
            makefile.matches(of: #/^([a-z-]+):/#.anchorsMatchLineEndings()).map { String($0.1) })
        let documents = try documents()
        #expect(documents.count >= 3)
        for document in documents {
            expectNone(documentViolations(in: document, files: texts, targets: targets))
        }
    }

    @Test func theMapShowsEveryFolder() throws {
        let map = try SourceTree.text(of: "docs/ARCHITECTURE.md")
        let folders = Set(
            try SourceTree.files(in: "Sources") { _ in true }.flatMap { file -> [Substring] in
                let parts = file.path.split(separator: "/").dropFirst().dropLast()
                return parts.first == "Ext4" ? Array(parts.prefix(2)) : Array(parts.prefix(1))
            })
        #expect(folders.count > 10)
        for folder in folders where map.firstRange(of: "  \(folder)/ ") == nil {
            Issue.record("docs/ARCHITECTURE.md does not show the folder \(folder)")
        }
    }

    @Test func theExampleOfTheReadmeIsTheOneThatCompiles() throws {
        let readme = Document(path: "README.md", text: try SourceTree.text(of: "README.md"))
        let source = try SourceTree.text(of: "Examples/ReadImage/ReadImage.swift")
        #expect(readme.example == source)
    }

    @Test func deadNamesAreFound() {
        let document = Document(
            path: "docs/A.md",
            text: """
                See `Sources/Ext4/Gone.swift` and [this](../README.md) and [that](B.md#part).
                Run `make magic` and `make test`.
                | `Here.swift` | `read(_:)` | reads |
                | `Here.swift` | `write(_:)` | writes |
                ```swift
                let a = 1
                ```
                """)
        let files = ["README.md": "", "Sources/Ext4/Here.swift": "func read(_ a: Int) {}"]
        #expect(
            documentViolations(in: document, files: files, targets: ["test"]) == [
                "docs/A.md: no file Sources/Ext4/Gone.swift",
                "docs/A.md: the link docs/B.md leads nowhere",
                "docs/A.md: make has no magic",
                "docs/A.md: Here.swift has no write",
            ])
        #expect(document.example == "let a = 1\n")
    }
}
