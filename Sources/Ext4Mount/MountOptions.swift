internal import CFuse3
public import Ext4
internal import Ext4Host
internal import Glibc

// The options of a mount, by the names that ext4 has in the kernel and that mount(8) and FUSE
// add. What has a meaning here is heeded; what says how the kernel's own ext4 should go about its
// work is accepted, so that a line of /etc/fstab that the kernel takes is taken here too; the rest
// is refused by its name.

/// What `-o` said.
public struct MountOptions: Hashable, Sendable {
    /// Whether writing was asked for (`rw`), forbidden (`ro`) or left open.
    public var writes: Bool?
    /// The superblock to open the volume by, in units of 1 KiB (`sb=`).
    public var superblock: UInt64?
    /// Whether a journal that needs replay is left alone (`noload`, `norecovery`).
    public var ignoresJournal = false
    /// What happens at a corruption that is found while mounted (`errors=`).
    public var errors: OpenOptions.ErrorPolicy?
    /// What the journal does for contents (`data=`).
    public var dataMode = OpenOptions.DataMode.ordered
    /// Seconds after which what was written is committed (`commit=`).
    public var commitInterval: UInt32 = 5
    /// The memory for metadata in bytes (`cache=`); nil for the engine's default.
    public var cacheBytes: Int?
    /// Whether the kernel keeps what programs write for a while (`writeback_cache`).
    public var cachesWrites = false
    /// When reading changes access times.
    public var accessTimes = OpenOptions.AccessTimePolicy.relative
    /// Whether new files take the group of their directory (`grpid`).
    public var inheritsGroup = false
    /// Whether POSIX access control lists are shown and obeyed (`acl`, `noacl`).
    public var accessControlLists = true
    /// Whether attributes of the `user.` namespace are shown (`user_xattr`, `nouser_xattr`).
    public var userAttributes = true
    /// Whether the volume's own structures count in its size (`minixdf`, `bsddf`).
    public var countsOverhead = false
    /// Whether others than the one who mounts have access (`allow_other`); nil for the default.
    public var allowsOther: Bool?
    /// Whether the system administrator has access too (`allow_root`).
    public var allowsRoot = false
    /// Whether the mount ends with the process, however that ends (`auto_unmount`).
    public var unmountsItself = false
    /// What the kernel's mount flags are set from: `nosuid`, `nodev`, `noexec`, `noatime` …
    public var kernelFlags: [String] = []

    /// The options of a mount with no `-o`.
    public init() {}

    /// Reads lists of options as `-o` takes them: names and `name=value`, parted by commas.
    ///
    /// Later ones win. Every name that is not known is in the failure.
    public init(parsing lists: [String]) throws(MountFailure) {
        var unknown: [String] = []
        for list in lists {
            for option in list.split(separator: ",") where !option.isEmpty {
                if try !apply(option) {
                    unknown.append(String(option.prefix { $0 != "=" }))
                }
            }
        }
        guard unknown.isEmpty else {
            let noun = unknown.count == 1 ? "option" : "options"
            throw MountFailure("unknown mount \(noun) \(unknown.joined(separator: ", "))")
        }
    }

    /// Opens the volume on `device` as the options say.
    ///
    /// For writing, if the device is.
    public func open(_ device: any BlockDevice, log: Log) throws(Ext4Error) -> Volume {
        var options = OpenOptions()
        options.log = log
        options.clock = { Timestamp.now }
        options.errorPolicy = errors
        options.dataMode = dataMode
        options.accessTimes = accessTimes
        options.inheritsGroup = inheritsGroup
        if let cacheBytes { options.cacheBytes = cacheBytes }
        if !device.isReadOnly {
            // A backup serves to look at a volume; to write to it, e2fsck must mend it first.
            guard superblock == nil, !ignoresJournal else { throw .readOnlyVolume }
            options.access = .readWrite
            return try Volume.open(device, options: options)
        }
        if ignoresJournal { options.journal = .ignore }
        guard let superblock else { return try Volume.open(device, options: options) }
        // `sb=` counts in KiB whatever the block size is, so the block size must be found out.
        var failure = Ext4Error.invalidArgument
        for sizeLog2 in UInt64(0)...6 where superblock & (1 << sizeLog2 - 1) == 0 {
            options.superblock = .backup(
                atBlock: BlockNumber(superblock >> sizeLog2), blockSize: 1024 << Int(sizeLog2))
            do throws(Ext4Error) {
                return try Volume.open(device, options: options)
            } catch {
                if case .corrupt = error, failure != .invalidArgument { continue }
                failure = error
            }
        }
        throw failure
    }

    // MARK: - One option

    private mutating func apply(_ option: Substring) throws(MountFailure) -> Bool {
        let parts = option.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        let name = String(parts[0])
        guard parts.count == 2 else { return applyFlag(name) }
        return try applyValue(name, String(parts[1]))
    }

