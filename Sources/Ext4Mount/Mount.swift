internal import CFuse3
internal import CLinux
public import Ext4
internal import Glibc
internal import Synchronization

// A volume at a mount point, from mount(2) to the end of the process's part in it.
//
// The end comes from one of two sides: the kernel ends the session when the last user of the mount
// is gone after an umount, or a signal asks for the end, and then the mount is taken down from
// here, with whoever still uses it left with errors.

/// A mounted volume.
@safe
public final class Mount {
    private let fuse: OpaquePointer
    private let session: Session
    private let mountPoint: String
    private let options: MountOptions
    private let log: Log
    /// The number of threads: one serves serial work, the others wait without a cost until it
    /// blocks or has more than one request to serve.
    private static let threadCount = 8

    /// Mounts a volume.
    ///
    /// - Parameters:
    ///   - source: what `mount` and `df` show as the device.
    ///   - mountPoint: an existing directory, as an absolute path.
    ///   - log: gets what goes wrong later, when nobody waits for an answer.
    public init(
        _ volume: Volume, source: String, at mountPoint: String, options: MountOptions,
        log: Log = .none
    ) throws(MountFailure) {
        try Self.checkDirectory(mountPoint)
        session = Session(volume: volume, options: options, log: log)
        self.options = options
        self.mountPoint = mountPoint
        self.log = log

        FuseMessages.collect()
        let list = Self.fuseOptions(source: source, options, isReadOnly: !volume.isWritable)
        var operations = Session.operations()
        let userData = unsafe Unmanaged.passUnretained(session).toOpaque()
        let made = unsafe Self.withArguments(["ext4", "-o", list]) { arguments in
            unsafe fuse_session_new(
                &arguments, &operations, MemoryLayout<fuse_lowlevel_ops>.size, userData)
        }
        guard let made = unsafe made else {
            throw MountFailure(FuseMessages.last ?? "the mount options were refused")
        }
        guard unsafe fuse_session_mount(made, mountPoint) == 0 else {
            unsafe fuse_session_destroy(made)
            throw MountFailure(
                "cannot mount on \(mountPoint): \(FuseMessages.last ?? "the kernel refused")")
        }
        if volume.isWritable { unsafe InitialReply.extend(made) }
        unsafe fuse = unsafe made
    }

    deinit { unsafe fuse_session_destroy(fuse) }

    /// Serves the mount until it is unmounted, or until SIGINT, SIGTERM or SIGHUP.
    ///
    /// Returns when the mount is gone. The signals are blocked in the calling thread from here on.
    ///
    /// - Parameter whenReady: called once the kernel takes requests.
    public func serve(whenReady: () -> Void = {}) throws(MountFailure) {
        let signals = Self.blockSignals()
        let loop = unsafe SessionLoop(session: session, fuse: fuse)
        guard loop.serveFirst() else {
            unsafe fuse_session_unmount(fuse)
            throw MountFailure("the kernel ended the session at its first request")
        }
        ReadAhead.raise(at: mountPoint)
        // Each commit takes and gives some hundred KiB. By default that goes back to the system and
        // is asked for anew each time: two calls, and a fault a page.
        linux_keep_freed_memory(4 << 20, 1 << 20, 1)
        let clock =
            session.volume.isWritable
            ? try CommitClock(session, seconds: options.commitInterval, log: log) : nil
        whenReady()

        let threads = WorkerThreads(loop, count: Self.threadCount)
        var signal = threads.waitForEnd(orOneOf: signals)
        while signal == Self.reportSignal {
            report()
            signal = threads.waitForEnd(orOneOf: signals)
        }
        if let signal { log(.info, "signal \(signal): unmounting \(mountPoint)") }
        loop.stop()
        threads.end()
        clock?.stop()
        // Closes the connection first, so a user of the mount cannot hold the end up.
        unsafe fuse_session_unmount(fuse)
        do throws(Ext4Error) {
            try session.volume.close()
        } catch {
            throw MountFailure("not unmounted cleanly: \(error)")
        }
    }

    /// Asks for a line about the cache.
    private static let reportSignal = SIGUSR2

    /// Logs how the cache of metadata does. Somebody asked for it: it is logged whatever else is.
    private func report() {
        let (cache, blockSize) = session.gate.pass {
            (session.volume.cacheStatistics, session.volume.blockSize)
        }
        let lookups = cache.hits + cache.misses
        let permille = lookups == 0 ? 0 : cache.hits * 1000 / lookups
        let budget = options.cacheBytes ?? OpenOptions().cacheBytes
        log(
            .error,
            "cache of \(mountPoint): \(cache.blocks * blockSize >> 10) KiB held, budget "
                + "\(budget >> 10) KiB, \(cache.hits) hits, \(cache.misses) misses "
                + "(\(permille / 10).\(permille % 10) % hits)")
    }

    // MARK: - Steps

