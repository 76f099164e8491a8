// A volume's life as one that is written: opened, made durable, closed.

extension Volume {
    /// Opens for writing: replays the journal on the device, marks the volume as in use, frees what
    /// a crash left without a name.
    static func openForWriting(
        _ device: any BlockDevice, _ options: OpenOptions
    ) throws(Ext4Error) -> Volume {
        guard !device.isReadOnly else { throw .readOnlyVolume }
        var asItLies = options
        asItLies.access = .readOnly
        asItLies.superblock = .primary
        asItLies.journal = .ignore
        // Refused before anything is written, the replay included. Nor is it told of a journal that
        // is replayed next.
        var beforeReplay = asItLies
        beforeReplay.log = .none
        try checkWritable(try openBeforeReplay(device, beforeReplay).superblock)
        let report = try replayJournal(on: device, options: options)
        let source = try SuperblockSource.find(on: device, options: asItLies)
        try checkWritable(source.superblock)
        let reading = try open(faulty(device, options), options: asItLies)
        try reading.checkMultiMountProtection(options)

        let writing = try reading.prepareWriting(
            options, wasValid: reading.superblock.state & Superblock.validState != 0)
        let volume = Volume(reading, recovery: report, writing: writing)
        try volume.markOpen(isMount: options.countsAsMount)
        try volume.freeOrphans()
        return volume
    }

    /// The device that contents go to: with the fault `dataTooLate`, not at once.
    private static func faulty(
        _ device: any BlockDevice, _ options: OpenOptions
    ) -> any BlockDevice {
        #if MUTANTS
            if options.mutant == .dataTooLate { return LateDevice(device) }
        #endif
        return device
    }

    /// Refuses what cannot be written right, by name.
    static func checkWritable(_ superblock: Superblock) throws(Ext4Error) {
        var names = superblock.incompatible.subtracting(.writable).names
        names += superblock.readOnlyCompatible.subtracting(.writable).names
        if superblock.hasExternalJournal { names.append("external journal") }
        guard names.isEmpty else {
            throw .unsupported(UnsupportedFeatures(names, for: .writing))
        }
    }

    private func prepareWriting(
        _ options: OpenOptions, wasValid: Bool
    ) throws(Ext4Error) -> Writing {
        let journal: Journal
        #if MUTANTS
            let lateDevice = self.device as? LateDevice
            let device = lateDevice?.inner ?? self.device
        #endif
        let hasLog = superblock.compatible.contains(.hasJournal) && options.usesJournal
        if hasLog {
            journal = try Journal(
                device, at: journalLocation(), of: journalledVolume,
                is64Bit: superblock.incompatible.contains(.bit64),
                hasChecksums: superblock.hasMetadataChecksums,
                // What waits to be brought to its place takes no more than the cache does.
                imageBudget: min(max(options.cacheBytes, 1 << 20), 32 << 20),
                clock: options.clock, log: options.log)
        } else {
            journal = Journal(
                withoutLog: device, blockSize: blockSize,
                hasChecksums: superblock.hasMetadataChecksums, clock: options.clock,
                log: options.log)
        }
        #if MUTANTS
            journal.mutant.withLock { $0 = options.mutant }
            journal.lateDevice.withLock { $0 = lateDevice }
        #endif
        let groups = groups
        journal.beforeFreeze.withLock { $0 = { groups.sealBitmaps() } }
        let policy: OpenOptions.ErrorPolicy =
            switch superblock.errorBehaviour {
            case 1: .goOn
            case 3: .panic
            default: .remountReadOnly
            }
        let blocks = try BlockAllocator(
            groups, journal: journal, others: hasLog ? try journalLocation().ranges : [],
            limit: options.allocationLimit)
        return Writing(
            journal: journal, blocks: blocks,
            inodes: try InodeAllocator(
                groups, blocks: blocks, journal: journal, limit: options.allocationLimit),
            orphans: Orphans(inodes, file: try orphanFile()),
            superblock: try SuperblockBuffer(reader),
            errorPolicy: options.errorPolicy ?? policy, options: options, wasValid: wasValid)
    }

    /// The orphan file's blocks; nil on volumes without one.
    private func orphanFile() throws(Ext4Error) -> OrphanFile? {
        guard superblock.compatible.contains(.orphanFile),
            superblock.orphanFileInode.rawValue != 0
        else { return nil }
        let inode = try inodes.inode(superblock.orphanFileInode)
        guard inode.type == .regular, inode.linkCount > 0, !inode.usesInlineData else {
            throw .corrupt(
                .orphanFile, at: .init(inode: inode.number), .broken("its inode is not a file's"))
        }
        let seed = reader.checksBlocks ? inode.checksumSeed : nil
        var buffers: [Buffer] = []
        let count = inode.size >> UInt64(superblock.blockSizeLog2)
        // The kernel makes files of 32 to 512 blocks; all of them stay in memory.
        guard count <= 512 else {
            throw .corrupt(
                .orphanFile, at: .init(inode: inode.number),
                .field("i_size", value: inode.size, rule: "at most 512 blocks"))
        }
        for index in 0..<count {
            let logical = LogicalBlock(index)
            let place = Corruption.Place(inode: inode.number, logicalBlock: logical)
            let run = try map(of: inode).run(at: logical).suffix(from: logical)
            guard case .mapped(let block) = run.state else {
                throw .corrupt(.orphanFile, at: place, .broken("it is missing"))
            }
            let buffer = try reader.buffer(of: block, for: .orphanFile, at: place)
            _ = try buffer.withBytes { (bytes) throws(Ext4Error) in
                try OrphanFileBlock(
                    parsing: bytes, at: block, of: inode.number, checksumSeed: seed,
                    inodeCount: superblock.inodesCount)
            }
            buffers.append(buffer)
        }
        return OrphanFile(buffers, owner: inode.owner, blockSize: blockSize)
    }

