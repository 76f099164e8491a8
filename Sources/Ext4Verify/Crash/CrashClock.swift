internal import Ext4
internal import Synchronization

/// A clock that stands still during an operation, so that the times in inodes tell the operation.
final class CrashClock: Sendable {
    private let seconds = Atomic<Int64>(1_600_000_000)

    init() {}

    /// A clock that is later than any workload.
    static func afterwards() -> CrashClock {
        let clock = CrashClock()
        clock.seconds.store(1_700_000_000, ordering: .relaxed)
        return clock
    }

    var now: Timestamp {
        Timestamp(seconds: seconds.load(ordering: .relaxed), nanoseconds: 123_456_789)
    }

    func advance() { seconds.add(1, ordering: .relaxed) }
}
