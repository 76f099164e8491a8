/// Changes what a volume that nobody has open is: its label, its UUID, its features.
public enum Tuner {
    /// Changes the volume on `device`.
    ///
    /// The journal is replayed first, when it must be. What takes more than the superblock is done
    /// in an order in which a crash leaves a volume that is sound, or that a check (`fsck`) makes so;
    /// then the same change can be made again.
    ///
    /// - Throws: `.refused` with words that say what to do, before anything was changed; `.volume`
    ///   for what the engine met.
    public static func tune(
        _ device: any BlockDevice, _ changes: TuneChanges, options: TuneOptions = .init()
    ) throws(TuneFailure) -> TuneReport {
        let superblock = try cleanSuperblock(of: device, options)
        var work = TuneWork(device: device, superblock: superblock, changes, options)
        try work.plan()
        try work.run()
        return work.report
    }

    /// The superblock of a volume that is up to date with its journal.
    private static func cleanSuperblock(
        of device: any BlockDevice, _ options: TuneOptions
    ) throws(TuneFailure) -> Superblock {
        try TuneFailure.wrap { () throws(Ext4Error) in
            let found = try SuperblockSource.find(
                on: device, options: options.openOptions(.readOnly))
            var superblock = found.superblock
            let unknown =
                superblock.incompatible.subtracting(.readable).names
                + superblock.readOnlyCompatible.subtracting(.known).names
            guard unknown.isEmpty else {
                throw .unsupported(UnsupportedFeatures(unknown, for: .writing))
            }
            if superblock.incompatible.contains(.recover) || superblock.lastOrphan.rawValue != 0
                || superblock.readOnlyCompatible.contains(.orphanPresent)
            {
                try Volume.open(device, options: options.openOptions(.readWrite)).close()
                superblock = try found.read(
                    again: device, options: options.openOptions(.readOnly)
                ).superblock
            }
            return superblock
        }
    }
}

/// One change to one volume.
struct TuneWork {
    let device: any BlockDevice
    /// The superblock as it is now.
    private(set) var superblock: Superblock
    let changes: TuneChanges
    let options: TuneOptions
    var report = TuneReport()

    private(set) var on = FeatureMask()
    private(set) var off = FeatureMask()
    private var ways: [FeatureSwitch] = []
    /// The superblock as it was before anything was changed.
    let original: Superblock
    /// Whether the volume is marked as sound again by the change of the superblock.
    private(set) var restoresState = false
    /// Blocks that a new journal takes, or one that goes gives back, as `s_overhead_clusters` counts.
    var overheadChange: Int64 = 0

    init(
        device: any BlockDevice, superblock: Superblock, _ changes: TuneChanges,
        _ options: TuneOptions
    ) {
        self.device = device
        self.superblock = superblock
        original = superblock
        self.changes = changes
        self.options = options
    }

    private var features: FeatureMask {
        FeatureMask(
            superblock.compatible, superblock.incompatible, superblock.readOnlyCompatible)
    }

    // MARK: Planning

    /// Refuses what cannot be done; nothing is changed yet.
    mutating func plan() throws(TuneFailure) {
        try planFeatures()
        try checkValues()
        try checkFiles()
        if !options.isForced {
            try checkMultiMount()
            try checkState()
        }
        if rewritesChecksums { try checkChecksums() }
    }

    /// Refuses to do what takes more than the superblock on a volume that is due for a check. Nor is
    /// it said to be done: the superblock may have it already, of a change that was cut off.
    private func checkState() throws(TuneFailure) {
        let isAsked = (FeatureSwitch.on + FeatureSwitch.off).contains { entry in
            if case .bit = entry.way { return false }
            return changes.featuresOn.contains(entry.feature)
                || changes.featuresOff.contains(entry.feature)
        }
        guard isLarge || isAsked else { return }
        if superblock.state & Superblock.errorState != 0 || superblock.errorCount > 0 {
            throw .refused("the volume has errors; run ext4 fsck -fy on it first")
        }
        if superblock.state & Superblock.validState == 0 {
            throw .refused("the volume was not unmounted cleanly; run ext4 fsck -fy on it first")
        }
    }