    private func markOpen(isMount: Bool) throws(Ext4Error) {
        let writing = try requireWriting()
        let hasLog = writing.journal.area != nil
        let hasOrphanFile = superblock.compatible.contains(.orphanFile)
        if superblock.state & Superblock.errorState != 0 {
            reader.log(.warning, "the volume has errors: a check (fsck) is advised")
        } else if !hasLog, superblock.state & Superblock.validState == 0 {
            reader.log(.warning, "the volume was not unmounted: a check (fsck) is advised")
        }
        try writing.superblock.write(to: device) {
            Superblock.markOpen(
                &$0, at: writing.clock(), hasLog: hasLog, hasOrphanFile: hasOrphanFile,
                isMount: isMount)
        }
    }

    // MARK: Going on

    /// The same volume as its superblock is by now, for who had it open to go on with: whoever was
    /// known to have an inode has it still, also one without a name.
    ///
    /// Nobody may be using this one, whose log is empty; it is refused to writers from now on.
    func reopened() throws(Ext4Error) -> Volume {
        let writing = try requireWriting()
        do throws(Ext4Error) {
            let volume = try asItIsNow(writing)
            writing.journal.end()
            return volume
        } catch {
            // What this one knows of the volume is no longer so.
            writing.journal.fail(error)
            throw error
        }
    }

    private func asItIsNow(_ writing: Writing) throws(Ext4Error) -> Volume {
        var asItLies = writing.options
        asItLies.superblock = .primary
        let source = try SuperblockSource.find(on: device, options: asItLies)
        try Self.checkWritable(source.superblock)
        let reading = Volume(device, source, recovery: recovery, options: asItLies)
        let volume = Volume(
            reading, recovery: recovery,
            writing: try reading.prepareWriting(writing.options, wasValid: writing.wasValid))
        try volume.loadOrphans()
        try volume.inodes.takeOver(from: inodes)
        return volume
    }

    // MARK: Orphans

    private func loadOrphans() throws(Ext4Error) {
        try requireWriting().orphans.load(
            head: superblock.lastOrphan, inodeCount: superblock.inodesCount,
            firstInode: superblock.firstInode)
    }

    /// Frees the inodes that the last user of the volume left without a name, and cuts off those
    /// that it was cutting off.
    private func freeOrphans() throws(Ext4Error) {
        let writing = try requireWriting()
        do throws(Ext4Error) {
            try loadOrphans()
            for number in writing.orphans.inodes {
                let inode = try inodes.inode(number)
                reader.log(
                    .info,
                    "orphan \(number): \(inode.linkCount == 0 ? "freed" : "cut off at its size")")
                try inode.lock.exclusive { () throws(Ext4Error) in
                    if inode.linkCount == 0 {
                        try free(inode)
                    } else {
                        try finishTruncating(inode)
                    }
                }
            }
        } catch {
            // As the kernel: the volume is used all the same, and e2fsck is left to clean up.
            guard case .corrupt = error else { throw error }
            reader.log(.error, "orphans are left alone: \(error)")
            report(error)
        }
    }

    /// How the head of the chain of orphans gets into the superblock.
    var setOrphanHead: Orphans.SetHead {
        { [superblock = writing?.superblock] handle, number in
            superblock?.modify(in: &handle) {
                $0[Superblock.Layout.lastOrphan] = number.rawValue
            }
        }
    }

    // MARK: Durability

    /// Makes everything that was changed before durable.
    ///
    /// - Throws: `.io`, and from then on again: what was not durable then is lost.
    public func sync() throws(Ext4Error) {
        guard let writing else { return }
        try writing.journal.commitRunning()
        try writing.journal.flush()
    }

    /// Makes the contents and the attributes of `inode` durable (`fsync`).
    ///
    /// - Parameter dataOnly: leave out what is not needed to find the contents again (`fdatasync`).
    /// - Throws: `.io`, and from then on again.
    public func sync(_ inode: Inode, dataOnly: Bool = false) throws(Ext4Error) {
        guard let writing else { return }
        let last = dataOnly ? inode.lastDataChange : inode.lastChange
        guard let change = last, !writing.journal.isCommitted(change) else {
            // The contents may be in the device's own memory still.
            return try writing.journal.flush()
        }
        try writing.journal.commit(change)
    }

    /// Starts writing what waits in the journal: for the host to call every few seconds
    /// (`commit=`), so that a crash loses no more than those.
    ///
    /// - Throws: `.io`, and from then on again.
    public func commit() throws(Ext4Error) {
        try writing?.journal.commitRunning()
    }

    /// Brings everything to its place and marks the volume as unmounted. Nothing may be written
    /// afterwards.
    ///
    /// - Throws: `.io`, and what made the journal give up before; the volume then is as after a
    ///   crash, and the next one to open it recovers it.
    public func close() throws(Ext4Error) {
        guard let writing else { return }
        if let failure = writing.journal.failure { throw failure }
        for inode in inodes.kept {
            try inode.lock.exclusive { () throws(Ext4Error) in
                // It may have got a name since.
                guard inode.linkCount == 0 else { return }
                try free(inode)
            }
        }
        writing.windows.removeAll()
        try writing.journal.close()
        try writing.superblock.write(to: device) {
            Superblock.markClosed(
                &$0, at: writing.clock(),
                wasValid: writing.wasValid,
                has64Bit: superblock.incompatible.contains(.bit64),
                freeBlocks: writing.blocks.freeBlocks, freeInodes: UInt64(writing.inodes.freeInodes)
            )
        }
        writing.journal.end()
    }
}
