internal import Glibc

/// Threads that work at the same thing.
enum CrashCrew {
    private final class Task: Sendable {
        let body: @Sendable (Int) -> Void
        let index: Int

        init(_ index: Int, _ body: @escaping @Sendable (Int) -> Void) {
            self.index = index
            self.body = body
        }
    }

    /// How many processors there are.
    static var processorCount: Int { max(Int(sysconf(Int32(_SC_NPROCESSORS_ONLN))), 1) }

    /// Runs `body` in `count` threads, of which the caller's is one, and waits for all.
    static func run(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) {
        var threads: [pthread_t] = []
        for index in 1..<max(count, 1) {
            var thread = pthread_t()
            let task = unsafe Unmanaged.passRetained(Task(index, body))
            let status = unsafe pthread_create(
                &thread, nil,
                { task in
                    guard let task = unsafe task else { return nil }
                    let taken = unsafe Unmanaged<Task>.fromOpaque(task).takeRetainedValue()
                    taken.body(taken.index)
                    return nil
                }, task.toOpaque())
            if status == 0 { threads.append(thread) } else { unsafe task.release() }
        }
        body(0)
        for thread in threads { pthread_join(thread, nil) }
    }

    /// Seconds since some moment.
    static var now: Double {
        var time = timespec()
        unsafe clock_gettime(CLOCK_MONOTONIC, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }
}
