internal import Ext4
internal import Synchronization

/// All inodes, by groups and on several threads: fields, maps, attributes, claims of blocks.
struct InodePass {
    let state: CheckState
    let workers: Workers

    /// What one thread found.
    struct Share: Sendable {
        var infos: [DirectoryInfo] = []
        var runs: [DirectoryRun] = []
        var statistics = CheckStatistics()
        /// Whether a file is too large for a volume without large_file.
        var hasLargeFile = false
        var quotas: [[UInt32: QuotaAmount]] = [[:], [:], [:]]
    }

    func run() throws(Ext4Error) {
        let state = state
        let groups = Int(state.volume.superblock.groupCount)
        let progress = ProgressCount(.inodes, total: UInt64(groups), state.options)
        let shares = try workers.run(groups) { (tasks) throws(Ext4Error) -> Share in
            var scan = InodeScan(state)
            while let group = tasks.take() {
                try scan.scan(GroupNumber(UInt32(group)))
                progress.step()
            }
            return scan.share
        }
        try merge(shares)
    }

    private func merge(_ shares: [Share]) throws(Ext4Error) {
        if shares.contains(where: \.hasLargeFile),
            !state.volume.superblock.readOnlyCompatible.contains(.largeFile)
        {
            state.report(Finding(.superblockFeatures, detail: "large files without large_file"))
        }
        var infos: [DirectoryInfo] = []
        var runs: [DirectoryRun] = []
        infos.reserveCapacity(shares.reduce(0) { $0 + $1.infos.count })
        runs.reserveCapacity(shares.reduce(0) { $0 + $1.runs.count })
        for share in shares {
            let base = UInt32(clamping: runs.count)
            for var info in share.infos {
                info.firstRun &+= base
                infos.append(info)
            }
            runs += share.runs
        }
        infos.sort { $0.inode < $1.inode }
        let directories = try Directories(infos, runs: runs)
        state.gathered.withLock { gathered in
            gathered.directories = directories
            for share in shares {
                gathered.statistics.add(share.statistics)
                for kind in QuotaKind.allCases {
                    gathered.quotas[kind.rawValue].merge(share.quotas[kind.rawValue]) {
                        QuotaAmount(bytes: $0.bytes &+ $1.bytes, inodes: $0.inodes &+ $1.inodes)
                    }
                }
            }
        }
    }
}

/// Tells how far a stage is.
final class ProgressCount: Sendable {
    private let stage: CheckStage
    private let total: UInt64
    private let done = Atomic<UInt64>(0)
    private let tell: (@Sendable (CheckProgress) -> Void)?

    init(_ stage: CheckStage, total: UInt64, _ options: CheckOptions) {
        self.stage = stage
        self.total = total
        tell = options.progress
    }

    func step() {
        guard let tell else { return }
        let count = done.add(1, ordering: .relaxed).newValue
        tell(CheckProgress(stage: stage, done: count, total: total))
    }
}

/// One thread's share of the inodes.
struct InodeScan {
    let state: CheckState
    let volume: CheckedVolume
    let superblock: Superblock
    var share = InodePass.Share()
    private let checksLowDeletionTimes: Bool
    let hasExtents: Bool
    let hasQuota: Bool
    private let ownInodes: [InodeNumber]
    /// A part of an inode table.
    private var table: [UInt8]
    private static let tableBytes = 256 << 10

    init(_ state: CheckState) {
        self.state = state
        volume = state.volume
        superblock = volume.superblock
        hasExtents = superblock.incompatible.contains(.extents)
        hasQuota = superblock.readOnlyCompatible.contains(.quota)
        ownInodes = OwnInodes.numbers(superblock)
        table = [UInt8](repeating: 0, count: max(Self.tableBytes, volume.blockSize))
        // Where the clock was never set, a deletion time may look like an inode's number.
        let count = Int64(superblock.inodesCount)
        checksLowDeletionTimes = [
            superblock.writeTime, superblock.mountTime, superblock.creationTime,
        ].allSatisfy { $0.seconds == 0 || $0.seconds >= count }
    }

    /// The inodes of a group that may be in use.
    private func usedCount(_ group: GroupNumber) -> UInt32 {
        guard superblock.hasDescriptorChecksums else { return superblock.inodesPerGroup }
        let descriptor = volume.descriptors[Int(group.rawValue)]
        // The first group holds the root: a mark there is wrong, and must not hide it.
        if descriptor.flags.contains(.inodeUninit) {
            return group.rawValue == 0 ? superblock.inodesPerGroup : 0
        }
        let unused = descriptor.unusedInodesCount
        return unused <= superblock.inodesPerGroup
            ? superblock.inodesPerGroup - unused : superblock.inodesPerGroup
    }

