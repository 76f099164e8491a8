internal import ArgumentParser
internal import Ext4
internal import Ext4Host

/// `ext4 chown`: changes owners in a volume.
struct OwnerCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "chown",
        abstract: "Change the owner and group of files in a volume.",
        discussion: """
            OWNER is USER, USER:GROUP, USER: for the user's own group, or :GROUP. Numbers are \
            taken as they are; names are those of this system, which may have other numbers in \
            the volume's /etc/passwd.

            A file that gets another owner loses its set-user-ID and set-group-ID bits, as \
            everywhere. A symbolic link is followed, without -h; with -R links are never followed.

            EXAMPLES
              ext4 chown disk.img 0:0 /etc/shadow
              ext4 chown -R disk.img 33:33 /srv/www

            EXIT STATUS
              0 when all were changed, 1 otherwise.
            """)

    @Flag(name: [.customShort("R"), .long], help: "Change all that is in directories too.")
    var recursive = false

    @Flag(
        name: [.customShort("h"), .customLong("no-dereference")],
        help: "Change symbolic links themselves.")
    var noDereference = false

    @Argument(help: "The image file or block device.")
    var image: String

    @Argument(help: "The owner, by number or by name.")
    var owner: OwnerArgument

    @Argument(help: ArgumentHelp("The files.", valueName: "path"))
    var paths: [PathArgument]

    @OptionGroup var options: ChangeOptions

    func run() throws {
        var changes = AttributeChanges()
        changes.userID = owner.userID
        changes.groupID = owner.groupID
        let wanted = changes
        try options.change(image) { (change) throws(CommandFailure) in
            for path in paths {
                change.attemptTree(
                    path.bytes, isRecursive: recursive,
                    followingSymlinks: !noDereference && !recursive
                ) { (inode, volume) throws(Ext4Error) in
                    try volume.setAttributes(wanted, of: inode)
                }
            }
        }
    }
}
