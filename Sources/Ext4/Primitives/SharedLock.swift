#if canImport(CMonitor)
    internal import CMonitor
#else
    internal import Synchronization
#endif

/// A lock that many may hold to look, or one to change.
///
/// It guards what is too large, or takes too long, for a value in a `Guarded`: the device may be
/// read while it is held.
@safe
final class SharedLock: @unchecked Sendable {
    #if canImport(CMonitor)
        private let handle: OpaquePointer

        init() {
            guard let handle = unsafe ext4_shared_lock_create() else {
                preconditionFailure("out of memory")
            }
            unsafe self.handle = handle
        }

        deinit { unsafe ext4_shared_lock_destroy(handle) }

        func lockShared() { unsafe ext4_shared_lock_read(handle) }
        func lock() { unsafe ext4_shared_lock_write(handle) }
        func unlockShared() { unsafe ext4_shared_lock_unlock(handle) }
        func unlock() { unsafe ext4_shared_lock_unlock(handle) }
    #else
        /// How many look; -1 while one changes.
        private let holders = Atomic<Int>(0)

        init() {}

        func lockShared() {
            while true {
                let count = holders.load(ordering: .relaxed)
                if count >= 0,
                    holders.compareExchange(
                        expected: count, desired: count + 1, ordering: .acquiring
                    ).exchanged
                {
                    return
                }
            }
        }

        func lock() {
            while !holders.compareExchange(expected: 0, desired: -1, ordering: .acquiring).exchanged
            {}
        }

        func unlockShared() { holders.subtract(1, ordering: .releasing) }
        func unlock() { holders.store(0, ordering: .releasing) }
    #endif

    /// Runs `body` while others may look too.
    func shared<Result, Failure: Error>(
        _ body: () throws(Failure) -> Result
    ) throws(Failure) -> Result {
        lockShared()
        defer { unlockShared() }
        return try body()
    }

    /// Runs `body` alone.
    func exclusive<Result, Failure: Error>(
        _ body: () throws(Failure) -> Result
    ) throws(Failure) -> Result {
        lock()
        defer { unlock() }
        return try body()
    }
}
