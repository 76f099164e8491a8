// What a crash left in the journal, and how it gets to where it belongs.
//
// Invariants:
// 1. Only transactions whose commit block is there and right count. What follows the last of them
//    is nothing, whatever it says.
// 2. Of every block the newest copy counts, unless its transaction or a later one revokes it.
// 3. Every target lies on the volume and outside the journal, or there is no recovery at all.
// 4. The log stays as it is until everything it holds is durable in its place: a recovery that
//    is cut off anywhere can be done again.
//
// The log is walked three times (find the end, collect the copies, drop the revoked ones), with
// memory for one entry a copy and never for its bytes.

/// What recovering a volume's journal did, or would do.
public struct RecoveryReport: Hashable, Sendable {
    /// The first transaction that the journal expected in its log.
    public let firstTransaction: TransactionID
    /// How many whole transactions the log held.
    public let transactionCount: Int
    /// How many copies of blocks they held.
    public let loggedBlockCount: Int
    /// How many blocks of the volume have a newer copy in the log.
    public let replayedBlockCount: Int
    /// How many blocks had a copy in the log that a later transaction took back.
    public let revokedBlockCount: Int
    /// The error that the last user left in the journal, as a negative error number; or 0.
    public let recordedError: Int32

    /// The last whole transaction; nil when the log held none.
    public var lastTransaction: TransactionID? {
        transactionCount == 0
            ? nil
            : TransactionID(
                firstTransaction.rawValue &+ UInt32(truncatingIfNeeded: transactionCount &- 1))
    }
}

extension RecoveryReport: CustomStringConvertible {
    /// The report in words.
    public var description: String {
        guard let lastTransaction else {
            return "the journal held no whole transaction from \(firstTransaction) on"
        }
        let transactions =
            transactionCount == 1
            ? "transaction \(firstTransaction)"
            : "transactions \(firstTransaction) to \(lastTransaction)"
        return "\(transactions): \(loggedBlockCount) logged blocks, \(replayedBlockCount) replayed,"
            + " \(revokedBlockCount) revoked"
    }
}

/// A copy of a block in the log.
package struct LoggedBlock: Hashable, Sendable {
    /// The block's place on the volume.
    package let target: UInt64
    /// How far behind the log's start the copy stands.
    package let distance: UInt32
    /// The transaction that logged it.
    package let sequence: TransactionID
    /// The checksum in its tag.
    package let checksum: UInt32
    /// Whether the journal's magic number was taken out of its first bytes.
    package let isEscaped: Bool
}

/// What is to be replayed: the newest copy of each block that the log has one of.
package struct Recovery: Sendable {
    package let area: LogArea
    package let volume: JournalledVolume
    /// By target, each once.
    package let blocks: [LoggedBlock]
    /// The transaction behind the last whole one.
    package let endTransaction: TransactionID
    package let report: RecoveryReport

    /// Reads part of the copy of a block.
    ///
    /// `bytes` is what the block holds from `byteOffset` on, and does not go beyond its end.
    package func read(
        _ block: LoggedBlock, at byteOffset: Int, into bytes: inout MutableRawSpan
    ) throws(Ext4Error) {
        let place = try area.place(
            of: area.index(area.superblock.start, advancedBy: block.distance))
        // No overflow: the journal lies on the volume, whose size in bytes has 64 bits.
        try area.device.read(
            at: place.rawValue &* UInt64(volume.blockSize) &+ UInt64(byteOffset), into: &bytes)
        guard block.isEscaped else { return }
        for i in byteOffset..<max(byteOffset, min(4, byteOffset &+ bytes.byteCount)) {
            bytes[Field<UInt8>.be(i &- byteOffset)] = UInt8(
                truncatingIfNeeded: JournalHeader.magic >> UInt32(24 &- 8 &* i))
        }
    }

    /// The device as it will be when the journal has been replayed. Nothing is written.
    package func overlay(over device: any BlockDevice) -> ReplayedDevice {
        ReplayedDevice(device, replaying: self)
    }
}
