// Bringing a volume up to date with its journal, on the device itself.
//
// It is safe to be cut off anywhere: the blocks are durable before the journal says that it is
// empty (`Recovery.replay`), and the volume asks for a recovery until that is durable. Doing it
// again changes nothing.

extension Volume {
    /// Writes what the journal of the volume on `device` holds to its place, empties the journal
    /// and marks the volume as recovered.
    ///
    /// The outcome is looked at before anything is written: a replay that would leave no sound
    /// superblock is refused. Files that were deleted while they were open stay on the list of
    /// orphans, as after `e2fsck -E journal_only`.
    ///
    /// - Returns: What was replayed; nil when the journal was empty.
    /// - Throws: `.readOnlyVolume`, `.corrupt` for a journal that is not sound, `.unsupported`
    ///   for an external one, `.busy` when multi-mount protection says that a machine has the
    ///   volume open, or had when it crashed; `.io`.
    public static func replayJournal(
        on device: any BlockDevice, options: OpenOptions = .init()
    ) throws(Ext4Error) -> RecoveryReport? {
        guard !device.isReadOnly else { throw .readOnlyVolume }
        var options = options
        options.journal = .replayInMemory
        let source = try SuperblockSource.find(on: device, options: options)
        try checkFeatures(of: source.superblock, recovers: true)
        let volume = Volume(device, source, recovery: nil, options: options)
        try volume.checkMultiMountProtection(options)
        guard let recovery = try volume.scanJournal(options) else {
            // A crash between emptying the journal and saying so leaves only the mark.
            if source.superblock.incompatible.contains(.recover) {
                try markRecovered(device, source, sawErrors: false)
            }
            return nil
        }
        let fresh = try source.read(again: recovery.overlay(over: device), options: options)
        try checkFeatures(of: fresh.superblock, recovers: true)

        try recovery.replay(to: device)
        let sawErrors = recovery.report.recordedError != 0
        try markRecovered(device, source, sawErrors: sawErrors)
        if sawErrors {
            try Recovery.patchSuperblock(
                of: volume.journalLocation(), on: device, volume.journalledVolume
            ) { JournalSuperblock.clearErrno(&$0) }
            try device.flush()
        }
        options.log(.info, "journal replayed: \(recovery.report)")
        return recovery.report
    }

    /// Refuses a volume that another machine may have open. Whether its number still moves would
    /// take minutes of watching: that is left to a mount by the kernel.
    private func checkMultiMountProtection(_ options: OpenOptions) throws(Ext4Error) {
        guard superblock.incompatible.contains(.mmp) else { return }
        guard superblock.contains(superblock.mmpBlock) else {
            throw .corrupt(
                .superblock,
                .field("s_mmp_block", value: superblock.mmpBlock.rawValue, rule: "in the volume"))
        }
        let (byteOffset, overflow) = superblock.mmpBlock.rawValue.multipliedReportingOverflow(
            by: UInt64(blockSize))
        guard !overflow else { throw .invalidArgument }
        let bytes = try device.read(at: byteOffset, count: MultiMountProtection.Layout.size)
        let span = bytes.span
        let block = try MultiMountProtection(
            parsing: unsafe span.bytes, at: superblock.mmpBlock,
            checksumSeed: superblock.hasMetadataChecksums && options.verifiesChecksums
                ? superblock.checksumSeed : nil)
        guard block.state == .clean else { throw .busy }
    }

    /// Takes the mark that the volume needs recovery out of its superblock; the error that the
    /// journal recorded, if any, is the volume's from now on.
    private static func markRecovered(
        _ device: any BlockDevice, _ source: SuperblockSource, sawErrors: Bool
    ) throws(Ext4Error) {
        var bytes = try device.read(at: source.byteOffset, count: Superblock.byteCount)
        do {
            var span = bytes.mutableSpan
            var raw = unsafe span.mutableBytes
            Superblock.markRecovered(&raw, sawErrors: sawErrors)
        }
        let span = bytes.span
        try device.write(unsafe span.bytes, at: source.byteOffset)
        try device.flush()
    }
}
