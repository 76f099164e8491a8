internal import ArgumentParser
internal import Ext4
internal import Ext4Host
internal import Glibc

/// `ext4 info`: what the superblock says.
struct InfoCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "info",
        abstract: "Show what a volume says of itself.",
        discussion: """
            The fields of the superblock, in the words of dumpe2fs -h, and with --groups those of \
            every group's descriptor. A volume whose journal holds changes is shown as they make \
            it; --no-replay shows it as it lies.

            A volume that somebody is writing to is shown too; the figures are then of the moment.

            EXAMPLES
              ext4 info disk.img
              ext4 info --json disk.img | jq -r .uuid

            EXIT STATUS
              0 when the volume could be read, 1 otherwise.
            """)

    @Argument(help: "The image file or block device.")
    var image: String

    @Flag(help: "Show the groups too.")
    var groups = false

    @Flag(help: "Write an object.")
    var json = false

    @OptionGroup var options: ImageOptions

    func run() throws {
        // Looking is allowed where reading files would not be: the superblock is one block.
        let volume = try options.open(image, claim: .none)
        var output = Output()
        let fields = SuperblockText.fields(of: volume)
        if json {
            var members = fields.compactMap { field in field.json.map { (field.key, $0) } }
            if let recovery = volume.recovery {
                members.append(("replayedInMemory", .string(recovery.description)))
            }
            if groups {
                var list: [JSONText] = []
                for number in 0..<volume.superblock.groupCount {
                    list.append(try GroupText.object(of: descriptor(number, volume), number))
                }
                members.append(("groups", .array(list)))
            }
            try output.write(JSONText.object(members).text)
        } else {
            for field in fields {
                guard let text = field.text else { continue }
                let head = "\(field.label):"
                try output.line(
                    head + String(repeating: " ", count: max(1, 26 - head.utf8.count)) + text)
            }
            if let recovery = volume.recovery {
                try output.line("Journal replayed here:    \(recovery)")
            }
            if groups {
                try output.write("\n")
                for number in 0..<volume.superblock.groupCount {
                    let lines = GroupText.lines(
                        of: try descriptor(number, volume), number, volume.superblock)
                    for line in lines { try output.line(line) }
                }
            }
        }
        try output.flush()
    }

    private func descriptor(
        _ number: UInt32, _ volume: Volume
    ) throws(CommandFailure) -> GroupDescriptor {
        do throws(Ext4Error) {
            return try volume.groupDescriptor(GroupNumber(number))
        } catch {
            throw CommandFailure(error, image: image)
        }
    }
}
