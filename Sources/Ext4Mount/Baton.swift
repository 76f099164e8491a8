internal import Glibc

/// The part of reading requests, which one thread at a time has.
///
/// A pthread lock and not `Mutex`: threads wait here for a condition.
@safe
final class Baton: @unchecked Sendable {
    private let lock: UnsafeMutablePointer<pthread_mutex_t>
    private let isFree: UnsafeMutablePointer<pthread_cond_t>
    // Guarded by `lock`.
    private var isTaken = false
    private var hasEnded = false
    private var waiting = 0

    init() {
        unsafe lock = .allocate(capacity: 1)
        unsafe lock.initialize(to: pthread_mutex_t())
        unsafe pthread_mutex_init(lock, nil)
        unsafe isFree = .allocate(capacity: 1)
        unsafe isFree.initialize(to: pthread_cond_t())
        unsafe pthread_cond_init(isFree, nil)
    }

    deinit {
        unsafe pthread_cond_destroy(isFree)
        unsafe pthread_mutex_destroy(lock)
        unsafe isFree.deallocate()
        unsafe lock.deallocate()
    }

    /// Waits until nobody has it and takes it; false when the loop has ended.
    func take() -> Bool {
        unsafe pthread_mutex_lock(lock)
        defer { unsafe pthread_mutex_unlock(lock) }
        waiting += 1
        while isTaken, !hasEnded { unsafe pthread_cond_wait(isFree, lock) }
        waiting -= 1
        if hasEnded { return false }
        isTaken = true
        return true
    }

    /// Gives it to a thread that waits for it; false when there is none, and the caller keeps it.
    func pass() -> Bool {
        unsafe pthread_mutex_lock(lock)
        defer { unsafe pthread_mutex_unlock(lock) }
        guard waiting > 0 else { return false }
        isTaken = false
        unsafe pthread_cond_signal(isFree)
        return true
    }

    /// Lets every thread go, now and later.
    func end() {
        unsafe pthread_mutex_lock(lock)
        hasEnded = true
        unsafe pthread_cond_broadcast(isFree)
        unsafe pthread_mutex_unlock(lock)
    }
}
