// Writing the control blocks of the log. Each block was zeroed before.

extension JournalHeader {
    /// Makes a block of the log a control block.
    package static func write(
        _ kind: Kind, _ sequence: TransactionID, to block: inout MutableRawSpan
    ) {
        block[Layout.magic] = magic
        block[Layout.blockType] = kind.rawValue
        block[Layout.sequence] = sequence.rawValue
    }
}

extension JournalTail {
    /// Puts the checksum at the end of a descriptor or revoke block, which is complete but for it.
    package static func write(to block: inout MutableRawSpan, _ format: JournalFormat) {
        guard format.checksumsEveryBlock else { return }
        let tail = Field<UInt32>.be(block.byteCount &- byteCount)  // t_checksum
        var crc = CRC32C(format.seed)
        crc.update(block.bytes, zeroing: tail.offset..<tail.end)
        block[tail] = crc.value
    }
}

extension JournalTag {
    /// How many tags a descriptor block has room for; the UUID behind the first one is counted.
    package static func capacity(_ format: JournalFormat) -> Int {
        (format.blockSize - JournalHeader.Layout.byteCount - uuidByteCount - format.tailByteCount)
            / format.tagByteCount
    }

    private static let uuidByteCount = 16

    /// Writes a descriptor block with `tags`, which fit.
    package static func write(
        _ tags: [JournalTag], _ sequence: TransactionID, uuid: [UInt8],
        to block: inout MutableRawSpan, _ format: JournalFormat
    ) {
        JournalHeader.write(.descriptor, sequence, to: &block)
        var offset = JournalHeader.Layout.byteCount
        for (index, tag) in tags.enumerated() {
            var flags = tag.isEscaped ? Flag.escaped : 0
            if index > 0 { flags |= Flag.sameUUID }
            if index == tags.count - 1 { flags |= Flag.last }
            block[Layout.blockLow.at(offset)] = UInt32(truncatingIfNeeded: tag.target.rawValue)
            block[Layout.flags.at(offset)] = flags
            if format.is64Bit {
                block[Layout.blockHigh.at(offset)] = UInt32(
                    truncatingIfNeeded: tag.target.rawValue >> 32)
            }
            switch format.checksum {
            case .v3: block[Layout.checksumV3.at(offset)] = tag.checksum
            case .v2:
                block[Layout.checksumV2.at(offset)] = UInt16(truncatingIfNeeded: tag.checksum)
            case .v1, .none: break
            }
            offset &+= format.tagByteCount
            if index == 0 {
                for (i, byte) in uuid.prefix(uuidByteCount).enumerated() {
                    block[Field<UInt8>.be(offset &+ i)] = byte
                }
                offset &+= uuidByteCount
            }
        }
        JournalTail.write(to: &block, format)
    }
}

extension JournalRevoke {
    /// How many block numbers a revoke block has room for.
    package static func capacity(_ format: JournalFormat) -> Int {
        (format.blockSize - Layout.entries - format.tailByteCount) / (format.is64Bit ? 8 : 4)
    }

    /// Writes a revoke block with `blocks`, which fit.
    package static func write(
        _ blocks: ArraySlice<BlockNumber>, _ sequence: TransactionID,
        to block: inout MutableRawSpan, _ format: JournalFormat
    ) {
        JournalHeader.write(.revoke, sequence, to: &block)
        let size = format.is64Bit ? 8 : 4
        var offset = Layout.entries
        for number in blocks {
            if format.is64Bit {
                block[Field<UInt64>.be(offset)] = number.rawValue
            } else {
                block[Field<UInt32>.be(offset)] = UInt32(truncatingIfNeeded: number.rawValue)
            }
            offset &+= size
        }
        block[Layout.byteCount] = UInt32(truncatingIfNeeded: offset)
        JournalTail.write(to: &block, format)
    }
}

extension JournalCommit {
    /// Writes the block that makes transaction `sequence` count.
    package static func write(
        _ sequence: TransactionID, at time: Timestamp, to block: inout MutableRawSpan,
        _ format: JournalFormat
    ) {
        JournalHeader.write(.commit, sequence, to: &block)
        block[Layout.seconds] = UInt64(bitPattern: time.seconds)
        block[Layout.nanoseconds] = time.nanoseconds
        guard format.checksumsEveryBlock else { return }
        // The type and size of version 1 stay 0: the checksum is of the block, not of its
        // transaction.
        var crc = CRC32C(format.seed)
        crc.update(block.bytes, zeroing: Layout.checksum.offset..<Layout.checksum.end)
        block[Layout.checksum] = crc.value
    }
}

extension JournalSuperblock {
    /// What a journal's superblock says while the log is in use.
    package static func write(
        start: UInt32, sequence: TransactionID, to bytes: inout MutableRawSpan
    ) {
        bytes[Layout.start] = start
        bytes[Layout.sequence] = sequence.rawValue
        updateChecksum(&bytes)
    }

    /// Records the error that made this user give up.
    package static func setErrno(_ errno: Int32, in bytes: inout MutableRawSpan) {
        bytes[Layout.errno] = UInt32(bitPattern: errno)
        updateChecksum(&bytes)
    }

    /// Turns on what this engine's logs have: revokes, and where the volume has them 64-bit block
    /// numbers and checksums v3. The log must be empty, since its blocks change their form.
    package static func setFeatures(
        is64Bit: Bool, hasChecksums: Bool, in bytes: inout MutableRawSpan
    ) {
        var features = bytes[Layout.incompatible] | Feature.revoke
        features &= ~(Feature.is64Bit | Feature.checksumV2 | Feature.checksumV3)
        features &= ~Feature.asyncCommit
        if is64Bit { features |= Feature.is64Bit }
        if hasChecksums {
            features |= Feature.checksumV3
            bytes[Layout.checksumType] = crc32cType
        } else {
            bytes[Layout.checksumType] = 0
        }
        bytes[Layout.compatible] = bytes[Layout.compatible] & ~Feature.checksum
        bytes[Layout.incompatible] = features
        updateChecksum(&bytes)
    }
}

extension JournalSuperblock {
    /// Makes the zeros of `bytes` the superblock of a new, empty journal of `length` blocks, of
    /// which the last `fastCommitBlocks` are for fast commits.
    package static func writeNew(
        blockSize: Int, length: UInt32, fastCommitBlocks: UInt32, to bytes: inout MutableRawSpan
    ) {
        bytes[Layout.magic] = JournalHeader.magic
        bytes[Layout.blockType] = JournalHeader.superblockV2
        bytes[Layout.blockSize] = UInt32(blockSize)
        bytes[Layout.length] = length
        bytes[Layout.first] = 1
        bytes[Layout.sequence] = 1
        bytes[Layout.users] = 1
        bytes[Layout.fastCommitBlocks] = fastCommitBlocks
    }
}
