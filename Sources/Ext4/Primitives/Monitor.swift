#if canImport(CMonitor)
    internal import CMonitor
#else
    internal import Synchronization
#endif

/// A value, the lock that guards it, and a way to wait for it to change.
///
/// `Guarded` is for what is looked at and let go; this is for what threads wait for. Where there
/// is no operating system, waiting is looking again.
@safe
final class Monitor<State>: @unchecked Sendable {
    // Only touched with the lock held.
    private var state: State

    #if canImport(CMonitor)
        private let handle: OpaquePointer

        init(_ state: consuming sending State) {
            self.state = state
            guard let handle = unsafe ext4_monitor_create() else {
                preconditionFailure("out of memory")
            }
            unsafe self.handle = handle
        }

        deinit { unsafe ext4_monitor_destroy(handle) }

        private func lock() { unsafe ext4_monitor_lock(handle) }
        private func unlock() { unsafe ext4_monitor_unlock(handle) }
        private func wait() { unsafe ext4_monitor_wait(handle) }

        /// Wakes all who wait, so that they look at the state again.
        func broadcast() { unsafe ext4_monitor_broadcast(handle) }
    #else
        private let isHeld = Atomic<Bool>(false)

        init(_ state: consuming sending State) { self.state = state }

        private func lock() { while isHeld.exchange(true, ordering: .acquiring) {} }
        private func unlock() { isHeld.store(false, ordering: .releasing) }
        private func wait() {
            unlock()
            lock()
        }

        /// Wakes all who wait, so that they look at the state again.
        func broadcast() {}
    #endif

    /// Runs `body` alone. It must not call back into whatever takes this lock.
    func withLock<Result, Failure: Error>(
        _ body: (inout State) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        lock()
        defer { unlock() }
        return try body(&state)
    }

    /// Changes the state and wakes all who wait for it to change.
    func change<Result, Failure: Error>(
        _ body: (inout State) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        lock()
        defer {
            unlock()
            broadcast()
        }
        return try body(&state)
    }

    /// Runs `body` alone, again after each change, until it has a result.
    func wait<Result, Failure: Error>(
        until body: (inout State) throws(Failure) -> Result?
    ) throws(Failure) -> Result {
        lock()
        defer { unlock() }
        while true {
            if let result = try body(&state) { return result }
            wait()
        }
    }
}
