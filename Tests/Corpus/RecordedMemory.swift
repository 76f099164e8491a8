import Ext4
import Synchronization

/// A device in memory that remembers what was written, in order.
final class RecordedMemory: BlockDevice {
    struct Write: Sendable {
        let start: Int
        let bytes: [UInt8]
    }

    let byteCount: UInt64
    let isReadOnly = false
    private let memory: MemoryDevice
    private let recorded = Mutex<[Write]>([])

    init(_ bytes: [UInt8]) {
        memory = MemoryDevice(bytes)
        byteCount = UInt64(bytes.count)
    }

    var bytes: [UInt8] { memory.bytes }
    var writes: [Write] { recorded.withLock { $0 } }

    func read(at byteOffset: UInt64, into bytes: inout MutableRawSpan) throws(Ext4Error) {
        try memory.read(at: byteOffset, into: &bytes)
    }

    func write(_ bytes: RawSpan, at byteOffset: UInt64) throws(Ext4Error) {
        try memory.write(bytes, at: byteOffset)
        let copy = unsafe bytes.withUnsafeBytes { unsafe [UInt8]($0) }
        recorded.withLock { $0.append(Write(start: Int(byteOffset), bytes: copy)) }
    }

    func flush() throws(Ext4Error) {}
}
