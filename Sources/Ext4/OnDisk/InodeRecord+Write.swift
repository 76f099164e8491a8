// Changing an inode's bytes. Unknown bytes survive: only fields that are named are touched.

extension InodeRecord {
    /// A record of zeros for a new inode, which has as many extra fields as the superblock wants.
    package init(zeroedFor superblock: Superblock) {
        var extra = 0
        if superblock.inodeSize > Self.goodOldSize {
            let room = superblock.inodeSize - Self.goodOldSize
            let wanted = Int(
                max(superblock.wantedExtraInodeSize, superblock.minimumExtraInodeSize))
            // 32 is what every field that has a name takes (up to `i_projid`).
            extra = min(wanted > 0 && wanted % 4 == 0 ? wanted : 32, room)
        }
        self.init(zeroed: superblock.inodeSize, extraSize: extra)
    }

    /// The record without its checksum's mismatch: with the checksum that its bytes call for.
    package mutating func seal(number: InodeNumber, superblock: Superblock) {
        guard superblock.hasMetadataChecksums else { return }
        seal(number: number, seed: superblock.checksumSeed)
    }

    /// Gives the record its checksum, which starts from the volume's `seed`.
    package mutating func seal(number: InodeNumber, seed: UInt32) {
        withMutableBytes { Self.seal(&$0, number: number, seed: seed) }
    }

    /// Puts the checksum into an inode's bytes; zeros in its place without a `seed`.
    package static func seal(_ bytes: inout MutableRawSpan, number: InodeNumber, seed: UInt32?) {
        let hasHigh = hasHighHalf(bytes.bytes)
        let value =
            seed.map {
                checksum(of: bytes.bytes, number: number, hasHighHalf: hasHigh, seed: $0)
            } ?? 0
        bytes[Layout.checksumLow] = UInt16(truncatingIfNeeded: value)
        if hasHigh { bytes[Layout.checksumHigh] = UInt16(truncatingIfNeeded: value >> 16) }
    }

    /// Whether an inode's bytes have the checksum that they call for; zeros in its place without a
    /// `seed`.
    package static func isSealed(_ bytes: RawSpan, number: InodeNumber, seed: UInt32?) -> Bool {
        let hasHigh = hasHighHalf(bytes)
        let value =
            seed.map { checksum(of: bytes, number: number, hasHighHalf: hasHigh, seed: $0) } ?? 0
        return bytes[Layout.checksumLow] == UInt16(truncatingIfNeeded: value)
            && (!hasHigh || bytes[Layout.checksumHigh] == UInt16(truncatingIfNeeded: value >> 16))
    }

    /// Whether an inode's fixed fields reach over the high half of its checksum.
    private static func hasHighHalf(_ bytes: RawSpan) -> Bool {
        bytes.byteCount > goodOldSize
            && Int(bytes[Layout.extraSize]) >= Layout.checksumHigh.end &- goodOldSize
    }

    /// Whether there are attributes in the inode itself.
    package var hasAttributes: Bool {
        let start = Self.goodOldSize &+ extraSize
        let first = start &+ XAttrInodeHeader.Layout.size
        return withBytes { bytes in
            guard extraSize > 0, first &+ XAttrEntryRecord.terminatorSize <= bytes.byteCount else {
                return false
            }
            return bytes[XAttrInodeHeader.Layout.magic.at(start)] == XAttrBlockHeader.magic
                && bytes[Field<UInt32>.le(first)] != 0
        }
    }

    // MARK: Fields that stand in two places

    /// `i_size` as both halves.
    package mutating func setSize(_ size: UInt64) {
        self[Layout.sizeLow] = UInt32(truncatingIfNeeded: size)
        self[Layout.sizeHigh] = UInt32(truncatingIfNeeded: size >> 32)
    }

    /// The size that the bytes of a file or directory tell; what a link or a device has there is
    /// its own.
    package var size: UInt64 { UInt64(self[Layout.sizeLow]) | UInt64(self[Layout.sizeHigh]) << 32 }

    /// Sets the owner.
    package mutating func setUserID(_ id: UInt32) {
        self[Layout.userIDLow] = UInt16(truncatingIfNeeded: id)
        self[Layout.userIDHigh] = UInt16(truncatingIfNeeded: id >> 16)
    }

