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
        try makeSteps(to: goal, options, &report) { () throws(ResizeFailure) -> UInt64 in
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
            return step.blocks
        } finish: { () throws(ResizeFailure) in
            try writeBackups(on: device, options)
        }
    }

    /// Makes steps until the volume has `goal` blocks, each of which makes it longer and gives its
    /// blocks then; and finishes if it has become any longer, also when a later step fails.
    private static func makeSteps(
        to goal: UInt64, _ options: ResizeOptions, _ report: inout ResizeReport,
        step: () throws(ResizeFailure) -> UInt64, finish: () throws(ResizeFailure) -> Void
    ) throws(ResizeFailure) {
        var failure: ResizeFailure?
        do throws(ResizeFailure) {
            while report.newBlocks < goal {
                if options.isCancelled?() == true {
                    report.isCancelled = true
                    break
                }
                report.newBlocks = try step()
            }
        } catch {
            failure = error
        }
        if report.newBlocks != report.oldBlocks { try finish() }
        if let failure { throw failure }
    }

    /// Makes a volume larger that is open for writing, and stays so: for a mount.
    ///
    /// Nobody else may be using `volume` until this returns. It is another one then, whose inodes are
    /// to be looked up anew; references (`Volume.acquire(_:)`) count on. The old one is refused to
    /// writers. Also after a failure `volume` is the one to go on with.
    ///
    /// - Throws: `.refused` for a size that is less than it has, or that format, device or journal do
    ///   not allow, and for a volume with errors; `.volume` for what the device says.
    public static func grow(
        _ volume: inout Volume, to blocks: UInt64, options: ResizeOptions = .init()
    ) throws(ResizeFailure) -> ResizeReport {
        let old = try presentSuperblock(of: volume)
        let goal = old.usableBlocks(blocks)
        var report = ResizeReport(
            oldBlocks: old.blocksCount, newBlocks: old.blocksCount, blockSize: old.blockSize)
        guard goal != old.blocksCount else { return report }
        guard goal > old.blocksCount else {
            throw .refused(
                "a mounted volume can only be made larger; unmount it to make it smaller")
        }
        try checkGoal(goal, old, volume.device)
        var growing = volume
        defer { volume = growing }
        try makeSteps(to: goal, options, &report) { () throws(ResizeFailure) -> UInt64 in
            try ResizeFailure.wrap { () throws(Ext4Error) in try growing.sync() }
            var step = try VolumeGrowth(growing, to: goal, options)
            growing = try ResizeFailure.wrap { () throws(Ext4Error) in
                try step.runWhileOpen()
                return try growing.reopened()
            }
            return step.blocks
        } finish: { () throws(ResizeFailure) in
            try ResizeFailure.wrap { () throws(Ext4Error) in
                try BackupCopies(device: growing.device, superblock: growing.superblock).write {
                    options.tell(.backups, $0, of: $1)
                }
            }
        }
        return report
    }

    /// The superblock of a volume that is open, as it is by now, if it may be resized.
    private static func presentSuperblock(of volume: Volume) throws(ResizeFailure) -> Superblock {
        let (superblock, room) = try ResizeFailure.wrap {
            () throws(Ext4Error) -> (Superblock, Int) in
            let writing = try volume.requireWriting()
            let bytes = writing.superblock.bytes
            return (
                try unsafe Superblock(parsing: bytes.span.bytes, verifiesChecksum: false),
                writing.journal.largestTransaction
            )
        }
        if superblock.state & Superblock.errorState != 0 || superblock.errorCount > 0 {
            throw .refused("the volume has errors; unmount it and run ext4 fsck -fy on it first")
        }
        guard VolumeGrowth.fits(superblock, credits: room) else {
            throw .refused(
                "its journal is too small for it to grow while mounted; unmount it first")
        }
        return superblock
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

    /// Refuses sizes that the volume's format does not allow, or the device.
    private static func checkGoal(
        _ goal: UInt64, _ old: Superblock, _ device: any BlockDevice
    ) throws(ResizeFailure) {
        try checkFormat(of: goal, old)
        let room = device.byteCount >> UInt64(old.blockSizeLog2)
        guard goal <= room else {
            throw .refused("the device has room for \(room) blocks only")
        }
    }

    /// Refuses a number of blocks that the format of a volume does not allow, however large its
    /// device is.
    ///
    /// - Throws: `.refused`.
    public static func checkFormat(
        of goal: UInt64, _ old: Superblock
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
        guard goal <= UInt64(Int64.max) >> UInt64(old.blockSizeLog2) else {
            throw .refused("no device is as large as that")
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
