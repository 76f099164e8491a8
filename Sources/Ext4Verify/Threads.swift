#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// Runs `body` with each number below `count` on a thread of its own, and waits for all of them.
package func onThreads(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) {
    var threads: [pthread_t] = []
    for index in 0..<count {
        let work = ThreadWork { body(index) }
        let passed = unsafe Unmanaged.passRetained(work)
        #if canImport(Glibc)
            var thread = pthread_t()
        #else
            var thread: pthread_t?
        #endif
        let failed = unsafe pthread_create(&thread, nil, runThreadWork, passed.toOpaque())
        guard failed == 0 else {
            unsafe passed.release()
            body(index)
            continue
        }
        #if canImport(Glibc)
            threads.append(thread)
        #else
            if let thread { threads.append(thread) }
        #endif
    }
    for thread in threads { pthread_join(thread, nil) }
}

/// Seconds on a clock that only goes forward.
package func secondsNow() -> Double {
    var time = timespec()
    unsafe clock_gettime(CLOCK_MONOTONIC, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}

private final class ThreadWork: Sendable {
    let body: @Sendable () -> Void
    init(_ body: @escaping @Sendable () -> Void) { self.body = body }
}

#if canImport(Glibc)
    private func runThreadWork(_ passed: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
        if let passed = unsafe passed {
            let work = unsafe Unmanaged<ThreadWork>.fromOpaque(passed).takeRetainedValue()
            work.body()
        }
        return nil
    }
#else
    private func runThreadWork(_ passed: UnsafeMutableRawPointer) -> UnsafeMutableRawPointer? {
        unsafe Unmanaged<ThreadWork>.fromOpaque(passed).takeRetainedValue().body()
        return nil
    }
#endif
