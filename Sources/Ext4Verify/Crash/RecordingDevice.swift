package import Ext4

/// What a device was asked to do, as far as a crash can tell.
package enum DeviceEvent: Sendable {
    /// A write; with `isForced` (FUA) it alone is durable once it is done.
    case write(RecordedWrite, isForced: Bool)
    /// Everything that was written before is durable from now on.
    case flush
    /// What the range of sectors holds does not matter any more: as volatile as a write.
    case discard(RecordedWrite)
}

/// A write, by sectors.
package struct RecordedWrite: Sendable {
    /// The first sector.
    package let firstSector: Int
    /// The bytes, whole sectors.
    package let bytes: [UInt8]
    /// A hash of each sector's place and bytes.
    package let hashes: [UInt64]

    /// How many sectors it writes.
    package var sectorCount: Int { hashes.count }

    init(firstSector: Int, bytes: [UInt8]) {
        self.firstSector = firstSector
        self.bytes = bytes
        hashes = (0..<bytes.count / DeviceImage.sectorSize).map {
            let start = $0 * DeviceImage.sectorSize
            return Self.hash(
                of: bytes[start..<start + DeviceImage.sectorSize], sector: firstSector + $0)
        }
    }

    /// The bytes of one of its sectors.
    package func sector(_ index: Int) -> ArraySlice<UInt8> {
        bytes[index * DeviceImage.sectorSize..<(index + 1) * DeviceImage.sectorSize]
    }

    /// A hash of a sector that differs between places.
    static func hash(of bytes: ArraySlice<UInt8>, sector: Int) -> UInt64 {
        var hash = UInt64(truncatingIfNeeded: sector) &* 0x9E37_79B9_7F4A_7C15 ^ 0xCBF2_9CE4_8422
        unsafe bytes.withUnsafeBytes { bytes in
            var offset = 0
            while offset + 8 <= bytes.count {
                let word = unsafe bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
                hash = (hash ^ word) &* 0xFF51_AFD7_ED55_8CCD
                hash ^= hash >> 32
                offset += 8
            }
        }
        return hash
    }
}

/// A device that remembers every write, flush, forced write and discard, with marks that its user
/// sets between them.
///
/// One thread at a time may use it.
package final class RecordingDevice: BlockDevice, @unchecked Sendable {
    /// Where the bytes are.
    package let device: LayeredDevice
    /// Everything so far.
    package private(set) var events: [DeviceEvent] = []

    /// The size of the device.
    package var byteCount: UInt64 { device.byteCount }
    /// It can always be written.
    package var isReadOnly: Bool { false }

    /// Starts a recording on a device that shows `base`.
    package init(_ base: DeviceImage) { device = LayeredDevice(base) }

    /// Starts a recording on `device` as it is now.
    package init(_ device: LayeredDevice) { self.device = device }

    /// Fills `bytes` from `byteOffset` on.
    package func read(at byteOffset: UInt64, into bytes: inout MutableRawSpan) throws(Ext4Error) {
        try device.read(at: byteOffset, into: &bytes)
    }

    /// Writes and remembers.
    package func write(_ bytes: RawSpan, at byteOffset: UInt64) throws(Ext4Error) {
        try write(bytes, at: byteOffset, isForced: false)
    }

    /// Writes and remembers; with `isForced`, the write is durable when this returns (FUA).
    package func write(
        _ bytes: RawSpan, at byteOffset: UInt64, isForced: Bool
    ) throws(Ext4Error) {
        try device.write(bytes, at: byteOffset)
        guard bytes.byteCount > 0 else { return }
        let recorded = record(byteOffset, bytes.byteCount)
        events.append(.write(recorded, isForced: isForced))
    }

    /// Remembers a flush.
    package func flush() throws(Ext4Error) { events.append(.flush) }

    /// Discards whole sectors: they hold zeros, or after a crash what they held before.
    package func discard(at byteOffset: UInt64, count: Int) throws(Ext4Error) {
        let zeros = [UInt8](repeating: 0, count: count)
        try unsafe device.write(zeros.span.bytes, at: byteOffset)
        guard count > 0 else { return }
        events.append(.discard(record(byteOffset, count)))
    }

    /// The sectors that a write touched, as they are now: a part of a sector is written with the
    /// rest of it.
    private func record(_ byteOffset: UInt64, _ count: Int) -> RecordedWrite {
        let size = DeviceImage.sectorSize
        let first = Int(byteOffset) / size
        let end = (Int(byteOffset) + count + size - 1) / size
        return RecordedWrite(
            firstSector: first, bytes: device.bytes(first * size..<end * size))
    }
}
