// The control blocks of the log. Each starts with the same header; blocks that a descriptor
// announces follow it with no header of their own.

/// What every control block of the log starts with.
package struct JournalHeader: Hashable, Sendable {
    package enum Layout {  // journal_header_t
        package static let magic = Field<UInt32>.be(0x00)  // h_magic
        package static let blockType = Field<UInt32>.be(0x04)  // h_blocktype
        package static let sequence = Field<UInt32>.be(0x08)  // h_sequence

        package static let byteCount = 12
    }

    package static let magic: UInt32 = 0xC03B_3998  // JBD2_MAGIC_NUMBER
    package static let superblockV1: UInt32 = 3  // JBD2_SUPERBLOCK_V1
    package static let superblockV2: UInt32 = 4  // JBD2_SUPERBLOCK_V2

    /// The kinds of control blocks in the log.
    package enum Kind: UInt32, Sendable {
        case descriptor = 1  // JBD2_DESCRIPTOR_BLOCK
        case commit = 2  // JBD2_COMMIT_BLOCK
        case revoke = 5  // JBD2_REVOKE_BLOCK
    }

    package let kind: Kind
    package let sequence: TransactionID

    /// Reads the header of a block; nil when the block is no control block of the log.
    package init?(parsing block: RawSpan) {
        guard
            block.byteCount >= Layout.byteCount, block[Layout.magic] == Self.magic,
            let kind = Kind(rawValue: block[Layout.blockType])
        else { return nil }
        self.kind = kind
        sequence = TransactionID(block[Layout.sequence])
    }
}

/// How the control blocks of one journal are laid out and checked: what its features say.
package struct JournalFormat: Hashable, Sendable {
    /// Which checksums the log carries.
    package enum Checksum: Sendable {
        /// None.
        case none
        /// CRC-32 of a whole transaction in its commit block.
        case v1
        /// CRC32C in every control block, and 16 bits of one in every tag.
        case v2
        /// CRC32C in every control block and in every tag.
        case v3
    }

    package let blockSize: Int
    package let checksum: Checksum
    /// Whether block numbers have 64 bits.
    package let is64Bit: Bool
    /// Whether commit blocks are written without waiting for what they commit.
    package let isAsyncCommit: Bool
    /// What the checksums v2 and v3 start from.
    package let seed: UInt32

    /// The form in which a volume without a log keeps what it is about to write.
    package init(withoutLogOfBlockSize blockSize: Int) {
        self.blockSize = blockSize
        checksum = .none
        is64Bit = true
        isAsyncCommit = false
        seed = 0
    }

    package init(_ superblock: JournalSuperblock) {
        typealias Feature = JournalSuperblock.Feature
        blockSize = superblock.blockSize
        checksum =
            if superblock.incompatible & Feature.checksumV3 != 0 {
                .v3
            } else if superblock.incompatible & Feature.checksumV2 != 0 {
                .v2
            } else if superblock.compatible & Feature.checksum != 0 {
                .v1
            } else {
                .none
            }
        is64Bit = superblock.incompatible & Feature.is64Bit != 0
        isAsyncCommit = superblock.incompatible & Feature.asyncCommit != 0
        var crc = CRC32C()
        unsafe crc.update(superblock.uuid.span.bytes)
        seed = crc.value
    }

    /// Whether control blocks and tags carry a CRC32C.
    package var checksumsEveryBlock: Bool { checksum == .v2 || checksum == .v3 }

    /// The length of a tag without the UUID that may follow it.
    package var tagByteCount: Int {
        switch (checksum, is64Bit) {
        case (.v3, _): 16  // journal_block_tag3_t
        case (.v2, true): 14  // journal_block_tag_t and two bytes that nobody uses
        case (.v2, false): 10
        case (_, true): 12
        case (_, false): 8
        }
    }

    /// How much of a descriptor or revoke block is taken by the checksum at its end.
    package var tailByteCount: Int { checksumsEveryBlock ? JournalTail.byteCount : 0 }
}

