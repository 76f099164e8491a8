internal import ArgumentParser
internal import Ext4
internal import Glibc

@main
struct Ext4Command: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ext4",
        abstract: "Read, show and mount ext2, ext3 and ext4 file systems.",
        discussion: """
            Every command takes IMAGE, an image file or a block device, and reads it without \
            mounting it and without root. A volume that was not unmounted cleanly is shown as its \
            journal says it is; nothing is written to it, but by replay.

            EXAMPLES
              ext4 info disk.img
              ext4 ls -l disk.img /etc
              ext4 cat disk.img /etc/fstab
              ext4 get disk.img /home/me ./saved
              ext4 export disk.img / -o disk.tar.gz
              ext4 mount disk.img /mnt

            EXIT STATUS
              0   all went well
              1   something failed; standard error says what
              64  the command was not used as it should be
            """,
        version: "0.1.0",
        subcommands: subcommands)

    static var subcommands: [any ParsableCommand.Type] {
        [
            InfoCommand.self, ListCommand.self, StatCommand.self, CatCommand.self,
            GetCommand.self, ExportCommand.self, XattrCommand.self, MountCommand.self,
            ReplayCommand.self,
        ]
    }

    static func main() {
        do {
            var command = try parseAsRoot(PathArgument.arguments())
            try command.run()
        } catch let failure as CommandFailure {
            if let message = failure.message { Complaint.write(message) }
            Glibc.exit(failure.status)
        } catch {
            exit(withError: error)
        }
    }
}
