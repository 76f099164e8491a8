// The superblock: 1,024 bytes at byte 1,024 of the volume, with copies at the start of some groups.
//
// `Superblock` is the validated value: whoever has one may divide by its counts and shift by its
// logarithms. Invariants held by `init(parsing:)`:
//  1. blockSize is 1 KiB to 64 KiB, clusterSize a multiple of it up to 1 GiB, both powers of two;
//  2. blocksPerGroup, clustersPerGroup and inodesPerGroup are not 0 and fit a one-block bitmap;
//  3. inodeSize is a power of two from 128 to blockSize;
//  4. groupCount · inodesPerGroup = inodesCount, and fits 32 bits;
//  5. descriptorSize is a power of two from 32 to 1,024;
//  6. firstDataBlock < blocksCount, and blocksCount · blockSize fits 63 bits.

/// The superblock of a volume (`struct ext4_super_block`), validated.
public struct Superblock: Hashable, Sendable {
    /// Inodes in all (`s_inodes_count`).
    public let inodesCount: UInt32
    /// Blocks in all (`s_blocks_count`).
    public let blocksCount: UInt64
    /// Blocks that only root may take (`s_r_blocks_count`).
    public let reservedBlocksCount: UInt64
    /// Free blocks, also with bigalloc (`s_free_blocks_count`), as last written.
    public let freeBlocksCount: UInt64
    /// Free inodes (`s_free_inodes_count`), as last written.
    public let freeInodesCount: UInt32
    /// The block that holds the superblock, and where group 0 starts (`s_first_data_block`).
    public let firstDataBlock: UInt32
    /// log2 of the block size (`s_log_block_size` + 10).
    public let blockSizeLog2: Int
    /// log2 of blocks per cluster: 0 without bigalloc.
    public let clusterRatioLog2: Int
    /// Blocks per group (`s_blocks_per_group`).
    public let blocksPerGroup: UInt32
    /// Clusters per group (`s_clusters_per_group`).
    public let clustersPerGroup: UInt32
    /// Inodes per group (`s_inodes_per_group`).
    public let inodesPerGroup: UInt32
    /// Last mount (`s_mtime`).
    public let mountTime: Timestamp
    /// Last write (`s_wtime`).
    public let writeTime: Timestamp
    /// Mounts since the last check (`s_mnt_count`).
    public let mountCount: UInt16
    /// Mounts after which a check is due; 0xFFFF for never (`s_max_mnt_count`).
    public let maximumMountCount: UInt16
    /// `s_state`: 1 clean, 2 errors seen, 4 orphans being recovered.
    public let state: UInt16
    /// What to do on errors (`s_errors`): 1 continue, 2 remount read-only, 3 panic.
    public let errorBehaviour: UInt16
    /// Last check (`s_lastcheck`).
    public let lastCheckTime: Timestamp
    /// Seconds after which a check is due (`s_checkinterval`).
    public let checkInterval: UInt32
    /// Who made it (`s_creator_os`): 0 Linux, 1 Hurd, 2 Masix, 3 FreeBSD, 4 Lites.
    public let creatorOS: UInt32
    /// 0 for the first revision, 1 with features and inode sizes (`s_rev_level`).
    public let revision: UInt32
    /// User id that may take reserved blocks (`s_def_resuid`).
    public let reservedUserID: UInt16
    /// Group id that may take reserved blocks (`s_def_resgid`).
    public let reservedGroupID: UInt16
    /// The first inode that is not reserved (`s_first_ino`).
    public let firstInode: InodeNumber
    /// Size of an inode in bytes (`s_inode_size`).
    public let inodeSize: Int
    /// The group that this copy is in (`s_block_group_nr`).
    public let group: UInt16
    /// `s_feature_compat`.
    public let compatible: CompatibleFeatures
    /// `s_feature_incompat`.
    public let incompatible: IncompatibleFeatures
    /// `s_feature_ro_compat`.
    public let readOnlyCompatible: ReadOnlyCompatibleFeatures
    /// The volume's UUID, 16 bytes (`s_uuid`).
    public let uuid: [UInt8]
    /// The label, up to its first NUL (`s_volume_name`).
    public let label: [UInt8]
    /// Where it was last mounted (`s_last_mounted`).
    public let lastMounted: [UInt8]
    /// Blocks reserved for descriptors to grow into (`s_reserved_gdt_blocks`).
    public let reservedDescriptorBlocks: UInt16
    /// UUID of an external journal, 16 bytes (`s_journal_uuid`).
    public let journalUUID: [UInt8]
    /// The journal's inode; 0 for none or an external one (`s_journal_inum`).
    public let journalInode: InodeNumber
    /// Device number of an external journal (`s_journal_dev`).
    public let journalDevice: UInt32
    /// Head of the list of orphans; 0 for none (`s_last_orphan`).
    public let lastOrphan: InodeNumber
    /// Seed of directory hashes, four words (`s_hash_seed`).
    public let hashSeed: [UInt32]
    /// Hash of new directory indexes (`s_def_hash_version`).
    public let defaultHashVersion: UInt8
    /// Size of a group descriptor in bytes (`s_desc_size`).
    public let descriptorSize: Int
    /// `s_default_mount_opts`.
    public let defaultMountOptions: UInt32
    /// The first descriptor block that lies in a meta group (`s_first_meta_bg`).
    public let firstMetaGroup: UInt32
    /// When it was made (`s_mkfs_time`).
    public let creationTime: Timestamp
    /// Copy of the journal inode's `i_block` and size, 17 words (`s_jnl_blocks`).
    public let journalBackup: [UInt32]
    /// `s_jnl_backup_type`: 1 when `journalBackup` is set.
    public let journalBackupType: UInt8
    /// Bytes that every inode has behind its first 128 (`s_min_extra_isize`).
    public let minimumExtraInodeSize: UInt16
    /// Bytes that new inodes should have behind their first 128 (`s_want_extra_isize`).
    public let wantedExtraInodeSize: UInt16
    /// `s_flags`: 1 signed hashes, 2 unsigned hashes, 4 test file system.
    public let flags: UInt32
    /// RAID stride in blocks (`s_raid_stride`).
    public let raidStride: UInt16
    /// RAID stripe width in blocks (`s_raid_stripe_width`).
    public let raidStripeWidth: UInt32
    /// Seconds between updates of the multi-mount block (`s_mmp_update_interval`).
    public let mmpInterval: UInt16
    /// The multi-mount block (`s_mmp_block`).
    public let mmpBlock: BlockNumber
    /// Groups per flexible group; 1 without flex_bg (`s_log_groups_per_flex`).
    public let groupsPerFlex: UInt32
    /// KiB written in the volume's life (`s_kbytes_written`).
    public let kibibytesWritten: UInt64
    /// Errors seen since the last check (`s_error_count`).
    public let errorCount: UInt32
    /// The first of them.
    public let firstError: ErrorRecord?
    /// The last of them.
    public let lastError: ErrorRecord?
    /// Mount options in words (`s_mount_opts`).
    public let mountOptions: [UInt8]
    /// Inode of the user quota file; 0 for none (`s_usr_quota_inum`).
    public let userQuotaInode: InodeNumber
    /// Inode of the group quota file; 0 for none (`s_grp_quota_inum`).
    public let groupQuotaInode: InodeNumber
    /// Inode of the project quota file; 0 for none (`s_prj_quota_inum`).
    public let projectQuotaInode: InodeNumber
    /// Clusters taken by the volume's own structures; 0 for unknown (`s_overhead_clusters`).
    public let overheadClusters: UInt32
    /// The two groups with backups under sparse_super2 (`s_backup_bgs`).
    public let backupGroups: [UInt32]
    /// Inode of lost+found; 0 for unknown (`s_lpf_ino`).
    public let lostAndFoundInode: InodeNumber
    /// The stored checksum seed (`s_checksum_seed`); meant only with metadata_csum_seed.
    public let storedChecksumSeed: UInt32
    /// The checksum algorithm (`s_checksum_type`): 1 is CRC32C.
    public let checksumType: UInt8
    /// The only encoding of file names that there is for casefold: UTF-8 12.1.
    package static let utf8Encoding: UInt16 = 1

