internal import ArgumentParser
internal import Ext4
internal import Ext4Host
internal import Glibc

/// A number of bytes, or of blocks where no unit is given: `64M`, `512s`, `8192`.
struct LengthArgument: ExpressibleByArgument {
    let length: FormatOptions.Length

    init?(argument: String) {
        if argument.last == "s" {
            guard let count = UInt64(argument.dropLast()), count <= UInt64.max >> 9 else {
                return nil
            }
            length = .bytes(count << 9)
        } else if let count = UInt64(argument) {
            length = .blocks(count)
        } else {
            guard let first = argument.first, ("0"..."9").contains(first),
                let bytes = SizeArgument(argument: argument)?.applied(to: 0)
            else { return nil }
            length = .bytes(bytes)
        }
    }

    /// The bytes, where a number alone counts blocks of that size, or of 1 KiB.
    func bytes(blockSize: Int?) -> UInt64? {
        switch length {
        case .bytes(let count): return count
        case .blocks(let count):
            let (bytes, overflow) = count.multipliedReportingOverflow(
                by: UInt64(blockSize ?? 1024))
            return overflow ? nil : bytes
        }
    }
}

/// The options of `ext4 mkfs` that say what the volume is to be: those of mke2fs.
struct MkfsOptions: ParsableArguments {
    @Option(
        name: .shortAndLong,
        help: ArgumentHelp(
            "ext2, ext3 or ext4, which it is when nothing is said.", valueName: "type"))
    var type: String?

    @Option(
        name: [.customShort("T"), .long],
        help: ArgumentHelp(
            """
            What it is for: floppy, small, default, big, huge, news, largefile, largefile4, hurd; \
            several with commas. Without it the size tells.
            """, valueName: "use"))
    var usage: String?

    @Option(
        name: [.customShort("b", allowingJoined: true), .long],
        help: ArgumentHelp("Bytes of a block: 1024 to 65536.", valueName: "bytes"))
    var blockSize: LengthArgument?

    @Option(
        name: [.customShort("C", allowingJoined: true), .long],
        help: ArgumentHelp("Bytes of a cluster, with -O bigalloc.", valueName: "bytes"))
    var clusterSize: LengthArgument?

    @Option(
        name: [.customShort("I", allowingJoined: true), .long],
        help: ArgumentHelp("Bytes of an inode: 128 to the block size.", valueName: "bytes"))
    var inodeSize: Int?

    @Option(
        name: [.customShort("i", allowingJoined: true), .long],
        help: ArgumentHelp("Bytes of the volume for each inode.", valueName: "bytes"))
    var inodeRatio: LengthArgument?

    @Option(
        name: [.customShort("N", allowingJoined: true), .long],
        help: ArgumentHelp("How many inodes.", valueName: "count"))
    var inodes: UInt64?

    @Option(
        name: [.customShort("g", allowingJoined: true), .long],
        help: ArgumentHelp("Blocks of a group.", valueName: "blocks"))
    var groupSize: UInt32?

    @Option(
        name: [.customShort("G", allowingJoined: true), .long],
        help: ArgumentHelp("Groups whose tables lie together, with flex_bg.", valueName: "groups"))
    var flexGroupSize: UInt32?

    @Option(
        name: [.customShort("m", allowingJoined: true), .long],
        help: ArgumentHelp("Hundredths that only root may use: 0 to 50.", valueName: "percent"))
    var reserved: Double?

    @Option(
        name: [.customShort("O"), .long],
        help: ArgumentHelp(
            "Features, with commas; ^ before those that are not wanted.", valueName: "features"))
    var features: [String] = []

    @Option(
        name: [.customShort("E"), .long],
        help: ArgumentHelp("More options; see above.", valueName: "options"))
    var extended: [String] = []

    @Option(
        name: [.customShort("J"), .long],
        help: ArgumentHelp(
            "size=MiB, location=BLOCK, fast_commit_size=KiB.", valueName: "options"))
    var journal: [String] = []

    @Flag(name: .customShort("j"), help: "With a journal.")
    var hasJournal = false

