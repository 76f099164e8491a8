internal import Ext4
internal import Ext4Check

/// What was looked at.
package struct CrashCounts: Sendable {
    /// Workloads that were run.
    package var workloads = 0
    /// States of the device that were mounted and judged.
    package var states = 0
    /// Of these, how many are crashes while another one was being recovered from.
    package var recoveryStates = 0
    /// States that were the same as one before.
    package var duplicates = 0
    /// States that e2fsck was asked about after our recovery.
    package var checks = 0
    /// States whose replay was compared with e2fsck's, byte by byte.
    package var replays = 0
    /// States that e2fsck recovered instead of us.
    package var foreignRecoveries = 0
    /// States that were worked on afterwards.
    package var afterlives = 0

    /// Nothing yet.
    package init() {}

    /// Adds what another one counted.
    package mutating func add(_ other: CrashCounts) {
        workloads += other.workloads
        states += other.states
        recoveryStates += other.recoveryStates
        duplicates += other.duplicates
        checks += other.checks
        replays += other.replays
        foreignRecoveries += other.foreignRecoveries
        afterlives += other.afterlives
    }
}

/// How many states, one in so many, are judged by what takes long; 0 for none.
package struct CrashShares: Sendable {
    /// `e2fsck -fn` on what our recovery made.
    package var check = 8
    /// Our replay against `e2fsck -E journal_only`.
    package var replay = 64
    /// `e2fsck -fy` recovers, and the oracle judges that.
    package var foreignRecovery = 64
    /// Everything is removed, something is made, and the volume is checked again.
    package var afterlife = 16
    /// A second crash while the first one is recovered from.
    package var recovery = 64
    /// Of volumes without a journal, `e2fsck -fy` and then `-fn`.
    package var repair = 4

    /// The defaults.
    package init() {}

    /// Everything, for one state that is looked at closely.
    package static let all: CrashShares = {
        var shares = CrashShares()
        shares.check = 1
        shares.replay = 1
        shares.foreignRecovery = 1
        shares.afterlife = 1
        shares.recovery = 1
        shares.repair = 1
        return shares
    }()
}

/// Judges the states that one workload may leave. Every thread has its own.
final class CrashJudge {
    let volume: CrashVolume
    let image: DeviceImage
    var shares: CrashShares
    private(set) var counts = CrashCounts()
    private let ownClusters: UInt64?
    private let options: OpenOptions
    private let scratch: ScratchFile
    /// What is in that file, when that is known.
    private var saved: DeviceImage?
    private let output: ScratchFile

    init(_ volume: CrashVolume, _ image: DeviceImage, _ shares: CrashShares) throws(CrashFailure) {
        self.volume = volume
        self.image = image
        self.shares = shares
        options = volume.openOptions(.afterwards())
        scratch = try ScratchFile()
        try scratch.resize(image.byteCount)
        output = try ScratchFile()
        let audit = VolumeAudit(of: LayeredDevice(image), options: options)
        ownClusters = audit.ownClusters
        guard audit.complaints.isEmpty else {
            throw CrashFailure("\(volume.name): \(audit.complaints.joined(separator: "; "))")
        }
    }

    /// Gives back what was counted, and starts again.
    func takeCounts() -> CrashCounts {
        defer { counts = CrashCounts() }
        return counts
    }

    func count(_ body: (inout CrashCounts) -> Void) { body(&counts) }

    private func isChosen(_ key: UInt64, _ purpose: UInt64, _ share: Int) -> Bool {
        share > 0 && SeededRandom.mix(key, purpose) % UInt64(share) == 0
    }

    /// What is wrong with what `make` gives, a state that a crash leaves; nil for nothing.
    ///
    /// - Parameter key: chooses which of the longer examinations are made.
    func complaint(
        about make: () -> LayeredDevice, _ oracle: CrashOracle, _ window: CrashWindow,
        key: UInt64
    ) throws(CrashFailure) -> String? {
        counts.states += 1
        guard volume.hasJournal else {
            return isChosen(key, 6, shares.repair) ? try repairComplaint(make()) : nil
        }
        let device = make()
        if let complaint = recoveryComplaint(device, oracle, window) { return complaint }
        if isChosen(key, 1, shares.check) {
            counts.checks += 1
            if let complaint = try checkComplaint(device) { return complaint }
        }
        if isChosen(key, 2, shares.afterlife) {
            counts.afterlives += 1
            if let complaint = afterlifeComplaint(device) { return complaint }
        }
        if isChosen(key, 3, shares.replay), let complaint = try replayComplaint(make) {
            return complaint
        }
        if isChosen(key, 4, shares.foreignRecovery) {
            return try foreignComplaint(make(), oracle, window)
        }
        return nil
    }

