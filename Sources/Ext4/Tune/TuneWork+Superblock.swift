// The fields of the superblock.

extension TuneWork {
    func checkValues() throws(TuneFailure) {
        func check(_ holds: Bool, _ words: String) throws(TuneFailure) {
            if !holds { throw .refused(words) }
        }
        try check((changes.label?.count ?? 0) <= 16, "a label has at most 16 bytes")
        try check((changes.uuid?.count ?? 16) == 16, "a UUID has 16 bytes")
        try check((changes.hashSeed?.count ?? 16) == 16, "a hash seed has 16 bytes")
        try check(
            (changes.mmpInterval ?? 0) <= 300, "mmp_update_interval is at most 300 seconds")
        try check((changes.hashVersion ?? 0) <= 2, "the hash is legacy, half_md4 or tea")
        try check(
            (changes.mountOptions?.count ?? 0) <= 63, "mount options have at most 63 bytes")
        try check((changes.lastMounted?.count ?? 0) <= 63, "the folder has at most 63 bytes")
        if let reserve = changes.reserve {
            try check(
                reserve.blocks(of: superblock).map { $0 <= superblock.blocksCount / 2 } ?? false,
                "at most half of the volume can be reserved, which are"
                    + " \(superblock.blocksCount / 2) blocks")
        }
        if let size = changes.journalMebibytes {
            let blocks =
                size.multipliedReportingOverflow(by: 1 << 20).partialValue
                >> UInt64(superblock.blockSizeLog2)
            try check(
                size < 1 << 24 && FormatDefaults.journalRange.contains(blocks)
                    && blocks < superblock.blocksCount / 2,
                "a journal has 1024 to 10240000 blocks, and less than half of the volume's")
        }
        if changes.hashSeed != nil {
            try check(
                superblock.incompatible.isDisjoint(with: [.casefold, .encrypt]),
                "the hashes of names that are encrypted or ignore case cannot be made anew")
        }
        if changesValueSeed {
            throw .refused(
                superblock.incompatible.contains(.csumSeed)
                    ? "the hashes of large attribute values go by the seed of metadata_csum_seed"
                    : "the hashes of large attribute values go by the UUID;"
                        + " switch metadata_csum_seed on first"
                        + (superblock.hasMetadataChecksums ? "" : ", with metadata_csum"))
        }
        if let uuid = changes.uuid, uuid != superblock.uuid,
            superblock.compatible.contains(.stableInodes)
        {
            throw .refused("the volume has stable_inodes: its UUID is part of encryption keys")
        }
    }

    /// Puts all changes into the superblock's bytes, but for those that the journal and the orphan
    /// file have made by then.
    func patch(_ bytes: inout MutableRawSpan) {
        typealias Layout = Superblock.Layout
        let present = FeatureMask(
            CompatibleFeatures(rawValue: bytes[Layout.compatible]),
            IncompatibleFeatures(rawValue: bytes[Layout.incompatible]),
            ReadOnlyCompatibleFeatures(rawValue: bytes[Layout.readOnlyCompatible]))
        let future = present.union(on).subtracting(off)
        bytes[Layout.compatible] = future.compatible.rawValue
        bytes[Layout.incompatible] = future.incompatible.rawValue
        bytes[Layout.readOnlyCompatible] = future.readOnlyCompatible.rawValue
        if restoresState { bytes[Layout.state] |= Superblock.validState }
        // That the work opened the volume is no mount.
        bytes[Layout.mountCount] = original.mountCount
        bytes[Layout.mountTime] = UInt32(truncatingIfNeeded: original.mountTime.seconds)
        bytes[Layout.mountTimeHigh] = UInt8(truncatingIfNeeded: original.mountTime.seconds >> 32)
        if overheadChange != 0, bytes[Layout.overheadClusters] != 0 {
            let sum = Int64(bytes[Layout.overheadClusters]) &+ overheadChange
            bytes[Layout.overheadClusters] = UInt32(clamping: sum)
        }
        patchFeatures(&bytes)
        if let label = changes.label { Self.fill(Layout.label, with: label, in: &bytes) }
        if let uuid = changes.uuid { Self.fill(Layout.uuid, with: uuid, in: &bytes) }
        if let seed = changes.hashSeed {
            let start = Layout.hashSeed.offset
            Self.fill(start..<start + 16, with: seed, in: &bytes)
        }
        if let version = changes.hashVersion { bytes[Layout.defaultHashVersion] = version }
        patchReserve(&bytes)
        patchMounts(&bytes)
        if let stride = changes.raidStride { bytes[Layout.raidStride] = stride }
        if let width = changes.stripeWidth { bytes[Layout.raidStripeWidth] = width }
        if let interval = changes.mmpInterval { bytes[Layout.mmpInterval] = interval }
    }

