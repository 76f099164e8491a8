// The journal and the file of orphans, made and freed.

extension TuneWork {
    /// The volume open for writing. That a check is due is no news.
    private func openVolume() throws(Ext4Error) -> Volume {
        var opening = options.openOptions(.readWrite)
        opening.log = .none
        return try Volume.open(device, options: opening)
    }

    /// Takes the journal from the superblock first, and then frees its blocks: cut off between the
    /// two, the inode is in use without a need, which a check mends.
    mutating func removeJournal() throws(TuneFailure) {
        let number = superblock.journalInode
        try writeSuperblock { Superblock.clearJournal(in: &$0) }
        report.featuresOff.compatible.insert(.hasJournal)
        let work = self
        overheadChange = try TuneFailure.wrap { () throws(Ext4Error) in
            let volume = try work.openVolume()
            let inode = try volume.inodes.inode(number)
            let blocks = inode.size >> UInt64(work.superblock.blockSizeLog2)
            if number == .journal {
                try volume.removeOwnFile(number)
            } else {
                // One that was made on a mounted volume has a name: it stays as a file.
                try volume.change { (handle, _) throws(Ext4Error) in
                    try volume.update(inode, in: &handle) { $0.flags.remove(.immutable) }
                }
            }
            try volume.close()
            return -Int64(clamping: blocks)
        }
        try refresh()
    }

    /// The blocks of the journal that is to be made.
    func journalLength() throws(TuneFailure) -> UInt64 {
        if let size = changes.journalMebibytes {
            return (size << 20) >> UInt64(superblock.blockSizeLog2)
        }
        guard let blocks = FormatDefaults.journalBlocks(superblock.blocksCount) else {
            throw .refused("the volume is too small for a journal: it has less than 2048 blocks")
        }
        return UInt64(blocks)
    }

    /// Refuses what stands in the way of files that come and go by the volume's own way of writing.
    func checkFiles() throws(TuneFailure) {
        let isMade = on.compatible.contains(.hasJournal)
        if !isMade { try checkJournalSize() }
        guard
            isMade || off.compatible.contains(.hasJournal) || off.compatible.contains(.orphanFile)
        else { return }
        let length = isMade ? try journalLength() : 0
        let work = self
        let isInUse = try TuneFailure.wrap { () throws(Ext4Error) in
            try Volume.checkWritable(work.superblock)
            guard length <= work.superblock.freeBlocksCount else { throw .noSpace }
            guard isMade else { return false }
            let volume = try Volume.open(work.device, options: work.options.openOptions(.readOnly))
            let record = try volume.inodes.inode(.journal).record
            return !record.withBytes { bytes in
                bytes.extracting(InodeRecord.Layout.block).isAllZero
            }
        }
        if isInUse {
            throw .refused("inode 8 is no journal, but in use; run ext4 fsck -fy on it first")
        }
    }

    /// Refuses another size for a journal that is there; it is no wish for one where there is none.
    private func checkJournalSize() throws(TuneFailure) {
        guard let size = changes.journalMebibytes else { return }
        guard superblock.compatible.contains(.hasJournal), !superblock.hasExternalJournal else {
            throw .refused("the size of a journal goes with -O has_journal")
        }
        let work = self
        let length = try TuneFailure.wrap { () throws(Ext4Error) in
            try Volume.open(work.device, options: work.options.openOptions(.readOnly))
                .inodes.inode(work.superblock.journalInode).size
        }
        guard length == size << 20 else {
            throw .refused(
                "the volume has a journal of \(length >> 20) MiB already;"
                    + " -O ^has_journal takes it away")
        }
    }

    /// Makes a journal's file first, and then tells the superblock of it.
    mutating func addJournal() throws(TuneFailure) {
        let length = try journalLength()
        let work = self
        let record: InodeRecord
        do throws(Ext4Error) {
            let volume = try work.openVolume()
            do throws(Ext4Error) {
                record = try volume.makeJournalFile(blocks: length)
                try volume.close()
            } catch {
                try volume.close()
                throw error
            }
        } catch {
            // Nothing was changed, then.
            if error == .noSpace { try restoreState() }
            throw .volume(error)
        }
        try writeSuperblock { Superblock.setJournal(record, in: &$0) }
        overheadChange = Int64(clamping: length)
    }

    /// Takes the file of orphans from the superblock, and frees it: an inode with no name, which
    /// a check would find.
    mutating func removeOrphanFile() throws(TuneFailure) {
        let number = superblock.orphanFileInode
        try writeSuperblock { bytes in
            typealias Layout = Superblock.Layout
            bytes[Layout.compatible] &= ~CompatibleFeatures.orphanFile.rawValue
            bytes[Layout.readOnlyCompatible] &=
                ~ReadOnlyCompatibleFeatures.orphanPresent.rawValue
            bytes[Layout.orphanFileInode] = 0
        }
        let work = self
        try TuneFailure.wrap { () throws(Ext4Error) in
            let volume = try work.openVolume()
            let inode = try volume.inodes.inode(number)
            try volume.free(inode)
            try volume.close()
        }
        try refresh()
    }
}
