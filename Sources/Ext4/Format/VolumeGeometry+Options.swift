// What each option may be, and what stands for one that was not given.

extension VolumeGeometry {
    static func features(
        _ options: FormatOptions, _ defaults: FormatDefaults, isHurd: Bool
    ) throws(FormatProblem) -> FeatureMask {
        guard options.revision <= 1 else { throw FormatProblem("there are revisions 0 and 1") }
        guard options.revision == 1 else {
            guard options.features.isEmpty, options.journalMebibytes == nil else {
                throw FormatProblem("revision 0 has neither features nor a journal")
            }
            return FeatureMask()
        }
        let foreign = FeatureMask(
            [], [.filetype, .eaInode, .casefold], [.hugeFile, .metadataCsum])
        var features = defaults.features
        if isHurd { features.apply(.clear(foreign)) }
        for change in options.features {
            if isHurd, case .set(let mask) = change,
                !mask.incompatible.isDisjoint(with: foreign.incompatible)
                    || !mask.readOnlyCompatible.isDisjoint(with: foreign.readOnlyCompatible)
            {
                throw FormatProblem(
                    "the Hurd has none of the features filetype, ea_inode, casefold, huge_file and"
                        + " metadata_csum")
            }
            features.apply(change)
        }
        if options.journalMebibytes != nil || options.fastCommitKibibytes != nil {
            features.compatible.insert(.hasJournal)
        }
        if options.quotas?.contains(.project) == true {
            features.readOnlyCompatible.insert(.project)
        }
        if features.readOnlyCompatible.contains(.metadataCsum) {
            features.readOnlyCompatible.remove(.gdtCsum)
        }
        try check(features)
        return features
    }

    /// Features that need each other, or do not go together.
    private static func check(_ features: FeatureMask) throws(FormatProblem) {
        let (compatible, incompatible) = (features.compatible, features.incompatible)
        let readOnly = features.readOnlyCompatible
        func check(_ holds: Bool, _ words: String) throws(FormatProblem) {
            if !holds { throw FormatProblem(words) }
        }
        let hasExtents = incompatible.contains(.extents)
        try check(hasExtents || !incompatible.contains(.bit64), "64bit needs the feature extent")
        try check(hasExtents || !readOnly.contains(.verity), "verity needs the feature extent")
        try check(hasExtents || !readOnly.contains(.bigalloc), "bigalloc needs the feature extent")
        try check(
            readOnly.contains(.metadataCsum) || !incompatible.contains(.csumSeed),
            "metadata_csum_seed needs the feature metadata_csum")
        try check(
            !compatible.contains(.resizeInode) || !incompatible.contains(.metaBg),
            "resize_inode and meta_bg do not go together; give ^resize_inode, too")
        try check(
            !compatible.contains(.resizeInode) || readOnly.contains(.sparseSuper),
            "resize_inode needs sparse_super; give ^resize_inode, too")
        try check(
            compatible.contains(.hasJournal) || !compatible.contains(.orphanFile),
            "orphan_file needs the feature has_journal")
        try check(
            compatible.contains(.hasJournal) || !compatible.contains(.fastCommit),
            "fast_commit needs the feature has_journal")
    }

    static func clusterSize(
        _ options: FormatOptions, _ blockSize: Int, isClustered: Bool
    ) throws(FormatProblem) -> Int {
        guard isClustered else {
            guard options.clusterSize == nil else {
                throw FormatProblem("a cluster size needs the feature bigalloc")
            }
            return blockSize
        }
        let size = options.clusterSize ?? blockSize * FormatDefaults.blocksPerCluster
        guard size >= blockSize, size > 1024, size <= 1 << 29, size & (size - 1) == 0 else {
            throw FormatProblem(
                "a cluster size of \(size) is not possible:"
                    + " it is a power of two from \(max(blockSize, 2048)) to \(1 << 29)")
        }
        return size
    }

    static func descriptorSize(
        _ options: FormatOptions, _ features: FeatureMask
    ) throws(FormatProblem) -> Int {
        guard features.incompatible.contains(.bit64) else {
            guard options.descriptorSize == nil else {
                throw FormatProblem("a size of descriptors needs the feature 64bit")
            }
            return 32
        }
        let size = options.descriptorSize ?? 64
        guard size >= 64, size <= 1024, size & (size - 1) == 0 else {
            throw FormatProblem(
                "descriptors of \(size) bytes are not possible:"
                    + " their size is a power of two from 64 to 1024")
        }
        return size
    }

