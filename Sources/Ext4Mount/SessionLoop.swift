internal import CFuse3
internal import Glibc

// Who takes the next request from the kernel.
//
// Work under a mount is mostly serial: a program asks, waits, asks again. What that costs is two
// wake-ups a request, far more than the work itself, so the loop avoids them:
//
//  1. One thread at a time reads requests, the reader. It keeps that part while it serves, so
//     serial work stays on one thread and one core's cache.
//  2. It gives the part away when others could go on meanwhile: when more requests are waiting,
//     and before it does what may take long. The thread that takes over is woken then, and only
//     then.
//  3. After a request it looks for the next one for some microseconds before it goes to sleep: a
//     processor that sleeps takes longer to wake than the client takes to ask again. It stops
//     looking when that does not pay, or when others want the processor.
//
//     parked --(nobody reads)--> reader --(hands over)--> serving --> parked
//                                  |  ^
//                                  +--+ serves and keeps reading

/// The threads that serve a session.
@safe
final class SessionLoop: @unchecked Sendable {
    let session: Session
    let fuse: OpaquePointer
    let descriptor: Int32
    /// Becomes readable when the loop is to end.
    let stopDescriptor: Int32
    let baton = Baton()

    init(session: Session, fuse: OpaquePointer) throws(MountFailure) {
        self.session = session
        unsafe self.fuse = unsafe fuse
        descriptor = unsafe fuse_session_fd(fuse)
        stopDescriptor = eventfd(0, Int32(EFD_CLOEXEC | EFD_NONBLOCK))
        guard stopDescriptor >= 0 else {
            throw MountFailure("no descriptor for an event (errno \(errno))")
        }
        // The reader looks for requests without waiting; it waits in `poll`.
        _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK)
    }

    deinit { close(stopDescriptor) }

    /// Makes every thread leave the loop after its present request.
    func stop() {
        baton.end()
        eventfd_write(stopDescriptor, 1)
    }

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
            while baton.take(), worker.readAndServe() {}
        }
        baton.end()
    }
}
