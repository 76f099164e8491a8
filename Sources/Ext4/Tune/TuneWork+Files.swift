// The journal and the file of orphans, made and freed.

extension TuneWork {
    /// Takes the journal from the superblock first, and then frees its blocks: cut off between the
    /// two, the inode is in use without a need, which a check mends.
    mutating func removeJournal() throws(TuneFailure) {
        let number = superblock.journalInode
        try writeSuperblock { bytes in
            typealias Layout = Superblock.Layout
            bytes[Layout.compatible] &=
                ~(CompatibleFeatures.hasJournal.rawValue | CompatibleFeatures.fastCommit.rawValue)
            bytes[Layout.journalInode] = 0
            bytes[Layout.journalDevice] = 0
            bytes.clear(Layout.journalUUID)
            Superblock.clearJournalBackup(&bytes)
        }
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
                try? volume.removeOwnFile(.journal)
                try volume.close()
                throw error
            }
        }
        try writeSuperblock { bytes in
            typealias Layout = Superblock.Layout
            bytes[Layout.compatible] |= CompatibleFeatures.hasJournal.rawValue
            bytes[Layout.journalInode] = InodeNumber.journal.rawValue
            bytes[Layout.journalDevice] = 0
            bytes.clear(Layout.journalUUID)
            record.withBytes { source in
                let start = Layout.journalBackup.offset
                bytes.store(source.extracting(InodeRecord.Layout.block), at: start)
                bytes[Field<UInt32>.le(start + 60)] = source[InodeRecord.Layout.sizeHigh]
                bytes[Field<UInt32>.le(start + 64)] = source[InodeRecord.Layout.sizeLow]
            }
            bytes[Layout.journalBackupType] = 1  // EXT3_JNL_BACKUP_BLOCKS
        }
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

extension Superblock {
    /// Clears the copy of the journal's map.
    static func clearJournalBackup(_ bytes: inout MutableRawSpan) {
        let start = Layout.journalBackup.offset
        bytes.clear(start..<start + 17 * 4)
        bytes[Layout.journalBackupType] = 0
    }
}

extension Volume {
    /// Frees the blocks of one of the volume's own files, of which the number stays reserved.
    fileprivate func removeOwnFile(_ number: InodeNumber) throws(Ext4Error) {
        let inode = try inodes.inode(number)
        try truncate(inode, to: 0, .privileged)
        try change { (handle, _) throws(Ext4Error) in
            try update(inode, in: &handle) { record in
                record = InodeRecord(zeroed: record.bytes.count, extraSize: 0)
            }
        }
    }

    /// Makes inode 8 a file of zeros with the superblock of an empty log before them.
    ///
    /// - Returns: its record.
    fileprivate func makeJournalFile(blocks: UInt64) throws(Ext4Error) -> InodeRecord {
        let inode = try inodes.inode(.journal)
        let now = try requireWriting().clock()
        let superblock = superblock
        try change { (handle, _) throws(Ext4Error) in
            try update(inode, in: &handle) { record in
                record = InodeRecord(zeroedFor: superblock)
                record[InodeRecord.Layout.mode] = 0o100600
                record[InodeRecord.Layout.linkCount] = 1
                if superblock.incompatible.contains(.extents) {
                    record.flags.insert(.extents)
                }
                MapRoot(emptyWithExtents: superblock.incompatible.contains(.extents))
                    .store(in: &record)
                record.setModificationTime(now)
                record.setChangeTime(now)
            }
        }
        let file = try self.inode(.journal)
        let piece = [UInt8](repeating: 0, count: 1 << 20)
        let end = blocks << UInt64(superblock.blockSizeLog2)
        var offset: UInt64 = 0
        while offset < end {
            let count = Int(min(UInt64(piece.count), end &- offset))
            try unsafe write(piece.span.bytes.extracting(0..<count), to: file, at: offset)
            offset &+= UInt64(count)
        }
        var first = [UInt8](repeating: 0, count: superblock.blockSize)
        do {
            var span = first.mutableSpan
            var raw = unsafe span.mutableBytes
            JournalSuperblock.writeNew(
                blockSize: superblock.blockSize, length: UInt32(clamping: blocks),
                fastCommitBlocks: 0, to: &raw)
        }
        try unsafe write(first.span.bytes, to: file, at: 0)
        return file.record
    }
}
