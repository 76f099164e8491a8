/// Changes the primary superblock of a volume that nobody has open.
///
/// What changes in its first sector only is durable as a whole (see `Superblock.seal`); where the
/// second one changes, too, a crash between the two leaves a superblock with a wrong checksum, which
/// a check restores from its copies.
struct SuperblockChange {
    let device: any BlockDevice

    /// The superblock's bytes, changed by `body`.
    func bytes(
        _ now: Timestamp, _ body: (inout MutableRawSpan) throws(Ext4Error) -> Void
    ) throws(Ext4Error) -> [UInt8] {
        let old = try device.read(at: Superblock.byteOffset, count: Superblock.byteCount)
        var bytes = old
        var span = bytes.mutableSpan
        var raw = unsafe span.mutableBytes
        try body(&raw)
        raw[Superblock.Layout.writeTime] = UInt32(truncatingIfNeeded: now.seconds)
        raw[Superblock.Layout.writeTimeHigh] = UInt8(truncatingIfNeeded: now.seconds >> 32)
        let features = ReadOnlyCompatibleFeatures(
            rawValue: raw[Superblock.Layout.readOnlyCompatible])
        if features.contains(.metadataCsum) {
            var isInFirstSector = true
            for offset in Self.sector..<Superblock.Layout.checksum.offset
            where raw.bytes.byte(at: offset) != old[offset] {
                isInFirstSector = false
            }
            if isInFirstSector {
                Superblock.seal(&raw)
            } else {
                raw[Superblock.Layout.checksum] = Superblock.checksum(of: raw.bytes)
            }
        }
        return bytes
    }

    private static let sector = 512

    /// Changes the superblock, durably.
    func write(
        _ now: Timestamp, _ body: (inout MutableRawSpan) throws(Ext4Error) -> Void
    ) throws(Ext4Error) {
        let bytes = try bytes(now, body)
        try unsafe device.write(bytes.span.bytes, at: Superblock.byteOffset)
        try device.flush()
    }
}