    mutating func scan(_ group: GroupNumber) throws(Ext4Error) {
        let descriptor = volume.descriptors[Int(group.rawValue)]
        guard
            volume.contains(
                descriptor.inodeTable.rawValue, count: UInt64(superblock.inodeTableBlocks))
        else { return }
        let count = usedCount(group)
        let size = volume.inodeSize
        let perRead = UInt32(table.count / size)
        let first = group.rawValue * superblock.inodesPerGroup + 1
        var index: UInt32 = 0
        while index < count {
            let part = min(perRead, count - index)
            let offset =
                descriptor.inodeTable.rawValue << volume.blockSizeLog2
                + UInt64(index) * UInt64(size)
            if Int(part) * size == table.count {
                try volume.device.readOrZeros(at: offset, into: &table)
            } else {
                var last = [UInt8](repeating: 0, count: Int(part) * size)
                try volume.device.readOrZeros(at: offset, into: &last)
                table.replaceSubrange(0..<last.count, with: last)
            }
            // The bytes are taken out while they are looked at, so that this can change itself.
            let bytes = table
            table = []
            for slot in 0..<part {
                let start = Int(slot) * size
                try check(
                    unsafe bytes.span.bytes.extracting(start..<start + size),
                    InodeNumber(first + index + slot))
            }
            table = bytes
            index += part
        }
    }

    // MARK: - One inode

    typealias Layout = InodeRecord.Layout

    func report(
        _ rule: CheckRule, _ inode: InodeNumber, found: UInt64? = nil, expected: UInt64? = nil,
        detail: String? = nil
    ) {
        state.report(
            Finding(
                rule, at: .init(inode: inode), found: found, expected: expected, detail: detail))
    }

    private mutating func check(_ bytes: RawSpan, _ number: InodeNumber) throws(Ext4Error) {
        let isOwn = number < superblock.firstInode || ownInodes.contains(number)
        if bytes[Layout.mode] == 0, bytes[Layout.linkCount] == 0, bytes.isZero {
            if number == .root { report(.inodeRoot, number) }
            if isOwn { state.inodes.setUsed(number, .regular, links: 0) }
            return
        }
        let fields = InodeFields(bytes, number: number)
        if volume.hasChecksums,
            let wrong = fields.checksumMismatch(bytes, seed: superblock.checksumSeed)
        {
            report(
                .inodeChecksum, number, found: UInt64(wrong.stored),
                expected: UInt64(wrong.computed))
        }
        if isOwn, number != .root {
            try checkOwn(fields, bytes)
            return
        }
        let hasLowTime =
            checksLowDeletionTimes && fields.deletionTime != 0
            && fields.deletionTime < superblock.inodesCount
        guard fields.linkCount > 0 else {
            if hasLowTime {
                report(.inodeOrphan, number, found: UInt64(fields.deletionTime))
            } else if fields.deletionTime == 0, fields.mode.rawValue != 0 {
                report(.inodeNoDeletionTime, number)
            }
            if number == .root { report(.inodeRoot, number) }
            return
        }
        if hasLowTime {
            report(.inodeOrphan, number, found: UInt64(fields.deletionTime))
        } else if fields.deletionTime != 0 {
            report(.inodeDeletionTime, number, found: UInt64(fields.deletionTime), expected: 0)
        }
        try checkUsed(fields, bytes)
    }

    private mutating func checkUsed(
        _ fields: InodeFields, _ bytes: RawSpan
    ) throws(Ext4Error) {
        let number = fields.number
        checkOldFields(fields, bytes)
        checkExtra(fields, bytes)
        checkFlags(fields)
        var attributes = AttributeScan(state, fields)
        try attributes.run(bytes)
        var isBad = attributes.hidesContents
        switch fields.type {
        case .regular, .directory:
            if number == .root, fields.type != .directory { report(.inodeRoot, number) }
            let scan = try contents(of: fields, bytes, attributes)
            if fields.type == .directory { addDirectory(fields, scan) }
            if scan?.pieces ?? 0 > 1 { share.statistics.fragmented += 1 }
        case .symlink:
            let scan = try contents(of: fields, bytes, attributes)
            if try !isSoundSymlink(fields, bytes, scan, attributes) {
                report(.symlinkTarget, number, found: fields.size)
                isBad = true
            }
        case .characterDevice, .blockDevice, .fifo, .socket:
            checkSpecial(fields, bytes)
            checkBlockCount(fields, bytes, clusters: attributes.clusters)
            addQuota(fields, bytes, attributes, clusters: attributes.clusters)
        case .unknown:
            report(.inodeMode, number, found: UInt64(fields.mode.rawValue))
            isBad = true
        }
        if number == .root, fields.type != .directory, fields.type != .regular {
            report(.inodeRoot, number)
        }
        state.inodes.setUsed(number, fields.type, links: fields.linkCount, isBad: isBad)
        count(fields)
    }

