internal import ArgumentParser
internal import Ext4
internal import Ext4Check
internal import Ext4Host
internal import Glibc
internal import Synchronization

/// `ext4 fsck`: holds a volume to the rules of the format.
struct FsckCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "fsck",
        abstract: "Check a volume, and repair it.",
        discussion: """
            Looks at everything that the format has a rule for: superblock and descriptors, \
            journal, inodes and their maps, attributes, directories and their indexes, links, \
            bitmaps and counters. Each finding has an identifier, which docs/CHECK.md explains, \
            the place, what must hold, and what puts it right. Notes are about copies and marks \
            that are out of date: they do not make a volume unclean.

            A volume that was unmounted cleanly, and whose next check is not due, is left alone \
            unless -f is given. Nothing is ever written with -n, and a journal that was not \
            replayed is left out: the volume is looked at as it lies.

            -p puts right what loses nothing and needs no decision, and leaves the volume as it \
            is when there is more. -y puts everything right. Both replay the journal first. \
            A repair is worked out in memory and written when a check finds nothing more; cut \
            off while it is written, it can be done again.

            EXAMPLES
              ext4 fsck -fn disk.img
              ext4 fsck -fn --json disk.img | jq -r '.findings[].id'
              ext4 fsck -n --bitmaps disk.img
              ext4 fsck -fy disk.img

            EXIT STATUS
              0   nothing is damaged
              1   what was damaged is repaired
              2   the same, on a device that is mounted: the system should be restarted
              4   something is damaged, and was left so
              8   the check could not be made
              16  the command was not used as it should be
              32  the check was broken off
            """)

    /// Those of fsck(8).
    enum Status {
        static let clean: Int32 = 0
        static let repaired: Int32 = 1
        static let damaged: Int32 = 4
        static let failed: Int32 = 8
        static let usage: Int32 = 16
        static let cancelled: Int32 = 32
    }

    @Argument(help: "The image file or block device.")
    var image: String

    @Flag(name: .customShort("n"), help: "Only look. This is also what happens without it.")
    var looksOnly = false

    @Flag(
        name: [.customShort("p"), .customShort("a")],
        help: "Put right what loses nothing and needs no decision.")
    var preens = false

    @Flag(name: .customShort("y"), help: "Put everything right.")
    var repairs = false

    @Flag(name: .customShort("f"), help: "Check a volume that is marked as clean, too.")
    var force = false

    @Option(
        name: [.customShort("b"), .customLong("sb")],
        help: ArgumentHelp("Go by the superblock at this block of the volume.", valueName: "block"))
    var superblock: UInt64?

    @Flag(help: "Write an object.")
    var json = false

    @Flag(help: "Show only how the bitmaps differ from what is reachable.")
    var bitmaps = false

    @Option(
        help: ArgumentHelp(
            "How many threads work; one a processor when it is not given.", valueName: "count"))
    var threads = 0

    /// What is repaired; nil for nothing.
    private var mode: RepairMode? { repairs ? .all : preens ? .preen : nil }

    func validate() throws {
        let given = [looksOnly, preens, repairs].filter { $0 }.count
        guard given <= 1 else {
            throw ValidationError("Only one of -n, -p and -y can be given.")
        }
        if mode != nil, bitmaps {
            throw ValidationError("--bitmaps only looks: leave out -p and -y.")
        }
    }

    func run() throws {
        let device: FileDevice
        do throws(Ext4Error) {
            device = try FileDevice(path: image, access: mode == nil ? .readOnly : .readWrite)
        } catch {
            throw Self.failure(CommandFailure(opening: image, error))
        }
        var output = Output()
        if !force, superblock == nil, !bitmaps, let summary = CleanSummary(device) {
            try output.write(
                json
                    ? FindingText.skipped(image, summary).text
                    : "\(Quoted(image.utf8)): \(summary.text)\n")
            try output.flush()
            return
        }
        Interruption.watch()
        if let mode {
            try repair(device, mode, &output)
            return
        }
        let result = try check(device)
        ProgressLine.clear()
        if Interruption.signal != nil {
            throw CommandFailure("interrupted", status: Status.cancelled)
        }
        let report = bitmaps ? result.bitmapDifferences : result.report
        let status = report.isClean ? Status.clean : Status.damaged
        if json {
            try output.write(FindingText.object(report, image: image, status: status).text)
        } else {
            for finding in report.findings {
                for line in FindingText.lines(of: finding) { try output.line(line) }
            }
            try output.line("\(Quoted(image.utf8)): \(FindingText.summary(of: report))")
        }
        try output.flush()
        guard status == Status.clean else { throw CommandFailure(quiet: status) }
    }

    /// Repairs the volume, and tells what was done and what is left.
    private func repair(
        _ device: FileDevice, _ mode: RepairMode, _ output: inout Output
    ) throws {
        let report: RepairReport
        do throws(Ext4Error) {
            report = try Repairer.repair(
                device, options: options, mode: mode, takesOver: force)
        } catch {
            ProgressLine.clear()
            if Interruption.signal != nil {
                throw CommandFailure("interrupted", status: Status.cancelled)
            }
            throw Self.failure(CommandFailure(opening: image, error))
        }
        ProgressLine.clear()
        let status =
            !report.isClean ? Status.damaged : report.hasChanged ? Status.repaired : Status.clean
        if json {
            try output.write(FindingText.object(report, image: image, status: status).text)
        } else {
            if report.hasReplayed { try output.line("the journal was replayed") }
            for finding in report.repaired {
                for line in FindingText.lines(of: finding) { try output.line(line) }
            }
            for finding in report.left where finding.rule.severity == .error {
                for line in FindingText.lines(of: finding) { try output.line("LEFT: " + line) }
            }
            let words =
                report.isClean
                ? report.hasChanged ? "repaired" : "clean" : "damaged, and left so"
            try output.line(
                "\(Quoted(image.utf8)): \(words) (\(report.repaired.count) repairs,"
                    + " \(report.rounds) checks, \(report.writtenBytes) bytes written)")
        }
        try output.flush()
        guard status == Status.clean else { throw CommandFailure(quiet: status) }
    }

    /// The options of the check itself.
    var options: CheckOptions {
        var options = CheckOptions()
        if let superblock {
            options.superblock = .backup(atBlock: BlockNumber(superblock), blockSize: nil)
        }
        options.threads = threads
        options.now = Timestamp.now
        let line = CheckProgressLine()
        options.progress = { line.show($0) }
        options.isCancelled = { Interruption.signal != nil }
        return options
    }

    private func check(_ device: FileDevice) throws(CommandFailure) -> CheckResult {
        do throws(Ext4Error) {
            return try Check.run(device, options: options)
        } catch {
            ProgressLine.clear()
            throw Self.failure(CommandFailure(opening: image, error))
        }
    }

    /// The same failure with the status that fsck(8) has for it.
    static func failure(_ failure: CommandFailure) -> CommandFailure {
        CommandFailure(failure.message ?? "", status: Status.failed)
    }
}

