/// Reads the area behind the log far enough to know whether it holds a fast commit.
///
/// A fast commit is a chain of little-endian records, from a head that names the transaction to a
/// tail with the chain's CRC32C. It may cross blocks; what follows a tail in its block is nothing.
package struct JournalFastCommit: Sendable {
    package enum Layout {  // struct ext4_fc_tl, struct ext4_fc_head, struct ext4_fc_tail
        package static let tag = Field<UInt16>.le(0)  // fc_tag
        package static let valueByteCount = Field<UInt16>.le(2)  // fc_len
        package static let value = 4

        package static let headTransaction = Field<UInt32>.le(value + 4)  // ext4_fc_head.fc_tid
        package static let headByteCount = 8
        package static let tailTransaction = Field<UInt32>.le(value)  // ext4_fc_tail.fc_tid
        package static let tailChecksum = Field<UInt32>.le(value + 4)  // ext4_fc_tail.fc_crc
        package static let tailByteCount = 8
    }

    private enum Tag {
        package static let changes: ClosedRange<UInt16> = 1...7  // EXT4_FC_TAG_ADD_RANGE … _PAD
        package static let tail: UInt16 = 8  // EXT4_FC_TAG_TAIL
        package static let head: UInt16 = 9  // EXT4_FC_TAG_HEAD
    }

    /// What the blocks seen so far hold.
    package enum Verdict: Hashable, Sendable {
        /// The chain goes on in the next block.
        case incomplete
        /// No fast commit of that transaction, or one whose end never reached the disk.
        case nothing
        /// A whole fast commit.
        case present
        /// One whose tail names the transaction, but whose checksum is wrong.
        case damaged(stored: UInt32, computed: UInt32)
    }

    private let transaction: TransactionID
    private var crc = CRC32C(0)
    private var hasBegun = false

    /// Looks for a fast commit on top of `transaction`'s predecessor.
    package init(expecting transaction: TransactionID) { self.transaction = transaction }

    /// Takes the next block of the area into account.
    package mutating func take(_ block: RawSpan) -> Verdict {
        var offset = 0
        // No overflow: the offset stays below the block's size, at most 64 KiB.
        while offset &+ Layout.value <= block.byteCount {
            let record = block.extracting(offset..<block.byteCount)
            let count = Layout.value &+ Int(record[Layout.valueByteCount])
            let tag = record[Layout.tag]
            guard count <= record.byteCount, hasBegun || tag == Tag.head else { return .nothing }
            switch tag {
            case Tag.head:
                guard
                    count >= Layout.value &+ Layout.headByteCount,
                    record[Layout.headTransaction] == transaction.rawValue
                else { return .nothing }
                hasBegun = true
                crc.update(record.extracting(0..<count))
            case Tag.changes:
                crc.update(record.extracting(0..<count))
            case Tag.tail:
                guard
                    count >= Layout.value &+ Layout.tailByteCount,
                    record[Layout.tailTransaction] == transaction.rawValue
                else { return .nothing }
                crc.update(record.extracting(0..<Layout.tailChecksum.offset))
                let stored = record[Layout.tailChecksum]
                return stored == crc.value
                    ? .present : .damaged(stored: stored, computed: crc.value)
            default:
                return .nothing
            }
            offset &+= count
        }
        return .incomplete
    }
}