    private mutating func count(_ fields: InodeFields) {
        share.statistics.inodes += 1
        switch fields.type {
        case .regular:
            share.statistics.files += 1
            if fields.size >= 1 << 31 { share.hasLargeFile = true }
        case .directory: share.statistics.directories += 1
        case .symlink: share.statistics.symlinks += 1
        default: share.statistics.special += 1
        }
    }

    private mutating func addDirectory(_ fields: InodeFields, _ scan: MapScan?) {
        let runs = scan?.runs ?? []
        share.infos.append(
            DirectoryInfo(
                inode: fields.number, firstRun: UInt32(clamping: share.runs.count),
                runCount: UInt32(clamping: runs.count),
                blockCount: UInt32(
                    clamping: max(
                        Int64(clamping: fields.size >> volume.blockSizeLog2),
                        (scan?.lastBlock ?? -1) + 1)),
                flags: fields.flags.rawValue, generation: fields.generation))
        share.runs += runs
    }

    /// The volume's own inodes: the reserved ones, the journal, quota files, the orphan file.
    private mutating func checkOwn(
        _ fields: InodeFields, _ bytes: RawSpan
    ) throws(Ext4Error) {
        let number = fields.number
        state.inodes.setUsed(number, .regular, links: fields.linkCount)
        share.statistics.inodes += 1
        let type = fields.mode.rawValue == 0 ? nil : fields.type
        let isNamed = ownInodes.contains(number)
        if isNamed || number == .resize {
            if let type, type != .regular {
                report(.inodeReserved, number, found: UInt64(fields.mode.rawValue))
                return
            }
        } else if number.rawValue == 5 {
            // EXT4_BOOT_LOADER_INO
            if type == .directory {
                report(.inodeReserved, number, found: UInt64(fields.mode.rawValue))
                return
            }
        } else if number == .badBlocks {
            let isEmpty =
                fields.mode.rawValue == 0 && fields.linkCount == 0 && fields.attributeBlock == 0
                && fields.flags.isDisjoint(with: [.extents, .inlineData])
            if !isEmpty {
                report(.inodeReserved, number, found: UInt64(fields.mode.rawValue))
                return
            }
        } else {
            let isEmpty = (0..<15).allSatisfy {
                bytes[Field<UInt32>.le(Layout.block.lowerBound + 4 * $0)] == 0
            }
            let mayHaveMode = [.journal, .userQuota, .groupQuota].contains(number)
            if mayHaveMode ? fields.linkCount > 0 || !isEmpty : type != nil {
                report(.inodeReserved, number, found: UInt64(fields.mode.rawValue))
                return
            }
        }
        _ = try contents(of: fields, bytes, AttributeScan(state, fields))
    }

    // MARK: - Contents

    /// Walks the map, and holds size and block count to what it has; nil for contents that stand
    /// in the inode.
    private mutating func contents(
        of fields: InodeFields, _ bytes: RawSpan, _ attributes: AttributeScan
    ) throws(Ext4Error) -> MapScan? {
        let scan = MapScan(
            state,
            MapScan.Owner(
                inode: fields.number, generation: fields.generation,
                isDirectory: fields.type == .directory, size: fields.size))
        let isInline = fields.flags.contains(.inlineData)
        let isShortLink =
            fields.type == .symlink && fields.size > 0
            && fields.size < UInt64(Layout.block.count)
        let root = bytes.extracting(Layout.block)
        checkMissingExtentsFlag(fields, root)
        if isInline {
            checkInline(fields, attributes)
        } else if fields.type == .symlink, isShortLink || fields.size == 0 {
            // The target stands where the map would.
        } else if fields.flags.contains(.extents) {
            try scan.walkExtents(root)
        } else {
            try scan.walkPointers(root)
            // The resize inode's map is older than clusters: it names descriptors, not contents.
            if volume.clusterRatioLog2 > 0, scan.clusters > 0, fields.number != .resize {
                report(.inodePointers, fields.number, found: scan.clusters)
            }
        }
        if fields.type != .symlink, !isInline { checkSize(fields, scan) }
        checkBlockCount(fields, bytes, clusters: scan.clusters &+ attributes.clusters)
        addQuota(
            fields, bytes, attributes, clusters: scan.clusters &+ attributes.clusters)
        return isInline ? nil : scan
    }

