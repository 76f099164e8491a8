/// A device that starts some way into another: a partition in the image of a disk.
public final class ShiftedDevice: BlockDevice {
    private let device: any BlockDevice
    private let offset: UInt64

    /// What lies behind the first `offset` bytes of `device`.
    public init(_ device: any BlockDevice, by offset: UInt64) {
        self.device = device
        self.offset = min(offset, device.byteCount)
    }

    /// The bytes behind the offset.
    public var byteCount: UInt64 { device.byteCount - offset }
    /// Whether writing is refused.
    public var isReadOnly: Bool { device.isReadOnly }

    /// Fills `bytes` from `byteOffset` on.
    public func read(at byteOffset: UInt64, into bytes: inout MutableRawSpan) throws(Ext4Error) {
        try checkBounds(.read, at: byteOffset, count: bytes.byteCount)
        try device.read(at: offset + byteOffset, into: &bytes)
    }

    /// Writes `bytes` from `byteOffset` on.
    public func write(_ bytes: RawSpan, at byteOffset: UInt64) throws(Ext4Error) {
        try checkBounds(.write, at: byteOffset, count: bytes.byteCount)
        try device.write(bytes, at: offset + byteOffset)
    }

    /// Makes what was written durable.
    public func flush() throws(Ext4Error) { try device.flush() }

    /// Makes a range read as zeros.
    public func writeZeros(at byteOffset: UInt64, count: UInt64) throws(Ext4Error) {
        try checkBounds(.write, at: byteOffset, count: Int(clamping: count))
        try device.writeZeros(at: offset + byteOffset, count: count)
    }

    /// Gives a range back.
    public func discard(at byteOffset: UInt64, count: UInt64) throws(Ext4Error) {
        try checkBounds(.discard, at: byteOffset, count: Int(clamping: count))
        try device.discard(at: offset + byteOffset, count: count)
    }
}
