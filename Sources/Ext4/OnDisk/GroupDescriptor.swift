/// A block group's descriptor (`struct ext4_group_desc`).
public struct GroupDescriptor: Hashable, Sendable {
    /// Where the map of used blocks is (`bg_block_bitmap`).
    public let blockBitmap: BlockNumber
    /// Where the map of used inodes is (`bg_inode_bitmap`).
    public let inodeBitmap: BlockNumber
    /// Where the inode table starts (`bg_inode_table`).
    public let inodeTable: BlockNumber
    /// Free blocks, or with bigalloc clusters (`bg_free_blocks_count`).
    public package(set) var freeBlocksCount: UInt32
    /// Free inodes (`bg_free_inodes_count`).
    public package(set) var freeInodesCount: UInt32
    /// Directories (`bg_used_dirs_count`).
    public package(set) var usedDirectoriesCount: UInt32
    /// Inodes at the end of the table that were never used (`bg_itable_unused`).
    public package(set) var unusedInodesCount: UInt32
    /// `bg_flags`.
    public package(set) var flags: Flags
    /// `bg_block_bitmap_csum`.
    public package(set) var blockBitmapChecksum: UInt32
    /// `bg_inode_bitmap_csum`.
    public package(set) var inodeBitmapChecksum: UInt32
    /// `bg_checksum`.
    public package(set) var checksum: UInt16

    /// States of a group (`bg_flags`).
    public struct Flags: OptionSet, Hashable, Sendable {
        /// The mask, as the disk has it.
        public let rawValue: UInt16
        /// Makes a set from the mask.
        public init(rawValue: UInt16) { self.rawValue = rawValue }
        /// The inode bitmap and table were never written (`EXT4_BG_INODE_UNINIT`).
        public static let inodeUninit = Self(rawValue: 1)
        /// The block bitmap was never written (`EXT4_BG_BLOCK_UNINIT`).
        public static let blockUninit = Self(rawValue: 2)
        /// The inode table is all zeros where it is not used (`EXT4_BG_INODE_ZEROED`).
        public static let inodeZeroed = Self(rawValue: 4)
    }

    package enum Layout {  // struct ext4_group_desc
        package static let blockBitmapLow = Field<UInt32>.le(0x00)  // bg_block_bitmap_lo
        package static let inodeBitmapLow = Field<UInt32>.le(0x04)  // bg_inode_bitmap_lo
        package static let inodeTableLow = Field<UInt32>.le(0x08)  // bg_inode_table_lo
        package static let freeBlocksLow = Field<UInt16>.le(0x0C)  // bg_free_blocks_count_lo
        package static let freeInodesLow = Field<UInt16>.le(0x0E)  // bg_free_inodes_count_lo
        package static let usedDirectoriesLow = Field<UInt16>.le(0x10)  // bg_used_dirs_count_lo
        package static let flags = Field<UInt16>.le(0x12)  // bg_flags
        package static let blockBitmapCRCLow = Field<UInt16>.le(0x18)  // bg_block_bitmap_csum_lo
        package static let inodeBitmapCRCLow = Field<UInt16>.le(0x1A)  // bg_inode_bitmap_csum_lo
        package static let unusedInodesLow = Field<UInt16>.le(0x1C)  // bg_itable_unused_lo
        package static let checksum = Field<UInt16>.le(0x1E)  // bg_checksum
        package static let blockBitmapHigh = Field<UInt32>.le(0x20)  // bg_block_bitmap_hi
        package static let inodeBitmapHigh = Field<UInt32>.le(0x24)  // bg_inode_bitmap_hi
        package static let inodeTableHigh = Field<UInt32>.le(0x28)  // bg_inode_table_hi
        package static let freeBlocksHigh = Field<UInt16>.le(0x2C)  // bg_free_blocks_count_hi
        package static let freeInodesHigh = Field<UInt16>.le(0x2E)  // bg_free_inodes_count_hi
        package static let usedDirectoriesHigh = Field<UInt16>.le(0x30)  // bg_used_dirs_count_hi
        package static let unusedInodesHigh = Field<UInt16>.le(0x32)  // bg_itable_unused_hi
        package static let blockBitmapCRCHigh = Field<UInt16>.le(0x38)  // bg_block_bitmap_csum_hi
        package static let inodeBitmapCRCHigh = Field<UInt16>.le(0x3A)  // bg_inode_bitmap_csum_hi
    }

    /// The checksum that a descriptor's bytes should have, or nil where the volume has none.
    package static func checksum(
        of bytes: RawSpan, group: GroupNumber, superblock: Superblock
    ) -> UInt16? {
        Format(superblock).checksum(of: bytes, group: group)
    }

    /// Parses and validates the descriptor of `group` from its `descriptorSize` bytes.
    package init(
        parsing bytes: RawSpan, group: GroupNumber, superblock: Superblock,
        verifiesChecksum: Bool = true
    ) throws(Ext4Error) {
        let place = Corruption.Place(group: group)
        guard bytes.byteCount >= superblock.descriptorSize else {
            throw .corrupt(.groupDescriptor, at: place, .truncated)
        }
        self.init(unchecked: bytes, superblock: superblock)
        if verifiesChecksum,
            let computed = Self.checksum(of: bytes, group: group, superblock: superblock),
            computed != checksum
        {
            throw .corrupt(
                .groupDescriptor, at: place,
                .checksum(stored: UInt32(checksum), computed: UInt32(computed)))
        }
        let tableBlocks = UInt64(superblock.inodeTableBlocks)
        for (name, block, count) in [
            ("bg_block_bitmap", blockBitmap, 1), ("bg_inode_bitmap", inodeBitmap, 1),
            ("bg_inode_table", inodeTable, tableBlocks),
        ] where !superblock.contains(block, count: count) {
            throw .corrupt(
                .groupDescriptor, at: place,
                .field(name, value: block.rawValue, rule: "inside the volume"))
        }
    }

    /// Reads the fields as they stand; there are `descriptorSize` bytes.
    package init(unchecked bytes: RawSpan, superblock: Superblock) {
        checksum = bytes[Layout.checksum]
        let isWide = superblock.descriptorSize >= 64
        func wide(_ low: Field<UInt32>, _ high: Field<UInt32>) -> UInt64 {
            UInt64(bytes[low]) | (isWide ? UInt64(bytes[high]) << 32 : 0)
        }
        func wide(_ low: Field<UInt16>, _ high: Field<UInt16>) -> UInt32 {
            UInt32(bytes[low]) | (isWide ? UInt32(bytes[high]) << 16 : 0)
        }
        blockBitmap = .init(wide(Layout.blockBitmapLow, Layout.blockBitmapHigh))
        inodeBitmap = .init(wide(Layout.inodeBitmapLow, Layout.inodeBitmapHigh))
        inodeTable = .init(wide(Layout.inodeTableLow, Layout.inodeTableHigh))
        freeBlocksCount = wide(Layout.freeBlocksLow, Layout.freeBlocksHigh)
        freeInodesCount = wide(Layout.freeInodesLow, Layout.freeInodesHigh)
        usedDirectoriesCount = wide(Layout.usedDirectoriesLow, Layout.usedDirectoriesHigh)
        unusedInodesCount = wide(Layout.unusedInodesLow, Layout.unusedInodesHigh)
        flags = Flags(rawValue: bytes[Layout.flags])
        blockBitmapChecksum = wide(Layout.blockBitmapCRCLow, Layout.blockBitmapCRCHigh)
        inodeBitmapChecksum = wide(Layout.inodeBitmapCRCLow, Layout.inodeBitmapCRCHigh)
    }
}
