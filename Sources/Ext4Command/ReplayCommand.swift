internal import ArgumentParser
internal import Ext4
internal import Ext4Host
internal import Glibc

/// `ext4 replay`: brings a volume up to date with its journal.
struct ReplayCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "replay",
        abstract: "Write what a volume's journal holds to its place.",
        discussion: """
            After a crash the journal holds changes that are not in their place yet. All other \
            commands show the volume as if they were; replay writes them, as the next mount for \
            writing would, and marks the journal empty. A volume with an empty journal is left \
            alone.

            The volume must not be mounted or open elsewhere.

            EXAMPLES
              ext4 replay disk.img

            EXIT STATUS
              0 when the journal is empty now, 1 otherwise.
            """)

    @Argument(help: "The image file or block device.")
    var image: String

    @OptionGroup var options: ImageOptions

    func run() throws {
        let device: FileDevice
        do throws(Ext4Error) {
            device = try FileDevice(path: image, access: .readWrite)
        } catch {
            throw CommandFailure(opening: image, error)
        }
        let place = Quoted(image.utf8)
        let report: RecoveryReport?
        do throws(Ext4Error) {
            report = try Volume.replayJournal(on: device, options: options.openOptions)
        } catch {
            guard error != .busy else { throw CommandFailure.protected(image) }
            throw CommandFailure(opening: image, error)
        }
        var output = Output()
        if let report {
            try output.line("\(place): replayed \(report)")
        } else {
            try output.line("\(place): the journal is empty, nothing to replay")
        }
        try output.flush()
    }
}
