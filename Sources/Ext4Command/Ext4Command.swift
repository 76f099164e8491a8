internal import ArgumentParser
internal import Ext4
internal import Glibc

@main
struct Ext4Command: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ext4",
        abstract: "Read, change, mount and check ext2, ext3 and ext4 file systems.",
        discussion: """
            Every command takes IMAGE, an image file or a block device, and works on it without \
            mounting it and without root. A volume that was not unmounted cleanly is shown as its \
            journal says it is. Only the commands that change a volume write to it; they bring it \
            up to date with its journal first, and through it a crash in the middle leaves every \
            change done or not done.

            EXAMPLES
              ext4 info disk.img
              ext4 ls -l disk.img /etc
              ext4 cat disk.img /etc/fstab
              ext4 get disk.img /home/me ./saved
              ext4 export disk.img / -o disk.tar.gz
              ext4 put -r disk.img ./site /srv
              ext4 chmod -R disk.img u=rwX,go=rX /srv
              ext4 mount disk.img /mnt
              ext4 fsck -n disk.img

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
            DiffCommand.self, GetCommand.self, PutCommand.self, ExportCommand.self,
            MakeDirectoryCommand.self,
            RemoveCommand.self, RemoveDirectoryCommand.self, MoveCommand.self,
            LinkCommand.self, ModeCommand.self, OwnerCommand.self, TouchCommand.self,
            TruncateCommand.self, XattrCommand.self, MountCommand.self, ReplayCommand.self,
            FsckCommand.self, MkfsCommand.self, ResizeCommand.self, TuneCommand.self,
            TrimCommand.self, CrashCommand.self,
        ]
    }

    static func main() {
        let arguments = ResizeArgument.shielded(PathArgument.arguments())
        do {
            var command = try parseAsRoot(arguments)
            try command.run()
        } catch let failure as CommandFailure {
            if let message = failure.message { Complaint.write(message) }
            Glibc.exit(failure.status)
        } catch {
            // What mke2fs has for every failure.
            if arguments.first == MkfsCommand._commandName,
                exitCode(for: error) == .validationFailure
            {
                Complaint.write(message(for: error))
                Glibc.exit(EXIT_FAILURE)
            }
            // What fsck(8) calls for: a boot script tells misuse from damage by it.
            if arguments.first == FsckCommand._commandName,
                exitCode(for: error) == .validationFailure
            {
                Complaint.write(message(for: error))
                Glibc.exit(FsckCommand.Status.usage)
            }
            exit(withError: error)
        }
    }
}
