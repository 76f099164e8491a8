internal import CFuse3
internal import Ext4
internal import Glibc

/// What one thread of a session loop has for itself: its buffers, its present request, and whether
/// it is the reader.
@safe
final class Worker {
    private let fuse: OpaquePointer
    private let descriptor: Int32
    private let stopDescriptor: Int32
    private let baton: Baton
    private let session: Session
    /// The request, in memory that libfuse allocates.
    private var request = unsafe fuse_buf()
    /// Where replies are made.
    private var scratch = unsafe UnsafeMutableRawBufferPointer(start: nil, count: 0)
    /// Whether the thread reads the next request too.
    private(set) var isReader = false
    /// Whether the present request is a write that takes set-id bits away: libfuse does not hand
    /// that on.
    private(set) var dropsPrivileges = false
    /// How long the thread looks for a request before it sleeps.
    private var patience = Worker.longestLook
    /// When the thread may look for requests again.
    private var lookAgain: Int64 = 0

    /// The longest time to look for a request, in nanoseconds: about what two wake-ups cost.
    private static let longestLook: Int64 = 50_000
    private static let shortestLook: Int64 = 5_000
    /// From how long on giving the processor up means that somebody else took it.
    private static let longestYield: Int64 = 15_000
    /// How long the thread does not look for requests on a busy machine.
    private static let pause: Int64 = 50_000_000

    init(_ loop: SessionLoop) {
        unsafe fuse = unsafe loop.fuse
        descriptor = loop.descriptor
        stopDescriptor = loop.stopDescriptor
        baton = loop.baton
        session = loop.session
    }

    deinit {
        unsafe free(request.mem)
        unsafe scratch.deallocate()
    }

    // MARK: - The thread's own

    private static let key: pthread_key_t = {
        var key = pthread_key_t()
        unsafe pthread_key_create(&key, nil)
        return key
    }()

    /// Makes this the worker of the calling thread while `body` runs.
    func run(_ body: () -> Void) {
        unsafe pthread_setspecific(Self.key, Unmanaged.passUnretained(self).toOpaque())
        body()
        pthread_setspecific(Self.key, nil)
    }

    /// The worker of the calling thread; nil outside of a session loop.
    static var current: Worker? {
        guard let worker = unsafe pthread_getspecific(key) else { return nil }
        return unsafe Unmanaged<Worker>.fromOpaque(worker).takeUnretainedValue()
    }

    /// The calling thread's buffer of `size` bytes for a reply, good until the next call.
    static func buffer(of size: Int) throws(Ext4Error) -> UnsafeMutableRawBufferPointer {
        guard let current else { throw .invalidArgument }
        return unsafe current.buffer(of: size)
    }

    private func buffer(of size: Int) -> UnsafeMutableRawBufferPointer {
        if unsafe scratch.count < size {
            unsafe scratch.deallocate()
            unsafe scratch = .allocate(byteCount: size, alignment: 4096)
        }
        return unsafe UnsafeMutableRawBufferPointer(rebasing: scratch[..<size])
    }

    // MARK: - Requests

    /// Reads and serves requests until there are no more or another thread is the reader.
    ///
    /// Returns false when the session has ended.
    func readAndServe() -> Bool {
        isReader = true
        while isReader {
            guard receive() else { return false }
            if hasMoreWaiting { handOver() }
            process()
        }
        return true
    }

    /// Serves one request.
    func serveOne() -> Bool {
        guard receive() else { return false }
        process()
        return true
    }

    /// Lets another thread read on, because this one may be busy for a while.
    func handOver() {
        if isReader, baton.pass() { isReader = false }
    }

    private func process() {
        guard let memory = unsafe request.mem,
            unsafe request.size >= MemoryLayout<ext4_fuse_request>.size
        else { return }
        let head = unsafe memory.loadUnaligned(as: ext4_fuse_request.self)
        dropsPrivileges =
            unsafe head.opcode == EXT4_FUSE_WRITE.rawValue
            && request.size >= 72
            && memory.loadUnaligned(fromByteOffset: 60, as: UInt32.self)
                & EXT4_FUSE_WRITE_KILL_SUIDGID.rawValue != 0
        switch head.opcode {
        case EXT4_FUSE_STATX.rawValue:
            var answer = session.extendedStatus(head)
            unsafe write(descriptor, &answer, Int(answer.length))
        case EXT4_FUSE_TMPFILE.rawValue:
            let size = MemoryLayout<ext4_fuse_request>.size
            guard unsafe request.size >= size + MemoryLayout<ext4_fuse_create>.size
            else { return }
            let wanted = unsafe memory.loadUnaligned(
                fromByteOffset: size, as: ext4_fuse_create.self)
            var answer = session.createUnnamed(head, wanted)
            let written = unsafe write(descriptor, &answer, Int(answer.length))
            // The caller was interrupted, and the kernel dropped the answer.
            if written < 0, answer.error == 0 { session.forget(answer.node, 1) }
        default:
            unsafe fuse_session_process_buf(fuse, &request)
        }
    }

    /// Waits for the next request; false when there will be none.
    private func receive() -> Bool {
        let start = Self.now
        while true {
            switch unsafe fuse_session_receive_buf(fuse, &request) {
            case 1...: return true
            case -EINTR: continue
            case -EAGAIN: break
            default: return false
            }
            let now = Self.now
            if now - start < patience {
                sched_yield()
                // Somebody else wanted the processor. It is theirs, and for a while it stays so.
                if Self.now - now > Self.longestYield {
                    patience = 0
                    lookAgain = now + Self.pause
                }
                continue
            }
            guard sleepUntilReadable() else { return false }
            // It was worth looking, or would have been, when the request came soon.
            let end = Self.now
            patience = end - start < 2 * Self.longestLook ? Self.longestLook : patience / 2
            if patience < Self.shortestLook || end < lookAgain { patience = 0 }
        }
    }

    /// Sleeps until there is a request; false when the loop is to end.
    private func sleepUntilReadable() -> Bool {
        var watched = (
            pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0),
            pollfd(fd: stopDescriptor, events: Int16(POLLIN), revents: 0)
        )
        let ready = unsafe withUnsafeMutableBytes(of: &watched) { watched in
            unsafe poll(watched.baseAddress?.assumingMemoryBound(to: pollfd.self), 2, -1)
        }
        return ready < 0 || watched.1.revents == 0
    }

    /// Whether the kernel has another request already.
    private var hasMoreWaiting: Bool {
        var watched = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        return unsafe poll(&watched, 1, 0) > 0 && watched.revents & Int16(POLLIN) != 0
    }

    private static var now: Int64 {
        var time = timespec()
        unsafe clock_gettime(CLOCK_MONOTONIC, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }
}
