internal import Ext4

/// Operations on a kind of volume, which a text repeats: `ordered:12.70.33`.
package struct CrashWorkload: Hashable, Sendable {
    /// The kind of volume, by its name.
    package var volume: String
    /// The operations, as numbers in `CrashOperation.all`.
    package var numbers: [Int]

    /// Makes one; numbers that no operation has are left out.
    package init(volume: String, numbers: [Int]) {
        self.volume = volume
        self.numbers = numbers.filter { CrashOperation.all.indices.contains($0) }
    }

    /// The operations.
    package var operations: [CrashOperation] { numbers.map { CrashOperation.all[$0] } }

    /// The text that repeats it.
    package var text: String { volume + ":" + numbers.map(String.init).joined(separator: ".") }
}

/// One state that a crash leaves, which a text repeats: `ordered:12.70.33@57.4`, and with a second
/// crash while the first one is recovered from, `ordered:12.70.33@57.4@9.2`.
package struct CrashSeed: Hashable, Sendable, CustomStringConvertible {
    /// A place in a recording, and which of the states there.
    package struct Place: Hashable, Sendable {
        /// How many requests were made before.
        package var cut: Int
        /// Which state.
        package var state: Int
    }

    /// What was done.
    package var workload: CrashWorkload
    /// Where it was cut off; nil for all places.
    package var place: Place?
    /// Where the recovery was cut off.
    package var recovery: Place?

    /// Makes the seed of one state.
    package init(_ workload: CrashWorkload, at place: Place? = nil, recovery: Place? = nil) {
        self.workload = workload
        self.place = place
        self.recovery = recovery
    }

    /// Reads the text; nil when it is none.
    package init?(_ text: String) {
        let parts = text.split(separator: "@", omittingEmptySubsequences: false)
        let words = parts[0].split(separator: ":", omittingEmptySubsequences: false)
        guard words.count == 2, parts.count <= 3,
            CrashVolume.named(String(words[0])) != nil
        else { return nil }
        let numbers = words[1].split(separator: ".").map { Int($0) ?? -1 }
        guard numbers.allSatisfy({ CrashOperation.all.indices.contains($0) }) else { return nil }
        workload = CrashWorkload(volume: String(words[0]), numbers: numbers)
        var places: [Place] = []
        for part in parts.dropFirst() {
            let numbers = part.split(separator: ".").compactMap { Int($0) }
            guard numbers.count == 2 else { return nil }
            places.append(Place(cut: numbers[0], state: numbers[1]))
        }
        place = places.first
        recovery = places.count > 1 ? places[1] : nil
    }

    /// The text.
    package var description: String {
        [place, recovery].compactMap { $0 }.reduce(workload.text) {
            "\($0)@\($1.cut).\($1.state)"
        }
    }
}

/// Which workloads are run.
package struct CrashPlan: Sendable {
    /// The kinds of volumes.
    package var volumes = CrashVolume.all
    /// What all choices by chance depend on.
    package var seed: UInt64 = 1
    /// Every single operation on each kind of volume, with so many of the five ways to make it
    /// durable.
    package var ways = 1
    /// How many pairs of operations; nil for all of them.
    package var pairs: Int? = 0
    /// How many triples.
    package var triples = 0
    /// How many long mixes.
    package var mixes = 0
    /// How many operations a mix has.
    package var mixLength = 60

    /// The defaults: singles on all kinds of volumes.
    package init() {}

    /// The workloads, in an order in which a part of them is a fair share.
    package func workloads() -> [CrashWorkload] {
        var all: [CrashWorkload] = []
        let changes = CrashOperation.changes.indices
        for (index, volume) in volumes.enumerated() {
            for change in changes {
                // The kinds of volumes begin with different ways.
                let first = Int(SeededRandom.mix(UInt64(change)) % 5) + index
                for way in 0..<min(max(ways, 0), 5) {
                    all.append(
                        CrashWorkload(
                            volume: volume.name,
                            numbers: [change] + Self.made(durable: change, (first + way) % 5)))
                }
            }
        }
        all += pairWorkloads()
        var random = SeededRandom(SeededRandom.mix(seed, 3))
        for number in 0..<triples {
            all.append(mix(of: 3, on: volumes[number % volumes.count], percent: 60, &random))
        }
        for number in 0..<mixes {
            all.append(
                mix(of: mixLength, on: volumes[number % volumes.count], percent: 30, &random))
        }
        return all
    }

    private func pairWorkloads() -> [CrashWorkload] {
        let changes = CrashOperation.changes.indices
        func pair(_ first: Int, _ second: Int, _ volume: CrashVolume) -> CrashWorkload {
            var random = SeededRandom(
                SeededRandom.mix(SeededRandom.mix(seed, UInt64(first)), UInt64(second)))
            let between = random.below(3) == 0 ? [] : Self.made(durable: first, random.below(5))
            return CrashWorkload(
                volume: volume.name,
                numbers: [first] + between + [second]
                    + Self.made(durable: second, random.below(4)))
        }
        guard let pairs else {
            return volumes.flatMap { volume in
                changes.flatMap { first in changes.map { pair(first, $0, volume) } }
            }
        }
        var random = SeededRandom(SeededRandom.mix(seed, 2))
        return (0..<pairs).map { number in
            pair(
                random.below(changes.count), random.below(changes.count),
                volumes[number % volumes.count])
        }
    }

    private func mix(
        of count: Int, on volume: CrashVolume, percent: Int, _ random: inout SeededRandom
    ) -> CrashWorkload {
        var numbers: [Int] = []
        for _ in 0..<count {
            let change = random.below(CrashOperation.changes.count)
            numbers.append(change)
            if random.below(100) < percent {
                numbers += Self.made(durable: change, random.below(5))
            }
        }
        return CrashWorkload(volume: volume.name, numbers: numbers)
    }

    /// The number of what makes an operation durable: fsync, sync, fdatasync, a commit, or fsync of
    /// the directory.
    private static func made(durable change: Int, _ kind: Int) -> [Int] {
        let target = CrashOperation.all[change].target
        let wanted: CrashOperation =
            switch kind {
            case 0: .fsync(target)
            case 1: .sync
            case 2: .fdatasync(target)
            case 3: .commit
            default: .fsync(CrashOperation.parent(of: target))
            }
        let sync = CrashOperation.all.firstIndex(of: .sync) ?? 0
        return [CrashOperation.all.firstIndex(of: wanted) ?? sync]
    }
}
