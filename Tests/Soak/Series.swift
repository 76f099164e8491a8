import CHostTree
import Ext4Verify
import Glibc
import Synchronization

/// Failures of one kind, one after another, on volumes of several kinds.
struct Series {
    private static let kinds = [
        "-t ext4", "-t ext4 -b 1024 -J size=1", "-t ext4 -O inline_data,orphan_file",
        "-t ext4 -b 1024 -J size=2 -O ^extents,^64bit", "-t ext3 -J size=4",
    ]
    private static let options = [
        "rw", "rw,writeback_cache", "rw,commit=1", "rw,data=journal", "rw,data=writeback",
    ]
    /// So many failures in a row on one volume.
    private static let failuresPerVolume = 25

    private let command: String
    private let recorder: String?
    private let folder: String
    private var image: String { folder + "/image" }
    private var point: String { folder + "/mnt" }
    private var random: Randomness
    private let seed: UInt64
    private var writers: [any Writer] = []
    private var failures = 0
    private var inRecovery = 0
    private var steps = 0
    private var lost = (writes: 0, pending: 0)
    private var kind = ""
    private var mountOptions = ""

    /// - Parameter recorder: with it the power fails, without it the process is killed.
    init(_ command: String, recorder: String?, seed: UInt64) {
        self.command = command
        self.recorder = recorder
        self.seed = seed
        random = Randomness(seed &* 2 &+ (recorder == nil ? 0 : 1))
        let base = unsafe access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp"
        folder = "\(base)/ext4-soak-\(getpid())-\(recorder == nil ? "kills" : "cuts")"
    }

    /// Where it is.
    var place: String { "failure \(failures) (\(kind); \(mountOptions))" }

    var summary: String {
        "\(steps) durable steps, none lost, \(inRecovery) of the failures in a recovery"
            + (recorder == nil
                ? "" : ", \(lost.pending) of \(lost.writes) writes were not durable")
    }

    func clear(keeping: Bool) {
        Daemon.detach(point)
        if keeping {
            print("kept: \(folder)")
        } else {
            _ = Daemon.run(["rm", "-rf", "--one-file-system", folder], log: "/dev/null")
        }
    }

    mutating func run(_ count: Int) throws(Failure) {
        try Names.makeDirectory(folder)
        try Names.makeDirectory(point)
        // Small runs see several kinds, too.
        let each = max(1, min(Self.failuresPerVolume, count / 4))
        while failures < count {
            if failures % each == 0 {
                try makeVolume(Self.kinds[failures / each % Self.kinds.count])
            }
            guard linux_caught_signal() == 0 else { throw Failure("stopped by a signal") }
            try fail()
        }
    }

    private mutating func makeVolume(_ kind: String) throws(Failure) {
        self.kind = kind
        _ = unsafe unlink(image)
        do {
            let file = try OpenFile(image, O_RDWR | O_CREAT)
            try Names.check("ftruncate", ftruncate(file.descriptor, 96 << 20))
        }
        let arguments = ["mke2fs", "-q", "-F"] + kind.split(separator: " ").map(String.init)
        let (code, output) = Daemon.run(arguments + [image], log: folder + "/log")
        guard code == 0 else { throw Failure("mke2fs \(kind): \(output)") }
        func seeds(_ number: UInt64) -> UInt64 { seed &* 1000 &+ UInt64(failures) &* 16 &+ number }
        writers = [
            LogWriter("log", seed: seeds(1)), LogWriter("log2", seed: seeds(2)),
            FileWriter("files", seed: seeds(3)), FileWriter("files2", seed: seeds(4)),
            ReplacingWriter("versions", seed: seeds(5)), PageWriter("pages", seed: seeds(6)),
            TreeWriter("tree", seed: seeds(7)), TreeWriter("tree2", seed: seeds(8)),
            NoiseWriter("noise", seed: seeds(9)),
        ]
        let daemon = try serve(recording: false)
        for writer in writers {
            try Names.makeDirectory("\(point)/\(writer.folder)")
        }
        try daemon.unmount()
    }

