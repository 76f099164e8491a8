/// The primary superblock of a volume that is open for writing: in its block's buffer for what goes
/// through the journal, and on the device for what must not wait for it.
final class SuperblockBuffer: Sendable {
    let buffer: Buffer
    /// Where the superblock starts in the block: 1,024, or 0 with blocks of 1 KiB.
    let byteOffset: Int
    private let hasChecksum: Bool
    /// One writes to the device at a time.
    private let writes = SharedLock()

    init(_ reader: BlockReader) throws(Ext4Error) {
        let blockSize = UInt64(reader.superblock.blockSize)
        byteOffset = Int(Superblock.byteOffset % blockSize)
        buffer = try reader.cache.buffer(of: BlockNumber(Superblock.byteOffset / blockSize))
        hasChecksum = reader.superblock.hasMetadataChecksums
    }

    /// The superblock as it is by now.
    var bytes: [UInt8] {
        buffer.withBytes { $0.copy(byteOffset..<byteOffset + Superblock.byteCount) }
    }

    /// Changes the superblock through the journal.
    func modify(
        in handle: inout Handle, _ body: (inout MutableRawSpan) -> Void
    ) {
        let range = byteOffset..<byteOffset + Superblock.byteCount
        handle.modify(buffer, seal: .superblock(byteOffset: byteOffset)) { bytes in
            var superblock = bytes._mutatingExtracting(range)
            body(&superblock)
        }
    }

    /// Changes the superblock on the device, at once and durably; the buffer follows. For the
    /// moments when nothing of it waits in the journal: before the first transaction and after the
    /// last.
    func write(
        to device: any BlockDevice, _ body: (inout MutableRawSpan) -> Void
    ) throws(Ext4Error) {
        try writes.exclusive { () throws(Ext4Error) in
            var bytes = try patched(device, body)
            try unsafe device.write(bytes.span.bytes, at: Superblock.byteOffset)
            try device.flush()
            let range = byteOffset..<byteOffset + Superblock.byteCount
            buffer.withMutableBytes { block in
                var superblock = block._mutatingExtracting(range)
                let span = bytes.mutableSpan
                superblock.copy(from: unsafe span.bytes)
            }
        }
    }

    /// Notes an error in the superblock on the device, whatever the journal does.
    ///
    /// What fails here is logged only: the error that counts is the one to note.
    func note(
        _ corruption: Corruption, at time: Timestamp, on device: any BlockDevice, log: Log
    ) {
        do throws(Ext4Error) {
            try writes.exclusive { () throws(Ext4Error) in
                let bytes = try patched(device) { superblock in
                    Superblock.note(corruption, at: time, in: &superblock)
                }
                try unsafe device.write(bytes.span.bytes, at: Superblock.byteOffset)
            }
            buffer.withMutableBytes { block in
                var superblock = block._mutatingExtracting(
                    byteOffset..<byteOffset + Superblock.byteCount)
                Superblock.note(corruption, at: time, in: &superblock)
            }
        } catch {
            log(.error, "the superblock does not tell of the error: \(error)")
        }
    }

    /// The superblock's bytes as the device has them, changed by `body`.
    private func patched(
        _ device: any BlockDevice, _ body: (inout MutableRawSpan) -> Void
    ) throws(Ext4Error) -> [UInt8] {
        var bytes = try device.read(at: Superblock.byteOffset, count: Superblock.byteCount)
        do {
            var span = bytes.mutableSpan
            var raw = unsafe span.mutableBytes
            body(&raw)
            if hasChecksum { Superblock.seal(&raw) }
        }
        return bytes
    }
}
