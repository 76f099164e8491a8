internal import Ext4
internal import Ext4Host
internal import Glibc

/// A field of the superblock as `info` shows it.
struct SuperblockField {
    /// The label, as `dumpe2fs` has it.
    let label: String
    /// The name in JSON.
    let key: String
    /// The value for people; nil when it is for programs only.
    let text: String?
    /// The value for programs; nil when it is for people only.
    let json: JSONText?

    init(_ label: String, _ key: String, text: String? = nil, json: JSONText? = nil) {
        self.label = label
        self.key = key
        self.text = text
        self.json = json
    }

    init(_ label: String, _ key: String, _ value: some BinaryInteger) {
        self.init(label, key, text: "\(value)", json: .number(value))
    }
}

/// The superblock for people and for programs.
enum SuperblockText {
    /// All fields that a volume has, in the order of `dumpe2fs`.
    static func fields(of volume: Volume) -> [SuperblockField] {
        let superblock = volume.superblock
        return identity(superblock) + sizes(superblock) + history(superblock)
            + reservations(superblock) + journal(volume) + sums(superblock) + errors(superblock)
    }

    private static func identity(_ superblock: Superblock) -> [SuperblockField] {
        let features =
            superblock.compatible.names + superblock.incompatible.names
            + superblock.readOnlyCompatible.names
        let revision = ["original", "dynamic"]
        let flags = names(
            superblock.flags,
            [
                (1, "signed_directory_hash"), (2, "unsigned_directory_hash"),
                (4, "test_filesystem"),
            ])
        let defaults = defaultOptions(superblock.defaultMountOptions)
        var fields = [
            text("Filesystem volume name", "label", superblock.label, none: "<none>"),
            text("Last mounted on", "lastMounted", superblock.lastMounted, none: "<not available>"),
            SuperblockField(
                "Filesystem UUID", "uuid", text: uuid(superblock.uuid) ?? "<none>",
                json: uuid(superblock.uuid).map { .string($0) }),
            SuperblockField("Filesystem magic number", "magic", text: "0xEF53"),
            SuperblockField(
                "Filesystem revision #", "revision",
                text:
                    "\(superblock.revision) (\(superblock.revision < 2 ? revision[Int(superblock.revision)] : "unknown"))",
                json: .number(superblock.revision)),
            SuperblockField(
                "Filesystem features", "features",
                text: features.isEmpty ? "(none)" : features.joined(separator: " "),
                json: .array(features.map { .string($0) })),
        ]
        if !flags.isEmpty {
            fields.append(
                SuperblockField(
                    "Filesystem flags", "flags", text: flags.joined(separator: " "),
                    json: .array(flags.map { .string($0) })))
        }
        fields.append(
            SuperblockField(
                "Default mount options", "defaultMountOptions",
                text: defaults.isEmpty ? "(none)" : defaults.joined(separator: " "),
                json: .array(defaults.map { .string($0) })))
        if !superblock.mountOptions.isEmpty {
            fields.append(text("Mount options", "mountOptions", superblock.mountOptions, none: ""))
        }
        let state =
            (superblock.state & 1 != 0 ? "clean" : "not clean")
            + (superblock.state & 2 != 0 ? " with errors" : "")
        let behaviours: [UInt16: String] = [1: "Continue", 2: "Remount read-only", 3: "Panic"]
        let systems: [UInt32: String] = [
            0: "Linux", 1: "GNU/Hurd", 2: "Masix", 3: "FreeBSD", 4: "Lites",
        ]
        fields += [
            SuperblockField("Filesystem state", "state", text: state, json: .string(state)),
            string(
                "Errors behavior", "errorBehaviour",
                behaviours[superblock.errorBehaviour] ?? "Unknown (continue)"),
            string(
                "Filesystem OS type", "creatorOS", systems[superblock.creatorOS] ?? "(unknown os)"),
        ]
        return fields
    }

