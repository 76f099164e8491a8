package import Ext4

/// Repairs a volume: in rounds, each a whole check, of which the findings of the first stage that
/// has any are put right.
///
/// The rounds work on a view of the device (`RepairOverlay`); the device itself is written only
/// when a check finds nothing more, in an order that a cut at any place leaves repairable.
package enum Repairer {
    /// After so many rounds what is left stays: no damage needs nearly as many.
    private static let maximumRounds = 120

    /// Repairs the volume on `device`.
    ///
    /// - Parameters:
    ///   - takesOver: whether a volume is repaired of which multi-mount protection says that a
    ///     machine has it open: who asks for that knows that none has.
    ///   - tell: is told what is done.
    /// - Throws: what `Check.run` throws, `.busy` for a volume that is in use, and `.io` when the
    ///   device fails.
    package static func repair(
        _ device: any BlockDevice, options: CheckOptions = .init(), mode: RepairMode = .all,
        takesOver: Bool = true, tell: (RepairEvent) -> Void = { _ in }
    ) throws(Ext4Error) -> RepairReport {
        guard !device.isReadOnly else { throw .readOnlyVolume }
        var report = RepairReport()
        if (try? Volume.replayJournal(on: device)) != nil {
            report.hasReplayed = true
            tell(.replayed)
        }
        let overlay = RepairOverlay(over: device)
        var memory = RepairMemory()
        var options = options
        var before: CheckState?
        var stalled = 0
        while report.rounds < maximumRounds {
            report.rounds += 1
            tell(.round(report.rounds))
            let result = try Check.run(overlay, options: options)
            if before == nil { before = result.state }
            report.left = result.report.findings
            if !takesOver, report.left.contains(where: { $0.rule == .mmpInUse }) { throw .busy }
            let findings = result.report.findings.filter { !memory.isHopeless($0) }
            guard let stage = findings.first?.rule.stage else { break }
            if mode == .preen, !result.report.isSafe { break }
            // From now on the primary superblock is the one that is being repaired.
            if stage > .superblock { options.superblock = .automatic }
            let batch = findings.filter { $0.rule.stage == stage }
            let round = RepairRound(overlay, result.state, now: options.now)
            let changedBefore = overlay.changes
            for finding in batch where !round.isSettled(finding) {
                try round.apply(
                    finding, attempt: memory.attempt(finding, round: report.rounds),
                    batch: batch)
            }
            try round.finish()
            for finding in batch {
                tell(.repairing(finding))
                report.repaired.append(finding)
            }
            // What several attempts do not change is no reason to go on.
            stalled = overlay.changes == changedBefore ? stalled + 1 : 0
            if stalled > 5 {
                memory.giveUp(batch)
                stalled = 0
            }
        }
        guard overlay.changedBytes > 0 else { return report }
        report.writtenBytes = overlay.changedBytes
        tell(.writing(report.writtenBytes))
        try overlay.writeOut { byteOffset in
            guard let before else { return false }
            let block = byteOffset >> UInt64(before.volume.superblock.blockSizeLog2)
            return !before.blocks.isClaimed(BlockNumber(block))
        }
        return report
    }
}

/// What a repair remembers from round to round, so that it comes to an end.
struct RepairMemory {
    private struct Key: Hashable {
        let rule: CheckRule
        let inode: InodeNumber?
        let group: GroupNumber?
    }

    private var attempts: [Key: (count: Int, round: Int)] = [:]
    private var hopeless: Set<Key> = []
    /// After so many attempts a finding stays.
    private static let maximumAttempts = 12

    private func key(_ finding: Finding) -> Key {
        Key(rule: finding.rule, inode: finding.place.inode, group: finding.place.group)
    }

    /// Whether nothing more is tried.
    func isHopeless(_ finding: Finding) -> Bool { hopeless.contains(key(finding)) }

    /// In how many rounds before this one the like was tried.
    mutating func attempt(_ finding: Finding, round: Int) -> Int {
        let key = key(finding)
        let known = attempts[key, default: (0, round)]
        let count = known.round == round ? known.count : known.count + 1
        attempts[key] = (count, round)
        if count >= Self.maximumAttempts { hopeless.insert(key) }
        return count
    }

    mutating func giveUp(_ findings: [Finding]) {
        for finding in findings { hopeless.insert(key(finding)) }
    }
}
