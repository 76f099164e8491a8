@testable import Ext4

/// A workload on a device of which one request fails, or all from one on.
struct FaultTrial {
    /// A sound volume to start from.
    let base: TestDevice
    var options: (Workload.Clock) -> OpenOptions = { Workload.options($0) }
    var operations = 60

    /// What is wrong with what the failure leaves; nil for nothing.
    ///
    /// - Returns: also whether the request that should fail came at all.
    func complaint(of fault: TestDevice.Fault, seed: UInt64) throws -> (text: String?, came: Bool) {
        let device = TestDevice(copyOf: base)
        let clock = Workload.Clock()
        let options = options(clock)
        let trial = try CrashTrial(device, options: options, clock: clock, seed: seed)
        trial.workload.toleratesFailure = true
        device.setFault(fault)
        trial.run(operations)
        let came = device.hasFailed
        let text = try judge(trial, device, options)
        return (text.map { "\(fault): \($0)\n\(trial.workload.report)" }, came)
    }

    private func judge(
        _ trial: CrashTrial, _ device: TestDevice, _ options: OpenOptions
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
        device.setFault(nil)
        let event = device.eventCount
        workload.toleratesFailure = true
        workload.releaseAll()
        do throws(Ext4Error) {
            try workload.volume.close()
        } catch {
            guard error.isOfDevice else { return "close: \(error)" }
        }
        guard workload.surprises.isEmpty else { return "a surprise at the end" }
        _ = event
        return try trial.complaint(
            about: TestDevice(copyOf: device), options, after: device.eventCount, byE2fsck: false,
            sparing: spared)
    }

    /// Operations that may be half done when they fail.
    private static let inSteps = [
        "write", "truncate", "allocate", "punchHole", "zero", "collapse", "insert", "release",
        "setattr",
    ]

    /// Where the volume can still be used, what failed changed nothing, and the rest goes on.
    private func continueAfter(
        _ operation: String, _ isAtomic: Bool, _ trial: CrashTrial, _ device: TestDevice
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
