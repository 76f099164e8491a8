import Ext4
import Ext4Check
import Foundation
import Testing

/// The table of rules, and the document that explains them.
@Suite struct RuleTests {
    @Test(arguments: CheckRule.allCases) func hasWords(_ rule: CheckRule) {
        #expect(!rule.words.isEmpty)
        #expect(!rule.repair.isEmpty)
        #expect(rule.rawValue.contains("."))
        #expect(rule.structure == String(rule.rawValue.split(separator: ".")[0]))
        #expect(rule.severity == .error || rule.isSafe)
    }

    @Test func isDocumented() throws {
        let path = URL(filePath: #filePath).deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent()
            .appending(path: "docs/CHECK.md")
        let text = try String(contentsOf: path, encoding: .utf8)
        for rule in CheckRule.allCases {
            let row = "| `\(rule.rawValue)` | \(rule.words) | \(rule.repair) |"
            #expect(text.contains(row), "docs/CHECK.md has no row \(row)")
        }
    }

    @Test func findingsAreOrderedByStageThenPlace() {
        let findings = [
            Finding(.inodeLinks, at: .init(inode: .init(12))),
            Finding(.inodeSize, at: .init(inode: .init(20))),
            Finding(.inodeSize, at: .init(inode: .init(13))),
            Finding(.superblockUUID),
        ]
        #expect(
            findings.sorted().map(\.rule) == [
                .superblockUUID, .inodeSize, .inodeSize, .inodeLinks,
            ])
        #expect(findings.sorted()[1].place.inode == .init(13))
    }

    @Test func namesInWordsAreOneLine() {
        let finding = Finding(.directoryName, name: [0x61, 0, 0x2F, 0x22, 0xFF, 0x0A])
        #expect(finding.description.contains(#"name "a\x00/\"\xff\x0a""#))
        #expect(!finding.description.contains("\n"))
    }
}