    /// Refuses a volume with a structure that has a wrong checksum: it would be met on the way.
    private func checkChecksums() throws(TuneFailure) {
        do throws(Ext4Error) {
            _ = try ChecksumRewrite(
                device: UnwrittenDevice(device), from: superblock, to: futureSuperblock()
            ).run { options.progress?($0, $1 &* 2) }
        } catch {
            guard case .corrupt(let corruption) = error else { throw .volume(error) }
            throw .refused("\(corruption); nothing was changed; run ext4 fsck -fy on it first")
        }
    }

    /// The superblock as it shall be.
    private func futureSuperblock() throws(Ext4Error) -> Superblock {
        let bytes = try SuperblockChange(device: device).bytes(options.clock()) { patch(&$0) }
        return try unsafe Superblock(parsing: bytes.span.bytes)
    }

    /// Refuses a volume that another machine has open, as far as its block can tell.
    private func checkMultiMount() throws(TuneFailure) {
        guard superblock.incompatible.contains(.mmp) else { return }
        let work = self
        try TuneFailure.wrap { () throws(Ext4Error) in
            let superblock = work.superblock
            let number = superblock.mmpBlock
            guard superblock.contains(number) else {
                throw .corrupt(
                    .multiMountProtection,
                    .field("s_mmp_block", value: number.rawValue, rule: "inside the volume"))
            }
            let block = try work.device.read(
                at: number.rawValue << UInt64(superblock.blockSizeLog2), count: superblock.blockSize
            )
            let protection = try MultiMountProtection(
                parsing: unsafe block.span.bytes, at: number,
                checksumSeed: superblock.hasMetadataChecksums ? superblock.checksumSeed : nil)
            guard protection.state == .clean else { throw .busy }
        }
    }

    /// Whether it takes more than the superblock.
    private var isLarge: Bool {
        ways.contains { way in
            if case .bit = way { false } else { true }
        } || changesChecksumSeed || changes.hashSeed != nil
    }

    /// Whether checksums are written anew.
    private var rewritesChecksums: Bool {
        changesChecksumSeed
            || ways.contains { way in
                if case .checksums = way { true } else { false }
            }
    }

    private mutating func planFeatures() throws(TuneFailure) {
        let present = features
        on = changes.featuresOn.subtracting(present)
        off = changes.featuresOff.intersection(present)
        if let name = changes.featuresOn.intersection(changes.featuresOff).names.first {
            throw .refused("\(name) cannot be switched on and off at once")
        }
        // One kind of checksums takes the place of the other.
        if on.readOnlyCompatible.contains(.metadataCsum) {
            on.readOnlyCompatible.remove(.gdtCsum)
            off.readOnlyCompatible.formUnion(
                present.readOnlyCompatible.intersection(.gdtCsum))
        } else if off.readOnlyCompatible.contains(.metadataCsum) {
            // Groups keep their marks of what is not used yet.
            if !changes.featuresOff.readOnlyCompatible.contains(.gdtCsum) {
                on.readOnlyCompatible.insert(.gdtCsum)
            }
            off.incompatible.formUnion(present.incompatible.intersection(.csumSeed))
        } else if on.readOnlyCompatible.contains(.gdtCsum),
            present.readOnlyCompatible.contains(.metadataCsum)
        {
            throw .refused("uninit_bg means nothing with metadata_csum; switch that off first")
        }
        ways =
            try FeatureSwitch.ways(of: on, FeatureSwitch.on, "on")
            + FeatureSwitch.ways(of: off, FeatureSwitch.off, "off")
        let future = present.union(on).subtracting(off)
        try checkDependencies(future)
    }

