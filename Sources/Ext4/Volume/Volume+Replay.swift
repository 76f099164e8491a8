// Bringing a volume's journal up to date on the device, as the kernel does at a mount.

extension Volume {
    /// Writes what the journal of the volume on `device` holds to its place, empties the journal
    /// and marks the volume as recovered.
    ///
    /// Everything is checked before the first write: a journal that is damaged, or that would make
    /// the volume one that cannot be opened, leaves it as it is. Cut off anywhere, it can be done
    /// again. Orphaned inodes are left to the next writer or to `e2fsck`.
    ///
    /// Only the primary superblock is used, whatever `options` say: a volume without one needs
    /// repair first.
    ///
    /// - Returns: what was replayed; nil when the journal was empty.
    /// - Throws: `.readOnlyVolume`, `.busy` when multi-mount protection says that a machine has
    ///   the volume open or crashed with it, `.corrupt`, `.unsupported` and `.io`.
    public static func replayJournal(
        on device: any BlockDevice, options: OpenOptions = .init()
    ) throws(Ext4Error) -> RecoveryReport? {
        guard !device.isReadOnly else { throw .readOnlyVolume }
        var asItLies = options
        asItLies.access = .readOnly
        asItLies.superblock = .primary
        asItLies.journal = .ignore
        asItLies.log = .none
        let before = try openBeforeReplay(device, asItLies)
        guard before.superblock.compatible.contains(.hasJournal) else { return nil }
        guard !before.superblock.hasExternalJournal else {
            throw .unsupported(UnsupportedFeatures(["external journal"], for: .recovery))
        }
        try before.checkMultiMountProtection(options)
        let bytes = try device.read(at: Superblock.byteOffset, count: Superblock.byteCount)
        let location = try before.journalLocation()
        let recovery = try Recovery.scan(
            device, journal: location, volume: before.journalledVolume, log: options.log)
        if let recovery {
            let after = try Volume.open(recovery.overlay(over: device), options: asItLies)
            try checkContinuity(from: before.superblock, to: after.superblock)
            guard try after.journalLocation() == location else {
                throw .corrupt(
                    .journal, at: .init(inode: after.superblock.journalInode),
                    .broken("its replay would move the journal"))
            }
            try recovery.replay(to: device)
        }
        // Only what is sound now is marked as such.
        _ = try Volume.open(device, options: asItLies)
        try markRecovered(before, bytes, at: location, on: device)
        return recovery?.report
    }

    /// The volume as it lies, before its journal is replayed.
    ///
    /// A crash may have torn the superblock, whose two sectors are on their way to their place with
    /// every checkpoint. The journal has it whole then, and until that is replayed the checksum
    /// counts for nothing.
    static func openBeforeReplay(
        _ device: any BlockDevice, _ asItLies: OpenOptions
    ) throws(Ext4Error) -> Volume {
        do throws(Ext4Error) {
            return try open(device, options: asItLies)
        } catch {
            guard case .corrupt(let corruption) = error, corruption.structure == .superblock else {
                throw error
            }
            var trusting = asItLies
            trusting.verifiesChecksums = false
            guard let volume = try? open(device, options: trusting),
                volume.superblock.compatible.contains(.hasJournal),
                volume.superblock.incompatible.contains(.recover)
            else { throw error }
            return volume
        }
    }

    /// Refuses a journal whose replay would change where the journal is, or what a block is.
    static func checkContinuity(from old: Superblock, to new: Superblock) throws(Ext4Error) {
        func check(_ holds: Bool, _ field: String, _ value: UInt64) throws(Ext4Error) {
            guard holds else {
                throw .corrupt(
                    .superblock,
                    .field(field, value: value, rule: "what it was before the journal's replay"))
            }
        }
        try check(old.blockSize == new.blockSize, "s_log_block_size", UInt64(new.blockSize))
        try check(
            old.journalInode == new.journalInode, "s_journal_inum",
            UInt64(new.journalInode.rawValue))
        try check(
            new.compatible.contains(.hasJournal), "s_feature_compat",
            UInt64(new.compatible.rawValue))
    }

    /// Takes the mark of a dirty journal from the superblock, and keeps what is known of errors.
    private static func markRecovered(
        _ before: Volume, _ bytesBefore: [UInt8], at location: JournalLocation,
        on device: any BlockDevice
    ) throws(Ext4Error) {
        let journal = try Recovery.readSuperblock(device, location, before.journalledVolume)
        let found = try device.read(at: Superblock.byteOffset, count: Superblock.byteCount)
        var bytes = found
        do {
            var span = bytes.mutableSpan
            var raw = unsafe span.mutableBytes
            unsafe Superblock.markRecovered(
                &raw, keepingErrorsOf: bytesBefore.span.bytes, hasJournalError: journal.errno != 0)
        }
        if bytes != found {
            try unsafe device.write(bytes.span.bytes, at: Superblock.byteOffset)
            try device.flush()
        }
        // Only now that the volume's superblock tells of the error may the journal forget it.
        guard journal.errno != 0 else { return }
        try Recovery.patchSuperblock(of: location, on: device, before.journalledVolume) { bytes in
            JournalSuperblock.clearErrno(&bytes)
        }
        try device.flush()
    }
}
