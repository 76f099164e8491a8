/// What is to change about a volume's superblock, and about what goes with it. What is nil or empty
/// stays.
public struct TuneChanges: Hashable, Sendable {
    /// How many blocks only root may use.
    public enum Reserve: Hashable, Sendable {
        /// So many.
        case blocks(UInt64)
        /// So many hundredths of all, at most 50.
        case percent(Double)
    }

    /// The label (`s_volume_name`), at most 16 bytes.
    public var label: [UInt8]?
    /// The UUID (`s_uuid`), 16 bytes; zeros for none.
    public var uuid: [UInt8]?
    /// The seed of the hashes of names (`s_hash_seed`), 16 bytes. Only of a volume on which no
    /// directory has an index.
    public var hashSeed: [UInt8]?
    /// The hash of new indexes (`s_def_hash_version`): 0 legacy, 1 half-MD4, 2 TEA.
    public var hashVersion: UInt8?
    /// What only root may use (`s_r_blocks_count`).
    public var reserve: Reserve?
    /// Who else may use it (`s_def_resuid`).
    public var reserveUser: UInt16?
    /// Whose members may use it, too (`s_def_resgid`).
    public var reserveGroup: UInt16?
    /// What a mount does on errors (`s_errors`).
    public var errorPolicy: OpenOptions.ErrorPolicy?
    /// Options that mounts have of themselves (`s_default_mount_opts`): bits to set.
    public var defaultOptionsOn: UInt32 = 0
    /// Bits of `s_default_mount_opts` to clear; before those to set.
    public var defaultOptionsOff: UInt32 = 0
    /// Options for mounts in words (`s_mount_opts`), at most 63 bytes.
    public var mountOptions: [UInt8]?
    /// Where it was last mounted (`s_last_mounted`), at most 63 bytes.
    public var lastMounted: [UInt8]?
    /// After how many mounts a check is due (`s_max_mnt_count`); -1 for never.
    public var maximumMountCount: Int16?
    /// How often it was mounted since the last check (`s_mnt_count`).
    public var mountCount: UInt16?
    /// After how many seconds a check is due (`s_checkinterval`); 0 for never.
    public var checkInterval: UInt32?
    /// When it was last checked (`s_lastcheck`).
    public var lastCheck: Timestamp?
    /// Blocks that a RAID writes to one disk before the next one (`s_raid_stride`).
    public var raidStride: UInt16?
    /// Blocks of a RAID's stripe (`s_raid_stripe_width`).
    public var stripeWidth: UInt32?
    /// Seconds between two looks of multi-mount protection (`s_mmp_update_interval`).
    public var mmpInterval: UInt16?
    /// Features to switch on.
    public var featuresOn = FeatureMask()
    /// Features to switch off.
    public var featuresOff = FeatureMask()
    /// The size of a journal that is to be made, in MiB; nil for what a new volume would get.
    public var journalMebibytes: UInt64?

    /// No change.
    public init() {}

    /// Whether features change.
    var changesFeatures: Bool { featuresOn != FeatureMask() || featuresOff != FeatureMask() }
}

extension FeatureMask {
    /// Adds the features of `other`.
    public mutating func formUnion(_ other: FeatureMask) { self = union(other) }

    /// The features of both.
    func union(_ other: FeatureMask) -> FeatureMask {
        FeatureMask(
            compatible.union(other.compatible), incompatible.union(other.incompatible),
            readOnlyCompatible.union(other.readOnlyCompatible))
    }

    /// The features that both have.
    func intersection(_ other: FeatureMask) -> FeatureMask {
        FeatureMask(
            compatible.intersection(other.compatible),
            incompatible.intersection(other.incompatible),
            readOnlyCompatible.intersection(other.readOnlyCompatible))
    }

    /// The features that `other` has not.
    func subtracting(_ other: FeatureMask) -> FeatureMask {
        FeatureMask(
            compatible.subtracting(other.compatible),
            incompatible.subtracting(other.incompatible),
            readOnlyCompatible.subtracting(other.readOnlyCompatible))
    }
}

/// How a volume is changed.
public struct TuneOptions: Sendable {
    /// The time of what is written.
    public var clock: @Sendable () -> Timestamp = { Timestamp(seconds: 0) }
    /// Where messages go.
    public var log: Log = .none
    /// Whether volumes with errors are changed, too.
    public var isForced = false
    /// Told of long work: what is done, of how much.
    public var progress: (@Sendable (_ done: UInt64, _ total: UInt64) -> Void)?

    /// The usual.
    public init() {}

    /// How the volume is opened.
    func openOptions(_ access: OpenOptions.Access) -> OpenOptions {
        var options = OpenOptions()
        options.access = access
        options.superblock = .primary
        options.clock = clock
        options.log = log
        return options
    }
}

/// What was changed.
public struct TuneReport: Hashable, Sendable {
    /// Features that came to the volume.
    public package(set) var featuresOn = FeatureMask()
    /// Features that went.
    public package(set) var featuresOff = FeatureMask()
    /// Whether the volume must be checked and repaired before it is whole: directories lost or got
    /// what only their owner can put right, such as an index or the room for checksums.
    public package(set) var needsRepair = false

    /// Nothing yet.
    package init() {}
}

/// Why a volume is not changed.
public enum TuneFailure: Error, Hashable, Sendable, CustomStringConvertible {
    /// What the engine met.
    case volume(Ext4Error)
    /// Something that cannot be done, in words that say what to do.
    case refused(String)

    /// The failure in words.
    public var description: String {
        switch self {
        case .volume(let error): error.description
        case .refused(let words): words
        }
    }

    /// Runs `body`, and passes on what it throws.
    static func wrap<Result>(
        _ body: () throws(Ext4Error) -> Result
    ) throws(TuneFailure) -> Result {
        do throws(Ext4Error) {
            return try body()
        } catch {
            throw .volume(error)
        }
    }
}
