internal import Ext4

/// The superblock: whether it is sound, and which copy a check goes by.
enum SuperblockPass {
    /// What a check starts from.
    struct Start {
        let volume: CheckedVolume
        var findings: [Finding] = []
        /// Whether the numbers fit the device, so that a check can go on.
        var isUsable = true
    }

    private typealias Layout = Superblock.Layout

    /// Finds the superblock that the options ask for, and looks at its own fields.
    ///
    /// - Throws: `.corrupt` when there is none to go by, `.unsupported`.
    static func find(
        on device: any BlockDevice, _ options: CheckOptions
    ) throws(Ext4Error) -> Start {
        var findings: [Finding] = []
        let volume = try volume(on: device, options, &findings)
        try checkFeatures(of: volume.superblock)
        var start = Start(volume: volume, findings: findings)
        let superblock = volume.superblock
        let limit = device.byteCount >> UInt64(superblock.blockSizeLog2)
        if superblock.blocksCount > limit {
            start.findings.append(
                Finding(.superblockSize, found: superblock.blocksCount, expected: limit))
            start.isUsable = false
        }
        start.findings += fields(of: volume, options)
        return start
    }

    private static func volume(
        on device: any BlockDevice, _ options: CheckOptions, _ findings: inout [Finding]
    ) throws(Ext4Error) -> CheckedVolume {
        var open = OpenOptions()
        open.superblock = options.superblock
        if case .backup = options.superblock {
            let source = try SuperblockSource.find(on: device, options: open)
            return try make(device, source)
        }
        guard device.byteCount >= Superblock.byteOffset + UInt64(Superblock.byteCount) else {
            throw .corrupt(.superblock, .truncated)
        }
        let bytes = try device.read(at: Superblock.byteOffset, count: Superblock.byteCount)
        let failure: Ext4Error
        do throws(Ext4Error) {
            let superblock = try Superblock(parsing: unsafe bytes.span.bytes)
            // Descriptors are read before the size is judged: not more than the device can hold.
            let limit = device.byteCount >> UInt64(superblock.blockSizeLog2)
            guard superblock.blocksCount <= max(limit, 1) &* 4096 else {
                throw .corrupt(
                    .superblock,
                    .field(
                        "s_blocks_count", value: superblock.blocksCount,
                        rule: "at most \(limit), what the device holds"))
            }
            return try CheckedVolume(
                device, superblock: superblock, bytes: bytes, byteOffset: Superblock.byteOffset,
                sourceGroup: GroupNumber(0))
        } catch {
            guard case .corrupt = error, options.superblock == .automatic else { throw error }
            failure = error
        }
        findings.append(Finding(.superblockInvalid, detail: failure.description))
        if let backup = SuperblockSource.search(device, open) ?? unusual(bytes, device) {
            return try make(device, backup)
        }
        // With nothing better, a primary one of which only the checksum is wrong will do.
        guard
            let superblock = try? Superblock(
                parsing: unsafe bytes.span.bytes, verifiesChecksum: false),
            superblock.blocksCount <= device.byteCount >> UInt64(superblock.blockSizeLog2)
        else { throw failure }
        return try CheckedVolume(
            device, superblock: superblock, bytes: bytes, byteOffset: Superblock.byteOffset,
            sourceGroup: GroupNumber(0))
    }

    /// A backup where groups have not the usual size: as large as the damaged superblock says.
    private static func unusual(
        _ bytes: [UInt8], _ device: any BlockDevice
    ) -> SuperblockSource? {
        let perGroup = unsafe UInt64(bytes.span.bytes[Layout.blocksPerGroup])
        guard perGroup >= 8, perGroup <= 1 << 19 else { return nil }
        for size in (10...16).map({ 1 << $0 }) {
            for group: UInt64 in [1, 3, 5, 7, 9] {
                var open = OpenOptions()
                open.superblock = .backup(
                    atBlock: BlockNumber((size == 1024 ? 1 : 0) + group * perGroup),
                    blockSize: size)
                if let found = try? SuperblockSource.find(on: device, options: open) {
                    return found
                }
            }
        }
        return nil
    }

    private static func make(
        _ device: any BlockDevice, _ source: SuperblockSource
    ) throws(Ext4Error) -> CheckedVolume {
        try CheckedVolume(
            device, superblock: source.superblock,
            bytes: try device.read(at: source.byteOffset, count: Superblock.byteCount),
            byteOffset: source.byteOffset, sourceGroup: source.group)
    }

