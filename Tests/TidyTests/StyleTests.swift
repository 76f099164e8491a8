import Foundation
import Testing

let longestFile = 600
let longestFunction = 100

/// Files with more lines than one concept needs.
func lengthViolations(in files: [SourceFile]) -> [String] {
    files.compactMap { file in
        let count = file.text.utf8.count { $0 == 0x0A }
        return count > longestFile ? "\(file.path): \(count) lines" : nil
    }
}

/// Functions, initialisers and subscripts with more lines than fit a reader's head.
///
/// The parser of an on-disk record is exempt: it is one list of fields, each with its check.
func functionViolations(in files: [SourceFile]) -> [String] {
    files.flatMap { file -> [String] in
        var found: [String] = []
        var depth = 0
        // The functions that are open: where each began, and at which depth of braces.
        var open: [(line: Int, depth: Int)] = []
        var pending: Int?
        for (number, line) in file.codeLines.enumerated() {
            let words = words(of: line)
            if words.contains(where: {
                !$0.isMember && ["func", "init", "subscript"].contains($0.word)
            }) {
                pending = number
            }
            for byte in line.utf8 {
                if byte == UInt8(ascii: "{") {
                    if let line = pending {
                        open.append((line, depth))
                        pending = nil
                    }
                    depth += 1
                } else if byte == UInt8(ascii: "}") {
                    depth -= 1
                    if let last = open.last, last.depth == depth {
                        open.removeLast()
                        let count = number - last.line + 1
                        let isParser =
                            file.engineFolder == "OnDisk"
                            && file.codeLines[last.line].contains("init(")
                        if count > longestFunction, !isParser {
                            found.append("\(file.path):\(last.line + 1): \(count) lines")
                        }
                    }
                }
            }
        }
        return found
    }
}

/// Names that say nothing of what a thing is.
func nameViolations(in files: [SourceFile]) -> [String] {
    let banned = ["Manager", "Helper", "Util"]
    return files.flatMap { file -> [String] in
        var found: [String] = []
        let name = file.path.split(separator: "/").last.map(String.init) ?? ""
        for part in banned where name.contains(part) { found.append("\(file.path): \(part)") }
        if name.hasSuffix("+Extensions.swift") { found.append("\(file.path): +Extensions") }
        for (number, line) in file.codeLines.enumerated() {
            for (word, _) in words(of: line) {
                for part in banned where word.hasSuffix(part) || word.hasSuffix(part + "s") {
                    found.append("\(file.path):\(number + 1): \(word)")
                }
                if word == "Utilities" || word.hasSuffix("Utilities") {
                    found.append("\(file.path):\(number + 1): \(word)")
                }
            }
        }
        return found
    }
}

/// Ways to end the process that bytes of a disk could take, and notes that were left standing.
func trapViolations(in files: [SourceFile]) -> [String] {
    let traps = ["fatalError(", "try!", "as!", "unsafeBitCast(", "unowned(unsafe)"]
    return files.flatMap { file in
        file.codeLines.enumerated().flatMap { number, line in
            traps.filter { line.contains($0) }.map { "\(file.path):\(number + 1): \($0)" }
        }
    }
}

/// Promises instead of work.
func noteViolations(in files: [SourceFile]) -> [String] {
    // Put together here, so that this file does not find itself.
    let notes: Set = ["TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK"]
    return files.flatMap { file in
        file.lines.enumerated().flatMap { number, line in
            words(of: line).filter { notes.contains($0.word) }
                .map { "\(file.path):\(number + 1): \($0.word)" }
        }
    }
}

/// Paths that exist on one machine only.
func pathViolations(in files: [SourceFile]) -> [String] {
    let places = ["work/", "root/", "opt/swift", "tmp/w/"].map { "/" + $0 }
    return files.flatMap { file in
        file.lines.enumerated().flatMap { number, line in
            places.filter { place in
                line.ranges(of: place).contains { range in
                    guard range.lowerBound > line.startIndex else { return true }
                    // Behind a letter it is a part of a longer path, not where one begins.
                    let before = line[line.index(before: range.lowerBound)]
                    return !(before.isLetter || before.isNumber || "._-)}>*".contains(before))
                }
            }.map { "\(file.path):\(number + 1): \($0)" }
        }
    }
}

