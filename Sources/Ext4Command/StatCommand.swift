internal import ArgumentParser
internal import Ext4
internal import Ext4Host
internal import Glibc

/// `ext4 stat`: all that an inode says.
struct StatCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "stat",
        abstract: "Show what the volume knows of files.",
        discussion: """
            Type, mode, owner, size, times to the nanosecond, flags, extended attributes, and \
            where the contents lie: (FIRST-LAST):BLOCKS for each run of blocks, with [u] for \
            blocks that are reserved and not written. A symbolic link is shown itself, without -L.

            A PATH of the form <NUMBER> names an inode by its number, as in debugfs.

            EXAMPLES
              ext4 stat disk.img /etc/passwd
              ext4 stat disk.img '<8>'
              ext4 stat --json disk.img /var/lib/db | jq .extents

            EXIT STATUS
              0 when all was shown, 1 otherwise.
            """)

    @Argument(help: "The image file or block device.")
    var image: String

    @Argument(help: ArgumentHelp("The files.", valueName: "path"))
    var paths: [PathArgument]

    @Flag(name: [.customShort("L"), .customLong("dereference")], help: "Follow symbolic links.")
    var follows = false

    @Flag(help: "Write an object, or an array of them for several paths.")
    var json = false

    @OptionGroup var options: ImageOptions

    func run() throws {
        let volume = try options.open(image)
        var output = Output()
        var objects: [JSONText] = []
        var failures = 0
        for path in paths {
            do throws(CommandFailure) {
                let inode = try find(path.bytes, volume)
                let facts = gather(path.bytes, inode, volume)
                failures += facts.problems
                if json {
                    objects.append(facts.object)
                } else {
                    try output.write(facts.lines.joined(separator: "\n") + "\n")
                }
            } catch {
                guard let message = error.message else { throw error }
                Complaint.write(message)
                failures += 1
            }
        }
        if json {
            let value = paths.count == 1 ? objects.first : .array(objects)
            if let value { try output.write(value.text) }
        }
        try output.flush()
        if failures > 0 { throw CommandFailure(quiet: EXIT_FAILURE) }
    }

    private func find(_ path: [UInt8], _ volume: Volume) throws(CommandFailure) -> Inode {
        let text = String(decoding: path, as: UTF8.self)
        guard text.hasPrefix("<"), text.hasSuffix(">"),
            let number = UInt32(text.dropFirst().dropLast())
        else {
            return try options.inode(path, in: volume, of: image, followingSymlinks: follows)
        }
        do throws(Ext4Error) {
            return try volume.inode(InodeNumber(number))
        } catch {
            throw CommandFailure(error, image: image, path: path)
        }
    }

    /// What is shown of one file.
    private struct Facts {
        var lines: [String] = []
        var members: [(String, JSONText)] = []
        var problems = 0
        var object: JSONText { .object(members) }
    }

    private func gather(_ path: [UInt8], _ inode: Inode, _ volume: Volume) -> Facts {
        var facts = Facts()
        func attempt<Value>(_ body: () throws(Ext4Error) -> Value) -> Value? {
            do throws(Ext4Error) {
                return try body()
            } catch {
                let failure = CommandFailure(error, image: image, path: path)
                Complaint.write(failure.message ?? "")
                facts.problems += 1
                return nil
            }
        }
        let target =
            inode.type == .symlink
            ? attempt { () throws(Ext4Error) in try volume.symlinkTarget(of: inode) } : nil
        let attributes =
            attempt { () throws(Ext4Error) in try volume.extendedAttributes(of: inode) } ?? []
        let runs =
            Self.hasMap(inode)
            ? attempt { () throws(Ext4Error) in try volume.mappings(of: inode) } : nil

        let flags = "0x" + String(inode.flags.rawValue, radix: 16)
        facts.members = JSONText.name("path", path) + InodeText.members(of: inode, in: volume)
        facts.members += [
            ("flags", .array(inode.flags.names.map { .string($0) })),
            ("flagBits", .string(flags)),
            ("generation", .number(inode.generation)),
            ("version", .number(inode.version)),
            ("project", .number(inode.projectID)),
        ]
        if let target { facts.members += JSONText.name("target", target) }
        facts.members.append(
            (
                "extendedAttributes",
                .array(
                    attributes.map {
                        .object(
                            JSONText.name("name", $0.name.bytes)
                                + JSONText.name("value", $0.value))
                    })
            ))
        if let runs {
            facts.members.append(("extents", .array(runs.map { InodeText.object(of: $0) })))
        }

        facts.lines = [
            "  File: \(Quoted(path))" + (target.map { " -> \(Quoted($0))" } ?? ""),
            """
              Size: \(volume.shownSize(of: inode))  Blocks: \(inode.blocks512)  Block size: \(volume.blockSize)  \
            \(inode.type.words)
            """,
            "Inode: \(inode.number)  Links: \(inode.linkCount)"
                + (inode.device.map { "  Device: \($0.major),\($0.minor)" } ?? ""),
            """
            Access: (\(inode.mode.octal)/\(inode.mode.letters))  Uid: \(inode.userID)  \
            Gid: \(inode.groupID)
            """,
            "Access: \(TimeText.full(inode.accessTime))",
            "Modify: \(TimeText.full(inode.modificationTime))",
            "Change: \(TimeText.full(inode.changeTime))",
            " Birth: \(inode.creationTime.map { TimeText.full($0) } ?? "-")",
            """
             Flags: \(flags)\(inode.flags.names.map { " " + $0 }.joined())  \
            Generation: \(inode.generation)  Version: \(inode.version)  Project: \(inode.projectID)
            """,
        ]
        if !attributes.isEmpty {
            facts.lines.append("Extended attributes:")
            facts.lines += attributes.map {
                "  \(Quoted($0.name.bytes)) (\($0.value.count)) = \(XattrCommand.shown($0.value))"
            }
        }
        if inode.usesInlineData {
            facts.lines.append("Contents: in the inode")
        } else if let runs, !runs.isEmpty {
            facts.lines.append(inode.usesExtents ? "Extents:" : "Blocks:")
            facts.lines += runs.map { "  \(InodeText.text(of: $0))" }
        }
        return facts
    }

    /// Whether the inode leads to blocks that a map can be shown of.
    private static func hasMap(_ inode: Inode) -> Bool {
        switch inode.type {
        case .regular, .directory: !inode.usesInlineData
        case .symlink: !inode.usesInlineData && inode.usesExtents
        default: false
        }
    }
}
