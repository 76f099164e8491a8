// The journal and the file of orphans, made and freed.

extension TuneWork {
    /// Takes the journal from the superblock first, and then frees its blocks: cut off between the
    /// two, the inode is in use without a need, which a check mends.
    mutating func removeJournal() throws(TuneFailure) {
        let number = superblock.journalInode
        try writeSuperblock { Superblock.clearJournal(in: &$0) }
        report.featuresOff.compatible.insert(.hasJournal)
        let work = self
        try TuneFailure.wrap { () throws(Ext4Error) in
            let volume = try Volume.open(
                work.device, options: work.options.openOptions(.readWrite))
            try volume.removeOwnFile(number)
            try volume.close()
        }
        try refresh()
    }

    /// Makes a journal's file first, and then tells the superblock of it.
    mutating func addJournal() throws(TuneFailure) {
        let blockSizeLog2 = UInt64(superblock.blockSizeLog2)
        let length: UInt64
        if let size = changes.journalMebibytes {
            length = (size << 20) >> blockSizeLog2
        } else if let blocks = FormatDefaults.journalBlocks(superblock.blocksCount) {
            length = UInt64(blocks)
        } else {
            throw .refused("the volume is too small for a journal: it has less than 2048 blocks")
        }
        let work = self
        let record = try TuneFailure.wrap { () throws(Ext4Error) -> InodeRecord in
            let volume = try Volume.open(
                work.device, options: work.options.openOptions(.readWrite))
            do throws(Ext4Error) {
                let record = try volume.makeJournalFile(blocks: length)
                try volume.close()
                return record
            } catch {
                try volume.close()
                throw error
            }
        }
        try writeSuperblock { Superblock.setJournal(record, in: &$0) }
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
            let volume = try Volume.open(
                work.device, options: work.options.openOptions(.readWrite))
            let inode = try volume.inodes.inode(number)
            try volume.free(inode)
            try volume.close()
        }
        try refresh()
    }
}
