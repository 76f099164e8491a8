// The journal that a volume without one has while inodes get other numbers. There is no order of
// single writes in which all names of an inode lead to the same one at every moment; in transactions
// they do.
//
// It lies behind the new end, where nothing stays anyway. Cut off, the volume is one with a journal
// to replay; the generation of its inode tells the next resize to take it away.

/// A journal for the time of a resize.
struct PassingJournal {
    let device: any BlockDevice
    let options: ResizeOptions

    /// The generation of its inode.
    private static let generation: UInt32 = 0x5253_5A4A
    /// Its sizes in blocks, the best one first.
    private static let sizes: [UInt64] = [4096, 1024]

    /// Gives the volume a journal behind `end`, if there is room.
    ///
    /// - Returns: whether it has one now.
    func add(behind end: BlockNumber) throws(Ext4Error) -> Bool {
        let volume = try Volume.open(device, options: options.openOptions)
        let superblock = volume.superblock
        var record: InodeRecord?
        do throws(Ext4Error) {
            for size in Self.sizes where record == nil && superblock.revision > 0 {
                do throws(Ext4Error) {
                    record = try volume.makeJournalFile(
                        blocks: size, behind: end, generation: Self.generation)
                } catch {
                    guard error == .noSpace else { throw error }
                }
            }
        } catch {
            try? volume.close()
            throw error
        }
        guard let record else {
            try volume.close()
            return false
        }
        // Until the superblock names it, a check is due.
        try volume.close(isComplete: false)
        let wasValid = superblock.state & Superblock.validState != 0
        try SuperblockChange(device: device).write(options.clock()) {
            Superblock.setJournal(record, in: &$0)
            if wasValid { $0[Superblock.Layout.state] |= Superblock.validState }
        }
        return true
    }

    /// Whether a volume has such a journal, or what is left of one: a resize was cut off.
    static func isLeft(in volume: Volume) throws(Ext4Error) -> Bool {
        guard volume.superblock.revision > 0 else { return false }
        let inode = try volume.inodes.inode(.journal)
        return inode.linkCount > 0 && inode.attributes.generation == generation
    }

    /// Takes the journal away.
    func remove() throws(Ext4Error) {
        var opening = options.openOptions
        // What waits in it is replayed first.
        try Volume.open(device, options: opening).close()
        // A check is due until all of it is gone.
        opening.usesJournal = false
        let volume = try Volume.open(device, options: opening)
        try volume.requireWriting().superblock.write(to: device) {
            Superblock.clearJournal(in: &$0)
        }
        try volume.removeOwnFile(.journal)
        try volume.close()
    }
}