    /// What features bring with them.
    private func patchFeatures(_ bytes: inout MutableRawSpan) {
        typealias Layout = Superblock.Layout
        if on.incompatible.contains(.csumSeed) {
            // The seed that all checksums have by now.
            bytes[Layout.checksumSeed] =
                original.hasMetadataChecksums
                ? original.checksumSeed : Self.seed(of: original.uuid)
        } else if off.incompatible.contains(.csumSeed) {
            bytes[Layout.checksumSeed] = 0
        }
        if on.compatible.contains(.dirIndex), bytes[Layout.defaultHashVersion] == 0 {
            bytes[Layout.defaultHashVersion] = 1  // DX_HASH_HALF_MD4
        }
        if on.incompatible.contains(.encrypt), bytes[Layout.contentsCipher] == 0 {
            bytes[Layout.contentsCipher] = 1  // AES-256 in XTS mode
            bytes[Layout.namesCipher] = 4  // AES-256 with ciphertext stealing
        }
        if on.readOnlyCompatible.contains(.metadataCsum) {
            bytes[Layout.checksumType] = 1  // EXT4_CRC32C_CHKSUM
        }
        if off.readOnlyCompatible.contains(.metadataCsum) {
            bytes[Layout.checksumType] = 0
            bytes[Layout.checksum] = 0
        }
        if on.readOnlyCompatible.contains(.extraIsize) {
            if bytes[Layout.minimumExtraSize] == 0 { bytes[Layout.minimumExtraSize] = 32 }
            if bytes[Layout.wantedExtraSize] == 0 { bytes[Layout.wantedExtraSize] = 32 }
        }
    }

    private func patchReserve(_ bytes: inout MutableRawSpan) {
        typealias Layout = Superblock.Layout
        if let blocks = changes.reserve.flatMap({ $0.blocks(of: superblock) }) {
            bytes[Layout.reservedBlocksLow] = UInt32(truncatingIfNeeded: blocks)
            if superblock.incompatible.contains(.bit64) {
                bytes[Layout.reservedBlocksHigh] = UInt32(truncatingIfNeeded: blocks >> 32)
            }
        }
        if let user = changes.reserveUser { bytes[Layout.reservedUserID] = user }
        if let group = changes.reserveGroup { bytes[Layout.reservedGroupID] = group }
    }

    private func patchMounts(_ bytes: inout MutableRawSpan) {
        typealias Layout = Superblock.Layout
        if let policy = changes.errorPolicy {
            bytes[Layout.errors] =
                switch policy {
                case .goOn: 1
                case .remountReadOnly: 2
                case .panic: 3
                }
        }
        bytes[Layout.defaultMountOptions] &= ~changes.defaultOptionsOff
        bytes[Layout.defaultMountOptions] |= changes.defaultOptionsOn
        if let words = changes.mountOptions {
            Self.fill(Layout.mountOptions, with: words, in: &bytes)
        }
        if let folder = changes.lastMounted {
            Self.fill(Layout.lastMounted, with: folder, in: &bytes)
        }
        if let count = changes.maximumMountCount {
            bytes[Layout.maximumMountCount] = UInt16(bitPattern: count)
        }
        if let count = changes.mountCount { bytes[Layout.mountCount] = count }
        if let interval = changes.checkInterval { bytes[Layout.checkInterval] = interval }
        if let time = changes.lastCheck {
            bytes[Layout.lastCheck] = UInt32(truncatingIfNeeded: time.seconds)
            bytes[Layout.lastCheckHigh] = UInt8(truncatingIfNeeded: time.seconds >> 32)
        }
    }

    private static func fill(
        _ range: Range<Int>, with value: [UInt8], in bytes: inout MutableRawSpan
    ) {
        for (index, offset) in range.enumerated() {
            bytes[Field<UInt8>.le(offset)] = index < value.count ? value[index] : 0
        }
    }
}

extension TuneChanges.Reserve {
    /// The blocks; nil where that is no number of them.
    func blocks(of superblock: Superblock) -> UInt64? {
        switch self {
        case .blocks(let count): return count
        case .percent(let share):
            guard share >= 0, share <= 50 else { return nil }
            return UInt64(Double(superblock.blocksCount) * share / 100)
        }
    }
}
