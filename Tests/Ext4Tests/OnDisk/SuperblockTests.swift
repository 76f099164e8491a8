import Testing

@testable import Ext4

/// The bytes of a sound superblock: 1 KiB blocks, 4 groups, no features.
struct SuperblockBytes {
    typealias Layout = Superblock.Layout
    var bytes = [UInt8](repeating: 0, count: 1024)

    init() {
        self[Layout.magic] = 0xEF53
        self[Layout.revision] = 1
        self[Layout.inodesCount] = 4 * 512
        self[Layout.blocksCountLow] = 4 * 8192
        self[Layout.firstDataBlock] = 1
        self[Layout.blocksPerGroup] = 8192
        self[Layout.clustersPerGroup] = 8192
        self[Layout.inodesPerGroup] = 512
        self[Layout.inodeSize] = 256
        self[Layout.firstInode] = 11
    }

    subscript<Value>(_ field: Field<Value>) -> Value {
        get { unsafe bytes.span.bytes[field] }
        set {
            var span = bytes.mutableSpan
            var raw = unsafe span.mutableBytes
            raw[field] = newValue
        }
    }

    func parse() throws(Ext4Error) -> Superblock {
        try Superblock(parsing: unsafe bytes.span.bytes)
    }
}

@Suite struct SuperblockTests {
    typealias Layout = Superblock.Layout

    @Test func aSoundOneParses() throws {
        let superblock = try SuperblockBytes().parse()
        #expect(superblock.blockSize == 1024)
        #expect(superblock.groupCount == 4)
        #expect(superblock.descriptorSize == 32)
        #expect(superblock.blockCount(of: GroupNumber(3)) == 8191)
        #expect(superblock.checksum == nil)
    }

    /// Each field that a later division, shift or index relies on, out of its range.
    @Test(
        arguments: [
            ("s_rev_level", 2), ("s_log_block_size", 7), ("s_log_cluster_size", 1),
            ("s_blocks_per_group", 0), ("s_blocks_per_group", 8193), ("s_inodes_per_group", 0),
            ("s_inodes_per_group", 8193), ("s_inodes_per_group", 3), ("s_inode_size", 0),
            ("s_inode_size", 127), ("s_inode_size", 192), ("s_inode_size", 2048),
            ("s_first_data_block", 2), ("s_blocks_count", 0), ("s_blocks_count", 1),
            ("s_inodes_count", 4 * 512 + 1), ("s_first_ino", 10), ("s_first_ino", 4 * 512 + 1),
            ("s_reserved_gdt_blocks", 257),
        ] as [(String, UInt64)])
    func aFieldOutOfRangeIsNamed(name: String, value: UInt64) throws {
        var bytes = SuperblockBytes()
        switch name {
        case "s_rev_level": bytes[Layout.revision] = UInt32(value)
        case "s_log_block_size": bytes[Layout.logBlockSize] = UInt32(value)
        case "s_log_cluster_size": bytes[Layout.logClusterSize] = UInt32(value)
        case "s_blocks_per_group": bytes[Layout.blocksPerGroup] = UInt32(value)
        case "s_inodes_per_group": bytes[Layout.inodesPerGroup] = UInt32(value)
        case "s_inode_size": bytes[Layout.inodeSize] = UInt16(value)
        case "s_first_data_block": bytes[Layout.firstDataBlock] = UInt32(value)
        case "s_blocks_count": bytes[Layout.blocksCountLow] = UInt32(value)
        case "s_inodes_count": bytes[Layout.inodesCount] = UInt32(value)
        case "s_first_ino": bytes[Layout.firstInode] = UInt32(value)
        default: bytes[Layout.reservedDescriptors] = UInt16(value)
        }
        let error = #expect(throws: Ext4Error.self) { try bytes.parse() }
        guard case .corrupt(let corruption) = error,
            case .field(let field, let found, _) = corruption.rule
        else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(corruption.structure == .superblock)
        #expect(field == name)
        #expect(found == value)
    }

