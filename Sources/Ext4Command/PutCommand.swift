internal import ArgumentParser
internal import Ext4
internal import Ext4Host
internal import Glibc

/// `ext4 put`: copies files and trees into a volume.
struct PutCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "put",
        abstract: "Copy files and directories into a volume.",
        usage: "ext4 put [<options>] <image> <source> ... <destination>",
        discussion: """
            Each SOURCE, a file of this system, is copied with its mode, owner, times to the \
            nanosecond, extended attributes and ACLs; holes stay holes. With -r directories are \
            copied with all that is below them, and symbolic links, files with several names and \
            special files as such; without it, what a link leads to, and what comes out of a pipe \
            or a device. A SOURCE of - is standard input.

            When DESTINATION is a directory in the volume, each SOURCE goes into it, under the \
            name that it has; a SOURCE that ends in /., and the root directory, put what is in \
            them there. Otherwise DESTINATION is the name of the one SOURCE. A directory that is \
            there already gets what is in its SOURCE besides; a file that is there is replaced, \
            at once and when the new one is complete: an interrupted copy leaves no part of a \
            file behind.

            EXAMPLES
              ext4 put disk.img vmlinuz initrd.img /boot
              ext4 put -r --owner 0:0 disk.img rootfs/. /
              pg_dump db | ext4 put disk.img - /backup/db.sql

            EXIT STATUS
              0 when all was copied, 1 when anything was not: standard error names it.
            """)

    @Flag(
        name: [.customShort("r"), .customShort("R"), .long],
        help: "Copy directories with all that is below them.")
    var recursive = false

    @Flag(name: [.short, .customLong("no-clobber")], help: "Replace no file.")
    var noClobber = false

    @Flag(
        name: [.customShort("x"), .customLong("one-file-system")],
        help: "With -r, leave directories of other file systems empty.")
    var oneFileSystem = false

    @Flag(
        name: [.customShort("T"), .customLong("no-target-directory")],
        help: "The destination is a name, also when a directory has it.")
    var noTargetDirectory = false

    @Option(
        help: ArgumentHelp(
            "The owner of all that is copied: user, user:group or :group, by number or by name.",
            valueName: "owner"))
    var owner: OwnerArgument?

    @Option(
        name: .shortAndLong, parsing: .unconditional,
        help: ArgumentHelp(
            "The mode of all that is copied, octal or as a change of what it is (u=rwX,go=rX).",
            valueName: "mode"))
    var mode: ModeArgument?

    @Argument(help: "The image file or block device.")
    var image: String

    @Argument(
        help: ArgumentHelp(
            "What is to be copied, and the destination in the volume as the last one.",
            valueName: "path"))
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
            var progress = ProgressLine("copied")
            let copy = TreeImport(change.volume, importOptions) { event in
                Transfer.tell(event, &progress) { Quoted($0).description }
            }
            for source in sources where !Interruption.isThere {
                put(source.bytes, to: destination, copy, &change)
            }
            change.count(copy.problems)
        }
    }

    private var importOptions: TreeImport.Options {
        var options = TreeImport.Options()
        options.isRecursive = recursive
        options.staysOnFileSystem = oneFileSystem
        options.replacesFiles = !noClobber
        options.userID = owner?.userID
        options.groupID = owner?.groupID
        if let change = mode?.change {
            options.permissions = { change.applied(to: $0, isDirectory: $1) }
        }
        options.isInterrupted = { Interruption.isThere }
        return options
    }

    private func put(
        _ source: [UInt8], to destination: Destination, _ copy: TreeImport,
        _ change: inout VolumeChange
    ) {
        if source == [UInt8(ascii: "-")] {
            guard case .place(let place) = destination, !place.isDirectory else {
                return change.complain(source, "standard input needs a name for the file")
            }
            var new = NewInode.owned(by: owner, mode: 0o100666)
            if let mode {
                let permissions = mode.change.applied(to: 0o666, isDirectory: false)
                new.mode = FileMode(rawValue: 0o100000 | permissions)
                new.umask = 0
            }
            return copy.put(
                contentsOf: STDIN_FILENO, called: "standard input", at: place, new)
        }
        if case .into(let directory, _) = destination, GetCommand.name(of: source) == nil {
            return copy.putContents(of: source, into: directory)
        }
        change.attempt(source) { (_) throws(Ext4Error) in
            copy.put(source, at: try destination.place(for: source))
        }
    }
}
