internal import CFuse3
internal import Ext4
internal import Glibc

/// A thread that commits what waits in a volume's journal every few seconds, so that a crash loses
/// no more than that (`commit=`).
@safe
final class CommitClock {
    private let stopDescriptor: Int32
    private var thread: pthread_t?

    private final class Work: Sendable {
        let session: Session
        let seconds: Int32
        let stopDescriptor: Int32
        let log: Log

        init(_ session: Session, seconds: Int32, stopDescriptor: Int32, log: Log) {
            self.session = session
            self.seconds = seconds
            self.stopDescriptor = stopDescriptor
            self.log = log
        }

        func run() {
            var watched = pollfd(fd: stopDescriptor, events: Int16(POLLIN), revents: 0)
            while true {
                let ready = unsafe poll(&watched, 1, seconds * 1000)
                if ready > 0 { return }
                guard ready == 0 else { continue }
                do throws(Ext4Error) {
                    try session.gate.pass { () throws(Ext4Error) in
                        try session.volume.commit()
                    }
                } catch {
                    // The journal has told of it already, and every later change is refused.
                    return
                }
            }
        }
    }

    init(_ session: Session, seconds: UInt32, log: Log) throws(MountFailure) {
        stopDescriptor = eventfd(0, Int32(EFD_CLOEXEC | EFD_NONBLOCK))
        guard stopDescriptor >= 0 else {
            throw MountFailure("no descriptor for an event (errno \(errno))")
        }
        let work = unsafe Unmanaged.passRetained(
            Work(
                session, seconds: Int32(clamping: min(seconds, 1_000_000)),
                stopDescriptor: stopDescriptor, log: log))
        var made = pthread_t()
        let failed = unsafe pthread_create(
            &made, nil,
            { work in
                guard let work = unsafe work else { return nil }
                unsafe Unmanaged<Work>.fromOpaque(work).takeRetainedValue().run()
                return nil
            }, work.toOpaque())
        guard failed == 0 else {
            unsafe work.release()
            throw MountFailure("no thread for commits (errno \(failed))")
        }
        thread = made
    }

    /// Ends the thread.
    func stop() {
        eventfd_write(stopDescriptor, 1)
        if let thread { pthread_join(thread, nil) }
        thread = nil
    }

    deinit { close(stopDescriptor) }
}
