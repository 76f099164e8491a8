internal import CLinux
public import Ext4
internal import Glibc

extension FileDevice {
    /// Makes a range read as zeros: by a hole in a file, by the device's own means, and only where
    /// there are none by writing them.
    ///
    /// - Throws: `Ext4Error.readOnlyVolume`, `Ext4Error.io`.
    public func writeZeros(at byteOffset: UInt64, count: UInt64) throws(Ext4Error) {
        guard !isReadOnly else { throw .readOnlyVolume }
        guard count > 0 else { return }
        try checkBounds(.write, at: byteOffset, count: Int(clamping: count))
        let isDone =
            isBlockDevice
            ? linux_zero_device(fileDescriptor, Int(byteOffset), Int(count)) == 0
            : linux_punch_hole(fileDescriptor, Int(byteOffset), Int(count)) == 0
        if isDone { return }
        let zeros = [UInt8](repeating: 0, count: Int(min(count, 1 << 20)))
        var offset = byteOffset
        let end = byteOffset + count
        while offset < end {
            let part = Int(min(UInt64(zeros.count), end - offset))
            try write(unsafe zeros.span.bytes.extracting(0..<part), at: offset)
            offset += UInt64(part)
        }
    }

    /// Gives a range back: a file has a hole there, which reads as zeros; what a device reads as is
    /// its own affair.
    ///
    /// - Throws: `Ext4Error.notSupported` where the file system or the device cannot do that.
    public func discard(at byteOffset: UInt64, count: UInt64) throws(Ext4Error) {
        guard !isReadOnly else { throw .readOnlyVolume }
        guard count > 0 else { return }
        try checkBounds(.discard, at: byteOffset, count: Int(clamping: count))
        let result =
            isBlockDevice
            ? linux_discard_device(fileDescriptor, Int(byteOffset), Int(count))
            : linux_punch_hole(fileDescriptor, Int(byteOffset), Int(count))
        guard result != 0 else { return }
        guard errno != EOPNOTSUPP, errno != ENOTTY, errno != EINVAL else { throw .notSupported }
        throw .io(
            IOFailure(.discard, at: byteOffset, count: Int(clamping: count), errno: errno))
    }

    /// The bytes of a sector of a block device, which no block can be smaller than; 512 for a file.
    public var sectorSize: Int {
        guard isBlockDevice else { return 512 }
        let size = Int(linux_sector_size(fileDescriptor))
        return size > 0 ? size : 512
    }
}
