import Synchronization

// A value and the lock that guards it. The only lock of the engine: it blocks on an operating
// system and spins where there is none (Embedded Swift has `Atomic` but no `Mutex`).

#if hasFeature(Embedded)
    @safe
    package struct Guarded<Value>: ~Copyable, @unchecked Sendable {
        private let isHeld = Atomic<Bool>(false)
        private let cell: UnsafeMutablePointer<Value>

        package init(_ value: consuming sending Value) {
            unsafe cell = .allocate(capacity: 1)
            unsafe cell.initialize(to: value)
        }

        deinit {
            unsafe cell.deinitialize(count: 1)
            unsafe cell.deallocate()
        }

        package borrowing func withLock<Result, Failure: Error>(
            _ body: (inout Value) throws(Failure) -> Result
        ) throws(Failure) -> Result {
            while isHeld.exchange(true, ordering: .acquiring) {}
            defer { isHeld.store(false, ordering: .releasing) }
            return try unsafe body(&cell.pointee)
        }
    }
#elseif THREAD_SANITIZER
    /// By a lock that the thread sanitizer knows: of `Mutex` it sees nothing (`scripts/tsan`).
    package struct Guarded<Value>: ~Copyable, @unchecked Sendable {
        private let monitor: Monitor<Value>

        package init(_ value: consuming sending Value) { monitor = Monitor(value) }

        package borrowing func withLock<Result, Failure: Error>(
            _ body: (inout Value) throws(Failure) -> Result
        ) throws(Failure) -> Result {
            try monitor.withLock(body)
        }
    }
#else
    package struct Guarded<Value>: ~Copyable, @unchecked Sendable {
        private let mutex: Mutex<Value>

        package init(_ value: consuming sending Value) { mutex = Mutex(value) }

        /// Runs `body` alone. It must not call back into whatever takes this lock.
        package borrowing func withLock<Result, Failure: Error>(
            _ body: (inout Value) throws(Failure) -> Result
        ) throws(Failure) -> Result {
            // The engine's guarded values hold Sendable classes and plain values only; `sending`
            // cannot see that through a generic, so the two handovers are stated by hand.
            nonisolated(unsafe) let body = body
            return try mutex.withLock {
                (value: inout sending Value) throws(Failure) -> sending Result in
                nonisolated(unsafe) let result = try unsafe body(&value)
                return unsafe result
            }
        }
    }
#endif