    /// Encoding of file names for casefold (`s_encoding`).
    public let encoding: UInt16
    /// `s_encoding_flags`.
    public let encodingFlags: UInt16
    /// Inode of the orphan file; 0 for none (`s_orphan_file_inum`).
    public let orphanFileInode: InodeNumber

    /// The checksum as stored (`s_checksum`), when metadata_csum is on.
    public let checksum: UInt32?

    /// Blocks of the group that holds the descriptors, and where groups end: derived once.
    public let groupCount: UInt32
    /// The seed of all metadata checksums but the superblock's own.
    public let checksumSeed: UInt32

    /// One record of an error that the kernel, or this engine, met.
    public struct ErrorRecord: Hashable, Sendable {
        /// When (`s_first_error_time`, `s_last_error_time`).
        public let time: Timestamp
        /// The inode concerned; 0 for none.
        public let inode: InodeNumber
        /// The block concerned; 0 for none.
        public let block: BlockNumber
        /// The function that met it.
        public let function: [UInt8]
        /// The line in it.
        public let line: UInt32
        /// The error's number, in the kernel's encoding (`s_first_error_errcode`).
        public let code: UInt8
    }
}

extension Superblock {
    /// The size of a block in bytes.
    public var blockSize: Int { 1 << blockSizeLog2 }
    /// The size of a cluster in bytes: the block size without bigalloc.
    public var clusterSize: Int { blockSize << clusterRatioLog2 }
    /// Inodes in one block of the inode table.
    package var inodesPerBlock: UInt32 { UInt32(blockSize / inodeSize) }
    /// Blocks of one group's inode table.
    package var inodeTableBlocks: UInt32 { (inodesPerGroup + inodesPerBlock - 1) / inodesPerBlock }
    /// Descriptors in one block.
    package var descriptorsPerBlock: UInt32 { UInt32(blockSize / descriptorSize) }
    /// Whether all metadata has a CRC32C.
    public var hasMetadataChecksums: Bool { readOnlyCompatible.contains(.metadataCsum) }
    /// Whether group descriptors have a checksum of either kind, and groups may be uninitialised.
    public var hasDescriptorChecksums: Bool {
        !readOnlyCompatible.isDisjoint(with: [.metadataCsum, .gdtCsum])
    }
    /// Whether the journal lies on another device.
    public var hasExternalJournal: Bool {
        compatible.contains(.hasJournal) && journalInode.rawValue == 0
    }

