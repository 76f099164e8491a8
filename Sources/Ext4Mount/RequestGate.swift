internal import Glibc

/// Lets requests pass side by side, and none while somebody changes what all of them stand on.
@safe
final class RequestGate: @unchecked Sendable {
    private let lock: UnsafeMutablePointer<pthread_rwlock_t>

    init() {
        unsafe lock = .allocate(capacity: 1)
        var attributes = pthread_rwlockattr_t()
        unsafe pthread_rwlockattr_init(&attributes)
        // Otherwise who wants to close it would wait for a moment without requests.
        unsafe pthread_rwlockattr_setkind_np(
            &attributes, Int32(PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP))
        unsafe pthread_rwlock_init(lock, &attributes)
        unsafe pthread_rwlockattr_destroy(&attributes)
    }

    deinit {
        unsafe pthread_rwlock_destroy(lock)
        unsafe lock.deallocate()
    }

    /// Runs `body` as one of those that pass; it must not pass a second time.
    @inline(__always)
    func pass<Result, Failure: Error>(
        _ body: () throws(Failure) -> Result
    ) throws(Failure) -> Result {
        unsafe pthread_rwlock_rdlock(lock)
        defer { unsafe pthread_rwlock_unlock(lock) }
        return try body()
    }

    /// Runs `body` alone, for somebody who is passing: what was known before may be otherwise.
    func close<Result, Failure: Error>(
        _ body: () throws(Failure) -> Result
    ) throws(Failure) -> Result {
        unsafe pthread_rwlock_unlock(lock)
        unsafe pthread_rwlock_wrlock(lock)
        defer {
            unsafe pthread_rwlock_unlock(lock)
            unsafe pthread_rwlock_rdlock(lock)
        }
        return try body()
    }
}
