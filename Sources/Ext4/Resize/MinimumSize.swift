/// How small a volume can be: counted, not estimated, but for one thing. A file that is moved into
/// several holes may need more blocks for its map than it had.
struct MinimumSize {
    private let superblock: Superblock
    private let bytes: [UInt8]
    /// Blocks of files, with their maps and attributes.
    private let contents: UInt64
    /// Groups that the inodes in use fill.
    private let groupsOfInodes: UInt64
    /// Where the structures of the groups up to each one end.
    private let structuresEnd: [UInt64]
    /// Where the structures of each group start.
    private let structuresStart: [UInt64]

    init(_ volume: Volume) throws(Ext4Error) {
        superblock = volume.superblock
        bytes = try volume.device.read(at: Superblock.byteOffset, count: Superblock.byteCount)
        var used: UInt64 = 0
        var structures: UInt64 = 0
        var inodes: UInt64 = 0
        var ends: [UInt64] = []
        var starts: [UInt64] = []
        let table = UInt64(superblock.inodeTableBlocks)
        for number in 0..<superblock.groupCount {
            let group = GroupNumber(number)
            volume.groups.prefetch(aheadOf: group)
            let descriptor = try volume.groups.descriptor(of: group)
            let count = superblock.blockCount(of: group)
            used &+= UInt64(count &- min(descriptor.freeBlocksCount, count))
            inodes &+= UInt64(
                superblock.inodesPerGroup
                    &- min(descriptor.freeInodesCount, superblock.inodesPerGroup))
            structures &+= UInt64(superblock.copiedBlockCount(of: group)) &+ 2 &+ table
            let end = max(
                descriptor.blockBitmap.rawValue &+ 1, descriptor.inodeBitmap.rawValue &+ 1,
                descriptor.inodeTable.rawValue &+ table)
            ends.append(max(end, ends.last ?? 0))
            starts.append(descriptor.inodeTable.rawValue)
        }
        contents = used &- min(structures, used)
        let perGroup = UInt64(superblock.inodesPerGroup)
        groupsOfInodes = max((inodes &+ perGroup &- 1) / perGroup, 1)
        structuresEnd = ends
        structuresStart = starts
    }

    /// Blocks before `end` that structures of the groups from `first` on take.
    private func blocksHeld(by first: UInt64, before end: UInt64) -> UInt64 {
        let each = 2 &+ UInt64(superblock.inodeTableBlocks)
        return structuresStart.dropFirst(Int(first)).reduce(0) { $0 &+ ($1 < end ? each : 0) }
    }

    /// The fewest blocks.
    ///
    /// - Parameter atOnce: counts those that structures of groups keep from use until they are cut
    ///   off: the fewest blocks that one cut can come to.
    func blocks(atOnce: Bool = false) throws(Ext4Error) -> UInt64 {
        let old = superblock
        let perGroup = UInt64(old.blocksPerGroup)
        let table = UInt64(old.inodeTableBlocks)
        var groups = max(groupsOfInodes, contents / perGroup, 1)
        while groups < UInt64(old.groupCount) {
            let end = old.end(ofGroups: groups)
            let new = try ResizedSuperblock(
                old, bytes: bytes, blocks: end, convertsToMetaGroups: false
            ).value
            var structures = groups &* (2 &+ table)
            for number in 0..<UInt32(groups) {
                structures &+= UInt64(new.copiedBlockCount(of: GroupNumber(number)))
            }
            let held = atOnce ? blocksHeld(by: groups, before: end) : 0
            let needed = max(
                UInt64(old.firstDataBlock) &+ contents &+ structures &+ held,
                structuresEnd[Int(groups) &- 1], old.leastBlocks(ofGroups: groups))
            if needed <= end { return needed }
            // With more groups no less is needed.
            groups = (needed &- UInt64(old.firstDataBlock) &+ perGroup &- 1) / perGroup
        }
        let needed = max(
            old.blocksCount &- freeBlocks, old.leastBlocks(ofGroups: groups),
            structuresEnd[Int(groups) &- 1])
        return min(needed, old.blocksCount)
    }

    /// The next size from `size` on, down or up, whose last group has its structures before the
    /// end: with flex_bg those of a group that starts a flexible one lie behind room for others.
    func fitting(_ size: UInt64, isUp: Bool) -> UInt64 {
        let first = UInt64(superblock.firstDataBlock)
        var size = size
        while size > first, size < superblock.blocksCount {
            let groups = (size &- first &- 1) / UInt64(superblock.blocksPerGroup) &+ 1
            let end = structuresEnd[Int(groups) &- 1]
            guard size < end else { break }
            guard isUp || groups > 1 else { break }
            size = isUp ? end : superblock.end(ofGroups: groups &- 1)
        }
        return size
    }

    private var freeBlocks: UInt64 {
        let structures = (0..<superblock.groupCount).reduce(UInt64(0)) {
            $0 &+ UInt64(superblock.copiedBlockCount(of: GroupNumber($1)))
                &+ 2 &+ UInt64(superblock.inodeTableBlocks)
        }
        let taken = UInt64(superblock.firstDataBlock) &+ contents &+ structures
        return superblock.blocksCount &- min(taken, superblock.blocksCount)
    }
}
