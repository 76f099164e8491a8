import Ext4
import Ext4Verify

/// A workload on a device of which the first, the second, the third request fails, and so on until
/// none fails.
struct StarvedTrial: Trial {
    /// What fails, and how.
    struct Kind: Sendable {
        let name: String
        let operation: IOFailure.Operation
        let kind: FaultyDevice.Fault.Kind
        let isTorn: Bool
    }

    static let faults: [Kind] = [
        Kind(name: "a read fails", operation: .read, kind: .once, isTorn: false),
        Kind(name: "gone at a read", operation: .read, kind: .gone, isTorn: false),
        Kind(name: "a write fails", operation: .write, kind: .once, isTorn: false),
        Kind(name: "a write is torn", operation: .write, kind: .once, isTorn: true),
        Kind(name: "gone at a write", operation: .write, kind: .gone, isTorn: true),
        Kind(name: "a flush fails", operation: .flush, kind: .once, isTorn: false),
        Kind(name: "gone at a flush", operation: .flush, kind: .gone, isTorn: false),
        Kind(name: "read-only", operation: .write, kind: .readOnly, isTorn: false),
        Kind(name: "full", operation: .write, kind: .full, isTorn: false),
    ]

    static let kinds: [VolumeKind] = [
        VolumeKind(name: "1K blocks", options: "-t ext4 -b 1024 -J size=1", megabytes: 8),
        VolumeKind(name: "4K blocks", options: "-t ext4 -b 4096 -J size=4", megabytes: 16),
        VolumeKind(
            name: "orphan file", options: "-t ext4 -b 1024 -J size=1 -O orphan_file",
            megabytes: 8),
        VolumeKind(
            name: "inline data", options: "-t ext4 -b 1024 -J size=1 -O inline_data",
            megabytes: 8),
        VolumeKind(name: "ext3", options: "-t ext3 -b 1024 -J size=1", megabytes: 8),
        VolumeKind(
            name: "values in inodes", options: "-t ext4 -b 1024 -J size=1 -O ea_inode",
            megabytes: 8),
        VolumeKind(
            name: "data=journal", options: "-t ext4 -b 1024 -J size=1", megabytes: 8,
            dataMode: .journal),
    ]

    let kind: VolumeKind
    let fault: Kind
    let seed: UInt64
    /// Whether every request is tried, and not only some of the later ones.
    let isComplete: Bool

    var name: String { "\(kind.name), \(fault.name), seed \(seed)" }

    func run() throws(TrialFailure) -> (text: String, operations: Int) {
        var trial = FaultTrial(base: try TestImage.device(kind)) { device in
            try TestImage.complaints(about: device)
        }
        let dataMode = kind.dataMode
        let isReading = fault.operation == .read
        trial.options = { clock in
            // What is in the cache is not read.
            var options = Workload.options(clock, cacheBytes: isReading ? 8 << 10 : 4 << 20)
            options.dataMode = dataMode
            return options
        }
        var counts = (trials: 0, told: 0, givenUp: 0)
        var number = 1
        while true {
            let fault = FaultyDevice.Fault(
                operation: fault.operation, number: number, kind: fault.kind,
                tear: fault.isTorn ? UInt64(number) : nil)
            let outcome: FaultTrial.Outcome
            do {
                outcome = try trial.run(fault, seed: seed)
            } catch {
                throw TrialFailure(description: "\(fault): \(error)")
            }
            if let text = outcome.complaint { throw TrialFailure(description: text) }
            guard outcome.came else { break }
            counts.trials += 1
            if outcome.wasTold { counts.told += 1 }
            if outcome.wasGivenUp { counts.givenUp += 1 }
            number += isComplete || number < 12 ? 1 : 1 + number / 6
        }
        guard counts.trials > 2 || fault.kind == .full else {
            throw TrialFailure(description: "the fault never came")
        }
        return (
            "\(counts.trials) faults up to request \(number - 1): \(counts.told) told, "
                + "\(counts.givenUp) volumes given up", counts.trials * trial.operations
        )
    }
}
