/// The inodes of a volume: found in their group's table, parsed, and kept while there is room.
final class InodeTable: Sendable {
    private let reader: BlockReader
    private let groups: GroupTable
    private let shards: [InodeShard]

    /// Blocks of an inode table that are read in one request.
    private static let readAhead: UInt64 = 32

    init(_ reader: BlockReader, groups: GroupTable, budget: Int) {
        self.reader = reader
        self.groups = groups
        shards = (0..<8).map { _ in InodeShard(budget: max(budget / 8, 1)) }
    }

    /// The inode with that number, whether or not it is in use.
    func inode(_ number: InodeNumber) throws(Ext4Error) -> Inode {
        guard number.rawValue > 0, number.rawValue <= reader.superblock.inodesCount else {
            throw .notFound
        }
        // Neighbours are looked up together and by one thread: they share a shard.
        let shard = shards[Int((number.rawValue >> 6) % UInt32(shards.count))]
        if let found = shard.find(number) { return found }
        return shard.insert(try read(number))
    }

    private func read(_ number: InodeNumber) throws(Ext4Error) -> Inode {
        let superblock = reader.superblock
        let index = number.rawValue - 1
        let group = GroupNumber(index / superblock.inodesPerGroup)
        let slot = index % superblock.inodesPerGroup
        let descriptor = try groups.descriptor(of: group)
        let perBlock = superblock.inodesPerBlock
        let offset = UInt64(slot / perBlock)
        let block = descriptor.inodeTable.advanced(by: offset)
        if !reader.cache.holds(block) {
            prefetch(around: offset, of: descriptor)
        }
        let buffer = try reader.cache.buffer(of: block)
        let size = superblock.inodeSize
        let position = Int(slot % perBlock) * size
        return try buffer.withBytes { (bytes) throws(Ext4Error) in
            let record = try InodeRecord(
                parsing: bytes.extracting(position..<position + size), number: number,
                superblock: superblock, verifiesChecksum: reader.verifiesChecksums)
            return try Inode(record, number: number, superblock: superblock)
        }
    }

    /// Reads the blocks around block `offset` of a group's table, as far as inodes were ever used.
    private func prefetch(around offset: UInt64, of descriptor: GroupDescriptor) {
        let superblock = reader.superblock
        let unused =
            superblock.hasDescriptorChecksums
            ? min(descriptor.unusedInodesCount, superblock.inodesPerGroup) : 0
        let used = UInt64((superblock.inodesPerGroup - unused) / superblock.inodesPerBlock) + 1
        let start = offset - offset % Self.readAhead
        let end = min(
            start + Self.readAhead, max(used, offset + 1), UInt64(superblock.inodeTableBlocks))
        guard end > start + 1 else { return }
        reader.cache.prefetch(
            descriptor.inodeTable.advanced(by: start), count: Int(end - start))
    }
}

/// A part of the inodes in memory, with its own lock.
final class InodeShard: Sendable {
    private struct State {
        var inodes: [InodeNumber: Inode] = [:]
        var order: [InodeNumber] = []
        var head = 0
    }

    /// How many inodes one insertion looks at for a place.
    private static let evictionSteps = 16

    private let budget: Int
    private let state = Guarded(State())

    init(budget: Int) { self.budget = budget }

    func find(_ number: InodeNumber) -> Inode? { state.withLock { $0.inodes[number] } }

    /// Adds `inode`, unless another thread was faster: the one that is there is returned.
    func insert(_ inode: Inode) -> Inode {
        state.withLock { state in
            if let present = state.inodes[inode.number] { return present }
            // First in, first out, over those that nobody holds. A few steps each time: where all
            // are held, a whole round would make every insertion cost as much as all before it.
            // More than one goes at a time, so what grew beyond the budget shrinks back.
            var steps = min(state.order.count - state.head, Self.evictionSteps)
            while state.inodes.count >= budget, steps > 0 {
                steps -= 1
                let oldest = state.order[state.head]
                state.head += 1
                guard let index = state.inodes.index(forKey: oldest) else { continue }
                if isKnownUniquelyReferenced(&state.inodes.values[index]) {
                    state.inodes.remove(at: index)
                } else {
                    state.order.append(oldest)
                }
            }
            if state.head > 64, state.head > state.order.count / 2 {
                state.order.removeSubrange(0..<state.head)
                state.head = 0
            }
            state.inodes[inode.number] = inode
            state.order.append(inode.number)
            return inode
        }
    }
}
