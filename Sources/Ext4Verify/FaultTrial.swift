package import Ext4

/// A workload on a device of which one request fails, or all from one on.
package struct FaultTrial {
    /// How it went.
    package struct Outcome {
        /// What is wrong with what the failure left; nil for nothing.
        package var complaint: String?
        /// Whether the request that should fail came at all.
        package var came: Bool
        /// Whether an operation failed; a failure of what is written later need not show in one.
        package var wasTold: Bool
        /// Whether the volume was given up.
        package var wasGivenUp: Bool
    }

    /// A sound volume to start from.
    package let base: FaultyDevice
    package var options: (Workload.Clock) -> OpenOptions = { Workload.options($0) }
    /// How many operations there are, and how many go on after a failure that was survived.
    package var operations = 60
    /// What somebody else says of a volume.
    package let check: (FaultyDevice) throws -> String?

    package init(base: FaultyDevice, check: @escaping (FaultyDevice) throws -> String?) {
        self.base = base
        self.check = check
    }

    /// Runs the workload of that seed.
    package func run(_ fault: FaultyDevice.Fault, seed: UInt64) throws -> Outcome {
        let device = FaultyDevice(copyOf: base)
        let clock = Workload.Clock()
        let options = options(clock)
        let trial = try CrashTrial(device, options: options, clock: clock, seed: seed)
        let workload = trial.workload
        workload.toleratesFailure = true
        device.setFault(fault)
        trial.run(operations)
        var outcome = Outcome(
            came: device.hasFailed, wasTold: workload.failure != nil,
            wasGivenUp: !workload.volume.isWritable)
        let text = try judge(trial, device, options)
        outcome.complaint = text.map { "\(fault), seed \(seed): \($0)\n\(workload.report)" }
        return outcome
    }

    private func judge(
        _ trial: CrashTrial, _ device: FaultyDevice, _ options: OpenOptions
    ) throws -> String? {
        let workload = trial.workload
        guard workload.surprises.isEmpty else { return "a surprise" }
        var spared: InodeNumber?
        if let failure = workload.failure {
            let isAtomic = !Self.inSteps.contains { failure.operation.hasPrefix($0) }
            if !isAtomic { spared = workload.lastNode?.number }
            if workload.volume.isWritable {
                if let text = continueAfter(failure.operation, isAtomic, trial, device) {
                    return text
                }
            } else if let text = checkReadOnly(workload) {
                return text
            }
        }
        // The device recovers before the volume is closed, or stays as it is: both must be right.
        if device.count(of: .write) % 2 == 0 { device.setFault(nil) }
        workload.toleratesFailure = true
        workload.releaseAll()
        do throws(Ext4Error) {
            try workload.volume.close()
        } catch {
            guard error.isOfDevice else { return "close: \(error)" }
        }
        guard workload.surprises.isEmpty else { return "a surprise at the end" }
        if let text = try trial.complaint(
            about: FaultyDevice(copyOf: device), options, after: device.eventCount,
            sparing: spared, check: check)
        {
            return text
        }
        // And the power fails too: what no flush made durable may be missing.
        var text: String?
        trial.forEachCrash(cuts: 2, seed: UInt64(device.eventCount)) { image, event in
            text = trial.complaint(
                about: image, options, after: event, sparing: spared, check: { _ in nil })
            return text == nil
        }
        return text.map { "with a power failure: \($0)" }
    }

    /// Operations that may be half done when they fail.
    private static let inSteps = [
        "write", "truncate", "allocate", "punchHole", "zero", "collapse", "insert", "release",
        "setattr",
    ]

    /// Where the volume can still be used, what failed changed nothing, and the rest goes on.
    private func continueAfter(
        _ operation: String, _ isAtomic: Bool, _ trial: CrashTrial, _ device: FaultyDevice
    ) -> String? {
        device.setFault(nil)
        let workload = trial.workload
        guard isAtomic else { return nil }
        let differences = workload.compare()
        guard differences.isEmpty else {
            return "\(operation) failed, and left: \(differences.joined(separator: "\n"))"
        }
        workload.forgive()
        trial.run(operations)
        return workload.surprises.isEmpty ? nil : "a surprise after \(operation)"
    }

    /// A volume that was given up refuses every change, and can be read as far as it goes.
    private func checkReadOnly(_ workload: Workload) -> String? {
        let volume = workload.volume
        do throws(Ext4Error) {
            let root = try volume.root()
            _ = try volume.create(
                "after", in: root, NewInode(mode: FileMode(rawValue: 0o100644)))
            return "a volume that was given up makes files"
        } catch {
            guard error.isOfDevice else { return "a volume that was given up: \(error)" }
        }
        do throws(Ext4Error) {
            try volume.sync()
            return "a volume that was given up says that all is durable"
        } catch {
            return nil
        }
    }
}
