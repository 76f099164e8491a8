internal import Ext4
internal import Ext4Check

/// Findings as text and as JSON: the same fields in both.
enum FindingText {
    /// The lines about a finding.
    static func lines(of finding: Finding) -> [String] {
        let head = finding.rule.severity == .note ? "note: " : ""
        return [head + finding.description, "    repair: \(finding.rule.repair)"]
    }

    /// The last line.
    static func summary(of report: CheckReport) -> String {
        let errors = report.findings.count { $0.rule.severity == .error }
        let notes = report.findings.count - errors
        let counts = report.statistics
        let there =
            "\(counts.files) files, \(counts.directories) directories, \(counts.symlinks) links,"
            + " \(counts.special) special files, \(counts.blocks) blocks in use"
        var found = errors == 0 ? "clean" : "\(errors) \(errors == 1 ? "error" : "errors")"
        if notes > 0 { found += ", \(notes) \(notes == 1 ? "note" : "notes")" }
        if report.omitted > 0 { found += ", and \(report.omitted) more" }
        return "\(found); \(there)"
    }

    /// A volume that was not looked at.
    static func skipped(_ image: String, _ summary: CleanSummary) -> JSONText {
        .object(
            JSONText.name("image", Array(image.utf8)) + [
                ("checked", .bool(false)), ("clean", .bool(true)), ("exitStatus", .number(0)),
                ("inodes", .number(summary.superblock.inodesCount)),
                ("freeInodes", .number(summary.superblock.freeInodesCount)),
                ("blocks", .number(summary.superblock.blocksCount)),
                ("freeBlocks", .number(summary.superblock.freeBlocksCount)),
            ])
    }

    /// A report.
    static func object(_ report: CheckReport, image: String, status: Int32) -> JSONText {
        let counts = report.statistics
        return .object(
            JSONText.name("image", Array(image.utf8)) + [
                ("checked", .bool(true)), ("clean", .bool(report.isClean)),
                ("exitStatus", .number(status)), ("omitted", .number(report.omitted)),
                ("findings", .array(report.findings.map(object(of:)))),
                (
                    "statistics",
                    .object([
                        ("inodes", .number(counts.inodes)), ("files", .number(counts.files)),
                        ("directories", .number(counts.directories)),
                        ("symlinks", .number(counts.symlinks)),
                        ("special", .number(counts.special)),
                        ("blocks", .number(counts.blocks)),
                        ("fragmented", .number(counts.fragmented)),
                    ])
                ),
            ])
    }

    /// A repair.
    static func object(_ report: RepairReport, image: String, status: Int32) -> JSONText {
        .object(
            JSONText.name("image", Array(image.utf8)) + [
                ("checked", .bool(true)), ("clean", .bool(report.isClean)),
                ("exitStatus", .number(status)), ("replayed", .bool(report.hasReplayed)),
                ("checks", .number(report.rounds)), ("writtenBytes", .number(report.writtenBytes)),
                ("repaired", .array(report.repaired.map(object(of:)))),
                ("findings", .array(report.left.map(object(of:)))),
            ])
    }

    static func object(of finding: Finding) -> JSONText {
        let place = finding.place
        var members: [(String, JSONText)] = [
            ("id", .string(finding.rule.rawValue)),
            ("structure", .string(finding.rule.structure)),
            ("stage", .string("\(finding.rule.stage)")),
            ("severity", .string(finding.rule.severity.rawValue)),
            ("safe", .bool(finding.rule.isSafe)),
        ]
        func add(_ key: String, _ value: (some BinaryInteger)?) {
            if let value { members.append((key, .number(value))) }
        }
        add("group", place.group?.rawValue)
        add("inode", place.inode?.rawValue)
        add("fileBlock", place.logicalBlock?.rawValue)
        add("block", place.block?.rawValue)
        add("byteOffset", place.byteOffset)
        add("count", finding.count)
        add("otherInode", finding.other?.rawValue)
        if let name = finding.name { members += JSONText.name("name", name) }
        add("found", finding.found)
        add("expected", finding.expected)
        if let detail = finding.detail { members.append(("detail", .string(detail))) }
        members.append(("rule", .string(finding.rule.words)))
        members.append(("repair", .string(finding.rule.repair)))
        return .object(members)
    }
}
