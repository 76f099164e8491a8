import Foundation

/// A line of a layout table: `static let magic = Field<UInt16>.le(0x38)  // s_magic`, or a range of
/// bytes: `static let uuid = 0x68..<0x78  // s_uuid`.
struct LayoutField {
    let line: Int
    let name: String
    /// The kernel's name of the member, a path where it lies in a nested structure.
    let member: String?
    let offset: Int
    let size: Int

    var range: Range<Int> { offset..<offset + size }
}

/// An enum of layout fields, and the C structures whose members they are.
struct LayoutTable {
    let path: String
    let line: Int
    let structures: [String]
    var fields: [LayoutField] = []

    /// The tables of a file.
    ///
    /// A table is an enum with a C structure's name behind its brace, or one called `Layout`.
    static func tables(in file: SourceFile) -> [LayoutTable] {
        var tables: [LayoutTable] = []
        var open: (table: LayoutTable, indent: Int)?
        for (number, line) in file.lines.enumerated() {
            let indent = line.prefix { $0 == " " }.count
            if let match = line.firstMatch(of: #/\benum (\w+)[^{]*\{(?:\s*//\s*(.*))?$/#) {
                // A namespace around the table carries no comment and no fields.
                guard match.1 == "Layout" || match.2 != nil else { continue }
                if let open { tables.append(open.table) }
                let names = (match.2 ?? "").split(separator: ",").compactMap { part in
                    part.matches(of: #/[A-Za-z_]\w+/#).map { String($0.0) }
                        .first { $0 != "struct" }
                }
                open = (LayoutTable(path: file.path, line: number + 1, structures: names), indent)
            } else if let table = open {
                if line.dropFirst(indent).first == "}", indent == table.indent {
                    tables.append(table.table)
                    open = nil
                } else if let field = LayoutField(line: number + 1, text: line) {
                    open?.table.fields.append(field)
                }
            }
        }
        return tables.filter { !$0.fields.isEmpty }
    }

    /// Whether fields may share bytes: a table of several structures is one of alternatives.
    var isUnion: Bool { structures.count > 1 }
}

extension LayoutField {
    init?(line: Int, text: Substring) {
        self.line = line
        let comment = text.firstRange(of: "//").map { text[$0.upperBound...] }
        member = comment?.firstMatch(of: #/^\s*([A-Za-z_][\w.\[\]]*)/#).map { String($0.1) }
        let field = #/static let (\w+) = Field<U?Int(\d+)>\.[lb]e\((0x[0-9A-Fa-f]+|\d+)\)/#
        let bytes = #/static let (\w+) = (0x[0-9A-Fa-f]+|\d+)\.\.<(0x[0-9A-Fa-f]+|\d+)/#
        if let match = text.firstMatch(of: field) {
            guard let bits = Int(match.2), let offset = number(of: match.3) else { return nil }
            name = String(match.1)
            self.offset = offset
            size = bits / 8
        } else if let match = text.firstMatch(of: bytes) {
            guard let start = number(of: match.2), let end = number(of: match.3), start < end
            else { return nil }
            name = String(match.1)
            offset = start
            size = end - start
        } else {
            return nil
        }
    }
}

/// The value of a literal, decimal or hexadecimal.
private func number(of literal: Substring) -> Int? {
    literal.hasPrefix("0x") ? Int(literal.dropFirst(2), radix: 16) : Int(literal)
}
