internal import Synchronization

/// A fixed number of counts that anybody may look at without a lock.
///
/// Each is changed under a lock of its own, so that changes need not be atomic; who looks without
/// it sees a value that was right a moment ago.
@safe
final class AtomicCounts: @unchecked Sendable {
    private let counts: UnsafeMutablePointer<Atomic<UInt32>>
    let count: Int

    init(_ values: [UInt32]) {
        count = values.count
        unsafe counts = .allocate(capacity: max(count, 1))
        for i in 0..<count { unsafe (counts + i).initialize(to: Atomic(values[i])) }
    }

    deinit {
        unsafe counts.deinitialize(count: count)
        unsafe counts.deallocate()
    }

    subscript(_ index: Int) -> UInt32 {
        get {
            precondition(index >= 0 && index < count)
            return unsafe counts[index].load(ordering: .relaxed)
        }
        set {
            precondition(index >= 0 && index < count)
            unsafe counts[index].store(newValue, ordering: .relaxed)
        }
    }
}
