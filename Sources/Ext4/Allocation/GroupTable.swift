/// The group descriptors of a volume, found and parsed when they are first wanted.
///
/// On a volume that is open for writing, each group that is changed has a `BlockGroup`, whose lock
/// guards all of the group; `descriptor(of:)` gives the values as they are now.
package final class GroupTable: Sendable {
    let reader: BlockReader
    let geometry: GroupGeometry
    /// The group whose copies of superblock and descriptors are used: 0 for the primary ones.
    private let sourceGroup: GroupNumber
    /// The parsed descriptors by block of the descriptor table.
    let pages: LazyTable<DescriptorPage>
    /// The groups that were changed, or are about to be.
    let groups: LazyTable<BlockGroup>
    /// Groups with a bitmap that the running transaction changed.
    let unsealed: Guarded<[BlockGroup]>
    /// Groups that have maps in memory.
    let loaded: Guarded<GroupQueue>
    /// How many groups should have maps in memory: some 8 MiB.
    let mapBudget: Int

    init(_ reader: BlockReader, sourceGroup: GroupNumber) {
        self.reader = reader
        self.sourceGroup = sourceGroup
        let superblock = reader.superblock
        geometry = GroupGeometry(superblock)
        let perBlock = superblock.descriptorsPerBlock
        pages = LazyTable(count: Int((superblock.groupCount &- 1) / perBlock) &+ 1)
        groups = LazyTable(count: Int(superblock.groupCount))
        unsealed = Guarded([])
        loaded = Guarded(GroupQueue())
        mapBudget = max((8 << 20) / superblock.blockSize, 64)
    }

    /// The descriptor of `group`.
    func descriptor(of group: GroupNumber) throws(Ext4Error) -> GroupDescriptor {
        guard group.rawValue < geometry.groupCount else { throw .invalidArgument }
        let perBlock = geometry.descriptorsPerBlock
        let index = group.rawValue / perBlock
        let slot = Int(group.rawValue % perBlock)
        if let found = pages.find(Int(index)) { return found[slot] }

        let superblock = reader.superblock
        let first = index * perBlock
        let count = min(perBlock, superblock.groupCount - first)
        let block = location(ofDescriptorBlock: index)
        let buffer = try reader.buffer(
            of: block, for: .groupDescriptor, at: .init(group: GroupNumber(first)))
        // One bad descriptor must not hide its neighbours: the block is parsed as a whole only
        // when all are sound.
        let size = superblock.descriptorSize
        func parse(_ slot: Int) throws(Ext4Error) -> GroupDescriptor {
            try buffer.withBytes { (bytes) throws(Ext4Error) in
                try GroupDescriptor(
                    parsing: bytes.extracting(slot * size..<(slot + 1) * size),
                    group: GroupNumber(first + UInt32(slot)), superblock: superblock,
                    verifiesChecksum: reader.verifiesChecksums)
            }
        }
        let wanted = try parse(slot)
        var all: [GroupDescriptor] = []
        all.reserveCapacity(Int(count))
        for other in 0..<Int(count) {
            guard let descriptor = try? parse(other) else { return wanted }
            all.append(descriptor)
        }
        return pages.insert(
            DescriptorPage(first: GroupNumber(first), block: block, all), at: Int(index))[slot]
    }

    /// Reads the blocks that hold the descriptors of `group` and those that follow, when `group` is
    /// the first of many: for a walk over all of them.
    func prefetch(aheadOf group: GroupNumber) {
        let perBlock = geometry.descriptorsPerBlock
        let index = group.rawValue / perBlock
        guard group.rawValue % (perBlock * 64) == 0,
            !reader.superblock.incompatible.contains(.metaBg)
        else { return }
        let count = min(64, (geometry.groupCount - group.rawValue - 1) / perBlock + 1)
        reader.cache.prefetch(location(ofDescriptorBlock: index), count: Int(count))
    }

    /// Where block `index` of the descriptor table is.
    package func location(ofDescriptorBlock index: UInt32) -> BlockNumber {
        reader.superblock.location(ofDescriptorBlock: index, copyOf: sourceGroup)
    }
}