    private func serve(recording: Bool) throws(Failure) -> Daemon {
        var environment: [String] = []
        if recording, let recorder {
            environment = [
                "LD_PRELOAD=\(recorder)", "SOAK_IMAGE=\(image)", "SOAK_LOG=\(folder)/record",
            ]
        }
        let daemon = try Daemon(
            command, image: image, point: point,
            options: mountOptions.isEmpty ? "rw" : mountOptions,
            log: folder + "/daemon", environment: environment)
        try daemon.waitUntilServing()
        return daemon
    }

    /// One failure and what comes of it.
    private mutating func fail() throws(Failure) {
        failures += 1
        mountOptions = Self.options[random.below(Self.options.count)]
        try keepCopy()
        let daemon = try serve(recording: true)
        let error = work(
            until: UInt32(5000 + random.below(300_000)), killing: daemon.process)
        daemon.end()
        if let error { throw error }
        try cutPower()
        if random.chance(25) { try failInRecovery() }

        let next = try serve(recording: false)
        var faults: [String] = []
        for writer in writers {
            faults += try writer.faults(point)
            if faults.isEmpty { try writer.resume(point) }
        }
        try next.unmount()
        guard faults.isEmpty else {
            throw Failure(faults.prefix(6).joined(separator: "\n"))
        }
        let (code, output) = Daemon.run(["e2fsck", "-fn", image], log: folder + "/log")
        guard code == 0 else { throw Failure("e2fsck -fn: \(code): \(output)") }
    }

    /// A copy of the image to build from what a power failure leaves.
    private func keepCopy() throws(Failure) {
        guard recorder != nil else { return }
        _ = unsafe unlink(folder + "/record")
        let (code, output) = Daemon.run(
            ["cp", "--sparse=always", image, folder + "/base"], log: folder + "/log")
        guard code == 0 else { throw Failure("cp: \(output)") }
    }

    private mutating func cutPower() throws(Failure) {
        guard recorder != nil else { return }
        let cut = try PowerCut(
            image, base: folder + "/base", record: folder + "/record", seed: random.next())
        lost.writes += cut.writes
        lost.pending += cut.pending
    }

    /// The next mount fails too, while it recovers the volume.
    private mutating func failInRecovery() throws(Failure) {
        try keepCopy()
        var environment: [String] = []
        if let recorder {
            environment = [
                "LD_PRELOAD=\(recorder)", "SOAK_IMAGE=\(image)", "SOAK_LOG=\(folder)/record",
            ]
        }
        let daemon = try Daemon(
            command, image: image, point: point, options: mountOptions, log: folder + "/daemon",
            environment: environment)
        usleep(UInt32(random.below(15_000)))
        daemon.end()
        try cutPower()
        failures += 1
        inRecovery += 1
    }

    /// Runs all writers until the process is killed, after so many microseconds; what failed before.
    private mutating func work(until microseconds: UInt32, killing process: Int32) -> Failure? {
        let shared = Shared()
        let (writers, point) = (writers, point)
        onThreads(writers.count + 1) { index in
            guard index < writers.count else {
                usleep(microseconds)
                shared.isOver.store(true, ordering: .sequentiallyConsistent)
                kill(process, SIGKILL)
                return
            }
            while !shared.isOver.load(ordering: .sequentiallyConsistent) {
                do throws(Failure) {
                    try writers[index].step(point)
                    shared.steps.add(1, ordering: .relaxed)
                } catch {
                    // A full volume is the noise's own affair.
                    if error.code == ENOSPC, writers[index] is NoiseWriter { continue }
                    // What the kill does to a call is not to be told.
                    if !shared.isOver.load(ordering: .sequentiallyConsistent) {
                        shared.failure.withLock { $0 = $0 ?? error }
                    }
                    return
                }
            }
        }
        steps += shared.steps.load(ordering: .relaxed)
        return shared.failure.withLock { $0 }
    }
}

/// What the threads of one round share.
private final class Shared: Sendable {
    let isOver = Atomic<Bool>(false)
    let steps = Atomic<Int>(0)
    let failure = Mutex<Failure?>(nil)
}
