package import Ext4
import Synchronization

/// Several threads on one volume: each has a directory for itself, whose model must hold, and all
/// of them work in shared ones, where only the volume's soundness counts.
package final class Stress: Sendable {
    /// How long each thread goes on.
    package enum Length: Sendable {
        case seconds(Double)
        /// Steps in the thread's own directory; in the shared ones there are two to each.
        case steps(Int)
    }

    /// What the threads work on.
    package let volume: Volume
    private let shared: [Inode]
    private let findings = Mutex<[String]>([])
    private let count = Atomic<Int>(0)
    private let seed: UInt64

    /// What went otherwise than it should.
    package var surprises: [String] { findings.withLock { $0 } }
    /// How many operations there were.
    package var operations: Int { count.load(ordering: .relaxed) }

    /// Makes the shared directories.
    package init(_ volume: Volume, seed: UInt64 = 1) throws(Ext4Error) {
        self.volume = volume
        self.seed = seed
        let root = try volume.root()
        var made: [Inode] = []
        for index in 0..<3 {
            // One below another, so that moves go up and down the tree.
            made.append(
                try volume.create(
                    FileName("shared\(index)"), in: made.last ?? root,
                    NewInode(mode: FileMode(rawValue: 0o040777))))
        }
        shared = made
    }

    /// Runs `count` threads, then compares what each left.
    package func run(threads count: Int, for length: Length, clock: Workload.Clock) {
        onThreads(count) { [self] index in
            do throws(Ext4Error) {
                try work(index, length, clock)
            } catch {
                note("thread \(index): \(error)")
            }
        }
    }

    private func note(_ text: String) { findings.withLock { $0.append(text) } }

    private func work(
        _ index: Int, _ length: Length, _ clock: Workload.Clock
    ) throws(Ext4Error) {
        let root = try volume.root()
        let own = try volume.create(
            FileName("own\(index)"), in: root, NewInode(mode: FileMode(rawValue: 0o040755)))
        let seed = seed &* 1000 &+ UInt64(index)
        let workload = try Workload(volume, in: own, clock: clock, seed: seed)
        workload.weightLimit = 1 << 20
        workload.fileLimit = 500
        var random = Randomness(seed &+ 500)
        let start = secondsNow()
        func isOver() -> Bool {
            switch length {
            case .seconds(let seconds): secondsNow() - start > seconds
            case .steps(let steps): workload.operations >= steps
            }
        }
        while !isOver(), workload.isRunning {
            workload.run(4)
            for _ in 0..<8 { meet(&random, root) }
            count.add(12, ordering: .relaxed)
        }
        if !workload.isRunning { note("thread \(index): \(workload.report)") }
        let differences = workload.compare()
        if !differences.isEmpty {
            note("thread \(index): \(differences.prefix(5).joined(separator: "\n"))")
        }
        workload.releaseAll()
    }

    /// What a race with others may end in.
    private static let lost: Set<Ext4Error> = [
        .notFound, .exists, .notEmpty, .isDirectory, .notDirectory, .invalidArgument,
        .noAttribute, .noSpace, .notPermitted,
    ]

    /// Something in the shared directories.
    private func meet(_ random: inout Randomness, _ root: Inode) {
        var recent = ""
        do throws(Ext4Error) {
            try meet(&random, root, &recent)
        } catch {
            if !Self.lost.contains(error) { note("\(recent): \(error)") }
        }
    }

    private func meet(
        _ random: inout Randomness, _ root: Inode, _ recent: inout String
    ) throws(Ext4Error) {
        func name() -> FileName { FileName("s\(random.below(24))") }
        let a = shared[random.below(shared.count)]
        let b = shared[random.below(shared.count)]
        let choice = random.below(14)
        recent = "choice \(choice) in \(a.number), \(b.number)"
        switch choice {
        case 0, 1:
            let new = NewInode(mode: FileMode(rawValue: 0o100644))
            let inode = try volume.create(name(), in: a, new)
            try volume.write(random.bytes(random.below(9000)), to: inode, at: 0)
        case 2:
            _ = try volume.create(name(), in: a, NewInode(mode: FileMode(rawValue: 0o040755)))
        case 3, 4:
            let flags: [RenameFlags] = [[], .noReplace, .exchange, .whiteout]
            try volume.rename(name(), in: a, to: name(), in: b, flags[random.below(4)])
        case 5: try volume.unlink(name(), in: a)
        case 6: try volume.removeDirectory(name(), in: a)
        case 7:
            try volume.link(try volume.lookup(name(), in: a), as: name(), in: b)
        case 8:
            let inode = try volume.lookup(name(), in: a)
            if inode.type == .regular {
                try volume.write(
                    random.bytes(random.below(30_000)), to: inode, at: UInt64(random.below(100_000))
                )
            }
        case 9:
            let inode = try volume.lookup(name(), in: a)
            var changes = AttributeChanges()
            if inode.type == .regular { changes.size = UInt64(random.below(60_000)) }
            changes.permissions = UInt16(random.below(0o1000))
            try volume.setAttributes(changes, of: inode)
        case 10:
            let inode = try volume.lookup(name(), in: a)
            let value = [UInt8](repeating: 9, count: random.below(3) * 300)
            try volume.setExtendedAttribute(
                FileName("trusted.s\(random.below(3))"), to: value, of: inode)
        case 11:
            for entry in try volume.entries(of: a) where random.chance(20) {
                let inode = try volume.lookup(entry.name, in: a)
                if inode.type == .regular { _ = try volume.bytes(of: inode, at: 0, count: 5000) }
                _ = try volume.extendedAttributes(of: inode)
            }
        case 12:
            if random.chance(20) { try volume.sync() }
            if random.chance(10) { _ = try volume.trim() }
            _ = volume.statistics()
        default:
            let inode = try volume.lookup(name(), in: a)
            volume.acquire(inode)
            if inode.type == .regular { _ = try? volume.bytes(of: inode, at: 0, count: 5000) }
            try volume.sync(inode)
            try volume.release(inode.number)
        }
    }
}