    @Option(
        name: [.customShort("L"), .long],
        help: ArgumentHelp("The label, at most 16 bytes.", valueName: "label"))
    var label: PathArgument?

    @Option(
        name: [.customShort("U"), .long],
        help: ArgumentHelp("The UUID; or clear, or random.", valueName: "uuid"))
    var uuid: String?

    @Option(help: ArgumentHelp("The seed of hashes, as -E hash_seed.", valueName: "uuid"))
    var hashSeed: String?

    @Option(
        name: .customShort("M"),
        help: ArgumentHelp("Where it was last mounted.", valueName: "directory"))
    var lastMounted: PathArgument?

    @Option(
        name: .customShort("o"),
        help: ArgumentHelp("Who makes it: linux, hurd, freebsd, lites.", valueName: "system"))
    var creator: String?

    @Option(
        name: .customShort("e"),
        help: ArgumentHelp(
            "What a mount does on errors: continue, remount-ro, panic.", valueName: "behaviour"))
    var errors: String?

    @Option(
        name: .customShort("r"), help: ArgumentHelp("The revision: 0 or 1.", valueName: "revision"))
    var revision: UInt32?

    /// What the extended options say that is not about the volume itself.
    struct Extras {
        var discards = true
        var isZeroed = false
        var offset: UInt64 = 0
    }

    /// The options as the engine takes them.
    func formatOptions() throws(CommandFailure) -> (FormatOptions, Extras) {
        var options = FormatOptions(
            uuid: Self.randomUUID(), hashSeed: Self.randomUUID(), time: try Self.time())
        var extras = Extras()
        do throws(FormatProblem) {
            try set(&options)
            for text in features { options.features += try FeatureChange.list(text) }
            if hasJournal { options.features += [.set(FeatureMask([.hasJournal]))] }
            for text in journal {
                try Self.forEach(text) { (name, value) throws(FormatProblem) in
                    try Self.setJournal(name, value, &options)
                }
            }
            for text in extended {
                try Self.forEach(text) { (name, value) throws(FormatProblem) in
                    try Self.setExtended(name, value, &options, &extras)
                }
            }
        } catch {
            throw CommandFailure("\(error)")
        }
        return (options, extras)
    }

    private func set(_ options: inout FormatOptions) throws(FormatProblem) {
        if let type {
            guard let kind = FormatOptions.Kind(rawValue: type) else {
                throw FormatProblem("there is no type \(type): there are ext2, ext3 and ext4")
            }
            options.kind = kind
        }
        for name in (usage ?? "").split(separator: ",") {
            guard let use = FormatOptions.Usage(rawValue: String(name)) else {
                let names = FormatOptions.Usage.allCases.map(\.rawValue)
                throw FormatProblem(
                    "-T does not know \(name): it knows \(names.joined(separator: ", "))")
            }
            options.usage.append(use)
        }
        func bytes(_ argument: LengthArgument?) throws(FormatProblem) -> Int? {
            guard let argument else { return nil }
            guard let count = argument.bytes(blockSize: 1).flatMap({ Int(exactly: $0) }) else {
                throw FormatProblem("a size is too large")
            }
            return count
        }
        options.blockSize = try bytes(blockSize)
        options.clusterSize = try bytes(clusterSize)
        options.inodeSize = inodeSize
        options.inodeRatio = try bytes(inodeRatio).map { UInt64($0) }
        options.inodeCount = inodes
        options.blocksPerGroup = groupSize
        options.flexGroupSize = flexGroupSize
        options.reservedPercentage = reserved
        if let label { options.label = label.bytes }
        if let lastMounted { options.lastMounted = lastMounted.bytes }
        if let revision { options.revision = revision }
        switch uuid?.lowercased() {
        case nil, "random", "time": break
        case "clear", "null": options.uuid = [UInt8](repeating: 0, count: 16)
        case let text?: options.uuid = try Self.uuid(text)
        }
        if let hashSeed { options.hashSeed = try Self.uuid(hashSeed) }
        if let creator {
            let systems: [String: UInt32] = [
                "linux": 0, "hurd": 1, "gnu": 1, "masix": 2, "freebsd": 3, "lites": 4,
            ]
            guard let number = systems[creator.lowercased()] ?? UInt32(creator), number < 5 else {
                throw FormatProblem("-o is linux, hurd, freebsd or lites")
            }
            options.creatorOS = number
            if number == 1, type == nil { options.kind = .ext2 }
        }
        switch errors {
        case nil: break
        case "continue": options.errorBehaviour = .continue
        case "remount-ro": options.errorBehaviour = .remountReadOnly
        case "panic": options.errorBehaviour = .panic
        default: throw FormatProblem("-e is continue, remount-ro or panic")
        }
    }