    /// Whether `block` is a block of this volume that a file or a structure can have.
    package func contains(_ block: BlockNumber) -> Bool {
        block.rawValue > UInt64(firstDataBlock) && block.rawValue < blocksCount
    }

    /// Whether `count` blocks from `block` on, `count` not 0, all lie in this volume.
    package func contains(_ block: BlockNumber, count: UInt64) -> Bool {
        contains(block) && count <= blocksCount &- block.rawValue
    }

    /// Whether a name may lead to `inode`: it exists, and it is not one of the volume's own.
    package func isNameable(_ inode: InodeNumber) -> Bool {
        guard inode.rawValue <= inodesCount else { return false }
        if inode == .root { return true }
        let own = [
            journalInode, userQuotaInode, groupQuotaInode, projectQuotaInode, orphanFileInode,
        ]
        return inode >= firstInode && !own.contains(inode)
    }

    /// The first block of `group`.
    package func firstBlock(of group: GroupNumber) -> BlockNumber {
        BlockNumber(UInt64(firstDataBlock) + UInt64(group.rawValue) * UInt64(blocksPerGroup))
    }

    /// The number of blocks of `group`: the last one may be short.
    package func blockCount(of group: GroupNumber) -> UInt32 {
        let start = firstBlock(of: group).rawValue
        return UInt32(min(UInt64(blocksPerGroup), blocksCount - min(start, blocksCount)))
    }

    /// Whether `group` starts with a copy of the superblock.
    public func hasSuperblock(_ group: GroupNumber) -> Bool {
        let number = group.rawValue
        if number == 0 { return true }
        if compatible.contains(.sparseSuper2) { return backupGroups.contains(number) }
        if number == 1 || !readOnlyCompatible.contains(.sparseSuper) { return true }
        return Self.isSparsePower(number)
    }

    /// Whether a number from 1 on is a power of 3, 5 or 7: the groups with copies under sparse_super.
    package static func isSparsePower(_ number: UInt32) -> Bool {
        guard number & 1 == 1 else { return false }
        for base: UInt32 in [3, 5, 7] {
            var power = number
            while power % base == 0 { power /= base }
            if power == 1 { return true }
        }
        return false
    }
}
