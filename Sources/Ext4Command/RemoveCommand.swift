internal import ArgumentParser
internal import Ext4
internal import Ext4Host

/// `ext4 rm`: removes files and trees from a volume.
struct RemoveCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rm",
        abstract: "Remove files and directories from a volume.",
        discussion: """
            A symbolic link is removed, not what it leads to. A file with several names loses the \
            one that is given. Nothing is asked: there is no way back.

            EXAMPLES
              ext4 rm disk.img /etc/motd /etc/issue
              ext4 rm -r disk.img /var/cache

            EXIT STATUS
              0 when all are gone, 1 when anything is not: standard error names it.
            """)

    @Flag(
        name: [.customShort("r"), .customShort("R"), .long],
        help: "Remove directories with all that is in them.")
    var recursive = false

    @Flag(name: .shortAndLong, help: "What is not there is no failure.")
    var force = false

    @Argument(help: "The image file or block device.")
    var image: String

    @Argument(help: ArgumentHelp("What is to go.", valueName: "path"))
    var paths: [PathArgument]

    @OptionGroup var options: ChangeOptions

    func run() throws {
        try options.change(image) { (change) throws(CommandFailure) in
            for path in paths { remove(path.bytes, &change) }
        }
    }

    private func remove(_ path: [UInt8], _ change: inout VolumeChange) {
        var tree: (inode: Inode, place: VolumePlace)?
        var isRefused = false
        change.attempt(path) { (volume) throws(Ext4Error) in
            do throws(Ext4Error) {
                let place = try volume.place(atPath: path)
                let inode = try volume.lookup(place.name, in: place.directory)
                guard inode.isDirectory || !place.isDirectory else { throw .notDirectory }
                if !inode.isDirectory {
                    try volume.unlink(place.name, in: place.directory)
                } else if recursive {
                    tree = (inode, place)
                } else {
                    isRefused = true
                }
            } catch {
                guard force, error == .notFound || error == .notDirectory else { throw error }
            }
        }
        if isRefused {
            change.complain(path, "is a directory: -r removes it with all that is in it")
        }
        guard let tree else { return }
        var progress = ProgressLine("removed")
        var problems: UInt64 = 0
        var name = path
        while name.count > 1, name.last == 0x2F { name.removeLast() }
        let image = image
        var removal = TreeRemoval(change.volume, isInterrupted: { Interruption.isThere }) { event in
            if case .problem = event { problems += 1 }
            Transfer.tell(event, &progress) { "\(Quoted(image.utf8)): \(Quoted($0))" }
        }
        removal.remove(tree.inode, at: tree.place, path: name)
        change.count(problems)
    }
}