    private func checkDependencies(_ future: FeatureMask) throws(TuneFailure) {
        let needs: [(Bool, String)] = [
            (
                future.compatible.contains(.orphanFile) && !future.compatible.contains(.hasJournal),
                "orphan_file needs the journal; switch it off, too: -O ^orphan_file,^has_journal"
            ),
            (
                future.compatible.contains(.fastCommit) && !future.compatible.contains(.hasJournal)
                    && !off.compatible.contains(.hasJournal),
                "fast_commit needs has_journal"
            ),
            (
                future.incompatible.contains(.csumSeed)
                    && !future.readOnlyCompatible.contains(.metadataCsum),
                "metadata_csum_seed needs metadata_csum"
            ),
            (
                on.readOnlyCompatible.contains(.extraIsize) && superblock.inodeSize <= 128,
                "extra_isize needs inodes of more than 128 bytes"
            ),
            (
                superblock.hasExternalJournal && off.compatible.contains(.hasJournal),
                "the journal is on another device; tune2fs can take the volume from it"
            ),
            (
                superblock.revision == 0 && changes.changesFeatures,
                "a volume of revision 0 has no features"
            ),
        ]
        for need in needs where need.0 { throw .refused(need.1) }
    }

    /// Whether checksums would have another seed.
    var changesChecksumSeed: Bool {
        let keepsMarks =
            superblock.readOnlyCompatible.contains(.gdtCsum)
            && !off.readOnlyCompatible.contains(.gdtCsum)
        // The old kind, of descriptors only, goes by the UUID itself.
        if keepsMarks, let uuid = changes.uuid, uuid != superblock.uuid { return true }
        guard superblock.readOnlyCompatible.contains(.metadataCsum),
            !off.readOnlyCompatible.contains(.metadataCsum)
        else { return false }
        // The seed that is kept in the superblock stays what it was.
        if superblock.incompatible.contains(.csumSeed) {
            return off.incompatible.contains(.csumSeed)
                && superblock.checksumSeed != Self.seed(of: changes.uuid ?? superblock.uuid)
        }
        guard let uuid = changes.uuid, !on.incompatible.contains(.csumSeed) else { return false }
        return uuid != superblock.uuid
    }

    /// Whether the seed of the hashes of large attribute values would be another: the same one as
    /// that of checksums, on volumes without checksums, too.
    var changesValueSeed: Bool {
        guard superblock.incompatible.contains(.eaInode) else { return false }
        let hasSeed = superblock.incompatible.contains(.csumSeed)
        if hasSeed, !off.incompatible.contains(.csumSeed) { return false }
        let before = hasSeed ? superblock.checksumSeed : Self.seed(of: superblock.uuid)
        if on.incompatible.contains(.csumSeed) { return false }
        return before != Self.seed(of: changes.uuid ?? superblock.uuid)
    }

    /// The seed of a volume that keeps none.
    static func seed(of uuid: [UInt8]) -> UInt32 {
        var crc = CRC32C()
        unsafe crc.update(uuid.span.bytes)
        return crc.value
    }

    // MARK: Doing

    /// Makes the changes.
    mutating func run() throws(TuneFailure) {
        // What directories need is known before the superblock says that it is all right.
        report.needsRepair =
            changes.hashSeed != nil
            || ways.contains { way in
                if case .directories = way { true } else { false }
            }
        if isLarge { try writeSuperblock { $0[Superblock.Layout.state] &= ~Superblock.validState } }
        if off.compatible.contains(.orphanFile) { try removeOrphanFile() }
        if off.compatible.contains(.hasJournal) { try removeJournal() }
        if on.compatible.contains(.hasJournal) { try addJournal() }
        let table = rewritesChecksums ? try rewriteChecksums() : DescriptorTable()
        restoresState = original.state & Superblock.validState != 0 && !report.needsRepair
        let work = self
        let before = superblock
        try TuneFailure.wrap { () throws(Ext4Error) in
            try table.write(to: device, before, options) {
                work.restoreChecksums(&$0)
                work.patch(&$0)
            }
        }
        try refresh()
        let written = superblock
        try TuneFailure.wrap { () throws(Ext4Error) in
            try BackupCopies(device: device, superblock: written).write { _, _ in }
        }
        report.featuresOn = on
        report.featuresOff = off
    }

