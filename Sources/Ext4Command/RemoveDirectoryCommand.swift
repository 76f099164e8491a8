internal import ArgumentParser
internal import Ext4
internal import Ext4Host

/// `ext4 rmdir`: removes empty directories.
struct RemoveDirectoryCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rmdir",
        abstract: "Remove empty directories from a volume.",
        discussion: """
            EXAMPLES
              ext4 rmdir disk.img /mnt/old

            EXIT STATUS
              0 when all are gone, 1 otherwise.
            """)

    @Argument(help: "The image file or block device.")
    var image: String

    @Argument(help: ArgumentHelp("The directories.", valueName: "path"))
    var paths: [PathArgument]

    @OptionGroup var options: ChangeOptions

    func run() throws {
        try options.change(image) { (change) throws(CommandFailure) in
            for path in paths {
                change.attempt(path.bytes) { (volume) throws(Ext4Error) in
                    let place = try volume.place(atPath: path.bytes)
                    try volume.removeDirectory(place.name, in: place.directory)
                }
            }
        }
    }
}