    private func checkBlockCount(_ fields: InodeFields, _ bytes: RawSpan, clusters: UInt64) {
        let unit = UInt64(volume.blockSize / 512) << volume.clusterRatioLog2
        let expected = clusters &* unit
        let found = fields.blocks512(
            bytes, hasHugeFiles: superblock.readOnlyCompatible.contains(.hugeFile),
            blockSizeLog2: volume.blockSizeLog2)
        if found != expected {
            report(.inodeBlocks, fields.number, found: found, expected: expected)
        }
    }

    private func checkSize(_ fields: InodeFields, _ scan: MapScan) {
        let size = fields.size
        let end = UInt64(scan.lastBlock + 1)
        if fields.type == .directory {
            let blocks = size >> volume.blockSizeLog2
            if size & UInt64(volume.blockSize - 1) != 0 || blocks != end {
                report(
                    .inodeSize, fields.number, found: size,
                    expected: end << volume.blockSizeLog2)
            }
            return
        }
        let written = UInt64(max(scan.lastWritten, 0)) << volume.blockSizeLog2
        if scan.lastWritten >= 0, size < written, !fields.flags.contains(.verity) {
            report(
                .inodeSize, fields.number, found: size,
                expected: UInt64(scan.lastWritten + 1) << volume.blockSizeLog2)
        } else if size > largestSize(usesExtents: fields.flags.contains(.extents)) {
            report(
                .inodeSize, fields.number, found: size, expected: end << volume.blockSizeLog2)
        }
    }

    /// The largest size that a map of either kind can have blocks for.
    private func largestSize(usesExtents: Bool) -> UInt64 {
        if usesExtents { return 1 << (32 + volume.blockSizeLog2) - 1 }
        let perBlock = UInt64(volume.blockSize / 4)
        let blocks = 12 + perBlock * (1 + perBlock * (1 + perBlock))
        return blocks << volume.blockSizeLog2
    }

    /// Counts an inode as its owner's. Those of values are counted where they are named, by each
    /// who names them.
    private mutating func addQuota(
        _ fields: InodeFields, _ bytes: RawSpan, _ attributes: AttributeScan, clusters: UInt64
    ) {
        guard hasQuota, fields.number == .root || fields.number >= superblock.firstInode,
            !ownInodes.contains(fields.number), !fields.flags.contains(.attributeInode)
        else { return }
        let amount = clusters &* UInt64(superblock.clusterSize)
        let project = fields.has(Layout.projectID) ? bytes[Layout.projectID] : 0
        for (kind, id) in [
            (
                QuotaKind.user,
                UInt32(bytes[Layout.userIDLow]) | UInt32(bytes[Layout.userIDHigh]) << 16
            ),
            (
                .group,
                UInt32(bytes[Layout.groupIDLow]) | UInt32(bytes[Layout.groupIDHigh]) << 16
            ), (.project, project),
        ] {
            share.quotas[kind.rawValue][id, default: QuotaAmount()].bytes &+= amount
            share.quotas[kind.rawValue][id, default: QuotaAmount()].inodes &+=
                1 &+ attributes.valueCount
        }
    }
}

/// The inodes that belong to the volume itself and that no name may lead to.
enum OwnInodes {
    /// Those that the superblock names.
    static func numbers(_ superblock: Superblock) -> [InodeNumber] {
        // A journal that is switched off is the volume's all the same.
        var numbers = [superblock.journalInode]
        if superblock.compatible.contains(.orphanFile) {
            numbers.append(superblock.orphanFileInode)
        }
        if superblock.readOnlyCompatible.contains(.quota) {
            numbers += [superblock.userQuotaInode, superblock.groupQuotaInode]
            numbers.append(superblock.projectQuotaInode)
        }
        return numbers.filter { $0.rawValue != 0 && $0 != .root }
    }
}
