internal import Ext4Verify

/// What the explorer found, for people and for programs.
enum CrashText {
    static func lines(
        _ report: CrashReport, _ explorer: CrashExplorer
    ) throws(CrashFailure) -> [String] {
        var lines: [String] = []
        for finding in report.findings {
            lines += Self.lines(try explorer.replay(finding.seed))
            lines += ["  \(finding.complaint)", ""]
        }
        let counts = report.counts
        let tenths = Int((report.seconds * 10).rounded())
        lines.append(
            "\(counts.states) states of \(counts.workloads) workloads in "
                + "\(tenths / 10).\(tenths % 10) s; \(counts.duplicates) more were the same")
        lines.append(
            "of these \(counts.recoveryStates) second crashes, \(counts.checks) seen by e2fsck -fn, "
                + "\(counts.replays) replays compared, \(counts.foreignRecoveries) recovered by "
                + "e2fsck, \(counts.afterlives) used afterwards")
        let count = report.findings.count
        lines.append(count == 0 ? "nothing is wrong" : "\(count) failure\(count == 1 ? "" : "s")")
        return lines
    }

    static func lines(_ replay: CrashReplay) -> [String] {
        var lines = ["seed \(replay.seed)"]
        lines += replay.operations.map { "  " + $0 }
        lines += replay.cut.split(separator: "\n").map { "  " + $0 }
        let most = 16
        lines += replay.sectors.prefix(most).map { "    " + $0 }
        if replay.sectors.count > most {
            lines.append("    and \(replay.sectors.count - most) more sectors")
        }
        lines.append("  " + (replay.complaint.map { "WRONG: \($0)" } ?? "nothing is wrong"))
        return lines
    }

    static func json(
        _ report: CrashReport, _ explorer: CrashExplorer
    ) throws(CrashFailure) -> JSONText {
        var findings: [JSONText] = []
        for finding in report.findings {
            findings.append(
                .object([
                    ("seed", .string(finding.seed.description)),
                    ("complaint", .string(finding.complaint)),
                    ("replay", json(try explorer.replay(finding.seed))),
                ]))
        }
        let counts = report.counts
        return .object([
            ("states", .number(counts.states)), ("workloads", .number(counts.workloads)),
            ("plannedWorkloads", .number(report.planned)),
            ("duplicates", .number(counts.duplicates)),
            ("secondCrashes", .number(counts.recoveryStates)),
            ("checks", .number(counts.checks)), ("replaysCompared", .number(counts.replays)),
            ("recoveredByE2fsck", .number(counts.foreignRecoveries)),
            ("usedAfterwards", .number(counts.afterlives)),
            ("milliseconds", .number(Int(report.seconds * 1000))),
            ("failures", .array(findings)),
        ])
    }

    static func json(_ replay: CrashReplay) -> JSONText {
        .object([
            ("seed", .string(replay.seed.description)),
            ("operations", .array(replay.operations.map { .string($0) })),
            ("cut", .string(replay.cut)),
            ("oldSectors", .array(replay.sectors.map { .string($0) })),
            ("complaint", replay.complaint.map { .string($0) } ?? .null),
        ])
    }
}
