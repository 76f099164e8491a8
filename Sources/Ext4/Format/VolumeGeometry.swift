// How a volume of so many bytes is divided: block size, groups, inodes, descriptors. The rules, and
// the order in which they are applied, are those of mke2fs, so that both make the same of the same
// options.

/// The numbers of a new volume, derived from its options and its size.
package struct VolumeGeometry: Sendable {
    package private(set) var features: FeatureMask
    package let defaults: FormatDefaults
    package let blockSize: Int
    package let clusterSize: Int
    package let inodeSize: Int
    package let firstDataBlock: UInt32
    package let descriptorSize: Int
    package let logFlexSize: UInt8
    /// As many as were asked for; `inodesPerGroup` says how many there are.
    package let wantedInodes: UInt64
    package private(set) var blockCount: UInt64
    package private(set) var reservedBlocks: UInt64
    package private(set) var clustersPerGroup: UInt32
    package private(set) var blocksPerGroup: UInt32
    package private(set) var groupCount: UInt64 = 0
    package private(set) var descriptorBlocks: UInt64 = 0
    package private(set) var reservedDescriptors: UInt64 = 0
    package private(set) var inodesPerGroup: UInt64 = 0
    package private(set) var inodeTableBlocks: UInt64 = 0
    package private(set) var backupGroups: (UInt32, UInt32) = (0, 0)

    /// `descriptorRoom` fixes the blocks that each copy of the superblock has behind it for
    /// descriptors, used and reserved ones.
    package init(
        _ options: FormatOptions, byteCount: UInt64, descriptorRoom: UInt32? = nil
    ) throws(FormatProblem) {
        let usesHurd = options.creatorOS == 1 || options.usage.contains(.hurd)
        var usage = options.usage
        if usesHurd {
            if usage.isEmpty { usage = [FormatDefaults.usage(byteCount)] }
            usage.append(.hurd)
        }
        let defaults = FormatDefaults(options.kind, usage, byteCount: byteCount)
        self.defaults = defaults
        features = try Self.features(options, defaults, isHurd: usesHurd)

        blockSize = options.blockSize ?? defaults.blockSize
        guard blockSize >= 1024, blockSize <= 65536, blockSize & (blockSize - 1) == 0 else {
            throw FormatProblem(
                "a block size of \(blockSize) is not possible: it is a power of two from 1024 to 65536"
            )
        }
        let blocks = byteCount / UInt64(blockSize)
        if blocks > UInt64(UInt32.max) {
            guard features.incompatible.contains(.bit64) else {
                throw FormatProblem(
                    "\(blocks) blocks of \(blockSize) bytes are more than 32 bits can count;"
                        + " use the feature 64bit or larger blocks")
            }
            features.compatible.remove(.resizeInode)
        }
        guard blocks < 1 << UInt64(Self.log2(blockSize) + 3 + 32) else {
            throw FormatProblem("the volume is too large for blocks of \(blockSize) bytes")
        }
        let isClustered = features.readOnlyCompatible.contains(.bigalloc)
        clusterSize = try Self.clusterSize(options, blockSize, isClustered: isClustered)
        let ratio = UInt64(clusterSize / blockSize)
        descriptorSize = try Self.descriptorSize(options, features)
        inodeSize = try Self.inodeSize(options, defaults, features, blockSize: blockSize)
        logFlexSize = try Self.logFlexSize(options, features)
        firstDataBlock = clusterSize > 1024 ? 0 : 1
        wantedInodes = try Self.inodeCount(
            options, defaults, features, blocks: blocks, blockSize: blockSize,
            clusterSize: clusterSize, inodeSize: inodeSize)
        let share = options.reservedPercentage ?? FormatDefaults.reservedPercentage
        guard share >= 0, share <= 50 else {
            throw FormatProblem(
                "the share of blocks for the super user is a percentage from 0 to 50")
        }
        reservedBlocks = UInt64(share * Double(blocks) / 100)
        blockCount = blocks & ~(ratio - 1)
        (clustersPerGroup, blocksPerGroup) = try Self.groupSize(
            options, blockSize: blockSize, ratio: ratio)
        let reserved = try resizeReserve(options, blocks)
        try divide(options, given: blocks, room: descriptorRoom.map(UInt64.init), reserve: reserved)
    }

    /// Makes it a volume without a journal, and without what needs one.
    mutating func dropJournal() {
        features.compatible.subtract([.hasJournal, .orphanFile])
    }

    static func log2(_ value: Int) -> Int { Int.bitWidth - 1 - value.leadingZeroBitCount }

    /// The blocks that the limit of online growth asks to be reserved; nil for no limit given.
    private mutating func resizeReserve(
        _ options: FormatOptions, _ blocks: UInt64
    ) throws(FormatProblem) -> UInt64? {
        guard let limit = options.resizeLimit?.blocks(ofSize: blockSize) else { return nil }
        guard limit > blocks else {
            throw FormatProblem("the limit of resize= must be over the size of the volume")
        }
        let perGroup = UInt64(options.blocksPerGroup ?? UInt32(blockSize * 8))
        let perBlock = UInt64(blockSize / descriptorSize)
        let now = Self.ceiling(Self.ceiling(blocks, perGroup), perBlock)
        let then = Self.ceiling(Self.ceiling(limit, perGroup), perBlock)
        let reserve = min(then - min(now, then), UInt64(blockSize / 4))
        guard reserve > 0 else { return nil }
        guard options.revision > 0 else {
            throw FormatProblem("revision 0 has no resize=")
        }
        guard !features.incompatible.contains(.metaBg) else {
            throw FormatProblem("resize= reserves descriptors, which meta_bg has no use for")
        }
        features.compatible.insert(.resizeInode)
        return reserve
    }

    static func ceiling(_ value: UInt64, _ divisor: UInt64) -> UInt64 {
        value / divisor + (value % divisor == 0 ? 0 : 1)
    }

    /// Divides the volume into groups: fewer blocks when the last group would have no room for its
    /// structures, smaller groups when one could not have as many inodes as are wanted.
    private mutating func divide(
        _ options: FormatOptions, given: UInt64, room: UInt64?, reserve: UInt64?
    ) throws(FormatProblem) {
        let all = blockCount
        let share = 100 * Double(reservedBlocks) / Double(max(given, 1))
        // Each turn takes blocks or makes groups smaller.
        while true {
            guard blockCount > UInt64(firstDataBlock) else {
                throw FormatProblem("the volume is too small")
            }
            let perGroup = UInt64(blocksPerGroup)
            groupCount = Self.ceiling(blockCount - UInt64(firstDataBlock), perGroup)
            guard groupCount <= UInt64(UInt32.max) else {
                throw FormatProblem("the volume has more groups than 32 bits can count")
            }
            descriptorBlocks = Self.ceiling(groupCount, UInt64(blockSize / descriptorSize))
            let perGroupWanted = Self.ceiling(wantedInodes, groupCount)
            if perGroupWanted > UInt64(blockSize * 8) {
                // Contents that are there already lie around the copies of groups of some size.
                guard room == nil else {
                    throw FormatProblem("its groups have no room for so many inodes")
                }
                guard clusterSize == blockSize, blocksPerGroup >= 256 else {
                    throw FormatProblem("too many inodes; a larger ratio (-i) makes fewer")
                }
                blocksPerGroup -= 8
                clustersPerGroup = blocksPerGroup
                blockCount = all
                continue
            }
            try fillTables(perGroupWanted)
            try reserveDescriptors(room: room, reserve: reserve)
            let copies = descriptorBlocks + reservedDescriptors
            let usesMeta = features.incompatible.contains(.metaBg)
            let overhead =
                3 + inodeTableBlocks + reservedDescriptors + (usesMeta ? 1 : descriptorBlocks)
            guard overhead <= perGroup else {
                throw FormatProblem(
                    "too many inodes for groups of \(perGroup) blocks;"
                        + " a larger ratio (-i) makes fewer")
            }
            let last = 2 + inodeTableBlocks + (lastGroupHasCopy(options) ? 1 + copies : 0)
            let rest = (blockCount - UInt64(firstDataBlock)) % perGroup
            if groupCount == 1, rest > 0, rest < last {
                throw FormatProblem("the volume is too small for its inodes and descriptors")
            }
            guard rest > 0, rest < last + 50, room == nil else { break }
            blockCount -= rest
            reservedBlocks = UInt64(share * Double(blockCount) / 100)
        }
        settleBackups(options)
        // The resize inode has the size of all that its one table could lead to.
        let perBlock = UInt64(blockSize / 4)
        let size = (perBlock * perBlock + perBlock + 12) * UInt64(blockSize)
        if features.compatible.contains(.resizeInode), size > UInt64(Int32.max) {
            features.readOnlyCompatible.insert(.largeFile)
        }
    }

    /// Fills the tables' blocks with inodes; their number is a multiple of 8, as one byte of a
    /// bitmap stands for 8 of them.
    private mutating func fillTables(_ wanted: UInt64) throws(FormatProblem) {
        let (block, size) = (UInt64(blockSize), UInt64(inodeSize))
        var asked = min(wanted, (1 << 16) - block / size)
        // Up or down, and never both: the first volume is too small, the second too large.
        while true {
            var count = Self.ceiling(asked * size, block) * block / size
            count = max(count, 8) & ~7
            inodesPerGroup = count
            inodeTableBlocks = Self.ceiling(count * size, block)
            if count * groupCount > UInt64(UInt32.max) {
                guard asked > 0 else {
                    throw FormatProblem("the volume has too many groups for its inodes")
                }
                asked -= 1
            } else if count * groupCount < 12 {
                asked += 8
            } else {
                return
            }
        }
    }

    private mutating func reserveDescriptors(
        room: UInt64?, reserve: UInt64?
    ) throws(FormatProblem) {
        let perBlock = UInt64(blockSize / descriptorSize)
        let most = UInt64(blockSize / 4)
        reservedDescriptors = 0
        guard descriptorBlocks <= room ?? .max || features.incompatible.contains(.metaBg) else {
            throw FormatProblem(
                "there are more groups than the room for their descriptors allows for")
        }
        if features.compatible.contains(.resizeInode) {
            if let room {
                reservedDescriptors = min(room - descriptorBlocks, most)
            } else if let reserve {
                reservedDescriptors = reserve
            } else {
                // Room to grow to 1,024 times the size, up to what 32 bits can count.
                let limit = min(blockCount << 10, UInt64(UInt32.max))
                let groups = Self.ceiling(
                    limit - UInt64(firstDataBlock), UInt64(blocksPerGroup))
                let blocks = Self.ceiling(groups, perBlock)
                reservedDescriptors =
                    blocks < descriptorBlocks ? most : min(blocks - descriptorBlocks, most)
            }
        }
        // Where descriptors would take most of a group, each lies beside what it describes.
        if reservedDescriptors + descriptorBlocks > UInt64(blocksPerGroup) * 3 / 4 {
            features.incompatible.insert(.metaBg)
            features.compatible.remove(.resizeInode)
            reservedDescriptors = 0
        }
    }

    private func lastGroupHasCopy(_ options: FormatOptions) -> Bool {
        let last = groupCount - 1
        if features.compatible.contains(.sparseSuper2) {
            let count = options.backupCount ?? FormatDefaults.backupCount
            return groupCount == 2 ? count >= 1 : count >= 2
        }
        if last <= 1 || !features.readOnlyCompatible.contains(.sparseSuper) { return true }
        return Superblock.isSparsePower(UInt32(truncatingIfNeeded: last))
    }

    private mutating func settleBackups(_ options: FormatOptions) {
        guard features.compatible.contains(.sparseSuper2) else { return }
        let count = options.backupCount ?? FormatDefaults.backupCount
        let last = UInt32(truncatingIfNeeded: groupCount - 1)
        var first: UInt32 = count >= 1 ? min(1, last) : 0
        var second: UInt32 = count >= 2 ? last : 0
        if first == second { second = 0 }
        if first > second { swap(&first, &second) }
        backupGroups = (first, second)
    }
}