    /// Refuses what this engine does not know: what it cannot read, it must not judge.
    private static func checkFeatures(of superblock: Superblock) throws(Ext4Error) {
        let names =
            CompatibleFeatures(
                rawValue: superblock.compatible.rawValue
                    & ~CompatibleFeatures.table.reduce(0) { $0 | $1.feature.rawValue }
            ).names
            + superblock.incompatible.subtracting(.readable).names
            + superblock.readOnlyCompatible.subtracting(.known).names
        guard names.isEmpty else {
            throw .unsupported(UnsupportedFeatures(names, for: .reading))
        }
    }

    // MARK: - Fields

    private static func fields(
        of volume: CheckedVolume, _ options: CheckOptions
    ) -> [Finding] {
        let superblock = volume.superblock
        var findings: [Finding] = []
        // Another UUID would be another seed of every checksum, and of hashes of large values.
        let isSeed =
            superblock.hasMetadataChecksums
            || (superblock.incompatible.contains(.eaInode)
                && !superblock.incompatible.contains(.csumSeed))
        if !isSeed, superblock.uuid.allSatisfy({ $0 == 0 }) {
            findings.append(Finding(.superblockUUID))
        }
        let bytes = Record(volume.superblockBytes)
        // Without 64bit descriptors have one size, and this field does not say so.
        let descriptorSize = bytes[Layout.descriptorSize]
        if !superblock.incompatible.contains(.bit64), descriptorSize > 1024 {
            findings.append(
                Finding(
                    .superblockInvalid, found: UInt64(descriptorSize), expected: 0,
                    detail: "s_desc_size"))
        }
        let clusters = bytes[Layout.clustersPerGroup]
        if clusters != superblock.clustersPerGroup {
            findings.append(
                Finding(
                    .superblockInvalid, found: UInt64(clusters),
                    expected: UInt64(superblock.clustersPerGroup), detail: "s_clusters_per_group"))
        }
        if let now = options.now {
            // A clock that is a day off is no damage.
            let latest = now.seconds + 86_400
            for (rule, time) in [
                (CheckRule.superblockMountTime, superblock.mountTime),
                (.superblockWriteTime, superblock.writeTime),
            ] where time.seconds > latest {
                findings.append(
                    Finding(
                        rule, found: UInt64(clamping: time.seconds),
                        expected: UInt64(clamping: now.seconds)))
            }
        }
        if !superblock.compatible.contains(.resizeInode),
            superblock.reservedDescriptorBlocks != 0
        {
            findings.append(
                Finding(
                    .superblockReservedDescriptors,
                    found: UInt64(superblock.reservedDescriptorBlocks), expected: 0))
        }
        if superblock.reservedBlocksCount > superblock.blocksCount / 2 {
            findings.append(
                Finding(
                    .superblockReservedBlocks, found: superblock.reservedBlocksCount,
                    expected: superblock.blocksCount / 20))
        }
        findings += features(of: superblock)
        let valid: UInt16 = 1
        let errors: UInt16 = 2
        if superblock.state & valid == 0 || superblock.state & errors != 0 {
            findings.append(
                Finding(
                    .superblockState, found: UInt64(superblock.state), expected: UInt64(valid)))
        }
        if superblock.errorCount != 0 {
            findings.append(
                Finding(.superblockErrors, found: UInt64(superblock.errorCount), expected: 0))
        }
        return findings
    }

    /// Features that are there with others that they exclude, or without those they need.
    private static func features(of superblock: Superblock) -> [Finding] {
        let incompatible = superblock.incompatible
        let readOnly = superblock.readOnlyCompatible
        let broken: [(Bool, String)] = [
            (
                incompatible.contains(.bit64) && !incompatible.contains(.extents),
                "64bit without extent"
            ),
            (
                incompatible.contains(.recover) && !superblock.compatible.contains(.hasJournal),
                "needs_recovery without has_journal"
            ),
            (
                incompatible.contains(.csumSeed) && !readOnly.contains(.metadataCsum),
                "metadata_csum_seed without metadata_csum"
            ),
            (
                superblock.compatible.contains(.resizeInode) && incompatible.contains(.metaBg),
                "resize_inode and meta_bg together"
            ),
            (
                incompatible.contains(.casefold) && superblock.encoding != Superblock.utf8Encoding,
                "casefold with encoding \(superblock.encoding)"
            ),
        ]
        var findings = broken.filter(\.0).map { Finding(.superblockFeatures, detail: $0.1) }
        if readOnly.contains(.metadataCsum), readOnly.contains(.gdtCsum) {
            findings.append(Finding(.superblockExclusive))
        }
        return findings
    }
}
