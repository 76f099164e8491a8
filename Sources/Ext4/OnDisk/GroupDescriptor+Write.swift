// What changes of a group's descriptor in the life of a volume: counts, flags, checksums. Where
// the group's structures are stands as `mke2fs` or `resize2fs` wrote it.

extension GroupDescriptor {
    /// What the descriptors of a volume have in common: their size, and their checksum's kind.
    package struct Format: Sendable {
        package let size: Int
        private let seed: Seed

        /// What a checksum starts from, the volume's part of it done.
        private enum Seed {
            case none
            case crc16(CRC16)
            case crc32c(CRC32C)
        }

        package init(_ superblock: Superblock) {
            size = superblock.descriptorSize
            if superblock.readOnlyCompatible.contains(.metadataCsum) {
                seed = .crc32c(CRC32C(superblock.checksumSeed))
            } else if superblock.readOnlyCompatible.contains(.gdtCsum) {
                var crc = CRC16()
                unsafe crc.update(superblock.uuid.span.bytes)
                seed = .crc16(crc)
            } else {
                seed = .none
            }
        }

        /// The checksum of a descriptor's bytes, or nil where the volume has none.
        package func checksum(of bytes: RawSpan, group: GroupNumber) -> UInt16? {
            let hole = Layout.checksum.offset..<Layout.checksum.end
            switch seed {
            case .none:
                return nil
            case .crc32c(var crc):
                crc.update(littleEndian: group.rawValue)
                crc.update(bytes, zeroing: hole)
                return UInt16(truncatingIfNeeded: crc.value)
            case .crc16(var crc):
                crc.update(littleEndian: group.rawValue)
                // Unlike CRC32C, the field itself is left out and not taken as zeros.
                crc.update(bytes.extracting(0..<hole.lowerBound))
                crc.update(bytes.extracting(hole.upperBound..<bytes.byteCount))
                return crc.value
            }
        }
    }

    /// Puts the counts, the flags and the bitmaps' checksums into the descriptor's bytes, and then
    /// the checksum of them all. Bytes that this engine does not know stay as they are.
    package mutating func write(
        to bytes: inout MutableRawSpan, group: GroupNumber, _ format: Format
    ) {
        bytes[Layout.freeBlocksLow] = UInt16(truncatingIfNeeded: freeBlocksCount)
        bytes[Layout.freeInodesLow] = UInt16(truncatingIfNeeded: freeInodesCount)
        bytes[Layout.usedDirectoriesLow] = UInt16(truncatingIfNeeded: usedDirectoriesCount)
        bytes[Layout.flags] = flags.rawValue
        bytes[Layout.blockBitmapCRCLow] = UInt16(truncatingIfNeeded: blockBitmapChecksum)
        bytes[Layout.inodeBitmapCRCLow] = UInt16(truncatingIfNeeded: inodeBitmapChecksum)
        bytes[Layout.unusedInodesLow] = UInt16(truncatingIfNeeded: unusedInodesCount)
        if format.size >= 64 {
            bytes[Layout.freeBlocksHigh] = UInt16(truncatingIfNeeded: freeBlocksCount >> 16)
            bytes[Layout.freeInodesHigh] = UInt16(truncatingIfNeeded: freeInodesCount >> 16)
            bytes[Layout.usedDirectoriesHigh] =
                UInt16(truncatingIfNeeded: usedDirectoriesCount >> 16)
            bytes[Layout.unusedInodesHigh] = UInt16(truncatingIfNeeded: unusedInodesCount >> 16)
            bytes[Layout.blockBitmapCRCHigh] =
                UInt16(truncatingIfNeeded: blockBitmapChecksum >> 16)
            bytes[Layout.inodeBitmapCRCHigh] =
                UInt16(truncatingIfNeeded: inodeBitmapChecksum >> 16)
        }
        if let computed = format.checksum(of: bytes.bytes, group: group) {
            checksum = computed
            bytes[Layout.checksum] = computed
        }
    }

    /// The checksum of a group's map of blocks as the descriptor has it, or nil where the volume
    /// has none. It covers the bytes that stand for blocks of a full group.
    package static func blockBitmapChecksum(of bitmap: RawSpan, superblock: Superblock) -> UInt32? {
        bitmapChecksum(of: bitmap, bitCount: superblock.clustersPerGroup, superblock)
    }

    /// The checksum of a group's map of inodes as the descriptor has it, or nil where the volume
    /// has none.
    package static func inodeBitmapChecksum(of bitmap: RawSpan, superblock: Superblock) -> UInt32? {
        bitmapChecksum(of: bitmap, bitCount: superblock.inodesPerGroup, superblock)
    }

    private static func bitmapChecksum(
        of bitmap: RawSpan, bitCount: UInt32, _ superblock: Superblock
    ) -> UInt32? {
        guard superblock.hasMetadataChecksums else { return nil }
        var crc = CRC32C(superblock.checksumSeed)
        crc.update(bitmap.extracting(0..<min(Int(bitCount / 8), bitmap.byteCount)))
        // A descriptor of 32 bytes has room for the low half only.
        return superblock.descriptorSize >= 64 ? crc.value : crc.value & 0xFFFF
    }
}
