import Ext4Verify
import Glibc
import Synchronization

/// One thing to try.
protocol Trial: Sendable {
    /// What is tried, with all that repeats it.
    var name: String { get }
    /// Tries it. What it did, in words, and how many operations that were; throws what is wrong.
    func run() throws(TrialFailure) -> (text: String, operations: Int)
}

/// What is wrong.
struct TrialFailure: Error, CustomStringConvertible {
    let description: String
}

/// Counts what was tried.
final class Tally: Sendable {
    private struct State {
        var passed = 0
        var failed = 0
        var operations = 0
    }
    private let state = Mutex(State())

    var passed: Int { state.withLock { $0.passed } }
    var failed: Int { state.withLock { $0.failed } }
    var summary: String { state.withLock { "\($0.operations) operations" } }

    func note(operations: Int, failed: Bool) {
        state.withLock { state in
            state.operations += operations
            if failed { state.failed += 1 } else { state.passed += 1 }
        }
    }
}

/// Trials, of which some run at a time.
final class Schedule: Sendable {
    private let trials: [any Trial]
    private let next = Atomic<Int>(0)

    init(_ trials: [any Trial]) { self.trials = trials }

    func run(threads: Int, _ tally: Tally) {
        onThreads(threads) { [self] _ in
            while true {
                let index = next.add(1, ordering: .relaxed).oldValue
                guard index < trials.count else { return }
                let trial = trials[index]
                let start = secondsNow()
                do throws(TrialFailure) {
                    let (text, operations) = try trial.run()
                    tally.note(operations: operations, failed: false)
                    let tenths = Int((secondsNow() - start) * 10)
                    print("ok   \(trial.name): \(text), \(tenths / 10).\(tenths % 10) s")
                } catch {
                    tally.note(operations: 0, failed: true)
                    print("FAIL \(trial.name): \(error)")
                }
                fflush(nil)
            }
        }
    }
}
