internal import ArgumentParser
internal import Ext4
internal import Ext4Check
internal import Ext4Host
internal import Glibc

/// `ext4 diff`: what two volumes do not have alike.
struct DiffCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "diff",
        abstract: "Show what differs between two volumes, structure by structure.",
        discussion: """
            Compares the superblocks and the journals field by field, the groups' descriptors and \
            bitmaps, and every inode: its fields, where its blocks are, the names in a directory, \
            extended attributes, the targets of symbolic links; with --content what files hold, \
            too. Inodes are compared by their number. What is said is what the structures mean: \
            two images with the same bytes in other places differ in maps and bitmaps.

            A line for each difference, in the order of the volume:

              superblock: s_free_blocks_count: 27393 -> 27389
              group 0: block bitmap: 1234-1237: free -> used
              inode 2: directory entry "new": leads to: none -> inode 12 (regular)
              inode 12: i_size: 5 -> 14000
              inode 12: map: blocks 2-3: a hole -> at 1236-1237

            A structure that cannot be read in one of them is a difference, and the comparison \
            goes on; it is marked with !. A volume whose journal holds changes is compared as they \
            make it; --no-replay compares it as it lies. Images of other sizes or with other \
            groups are compared as far as they have the same things.

            With --json an object: "a" and "b", the images; "differences", each with "structure" \
            and "what", "group" or "inode" and "name" where it has them, "a" and "b" (null for \
            what is not there), "damage": true where a side cannot be read; "same"; "unreadable", \
            how many structures are unreadable in both for the same reason.

            EXAMPLES
              cp disk.img before.img; ...; ext4 diff before.img disk.img
              ext4 diff --json --content a.img b.img | jq '.differences[] | select(.inode == 12)'

            EXIT STATUS
              0 when nothing differs, 1 when something does, 2 for trouble.
            """)

    @Argument(help: "The first image file or block device.")
    var a: String

    @Argument(help: "The second one.")
    var b: String

    @Flag(help: "Compare what files hold, too.")
    var content = false

    @Flag(help: "Write an object.")
    var json = false

    @OptionGroup var options: ImageOptions

    func run() throws {
        do {
            try compare()
        } catch let failure as CommandFailure {
            if failure.status == EXIT_FAILURE, let message = failure.message {
                throw CommandFailure(message, status: 2)
            }
            throw failure
        }
    }

    private func compare() throws {
        let report = DiffReport(isJSON: json)
        let volumes: (Volume, Volume)
        do {
            volumes = (try options.open(a), try options.open(b))
        } catch {
            // What can be said all the same, before it is told why that is all.
            try report.begin(a, b)
            if let first = try? FileDevice(path: a, claim: .none),
                let second = try? FileDevice(path: b, claim: .none)
            {
                _ = try? VolumeDiff.compareSuperblocks(of: first, second, report.add)
            }
            try report.end(same: false, unreadable: 0)
            throw error
        }
        var wanted = DiffOptions()
        wanted.comparesContents = content
        try report.begin(a, b)
        let summary: DiffSummary
        do throws(Ext4Error) {
            summary = try VolumeDiff.compare(
                volumes.0, with: volumes.1, options: wanted, report.add)
        } catch {
            try report.end(same: false, unreadable: 0)
            throw CommandFailure(error, image: "\(a), \(b)")
        }
        let isSame = summary.differences == 0
        try report.end(same: isSame, unreadable: summary.unreadable)
        if !json, summary.unreadable > 0 {
            Complaint.write(
                "\(summary.unreadable) structures are unreadable in both, for the same reason")
        }
        if !isSame { throw CommandFailure(quiet: EXIT_FAILURE) }
    }
}

/// Differences on their way to standard output.
private final class DiffReport {
    private let isJSON: Bool
    private var output = Output()
    private var count = 0
    private var failure: CommandFailure?

    init(isJSON: Bool) { self.isJSON = isJSON }

    func begin(_ a: String, _ b: String) throws(CommandFailure) {
        guard isJSON else { return }
        try output.write(
            "{\n  \"a\": \(JSONText.string(a).compactText),\n"
                + "  \"b\": \(JSONText.string(b).compactText),\n  \"differences\": [")
    }

    func add(_ difference: Difference) {
        guard failure == nil else { return }
        do throws(CommandFailure) {
            if isJSON {
                try output.write(count == 0 ? "\n    " : ",\n    ")
                try output.write(Self.object(difference).compactText)
            } else {
                try output.line(Self.line(difference))
            }
            count += 1
        } catch {
            failure = error
        }
    }

    func end(same: Bool, unreadable: UInt64) throws(CommandFailure) {
        if let failure { throw failure }
        if isJSON {
            try output.write(count == 0 ? "],\n" : "\n  ],\n")
            try output.write("  \"same\": \(same),\n  \"unreadable\": \(unreadable)\n}\n")
        }
        try output.flush()
    }

    private static func line(_ difference: Difference) -> String {
        var text = difference.isDamage ? "! " : ""
        if let inode = difference.inode {
            text += "inode \(inode): "
            if difference.structure != .inode { text += difference.structure.rawValue }
        } else if let group = difference.group {
            text += "group \(group): "
            if difference.structure != .groupDescriptor { text += difference.structure.rawValue }
        } else {
            text += difference.structure.rawValue
        }
        if let name = difference.name { text += " \(Quoted(name))" }
        if !text.hasSuffix(": ") { text += ": " }
        return text + difference.what + ": " + (difference.a ?? "none") + " -> "
            + (difference.b ?? "none")
    }

    private static func object(_ difference: Difference) -> JSONText {
        var members: [(String, JSONText)] = [
            ("structure", .string(difference.structure.rawValue))
        ]
        if let group = difference.group { members.append(("group", .number(group.rawValue))) }
        if let inode = difference.inode { members.append(("inode", .number(inode.rawValue))) }
        if let name = difference.name { members += JSONText.name("name", name) }
        members.append(("what", .string(difference.what)))
        members.append(("a", difference.a.map { .string($0) } ?? .null))
        members.append(("b", difference.b.map { .string($0) } ?? .null))
        if difference.isDamage { members.append(("damage", .bool(true))) }
        return .object(members)
    }
}