@Suite struct StyleTests {
    @Test func filesAreShort() throws {
        expectNone(try lengthViolations(in: SourceTree.swiftFiles(in: "Sources")))
    }

    @Test func functionsAreShort() throws {
        expectNone(try functionViolations(in: SourceTree.swiftFiles(in: "Sources")))
    }

    @Test func namesSaySomething() throws {
        expectNone(try nameViolations(in: SourceTree.swiftFiles(in: "Sources")))
    }

    @Test func nothingTraps() throws {
        expectNone(try trapViolations(in: SourceTree.swiftFiles(in: "Sources")))
    }

    @Test func nothingIsLeftForLater() throws {
        expectNone(try noteViolations(in: projectTexts()))
    }

    @Test func noPathOfOneMachine() throws {
        expectNone(try pathViolations(in: projectTexts()))
    }

    /// Every text of the project.
    private func projectTexts() throws -> [SourceFile] {
        let others = [".ci/run"].map { ($0, try? SourceTree.text(of: $0)) }
        return try SourceTree.files(in: "") { !$0.hasPrefix("LICENSE") }
            + others.map { SourceFile(path: $0.0, text: $0.1 ?? "") }
    }

    // Each rule is shown to find what it looks for.

    @Test func longFilesAreFound() {
        let text = String(repeating: "let a = 1\n", count: 601)
        #expect(lengthViolations(in: [SourceFile(path: "A.swift", text: text)]).count == 1)
        #expect(
            lengthViolations(in: [SourceFile(path: "A.swift", text: String(text.dropLast(10)))])
                == [])
    }

    @Test func longFunctionsAreFound() {
        let body = String(repeating: "        if a { b() }\n", count: 99)
        let long = "struct S {\n    func f(\n    ) {\n\(body)    }\n}\n"
        let short = "struct S {\n    func f() {\n\(body.dropLast(21))    }\n}\n"
        #expect(
            functionViolations(in: [SourceFile(path: "A.swift", text: long)])
                == ["A.swift:2: 102 lines"])
        #expect(functionViolations(in: [SourceFile(path: "A.swift", text: short)]) == [])
    }

    @Test(arguments: [
        ("A.swift", "final class BufferManager {}"), ("A.swift", "func f() { StringUtils.g() }"),
        ("String+Extensions.swift", ""), ("IOHelpers.swift", ""),
    ])
    func emptyNamesAreFound(path: String, text: String) {
        #expect(!nameViolations(in: [SourceFile(path: path, text: text)]).isEmpty)
    }

    @Test(arguments: ["let a = try! f()", "let b = c as! D", "fatalError(\"no\")"])
    func trapsAreFound(text: String) {
        #expect(trapViolations(in: [SourceFile(path: "A.swift", text: text)]).count == 1)
        #expect(trapViolations(in: [SourceFile(path: "A.swift", text: "// " + text)]) == [])
    }

    @Test func notesAndPathsAreFound() {
        let note = SourceFile(path: "A.swift", text: "// TO" + "DO: later")
        #expect(noteViolations(in: [note]).count == 1)
        let path = SourceFile(path: "a", text: "cd /wo" + "rk/here; ls my/wo" + "rk/there")
        #expect(pathViolations(in: [path]).count == 1)
    }

    @Test func blankingKeepsCodeAndDropsWords() {
        let text = #"let a = "x \(f("y")) \" z" + b // c"# + "\n/* d /* e */ f */ g\n#if h"
        let code = blanked(text)
        #expect(words(of: code).map(\.word) == ["let", "a", "b", "g", "if", "h"])
        #expect(code.utf8.count == text.utf8.count)
        let raw = "let a = ##\"x \"# y\"## + b\nlet c = \"\"\"\n  d \"e\" f\n  \"\"\"\nlet g"
        #expect(words(of: blanked(raw)).map(\.word) == ["let", "a", "b", "let", "c", "let", "g"])
    }
}
