/// The first block of a journal: how long the log is, where its live part starts, and which
/// features its blocks use. All of the journal is big-endian.
package struct JournalSuperblock: Hashable, Sendable {
    package enum Layout {  // journal_superblock_t
        package static let magic = Field<UInt32>.be(0x00)  // s_header.h_magic
        package static let blockType = Field<UInt32>.be(0x04)  // s_header.h_blocktype
        package static let blockSize = Field<UInt32>.be(0x0C)  // s_blocksize
        package static let length = Field<UInt32>.be(0x10)  // s_maxlen
        package static let first = Field<UInt32>.be(0x14)  // s_first
        package static let sequence = Field<UInt32>.be(0x18)  // s_sequence
        package static let start = Field<UInt32>.be(0x1C)  // s_start
        package static let errno = Field<UInt32>.be(0x20)  // s_errno
        package static let compatible = Field<UInt32>.be(0x24)  // s_feature_compat
        package static let incompatible = Field<UInt32>.be(0x28)  // s_feature_incompat
        package static let readOnlyCompatible = Field<UInt32>.be(0x2C)  // s_feature_ro_compat
        package static let uuid = 0x30..<0x40  // s_uuid
        package static let users = Field<UInt32>.be(0x40)  // s_nr_users
        package static let checksumType = Field<UInt8>.be(0x50)  // s_checksum_type
        package static let fastCommitBlocks = Field<UInt32>.be(0x54)  // s_num_fc_blks
        package static let checksum = Field<UInt32>.be(0xFC)  // s_checksum

        package static let byteCount = 1024
    }

    /// The features of a journal that this engine knows, by their bits.
    package enum Feature {
        package static let checksum: UInt32 = 0x01  // JBD2_FEATURE_COMPAT_CHECKSUM

        package static let revoke: UInt32 = 0x01  // JBD2_FEATURE_INCOMPAT_REVOKE
        package static let is64Bit: UInt32 = 0x02  // JBD2_FEATURE_INCOMPAT_64BIT
        package static let asyncCommit: UInt32 = 0x04  // JBD2_FEATURE_INCOMPAT_ASYNC_COMMIT
        package static let checksumV2: UInt32 = 0x08  // JBD2_FEATURE_INCOMPAT_CSUM_V2
        package static let checksumV3: UInt32 = 0x10  // JBD2_FEATURE_INCOMPAT_CSUM_V3
        package static let fastCommit: UInt32 = 0x20  // JBD2_FEATURE_INCOMPAT_FAST_COMMIT

        package static let knownIncompatible: UInt32 = 0x3F
        package static let knownReadOnlyCompatible: UInt32 = 0
    }

    /// `JBD2_CRC32C_CHKSUM`, the only kind that checksums v2 and v3 come in.
    package static let crc32cType: UInt8 = 4

    /// How many blocks fast commits have when the superblock does not say
    /// (`JBD2_DEFAULT_FAST_COMMIT_BLOCKS`).
    package static let defaultFastCommitBlocks: UInt32 = 256

    /// The size of the journal's blocks: that of the volume's.
    package let blockSize: Int
    /// How many blocks of the journal are in use, this one included.
    package let length: UInt32
    /// The first block of the log.
    package let first: UInt32
    /// The first transaction to expect in the log.
    package let sequence: TransactionID
    /// The block where that transaction starts; 0 in an empty log.
    package let start: UInt32
    /// The error that made the volume's last user give up, as a negative error number; or 0.
    package let errno: Int32
    /// The bits of `s_feature_compat`.
    package let compatible: UInt32
    /// The bits of `s_feature_incompat`.
    package let incompatible: UInt32
    /// The bits of `s_feature_ro_compat`.
    package let readOnlyCompatible: UInt32
    /// The journal's own UUID; its CRC32C starts the checksums of all blocks of the log.
    package let uuid: [UInt8]
    /// How many blocks at the end of the journal belong to fast commits and not to the log.
    package let fastCommitBlocks: UInt32

    /// Whether the log holds anything that may have to be replayed.
    package var isDirty: Bool { start != 0 }

    /// The block behind the last one of the log.
    package var end: UInt32 { length &- fastCommitBlocks }

    /// Reads and checks the first 1,024 bytes of a journal of `blockCount` blocks.
    ///
    /// - Throws: `Ext4Error.corrupt`; the features are judged by `checkRecoverable` instead,
    ///   because an empty log needs none of them.
    package init(
        parsing bytes: RawSpan, at block: BlockNumber, volumeBlockSize: Int, blockCount: UInt64
    ) throws(Ext4Error) {
        func broken(_ field: String, _ value: UInt32, _ rule: String) -> Ext4Error {
            .corrupt(
                .journalSuperblock, at: .init(block: block),
                .field(field, value: UInt64(value), rule: rule))
        }
        guard bytes.byteCount >= Layout.byteCount else {
            throw .corrupt(.journalSuperblock, at: .init(block: block), .truncated)
        }
        guard bytes[Layout.magic] == JournalHeader.magic else {
            throw .corrupt(
                .journalSuperblock, at: .init(block: block),
                .magic(found: UInt64(bytes[Layout.magic])))
        }
        let blockType = bytes[Layout.blockType]
        guard
            blockType == JournalHeader.superblockV1 || blockType == JournalHeader.superblockV2
        else { throw broken("h_blocktype", blockType, "3 or 4") }
        let hasFeatures = blockType == JournalHeader.superblockV2

        compatible = hasFeatures ? bytes[Layout.compatible] : 0
        incompatible = hasFeatures ? bytes[Layout.incompatible] : 0
        readOnlyCompatible = hasFeatures ? bytes[Layout.readOnlyCompatible] : 0
        let withChecksum = Feature.checksumV2 | Feature.checksumV3
        guard incompatible & withChecksum != withChecksum else {
            throw broken("s_feature_incompat", incompatible, "one of checksum v2 and v3")
        }
        if incompatible & withChecksum != 0 {
            guard compatible & Feature.checksum == 0 else {
                throw broken("s_feature_compat", compatible, "without checksum v1 beside v2 or v3")
            }
            let type = bytes[Layout.checksumType]
            guard type == Self.crc32cType else {
                throw broken("s_checksum_type", UInt32(type), "4 (CRC32C)")
            }
            let stored = bytes[Layout.checksum]
            let computed = Self.checksum(of: bytes)
            guard stored == computed else {
                throw .corrupt(
                    .journalSuperblock, at: .init(block: block),
                    .checksum(stored: stored, computed: computed))
            }
        }

        let size = bytes[Layout.blockSize]
        guard Int(exactly: size) == volumeBlockSize else {
            throw broken("s_blocksize", size, "the volume's \(volumeBlockSize)")
        }
        blockSize = volumeBlockSize
        length = bytes[Layout.length]
        guard length >= 2, UInt64(length) <= blockCount else {
            throw broken("s_maxlen", length, "2 to the journal's \(blockCount) blocks")
        }
        if incompatible & Feature.fastCommit != 0 {
            let count = bytes[Layout.fastCommitBlocks]
            fastCommitBlocks = count == 0 ? Self.defaultFastCommitBlocks : count
            guard fastCommitBlocks < length else {
                throw broken("s_num_fc_blks", fastCommitBlocks, "less than s_maxlen")
            }
        } else {
            fastCommitBlocks = 0
        }
        let end = length &- fastCommitBlocks
        first = bytes[Layout.first]
        guard first > 0, first < end else {
            throw broken("s_first", first, "1 to \(end &- 1)")
        }
        start = bytes[Layout.start]
        guard start == 0 || (start >= first && start < end) else {
            throw broken("s_start", start, "0, or \(first) to \(end &- 1)")
        }
        sequence = TransactionID(bytes[Layout.sequence])
        errno = Int32(bitPattern: bytes[Layout.errno])
        uuid = bytes.copy(Layout.uuid)
    }

    /// Checks that this engine can replay such a log.
    ///
    /// - Throws: `Ext4Error.unsupported` with the names of the features it does not have.
    package func checkRecoverable() throws(Ext4Error) {
        var names: [String] = []
        for bit in 0..<32 {
            if incompatible & ~Feature.knownIncompatible & (1 << UInt32(bit)) != 0 {
                names.append("journal FEATURE_I\(bit)")
            }
            if readOnlyCompatible & ~Feature.knownReadOnlyCompatible & (1 << UInt32(bit)) != 0 {
                names.append("journal FEATURE_R\(bit)")
            }
        }
        guard names.isEmpty else {
            throw .unsupported(UnsupportedFeatures(names, for: .recovery))
        }
    }

    /// The CRC32C of a journal superblock; not seeded by anything.
    package static func checksum(of bytes: RawSpan) -> UInt32 {
        var crc = CRC32C()
        crc.update(
            bytes.extracting(0..<Layout.byteCount),
            zeroing: Layout.checksum.offset..<Layout.checksum.end)
        return crc.value
    }

    /// Marks the log in `bytes` as empty; the next transaction will be `sequence`.
    package static func markEmpty(
        _ bytes: inout MutableRawSpan, nextSequence sequence: TransactionID
    ) {
        bytes[Layout.sequence] = sequence.rawValue
        bytes[Layout.start] = 0
        updateChecksum(&bytes)
    }

    /// Forgets the error that the last user left, once the volume's superblock tells of it.
    package static func clearErrno(_ bytes: inout MutableRawSpan) {
        bytes[Layout.errno] = 0
        updateChecksum(&bytes)
    }

    package static func updateChecksum(_ bytes: inout MutableRawSpan) {
        guard
            bytes[Layout.blockType] == JournalHeader.superblockV2,
            bytes[Layout.incompatible] & (Feature.checksumV2 | Feature.checksumV3) != 0
        else { return }
        bytes[Layout.checksum] = checksum(of: bytes.bytes)
    }
}
