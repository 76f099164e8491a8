/// An ext2, ext3 or ext4 file system, open for reading or for writing.
///
/// All methods may be called from any thread at once.
public final class Volume: Sendable {
    /// The superblock, after the journal was applied and before anything was written.
    public let superblock: Superblock
    /// Where bytes come from: the device that was opened, or with a dirty journal a view of it in
    /// which the journal is replayed.
    public let device: any BlockDevice
    /// What the replay in memory found; nil when none was needed or wanted.
    public let recovery: RecoveryReport?

    let reader: BlockReader
    package let groups: GroupTable
    let inodes: InodeTable
    let freeCounts = Guarded<FreeCounts?>(nil)
    /// What it takes to write; nil when the volume is open for reading.
    let writing: Writing?

    /// The size of a block in bytes.
    public var blockSize: Int { superblock.blockSize }

    /// What the cache of metadata blocks holds and how often it served.
    public var cacheStatistics: CacheStatistics { reader.cache.statistics }

    /// Opens the volume on `device`.
    ///
    /// For reading, nothing is written: a journal that must be replayed is replayed in memory. For
    /// writing it is replayed on the device, and what a crash left of deleted files is freed.
    ///
    /// - Throws: `.corrupt` for a superblock or a journal that is not sound, `.unsupported` naming
    ///   features that this engine cannot read or write, `.readOnlyVolume` for a device that cannot
    ///   be written, `.busy` when another machine may have the volume open, `.io`.
    public static func open(
        _ device: any BlockDevice, options: OpenOptions = .init()
    ) throws(Ext4Error) -> Volume {
        if options.access == .readWrite { return try openForWriting(device, options) }
        let source = try SuperblockSource.find(on: device, options: options)
        try checkFeatures(of: source.superblock, recovers: options.journal == .replayInMemory)
        let volume = Volume(device, source, recovery: nil, options: options)
        guard let recovery = try volume.scanJournal(options) else { return volume }

        // The superblock itself may be in the journal: it is read and checked again.
        let replayed = recovery.overlay(over: device)
        let fresh = try source.read(again: replayed, options: options)
        try checkFeatures(of: fresh.superblock, recovers: true)
        try checkContinuity(from: source.superblock, to: fresh.superblock)
        options.log(.info, "journal replayed in memory: \(recovery.report)")
        return Volume(replayed, fresh, recovery: recovery.report, options: options)
    }

    init(
        _ device: any BlockDevice, _ source: SuperblockSource, recovery: RecoveryReport?,
        options: OpenOptions
    ) {
        superblock = source.superblock
        self.device = device
        self.recovery = recovery
        reader = BlockReader(
            superblock: source.superblock,
            cache: BufferCache(
                device: device, blockSizeLog2: source.superblock.blockSizeLog2,
                byteBudget: options.cacheBytes),
            verifiesChecksums: options.verifiesChecksums, log: options.log)
        groups = GroupTable(reader, sourceGroup: source.group)
        inodes = InodeTable(reader, groups: groups, budget: 4096)
        writing = nil
    }

    /// The same volume, open for writing.
    init(_ volume: Volume, recovery: RecoveryReport?, writing: Writing) {
        superblock = volume.superblock
        device = volume.device
        self.recovery = recovery
        reader = volume.reader
        groups = volume.groups
        inodes = volume.inodes
        self.writing = writing
    }

    /// Refuses what cannot be read right, by name.
    private static func checkFeatures(
        of superblock: Superblock, recovers: Bool
    ) throws(Ext4Error) {
        let unknown = superblock.incompatible.subtracting(.readable)
        guard unknown.isEmpty else {
            throw .unsupported(UnsupportedFeatures(unknown.names, for: .reading))
        }
        if recovers, superblock.hasExternalJournal, superblock.incompatible.contains(.recover) {
            throw .unsupported(UnsupportedFeatures(["external journal"], for: .recovery))
        }
    }

