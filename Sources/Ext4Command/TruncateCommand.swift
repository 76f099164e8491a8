internal import ArgumentParser
internal import Ext4
internal import Ext4Host

/// `ext4 truncate`: sets the size of files in a volume.
struct TruncateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "truncate",
        abstract: "Cut files in a volume off, or extend them, to a size.",
        discussion: """
            What is cut off is lost; what is added is a hole and reads as zeros. A file that is \
            not there is made, without -c.

            SIZE is a number of bytes, or with K, M, G, T, P or E behind it (KB and so on for \
            powers of 1,000) of those. A sign before it sets it against the size that the file \
            has: + and - extend and reduce by it, < and > are at most and at least, / and % \
            round down and up to a multiple of it.

            EXAMPLES
              ext4 truncate -s 0 disk.img /var/log/syslog
              ext4 truncate -s +1G disk.img /swapfile

            EXIT STATUS
              0 when all have the size now, 1 otherwise.
            """)

    @Option(
        name: .shortAndLong, parsing: .unconditional,
        help: ArgumentHelp("The size, perhaps with a sign and a unit.", valueName: "size"))
    var size: SizeArgument

    @Flag(name: [.customShort("c"), .customLong("no-create")], help: "Make no files.")
    var noCreate = false

    @Argument(help: "The image file or block device.")
    var image: String

    @Argument(help: ArgumentHelp("The files.", valueName: "path"))
    var paths: [PathArgument]

    @OptionGroup var options: ChangeOptions

    func run() throws {
        try options.change(image) { (change) throws(CommandFailure) in
            for path in paths {
                change.attempt(path.bytes) { (volume) throws(Ext4Error) in
                    guard let inode = try inode(path.bytes, volume) else { return }
                    var changes = AttributeChanges()
                    guard let size = size.applied(to: inode.size) else { throw .fileTooLarge }
                    changes.size = size
                    changes.modificationTime = .now
                    try volume.setAttributes(changes, of: inode)
                }
            }
        }
    }

    private func inode(_ path: [UInt8], _ volume: Volume) throws(Ext4Error) -> Inode? {
        do throws(Ext4Error) {
            return try volume.inode(atPath: path)
        } catch {
            guard error == .notFound else { throw error }
            return noCreate ? nil : try volume.createFile(atPath: path)
        }
    }
}