/// The progress of a check, which several threads tell of.
final class CheckProgressLine: Sendable {
    private let line = Mutex(ProgressLine("checking"))

    func show(_ progress: CheckProgress) {
        line.withLock {
            $0.show("\(progress.stage)", done: progress.done, total: progress.total)
        }
    }
}

/// What is said of a volume that needs no check.
struct CleanSummary {
    let superblock: Superblock

    /// Nil for a volume that is to be checked: it was not unmounted cleanly, had errors, or its
    /// next check is due.
    init?(_ device: FileDevice) {
        var options = OpenOptions()
        options.superblock = .primary
        options.journal = .ignore
        guard let volume = try? Volume.open(device, options: options) else { return nil }
        superblock = volume.superblock
        let valid: UInt16 = 1
        guard superblock.state == valid, !superblock.incompatible.contains(.recover),
            superblock.errorCount == 0, superblock.lastOrphan.rawValue == 0,
            !superblock.readOnlyCompatible.contains(.orphanPresent)
        else { return nil }
        let limit = Int16(bitPattern: superblock.maximumMountCount)
        if limit > 0, superblock.mountCount >= superblock.maximumMountCount { return nil }
        if superblock.checkInterval > 0 {
            let next = superblock.lastCheckTime.seconds + Int64(superblock.checkInterval)
            if Timestamp.now.seconds >= next { return nil }
        }
    }

    var text: String {
        let inodes =
            superblock.inodesCount - min(superblock.freeInodesCount, superblock.inodesCount)
        let blocks =
            superblock.blocksCount - min(superblock.freeBlocksCount, superblock.blocksCount)
        return "clean, \(inodes)/\(superblock.inodesCount) files,"
            + " \(blocks)/\(superblock.blocksCount) blocks"
    }
}