    private static func sizes(_ superblock: Superblock) -> [SuperblockField] {
        let isClustered = superblock.readOnlyCompatible.contains(.bigalloc)
        var fields = [
            SuperblockField("Inode count", "inodeCount", superblock.inodesCount),
            SuperblockField("Block count", "blockCount", superblock.blocksCount),
            SuperblockField(
                "Reserved block count", "reservedBlockCount", superblock.reservedBlocksCount),
        ]
        if superblock.overheadClusters != 0 {
            fields.append(
                SuperblockField(
                    "Overhead clusters", "overheadClusters", superblock.overheadClusters))
        }
        fields += [
            SuperblockField("Free blocks", "freeBlocks", superblock.freeBlocksCount),
            SuperblockField("Free inodes", "freeInodes", superblock.freeInodesCount),
            SuperblockField("First block", "firstBlock", superblock.firstDataBlock),
            SuperblockField("Block size", "blockSize", superblock.blockSize),
            isClustered
                ? SuperblockField("Cluster size", "clusterSize", superblock.clusterSize)
                : SuperblockField(
                    "Fragment size", "fragmentSize", text: "\(superblock.clusterSize)"),
        ]
        if superblock.incompatible.contains(.bit64) {
            fields.append(
                SuperblockField(
                    "Group descriptor size", "groupDescriptorSize", superblock.descriptorSize))
        }
        if superblock.reservedDescriptorBlocks != 0 {
            fields.append(
                SuperblockField(
                    "Reserved GDT blocks", "reservedDescriptorBlocks",
                    superblock.reservedDescriptorBlocks))
        }
        let perBlock = superblock.blockSize / superblock.inodeSize
        fields += [
            SuperblockField("Blocks per group", "blocksPerGroup", superblock.blocksPerGroup),
            isClustered
                ? SuperblockField(
                    "Clusters per group", "clustersPerGroup", superblock.clustersPerGroup)
                : SuperblockField(
                    "Fragments per group", "fragmentsPerGroup",
                    text: "\(superblock.clustersPerGroup)"),
            SuperblockField("Inodes per group", "inodesPerGroup", superblock.inodesPerGroup),
            SuperblockField(
                "Inode blocks per group", "inodeBlocksPerGroup",
                (Int(superblock.inodesPerGroup) + perBlock - 1) / perBlock),
            SuperblockField("Group count", "groupCount", json: .number(superblock.groupCount)),
        ]
        let rest: [(String, String, UInt32)] = [
            ("First meta block group", "firstMetaGroup", superblock.firstMetaGroup),
            ("RAID stride", "raidStride", UInt32(superblock.raidStride)),
            ("RAID stripe width", "raidStripeWidth", superblock.raidStripeWidth),
        ]
        for (label, key, value) in rest where value != 0 {
            fields.append(SuperblockField(label, key, value))
        }
        if superblock.incompatible.contains(.flexBg), superblock.groupsPerFlex > 1 {
            fields.append(
                SuperblockField("Flex block group size", "flexGroupSize", superblock.groupsPerFlex))
        }
        return fields
    }

    private static func history(_ superblock: Superblock) -> [SuperblockField] {
        var fields: [SuperblockField] = []
        if superblock.creationTime.seconds != 0 {
            fields.append(time("Filesystem created", "creationTime", superblock.creationTime))
        }
        fields += [
            time("Last mount time", "mountTime", superblock.mountTime),
            time("Last write time", "writeTime", superblock.writeTime),
            SuperblockField("Mount count", "mountCount", superblock.mountCount),
            SuperblockField(
                "Maximum mount count", "maximumMountCount",
                Int16(bitPattern: superblock.maximumMountCount)),
            time("Last checked", "lastCheckTime", superblock.lastCheckTime),
            SuperblockField(
                "Check interval", "checkInterval",
                text: "\(superblock.checkInterval) (\(interval(superblock.checkInterval)))",
                json: .number(superblock.checkInterval)),
        ]
        if superblock.checkInterval != 0 {
            let due = Timestamp(
                seconds: superblock.lastCheckTime.seconds + Int64(superblock.checkInterval))
            fields.append(
                SuperblockField("Next check after", "nextCheckAfter", text: TimeText.long(due)))
        }
        if superblock.kibibytesWritten != 0 {
            fields.append(
                SuperblockField(
                    "Lifetime writes", "kibibytesWritten",
                    text: written(superblock.kibibytesWritten),
                    json: .number(superblock.kibibytesWritten)))
        }
        return fields
    }

    private static func reservations(_ superblock: Superblock) -> [SuperblockField] {
        let (user, group) = (superblock.reservedUserID, superblock.reservedGroupID)
        let userName = unsafe getpwuid(uid_t(user)).map {
            unsafe String(cString: $0.pointee.pw_name)
        }
        let groupName = unsafe getgrgid(gid_t(group)).map {
            unsafe String(cString: $0.pointee.gr_name)
        }
        var fields = [
            SuperblockField(
                "Reserved blocks uid", "reservedUserID",
                text: "\(user) (user \(userName ?? "unknown"))", json: .number(user)),
            SuperblockField(
                "Reserved blocks gid", "reservedGroupID",
                text: "\(group) (group \(groupName ?? "unknown"))", json: .number(group)),
        ]
        if superblock.revision >= 1 {
            fields += [
                SuperblockField("First inode", "firstInode", superblock.firstInode.rawValue),
                SuperblockField("Inode size", "inodeSize", superblock.inodeSize),
            ]
        }
        if superblock.minimumExtraInodeSize != 0 {
            fields.append(
                SuperblockField(
                    "Required extra isize", "requiredExtraInodeSize",
                    superblock.minimumExtraInodeSize))
        }
        if superblock.wantedExtraInodeSize != 0 {
            fields.append(
                SuperblockField(
                    "Desired extra isize", "desiredExtraInodeSize",
                    superblock.wantedExtraInodeSize))
        }
        return fields
    }

