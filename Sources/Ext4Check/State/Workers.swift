internal import Ext4
internal import Synchronization

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// Threads that share a list of tasks, by number.
struct Workers: Sendable {
    /// How many threads there are, the caller's included.
    let count: Int
    /// Whether somebody wants an end of it.
    let isCancelled: (@Sendable () -> Bool)?

    init(_ options: CheckOptions) {
        count = options.threads > 0 ? options.threads : Self.processors
        isCancelled = options.isCancelled
    }

    /// The number of processors that are there.
    static var processors: Int { max(1, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN)))) }

    /// Gives out numbers.
    final class Tasks: Sendable {
        let count: Int
        private let next = Atomic<Int>(0)
        private let isStopped = Atomic<Bool>(false)

        private let isCancelled: (@Sendable () -> Bool)?

        init(count: Int, isCancelled: (@Sendable () -> Bool)?) {
            self.count = count
            self.isCancelled = isCancelled
        }

        /// A task that nobody else has; nil when there are no more.
        func take() -> Int? {
            guard !isStopped.load(ordering: .relaxed), isCancelled?() != true else { return nil }
            let task = next.add(1, ordering: .relaxed).oldValue
            return task < count ? task : nil
        }

        func stop() { isStopped.store(true, ordering: .relaxed) }
    }

    /// Runs `body` on every thread. It takes its tasks until there are no more, and returns what
    /// it made of them.
    ///
    /// - Throws: the first failure; the others stop at their next task.
    func run<Result: Sendable>(
        _ taskCount: Int, _ body: @Sendable (Tasks) throws(Ext4Error) -> Result
    ) throws(Ext4Error) -> [Result] {
        let tasks = Tasks(count: taskCount, isCancelled: isCancelled)
        let threads = max(1, min(count, taskCount))
        guard threads > 1 else { return [try body(tasks)] }
        let outcome = Outcome<Result>()
        let work: @Sendable () -> Void = {
            do throws(Ext4Error) {
                outcome.add(try body(tasks))
            } catch {
                tasks.stop()
                outcome.fail(error)
            }
        }
        withoutActuallyEscaping(work) { work in
            var started: [Thread] = []
            for _ in 1..<threads {
                guard let thread = Thread(work) else { break }
                started.append(thread)
            }
            work()
            for thread in started { thread.join() }
        }
        return try outcome.get()
    }

    /// What the threads came to.
    private final class Outcome<Result: Sendable>: Sendable {
        private let state = Mutex<(results: [Result], error: Ext4Error?)>(([], nil))

        func add(_ result: Result) { state.withLock { $0.results.append(result) } }

        func fail(_ error: Ext4Error) {
            state.withLock { if $0.error == nil { $0.error = error } }
        }

        func get() throws(Ext4Error) -> [Result] {
            let (results, error) = state.withLock { ($0.results, $0.error) }
            if let error { throw error }
            return results
        }
    }
}

/// A thread of the system, with room for the recursion of an index of three levels and a tree of
/// five many times over.
private final class Thread {
    private let handle: pthread_t

    private final class Start {
        let body: @Sendable () -> Void
        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }

    /// Starts a thread; nil when the system has none to give.
    init?(_ body: @escaping @Sendable () -> Void) {
        let start = unsafe Unmanaged.passRetained(Start(body))
        #if canImport(Darwin)
            var thread: pthread_t?
            let failed = unsafe pthread_create(
                &thread, nil,
                {
                    unsafe Unmanaged<Start>.fromOpaque($0).takeRetainedValue().body()
                    return nil
                }, start.toOpaque())
            guard failed == 0, let thread = unsafe thread else {
                unsafe start.release()
                return nil
            }
        #else
            var thread = pthread_t()
            let failed = unsafe pthread_create(
                &thread, nil,
                { start in
                    guard let start = unsafe start else { return nil }
                    unsafe Unmanaged<Start>.fromOpaque(start).takeRetainedValue().body()
                    return nil
                }, start.toOpaque())
            guard failed == 0 else {
                unsafe start.release()
                return nil
            }
        #endif
        handle = thread
    }

    func join() { pthread_join(handle, nil) }
}
