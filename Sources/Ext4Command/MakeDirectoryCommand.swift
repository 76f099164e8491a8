internal import ArgumentParser
internal import Ext4
internal import Ext4Host
internal import Glibc

/// `ext4 mkdir`: makes directories in a volume.
struct MakeDirectoryCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "mkdir",
        abstract: "Make directories in a volume.",
        discussion: """
            Each directory gets the mode that the umask leaves of 0777, or that of -m, and belongs \
            to who runs the command, or to --owner.

            With -p the directories above it are made as needed, and one that is there already is \
            no failure.

            EXAMPLES
              ext4 mkdir -p disk.img /srv/www/htdocs
              ext4 mkdir -m 1777 --owner 0:0 disk.img /tmp

            EXIT STATUS
              0 when all are there now, 1 otherwise.
            """)

    @Flag(name: .shortAndLong, help: "Make the directories above it too.")
    var parents = false

    @Option(
        name: .shortAndLong,
        help: ArgumentHelp("The mode, octal or symbolic, as chmod takes it.", valueName: "mode"))
    var mode: ModeArgument?

    @Option(
        help: ArgumentHelp(
            "The owner: user, user:group or :group, by number or by name.", valueName: "owner"))
    var owner: OwnerArgument?

    @Argument(help: "The image file or block device.")
    var image: String

    @Argument(help: ArgumentHelp("The directories.", valueName: "path"))
    var paths: [PathArgument]

    @OptionGroup var options: ChangeOptions

    func run() throws {
        try options.change(image) { (change) throws(CommandFailure) in
            for path in paths {
                change.attempt(path.bytes) { (volume) throws(Ext4Error) in
                    if parents {
                        try makeAll(path.bytes, volume)
                    } else {
                        try make(try volume.place(atPath: path.bytes), mode, volume)
                    }
                }
            }
        }
    }

    private func make(
        _ place: VolumePlace, _ mode: ModeArgument?, _ volume: Volume
    ) throws(Ext4Error) {
        let inode = try volume.create(
            place.name, in: place.directory, .owned(by: owner, mode: 0o040777))
        // A mode that was asked for holds against the directory's default access list.
        guard let mode else { return }
        var changes = AttributeChanges()
        // What the directory passes on (set-group-ID) stays, unless the mode speaks of it.
        changes.permissions = mode.change.applied(
            to: 0o777 | inode.mode.permissions & 0o2000, isDirectory: true)
        try volume.setAttributes(changes, of: inode)
    }

    private func makeAll(_ path: [UInt8], _ volume: Volume) throws(Ext4Error) {
        let parts = path.split(separator: 0x2F)
        for (index, part) in parts.enumerated() {
            let above = Array(path[..<part.endIndex])
            do throws(Ext4Error) {
                guard try volume.inode(atPath: above).isDirectory else { throw .notDirectory }
            } catch {
                guard error == .notFound else { throw error }
                let isLast = index == parts.count - 1
                try make(try volume.place(atPath: above), isLast ? mode : nil, volume)
            }
        }
    }
}

extension NewInode {
    /// Something that is made out of nothing: it belongs to `owner`, or to who runs the command.
    static func owned(by owner: OwnerArgument? = nil, mode: UInt16) -> NewInode {
        NewInode(
            mode: FileMode(rawValue: mode), userID: owner?.userID ?? geteuid(),
            groupID: owner?.groupID ?? getegid(), umask: ModeArgument.umask)
    }
}
