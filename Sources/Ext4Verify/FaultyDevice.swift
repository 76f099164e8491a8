import Foundation

@testable import Ext4

/// A device in memory that can keep a record of what is written and flushed, and fail on demand.
@safe
final class TestDevice: BlockDevice, @unchecked Sendable {
    enum Event {
        case write(offset: Int, bytes: [UInt8])
        case flush
    }

    /// Which request fails, and what comes after.
    struct Fault {
        var operation: IOFailure.Operation
        /// The first request that fails, from 1 on.
        var number: Int
        /// Whether all that follow fail too, as with a device that is gone.
        var isLasting: Bool
        /// Whether a failing write leaves its first half on the device.
        var isTorn = false
    }

    private struct State {
        var events: [Event] = []
        var isRecording = false
        var counts: [IOFailure.Operation: Int] = [:]
        var fault: Fault?
        var hasFailed = false
    }

    let byteCount: UInt64
    let isReadOnly = false
    // Guarded by the lock of `state`.
    private let storage: UnsafeMutableRawPointer
    private let state = Guarded(State())

    init(byteCount: Int) {
        self.byteCount = UInt64(byteCount)
        guard let storage = unsafe calloc(byteCount, 1) else {
            preconditionFailure("out of memory")
        }
        unsafe self.storage = storage
    }

    convenience init(copyOf other: TestDevice) {
        self.init(byteCount: Int(other.byteCount))
        other.state.withLock { _ in
            unsafe storage.copyMemory(from: other.storage, byteCount: Int(byteCount))
        }
    }

    /// Takes over the contents of a file.
    convenience init(path: String) throws {
        let descriptor = unsafe open(path, O_RDONLY)
        guard descriptor >= 0 else { throw Failed(description: "open \(path): \(errno)") }
        defer { close(descriptor) }
        let size = Int(lseek(descriptor, 0, SEEK_END))
        self.init(byteCount: size)
        var done = 0
        while done < size {
            let count = unsafe pread(descriptor, storage + done, size - done, off_t(done))
            guard count > 0 else { throw Failed(description: "read \(path): \(errno)") }
            done += count
        }
    }

    deinit { unsafe free(storage) }

    /// Writes the contents to a file, with holes where there are zeros.
    func save(to path: String) throws {
        let descriptor = unsafe open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        guard descriptor >= 0 else { throw Failed(description: "create \(path): \(errno)") }
        defer { close(descriptor) }
        guard ftruncate(descriptor, off_t(byteCount)) == 0 else {
            throw Failed(description: "truncate \(path): \(errno)")
        }
        try state.withLock { (_) throws(Failed) in
            let piece = 1 << 16
            for start in stride(from: 0, to: Int(byteCount), by: piece) {
                let count = min(piece, Int(byteCount) - start)
                let isZero =
                    unsafe storage.load(fromByteOffset: start, as: UInt64.self) == 0
                    && memcmp(storage + start, storage + start + 8, count - 8) == 0
                if isZero { continue }
                guard unsafe pwrite(descriptor, storage + start, count, off_t(start)) == count
                else { throw Failed(description: "write \(path): \(errno)") }
            }
        }
    }

    /// Changes bytes behind everybody's back.
    func put(_ bytes: ArraySlice<UInt8>, at offset: Int) {
        state.withLock { _ in
            unsafe bytes.withUnsafeBytes { source in
                guard let base = source.baseAddress else { return }
                unsafe (storage + offset).copyMemory(from: base, byteCount: source.count)
            }
        }
    }

    // MARK: Recording and failing

    var events: [Event] { state.withLock { $0.events } }
    var eventCount: Int { state.withLock { $0.events.count } }

    func startRecording() {
        state.withLock { state in
            state.events = []
            state.isRecording = true
        }
    }

    /// Lets a request fail, counted from now on.
    func setFault(_ fault: Fault?) {
        state.withLock { state in
            state.fault = fault
            state.counts = [:]
            state.hasFailed = false
        }
    }

    /// How many requests of a kind there were.
    func count(of operation: IOFailure.Operation) -> Int {
        state.withLock { $0.counts[operation, default: 0] }
    }

    /// Whether the request that was to fail came.
    var hasFailed: Bool { state.withLock { $0.hasFailed } }

    private func fault(of operation: IOFailure.Operation, _ state: inout State) -> Fault? {
        let count = state.counts[operation, default: 0] + 1
        state.counts[operation] = count
        guard let fault = state.fault else { return nil }
        if fault.operation == operation,
            fault.isLasting ? count >= fault.number : count == fault.number
        {
            state.hasFailed = true
            return fault
        }
        // A device that is gone answers nothing any more.
        return state.hasFailed && fault.isLasting ? fault : nil
    }

    // MARK: Requests

    func read(at byteOffset: UInt64, into bytes: inout MutableRawSpan) throws(Ext4Error) {
        let count = bytes.byteCount
        try checkBounds(.read, at: byteOffset, count: count)
        let isFailing = state.withLock { state in
            if fault(of: .read, &state) != nil { return true }
            unsafe bytes.withUnsafeMutableBytes { target in
                guard let base = target.baseAddress else { return }
                unsafe base.copyMemory(from: storage + Int(byteOffset), byteCount: count)
            }
            return false
        }
        if isFailing { throw .io(IOFailure(.read, at: byteOffset, count: count, errno: 5)) }
    }

    func write(_ bytes: RawSpan, at byteOffset: UInt64) throws(Ext4Error) {
        try checkBounds(.write, at: byteOffset, count: bytes.byteCount)
        let isFailing = state.withLock { state in
            let fault = fault(of: .write, &state)
            if let fault, !fault.isTorn { return true }
            let count = fault == nil ? bytes.byteCount : bytes.byteCount / 1024 * 512
            unsafe bytes.withUnsafeBytes { source in
                guard let base = source.baseAddress else { return }
                unsafe (storage + Int(byteOffset)).copyMemory(from: base, byteCount: count)
                if state.isRecording {
                    let copy = unsafe [UInt8](
                        UnsafeRawBufferPointer(start: base, count: count))
                    state.events.append(.write(offset: Int(byteOffset), bytes: copy))
                }
            }
            return fault != nil
        }
        if isFailing {
            throw .io(IOFailure(.write, at: byteOffset, count: bytes.byteCount, errno: 5))
        }
    }

    func flush() throws(Ext4Error) {
        let isFailing = state.withLock { state in
            if fault(of: .flush, &state) != nil { return true }
            if state.isRecording { state.events.append(.flush) }
            return false
        }
        if isFailing { throw .io(IOFailure(.flush, at: 0, count: 0, errno: 5)) }
    }
}