    /// Whether a second crash is tried for that state.
    func triesRecovery(_ key: UInt64) -> Bool {
        volume.hasJournal && isChosen(key, 5, shares.recovery)
    }

    /// Mounts `device`, judges what it shows, and closes it.
    func recoveryComplaint(
        _ device: LayeredDevice, _ oracle: CrashOracle, _ window: CrashWindow
    ) -> String? {
        do throws(Ext4Error) {
            let volume = try Volume.open(device, options: options)
            let found = try TreeSnapshot(volume)
            if let complaint = oracle.complaint(about: found, window) { return complaint }
            try volume.close()
        } catch {
            return "recovery: \(error)"
        }
        let audit = VolumeAudit(of: device, options: options, ownClusters: ownClusters)
        return audit.complaints.isEmpty
            ? nil : "inconsistent: " + audit.complaints.prefix(5).joined(separator: "; ")
    }

    /// What recovery and the close ask of the device, for a crash among it.
    func recordRecovery(_ device: LayeredDevice) -> [DeviceEvent] {
        let recorder = RecordingDevice(device)
        guard let volume = try? Volume.open(recorder, options: options) else { return [] }
        try? volume.close()
        return recorder.events
    }

    // MARK: e2fsck

    /// Runs e2fsck on `device`.
    private func runCheck(
        _ device: LayeredDevice, _ arguments: [String], isTalkative: Bool = false
    ) throws(CrashFailure) -> (status: Int32, output: String) {
        if let saved {
            try scratch.save(device, over: saved)
        } else {
            let all = device.flattened()
            try LayeredDevice(all).save(to: scratch.path)
            saved = all
        }
        let status = HostProgram.run(["e2fsck"] + arguments + [scratch.path], output: output.path)
        // Only with `-n` does the file stay as it is.
        if arguments != ["-fn"] { saved = nil }
        guard status >= 0, status != 127 else {
            throw CrashFailure("e2fsck does not start: error \(-status)")
        }
        return (status, status == 0 && !isTalkative ? "" : output.text)
    }

    /// What e2fsck and our own check have to say.
    private func checkComplaint(_ device: LayeredDevice) throws(CrashFailure) -> String? {
        let (status, text) = try runCheck(device, ["-fn"])
        guard status == 0 else { return "e2fsck -fn: \(status): \(Self.summary(text))" }
        do throws(Ext4Error) {
            let report = try Check.run(device, options: Self.checkOptions).report
            guard report.isClean else {
                let findings = report.findings.prefix(3).map(\.description)
                return "ext4 fsck -fn: \(findings.joined(separator: "; "))"
            }
            return nil
        } catch {
            return "ext4 fsck -fn: \(error)"
        }
    }

    private static let checkOptions: CheckOptions = {
        var options = CheckOptions()
        options.threads = 1
        return options
    }()

    /// Without a journal nothing is promised but that it can be repaired, by e2fsck and by us.
    private func repairComplaint(_ device: LayeredDevice) throws(CrashFailure) -> String? {
        counts.checks += 1
        let own = LayeredDevice(device.flattened())
        do throws(Ext4Error) {
            let report = try Repairer.repair(own, options: Self.checkOptions)
            guard report.isClean else {
                let left = report.left.prefix(3).map(\.description)
                return "ext4 fsck -fy: \(left.joined(separator: "; "))"
            }
        } catch {
            return "ext4 fsck -fy: \(error)"
        }
        if let complaint = try checkComplaint(own) { return "after our repair, \(complaint)" }
        let (status, text) = try runCheck(device, ["-fy"])
        guard status & ~3 == 0 else { return "e2fsck -fy: \(status): \(Self.summary(text))" }
        let repaired = LayeredDevice(try scratch.load())
        if let complaint = try checkComplaint(repaired) { return "after a repair, \(complaint)" }
        do throws(Ext4Error) {
            let volume = try Volume.open(repaired, options: options)
            _ = try TreeSnapshot(volume)
            try volume.close()
        } catch {
            return "after a repair: \(error)"
        }
        return nil
    }

    /// Whether the superblock is whole: e2fsck does not look into the journal where it is torn.
    private func hasSuperblock(_ device: LayeredDevice) -> Bool {
        var reading = options
        reading.access = .readOnly
        reading.journal = .ignore
        reading.superblock = .primary
        return (try? Volume.open(device, options: reading)) != nil
    }