    /// Sets the owning group.
    package mutating func setGroupID(_ id: UInt32) {
        self[Layout.groupIDLow] = UInt16(truncatingIfNeeded: id)
        self[Layout.groupIDHigh] = UInt16(truncatingIfNeeded: id >> 16)
    }

    /// Sets a time, and its extra bits where the inode has them.
    package mutating func setTime(_ low: Field<UInt32>, _ extra: Field<UInt32>, _ time: Timestamp) {
        let hasExtra = extra.end <= Self.goodOldSize + extraSize
        let encoded = time.encoded(hasExtra: hasExtra)
        self[low] = encoded.low
        if hasExtra { self[extra] = encoded.extra }
    }

    /// Sets when the inode was made, where it has room for that.
    package mutating func setCreationTime(_ time: Timestamp) {
        guard Layout.creationTimeExtra.end <= Self.goodOldSize + extraSize else { return }
        setTime(Layout.creationTime, Layout.creationTimeExtra, time)
    }

    /// Sets when the inode was last changed.
    package mutating func setChangeTime(_ time: Timestamp) {
        setTime(Layout.changeTime, Layout.changeTimeExtra, time)
    }

    /// Sets when the contents were last changed.
    package mutating func setModificationTime(_ time: Timestamp) {
        setTime(Layout.modificationTime, Layout.modificationTimeExtra, time)
    }

    /// Sets when the contents were last read.
    package mutating func setAccessTime(_ time: Timestamp) {
        setTime(Layout.accessTime, Layout.accessTimeExtra, time)
    }

    /// The flags.
    package var flags: InodeFlags {
        get { InodeFlags(rawValue: self[Layout.flags]) }
        set { self[Layout.flags] = newValue.rawValue }
    }

    /// Sets the block with further extended attributes; 0 for none.
    package mutating func setAttributeBlock(_ block: BlockNumber) {
        self[Layout.fileACLLow] = UInt32(truncatingIfNeeded: block.rawValue)
        self[Layout.fileACLHigh] = UInt16(truncatingIfNeeded: block.rawValue >> 32)
    }

    /// `i_version` one up, in as many bits as the inode has for it.
    package mutating func advanceVersion() {
        let (low, overflow) = self[Layout.versionLow].addingReportingOverflow(1)
        self[Layout.versionLow] = low
        guard overflow, let high = self[extra: Layout.versionHigh] else { return }
        self[extra: Layout.versionHigh] = high &+ 1
    }

    // MARK: Space taken

    /// The space that the blocks of the inode take, in units of 512 bytes (`i_blocks`).
    package func blocks512(_ superblock: Superblock) -> UInt64 {
        var blocks = UInt64(self[Layout.blocksLow])
        if superblock.readOnlyCompatible.contains(.hugeFile) {
            blocks |= UInt64(self[Layout.blocksHigh]) << 32
            if flags.contains(.hugeFile) { blocks <<= UInt64(superblock.blockSizeLog2 - 9) }
        }
        return blocks
    }

    /// Counts `delta` blocks of the volume more, or fewer.
    ///
    /// - Throws: `.fileTooLarge` for more than the format can count.
    package mutating func addBlocks(_ delta: Int64, _ superblock: Superblock) throws(Ext4Error) {
        let log2 = UInt64(superblock.blockSizeLog2 - 9)
        let old = Int64(clamping: blocks512(superblock))
        // A count that was too small on the disk stays at 0 instead of wrapping.
        let (sum, overflow) = old.addingReportingOverflow(delta << Int64(log2))
        guard !overflow else { throw .fileTooLarge }
        let count = UInt64(max(sum, 0))
        let hasHuge = superblock.readOnlyCompatible.contains(.hugeFile)
        if count <= UInt64(UInt32.max) || (hasHuge && count < 1 << 48) {
            flags.remove(.hugeFile)
            setBlockCount(count, hasHuge)
            return
        }
        guard hasHuge, count >> log2 < 1 << 48 else { throw .fileTooLarge }
        flags.insert(.hugeFile)
        setBlockCount(count >> log2, true)
    }

    private mutating func setBlockCount(_ count: UInt64, _ hasHigh: Bool) {
        self[Layout.blocksLow] = UInt32(truncatingIfNeeded: count)
        if hasHigh { self[Layout.blocksHigh] = UInt16(truncatingIfNeeded: count >> 32) }
    }
}