    static func inodeSize(
        _ options: FormatOptions, _ defaults: FormatDefaults, _ features: FeatureMask,
        blockSize: Int
    ) throws(FormatProblem) -> Int {
        let old = InodeRecord.goodOldSize
        guard options.revision == 1 else {
            guard (options.inodeSize ?? old) == old else {
                throw FormatProblem("revision 0 has inodes of \(old) bytes")
            }
            return old
        }
        var size = options.inodeSize ?? defaults.inodeSize
        if features.readOnlyCompatible.contains(.project) {
            guard options.inodeSize != old else {
                throw FormatProblem("inodes of \(old) bytes have no room for a project")
            }
            size = max(size, 2 * old)
        }
        guard size >= old, size <= blockSize, size & (size - 1) == 0 else {
            throw FormatProblem(
                "inodes of \(size) bytes are not possible:"
                    + " their size is a power of two from \(old) to the block size (\(blockSize))")
        }
        guard size > old || !features.incompatible.contains(.inlineData) else {
            throw FormatProblem("inodes of \(old) bytes have no room for inline data")
        }
        return size
    }

    static func logFlexSize(
        _ options: FormatOptions, _ features: FeatureMask
    ) throws(FormatProblem) -> UInt8 {
        guard features.incompatible.contains(.flexBg) else {
            guard options.flexGroupSize == nil else {
                throw FormatProblem("a size of flexible groups needs the feature flex_bg")
            }
            guard !options.packsMetadata else {
                throw FormatProblem("packed_meta_blocks needs the feature flex_bg")
            }
            return 0
        }
        let size = options.flexGroupSize ?? FormatDefaults.flexGroupSize
        guard size > 0, size & (size - 1) == 0 else {
            throw FormatProblem("the size of flexible groups is a power of two")
        }
        return UInt8(size.trailingZeroBitCount)
    }

    static func inodeCount(
        _ options: FormatOptions, _ defaults: FormatDefaults, _ features: FeatureMask,
        blocks: UInt64, blockSize: Int, clusterSize: Int, inodeSize: Int
    ) throws(FormatProblem) -> UInt64 {
        let most = UInt64(UInt32.max)
        var ratio = options.inodeRatio ?? defaults.inodeRatio
        if options.inodeRatio == nil { ratio = max(ratio, UInt64(max(blockSize, clusterSize))) }
        guard ratio >= 1024, ratio <= 65536 * 1024 else {
            throw FormatProblem("the bytes for each inode are from 1024 to \(65536 * 1024)")
        }
        let bytes = blocks * UInt64(blockSize)
        var count = options.inodeCount ?? bytes / ratio
        if count > most {
            guard options.inodeCount == nil, features.incompatible.contains(.bit64) else {
                throw FormatProblem(
                    "\(count) inodes are more than 32 bits can count;"
                        + " a larger ratio (-i) makes fewer")
            }
            count = most
        }
        let (space, overflow) = count.multipliedReportingOverflow(by: UInt64(inodeSize))
        guard !overflow, space < bytes else {
            throw FormatProblem(
                "\(count) inodes of \(inodeSize) bytes do not fit \(blocks) blocks;"
                    + " a larger ratio (-i) makes fewer")
        }
        // What is left when nothing is asked: an inode for 4 KiB.
        if count == 0 { count = blocks / UInt64(max(4096 / blockSize, 1)) }
        return max(count, 1)
    }

    static func groupSize(
        _ options: FormatOptions, blockSize: Int, ratio: UInt64
    ) throws(FormatProblem) -> (clusters: UInt32, blocks: UInt32) {
        let most = UInt32(blockSize * 8)
        let asked = options.blocksPerGroup ?? most
        guard asked >= 256, asked <= most, asked % 8 == 0 else {
            throw FormatProblem(
                "\(asked) blocks a group are not possible:"
                    + " their number is a multiple of 8 from 256 to \(most)")
        }
        // A descriptor has 16 bits for what is free, when it is a short one.
        let clusters = min(asked, (1 << 16) - 8)
        let (blocks, overflow) = clusters.multipliedReportingOverflow(
            by: UInt32(truncatingIfNeeded: ratio))
        guard !overflow, ratio <= UInt64(UInt32.max) else {
            throw FormatProblem("groups of so many clusters are too large; give fewer by -g")
        }
        return (clusters, blocks)
    }
}
