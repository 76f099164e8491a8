internal import ArgumentParser
internal import Ext4
internal import Ext4Host
internal import Glibc
internal import Synchronization

/// `ext4 trim`: gives a volume's free space back to what it is stored on.
struct TrimCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "trim",
        abstract: "Give free space back: smaller image files, discarded blocks of disks.",
        discussion: """
            Tells what the volume is stored on which blocks nobody uses, as fstrim(8) does for a \
            mounted one. An image file gets holes there, which take no room and read as zeros; a \
            block device discards them. What is discarded cannot be brought back, not by tools \
            that look for deleted files either.

            The volume is brought up to date with its journal first. A volume that has errors, or \
            a bitmap that cannot be trusted, is refused: nothing is discarded then. The volume \
            must not be mounted; for one that ext4 mount has mounted there is fstrim.

            SIZE, OFFSET and LENGTH are bytes, or with K, M, G or T behind them units of 1,024. \
            Free space counts each time, whether it was given back before or not.

            EXAMPLES
              ext4 trim disk.img
              ext4 trim -n disk.img
              ext4 trim --minimum 1M /dev/sdb1

            EXIT STATUS
              0 when the free space is given back, 1 otherwise.
            """)

    @Argument(help: "The image file or block device.")
    var image: String

    @Flag(name: [.customShort("n"), .customLong("dry-run")], help: "Only tell what would be done.")
    var looksOnly = false

    @Option(
        name: .shortAndLong,
        help: ArgumentHelp("Where in the volume to begin.", valueName: "offset"))
    var offset: ByteCountArgument?

    @Option(
        name: .shortAndLong,
        help: ArgumentHelp("How much of the volume to look at from there.", valueName: "length"))
    var length: ByteCountArgument?

    @Option(
        name: .shortAndLong,
        help: ArgumentHelp("Leave shorter runs of free blocks alone.", valueName: "size"))
    var minimum: ByteCountArgument?

    @Flag(help: "Write an object.")
    var json = false

    @OptionGroup var log: LogOptions

    func run() throws {
        Interruption.watch()
        let device: FileDevice
        do throws(Ext4Error) {
            device = try FileDevice(path: image, access: looksOnly ? .readOnly : .readWrite)
        } catch {
            throw CommandFailure(opening: image, error)
        }
        let before = device.storedByteCount
        let report = try trim(device)
        ProgressLine.clear()
        var output = Output()
        try output.write(text(of: report, before, device.storedByteCount))
        try output.flush()
        if let signal = Interruption.signal {
            throw CommandFailure("interrupted", status: 128 + signal)
        }
    }

    private func trim(_ device: FileDevice) throws(CommandFailure) -> TrimReport {
        var options = TrimOptions()
        options.byteOffset = offset?.count ?? 0
        options.byteCount = length?.count ?? .max
        options.minimumByteCount = minimum?.count ?? 0
        options.granule = device.discardGranule
        options.looksOnly = looksOnly
        options.isCancelled = { Interruption.isThere }
        let line = TrimProgressLine()
        options.progress = { line.show($0, of: $1) }
        do throws(Ext4Error) {
            let volume = try open(device, options)
            let report: TrimReport
            do throws(Ext4Error) {
                report = try volume.trim(options)
            } catch {
                try? volume.close()
                throw error
            }
            try volume.close()
            return report
        } catch {
            ProgressLine.clear()
            throw failure(error, device)
        }
    }

    /// Opens the volume, as the options want it.
    private func open(_ device: FileDevice, _ options: TrimOptions) throws(Ext4Error) -> Volume {
        var opening = OpenOptions()
        opening.superblock = .primary
        opening.log = Log(log.logger)
        let volume = try Volume.open(device, options: opening)
        // What is refused is refused before the journal is replayed.
        try volume.checkTrim(options)
        if looksOnly { return volume }
        opening.access = .readWrite
        opening.clock = { Timestamp.now }
        return try Volume.open(device, options: opening)
    }

    private func failure(_ error: Ext4Error, _ device: FileDevice) -> CommandFailure {
        let place = Quoted(image.utf8)
        switch error {
        case .busy: return .protected(image)
        case .notSupported:
            return CommandFailure(
                device.isBlockDevice
                    ? "\(place): the device cannot discard blocks"
                    : "\(place): the file system that the image is on cannot make holes in files")
        case .invalidArgument:
            return CommandFailure("\(place): the volume has no block in that range")
        case .corrupt(let corruption) where corruption.structure == .superblock:
            if case .field("s_state", _, _) = corruption.rule {
                return CommandFailure(
                    "\(place): the volume has errors or was not unmounted cleanly; "
                        + "run ext4 fsck -fy on it first")
            }
            return CommandFailure(opening: image, error)
        case .corrupt(let corruption):
            return CommandFailure("\(place): \(corruption); run ext4 fsck -fy on it first")
        default: return CommandFailure(opening: image, error)
        }
    }

    private func text(of report: TrimReport, _ before: UInt64?, _ after: UInt64?) -> String {
        if json {
            var members: [(String, JSONText)] = [
                ("image", .string(image)), ("trimmedBytes", .number(report.byteCount)),
                ("ranges", .number(report.rangeCount)),
                ("done", .bool(!looksOnly && !report.isCancelled)),
            ]
            if let before, let after {
                members.append(("storedBytesBefore", .number(before)))
                members.append(("storedBytes", .number(after)))
            }
            return JSONText.object(members).text
        }
        var text =
            "\(Quoted(image.utf8)): \(ProgressLine.amount(Double(report.byteCount)))"
            + " (\(report.byteCount) bytes) \(looksOnly ? "would be " : "")trimmed"
        if !looksOnly, let before, let after {
            text +=
                "; the file takes \(ProgressLine.amount(Double(after))),"
                + " before it was \(ProgressLine.amount(Double(before)))"
        }
        return text + "\n"
    }
}

/// A number of bytes, perhaps with a unit behind it.
struct ByteCountArgument: ExpressibleByArgument {
    let count: UInt64

    init?(argument: String) {
        // Not set against anything, so no sign.
        guard let first = argument.first, ("0"..."9").contains(first),
            let count = SizeArgument(argument: argument)?.applied(to: 0)
        else { return nil }
        self.count = count
    }
}

/// The line that shows how far a trim is.
private final class TrimProgressLine: Sendable {
    private let line = Mutex(ProgressLine("trim"))

    func show(_ done: UInt64, of total: UInt64) {
        line.withLock { $0.show("free space", done: done, total: total) }
    }
}