    @Test func aWrongMagicIsToldFromTheRest() {
        var bytes = SuperblockBytes()
        bytes[Layout.magic] = 0x1234
        #expect(throws: Ext4Error.corrupt(.superblock, .magic(found: 0x1234))) {
            try bytes.parse()
        }
    }

    @Test func aWrongChecksumIsFoundAndCanBeIgnored() throws {
        var bytes = SuperblockBytes()
        bytes[Layout.readOnlyCompatible] = ReadOnlyCompatibleFeatures.metadataCsum.rawValue
        bytes[Layout.checksumType] = 1
        let right = Superblock.checksum(of: unsafe bytes.bytes.span.bytes)
        bytes[Layout.checksum] = right ^ 1
        #expect(
            throws: Ext4Error.corrupt(
                .superblock, .checksum(stored: right ^ 1, computed: right))
        ) { try bytes.parse() }
        _ = try Superblock(parsing: unsafe bytes.bytes.span.bytes, verifiesChecksum: false)
        bytes[Layout.checksum] = right
        #expect(try bytes.parse().checksum == right)
    }

    @Test func theHighHalvesCountOnlyWith64Bits() throws {
        var bytes = SuperblockBytes()
        bytes[Layout.freeBlocksHigh] = 1
        #expect(try bytes.parse().freeBlocksCount == 0)
        bytes[Layout.incompatible] = IncompatibleFeatures.bit64.rawValue
        #expect(throws: Ext4Error.self) { try bytes.parse() }
        bytes[Layout.descriptorSize] = 64
        #expect(try bytes.parse().freeBlocksCount == 1 << 32)
    }

    /// Revision 0 knows of no features; where some are set all the same they count, as they do for
    /// the kernel.
    @Test func revisionZeroHasSmallInodes() throws {
        var bytes = SuperblockBytes()
        bytes[Layout.revision] = 0
        bytes[Layout.incompatible] = IncompatibleFeatures.filetype.rawValue
        bytes[Layout.inodeSize] = 0
        bytes[Layout.firstInode] = 0
        let superblock = try bytes.parse()
        #expect(superblock.incompatible == .filetype)
        #expect(superblock.inodeSize == 128)
        #expect(superblock.firstInode == InodeNumber(11))
    }

    @Test func backupsAreInPowersOfThreeFiveAndSeven() throws {
        var bytes = SuperblockBytes()
        #expect(try bytes.parse().hasSuperblock(GroupNumber(2)))
        bytes[Layout.readOnlyCompatible] = ReadOnlyCompatibleFeatures.sparseSuper.rawValue
        let sparse = try bytes.parse()
        let found = (0..<350).filter { sparse.hasSuperblock(GroupNumber($0)) }
        #expect(found == [0, 1, 3, 5, 7, 9, 25, 27, 49, 81, 125, 243, 343])
        bytes[Layout.compatible] = CompatibleFeatures.sparseSuper2.rawValue
        bytes[Layout.backupGroups] = 2
        let two = try bytes.parse()
        #expect((0..<4).filter { two.hasSuperblock(GroupNumber($0)) } == [0, 2])
    }

    @Test func unknownFeaturesHaveNamesToo() {
        let features = IncompatibleFeatures(rawValue: 0x8000_0042)
        #expect(features.names == ["filetype", "extent", "FEATURE_I31"])
        #expect(CompatibleFeatures(rawValue: 1 << 20).names == ["FEATURE_C20"])
        #expect(ReadOnlyCompatibleFeatures(rawValue: 1 << 30).names == ["FEATURE_R30"])
    }

    @Test func theVolumesOwnInodesAreNotNameable() throws {
        var bytes = SuperblockBytes()
        bytes[Layout.journalInode] = 12
        bytes[Layout.orphanFileInode] = 13
        let superblock = try bytes.parse()
        let nameable = [0, 1, 2, 3, 8, 10, 11, 12, 13, 14, 2048, 2049].filter {
            superblock.isNameable(InodeNumber(UInt32($0)))
        }
        #expect(nameable == [2, 11, 14, 2048])
    }
}

@Suite struct SmallRecordTests {
    @Test(
        arguments: [
            (0, 0, 0, 0), (0xFFFF_FFFF, 0, -1, 0), (0x8000_0000, 0, -2_147_483_648, 0),
            (0x7FFF_FFFF, 0, 2_147_483_647, 0), (0x8000_0000, 1, 2_147_483_648, 0),
            (0x7FFF_FFFF, 3, 15_032_385_535, 0), (1, 4 * 999_999_999, 1, 999_999_999),
        ] as [(UInt32, UInt32, Int64, UInt32)])
    func timesHave34BitsOfSeconds(low: UInt32, extra: UInt32, seconds: Int64, nanoseconds: UInt32) {
        #expect(
            Timestamp(low: low, extra: extra)
                == Timestamp(seconds: seconds, nanoseconds: nanoseconds))
    }

    @Test func timesWithoutExtraBitsAreSigned() {
        #expect(Timestamp(low: 0xFFFF_FFFF, extra: nil).seconds == -1)
    }

    @Test func deviceNumbersHaveTwoEncodings() {
        #expect(DeviceNumber(old: 0x0801, new: 7) == DeviceNumber(major: 8, minor: 1))
        #expect(
            DeviceNumber(old: 0, new: 0xABC0_3F12) == DeviceNumber(major: 0x03F, minor: 0xABC12))
    }

    @Test func recordLengthsOf64KiBBlocksUseTheLowBits() {
        #expect(DirectoryRecord.recordLength(0xFFFF, blockSize: 65536) == 65536)
        #expect(DirectoryRecord.recordLength(0, blockSize: 65536) == 65536)
        #expect(DirectoryRecord.recordLength(12, blockSize: 65536) == 12)
        #expect(DirectoryRecord.recordLength(0xFFFC, blockSize: 32768) == 0xFFFC)
    }
}
