internal import ArgumentParser
internal import Ext4
internal import Ext4Host

/// `ext4 mv`: gives files and directories of a volume other names.
struct MoveCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "mv",
        abstract: "Rename files and directories in a volume, or move them.",
        usage: "ext4 mv [<options>] <image> <source> ... <destination>",
        discussion: """
            When DESTINATION is a directory, each SOURCE moves into it, under the name that it \
            has. Otherwise there is one SOURCE, and DESTINATION is its new name; a file that has \
            that name is replaced at once: there is always the one or the other.

            EXAMPLES
              ext4 mv disk.img /etc/fstab.new /etc/fstab
              ext4 mv disk.img /home/me/a /home/me/b /home/you

            EXIT STATUS
              0 when all were moved, 1 otherwise.
            """)

    @Flag(name: [.short, .customLong("no-clobber")], help: "Leave what is there already.")
    var noClobber = false

    @Flag(
        name: [.customShort("T"), .customLong("no-target-directory")],
        help: "The destination is a name, also when a directory has it.")
    var noTargetDirectory = false

    @Argument(help: "The image file or block device.")
    var image: String

    @Argument(
        help: ArgumentHelp(
            "What is to be moved, and where to, as the last one.", valueName: "path"))
    var paths: [PathArgument]

    @OptionGroup var options: ChangeOptions

    func validate() throws {
        guard paths.count > 1 else {
            throw ValidationError("Missing expected argument '<destination>'")
        }
    }

    func run() throws {
        guard let last = paths.last else { return }
        let sources = paths.dropLast()
        try options.change(image) { (change) throws(CommandFailure) in
            let destination = try change.destination(
                last.bytes, sources: sources.count, isName: noTargetDirectory)
            for source in sources {
                move(source.bytes, to: destination, &change)
            }
        }
    }

    private func move(
        _ path: [UInt8], to destination: Destination, _ change: inout VolumeChange
    ) {
        var refusal: String?
        change.attempt(path) { (volume) throws(Ext4Error) in
            let source = try volume.place(atPath: path)
            let inode = try volume.lookup(source.name, in: source.directory)
            guard inode.isDirectory || !source.isDirectory else { throw .notDirectory }
            let target = try destination.place(for: path)
            guard inode.isDirectory || !target.isDirectory else { throw .notDirectory }
            let existing = try volume.find(target)
            if existing === inode {
                // Two names of one file: one of them is to go, or it is one name.
                if source.name == target.name, source.directory === target.directory {
                    refusal = "the source and the destination are the same"
                } else if !noClobber {
                    try volume.unlink(source.name, in: source.directory)
                }
                return
            }
            if existing != nil, noClobber { return }
            do throws(Ext4Error) {
                try volume.rename(
                    source.name, in: source.directory, to: target.name, in: target.directory,
                    noClobber ? .noReplace : [])
            } catch {
                switch error {
                case .invalidArgument: refusal = "a directory cannot move into itself"
                case .isDirectory: refusal = "a directory has the new name"
                case .notDirectory:
                    refusal = "the new name is that of a file, which no directory replaces"
                case .notEmpty: refusal = "the directory that has the new name is not empty"
                default: throw error
                }
            }
        }
        if let refusal { change.complain(path, refusal) }
    }
}
