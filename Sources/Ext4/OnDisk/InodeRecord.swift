// An inode's bytes: `inodeSize` of them in the inode table of its group.

/// The bytes of one inode, checked: whole, the right checksum, a sound `i_extra_isize`.
package struct InodeRecord: Sendable {
    /// All `s_inode_size` bytes, as the disk has them.
    package private(set) var bytes: [UInt8]
    /// How many bytes behind the first 128 hold fixed fields (`i_extra_isize`).
    package private(set) var extraSize: Int

    package enum Layout {  // struct ext4_inode
        package static let mode = Field<UInt16>.le(0x00)  // i_mode
        package static let userIDLow = Field<UInt16>.le(0x02)  // i_uid
        package static let sizeLow = Field<UInt32>.le(0x04)  // i_size_lo
        package static let accessTime = Field<UInt32>.le(0x08)  // i_atime
        package static let changeTime = Field<UInt32>.le(0x0C)  // i_ctime
        package static let modificationTime = Field<UInt32>.le(0x10)  // i_mtime
        package static let deletionTime = Field<UInt32>.le(0x14)  // i_dtime
        package static let groupIDLow = Field<UInt16>.le(0x18)  // i_gid
        package static let linkCount = Field<UInt16>.le(0x1A)  // i_links_count
        package static let blocksLow = Field<UInt32>.le(0x1C)  // i_blocks_lo
        package static let flags = Field<UInt32>.le(0x20)  // i_flags
        package static let versionLow = Field<UInt32>.le(0x24)  // osd1.linux1.l_i_version
        package static let block = 0x28..<0x64  // i_block
        package static let generation = Field<UInt32>.le(0x64)  // i_generation
        package static let fileACLLow = Field<UInt32>.le(0x68)  // i_file_acl_lo
        package static let sizeHigh = Field<UInt32>.le(0x6C)  // i_size_high
        package static let fragmentBlock = Field<UInt32>.le(0x70)  // i_obso_faddr
        package static let blocksHigh = Field<UInt16>.le(0x74)  // osd2.linux2.l_i_blocks_high
        package static let fileACLHigh = Field<UInt16>.le(0x76)  // osd2.linux2.l_i_file_acl_high
        package static let userIDHigh = Field<UInt16>.le(0x78)  // osd2.linux2.l_i_uid_high
        package static let groupIDHigh = Field<UInt16>.le(0x7A)  // osd2.linux2.l_i_gid_high
        package static let checksumLow = Field<UInt16>.le(0x7C)  // osd2.linux2.l_i_checksum_lo
        package static let extraSize = Field<UInt16>.le(0x80)  // i_extra_isize
        package static let checksumHigh = Field<UInt16>.le(0x82)  // i_checksum_hi
        package static let changeTimeExtra = Field<UInt32>.le(0x84)  // i_ctime_extra
        package static let modificationTimeExtra = Field<UInt32>.le(0x88)  // i_mtime_extra
        package static let accessTimeExtra = Field<UInt32>.le(0x8C)  // i_atime_extra
        package static let creationTime = Field<UInt32>.le(0x90)  // i_crtime
        package static let creationTimeExtra = Field<UInt32>.le(0x94)  // i_crtime_extra
        package static let versionHigh = Field<UInt32>.le(0x98)  // i_version_hi
        package static let projectID = Field<UInt32>.le(0x9C)  // i_projid
    }

    /// The bytes every inode has, whatever `s_inode_size` (`EXT4_GOOD_OLD_INODE_SIZE`).
    package static let goodOldSize = 128

    /// Parses and checks the `inodeSize` bytes of inode `number`.
    package init(
        parsing bytes: RawSpan, number: InodeNumber, superblock: Superblock, verifiesChecksum: Bool
    ) throws(Ext4Error) {
        let place = Corruption.Place(inode: number)
        guard bytes.byteCount == superblock.inodeSize else {
            throw .corrupt(.inode, at: place, .truncated)
        }
        var extra = 0
        if bytes.byteCount > Self.goodOldSize {
            extra = Int(bytes[Layout.extraSize])
            guard extra <= bytes.byteCount - Self.goodOldSize, extra % 4 == 0 else {
                throw .corrupt(
                    .inode, at: place,
                    .field(
                        "i_extra_isize", value: UInt64(extra),
                        rule: "a multiple of 4, at most \(bytes.byteCount - Self.goodOldSize)"))
            }
        }
        extraSize = extra
        if superblock.hasMetadataChecksums, verifiesChecksum {
            let hasHigh = extra >= Layout.checksumHigh.end - Self.goodOldSize
            var stored = UInt32(bytes[Layout.checksumLow])
            var computed = Self.checksum(
                of: bytes, number: number, hasHighHalf: hasHigh, seed: superblock.checksumSeed)
            if hasHigh {
                stored |= UInt32(bytes[Layout.checksumHigh]) << 16
            } else {
                computed &= 0xFFFF
            }
            // An inode that was never written is all zeros, without a checksum.
            if stored != computed, !bytes.isAllZero {
                throw .corrupt(.inode, at: place, .checksum(stored: stored, computed: computed))
            }
        }
        self.bytes = bytes.copy()
    }

    /// A record of zeros, with the size of its extra fields set.
    package init(zeroed size: Int, extraSize: Int) {
        bytes = [UInt8](repeating: 0, count: size)
        self.extraSize = extraSize
        if size > Self.goodOldSize {
            self[Layout.extraSize] = UInt16(truncatingIfNeeded: extraSize)
        }
    }

    /// The checksum of an inode's bytes, over all of them with its own two halves as zeros.
    package static func checksum(
        of bytes: RawSpan, number: InodeNumber, hasHighHalf: Bool, seed: UInt32
    ) -> UInt32 {
        var crc = CRC32C(
            Self.checksumSeed(number, generation: bytes[Layout.generation], seed: seed))
        let low = Layout.checksumLow.offset..<Layout.checksumLow.end
        guard hasHighHalf else {
            crc.update(bytes, zeroing: low)
            return crc.value
        }
        let high = Layout.checksumHigh.offset..<Layout.checksumHigh.end
        crc.update(bytes.extracting(0..<high.lowerBound), zeroing: low)
        crc.update(littleEndian: UInt16(0))
        crc.update(bytes.extracting(high.upperBound..<bytes.byteCount))
        return crc.value
    }

    /// The seed of everything that belongs to one inode: its own bytes, the nodes of its extent
    /// tree, its directory blocks.
    package static func checksumSeed(_ number: InodeNumber, generation: UInt32, seed: UInt32)
        -> UInt32
    {
        var crc = CRC32C(seed)
        crc.update(littleEndian: number.rawValue)
        crc.update(littleEndian: generation)
        return crc.value
    }

    /// A field of the first 128 bytes, which every inode has.
    package subscript<Value>(_ field: Field<Value>) -> Value {
        get { unsafe bytes.span.bytes[field] }
        set { withMutableBytes { $0[field] = newValue } }
    }

    /// A field behind the first 128 bytes, or nil where this inode does not have it; setting it
    /// does nothing there.
    package subscript<Value>(extra field: Field<Value>) -> Value? {
        get {
            guard field.end <= Self.goodOldSize + extraSize else { return nil }
            return self[field]
        }
        set {
            guard let newValue, field.end <= Self.goodOldSize + extraSize else { return }
            self[field] = newValue
        }
    }

    /// A time with its extra bits, where the inode has them.
    package func time(_ low: Field<UInt32>, _ extra: Field<UInt32>) -> Timestamp {
        .init(low: self[low], extra: self[extra: extra])
    }

    /// Pointer, or other word, `index` of `i_block`; it has 15.
    package func blockWord(_ index: Int) -> UInt32 {
        self[Field<UInt32>.le(Layout.block.lowerBound &+ 4 &* index)]
    }

    /// Runs `body` on the 60 bytes of `i_block`.
    package func withBlock<Result, Failure: Error>(
        _ body: (RawSpan) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try body(unsafe bytes.span.bytes.extracting(Layout.block))
    }

    /// Runs `body` on all bytes.
    package func withBytes<Result, Failure: Error>(
        _ body: (RawSpan) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try body(unsafe bytes.span.bytes)
    }

    /// Runs `body` on all bytes, to change them; not `i_extra_isize`.
    package mutating func withMutableBytes<Result, Failure: Error>(
        _ body: (inout MutableRawSpan) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        var span = bytes.mutableSpan
        var raw = unsafe span.mutableBytes
        return try body(&raw)
    }

    /// The 60 bytes of `i_block`.
    package var block: [UInt8] {
        get { withBlock { $0.copy() } }
        set {
            withMutableBytes { bytes in
                for (i, byte) in newValue.prefix(Layout.block.count).enumerated() {
                    bytes[Field<UInt8>.le(Layout.block.lowerBound &+ i)] = byte
                }
            }
        }
    }
}