    /// Looks at the journal: what must be replayed, or nil.
    private func scanJournal(_ options: OpenOptions) throws(Ext4Error) -> Recovery? {
        guard superblock.compatible.contains(.hasJournal), !superblock.hasExternalJournal else {
            return nil
        }
        let isMarked = superblock.incompatible.contains(.recover)
        guard options.journal == .replayInMemory else {
            if isMarked {
                options.log(.warning, "the journal is not replayed: files may be inconsistent")
            }
            return nil
        }
        let recovery: Recovery?
        do throws(Ext4Error) {
            recovery = try Recovery.scan(
                device, journal: journalLocation(),
                volume: journalledVolume, log: options.log)
        } catch {
            // Of a volume that was unmounted, the journal says nothing that matters to a reader.
            guard isMarked else {
                options.log(.warning, "the journal is bad, but not needed: \(error)")
                return nil
            }
            throw error
        }
        if recovery != nil, !isMarked {
            // Only a superblock that was restored from a backup is like this.
            options.log(.warning, "needs_recovery is not set, but the journal has data")
        }
        return recovery
    }

    /// What recovery has to know of this volume.
    var journalledVolume: JournalledVolume {
        JournalledVolume(
            blockSize: blockSize, blocksCount: superblock.blocksCount,
            firstDataBlock: UInt64(superblock.firstDataBlock))
    }

    /// Where the blocks of the internal journal are.
    package func journalLocation() throws(Ext4Error) -> JournalLocation {
        let inode = try inodes.inode(superblock.journalInode)
        guard inode.type == .regular, inode.linkCount > 0, !inode.usesInlineData else {
            throw .corrupt(
                .journal, at: .init(inode: inode.number), .broken("its inode is not a file's"))
        }
        let blocks = inode.size >> UInt64(superblock.blockSizeLog2)
        guard blocks <= superblock.blocksCount else {
            throw .corrupt(
                .journal, at: .init(inode: inode.number),
                .field("i_size", value: inode.size, rule: "less than the volume"))
        }
        let runs = try map(of: inode).runs(
            to: LogicalBlock(blocks), volumeBlocks: superblock.blocksCount)
        var located: [JournalLocation.Run] = []
        var next: UInt64 = 0
        for run in runs {
            guard run.logical.rawValue == next, case .mapped(let block) = run.state else { break }
            let count = min(run.count, blocks - next)
            located.append(.init(firstBlock: block, count: count))
            next += count
        }
        guard next == blocks else {
            throw .corrupt(
                .journal, at: .init(inode: inode.number, logicalBlock: LogicalBlock(next)),
                .broken("the block is missing"))
        }
        return try JournalLocation(located, on: journalledVolume)
    }

    // MARK: Inodes

    /// The inode with that number.
    ///
    /// The volume's own inodes, such as the journal's, can be looked at too.
    ///
    /// - Throws: `.notFound` for a number that no inode has, or one that is not in use.
    public func inode(_ number: InodeNumber) throws(Ext4Error) -> Inode {
        let inode = try inodes.inode(number)
        // `i_dtime` of one on the chain of orphans is the number of the next one.
        guard !inode.isFree || writing?.orphans.contains(number) == true else { throw .notFound }
        return inode
    }

    /// The root directory.
    ///
    /// - Throws: `.corrupt` when it is not a directory that is in use.
    public func root() throws(Ext4Error) -> Inode {
        let inode = try inodes.inode(.root)
        guard inode.isDirectory, inode.linkCount > 0 else {
            throw .corrupt(
                .inode, at: .init(inode: .root), .broken("the root is not a directory in use"))
        }
        return inode
    }

    /// The descriptor of `group`.
    ///
    /// - Throws: `.invalidArgument` for a group that the volume does not have.
    public func groupDescriptor(_ group: GroupNumber) throws(Ext4Error) -> GroupDescriptor {
        try groups.descriptor(of: group)
    }

    /// The map of `inode`'s blocks.
    func map(of inode: Inode) -> FileMap {
        FileMap(inode.record, flags: inode.flags, owner: inode.owner, reader: reader)
    }
}
