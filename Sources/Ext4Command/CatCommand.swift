internal import ArgumentParser
internal import Ext4
internal import Ext4Host
internal import Glibc

/// `ext4 cat`: the contents of files.
struct CatCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cat",
        abstract: "Write the contents of files to standard output.",
        discussion: """
            Each PATH is a file in the volume; symbolic links are followed. Holes are written as \
            zeros.

            EXAMPLES
              ext4 cat disk.img /etc/fstab
              ext4 cat disk.img /var/log/syslog.2.gz | zcat

            EXIT STATUS
              0 when all of every file was written, 1 otherwise.
            """)

    @Argument(help: "The image file or block device.")
    var image: String

    @Argument(help: ArgumentHelp("The files.", valueName: "path"))
    var paths: [PathArgument]

    @OptionGroup var options: ImageOptions

    func run() throws {
        let volume = try options.open(image)
        var failures = 0
        for path in paths {
            do throws(CommandFailure) {
                try cat(path.bytes, volume)
            } catch {
                guard let message = error.message else { throw error }
                Complaint.write(message)
                failures += 1
            }
        }
        if failures > 0 { throw CommandFailure(quiet: EXIT_FAILURE) }
    }

    private func cat(_ path: [UInt8], _ volume: Volume) throws(CommandFailure) {
        let inode = try options.inode(path, in: volume, of: image)
        guard inode.type == .regular else {
            let error: Ext4Error = inode.isDirectory ? .isDirectory : .invalidArgument
            if error == .isDirectory { throw CommandFailure(error, image: image, path: path) }
            throw CommandFailure(
                "\(Quoted(image.utf8)): \(Quoted(path)): a \(inode.type.words) has no contents")
        }
        var buffer = [UInt8](repeating: 0, count: 1 << 20)
        var output = Output()
        var position: UInt64 = 0
        while position < inode.size {
            let count: Int
            do throws(Ext4Error) {
                count = try volume.read(
                    inode, at: position, count: buffer.count, into: &buffer)
            } catch {
                try output.flush()
                throw CommandFailure(error, image: image, path: path)
            }
            guard count > 0 else { break }
            try output.write(buffer, count: count)
            position += UInt64(count)
        }
        try output.flush()
    }
}
