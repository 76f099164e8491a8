extension Volume {
    /// Leaves the last `count` blocks of the journal on `device` to its log (`s_first`), so that it
    /// soon goes round and has to be checkpointed. Nothing is done to a log that is shorter.
    ///
    /// For tests: e2fsck takes such a journal, the kernel wants a log of 1,024 blocks at least.
    ///
    /// - Throws: `.corrupt` for a journal that is not sound or not empty, `.io`.
    package static func shortenLog(
        of device: any BlockDevice, to count: UInt32
    ) throws(Ext4Error) {
        let volume = try Volume.open(device)
        guard volume.recovery == nil else { throw .busy }
        let location = try volume.journalLocation()
        let superblock = try Recovery.readSuperblock(device, location, volume.journalledVolume)
        guard superblock.end > count, superblock.end - count > superblock.first else { return }
        let first = superblock.end - count
        try Recovery.patchSuperblock(of: location, on: device, volume.journalledVolume) { bytes in
            bytes[JournalSuperblock.Layout.first] = first
            JournalSuperblock.updateChecksum(&bytes)
        }
    }
}
