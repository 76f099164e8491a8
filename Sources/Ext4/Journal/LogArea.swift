/// The blocks of a journal that hold its log: a ring.
package struct LogArea: Sendable {
    package let device: any BlockDevice
    package let location: JournalLocation
    package let superblock: JournalSuperblock

    /// How many blocks the ring has.
    package var blockCount: UInt32 { superblock.end &- superblock.first }

    /// The block `count` behind `index`, around the end.
    package func index(_ index: UInt32, advancedBy count: UInt32) -> UInt32 {
        // In 64 bits nothing overflows; `index` lies in the ring.
        let offset = UInt64(index &- superblock.first) &+ UInt64(count)
        return superblock.first &+ UInt32(truncatingIfNeeded: offset % UInt64(blockCount))
    }

    /// Where the journal's block `index` lies on the volume.
    package func place(of index: UInt32) throws(Ext4Error) -> BlockNumber {
        guard let block = location.block(UInt64(index)) else {
            throw .corrupt(
                .journal,
                .field("block", value: UInt64(index), rule: "below \(location.blockCount)"))
        }
        return block
    }

    /// Reads the journal's block `index` into `bytes`, which is one block long.
    package func read(_ index: UInt32, into bytes: inout [UInt8]) throws(Ext4Error) {
        // No overflow: the location lies on the volume, whose size in bytes has 64 bits.
        let byteOffset = try place(of: index).rawValue &* UInt64(superblock.blockSize)
        var span = bytes.mutableSpan
        var raw = unsafe span.mutableBytes
        try device.read(at: byteOffset, into: &raw)
    }
}

/// A walk through the control blocks of the log, from its start and in the order of the
/// transactions. It ends at the first block that does not continue it, and after one round.
package struct LogWalk {
    package let area: LogArea
    /// The control block that `next` found last.
    package private(set) var block: [UInt8]
    /// Its index in the journal.
    package private(set) var index: UInt32 = 0
    /// The transaction that the walk is in.
    package private(set) var sequence: TransactionID

    private var position: UInt32
    private var remaining: UInt32

    package init(_ area: LogArea) {
        self.area = area
        block = [UInt8](repeating: 0, count: area.superblock.blockSize)
        sequence = area.superblock.sequence
        position = area.superblock.start
        remaining = area.blockCount
    }

    /// Reads the next control block; nil when it is none, or of another transaction.
    package mutating func next() throws(Ext4Error) -> JournalHeader.Kind? {
        guard remaining > 0 else { return nil }
        remaining &-= 1
        index = position
        try area.read(position, into: &block)
        position = area.index(position, advancedBy: 1)
        guard
            let header = unsafe JournalHeader(parsing: block.span.bytes),
            header.sequence == sequence
        else { return nil }
        return header.kind
    }

    /// Steps over one logged block and returns its index; nil when the log has been walked round.
    package mutating func skipLoggedBlock() -> UInt32? {
        guard remaining > 0 else { return nil }
        remaining &-= 1
        defer { position = area.index(position, advancedBy: 1) }
        return position
    }

    /// From here on blocks of the next transaction are expected.
    package mutating func beginNextTransaction() { sequence = sequence.next }
}
