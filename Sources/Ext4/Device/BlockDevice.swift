/// What a volume stands on: an array of bytes that can be read and, where it allows, written.
///
/// Requests of the engine are whole numbers of 512-byte sectors, except for those of a superblock.
/// Calls come from several threads at once.
public protocol BlockDevice: AnyObject, Sendable {
    /// The device's size in bytes.
    var byteCount: UInt64 { get }

    /// Whether writing is out of the question.
    var isReadOnly: Bool { get }

    /// Fills all of `bytes` from `byteOffset` on.
    ///
    /// - Throws: `Ext4Error.io`, also when the range lies beyond the end.
    func read(at byteOffset: UInt64, into bytes: inout MutableRawSpan) throws(Ext4Error)

    /// Writes all of `bytes` from `byteOffset` on. It is durable only after a `flush`.
    ///
    /// - Throws: `Ext4Error.io`, also when the range lies beyond the end.
    func write(_ bytes: RawSpan, at byteOffset: UInt64) throws(Ext4Error)

    /// Makes every write that was complete before this call durable.
    ///
    /// - Throws: `Ext4Error.io`.
    func flush() throws(Ext4Error)

    /// Makes `count` bytes from `byteOffset` on read as zeros, with as little writing as the device
    /// can do it.
    ///
    /// - Throws: `Ext4Error.io`, also when the range lies beyond the end.
    func writeZeros(at byteOffset: UInt64, count: UInt64) throws(Ext4Error)

    /// Tells the device that nobody needs what stands in a range any more. It may read as anything
    /// from then on, unless the device says something else.
    ///
    /// - Throws: `Ext4Error.notSupported` where a device cannot do that, `Ext4Error.io`.
    func discard(at byteOffset: UInt64, count: UInt64) throws(Ext4Error)
}

extension BlockDevice {
    /// Writes zeros, a piece after the other.
    public func writeZeros(at byteOffset: UInt64, count: UInt64) throws(Ext4Error) {
        let (end, overflow) = byteOffset.addingReportingOverflow(count)
        guard !overflow else { throw .invalidArgument }
        let zeros = [UInt8](repeating: 0, count: Int(min(count, 1 << 20)))
        var offset = byteOffset
        while offset < end {
            let part = Int(min(UInt64(zeros.count), end - offset))
            try write(unsafe zeros.span.bytes.extracting(0..<part), at: offset)
            offset += UInt64(part)
        }
    }

    /// Is refused.
    public func discard(at byteOffset: UInt64, count: UInt64) throws(Ext4Error) {
        throw .notSupported
    }

    /// Checks that a request lies on the device.
    ///
    /// - Throws: `Ext4Error.io` with errno 0 when it does not.
    public func checkBounds(
        _ operation: IOFailure.Operation, at byteOffset: UInt64, count: Int
    ) throws(Ext4Error) {
        let (end, overflow) = byteOffset.addingReportingOverflow(UInt64(clamping: count))
        guard !overflow, end <= byteCount else {
            throw .io(IOFailure(operation, at: byteOffset, count: count, errno: 0))
        }
    }

    /// Reads `count` bytes from `byteOffset` on.
    ///
    /// - Throws: `Ext4Error.io`.
    public func read(at byteOffset: UInt64, count: Int) throws(Ext4Error) -> [UInt8] {
        guard count >= 0 else { throw .invalidArgument }
        try checkBounds(.read, at: byteOffset, count: count)
        var bytes = [UInt8](repeating: 0, count: count)
        var span = bytes.mutableSpan
        var raw = unsafe span.mutableBytes
        try read(at: byteOffset, into: &raw)
        return bytes
    }
}
