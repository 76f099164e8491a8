import Synchronization

/// The inodes of a volume: found in their group's table, parsed, and kept while there is room.
final class InodeTable: Sendable {
    private let reader: BlockReader
    private let groups: GroupTable
    private let shards: [InodeShard]
    /// The block of a table that was missing last.
    private let lastMiss = Atomic<UInt64>(0)

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
        let shard = shard(of: number)
        if let found = shard.find(number) { return found }
        return shard.insert(try read(number))
    }

    // Neighbours are looked up together and by one thread: they share a shard.
    private func shard(of number: InodeNumber) -> InodeShard {
        shards[Int((number.rawValue >> 6) % UInt32(shards.count))]
    }

    // MARK: References

    /// Notes that somebody outside knows the inode: it is not freed before it is released.
    func acquire(_ number: InodeNumber) { shard(of: number).acquire(number) }

    /// Takes back `count` references; returns the inode when it was the last one and the inode is
    /// kept for that reason.
    func release(_ number: InodeNumber, count: UInt64) -> Inode? {
        shard(of: number).release(number, count: count)
    }

    /// Whether somebody outside knows the inode. An inode that is kept stays in memory until its
    /// last reference is released; false when there is none.
    func keepWhileReferenced(_ inode: Inode) -> Bool {
        shard(of: inode.number).keep(inode)
    }

    /// Notes who knows which inode, as another table of the same volume has it, and keeps what that
    /// one keeps.
    func takeOver(from other: InodeTable) throws(Ext4Error) {
        for (shard, old) in zip(shards, other.shards) { shard.takeReferences(from: old) }
        for inode in other.kept { _ = keepWhileReferenced(try self.inode(inode.number)) }
    }

    /// The inodes that are kept only because somebody knows them.
    var kept: [Inode] { shards.flatMap { $0.keptInodes } }

    // MARK: Changing

    /// Puts a new inode in the place of whatever had the number before.
    func replace(by inode: Inode) { shard(of: inode.number).replace(by: inode) }

    /// Forgets an inode whose creation was taken back.
    func forget(_ number: InodeNumber) { shard(of: number).forget(number) }

    /// The block of the table that holds the inode, and where in it.
    func place(of number: InodeNumber) throws(Ext4Error) -> (buffer: Buffer, offset: Int) {
        let superblock = reader.superblock
        guard number.rawValue > 0, number.rawValue <= superblock.inodesCount else {
            throw .invalidArgument
        }
        let index = number.rawValue - 1
        let descriptor = try groups.descriptor(of: GroupNumber(index / superblock.inodesPerGroup))
        let slot = index % superblock.inodesPerGroup
        let perBlock = superblock.inodesPerBlock
        let buffer = try reader.cache.buffer(
            of: descriptor.inodeTable.advanced(by: UInt64(slot / perBlock)))
        return (buffer, Int(slot % perBlock) * superblock.inodeSize)
    }

    /// Puts the record of a new inode into its table, and the inode into memory.
    ///
    /// When the handle fails, nothing is left of it.
    func create(
        _ record: InodeRecord, number: InodeNumber, in handle: inout Handle
    ) throws(Ext4Error) -> Inode {
        let inode = try Inode(record, number: number, superblock: reader.superblock)
        let (buffer, offset) = try place(of: number)
        let size = reader.superblock.inodeSize
        let before = buffer.withBytes { $0.copy(offset..<offset + size) }
        _ = try inode.change(reader.superblock, to: buffer, at: offset, in: &handle) { _ in }
        replace(by: inode)
        handle.onFailure { [self] handle in
            forget(number)
            handle.modify(buffer) { bytes in
                var target = bytes._mutatingExtracting(offset..<offset + size)
                target.copy(from: unsafe before.span.bytes)
            }
        }
        return inode
    }

    /// Changes the record of `inode`, in memory and in its table's block.
    ///
    /// `body` only sets fields: it runs under the inode's short lock. When the handle fails, the
    /// record is what it was.
    ///
    /// - Parameters:
    ///   - isData: whether `fdatasync` has to wait for the change.
    ///   - isUndone: false for a caller that takes the change back itself.
    func update(
        _ inode: Inode, isData: Bool = true, isUndone: Bool = true, in handle: inout Handle,
        _ body: (inout InodeRecord) throws(Ext4Error) -> Void
    ) throws(Ext4Error) {
        // Who held it while it was freed comes too late.
        guard !inode.isFreed else { throw .notFound }
        let (buffer, offset) = try place(of: inode.number)
        let old = try inode.change(
            reader.superblock, to: buffer, at: offset, isData: isData, in: &handle, body)
        guard isUndone else { return }
        let superblock = reader.superblock
        handle.onFailure { handle in
            // `i_dtime` of an orphan is a link of the list, which may have changed since.
            _ = try? inode.change(superblock, to: buffer, at: offset, in: &handle) { record in
                let deletionTime = record[InodeRecord.Layout.deletionTime]
                record = old.before
                if deletionTime != old.after {
                    record[InodeRecord.Layout.deletionTime] = deletionTime
                }
            }
            inode.lastRun.withLock { $0 = nil }
        }
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
        if !reader.cache.holds(block), isPrefetchWorthIt(of: block) {
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

    /// Whether the blocks around a missing one will be wanted too, in all likelihood, or at least do
    /// no harm. Where names lead all over tables that are larger than the cache, each look-up would
    /// read and drive out many blocks for the sake of one.
    private func isPrefetchWorthIt(of block: BlockNumber) -> Bool {
        let previous = lastMiss.exchange(block.rawValue, ordering: .relaxed)
        let distance = max(previous, block.rawValue) - min(previous, block.rawValue)
        return distance <= 2 * Self.readAhead || !reader.cache.isFull(for: block)
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