    private static func checkDirectory(_ path: String) throws(MountFailure) {
        var status = stat()
        guard unsafe stat(path, &status) == 0 else {
            throw MountFailure("\(path): \(String(systemError: errno))")
        }
        guard status.st_mode & S_IFMT == S_IFDIR else {
            throw MountFailure("\(path): not a directory")
        }
    }

    private static func fuseOptions(
        source: String, _ options: MountOptions, isReadOnly: Bool
    ) -> String {
        let isRoot = geteuid() == 0
        var list = [
            isReadOnly ? "ro" : "rw", "default_permissions", "fsname=" + escaped(source),
            "subtype=ext4",
        ]
        // What root mounts, everybody sees, and programs and devices in it work: as with a mount
        // by the kernel. FUSE has it the other way round. For others fusermount3 decides.
        if isRoot { list += ["suid", "dev"] }
        if options.allowsOther ?? isRoot, !options.allowsRoot { list.append("allow_other") }
        if options.allowsRoot { list.append("allow_root") }
        if options.unmountsItself { list.append("auto_unmount") }
        list += options.kernelFlags
        return list.joined(separator: ",")
    }

    /// A value in a list of options, where `,` parts and `\` escapes.
    private static func escaped(_ value: String) -> String {
        var escaped = ""
        for character in value {
            if character == "," || character == "\\" { escaped.append("\\") }
            escaped.append(character)
        }
        return escaped
    }

    private static func withArguments<Result>(
        _ words: [String], _ body: (inout fuse_args) -> Result
    ) -> Result {
        var arguments = unsafe fuse_args(argc: 0, argv: nil, allocated: 0)
        for word in words { unsafe fuse_opt_add_arg(&arguments, word) }
        defer { unsafe fuse_opt_free_args(&arguments) }
        return unsafe body(&arguments)
    }

    private static func blockSignals() -> sigset_t {
        var signals = sigset_t()
        unsafe sigemptyset(&signals)
        for signal in [SIGINT, SIGTERM, SIGHUP, reportSignal, WorkerThreads.endSignal] {
            unsafe sigaddset(&signals, signal)
        }
        unsafe pthread_sigmask(SIG_BLOCK, &signals, nil)
        _ = Glibc.signal(SIGPIPE, SIG_IGN)
        return signals
    }
}

/// The threads of a session loop.
@safe
private final class WorkerThreads {
    /// Sent to the waiting thread when a worker finds that the session has ended.
    static let endSignal = SIGUSR1

    /// Sent to a worker that is to leave its sleep.
    static let wakeSignal = SIGURG

    private var threads: [pthread_t] = []
    private let shared: Shared

    private final class Shared: Sendable {
        let loop: SessionLoop
        let waiting: pthread_t
        let left = Atomic(0)
        init(_ loop: SessionLoop, waiting: pthread_t) {
            self.loop = loop
            self.waiting = waiting
        }
    }

    init(_ loop: SessionLoop, count: Int) {
        // Without a handler the signal would end the process; with one it ends a `read`. Who started
        // this process may have blocked it.
        var action = sigaction()
        unsafe action.__sigaction_handler.sa_handler = { _ in }
        unsafe sigaction(Self.wakeSignal, &action, nil)
        var wake = sigset_t()
        unsafe sigemptyset(&wake)
        unsafe sigaddset(&wake, Self.wakeSignal)
        unsafe pthread_sigmask(SIG_UNBLOCK, &wake, nil)
        shared = Shared(loop, waiting: pthread_self())
        for _ in 0..<count {
            let start = unsafe Unmanaged.passRetained(shared)
            var thread = pthread_t()
            let failed = unsafe pthread_create(
                &thread, nil,
                { start in
                    guard let start = unsafe start else { return nil }
                    let taken = unsafe Unmanaged<Shared>.fromOpaque(start).takeRetainedValue()
                    taken.loop.run()
                    taken.left.add(1, ordering: .acquiringAndReleasing)
                    pthread_kill(taken.waiting, WorkerThreads.endSignal)
                    return nil
                }, start.toOpaque())
            if failed != 0 {
                unsafe start.release()
            } else {
                threads.append(thread)
            }
        }
    }

    /// Sleeps until the session has ended, or until a signal, which it returns.
    func waitForEnd(orOneOf signals: sigset_t) -> Int32? {
        var signals = signals
        var signal: Int32 = 0
        repeat {} while unsafe sigwait(&signals, &signal) != 0
        return signal == Self.endSignal ? nil : signal
    }

    /// Waits until every thread has left the loop, which has been told to stop.
    func end() {
        // A signal that comes before its thread sleeps in `read` wakes nobody: so again and again.
        while shared.left.load(ordering: .acquiring) < threads.count {
            for thread in threads { pthread_kill(thread, Self.wakeSignal) }
            usleep(1000)
        }
        for thread in threads { pthread_join(thread, nil) }
        threads = []
    }
}