    /// Changes the superblock on the device, and here.
    mutating func writeSuperblock(
        _ body: (inout MutableRawSpan) -> Void
    ) throws(TuneFailure) {
        let work = self
        try TuneFailure.wrap { () throws(Ext4Error) in
            try SuperblockChange(device: work.device).write(work.options.clock(), body)
        }
        try refresh()
    }

    /// Says again that the volume is sound, when nothing was changed after all.
    mutating func restoreState() throws(TuneFailure) {
        guard original.state & Superblock.validState != 0 else { return }
        let count = original.mountCount
        try writeSuperblock {
            $0[Superblock.Layout.state] |= Superblock.validState
            $0[Superblock.Layout.mountCount] = count
        }
    }

    /// Reads the superblock that is there now.
    mutating func refresh() throws(TuneFailure) {
        let work = self
        superblock = try TuneFailure.wrap { () throws(Ext4Error) in
            try SuperblockSource.find(
                on: work.device, options: work.options.openOptions(.readOnly)
            ).superblock
        }
    }

    // MARK: Checksums

    /// Writes every checksum as the superblock will ask for it, but for those of descriptors.
    ///
    /// - Returns: the descriptors, to be written with the superblock.
    private mutating func rewriteChecksums() throws(TuneFailure) -> DescriptorTable {
        let old = superblock
        let work = self
        let new = try TuneFailure.wrap { () throws(Ext4Error) in try work.futureSuperblock() }
        if old.hasMetadataChecksums { try suspendChecksums(before: new) }
        let present = superblock
        let rest = try TuneFailure.wrap { () throws(Ext4Error) in
            try ChecksumRewrite(device: device, from: old, to: new, present: present).run {
                options.progress?($0 &+ $1, $1 &* 2)
            }
        }
        if !rest.crowded.isEmpty { report.needsRepair = true }
        return rest.table
    }

    /// Takes `metadata_csum` from the volume until all checksums are written anew: cut off meanwhile,
    /// it has two kinds of them, and a check that asked for them would clear what it does not know.
    /// Descriptors go on to be believed (`uninit_bg`).
    private mutating func suspendChecksums(before new: Superblock) throws(TuneFailure) {
        let work = self
        let rewrite = ChecksumRewrite(device: device, from: superblock, to: new)
        guard rewrite.changesSeed else { return }
        try TuneFailure.wrap { () throws(Ext4Error) in
            let bytes = try SuperblockChange(device: work.device).bytes(work.options.clock()) {
                Self.suspendChecksums(&$0)
            }
            let suspended = try unsafe Superblock(parsing: bytes.span.bytes)
            try rewrite.descriptors(under: suspended).write(
                to: work.device, work.superblock, work.options, Self.suspendChecksums)
        }
        try refresh()
    }

    private static func suspendChecksums(_ bytes: inout MutableRawSpan) {
        typealias Layout = Superblock.Layout
        bytes[Layout.readOnlyCompatible] &= ~ReadOnlyCompatibleFeatures.metadataCsum.rawValue
        bytes[Layout.readOnlyCompatible] |= ReadOnlyCompatibleFeatures.gdtCsum.rawValue
        bytes[Layout.incompatible] &= ~IncompatibleFeatures.csumSeed.rawValue
    }

    /// Gives back what `suspendChecksums` took.
    private func restoreChecksums(_ bytes: inout MutableRawSpan) {
        typealias Layout = Superblock.Layout
        let kinds: ReadOnlyCompatibleFeatures = [.metadataCsum, .gdtCsum]
        bytes[Layout.readOnlyCompatible] =
            bytes[Layout.readOnlyCompatible] & ~kinds.rawValue
            | original.readOnlyCompatible.intersection(kinds).rawValue
        bytes[Layout.incompatible] |=
            original.incompatible.intersection(.csumSeed).rawValue
    }
}