    /// Calls `body` for each part of a list `name=value,name,…`.
    private static func forEach(
        _ text: String, _ body: (String, String?) throws(FormatProblem) -> Void
    ) throws(FormatProblem) {
        for part in text.split(separator: ",") {
            let name = part.prefix { $0 != "=" }
            let value = name.endIndex < part.endIndex ? part[name.endIndex...].dropFirst() : nil
            try body(String(name), value.map(String.init))
        }
    }

    private static func setJournal(
        _ name: String, _ value: String?, _ options: inout FormatOptions
    ) throws(FormatProblem) {
        switch name {
        case "size":
            options.journalMebibytes = try number(name, value)
        case "location":
            options.journalLocation = try length(name, value)
        case "fast_commit_size":
            options.fastCommitKibibytes = try number(name, value)
        case "device":
            throw FormatProblem("-J device: a journal on another device is not supported")
        default:
            throw FormatProblem(
                "-J does not know \(name): it knows size, location and fast_commit_size")
        }
    }

    private static func setExtended(
        _ name: String, _ value: String?, _ options: inout FormatOptions, _ extras: inout Extras
    ) throws(FormatProblem) {
        switch name {
        case "desc_size", "desc-size": options.descriptorSize = Int(try number(name, value))
        case "hash_seed": options.hashSeed = try uuid(value ?? "")
        case "mmp_update_interval": options.mmpInterval = try short(name, value)
        case "num_backup_sb":
            guard let count = value.flatMap({ Int($0) }), (0...2).contains(count) else {
                throw FormatProblem("num_backup_sb= is 0, 1 or 2")
            }
            options.backupCount = count
        case "packed_meta_blocks": options.packsMetadata = try isOn(name, value)
        case "stride": options.stride = try short(name, value)
        case "stripe_width", "stripe-width": options.stripeWidth = try number(name, value)
        case "resize": options.resizeLimit = try length(name, value)
        case "revision": options.revision = try number(name, value)
        case "test_fs": options.isTest = true
        case "lazy_itable_init": options.leavesInodeTables = try isOn(name, value)
        case "lazy_journal_init": options.leavesJournal = try isOn(name, value)
        case "assume_storage_prezeroed": extras.isZeroed = try isOn(name, value)
        case "discard": extras.discards = true
        case "nodiscard": extras.discards = false
        case "root_owner": options.rootOwner = try owner(value)
        case "root_perms":
            guard let permissions = UInt16(value ?? "", radix: 8), permissions <= 0o7777 else {
                throw FormatProblem("root_perms is an octal number up to 7777")
            }
            options.rootPermissions = permissions
        case "quotatype": options.quotas = try quotas(value)
        case "encoding":
            guard ["utf8", "utf8-12.1"].contains(value) else {
                throw FormatProblem("encoding is utf8")
            }
            options.features.append(.set(FeatureMask([], [.casefold])))
        case "encoding_flags":
            guard value == "strict" || value == "^strict" else {
                throw FormatProblem("encoding_flags is strict")
            }
            options.encodingFlags = value == "strict" ? 1 : 0
        case "orphan_file_size": options.orphanFileSize = try length(name, value)
        case "offset":
            guard let length = LengthArgument(argument: value ?? "")?.bytes(blockSize: 1),
                length % 1024 == 0
            else { throw FormatProblem("offset is a multiple of 1024 bytes") }
            extras.offset = length
        default:
            throw FormatProblem("-E does not know \(name): it knows \(extendedNames)")
        }
    }

