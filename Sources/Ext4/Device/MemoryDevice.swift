/// A device in memory, for tests and for images that are already there.
public final class MemoryDevice: BlockDevice {
    private let contents: Guarded<[UInt8]>
    /// The device's size in bytes.
    public let byteCount: UInt64
    /// Whether writing is refused.
    public let isReadOnly: Bool

    /// Makes a device with `bytes` on it.
    public init(_ bytes: [UInt8], isReadOnly: Bool = false) {
        byteCount = UInt64(bytes.count)
        contents = Guarded(bytes)
        self.isReadOnly = isReadOnly
    }

    /// A copy of all bytes.
    public var bytes: [UInt8] { contents.withLock { $0 } }

    /// Fills `bytes` from `byteOffset` on.
    public func read(at byteOffset: UInt64, into bytes: inout MutableRawSpan) throws(Ext4Error) {
        let count = bytes.byteCount
        try checkBounds(.read, at: byteOffset, count: count)
        let start = Int(byteOffset)
        contents.withLock { contents in
            unsafe bytes.withUnsafeMutableBytes { target in
                unsafe contents.withUnsafeBytes { source in
                    unsafe target.copyMemory(
                        from: UnsafeRawBufferPointer(rebasing: source[start..<start + count]))
                }
            }
        }
    }

    /// Writes `bytes` from `byteOffset` on.
    public func write(_ bytes: RawSpan, at byteOffset: UInt64) throws(Ext4Error) {
        guard !isReadOnly else { throw .readOnlyVolume }
        try checkBounds(.write, at: byteOffset, count: bytes.byteCount)
        let start = Int(byteOffset)
        contents.withLock { contents in
            var span = contents.mutableSpan
            var raw = unsafe span.mutableBytes
            raw.store(bytes, at: start)
        }
    }

    /// Does nothing: memory is as durable as it gets.
    public func flush() throws(Ext4Error) {}
}