/// The checksum at the end of descriptor and revoke blocks.
package enum JournalTail {  // struct jbd2_journal_block_tail
    package static let byteCount = 4

    /// Whether the checksum of a descriptor or revoke block is right; true where there is none.
    package static func isValid(in block: RawSpan, _ format: JournalFormat) -> Bool {
        guard format.checksumsEveryBlock else { return true }
        let tail = Field<UInt32>.be(block.byteCount &- byteCount)  // t_checksum
        var crc = CRC32C(format.seed)
        crc.update(block, zeroing: tail.offset..<tail.end)
        return block[tail] == crc.value
    }
}

/// One entry of a descriptor block: where a logged block belongs.
package struct JournalTag: Hashable, Sendable {
    package enum Layout {  // journal_block_tag_t, journal_block_tag3_t
        package static let blockLow = Field<UInt32>.be(0)  // t_blocknr
        package static let checksumV2 = Field<UInt16>.be(4)  // t_checksum
        // Version 3 has 32 bits of flags at byte 4; all that are in use are in the lower half.
        package static let flags = Field<UInt16>.be(6)  // t_flags
        package static let blockHigh = Field<UInt32>.be(8)  // t_blocknr_high
        package static let checksumV3 = Field<UInt32>.be(12)  // t_checksum
    }

    package enum Flag {
        package static let escaped: UInt16 = 1  // JBD2_FLAG_ESCAPE
        package static let sameUUID: UInt16 = 2  // JBD2_FLAG_SAME_UUID
        package static let last: UInt16 = 8  // JBD2_FLAG_LAST_TAG
    }

    /// The block's place on the volume.
    package let target: BlockNumber
    /// Whether the first four bytes were the journal's magic number and are zero in the log.
    package let isEscaped: Bool
    /// The checksum of the logged block; version 2 has the lower 16 bits only.
    package let checksum: UInt32

    /// Reads all tags of a descriptor block.
    ///
    /// It stops at the last tag or at the end of the block, whichever comes first, so there are
    /// never more than the block has room for.
    package static func all(in block: RawSpan, _ format: JournalFormat) -> [JournalTag] {
        var tags: [JournalTag] = []
        let size = format.tagByteCount
        let end = block.byteCount &- format.tailByteCount
        // No overflow: the offset stays below the block's size, at most 64 KiB.
        var offset = JournalHeader.Layout.byteCount
        while offset &+ size <= end {
            let flags = block[Layout.flags.at(offset)]
            var target = UInt64(block[Layout.blockLow.at(offset)])
            if format.is64Bit { target |= UInt64(block[Layout.blockHigh.at(offset)]) << 32 }
            let checksum: UInt32 =
                switch format.checksum {
                case .v3: block[Layout.checksumV3.at(offset)]
                case .v2: UInt32(block[Layout.checksumV2.at(offset)])
                case .v1, .none: 0
                }
            tags.append(
                JournalTag(
                    target: BlockNumber(target), isEscaped: flags & Flag.escaped != 0,
                    checksum: checksum))
            offset &+= size
            // A tag of a journal with several users names the user. Nobody reads it.
            if flags & Flag.sameUUID == 0 { offset &+= 16 }
            if flags & Flag.last != 0 { break }
        }
        return tags
    }

    /// The checksum that a tag must have for the logged block `bytes` of `sequence`.
    package static func checksum(
        of bytes: RawSpan, in sequence: TransactionID, _ format: JournalFormat
    ) -> UInt32 {
        var crc = CRC32C(format.seed)
        crc.update(bigEndian: sequence.rawValue)
        crc.update(bytes)
        return format.checksum == .v2 ? crc.value & 0xFFFF : crc.value
    }
}

