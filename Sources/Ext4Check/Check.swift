public import Ext4
internal import Synchronization

// The order of a check:
//
//   1. superblock, descriptors: what everything else is found by;
//   2. journal, multi-mount protection, the volume's own inodes;
//   3. all inodes, by groups and on all processors: maps, attributes; claims of blocks;
//   4. who shares a block that nobody may share;
//   5. all directories, on all processors: entries, indexes, names counted;
//   6. connectivity, link counts;
//   7. bitmaps and counters, by groups and on all processors; quota.
//
// Nothing is ever written, and nothing that a disk holds ends a check, but for a superblock that
// cannot be calculated with. What a damaged structure leads to is left out; what it hides comes to
// light once it is repaired.

/// A check of a volume.
public enum Check {
    /// Checks the volume on `device`, which nobody may write to meanwhile.
    ///
    /// - Throws: `Ext4Error.corrupt` when there is no superblock to go by, `.unsupported` for
    ///   features that this engine does not know, `.io` when the device fails, `.noSpace` when
    ///   there is not enough memory.
    public static func run(
        _ device: any BlockDevice, options: CheckOptions = .init()
    ) throws(Ext4Error) -> CheckResult {
        let start = try SuperblockPass.find(on: device, options)
        let state = try CheckState(start.volume, options)
        for finding in start.findings { state.report(finding) }
        guard start.isUsable else { return CheckResult(state) }
        let workers = Workers(options)
        try DescriptorPass(state).run()
        try BackupPass(state).run()
        try JournalPass(state).run()
        try InodePass(state: state, workers: workers).run()
        try ClaimPass(state: state, workers: workers).run()
        try DirectoryPass(state: state, workers: workers).run()
        try ConnectivityPass(state).run()
        try TotalsPass(state: state, workers: workers).run()
        try QuotaPass(state: state).run()
        return CheckResult(state)
    }
}

/// A report, and what was gathered for it.
public struct CheckResult: Sendable {
    /// What the check came to.
    public let report: CheckReport
    /// What the passes gathered.
    package let state: CheckState

    init(_ state: CheckState) {
        let (findings, omitted) = state.log.sorted()
        report = CheckReport(
            findings: findings, omitted: omitted,
            statistics: state.gathered.withLock { $0.statistics })
        self.state = state
    }
}

extension CheckResult {
    /// Only how the bitmaps on the disk differ from those of what is reachable.
    public var bitmapDifferences: CheckReport {
        let rules: Set<CheckRule> = [
            .bitmapBlocks, .bitmapInodes, .bitmapBlockPadding, .bitmapInodePadding,
            .groupUninitialised,
        ]
        return CheckReport(
            findings: report.findings.filter { rules.contains($0.rule) },
            omitted: report.omitted, statistics: report.statistics)
    }
}
