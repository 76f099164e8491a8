// The bytes of the superblock.

extension Superblock {
    /// Where the primary superblock starts, in bytes.
    package static let byteOffset: UInt64 = 1024
    /// The superblock's size in bytes, on every volume.
    package static let byteCount = 1024
    /// `EXT4_SUPER_MAGIC`.
    package static let magic: UInt16 = 0xEF53

    package enum Layout {  // struct ext4_super_block
        package static let inodesCount = Field<UInt32>.le(0x00)  // s_inodes_count
        package static let blocksCountLow = Field<UInt32>.le(0x04)  // s_blocks_count_lo
        package static let reservedBlocksLow = Field<UInt32>.le(0x08)  // s_r_blocks_count_lo
        package static let freeBlocksLow = Field<UInt32>.le(0x0C)  // s_free_blocks_count_lo
        package static let freeInodes = Field<UInt32>.le(0x10)  // s_free_inodes_count
        package static let firstDataBlock = Field<UInt32>.le(0x14)  // s_first_data_block
        package static let logBlockSize = Field<UInt32>.le(0x18)  // s_log_block_size
        package static let logClusterSize = Field<UInt32>.le(0x1C)  // s_log_cluster_size
        package static let blocksPerGroup = Field<UInt32>.le(0x20)  // s_blocks_per_group
        package static let clustersPerGroup = Field<UInt32>.le(0x24)  // s_clusters_per_group
        package static let inodesPerGroup = Field<UInt32>.le(0x28)  // s_inodes_per_group
        package static let mountTime = Field<UInt32>.le(0x2C)  // s_mtime
        package static let writeTime = Field<UInt32>.le(0x30)  // s_wtime
        package static let mountCount = Field<UInt16>.le(0x34)  // s_mnt_count
        package static let maximumMountCount = Field<UInt16>.le(0x36)  // s_max_mnt_count
        package static let magic = Field<UInt16>.le(0x38)  // s_magic
        package static let state = Field<UInt16>.le(0x3A)  // s_state
        package static let errors = Field<UInt16>.le(0x3C)  // s_errors
        package static let lastCheck = Field<UInt32>.le(0x40)  // s_lastcheck
        package static let checkInterval = Field<UInt32>.le(0x44)  // s_checkinterval
        package static let creatorOS = Field<UInt32>.le(0x48)  // s_creator_os
        package static let revision = Field<UInt32>.le(0x4C)  // s_rev_level
        package static let reservedUserID = Field<UInt16>.le(0x50)  // s_def_resuid
        package static let reservedGroupID = Field<UInt16>.le(0x52)  // s_def_resgid
        package static let firstInode = Field<UInt32>.le(0x54)  // s_first_ino
        package static let inodeSize = Field<UInt16>.le(0x58)  // s_inode_size
        package static let group = Field<UInt16>.le(0x5A)  // s_block_group_nr
        package static let compatible = Field<UInt32>.le(0x5C)  // s_feature_compat
        package static let incompatible = Field<UInt32>.le(0x60)  // s_feature_incompat
        package static let readOnlyCompatible = Field<UInt32>.le(0x64)  // s_feature_ro_compat
        package static let uuid = 0x68..<0x78  // s_uuid
        package static let label = 0x78..<0x88  // s_volume_name
        package static let lastMounted = 0x88..<0xC8  // s_last_mounted
        package static let reservedDescriptors = Field<UInt16>.le(0xCE)  // s_reserved_gdt_blocks
        package static let journalUUID = 0xD0..<0xE0  // s_journal_uuid
        package static let journalInode = Field<UInt32>.le(0xE0)  // s_journal_inum
        package static let journalDevice = Field<UInt32>.le(0xE4)  // s_journal_dev
        package static let lastOrphan = Field<UInt32>.le(0xE8)  // s_last_orphan
        package static let hashSeed = Field<UInt32>.le(0xEC)  // s_hash_seed
        package static let defaultHashVersion = Field<UInt8>.le(0xFC)  // s_def_hash_version
        package static let journalBackupType = Field<UInt8>.le(0xFD)  // s_jnl_backup_type
        package static let descriptorSize = Field<UInt16>.le(0xFE)  // s_desc_size
        package static let defaultMountOptions = Field<UInt32>.le(0x100)  // s_default_mount_opts
        package static let firstMetaGroup = Field<UInt32>.le(0x104)  // s_first_meta_bg
        package static let creationTime = Field<UInt32>.le(0x108)  // s_mkfs_time
        package static let journalBackup = Field<UInt32>.le(0x10C)  // s_jnl_blocks
        package static let blocksCountHigh = Field<UInt32>.le(0x150)  // s_blocks_count_hi
        package static let reservedBlocksHigh = Field<UInt32>.le(0x154)  // s_r_blocks_count_hi
        package static let freeBlocksHigh = Field<UInt32>.le(0x158)  // s_free_blocks_count_hi
        package static let minimumExtraSize = Field<UInt16>.le(0x15C)  // s_min_extra_isize
        package static let wantedExtraSize = Field<UInt16>.le(0x15E)  // s_want_extra_isize
        package static let flags = Field<UInt32>.le(0x160)  // s_flags
        package static let raidStride = Field<UInt16>.le(0x164)  // s_raid_stride
        package static let mmpInterval = Field<UInt16>.le(0x166)  // s_mmp_update_interval
        package static let mmpBlock = Field<UInt64>.le(0x168)  // s_mmp_block
        package static let raidStripeWidth = Field<UInt32>.le(0x170)  // s_raid_stripe_width
        package static let logGroupsPerFlex = Field<UInt8>.le(0x174)  // s_log_groups_per_flex
        package static let checksumType = Field<UInt8>.le(0x175)  // s_checksum_type
        package static let kibibytesWritten = Field<UInt64>.le(0x178)  // s_kbytes_written
        package static let snapshotInode = Field<UInt32>.le(0x180)  // s_snapshot_inum
        package static let snapshotID = Field<UInt32>.le(0x184)  // s_snapshot_id
        package static let errorCount = Field<UInt32>.le(0x194)  // s_error_count
        package static let firstErrorTime = Field<UInt32>.le(0x198)  // s_first_error_time
        package static let firstErrorInode = Field<UInt32>.le(0x19C)  // s_first_error_ino
        package static let firstErrorBlock = Field<UInt64>.le(0x1A0)  // s_first_error_block
        package static let firstErrorFunction = 0x1A8..<0x1C8  // s_first_error_func
        package static let firstErrorLine = Field<UInt32>.le(0x1C8)  // s_first_error_line
        package static let lastErrorTime = Field<UInt32>.le(0x1CC)  // s_last_error_time
        package static let lastErrorInode = Field<UInt32>.le(0x1D0)  // s_last_error_ino
        package static let lastErrorLine = Field<UInt32>.le(0x1D4)  // s_last_error_line
        package static let lastErrorBlock = Field<UInt64>.le(0x1D8)  // s_last_error_block
        package static let lastErrorFunction = 0x1E0..<0x200  // s_last_error_func
        package static let mountOptions = 0x200..<0x240  // s_mount_opts
        package static let userQuotaInode = Field<UInt32>.le(0x240)  // s_usr_quota_inum
        package static let groupQuotaInode = Field<UInt32>.le(0x244)  // s_grp_quota_inum
        package static let overheadClusters = Field<UInt32>.le(0x248)  // s_overhead_clusters
        package static let backupGroups = Field<UInt32>.le(0x24C)  // s_backup_bgs
        package static let contentsCipher = Field<UInt8>.le(0x254)  // s_encrypt_algos[0]
        package static let namesCipher = Field<UInt8>.le(0x255)  // s_encrypt_algos[1]
        package static let lostAndFoundInode = Field<UInt32>.le(0x268)  // s_lpf_ino
        package static let projectQuotaInode = Field<UInt32>.le(0x26C)  // s_prj_quota_inum
        package static let checksumSeed = Field<UInt32>.le(0x270)  // s_checksum_seed
        package static let writeTimeHigh = Field<UInt8>.le(0x274)  // s_wtime_hi
        package static let mountTimeHigh = Field<UInt8>.le(0x275)  // s_mtime_hi
        package static let creationTimeHigh = Field<UInt8>.le(0x276)  // s_mkfs_time_hi
        package static let lastCheckHigh = Field<UInt8>.le(0x277)  // s_lastcheck_hi
        package static let firstErrorTimeHigh = Field<UInt8>.le(0x278)  // s_first_error_time_hi
        package static let lastErrorTimeHigh = Field<UInt8>.le(0x279)  // s_last_error_time_hi
        package static let firstErrorCode = Field<UInt8>.le(0x27A)  // s_first_error_errcode
        package static let lastErrorCode = Field<UInt8>.le(0x27B)  // s_last_error_errcode
        package static let encoding = Field<UInt16>.le(0x27C)  // s_encoding
        package static let encodingFlags = Field<UInt16>.le(0x27E)  // s_encoding_flags
        package static let orphanFileInode = Field<UInt32>.le(0x280)  // s_orphan_file_inum
        package static let checksum = Field<UInt32>.le(0x3FC)  // s_checksum
    }

