import Ext4Verify
import Glibc

/// Runs seeded random operations on volumes and on a model of them, compares after each, and ends
/// each run with `e2fsck -fn`; then starves volumes of their devices, one request at a time.
@main
struct Model {
    private static let usage = """
        usage: ext4-model [--operations N] [--seed N] [--only NAME] [--cache BLOCKS] [--files N]
               ext4-model --faults [--seed N] [--only NAME] [--all]

          --operations N  so many operations in all (1,000,000)
          --seed N        draws others (1)
          --only NAME     takes the kinds of volumes whose name contains NAME
          --cache BLOCKS  only with a cache of so many blocks (8 and the default)
          --files N       keeps about so many files (1500): fewer are changed more
          --faults        lets requests of the device fail instead
          --all           with --faults: every request and not some

        Needs mke2fs and e2fsck. A failure prints its seed and the fewest operations that show it.
        """

    /// What the arguments ask for.
    struct Request: Sendable {
        var operations = 1_000_000
        var seed: UInt64 = 1
        var only: String?
        var cacheBlocks: Int?
        var files = 1500
        var isFaults = false
        var isComplete = false

        func includes(_ kind: VolumeKind) -> Bool {
            only.map { kind.name.contains($0) || kind.options.contains($0) } ?? true
        }
    }

    static func main() {
        guard let request = parse(Array(CommandLine.arguments.dropFirst())) else {
            print(usage)
            exit(2)
        }
        let trials = request.isFaults ? faultTrials(request) : modelTrials(request)
        let start = secondsNow()
        let tally = Tally()
        Schedule(trials).run(threads: 2, tally)
        let seconds = secondsNow() - start
        print("\(tally.summary) in \(Int(seconds.rounded())) s, seed \(request.seed)")
        print("\(tally.passed) passed, \(tally.failed) failed")
        exit(tally.failed == 0 && tally.passed > 0 ? 0 : 1)
    }

    private static func parse(_ arguments: [String]) -> Request? {
        var request = Request()
        var rest = arguments[...]
        while let argument = rest.popFirst() {
            switch argument {
            case "--operations":
                guard let text = rest.popFirst(), let number = Int(text), number > 0 else {
                    return nil
                }
                request.operations = number
            case "--seed":
                guard let number = rest.popFirst().flatMap({ UInt64($0) }) else { return nil }
                request.seed = number
            case "--only":
                guard let name = rest.popFirst() else { return nil }
                request.only = name
            case "--cache":
                guard let number = rest.popFirst().flatMap({ Int($0) }) else { return nil }
                request.cacheBlocks = number
            case "--files":
                guard let number = rest.popFirst().flatMap({ Int($0) }) else { return nil }
                request.files = number
            case "--faults": request.isFaults = true
            case "--all": request.isComplete = true
            default: return nil
            }
        }
        return request
    }

    private static func modelTrials(_ request: Request) -> [any Trial] {
        let kinds = VolumeKind.all.filter(request.includes)
        let threaded = ThreadedTrial.kinds.filter(request.includes)
        let caches: [Int?] = request.cacheBlocks.map { [$0] } ?? [8, nil]
        guard !kinds.isEmpty || !threaded.isEmpty else { return [] }
        // A third of all by many threads at once.
        let share =
            threaded.isEmpty ? 0 : kinds.isEmpty ? request.operations : request.operations / 3
        var trials: [any Trial] = []
        for kind in kinds {
            for cache in caches {
                let steps = (request.operations - share) / (kinds.count * caches.count) + 1
                trials.append(
                    ModelTrial(
                        kind: kind, cacheBlocks: cache, steps: steps, files: request.files,
                        seed: request.seed &* 1000 &+ UInt64(trials.count)))
            }
        }
        for kind in threaded {
            for cache in caches {
                let count = share / (threaded.count * caches.count) + 1
                trials.append(
                    ThreadedTrial(
                        kind: kind, cacheBlocks: cache, operations: count,
                        seed: request.seed &* 1000 &+ UInt64(trials.count)))
            }
        }
        return trials
    }

    private static func faultTrials(_ request: Request) -> [any Trial] {
        StarvedTrial.kinds.filter(request.includes).flatMap { kind in
            StarvedTrial.faults.map { fault in
                StarvedTrial(
                    kind: kind, fault: fault, seed: request.seed,
                    isComplete: request.isComplete)
            }
        }
    }
}
