internal import CFuse3
internal import Glibc
internal import Synchronization

// Who takes the next request from the kernel: any thread that waits for one, asleep in `read`.
//
// Work under a mount is mostly serial: a program asks, waits, asks again, and what that costs is two
// wake-ups a request, far more than the work itself. A wake-up is cheap where the woken runs on the
// waker's processor, and dear where another processor has to leave its sleep first. With several
// threads waiting the scheduler finds the cheap way by itself: a thread that has replied is still
// busy on its processor when the client asks again, and the next thread takes the request there.
// One thread that reads alone, and looks for requests for a while before it sleeps, was measured to
// be slower by half and more; `Benchmarks/README.md` has the figures.

/// The threads that serve a session.
@safe
final class SessionLoop: @unchecked Sendable {
    let session: Session
    let fuse: OpaquePointer
    let descriptor: Int32
    private let hasEnded = Atomic(false)

    init(session: Session, fuse: OpaquePointer) {
        self.session = session
        unsafe self.fuse = unsafe fuse
        descriptor = unsafe fuse_session_fd(fuse)
    }

    /// Makes every thread leave the loop after its present request; one that sleeps must be sent a
    /// signal besides.
    func stop() { hasEnded.store(true, ordering: .releasing) }

    /// Serves exactly one request: the kernel's first, which sets the session up.
    func serveFirst() -> Bool {
        let worker = Worker(self)
        var isServed = false
        worker.run { isServed = worker.serveOne() }
        return isServed
    }

    /// Serves requests until the volume is unmounted or `stop` is called; for each thread.
    func run() {
        let worker = Worker(self)
        worker.run {
            while !hasEnded.load(ordering: .acquiring), worker.serveOne() {}
        }
        stop()
    }

    /// Whether the loop is to end.
    var isStopped: Bool { hasEnded.load(ordering: .acquiring) }
}
