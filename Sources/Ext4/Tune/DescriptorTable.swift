// Superblock and descriptors are of no use without each other when the kind of checksums changes: the
// one tells how the others are to be read. A check that finds them at odds no longer believes what
// descriptors say of tables that were never written. So they change in one transaction of the journal.

/// Blocks of descriptors, to be written with a superblock.
package struct DescriptorTable {
    private var blocks: [(number: BlockNumber, bytes: [UInt8])] = []

    mutating func append(_ bytes: [UInt8], at number: BlockNumber) {
        blocks.append((number, bytes))
    }

    /// Whether there is nothing to write.
    var isEmpty: Bool { blocks.isEmpty }

    /// Writes them in their places, in no order with anything else.
    package func write(to device: any BlockDevice, _ superblock: Superblock) throws(Ext4Error) {
        for block in blocks {
            try unsafe device.write(
                block.bytes.span.bytes,
                at: block.number.rawValue << UInt64(superblock.blockSizeLog2))
        }
    }

    /// Writes them and the superblock, changed by `body`, all or nothing where the volume has a journal
    /// that is large enough; else one after the other.
    ///
    /// - Parameter old: the superblock as it is on the device, of a volume that nobody has open.
    func write(
        to device: any BlockDevice, _ old: Superblock, _ options: TuneOptions,
        _ body: (inout MutableRawSpan) -> Void
    ) throws(Ext4Error) {
        typealias Layout = Superblock.Layout
        let change = SuperblockChange(device: device)
        let now = options.clock()
        if isEmpty {
            try change.write(now, body)
        } else if let journal = try journal(of: old, on: device, options) {
            // As long as this bit stands, whoever comes next replays what the log has.
            let recover = IncompatibleFeatures.recover.rawValue
            try change.write(now) { $0[Layout.incompatible] |= recover }
            let bytes = try change.bytes(now) {
                body(&$0)
                $0[Layout.incompatible] |= recover
            }
            try commit(bytes, to: journal, old)
            try change.write(now) { $0[Layout.incompatible] &= ~recover }
        } else {
            let bytes = try change.bytes(now, body)
            try write(to: device, old)
            try unsafe device.write(bytes.span.bytes, at: Superblock.byteOffset)
            try device.flush()
        }
    }

    /// The volume's journal; nil where there is none, or one that is too small.
    private func journal(
        of superblock: Superblock, on device: any BlockDevice, _ options: TuneOptions
    ) throws(Ext4Error) -> Journal? {
        guard superblock.compatible.contains(.hasJournal), !superblock.hasExternalJournal else {
            return nil
        }
        var opening = options.openOptions(.readOnly)
        opening.journal = .ignore
        let volume = try Volume.open(device, options: opening)
        let journal = try Journal(
            device, at: volume.journalLocation(), of: volume.journalledVolume,
            is64Bit: superblock.incompatible.contains(.bit64),
            hasChecksums: superblock.hasMetadataChecksums, clock: options.clock, log: options.log)
        return blocks.count < journal.largestTransaction ? journal : nil
    }

    /// One transaction, and everything in its place behind it.
    private func commit(
        _ superblock: [UInt8], to journal: Journal, _ old: Superblock
    ) throws(Ext4Error) {
        let blockSize = UInt64(old.blockSize)
        let cache = BufferCache(
            device: journal.device, blockSizeLog2: old.blockSizeLog2, byteBudget: 1 << 20)
        let place = try cache.buffer(of: BlockNumber(Superblock.byteOffset / blockSize))
        let start = Int(Superblock.byteOffset % blockSize)
        try journal.withHandle(credits: blocks.count &+ 1) { (handle) throws(Ext4Error) in
            for block in blocks {
                let buffer = handle.renew(block.number, in: cache)
                handle.modify(buffer) { $0.copy(from: unsafe block.bytes.span.bytes) }
            }
            handle.modify(place) { bytes in
                var part = bytes._mutatingExtracting(start..<start &+ superblock.count)
                part.copy(from: unsafe superblock.span.bytes)
            }
        }
        try journal.close()
        journal.end()
    }
}

/// A device to which nothing is written, for a look at what a change would meet.
final class UnwrittenDevice: BlockDevice {
    private let device: any BlockDevice

    init(_ device: any BlockDevice) { self.device = device }

    var byteCount: UInt64 { device.byteCount }
    var isReadOnly: Bool { device.isReadOnly }

    func read(at byteOffset: UInt64, into bytes: inout MutableRawSpan) throws(Ext4Error) {
        try device.read(at: byteOffset, into: &bytes)
    }

    func write(_ bytes: RawSpan, at byteOffset: UInt64) throws(Ext4Error) {}
    func writeZeros(at byteOffset: UInt64, count: UInt64) throws(Ext4Error) {}
    func discard(at byteOffset: UInt64, count: UInt64) throws(Ext4Error) {}
    func flush() throws(Ext4Error) {}
}