    private static func journal(_ volume: Volume) -> [SuperblockField] {
        let superblock = volume.superblock
        var fields: [SuperblockField] = []
        if let uuid = uuid(superblock.journalUUID) {
            fields.append(string("Journal UUID", "journalUUID", uuid))
        }
        if superblock.journalInode.rawValue != 0 {
            fields.append(
                SuperblockField("Journal inode", "journalInode", superblock.journalInode.rawValue))
        }
        if superblock.journalDevice != 0 {
            fields.append(
                string(
                    "Journal device", "journalDevice", hexadecimal(superblock.journalDevice, 4)))
        }
        if superblock.lastOrphan.rawValue != 0 {
            fields.append(
                SuperblockField(
                    "First orphan inode", "firstOrphanInode", superblock.lastOrphan.rawValue))
        }
        let hashes = ["legacy", "half_md4", "tea"]
        if superblock.compatible.contains(.dirIndex) || superblock.defaultHashVersion != 0 {
            let version = Int(superblock.defaultHashVersion)
            fields.append(
                string(
                    "Default directory hash", "defaultDirectoryHash",
                    version < hashes.count ? hashes[version] : "unknown (\(version))"))
        }
        let seed = superblock.hashSeed.flatMap { word in
            (0..<4).map { UInt8(truncatingIfNeeded: word >> (8 * $0)) }
        }
        if let seed = uuid(seed) {
            fields.append(string("Directory Hash Seed", "directoryHashSeed", seed))
        }
        if superblock.journalBackupType != 0 {
            fields.append(
                string(
                    "Journal backup", "journalBackup",
                    superblock.journalBackupType == 1
                        ? "inode blocks" : "type \(superblock.journalBackupType)"))
        }
        if superblock.journalInode.rawValue != 0,
            let inode = try? volume.inode(superblock.journalInode)
        {
            fields.append(
                SuperblockField(
                    "Total journal size", "journalBytes", text: "\(inode.size >> 10)k",
                    json: .number(inode.size)))
        }
        return fields
    }

    private static func sums(_ superblock: Superblock) -> [SuperblockField] {
        var fields: [SuperblockField] = []
        if superblock.compatible.contains(.sparseSuper2) {
            let groups = superblock.backupGroups.filter { $0 != 0 }
            fields.append(
                SuperblockField(
                    "Backup block groups", "backupGroups",
                    text: groups.isEmpty ? "(none)" : groups.map { "\($0)" }.joined(separator: " "),
                    json: .array(groups.map { .number($0) })))
        }
        if superblock.incompatible.contains(.mmp) {
            fields += [
                SuperblockField("MMP block number", "mmpBlock", superblock.mmpBlock.rawValue),
                SuperblockField("MMP update interval", "mmpInterval", superblock.mmpInterval),
            ]
        }
        let quotas: [(String, String, InodeNumber)] = [
            ("User quota inode", "userQuotaInode", superblock.userQuotaInode),
            ("Group quota inode", "groupQuotaInode", superblock.groupQuotaInode),
            ("Project quota inode", "projectQuotaInode", superblock.projectQuotaInode),
        ]
        for (label, key, number) in quotas where number.rawValue != 0 {
            fields.append(SuperblockField(label, key, number.rawValue))
        }
        if let checksum = superblock.checksum {
            fields += [
                string(
                    "Checksum type", "checksumType",
                    superblock.checksumType == 1 ? "crc32c" : "unknown \(superblock.checksumType)"),
                string("Checksum", "checksum", hexadecimal(checksum, 8)),
            ]
        }
        if superblock.incompatible.contains(.casefold) {
            fields.append(
                string(
                    "Character encoding", "characterEncoding",
                    superblock.encoding == 1 ? "utf8-12.1" : "unknown (\(superblock.encoding))"))
            if superblock.encodingFlags & 1 != 0 {
                fields.append(string("Encoding flags", "encodingFlags", "strict"))
            }
        }
        if superblock.incompatible.contains(.csumSeed) {
            fields.append(
                string(
                    "Checksum seed", "checksumSeed", hexadecimal(superblock.storedChecksumSeed, 8)))
        }
        if superblock.orphanFileInode.rawValue != 0 {
            fields.append(
                SuperblockField(
                    "Orphan file inode", "orphanFileInode", superblock.orphanFileInode.rawValue))
        }
        return fields
    }

