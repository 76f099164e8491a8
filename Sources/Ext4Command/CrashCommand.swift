internal import ArgumentParser
internal import Ext4Verify
internal import Glibc

/// `ext4 crash`: crashes a volume in every way that a device allows, and looks what is left.
struct CrashCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "crash",
        abstract: "Crash volumes at every request, and judge what recovery makes of each state.",
        discussion: """
            Workloads are run on small volumes in memory, made by mke2fs, and every write and \
            flush is recorded. A crash may then come behind any request, and of what was not \
            flushed each 512-byte sector may have arrived or not, in any of its versions. Each \
            such state is mounted, which recovers it, and judged:

              * names, attributes and sizes are what they were after some operation, and not \
            before the last one that fsync, fdatasync or sync promised;
              * contents are those of that moment, or what was being written in place; what free \
            blocks held before is never seen;
              * the volume is consistent: every bitmap, counter and link count, and e2fsck -fn \
            finds nothing (one state in 8);
              * our replay writes the same bytes as e2fsck's, what e2fsck recovers passes too, a \
            crash during recovery changes nothing, and the volume can be used afterwards (shares \
            of the states).

            Without a journal only this is asked: that e2fsck can repair the volume.

            The workloads are single operations, pairs and triples of them, and long mixes. A \
            failure prints its operations, made as few as will do, and a seed that --replay shows \
            again. The kinds of volumes are ordered, journal, writeback (the modes of data), tight \
            (nearly full), orphan-file, inline, values (in inodes), ext3, ext3-journal, 4k and \
            no-journal.

            EXAMPLES
              ext4 crash
              ext4 crash --pairs 500 --mixes 20 --seed 7
              ext4 crash --kind ext3 --all-pairs --seconds 3600
              ext4 crash --replay ordered:12.90@57.4 --save-image state.img

            EXIT STATUS
              0 when nothing is wrong, 1 when something is or the run could not be made.
            """)

    @Option(
        name: .customLong("kind"),
        help: ArgumentHelp("Only that kind of volume; may be given again.", valueName: "kind"))
    var kinds: [String] = []

    @Option(
        help: ArgumentHelp(
            "Single operations with so many of the 5 ways to make them durable.",
            valueName: "count"))
    var ways = 1

    @Option(help: ArgumentHelp("So many pairs of operations.", valueName: "count"))
    var pairs = 200

    @Flag(help: "All pairs of operations, on each kind of volume: for a night.")
    var allPairs = false

    @Option(help: ArgumentHelp("So many triples.", valueName: "count"))
    var triples = 50

    @Option(help: ArgumentHelp("So many long mixes.", valueName: "count"))
    var mixes = 11

    @Option(help: ArgumentHelp("Operations of a mix.", valueName: "count"))
    var length = 60

    @Option(help: ArgumentHelp("What the choices by chance depend on.", valueName: "number"))
    var seed: UInt64 = 1

    @Option(help: ArgumentHelp("End after so many seconds.", valueName: "count"))
    var seconds: Double?

    @Option(help: ArgumentHelp("End after so many states.", valueName: "count"))
    var states: Int?

    @Option(
        help: ArgumentHelp("Fail when there were fewer states than that.", valueName: "count"))
    var atLeast: Int?

    @Option(help: ArgumentHelp("Threads; as many as processors.", valueName: "count"))
    var jobs: Int?

    @Option(
        help: ArgumentHelp("Show the state of a seed that a failure printed.", valueName: "seed"))
    var replay: String?

    @Option(
        help: ArgumentHelp(
            "With --replay: write the state, as the crash left it, to a file.", valueName: "file"))
    var saveImage: String?

    @Flag(help: "Write the report as JSON.")
    var json = false

    func validate() throws {
        for kind in kinds where CrashVolume.named(kind) == nil {
            throw ValidationError("there is no kind of volume '\(kind)'")
        }
        guard [ways, pairs, triples, mixes, length].allSatisfy({ $0 >= 0 }), jobs ?? 1 > 0 else {
            throw ValidationError("a count must not be negative")
        }
        if let replay, CrashSeed(replay) == nil {
            throw ValidationError("'\(replay)' is no seed")
        }
        if saveImage != nil, replay == nil {
            throw ValidationError("--save-image needs --replay")
        }
    }

    func run() throws {
        do {
            if let replay, let seed = CrashSeed(replay) {
                try show(seed)
            } else {
                try explore()
            }
        } catch let failure as CrashFailure {
            throw CommandFailure(failure.description)
        }
    }

    // MARK: Exploring

    private func explore() throws {
        Interruption.watch()
        var plan = CrashPlan()
        if !kinds.isEmpty { plan.volumes = kinds.compactMap(CrashVolume.named) }
        plan.seed = seed
        plan.ways = ways
        plan.pairs = allPairs ? nil : pairs
        plan.triples = triples
        plan.mixes = mixes
        plan.mixLength = length
        var limits = CrashExplorer.Limits()
        limits.states = states
        limits.seconds = seconds
        limits.threads = jobs
        let explorer = try CrashExplorer(plan.volumes)
        let progress = CrashProgress()
        var report = try explorer.run(plan.workloads(), limits: limits) { report in
            progress.show(report)
            return !Interruption.isThere
        }
        var shrunk: [String: CrashFinding] = [:]
        for finding in report.findings where !Interruption.isThere {
            let smaller = try explorer.shrink(finding)
            shrunk[smaller.seed.description] = smaller
        }
        if !Interruption.isThere {
            report.findings = shrunk.values.sorted { $0.seed.description < $1.seed.description }
        }
        ProgressLine.clear()
        var output = Output()
        if json {
            try output.write(try CrashText.json(report, explorer).text)
        } else {
            for line in try CrashText.lines(report, explorer) { try output.line(line) }
        }
        try output.flush()
        if let signal = Interruption.signal { throw CommandFailure(quiet: 128 + signal) }
        if let atLeast, report.findings.isEmpty, report.counts.states < atLeast {
            throw CommandFailure(
                "\(report.counts.states) states, which is less than \(atLeast)")
        }
        if !report.findings.isEmpty { throw CommandFailure(quiet: EXIT_FAILURE) }
    }

    // MARK: One state

    private func show(_ seed: CrashSeed) throws {
        let kind = CrashVolume.named(seed.workload.volume).map { [$0] } ?? []
        let replay = try CrashExplorer(kind).replay(seed)
        var output = Output()
        if json {
            try output.write(CrashText.json(replay).text)
        } else {
            for line in CrashText.lines(replay) { try output.line(line) }
        }
        if let saveImage {
            guard let device = replay.device else {
                throw CommandFailure("the seed names no state to save")
            }
            try device.save(to: saveImage)
            if !json { try output.line("saved as \(saveImage)") }
        }
        try output.flush()
        if replay.complaint != nil { throw CommandFailure(quiet: EXIT_FAILURE) }
    }
}

/// How far the explorer is, on the terminal.
private final class CrashProgress: @unchecked Sendable {
    // Told by one thread only.
    private var line = ProgressLine("tried")

    func show(_ report: CrashReport) {
        line.show(
            "\(report.counts.states) states, \(report.counts.workloads) of \(report.planned) "
                + "workloads, \(report.findings.count) failures")
    }
}