    private static let extendedNames = """
        desc_size, discard, encoding, encoding_flags, hash_seed, lazy_itable_init, \
        lazy_journal_init, mmp_update_interval, nodiscard, num_backup_sb, offset, \
        orphan_file_size, packed_meta_blocks, quotatype, resize, revision, root_owner, \
        root_perms, stride, stripe_width, test_fs, assume_storage_prezeroed
        """

    private static func number(_ name: String, _ value: String?) throws(FormatProblem) -> UInt32 {
        guard let value, let number = UInt32(value) else {
            throw FormatProblem("\(name)= needs a number")
        }
        return number
    }

    private static func short(_ name: String, _ value: String?) throws(FormatProblem) -> UInt16 {
        guard let number = UInt16(exactly: try number(name, value)) else {
            throw FormatProblem("\(name)= is a number up to \(UInt16.max)")
        }
        return number
    }

    private static func length(
        _ name: String, _ value: String?
    ) throws(FormatProblem) -> FormatOptions.Length {
        guard let value, let argument = LengthArgument(argument: value) else {
            throw FormatProblem("\(name)= needs a number of blocks, or a size as 64M")
        }
        return argument.length
    }

    private static func isOn(_ name: String, _ value: String?) throws(FormatProblem) -> Bool {
        switch value {
        case nil, "1": return true
        case "0": return false
        default: throw FormatProblem("\(name)= is 0 or 1")
        }
    }

    private static func owner(_ value: String?) throws(FormatProblem) -> (UInt32, UInt32) {
        guard let value else { return (getuid(), getgid()) }
        let parts = value.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2, let user = UInt32(parts[0]), let group = UInt32(parts[1]) else {
            throw FormatProblem("root_owner is USER:GROUP, as numbers")
        }
        return (user, group)
    }

    private static func quotas(
        _ value: String?
    ) throws(FormatProblem) -> FormatOptions.QuotaKinds {
        var kinds: FormatOptions.QuotaKinds = []
        let names = (value ?? "").split(separator: ":")
        guard !names.isEmpty else {
            throw FormatProblem("quotatype is usrquota, grpquota, prjquota, with : between")
        }
        for name in names {
            switch name {
            case "usrquota": kinds.insert(.user)
            case "grpquota": kinds.insert(.group)
            case "prjquota": kinds.insert(.project)
            default:
                throw FormatProblem("quotatype is usrquota, grpquota, prjquota, with : between")
            }
        }
        return kinds
    }

    /// The 16 bytes of a UUID in its usual form.
    static func uuid(_ text: String) throws(FormatProblem) -> [UInt8] {
        let problem = FormatProblem("\(text) is no UUID: it has 32 hexadecimal digits")
        var digits: [UInt8] = []
        for character in text.utf8 where character != UInt8(ascii: "-") {
            guard let digit = UInt8(String(UnicodeScalar(character)), radix: 16) else {
                throw problem
            }
            digits.append(digit)
        }
        // With dashes it has them where they belong.
        let dashes = text.utf8.enumerated().filter { $0.element == UInt8(ascii: "-") }
        guard digits.count == 32, dashes.isEmpty || dashes.map(\.offset) == [8, 13, 18, 23] else {
            throw problem
        }
        return stride(from: 0, to: 32, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
    }

    /// A random UUID (RFC 9562, version 4).
    static func randomUUID() -> [UInt8] {
        var bytes = (0..<16).map { _ in UInt8.random(in: 0...255) }
        bytes[6] = bytes[6] & 0x0F | 0x40
        bytes[8] = bytes[8] & 0x3F | 0x80
        return bytes
    }

    /// The time that everything gets: now, or what SOURCE_DATE_EPOCH says.
    private static func time() throws(CommandFailure) -> Timestamp {
        guard let text = unsafe getenv("SOURCE_DATE_EPOCH").map({ unsafe String(cString: $0) })
        else { return Timestamp(seconds: Timestamp.now.seconds) }
        guard let seconds = Int64(text), seconds >= 0 else {
            throw CommandFailure("SOURCE_DATE_EPOCH is a number of seconds since 1970")
        }
        return Timestamp(seconds: seconds)
    }
}
