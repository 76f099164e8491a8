import Foundation
import Testing

/// `ext4 diff` tells of fields by the kernel's names: every field of the records that it compares
/// must have one there.
@Suite struct FieldNameTests {
    @Test(arguments: [
        ("Superblock", "Superblock+Layout"), ("GroupDescriptor", "GroupDescriptor"),
        ("InodeRecord", "InodeRecord"), ("JournalSuperblock", "JournalSuperblock"),
    ])
    func everyFieldHasItsName(type: String, file: String) throws {
        let names = try #require(
            SourceTree.swiftFiles(in: "Sources/Ext4Check/Diff").first {
                $0.path.hasSuffix("/FieldNames.swift")
            })
        let part = try #require(
            names.text.components(separatedBy: "extension ").first { $0.hasPrefix(type + " {") })
        let layout = try #require(
            SourceTree.swiftFiles(in: "Sources/Ext4/OnDisk").first {
                $0.path.hasSuffix("/\(file).swift")
            })
        let fields = LayoutTable.tables(in: layout).first?.fields ?? []
        #expect(fields.count > 10)
        for field in fields where field.member != "i_block" {
            #expect(
                part.contains("Layout.\(field.name),") || part.contains("Layout.\(field.name))"),
                "\(field.member ?? "")")
        }
    }
}
