internal import CFuse3
internal import Ext4
internal import Glibc

/// What one thread of a session loop has for itself: its buffers and its present request.
@safe
final class Worker {
    private let fuse: OpaquePointer
    private let descriptor: Int32
    private let session: Session
    /// The request, in memory that libfuse allocates.
    private var request = unsafe fuse_buf()
    /// Where replies are made.
    private var scratch = unsafe UnsafeMutableRawBufferPointer(start: nil, count: 0)
    /// Whether the present request is a write that takes set-id bits away: libfuse does not hand
    /// that on.
    private(set) var dropsPrivileges = false
    private let loop: SessionLoop

    init(_ loop: SessionLoop) {
        unsafe fuse = unsafe loop.fuse
        descriptor = loop.descriptor
        session = loop.session
        self.loop = loop
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

    /// Serves one request.
    func serveOne() -> Bool {
        guard receive() else { return false }
        session.gate.pass { process() }
        return true
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
        while true {
            switch unsafe fuse_session_receive_buf(fuse, &request) {
            case 1...: return true
            // A request that was taken back, or the signal that ends the loop.
            case -EINTR, -EAGAIN: if loop.isStopped { return false }
            default: return false
            }
        }
    }
}
