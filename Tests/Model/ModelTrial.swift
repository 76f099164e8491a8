import Ext4
import Ext4Host
import Ext4Verify

/// One thread on one volume, beside the model.
struct ModelTrial: Trial {
    let kind: VolumeKind
    /// The cache's budget; nil for the default.
    let cacheBlocks: Int?
    let steps: Int
    let files: Int
    let seed: UInt64

    var name: String {
        "\(kind.name), cache \(cacheBlocks.map { "of \($0) blocks" } ?? "as usual"), seed \(seed)"
    }

    /// How often everything is compared, and the volume is opened again.
    private static let comparesEvery = 2500
    private static let reopensEvery = 10_000

    func run() throws(TrialFailure) -> (text: String, operations: Int) {
        let base = try TestImage.device(kind)
        let (workload, complaint) = try run(on: FaultyDevice(copyOf: base), only: nil)
        guard let complaint else {
            let files = workload.model.files.count
            return ("\(workload.operations) operations, \(files) files left", workload.operations)
        }
        // What it takes at least.
        var reduction = WorkloadReduction { steps in
            let copy = FaultyDevice(copyOf: base)
            guard let (_, complaint) = try? run(on: copy, only: steps) else { return false }
            return complaint != nil
        }
        let fewest = reduction.reduce(to: workload.operations)
        var text = complaint
        if let fewest, let (workload, complaint) = try? run(on: base, only: Set(fewest)),
            let complaint
        {
            text =
                "\(fewest.count) of its steps do it: \(complaint)\n"
                + workload.recent.suffix(60).joined(separator: "\n")
        }
        throw TrialFailure(description: text)
    }

    /// Runs the steps, or some of them; what is wrong, or nil.
    private func run(
        on device: FaultyDevice, only steps: Set<Int>?
    ) throws(TrialFailure) -> (Workload, String?) {
        let clock = Workload.Clock(isWhole: kind.hasWholeSeconds)
        var options = Workload.options(clock, cacheBytes: OpenOptions().cacheBytes)
        options.dataMode = kind.dataMode
        do throws(Ext4Error) {
            var volume = try Volume.open(device, options: options)
            if let cacheBlocks {
                // Now that the size of a block is known.
                try volume.close()
                options.cacheBytes = cacheBlocks * volume.blockSize
                volume = try Volume.open(device, options: options)
            }
            let workload = try Workload(volume, clock: clock, seed: seed)
            workload.steps = steps
            workload.fileLimit = files
            workload.memory = steps.map { $0.count + 64 } ?? 64
            let last = steps?.max() ?? self.steps
            while workload.isRunning, workload.operations < last {
                workload.run(min(Self.comparesEvery, last - workload.operations))
                guard workload.isRunning else { break }
                for difference in workload.compare() { workload.fail(difference) }
                if workload.operations % Self.reopensEvery == 0, workload.isRunning {
                    let options = options
                    try workload.reopen { () throws(Ext4Error) in
                        try Volume.open(device, options: options)
                    }
                }
            }
            guard workload.isRunning else { return (workload, workload.report) }
            let options = options
            try workload.reopen { () throws(Ext4Error) in
                try Volume.open(device, options: options)
            }
            for difference in workload.compare() { workload.fail("opened again: \(difference)") }
            try workload.volume.close()
            guard workload.isRunning else { return (workload, workload.report) }
            return (workload, try outside(device))
        } catch {
            throw TrialFailure(description: "\(error)")
        }
    }

    private func outside(_ device: FaultyDevice) throws(Ext4Error) -> String? {
        do throws(TrialFailure) {
            return try TestImage.complaints(about: device)
        } catch {
            return error.description
        }
    }
}

/// Several threads on one volume.
struct ThreadedTrial: Trial {
    static let kinds: [VolumeKind] = [
        VolumeKind(name: "threads, default", options: "-t ext4 -b 4096", megabytes: 192),
        VolumeKind(
            name: "threads, 1K blocks", options: "-t ext4 -b 1024 -J size=2 -O orphan_file",
            megabytes: 192),
        VolumeKind(
            name: "threads, inline data", options: "-t ext4 -b 1024 -O inline_data,ea_inode",
            megabytes: 192),
        VolumeKind(name: "threads, ext3", options: "-t ext3 -b 1024 -J size=1", megabytes: 192),
        VolumeKind(name: "threads, ext2", options: "-t ext2 -b 4096", megabytes: 192),
        VolumeKind(
            name: "threads, data=journal", options: "-t ext4 -b 1024 -J size=4", megabytes: 192,
            dataMode: .journal),
    ]
    private static let threads = 8

    let kind: VolumeKind
    let cacheBlocks: Int?
    let operations: Int
    let seed: UInt64

    var name: String {
        "\(kind.name), cache \(cacheBlocks.map { "of \($0) blocks" } ?? "as usual"), seed \(seed)"
    }

    func run() throws(TrialFailure) -> (text: String, operations: Int) {
        // A file and no device in memory: that would have a lock, and so hide races.
        let image = TestImage()
        try image.make(kind)
        let clock = Workload.Clock(isStopped: true)
        var options = Workload.options(clock, cacheBytes: OpenOptions().cacheBytes)
        options.dataMode = kind.dataMode
        let blockSize = kind.options.contains("4096") ? 4096 : 1024
        if let cacheBlocks { options.cacheBytes = cacheBlocks * blockSize }
        let count: Int
        let surprises: [String]
        do throws(Ext4Error) {
            let volume = try Volume.open(
                FileDevice(path: image.path, access: .readWrite), options: options)
            let stress = try Stress(volume, seed: seed)
            // With each four steps of its own, a thread takes eight in the shared directories.
            stress.run(
                threads: Self.threads, for: .steps(operations / 3 / Self.threads + 4),
                clock: clock)
            count = stress.operations
            surprises = stress.surprises
            if surprises.isEmpty { try volume.close() }
        } catch {
            throw TrialFailure(description: "\(error)")
        }
        guard surprises.isEmpty else {
            throw TrialFailure(description: surprises.joined(separator: "\n"))
        }
        if let text = image.complaints() { throw TrialFailure(description: text) }
        return ("\(count) operations by \(Self.threads) threads", count)
    }
}