    /// The checksum of a superblock's bytes: unseeded, everything before the field itself.
    package static func checksum(of bytes: RawSpan) -> UInt32 {
        var crc = CRC32C()
        crc.update(bytes.extracting(0..<Layout.checksum.offset))
        return crc.value
    }

    /// Parses and validates a superblock.
    ///
    /// `place` says where the bytes come from. Feature gates are the caller's: a superblock with
    /// unknown features is still a valid one, and can be shown.
    package init(
        parsing bytes: RawSpan, at place: Corruption.Place = .init(), verifiesChecksum: Bool = true
    ) throws(Ext4Error) {
        func broken(_ rule: Corruption.Rule) -> Ext4Error { .corrupt(.superblock, at: place, rule) }
        func check(
            _ holds: Bool, _ field: String, _ value: some BinaryInteger,
            _ rule: @autoclosure () -> String
        ) throws(Ext4Error) {
            if !holds { throw broken(.field(field, value: UInt64(clamping: value), rule: rule())) }
        }
        guard bytes.byteCount >= Self.byteCount else { throw broken(.truncated) }
        let magic = bytes[Layout.magic]
        guard magic == Self.magic else { throw broken(.magic(found: UInt64(magic))) }

        revision = bytes[Layout.revision]
        try check(revision <= 1, "s_rev_level", revision, "0 or 1")
        let isDynamic = revision == 1
        // The old revision has no features; where it has them all the same, they are in use.
        compatible = .init(rawValue: bytes[Layout.compatible])
        incompatible = .init(rawValue: bytes[Layout.incompatible])
        readOnlyCompatible = .init(rawValue: bytes[Layout.readOnlyCompatible])
        checksumType = bytes[Layout.checksumType]
        if readOnlyCompatible.contains(.metadataCsum) {
            try check(checksumType == 1, "s_checksum_type", checksumType, "1 (crc32c)")
            let stored = bytes[Layout.checksum]
            let computed = Self.checksum(of: bytes)
            if verifiesChecksum, stored != computed {
                throw broken(.checksum(stored: stored, computed: computed))
            }
            checksum = stored
        } else {
            checksum = nil
        }

        // Sizes. Every later division and shift relies on these.
        let logBlockSize = bytes[Layout.logBlockSize]
        try check(logBlockSize <= 6, "s_log_block_size", logBlockSize, "at most 6 (64 KiB)")
        blockSizeLog2 = Int(logBlockSize) + 10
        let blockSize = 1 << blockSizeLog2
        let logClusterSize = bytes[Layout.logClusterSize]
        if readOnlyCompatible.contains(.bigalloc) {
            try check(
                logClusterSize >= logBlockSize && logClusterSize <= 20, "s_log_cluster_size",
                logClusterSize, "\(logBlockSize) to 20")
        } else {
            try check(
                logClusterSize == logBlockSize, "s_log_cluster_size", logClusterSize,
                "\(logBlockSize), since bigalloc is off")
        }
        clusterRatioLog2 = Int(logClusterSize - logBlockSize)
        let bitsPerBlock = UInt32(blockSize * 8)

        inodeSize = isDynamic ? Int(bytes[Layout.inodeSize]) : 128
        try check(
            inodeSize >= 128 && inodeSize <= blockSize && inodeSize & (inodeSize - 1) == 0,
            "s_inode_size", inodeSize, "a power of two from 128 to \(blockSize)")
        let inodesPerBlock = UInt32(blockSize / inodeSize)
        inodesPerGroup = bytes[Layout.inodesPerGroup]
        try check(
            inodesPerGroup >= inodesPerBlock && inodesPerGroup <= bitsPerBlock,
            "s_inodes_per_group", inodesPerGroup, "\(inodesPerBlock) to \(bitsPerBlock)")

        blocksPerGroup = bytes[Layout.blocksPerGroup]
        // Without bigalloc a cluster is a block, whatever the field says.
        clustersPerGroup =
            readOnlyCompatible.contains(.bigalloc) ? bytes[Layout.clustersPerGroup] : blocksPerGroup
        if readOnlyCompatible.contains(.bigalloc) {
            try check(
                clustersPerGroup > 0 && clustersPerGroup <= bitsPerBlock, "s_clusters_per_group",
                clustersPerGroup, "1 to \(bitsPerBlock)")
            try check(
                UInt64(blocksPerGroup) == UInt64(clustersPerGroup) << UInt64(clusterRatioLog2),
                "s_blocks_per_group", blocksPerGroup, "s_clusters_per_group times the ratio")
        } else {
            try check(
                blocksPerGroup > 0 && blocksPerGroup <= bitsPerBlock, "s_blocks_per_group",
                blocksPerGroup, "1 to \(bitsPerBlock)")
        }

        if incompatible.contains(.bit64) {
            descriptorSize = Int(bytes[Layout.descriptorSize])
            try check(
                descriptorSize >= 64 && descriptorSize <= 1024
                    && descriptorSize & (descriptorSize - 1) == 0,
                "s_desc_size", descriptorSize, "a power of two from 64 to 1024")
        } else {
            descriptorSize = 32
        }

        // Counts.
        let has64 = incompatible.contains(.bit64)
        func wide(_ low: Field<UInt32>, _ high: Field<UInt32>) -> UInt64 {
            UInt64(bytes[low]) | (has64 ? UInt64(bytes[high]) << 32 : 0)
        }
        blocksCount = wide(Layout.blocksCountLow, Layout.blocksCountHigh)
        reservedBlocksCount = wide(Layout.reservedBlocksLow, Layout.reservedBlocksHigh)
        freeBlocksCount = wide(Layout.freeBlocksLow, Layout.freeBlocksHigh)
        firstDataBlock = bytes[Layout.firstDataBlock]
        try check(
            firstDataBlock <= (blockSize == 1024 ? 1 : 0), "s_first_data_block", firstDataBlock,
            blockSize == 1024 ? "0 or 1" : "0")
        try check(
            blocksCount > UInt64(firstDataBlock)
                && blocksCount <= 1 << (63 - UInt64(blockSizeLog2)),
            "s_blocks_count", blocksCount, "over s_first_data_block and less than 8 EiB of blocks")
        let groups =
            (blocksCount - UInt64(firstDataBlock) + UInt64(blocksPerGroup) - 1)
            / UInt64(blocksPerGroup)
        inodesCount = bytes[Layout.inodesCount]
        try check(
            groups <= UInt64(UInt32.max) && groups * UInt64(inodesPerGroup) == UInt64(inodesCount),
            "s_inodes_count", inodesCount,
            "\(groups) groups of s_inodes_per_group (\(inodesPerGroup))")
        groupCount = UInt32(groups)
        freeInodesCount = bytes[Layout.freeInodes]

        firstInode = InodeNumber(isDynamic ? bytes[Layout.firstInode] : 11)
        try check(
            firstInode.rawValue >= 11 && firstInode.rawValue <= inodesCount, "s_first_ino",
            firstInode.rawValue, "11 to s_inodes_count (\(inodesCount))")

        reservedDescriptorBlocks = bytes[Layout.reservedDescriptors]
        try check(
            Int(reservedDescriptorBlocks) <= blockSize / 4, "s_reserved_gdt_blocks",
            reservedDescriptorBlocks, "at most \(blockSize / 4)")
        firstMetaGroup = bytes[Layout.firstMetaGroup]
        if incompatible.contains(.metaBg) {
            let perBlock = UInt64(blockSize / descriptorSize)
            let descriptorBlocks = (groups + perBlock - 1) / perBlock
            try check(
                UInt64(firstMetaGroup) <= descriptorBlocks, "s_first_meta_bg", firstMetaGroup,
                "at most \(descriptorBlocks), the number of descriptor blocks")
        }
        let logFlex = bytes[Layout.logGroupsPerFlex]
        if incompatible.contains(.flexBg) {
            try check(logFlex <= 31, "s_log_groups_per_flex", logFlex, "at most 31")
            groupsPerFlex = 1 << UInt32(logFlex)
        } else {
            groupsPerFlex = 1
        }
        minimumExtraInodeSize = bytes[Layout.minimumExtraSize]
        wantedExtraInodeSize = bytes[Layout.wantedExtraSize]

        uuid = bytes.copy(Layout.uuid)
        storedChecksumSeed = bytes[Layout.checksumSeed]
        if incompatible.contains(.csumSeed) {
            checksumSeed = storedChecksumSeed
        } else {
            var crc = CRC32C()
            crc.update(bytes.extracting(Layout.uuid))
            checksumSeed = crc.value
        }

        // What follows is shown, or checked where it is used.
        mountTime = .init(low: bytes[Layout.mountTime], high: bytes[Layout.mountTimeHigh])
        writeTime = .init(low: bytes[Layout.writeTime], high: bytes[Layout.writeTimeHigh])
        lastCheckTime = .init(low: bytes[Layout.lastCheck], high: bytes[Layout.lastCheckHigh])
        creationTime = .init(low: bytes[Layout.creationTime], high: bytes[Layout.creationTimeHigh])
        mountCount = bytes[Layout.mountCount]
        maximumMountCount = bytes[Layout.maximumMountCount]
        state = bytes[Layout.state]
        errorBehaviour = bytes[Layout.errors]
        checkInterval = bytes[Layout.checkInterval]
        creatorOS = bytes[Layout.creatorOS]
        reservedUserID = bytes[Layout.reservedUserID]
        reservedGroupID = bytes[Layout.reservedGroupID]
        group = bytes[Layout.group]
        label = bytes.text(Layout.label)
        lastMounted = bytes.text(Layout.lastMounted)
        journalUUID = bytes.copy(Layout.journalUUID)
        journalInode = .init(bytes[Layout.journalInode])
        journalDevice = bytes[Layout.journalDevice]
        journalBackupType = bytes[Layout.journalBackupType]
        journalBackup = bytes.words(Layout.journalBackup, count: 17)
        lastOrphan = .init(bytes[Layout.lastOrphan])
        hashSeed = bytes.words(Layout.hashSeed, count: 4)
        defaultHashVersion = bytes[Layout.defaultHashVersion]
        defaultMountOptions = bytes[Layout.defaultMountOptions]
        flags = bytes[Layout.flags]
        raidStride = bytes[Layout.raidStride]
        raidStripeWidth = bytes[Layout.raidStripeWidth]
        mmpInterval = bytes[Layout.mmpInterval]
        mmpBlock = .init(bytes[Layout.mmpBlock])
        kibibytesWritten = bytes[Layout.kibibytesWritten]
        errorCount = bytes[Layout.errorCount]
        firstError =
            bytes[Layout.firstErrorTime] == 0
            ? nil
            : ErrorRecord(
                time: .init(
                    low: bytes[Layout.firstErrorTime], high: bytes[Layout.firstErrorTimeHigh]),
                inode: .init(bytes[Layout.firstErrorInode]),
                block: .init(bytes[Layout.firstErrorBlock]),
                function: bytes.text(Layout.firstErrorFunction),
                line: bytes[Layout.firstErrorLine], code: bytes[Layout.firstErrorCode])
        lastError =
            bytes[Layout.lastErrorTime] == 0
            ? nil
            : ErrorRecord(
                time: .init(
                    low: bytes[Layout.lastErrorTime], high: bytes[Layout.lastErrorTimeHigh]),
                inode: .init(bytes[Layout.lastErrorInode]),
                block: .init(bytes[Layout.lastErrorBlock]),
                function: bytes.text(Layout.lastErrorFunction),
                line: bytes[Layout.lastErrorLine], code: bytes[Layout.lastErrorCode])
        mountOptions = bytes.text(Layout.mountOptions)
        userQuotaInode = .init(bytes[Layout.userQuotaInode])
        groupQuotaInode = .init(bytes[Layout.groupQuotaInode])
        projectQuotaInode = .init(bytes[Layout.projectQuotaInode])
        overheadClusters = bytes[Layout.overheadClusters]
        backupGroups = bytes.words(Layout.backupGroups, count: 2)
        lostAndFoundInode = .init(bytes[Layout.lostAndFoundInode])
        encoding = bytes[Layout.encoding]
        encodingFlags = bytes[Layout.encodingFlags]
        orphanFileInode = .init(bytes[Layout.orphanFileInode])
    }
}

extension RawSpan {
    /// The bytes of a fixed-width text field up to its first NUL.
    fileprivate func text(_ range: Range<Int>) -> [UInt8] {
        Array(copy(range).prefix { $0 != 0 })
    }

    /// `count` words from `field` on.
    fileprivate func words(_ field: Field<UInt32>, count: Int) -> [UInt32] {
        (0..<count).map { self[field.at(4 * $0)] }
    }
}