    private mutating func applyFlag(_ name: String) -> Bool {
        switch name {
        case "ro": writes = false
        case "rw": writes = true
        case "noload", "norecovery": ignoresJournal = true
        case "acl": accessControlLists = true
        case "noacl": accessControlLists = false
        case "user_xattr": userAttributes = true
        case "nouser_xattr": userAttributes = false
        case "minixdf": countsOverhead = true
        case "bsddf": countsOverhead = false
        case "allow_other": allowsOther = true
        case "allow_root": allowsRoot = true
        case "auto_unmount": unmountsItself = true
        case "writeback_cache": cachesWrites = true
        case "grpid", "bsdgroups": inheritsGroup = true
        case "nogrpid", "sysvgroups": inheritsGroup = false
        case _ where Self.kernelFlagNames.contains(name):
            kernelFlags.append(name)
            switch name {
            case "noatime": accessTimes = .never
            case "relatime", "atime", "nostrictatime": accessTimes = .relative
            case "strictatime": accessTimes = .always
            default: break
            }
        default: return Self.namesWithoutEffect.contains(name) || name.hasPrefix("x-")
        }
        return true
    }

    private mutating func applyValue(_ name: String, _ value: String) throws(MountFailure) -> Bool {
        switch name {
        case "sb":
            guard let block = UInt64(value), block < 1 << 54 else {
                throw MountFailure("sb=\(value): not a block number")
            }
            superblock = block
        case "errors":
            guard let policy = OpenOptions.ErrorPolicy(rawValue: value) else {
                throw MountFailure("errors=\(value): must be continue, remount-ro or panic")
            }
            errors = policy
        case "data":
            guard let mode = OpenOptions.DataMode(rawValue: value) else {
                throw MountFailure("data=\(value): must be ordered, writeback or journal")
            }
            dataMode = mode
        case "commit":
            guard let seconds = UInt32(value) else {
                throw MountFailure("commit=\(value): must be a number of seconds")
            }
            // As for the kernel, 0 stands for the default.
            commitInterval = seconds == 0 ? 5 : seconds
        case "cache":
            guard let bytes = Self.bytes(value), bytes >= 64 << 10 else {
                throw MountFailure("cache=\(value): must be a size, 64K or more")
            }
            cacheBytes = bytes
        default:
            return Self.valuesWithoutEffect.contains(name) || name.hasPrefix("x-")
        }
        return true
    }

    /// A number of bytes, or of KiB, MiB or GiB with a letter behind it.
    private static func bytes(_ text: String) -> Int? {
        let units: [Character: Int] = ["K": 1 << 10, "M": 1 << 20, "G": 1 << 30]
        let unit = text.last.flatMap { units[Character($0.uppercased())] }
        guard let number = Int(unit == nil ? text[...] : text.dropLast()), number > 0 else {
            return nil
        }
        let (bytes, overflow) = number.multipliedReportingOverflow(by: unit ?? 1)
        return overflow ? nil : bytes
    }

    /// Flags of any mount, which the kernel itself heeds.
    private static let kernelFlagNames: Set<String> = [
        "suid", "nosuid", "dev", "nodev", "exec", "noexec", "sync", "async", "dirsync", "atime",
        "noatime", "diratime", "nodiratime", "relatime", "norelatime", "strictatime",
        "nostrictatime", "lazytime", "nolazytime",
    ]

    /// Names that say nothing here, or that are always so.
    private static let namesWithoutEffect: Set<String> = [
        // of mount(8) and /etc/fstab
        "defaults", "auto", "noauto", "user", "nouser", "users", "owner", "group", "nofail",
        "_netdev", "loop", "silent", "loud", "default_permissions", "iversion", "noiversion",
        // of ext4, about how the kernel writes
        "barrier", "nobarrier", "discard", "nodiscard", "delalloc", "nodelalloc",
        "auto_da_alloc", "noauto_da_alloc", "journal_checksum", "nojournal_checksum",
        "journal_async_commit", "dioread_lock", "dioread_nolock", "init_itable", "noinit_itable",
        "block_validity", "noblock_validity", "i_version", "quota", "noquota", "usrquota",
        "grpquota", "prjquota", "nombcache", "no_mbcache", "debug", "oldalloc", "orlov",
        "mblk_io_submit", "nomblk_io_submit",
        "prefetch_block_bitmaps", "no_prefetch_block_bitmaps",
    ]

    private static let valuesWithoutEffect: Set<String> = [
        "comment", "data_err", "barrier", "stripe", "resuid", "resgid",
        "init_itable",
        "inode_readahead_blks", "max_batch_time", "min_batch_time", "journal_ioprio",
        "usrjquota", "grpjquota", "jqfmt", "max_dir_size_kb", "auto_da_alloc", "mb_optimize_scan",
    ]
}
