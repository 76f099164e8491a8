/// Makes volumes larger or smaller.
public enum Resizer {
    /// What a volume of `blocks` blocks could be had: the same, or less where a last group would
    /// have no room for its own structures.
    public static func usableBlocks(_ blocks: UInt64, of superblock: Superblock) -> UInt64 {
        superblock.usableBlocks(blocks)
    }

    /// Makes the volume on `device` one of `blocks` blocks.
    ///
    /// The device must have room for them when the volume grows; when it shrinks, what lies behind
    /// its end is of no more use. Whatever breaks it off, the volume is sound, or is made so by a
    /// check (`fsck`), and the resize can be done again.
    public static func resize(
        _ device: any BlockDevice, to blocks: UInt64, isMinimum: Bool = false,
        options: ResizeOptions = .init()
    ) throws(ResizeFailure) -> ResizeReport {
        var old = try checkedSuperblock(of: device, options)
        if try isCutOff(device, options) {
            try ResizeFailure.wrap { () throws(Ext4Error) in
                try PassingJournal(device: device, options: options).remove()
            }
            old = try checkedSuperblock(of: device, options)
        }
        let goal = old.usableBlocks(blocks)
        var report = ResizeReport(
            oldBlocks: old.blocksCount, newBlocks: old.blocksCount, blockSize: old.blockSize)
        guard goal != old.blocksCount else {
            try finish(device, options)
            return report
        }
        guard goal > old.blocksCount else {
            var shrink = try VolumeShrink(device, old, to: goal, isMinimum: isMinimum, options)
            var failure: ResizeFailure?
            do throws(ResizeFailure) {
                try shrink.run(&report)
            } catch {
                failure = error
            }
            if report.newBlocks != old.blocksCount { try writeBackups(on: device, options) }
            if let failure { throw failure }
            return report
        }
        try grow(device, old, to: goal, options, &report)
        return report
    }

    /// The fewest blocks that what the volume on `device` holds needs.
    public static func minimumBlocks(
        of device: any BlockDevice, options: ResizeOptions = .init()
    ) throws(ResizeFailure) -> UInt64 {
        var reading = options.openOptions
        reading.access = .readOnly
        return try ResizeFailure.wrap { () throws(Ext4Error) in
            let volume = try Volume.open(device, options: reading)
            // Of what is not resized nothing is counted either.
            try Volume.checkWritable(volume.superblock)
            return try MinimumSize(volume).blocks()
        }
    }

    /// The superblock of a volume that may be resized.
    private static func checkedSuperblock(
        of device: any BlockDevice, _ options: ResizeOptions
    ) throws(ResizeFailure) -> Superblock {
        var reading = options.openOptions
        reading.access = .readOnly
        let volume = try ResizeFailure.wrap { () throws(Ext4Error) in
            try Volume.open(device, options: reading)
        }
        let superblock = volume.superblock
        guard !options.isForced else { return superblock }
        if superblock.state & Superblock.errorState != 0 || superblock.errorCount > 0 {
            throw .refused("the volume has errors; run ext4 fsck -fy on it first")
        }
        if superblock.state & Superblock.validState == 0 {
            throw .refused("the volume was not unmounted cleanly; run ext4 fsck -fy on it first")
        }
        return superblock
    }

    /// Whether a resize was cut off that had given the volume a journal for its own time.
    private static func isCutOff(
        _ device: any BlockDevice, _ options: ResizeOptions
    ) throws(ResizeFailure) -> Bool {
        var reading = options.openOptions
        reading.access = .readOnly
        return try ResizeFailure.wrap { () throws(Ext4Error) in
            try PassingJournal.isLeft(in: Volume.open(device, options: reading))
        }
    }

    /// Ends what a resize to the size that the volume has by now did not come to.
    private static func finish(
        _ device: any BlockDevice, _ options: ResizeOptions
    ) throws(ResizeFailure) {
        guard !device.isReadOnly else { return }
        let isOutOfDate = try ResizeFailure.wrap { () throws(Ext4Error) -> Bool in
            let volume = try Volume.open(device, options: options.openOptions)
            let copies = BackupCopies(device: device, superblock: volume.superblock)
            try volume.close()
            return copies.mayBeOutOfDate
        }
        if isOutOfDate { try writeBackups(on: device, options) }
    }

    // MARK: Growing

    private static func grow(
        _ device: any BlockDevice, _ old: Superblock, to goal: UInt64, _ options: ResizeOptions,
        _ report: inout ResizeReport
    ) throws(ResizeFailure) {
        try checkGoal(goal, old, device)
        var failure: ResizeFailure?
        do throws(ResizeFailure) {
            // Every step makes the volume longer.
            while report.newBlocks < goal {
                if options.isCancelled?() == true {
                    report.isCancelled = true
                    break
                }
                let volume = try ResizeFailure.wrap { () throws(Ext4Error) in
                    try openForStep(device, options)
                }
                var step: VolumeGrowth
                do throws(ResizeFailure) {
                    step = try VolumeGrowth(volume, to: goal, options)
                } catch {
                    try? volume.close()
                    throw error
                }
                try ResizeFailure.wrap { () throws(Ext4Error) in try step.run() }
                report.newBlocks = step.blocks
            }
        } catch {
            failure = error
        }
        if report.newBlocks != old.blocksCount { try writeBackups(on: device, options) }
        if let failure { throw failure }
    }

    /// Opens the volume; without its journal when that is too short for one step.
    private static func openForStep(
        _ device: any BlockDevice, _ options: ResizeOptions
    ) throws(Ext4Error) -> Volume {
        var opening = options.openOptions
        let volume = try Volume.open(device, options: opening)
        let writing = try volume.requireWriting()
        guard !VolumeGrowth.fits(volume.superblock, credits: writing.journal.largestTransaction)
        else { return volume }
        try volume.close()
        opening.usesJournal = false
        return try Volume.open(device, options: opening)
    }

    /// Refuses sizes that the volume's format does not allow.
    private static func checkGoal(
        _ goal: UInt64, _ old: Superblock, _ device: any BlockDevice
    ) throws(ResizeFailure) {
        if !old.incompatible.contains(.bit64), goal > UInt64(UInt32.max) {
            throw .refused(
                "a volume without the feature 64bit has 4294967295 blocks at most; "
                    + "resize2fs -b switches it on")
        }
        let perGroup = UInt64(old.blocksPerGroup)
        let groups = (goal &- UInt64(old.firstDataBlock) &+ perGroup &- 1) / perGroup
        let (inodes, overflow) = groups.multipliedReportingOverflow(
            by: UInt64(old.inodesPerGroup))
        guard !overflow, inodes <= UInt64(UInt32.max) else {
            let most = UInt64(UInt32.max) / UInt64(old.inodesPerGroup)
            throw .refused(
                "it would have more than 4294967295 inodes; "
                    + "\(old.end(ofGroups: most)) blocks is the most with this many in a group")
        }
        let room = device.byteCount >> UInt64(old.blockSizeLog2)
        guard goal <= room else {
            throw .refused("the device has room for \(room) blocks only")
        }
    }

    /// Writes the copies of superblock and descriptors.
    private static func writeBackups(
        on device: any BlockDevice, _ options: ResizeOptions
    ) throws(ResizeFailure) {
        var reading = options.openOptions
        reading.access = .readOnly
        try ResizeFailure.wrap { () throws(Ext4Error) in
            let volume = try Volume.open(device, options: reading)
            try BackupCopies(device: device, superblock: volume.superblock).write {
                options.tell(.backups, $0, of: $1)
            }
        }
    }
}