    /// Whether there may be orphans once the journal is replayed: e2fsck frees them at once.
    private func mayHaveOrphans(_ device: LayeredDevice) -> Bool {
        var reading = options
        reading.access = .readOnly
        guard let superblock = try? Volume.open(device, options: reading).superblock else {
            return false
        }
        return superblock.lastOrphan.rawValue != 0
            || superblock.readOnlyCompatible.contains(.orphanPresent)
    }

    /// Our replay and e2fsck's must write the same bytes, but for the superblocks of the volume and
    /// of the journal.
    private func replayComplaint(_ make: () -> LayeredDevice) throws(CrashFailure) -> String? {
        let ours = make()
        guard hasSuperblock(ours), !mayHaveOrphans(ours) else { return nil }
        let (status, text) = try runCheck(
            ours, ["-y", "-E", "journal_only"], isTalkative: true)
        if text.contains("replay was aborted") { return "e2fsck gives up: \(Self.summary(text))" }
        guard status & ~1 == 0 else {
            return "e2fsck -E journal_only: \(status): \(Self.summary(text))"
        }
        counts.replays += 1
        let theirs = try scratch.load()
        do throws(Ext4Error) {
            _ = try Volume.replayJournal(on: ours, options: options)
        } catch {
            return "replay: \(error)"
        }
        let journal = journalPlace ?? 0
        for start in stride(from: 0, to: theirs.byteCount, by: 1024)
        where start != 1024 && start != journal {
            let part = start..<min(start + 1024, theirs.byteCount)
            if ours.bytes(part) != theirs.bytes(part) {
                return "replay: the bytes from \(start) on are not what e2fsck makes of them"
            }
        }
        return nil
    }

    /// Where the journal's superblock is.
    private lazy var journalPlace: Int? = {
        var reading = options
        reading.access = .readOnly
        guard let volume = try? Volume.open(LayeredDevice(image), options: reading),
            let journal = try? volume.inode(volume.superblock.journalInode),
            let first = try? volume.mappings(of: journal).first,
            case .mapped(let block) = first.state
        else { return nil }
        return Int(block.rawValue) * volume.blockSize
    }()

    /// e2fsck recovers instead of us; what it leaves is judged as ours is.
    private func foreignComplaint(
        _ device: LayeredDevice, _ oracle: CrashOracle, _ window: CrashWindow
    ) throws(CrashFailure) -> String? {
        guard hasSuperblock(device) else { return nil }
        counts.foreignRecoveries += 1
        let (status, text) = try runCheck(device, ["-fp"])
        guard status & ~1 == 0 else { return "e2fsck -fp: \(status): \(Self.summary(text))" }
        let recovered = LayeredDevice(try scratch.load())
        return recoveryComplaint(recovered, oracle, window).map { "e2fsck recovered it: \($0)" }
    }

    private static func summary(_ text: String) -> String {
        let lines = text.split(separator: "\n").filter {
            !$0.hasPrefix("Pass ") && !$0.hasPrefix("e2fsck 1.")
        }
        return lines.prefix(6).joined(separator: " | ")
    }

    // MARK: Afterwards

    /// Removes everything, makes something, and checks the volume again.
    private func afterlifeComplaint(_ device: LayeredDevice) -> String? {
        do throws(Ext4Error) {
            let volume = try Volume.open(device, options: options)
            let root = try volume.root()
            try removeEntries(of: root, volume)
            let file = try volume.create(
                "after", in: root, NewInode(mode: FileMode(rawValue: 0o100644)))
            let bytes = [UInt8](repeating: 0x41, count: 5000)
            try volume.write(unsafe bytes.span.bytes, to: file, at: 0)
            try volume.sync(file)
            guard try volume.contents(of: file) == bytes else {
                return "afterwards: a file does not hold what was written to it"
            }
            try volume.close()
        } catch {
            return "afterwards: \(error)"
        }
        let audit = VolumeAudit(of: device, options: options, ownClusters: ownClusters)
        return audit.complaints.isEmpty
            ? nil : "afterwards: " + audit.complaints.prefix(5).joined(separator: "; ")
    }

    private func removeEntries(of directory: Inode, _ volume: Volume) throws(Ext4Error) {
        for entry in try volume.entries(of: directory)
        where entry.name != "." && entry.name != ".." {
            if entry.type == .directory {
                try removeEntries(of: volume.inode(entry.inode), volume)
                try volume.removeDirectory(entry.name, in: directory)
            } else {
                try volume.unlink(entry.name, in: directory)
            }
        }
    }
}