/// A block of numbers of blocks whose older copies in the log must not be replayed.
package enum JournalRevoke {
    package enum Layout {  // jbd2_journal_revoke_header_t
        package static let byteCount = Field<UInt32>.be(0x0C)  // r_count: bytes, header included

        package static let entries = 16
    }

    /// Hands every revoked block to `body`.
    ///
    /// - Throws: `Ext4Error.corrupt` when the block says that it holds more than it can.
    package static func forEach(
        in block: RawSpan, at place: BlockNumber, _ format: JournalFormat,
        _ body: (BlockNumber) -> Void
    ) throws(Ext4Error) {
        let used = block[Layout.byteCount]
        let capacity = block.byteCount &- format.tailByteCount
        guard let end = Int(exactly: used), end <= capacity else {
            throw .corrupt(
                .journal, at: .init(block: place),
                .field("r_count", value: UInt64(used), rule: "at most \(capacity)"))
        }
        let size = format.is64Bit ? 8 : 4
        var offset = Layout.entries
        while offset &+ size <= end {
            body(
                BlockNumber(
                    format.is64Bit
                        ? block[Field<UInt64>.be(offset)] : UInt64(block[Field<UInt32>.be(offset)]))
            )
            offset &+= size
        }
    }
}

/// The block that makes a transaction count.
package struct JournalCommit: Hashable, Sendable {
    package enum Layout {  // struct commit_header
        package static let checksumType = Field<UInt8>.be(0x0C)  // h_chksum_type
        package static let checksumSize = Field<UInt8>.be(0x0D)  // h_chksum_size
        package static let checksum = Field<UInt32>.be(0x10)  // h_chksum[0]
        package static let seconds = Field<UInt64>.be(0x30)  // h_commit_sec
        package static let nanoseconds = Field<UInt32>.be(0x38)  // h_commit_nsec

        package static let byteCount = 60
    }

    /// When it was written; orders it against blocks of an older use of the same log.
    package let seconds: UInt64

    package init(parsing block: RawSpan) {
        seconds = block[Layout.seconds]
    }

    /// Whether the checksum of a whole transaction, version 1, is `computed`, or was not made.
    package static func transactionChecksum(in block: RawSpan, is computed: UInt32) -> Bool {
        let stored = block[Layout.checksum]
        let type = block[Layout.checksumType]
        let size = block[Layout.checksumSize]
        // 1 is JBD2_CRC32_CHKSUM.
        return (type == 1 && size == 4 && stored == computed)
            || (type == 0 && size == 0 && stored == 0)
    }

    /// Whether the checksum of the commit block itself, versions 2 and 3, is right.
    ///
    /// A block whose header alone reached the disk counts as well: the header stands in one
    /// sector, and what follows it is zero in every commit block.
    package static func isValid(_ block: RawSpan, _ format: JournalFormat) -> Bool {
        guard format.checksumsEveryBlock else { return true }
        let stored = block[Layout.checksum]
        let hole = Layout.checksum.offset..<Layout.checksum.end
        var crc = CRC32C(format.seed)
        crc.update(block, zeroing: hole)
        if crc.value == stored { return true }
        crc = CRC32C(format.seed)
        crc.update(block.extracting(0..<Layout.byteCount), zeroing: hole)
        for _ in Layout.byteCount..<block.byteCount { crc.update(littleEndian: UInt8(0)) }
        return crc.value == stored
    }
}

/// A running CRC-32 (polynomial 0x04C11DB7, highest bit first, no final inversion): the
/// checksum, version 1, of a transaction's descriptors and logged blocks.
package struct CRC32BigEndian: Sendable {
    package private(set) var value: UInt32 = ~0

    package mutating func update(_ bytes: RawSpan) {
        let table = Self.table
        var crc = value
        for i in 0..<bytes.byteCount {
            crc = table[Int((crc >> 24) ^ UInt32(bytes.byte(at: i)))] ^ (crc << 8)
        }
        value = crc
    }

    private static let table: [UInt32] = {
        var table = [UInt32](repeating: 0, count: 256)
        for byte in 0..<256 {
            var crc = UInt32(byte) << 24
            for _ in 0..<8 { crc = (crc << 1) ^ (crc >> 31 == 0 ? 0 : 0x04C1_1DB7) }
            table[byte] = crc
        }
        return table
    }()
}
