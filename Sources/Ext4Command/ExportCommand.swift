internal import ArgumentParser
internal import Ext4
internal import Ext4Host
internal import Glibc

/// `ext4 export`: a tree of a volume as a tar archive.
struct ExportCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "export",
        abstract: "Write a tree of a volume as a tar archive.",
        discussion: """
            The archive is PAX, which GNU tar, bsdtar and every container tool read. It has long \
            names and names that are not UTF-8, hard links, devices, times to the nanosecond, \
            sparse files, and extended attributes and ACLs (as SCHILY.xattr.*; GNU tar extracts \
            them with --xattrs --xattrs-include='*'). Sockets have no place in it and are left \
            out.

            With a directory as PATH, names are relative to it, and itself is ./ in the archive. \
            Without PATH it is the root directory.

            A name of the output file that ends in .gz, .tgz, .xz or .zst has it compressed.

            EXAMPLES
              ext4 export disk.img -o disk.tar.zst
              ext4 export disk.img /srv/www -o - | tar -tv
              ext4 export rootfs.img -o - | docker import - rootfs

            EXIT STATUS
              0 when all is in the archive, 1 when anything is not: standard error names it.
            """)

    @Argument(help: "The image file or block device.")
    var image: String

    @Argument(help: "The file or directory in the volume.")
    var path = PathArgument([0x2F])

    @Option(
        name: .shortAndLong,
        help: ArgumentHelp("The archive; - is standard output.", valueName: "file"))
    var output: PathArgument

    @Option(help: "The compression: none, gzip, xz or zstd. By default the file's name says it.")
    var compress: Compression?

    enum Compression: String, CaseIterable, ExpressibleByArgument {
        case none
        case gzip
        case xz
        case zstd
    }

    @OptionGroup var options: ImageOptions

    func run() throws {
        let isStandard = output.bytes == [0x2D]
        if isStandard, isatty(STDOUT_FILENO) == 1 {
            throw CommandFailure(
                "an archive is not written to a terminal; give a file with -o, or a pipe")
        }
        let volume = try options.open(image)
        let inode = try options.inode(path.bytes, in: volume, of: image)
        let name = GetCommand.name(of: path.bytes) ?? []
        let descriptor = try isStandard ? STDOUT_FILENO : create()
        defer { if !isStandard { close(descriptor) } }

        var progress = ProgressLine("exported")
        let compression =
            compress.flatMap { TreeExport.Compression(rawValue: $0.rawValue) }
            ?? .init(fileName: String(decoding: output.bytes, as: UTF8.self))
        let problems: UInt64
        do throws(TreeExport.Failure) {
            let export = try TreeExport(volume, to: descriptor, compression: compression) {
                Transfer.tell($0, image: image, source: path.bytes, &progress)
            }
            try export.export(inode, as: name)
            problems = export.problems
        } catch {
            throw CommandFailure("cannot write \(shownOutput): \(error)")
        }
        ProgressLine.clear()
        if problems > 0 { throw Transfer.failure(problems, image: image) }
    }

    private var shownOutput: String {
        output.bytes == [0x2D] ? "standard output" : Quoted(output.bytes).description
    }

    private func create() throws(CommandFailure) -> Int32 {
        let cPath = output.bytes.map { CChar(bitPattern: $0) } + [0]
        let descriptor = unsafe open(cPath, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o666)
        guard descriptor >= 0 else {
            throw CommandFailure("cannot create \(shownOutput): \(SystemFailure.words(for: errno))")
        }
        return descriptor
    }
}