    private static func errors(_ superblock: Superblock) -> [SuperblockField] {
        var fields: [SuperblockField] = []
        if superblock.errorCount != 0 {
            fields.append(SuperblockField("FS Error count", "errorCount", superblock.errorCount))
        }
        let records: [(String, String, Superblock.ErrorRecord?)] = [
            ("First", "firstError", superblock.firstError),
            ("Last", "lastError", superblock.lastError),
        ]
        for (word, key, record) in records {
            guard let record else { continue }
            fields += [
                time("\(word) error time", "\(key)Time", record.time),
                text("\(word) error function", "\(key)Function", record.function, none: ""),
                SuperblockField("\(word) error line #", "\(key)Line", record.line),
                SuperblockField("\(word) error inode #", "\(key)Inode", record.inode.rawValue),
                SuperblockField("\(word) error block #", "\(key)Block", record.block.rawValue),
            ]
        }
        return fields
    }
}

extension SuperblockText {
    private static func string(
        _ label: String, _ key: String, _ value: String
    ) -> SuperblockField {
        SuperblockField(label, key, text: value, json: .string(value))
    }

    private static func text(
        _ label: String, _ key: String, _ bytes: [UInt8], none: String
    ) -> SuperblockField {
        SuperblockField(
            label, key, text: bytes.isEmpty ? none : Quoted(bytes).description,
            json: .string(String(decoding: bytes, as: UTF8.self)))
    }

    private static func time(
        _ label: String, _ key: String, _ time: Timestamp
    ) -> SuperblockField {
        SuperblockField(
            label, key, text: TimeText.long(time),
            json: time.seconds == 0 ? .null : .string(TimeText.iso(time)))
    }

    private static func names(_ bits: UInt32, _ table: [(UInt32, String)]) -> [String] {
        table.filter { bits & $0.0 != 0 }.map(\.1)
    }

    private static func defaultOptions(_ bits: UInt32) -> [String] {
        let journals = ["", "journal_data", "journal_data_ordered", "journal_data_writeback"]
        let journal = journals[Int(bits >> 5 & 3)]
        return (journal.isEmpty ? [] : [journal])
            + names(
                bits,
                [
                    (0x1, "debug"), (0x2, "bsdgroups"), (0x4, "user_xattr"), (0x8, "acl"),
                    (0x10, "uid16"),
                ])
            + names(
                bits,
                [
                    (0x100, "nobarrier"), (0x200, "block_validity"), (0x400, "discard"),
                    (0x800, "nodelalloc"),
                ])
    }

    /// A UUID in its usual form; nil for one of zeros.
    static func uuid(_ bytes: [UInt8]) -> String? {
        guard bytes.count == 16, bytes.contains(where: { $0 != 0 }) else { return nil }
        var text = ""
        for (index, byte) in bytes.enumerated() {
            if [4, 6, 8, 10].contains(index) { text += "-" }
            text += JSONText.hexadecimal([byte])
        }
        return text
    }

    private static func hexadecimal(_ value: UInt32, _ digits: Int) -> String {
        let text = String(value, radix: 16)
        return "0x" + String(repeating: "0", count: max(0, digits - text.utf8.count)) + text
    }

    private static func interval(_ seconds: UInt32) -> String {
        guard seconds != 0 else { return "<none>" }
        let units: [(UInt32, String)] = [
            (2_592_000, "month"), (604_800, "week"), (86_400, "day"), (3_600, "hour"),
            (60, "minute"), (1, "second"),
        ]
        var rest = seconds
        var words: [String] = []
        for (size, name) in units where rest >= size {
            let count = rest / size
            rest %= size
            words.append("\(count) \(name)\(count == 1 ? "" : "s")")
        }
        return words.joined(separator: ", ")
    }

    /// An amount of KiB, rounded to the unit that leaves up to four digits.
    private static func written(_ kibibytes: UInt64) -> String {
        var amount = kibibytes
        for unit in ["kB", "MB", "GB", "TB"] {
            if amount < 1 << 13 { return "\(amount) \(unit)" }
            amount = (amount &+ 512) >> 10
        }
        return "\(amount) PB"
    }
}
