// What a new volume looks like before anything is written: its superblock, and where the structures
// of each group lie. Groups are worked out when they are asked for, a flexible group at a time: a
// volume of 16 TiB has 131,072 of them.

/// Where the structures of a group lie.
package struct GroupPlaces: Hashable, Sendable {
    /// The map of used blocks.
    package let blockBitmap: BlockNumber
    /// The map of used inodes.
    package let inodeBitmap: BlockNumber
    /// The first block of the inode table.
    package let inodeTable: BlockNumber

    package init(blockBitmap: UInt64, inodeBitmap: UInt64, inodeTable: UInt64) {
        self.blockBitmap = BlockNumber(blockBitmap)
        self.inodeBitmap = BlockNumber(inodeBitmap)
        self.inodeTable = BlockNumber(inodeTable)
    }
}

/// A volume that is to be made.
package struct VolumeLayout: Sendable {
    /// What it was derived from.
    package let options: FormatOptions
    /// The superblock without what is known only when the volume is full: counts of what is free,
    /// the inodes of the volume's own files.
    package let superblock: Superblock
    /// Its bytes.
    package let superblockBytes: [UInt8]
    /// The blocks of the journal with those of fast commits; 0 for none.
    package let journalBlocks: UInt32
    /// How many of them, at the end, are for fast commits.
    package let fastCommitBlocks: UInt32
    /// The blocks of the orphan file; 0 for none.
    package let orphanFileBlocks: UInt32
    /// The quota files.
    package let quotas: FormatOptions.QuotaKinds
    /// Whether the volume is too small for the journal that it should have had.
    package let lacksJournal: Bool
    /// Where all bitmaps and tables start, when they lie in one place.
    package let packedStart: UInt64?
    /// The blocks behind each copy of the superblock that descriptors have or may come to have,
    /// before `s_first_meta_bg` with meta_bg.
    package let descriptorRoom: UInt64

    /// The layout of a volume of so many bytes.
    ///
    /// - Parameters:
    ///   - descriptorRoom: how many blocks behind a copy of the superblock are kept for
    ///     descriptors; nil for what the options call for.
    ///   - packedStart: from which block on all bitmaps and tables lie; nil for flexible groups,
    ///     or each group on its own, as the options say.
    package init(
        _ options: FormatOptions, byteCount: UInt64, descriptorRoom: UInt32? = nil,
        packedStart: UInt64? = nil
    ) throws(FormatProblem) {
        guard options.uuid.count == 16, options.hashSeed.count == 16 else {
            throw FormatProblem("a UUID and a hash seed have 16 bytes")
        }
        guard options.label.count <= 16 else {
            throw FormatProblem("a label has at most 16 bytes")
        }
        guard options.lastMounted.count <= 64 else {
            throw FormatProblem("the directory of the last mount has at most 64 bytes")
        }
        var geometry = try VolumeGeometry(
            options, byteCount: byteCount, descriptorRoom: descriptorRoom)
        let journal = try Self.journal(options, geometry)
        lacksJournal = journal.blocks == 0 && geometry.features.compatible.contains(.hasJournal)
        if lacksJournal { geometry.dropJournal() }
        (journalBlocks, fastCommitBlocks) = (journal.blocks + journal.fast, journal.fast)
        let hasOrphans = geometry.features.compatible.contains(.orphanFile)
        let asked = options.orphanFileSize?.blocks(ofSize: geometry.blockSize)
        guard asked.map({ $0 > 0 && $0 <= 65536 && hasOrphans }) ?? true else {
            throw FormatProblem(
                "an orphan file has 1 to 65536 blocks, and needs the feature orphan_file")
        }
        orphanFileBlocks =
            hasOrphans
            ? asked.map { UInt32($0) } ?? FormatDefaults.orphanFileBlocks(geometry.blockCount) : 0
        if geometry.features.readOnlyCompatible.contains(.quota) {
            var kinds = options.quotas ?? [.user, .group]
            if geometry.features.readOnlyCompatible.contains(.project) { kinds.insert(.project) }
            quotas = kinds
        } else {
            quotas = []
        }
        self.options = options
        superblockBytes = Self.superblock(options, geometry)
        superblock = try Self.parsed(superblockBytes)
        let hasMeta = geometry.features.incompatible.contains(.metaBg)
        self.descriptorRoom =
            hasMeta ? 0 : geometry.descriptorBlocks + geometry.reservedDescriptors
        self.packedStart =
            packedStart
            ?? (options.packsMetadata ? UInt64(superblock.firstDataBlock) : nil)
    }

    private static func parsed(_ bytes: [UInt8]) throws(FormatProblem) -> Superblock {
        do throws(Ext4Error) {
            return try unsafe Superblock(parsing: bytes.span.bytes, verifiesChecksum: false)
        } catch {
            throw FormatProblem("\(error)")
        }
    }

    /// The blocks of the journal and of its fast commits; 0 where there is none to be, or the
    /// volume is too small for one.
    private static func journal(
        _ options: FormatOptions, _ geometry: VolumeGeometry
    ) throws(FormatProblem) -> (blocks: UInt32, fast: UInt32) {
        guard geometry.features.compatible.contains(.hasJournal),
            let usual = FormatDefaults.journalBlocks(geometry.blockCount)
        else { return (0, 0) }
        let unit = UInt64(geometry.blockSize / 1024)
        var blocks = UInt64(usual)
        var fast: UInt64 = 0
        if let size = options.journalMebibytes { blocks = UInt64(size) * 1024 / unit }
        if geometry.features.compatible.contains(.fastCommit) {
            fast = UInt64(usual / FormatDefaults.journalPerFastCommit)
            if let size = options.fastCommitKibibytes { fast = UInt64(size) / unit }
        }
        guard FormatDefaults.journalRange.contains(blocks + fast),
            FormatDefaults.journalRange.contains(blocks)
        else {
            throw FormatProblem(
                "a journal of \(blocks + fast) blocks is not possible: it has"
                    + " \(FormatDefaults.journalRange.lowerBound) to"
                    + " \(FormatDefaults.journalRange.upperBound)"
                    + " blocks of \(geometry.blockSize) bytes")
        }
        guard blocks + fast <= geometry.blockCount / 2 else {
            throw FormatProblem(
                "a journal of \(blocks + fast) blocks is too large for a volume of"
                    + " \(geometry.blockCount)")
        }
        return (UInt32(blocks), UInt32(fast))
    }

    /// The bytes of the superblock.
    private static func superblock(
        _ options: FormatOptions, _ geometry: VolumeGeometry
    ) -> [UInt8] {
        typealias Layout = Superblock.Layout
        var bytes = [UInt8](repeating: 0, count: Superblock.byteCount)
        for (range, value) in [
            (Layout.uuid, options.uuid), (Layout.label, options.label),
            (Layout.lastMounted, options.lastMounted),
            (Layout.hashSeed.offset..<Layout.hashSeed.offset + 16, options.hashSeed),
        ] {
            let part = value.prefix(range.count)
            bytes.replaceSubrange(range.lowerBound..<range.lowerBound + part.count, with: part)
        }
        var span = bytes.mutableSpan
        var raw = unsafe span.mutableBytes
        putCounts(geometry, in: &raw)
        putTimes(options.time, in: &raw)
        let features = geometry.features
        raw[Layout.magic] = Superblock.magic
        raw[Layout.state] = Superblock.validState
        raw[Layout.errors] = options.errorBehaviour.rawValue
        raw[Layout.maximumMountCount] = .max
        raw[Layout.creatorOS] = options.creatorOS
        raw[Layout.revision] = options.revision
        raw[Layout.firstInode] = firstInode
        raw[Layout.inodeSize] = UInt16(truncatingIfNeeded: geometry.inodeSize)
        raw[Layout.compatible] = features.compatible.rawValue
        raw[Layout.incompatible] = features.incompatible.rawValue
        raw[Layout.readOnlyCompatible] = features.readOnlyCompatible.rawValue
        raw[Layout.defaultHashVersion] = FormatDefaults.hashVersion
        raw[Layout.defaultMountOptions] =
            options.revision == 0
            ? 0 : options.defaultMountOptions ?? FormatDefaults.mountOptions
        if geometry.inodeSize > InodeRecord.goodOldSize {
            raw[Layout.minimumExtraSize] = extraInodeSize
            raw[Layout.wantedExtraSize] = extraInodeSize
        }
        raw[Layout.flags] = signedHash | (options.isTest ? testVolume : 0)
        raw[Layout.raidStride] = options.stride
        raw[Layout.raidStripeWidth] = options.stripeWidth
        raw[Layout.mmpInterval] = options.mmpInterval
        if features.readOnlyCompatible.contains(.metadataCsum) {
            raw[Layout.checksumType] = 1
            if features.incompatible.contains(.csumSeed) {
                var crc = CRC32C()
                unsafe crc.update(options.uuid.span.bytes)
                raw[Layout.checksumSeed] = crc.value
            }
        }
        if features.incompatible.contains(.casefold) {
            raw[Layout.encoding] = utf8Encoding
            raw[Layout.encodingFlags] = options.encodingFlags
        }
        if features.incompatible.contains(.encrypt) {
            raw[Layout.contentsCipher] = aesXTS
            raw[Layout.namesCipher] = aesCTS
        }
        return bytes
    }

    private static func putCounts(_ geometry: VolumeGeometry, in raw: inout MutableRawSpan) {
        typealias Layout = Superblock.Layout
        let has64Bit = geometry.features.incompatible.contains(.bit64)
        raw[Layout.inodesCount] = UInt32(
            truncatingIfNeeded: geometry.inodesPerGroup * geometry.groupCount)
        raw[Layout.blocksCountLow] = UInt32(truncatingIfNeeded: geometry.blockCount)
        raw[Layout.reservedBlocksLow] = UInt32(truncatingIfNeeded: geometry.reservedBlocks)
        if has64Bit {
            raw[Layout.blocksCountHigh] = UInt32(truncatingIfNeeded: geometry.blockCount >> 32)
            raw[Layout.reservedBlocksHigh] = UInt32(
                truncatingIfNeeded: geometry.reservedBlocks >> 32)
            raw[Layout.descriptorSize] = UInt16(truncatingIfNeeded: geometry.descriptorSize)
        }
        raw[Layout.firstDataBlock] = geometry.firstDataBlock
        raw[Layout.logBlockSize] = UInt32(VolumeGeometry.log2(geometry.blockSize) - 10)
        raw[Layout.logClusterSize] = UInt32(VolumeGeometry.log2(geometry.clusterSize) - 10)
        raw[Layout.blocksPerGroup] = geometry.blocksPerGroup
        raw[Layout.clustersPerGroup] = geometry.clustersPerGroup
        raw[Layout.inodesPerGroup] = UInt32(truncatingIfNeeded: geometry.inodesPerGroup)
        raw[Layout.reservedDescriptors] = UInt16(truncatingIfNeeded: geometry.reservedDescriptors)
        raw[Layout.logGroupsPerFlex] = geometry.logFlexSize
        raw[Layout.backupGroups] = geometry.backupGroups.0
        raw[Layout.backupGroups.at(4)] = geometry.backupGroups.1
    }

    private static func putTimes(_ time: Timestamp, in raw: inout MutableRawSpan) {
        typealias Layout = Superblock.Layout
        let seconds = UInt64(clamping: time.seconds)
        for (low, high) in [
            (Layout.creationTime, Layout.creationTimeHigh),
            (Layout.lastCheck, Layout.lastCheckHigh), (Layout.writeTime, Layout.writeTimeHigh),
        ] {
            raw[low] = UInt32(truncatingIfNeeded: seconds)
            raw[high] = UInt8(truncatingIfNeeded: seconds >> 32)
        }
    }

    /// `EXT2_GOOD_OLD_FIRST_INO`.
    private static let firstInode: UInt32 = 11
    /// What the fields up to `i_projid` take.
    private static let extraInodeSize: UInt16 = 32
    /// `EXT2_FLAGS_SIGNED_HASH`: hashes do not depend on a machine's char.
    private static let signedHash: UInt32 = 1
    /// `EXT2_FLAGS_TEST_FILESYS`.
    private static let testVolume: UInt32 = 4
    /// `EXT4_ENC_UTF8_12_1`.
    private static let utf8Encoding: UInt16 = 1
    /// `EXT4_ENCRYPTION_MODE_AES_256_XTS`.
    private static let aesXTS: UInt8 = 1
    /// `EXT4_ENCRYPTION_MODE_AES_256_CTS`.
    private static let aesCTS: UInt8 = 4
}
