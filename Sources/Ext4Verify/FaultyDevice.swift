#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif
package import Ext4
import Synchronization

/// A device in memory that fails on demand and can keep a record of what is written and flushed.
@safe
package final class FaultyDevice: BlockDevice, @unchecked Sendable {
    /// What the device is asked for.
    package enum Event {
        case write(offset: Int, bytes: [UInt8])
        case flush
    }

    /// Which request fails, how, and what comes after.
    package struct Fault: Sendable {
        /// What is the matter with the device.
        package enum Kind: Hashable, Sendable {
            /// One request fails.
            case once
            /// That request and every later one of any kind fails: the device is gone.
            case gone
            /// That write and every later one fails, all else goes on: the device has turned
            /// read-only (`EROFS`).
            case readOnly
            /// That write and every later one to where there was nothing but zeros fails: what the
            /// device stands on is full (`ENOSPC`).
            case full
        }

        /// What the first request that fails asks for.
        package var operation: IOFailure.Operation
        /// Its number among those, from 1 on.
        package var number: Int
        package var kind: Kind
        /// Whether some sectors of a write that fails are on the device all the same: which, is
        /// drawn by this seed.
        package var tear: UInt64?

        /// Describes a fault.
        package init(
            operation: IOFailure.Operation, number: Int, kind: Kind, tear: UInt64? = nil
        ) {
            self.operation = operation
            self.number = number
            self.kind = kind
            self.tear = tear
        }
    }

    private struct State {
        var events: [Event] = []
        var isRecording = false
        var counts: [IOFailure.Operation: Int] = [:]
        var fault: Fault?
        var hasFailed = false
        var refusals = 0
    }

    /// What could not be read or written on behalf of a test.
    package struct FileFailure: Error, CustomStringConvertible {
        package let description: String
    }

    package let byteCount: UInt64
    package let isReadOnly = false
    // Guarded by the lock of `state`.
    private let storage: UnsafeMutableRawPointer
    private let state = Mutex(State())

    /// A device of zeros.
    package init(byteCount: Int) {
        self.byteCount = UInt64(byteCount)
        guard let storage = unsafe calloc(max(byteCount, 1), 1) else {
            preconditionFailure("out of memory")
        }
        unsafe self.storage = storage
    }

    /// A device with the same contents, and no faults.
    package convenience init(copyOf other: FaultyDevice) {
        self.init(byteCount: Int(other.byteCount))
        other.state.withLock { _ in
            unsafe storage.copyMemory(from: other.storage, byteCount: Int(byteCount))
        }
    }

    /// Takes over the contents of a file.
    package convenience init(path: String) throws(FileFailure) {
        let descriptor = unsafe open(path, O_RDONLY)
        guard descriptor >= 0 else { throw FileFailure(description: "open \(path): \(errno)") }
        defer { close(descriptor) }
        let size = Int(lseek(descriptor, 0, SEEK_END))
        self.init(byteCount: size)
        var done = 0
        while done < size {
            let count = unsafe pread(descriptor, storage + done, size - done, off_t(done))
            guard count > 0 else { throw FileFailure(description: "read \(path): \(errno)") }
            done += count
        }
    }

    deinit { unsafe free(storage) }

    /// Writes the contents to a file, with holes where there are zeros.
    package func save(to path: String) throws(FileFailure) {
        let descriptor = unsafe open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        guard descriptor >= 0 else { throw FileFailure(description: "create \(path): \(errno)") }
        defer { close(descriptor) }
        guard ftruncate(descriptor, off_t(byteCount)) == 0 else {
            throw FileFailure(description: "truncate \(path): \(errno)")
        }
        try state.withLock { (_) throws(FileFailure) in
            let piece = 1 << 16
            for start in stride(from: 0, to: Int(byteCount), by: piece) {
                let count = min(piece, Int(byteCount) - start)
                let isZero =
                    unsafe storage.load(fromByteOffset: start, as: UInt64.self) == 0
                    && memcmp(storage + start, storage + start + 8, count - 8) == 0
                if isZero { continue }
                guard unsafe pwrite(descriptor, storage + start, count, off_t(start)) == count
                else { throw FileFailure(description: "write \(path): \(errno)") }
            }
        }
    }

    /// Changes bytes behind everybody's back.
    package func put(_ bytes: ArraySlice<UInt8>, at offset: Int) {
        state.withLock { _ in
            unsafe bytes.withUnsafeBytes { source in
                guard let base = source.baseAddress else { return }
                unsafe (storage + offset).copyMemory(from: base, byteCount: source.count)
            }
        }
    }

    // MARK: Recording and failing

    /// What was written and flushed since `startRecording`.
    package var events: [Event] { state.withLock { $0.events } }
    package var eventCount: Int { state.withLock { $0.events.count } }

    /// Remembers writes and flushes from now on.
    package func startRecording() {
        state.withLock { state in
            state.events = []
            state.isRecording = true
        }
    }

    /// Lets a request fail, counted from now on.
    package func setFault(_ fault: Fault?) {
        state.withLock { state in
            state.fault = fault
            state.counts = [:]
            state.hasFailed = false
            state.refusals = 0
        }
    }

    /// How many requests of a kind there were.
    package func count(of operation: IOFailure.Operation) -> Int {
        state.withLock { $0.counts[operation, default: 0] }
    }

    /// Whether the request that was to fail came.
    package var hasFailed: Bool { state.withLock { $0.hasFailed } }
    /// How many requests failed.
    package var refusals: Int { state.withLock { $0.refusals } }

    /// The error number of a request that fails, and the fault that it fails of.
    private func fault(
        of operation: IOFailure.Operation, at offset: UInt64 = 0, count: Int = 0,
        _ state: inout State
    ) -> (errno: Int32, fault: Fault)? {
        let number = state.counts[operation, default: 0] + 1
        state.counts[operation] = number
        guard let fault = state.fault else { return nil }
        let isFirst = fault.operation == operation && number == fault.number
        if isFirst { state.hasFailed = true }
        guard state.hasFailed else { return nil }
        let code: Int32
        switch fault.kind {
        case .once:
            guard isFirst else { return nil }
            code = EIO
        case .gone: code = EIO
        case .readOnly:
            guard operation == .write else { return nil }
            code = EROFS
        case .full:
            guard operation == .write, isZero(at: Int(offset), count: count) else { return nil }
            code = ENOSPC
        }
        state.refusals += 1
        return (code, fault)
    }

    private func isZero(at offset: Int, count: Int) -> Bool {
        unsafe UnsafeRawBufferPointer(start: storage + offset, count: count)
            .allSatisfy { $0 == 0 }
    }

    // MARK: Requests

    package func read(
        at byteOffset: UInt64, into bytes: inout MutableRawSpan
    ) throws(Ext4Error) {
        let count = bytes.byteCount
        try checkBounds(.read, at: byteOffset, count: count)
        let code = state.withLock { state -> Int32? in
            if let (code, _) = fault(of: .read, &state) { return code }
            unsafe bytes.withUnsafeMutableBytes { target in
                guard let base = target.baseAddress else { return }
                unsafe base.copyMemory(from: storage + Int(byteOffset), byteCount: count)
            }
            return nil
        }
        if let code {
            throw .io(IOFailure(.read, at: byteOffset, count: count, errno: code))
        }
    }

    package func write(_ bytes: RawSpan, at byteOffset: UInt64) throws(Ext4Error) {
        let count = bytes.byteCount
        try checkBounds(.write, at: byteOffset, count: count)
        let code = state.withLock { state -> Int32? in
            let fault = fault(of: .write, at: byteOffset, count: count, &state)
            guard let (code, fault) = fault else {
                put(bytes, 0..<count, at: Int(byteOffset), &state)
                return nil
            }
            guard let tear = fault.tear, count > 512 else { return code }
            var random = Randomness(tear, step: Int(truncatingIfNeeded: byteOffset))
            for start in stride(from: 0, to: count, by: 512) where random.chance(50) {
                put(bytes, start..<min(start + 512, count), at: Int(byteOffset), &state)
            }
            return code
        }
        if let code {
            throw .io(IOFailure(.write, at: byteOffset, count: count, errno: code))
        }
    }

    private func put(
        _ bytes: RawSpan, _ range: Range<Int>, at byteOffset: Int, _ state: inout State
    ) {
        unsafe bytes.withUnsafeBytes { source in
            guard let base = source.baseAddress else { return }
            let start = unsafe base + range.lowerBound
            unsafe (storage + byteOffset + range.lowerBound).copyMemory(
                from: start, byteCount: range.count)
            if state.isRecording {
                let copy = unsafe [UInt8](
                    UnsafeRawBufferPointer(start: start, count: range.count))
                state.events.append(
                    .write(offset: byteOffset + range.lowerBound, bytes: copy))
            }
        }
    }

    /// Writes what nobody ever wrote: whoever needs what was discarded shall notice.
    package func discard(at byteOffset: UInt64, count: UInt64) throws(Ext4Error) {
        try checkBounds(.discard, at: byteOffset, count: Int(clamping: count))
        let junk = [UInt8](repeating: 0xDB, count: Int(min(count, 1 << 16)))
        var done: UInt64 = 0
        while done < count {
            let part = Int(min(UInt64(junk.count), count - done))
            try write(unsafe junk.span.bytes.extracting(0..<part), at: byteOffset + done)
            done += UInt64(part)
        }
    }

    package func flush() throws(Ext4Error) {
        let code = state.withLock { state -> Int32? in
            if let (code, _) = fault(of: .flush, &state) { return code }
            if state.isRecording { state.events.append(.flush) }
            return nil
        }
        if let code { throw .io(IOFailure(.flush, at: 0, count: 0, errno: code)) }
    }
}
