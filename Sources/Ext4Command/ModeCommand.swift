internal import ArgumentParser
internal import Ext4
internal import Ext4Host

/// `ext4 chmod`: changes permissions in a volume.
struct ModeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "chmod",
        abstract: "Change the permissions of files in a volume.",
        discussion: """
            MODE is octal, as 644 or 4755, or symbolic, as chmod(1) has it: classes (u, g, o, a), \
            an operation (+, -, =) and permissions (r, w, x, X, s, t, or the class to take them \
            from), parted by commas. Without a class the umask says which are meant. A MODE that \
            begins with - stands after --, or is written as a-x.

            A symbolic link is followed; with -R, those that are met on the way are left alone. \
            An access control list is kept in step.

            EXAMPLES
              ext4 chmod disk.img 600 /etc/shadow
              ext4 chmod -R disk.img u=rwX,go=rX /srv/www

            EXIT STATUS
              0 when all were changed, 1 otherwise.
            """)

    @Flag(name: [.customShort("R"), .long], help: "Change all that is in directories too.")
    var recursive = false

    @Argument(help: "The image file or block device.")
    var image: String

    @Argument(help: "The mode, octal or symbolic.")
    var mode: ModeArgument

    @Argument(help: ArgumentHelp("The files.", valueName: "path"))
    var paths: [PathArgument]

    @OptionGroup var options: ChangeOptions

    func run() throws {
        try options.change(image) { (change) throws(CommandFailure) in
            for path in paths {
                change.attemptTree(path.bytes, isRecursive: recursive, followingSymlinks: true) {
                    (inode, volume) throws(Ext4Error) in
                    guard inode.type != .symlink else { return }
                    var changes = AttributeChanges()
                    changes.permissions = mode.change.applied(
                        to: inode.mode.permissions, isDirectory: inode.isDirectory)
                    try volume.setAttributes(changes, of: inode)
                }
            }
        }
    }
}

extension VolumeChange {
    /// Does something to a file, and with `isRecursive` to all that is below a directory.
    mutating func attemptTree(
        _ path: [UInt8], isRecursive: Bool, followingSymlinks: Bool,
        _ part: (Inode, Volume) throws(Ext4Error) -> Void
    ) {
        var start: Inode?
        attempt(path) { (volume) throws(Ext4Error) in
            let inode = try volume.inode(
                atPath: path, followingSymlinks: followingSymlinks || path.last == 0x2F)
            try part(inode, volume)
            if isRecursive, inode.isDirectory { start = inode }
        }
        guard let start else { return }
        var walk = TreeWalk(volume, from: start)
        while Interruption.signal == nil, let step = walk.next() {
            let entry: TreeEntry
            switch step {
            case .enter(let found), .file(let found): entry = found
            case .leave: continue
            case .problem(let problem):
                complain(Self.join(path, problem.path), problem.description)
                continue
            }
            guard entry.depth > 0 else { continue }
            attempt(Self.join(path, entry.path)) { (volume) throws(Ext4Error) in
                try part(entry.inode, volume)
            }
        }
    }

    /// A path below another one.
    static func join(_ path: [UInt8], _ rest: [UInt8]) -> [UInt8] {
        path + (path.last == 0x2F || rest.isEmpty ? [] : [0x2F]) + rest
    }
}
