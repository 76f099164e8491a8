internal import Ext4
internal import Ext4Host
internal import Glibc

/// Turns the options of `ext4 tune` into changes, or says in a line what is allowed.
enum TuneArguments {
    static func changes(_ settings: TuneSettings) throws(FormatProblem) -> TuneChanges {
        var changes = TuneChanges()
        changes.label = settings.label?.bytes
        changes.lastMounted = settings.lastMounted?.bytes
        // None at all is no check at every mount.
        changes.maximumMountCount = settings.maximumMountCount.map { $0 == 0 ? -1 : $0 }
        changes.mountCount = settings.mountCount
        try setIdentity(settings, &changes)
        try setReserve(settings, &changes)
        if let errors = settings.errors {
            guard let policy = OpenOptions.ErrorPolicy(rawValue: errors) else {
                throw FormatProblem("-e is continue, remount-ro or panic")
            }
            changes.errorPolicy = policy
        }
        if let interval = settings.interval {
            changes.checkInterval = try seconds(interval)
        }
        if let time = settings.lastCheck {
            let seconds = time.time ?? Timestamp.now
            guard (0..<1 << 40).contains(seconds.seconds) else {
                throw FormatProblem("-T is a time since 1970")
            }
            changes.lastCheck = seconds
        }
        for list in settings.mountDefaults { try setMountDefaults(list, &changes) }
        for list in settings.features { try setFeatures(list, &changes) }
        for list in settings.extended { try setExtended(list, &changes) }
        try setJournal(settings, &changes)
        if settings.quota != nil {
            throw FormatProblem("quota cannot be switched; tune2fs -Q counts quotas anew")
        }
        return changes
    }

    private static func setIdentity(
        _ settings: TuneSettings, _ changes: inout TuneChanges
    ) throws(FormatProblem) {
        switch settings.uuid?.lowercased() {
        case nil: break
        case "random", "time": changes.uuid = MkfsOptions.randomUUID()
        case "clear", "null": changes.uuid = [UInt8](repeating: 0, count: 16)
        case let text?: changes.uuid = try MkfsOptions.uuid(text)
        }
        if let seed = settings.hashSeed {
            changes.hashSeed =
                seed.lowercased() == "random"
                ? MkfsOptions.randomUUID() : try MkfsOptions.uuid(seed)
        }
    }

    private static func setReserve(
        _ settings: TuneSettings, _ changes: inout TuneChanges
    ) throws(FormatProblem) {
        if let percent = settings.reserved {
            guard percent >= 0, percent <= 50 else {
                throw FormatProblem("-m is a number of hundredths from 0 to 50")
            }
            changes.reserve = .percent(percent)
        }
        if let blocks = settings.reservedBlocks { changes.reserve = .blocks(blocks) }
        if let user = settings.user {
            guard let id = user.userID.flatMap({ UInt16(exactly: $0) }), user.groupID == nil else {
                throw FormatProblem("-u is a user with a number up to 65535")
            }
            changes.reserveUser = id
        }
        if let group = settings.group {
            guard let id = OwnerArgument(argument: ":" + group)?.groupID,
                let short = UInt16(exactly: id)
            else { throw FormatProblem("-g is a group with a number up to 65535") }
            changes.reserveGroup = short
        }
    }

    private static let mountBits: [(name: String, mask: UInt32, bits: UInt32)] = [
        ("debug", 0x1, 0x1), ("bsdgroups", 0x2, 0x2), ("user_xattr", 0x4, 0x4), ("acl", 0x8, 0x8),
        ("uid16", 0x10, 0x10), ("journal_data", 0x60, 0x20),
        ("journal_data_ordered", 0x60, 0x40), ("journal_data_writeback", 0x60, 0x60),
        ("nobarrier", 0x100, 0x100), ("block_validity", 0x200, 0x200),
        ("discard", 0x400, 0x400), ("nodelalloc", 0x800, 0x800),
    ]

    private static func setMountDefaults(
        _ list: String, _ changes: inout TuneChanges
    ) throws(FormatProblem) {
        for part in list.split(whereSeparator: { $0 == "," || $0 == " " }) {
            let isOff = part.first == "^"
            let name = isOff ? part.dropFirst() : part
            guard let option = mountBits.first(where: { $0.name == name }) else {
                let names = mountBits.map(\.name).joined(separator: ", ")
                throw FormatProblem("-o does not know \(name): it knows \(names)")
            }
            changes.defaultOptionsOff |= option.mask
            changes.defaultOptionsOn &= ~option.mask
            if !isOff { changes.defaultOptionsOn |= option.bits }
        }
    }

    private static func setFeatures(
        _ list: String, _ changes: inout TuneChanges
    ) throws(FormatProblem) {
        for part in list.split(whereSeparator: { $0 == "," || $0 == " " }) {
            let isOff = part.first == "^" || part.first == "-"
            let name = isOff || part.first == "+" ? part.dropFirst() : part
            guard let mask = FeatureMask(named: String(name)) else {
                throw FormatProblem(
                    "there is no feature \(name); ext4 tune --help lists those that can be switched"
                )
            }
            if isOff {
                changes.featuresOff.formUnion(mask)
            } else {
                changes.featuresOn.formUnion(mask)
            }
        }
    }

    private static func setJournal(
        _ settings: TuneSettings, _ changes: inout TuneChanges
    ) throws(FormatProblem) {
        if settings.hasJournal || settings.journal != nil {
            changes.featuresOn.formUnion(FeatureMask([.hasJournal]))
        }
        for part in (settings.journal ?? "").split(separator: ",") {
            guard part.hasPrefix("size="), let size = UInt64(part.dropFirst(5)) else {
                throw FormatProblem("-J knows size=MiB; the journal is on the volume itself")
            }
            changes.journalMebibytes = size
        }
    }

    private static func setExtended(
        _ list: String, _ changes: inout TuneChanges
    ) throws(FormatProblem) {
        // Mount options have commas of their own: they are all of the rest.
        var rest = list[...]
        while !rest.isEmpty {
            if rest.hasPrefix("mount_opts=") {
                changes.mountOptions =
                    PathArgument(argument: String(rest.dropFirst("mount_opts=".count)))?.bytes
                return
            }
            let part = rest.prefix { $0 != "," }
            rest = rest[part.endIndex...].dropFirst()
            let name = part.prefix { $0 != "=" }
            let value = String(part[name.endIndex...].dropFirst())
            switch name {
            case "stride": changes.raidStride = try number(name, value)
            case "stripe_width", "stripe-width": changes.stripeWidth = try number(name, value)
            case "mmp_update_interval": changes.mmpInterval = try number(name, value)
            case "hash_seed": changes.hashSeed = try MkfsOptions.uuid(value)
            case "hash_alg", "hash-alg":
                guard let version = ["legacy", "half_md4", "tea"].firstIndex(of: value) else {
                    throw FormatProblem("hash_alg is legacy, half_md4 or tea")
                }
                changes.hashVersion = UInt8(version)
            default:
                throw FormatProblem(
                    "-E does not know \(name): it knows stride, stripe_width, hash_alg, hash_seed,"
                        + " mmp_update_interval and mount_opts")
            }
        }
    }

    private static func number<Number: FixedWidthInteger>(
        _ name: Substring, _ value: String
    ) throws(FormatProblem) -> Number {
        guard let number = Number(value), number >= 0 else {
            throw FormatProblem("\(name)= needs a number up to \(Number.max)")
        }
        return number
    }

    /// Days, or what the letter says.
    private static func seconds(_ text: String) throws(FormatProblem) -> UInt32 {
        let units: [Character: UInt32] = ["d": 86_400, "m": 2_592_000, "w": 604_800, "s": 1]
        let letter = text.lowercased().last.flatMap { units[$0] }
        guard let count = UInt32(letter == nil ? text[...] : text.dropLast()) else {
            throw FormatProblem("-i is a number of days, or of what m, w or s behind it says")
        }
        let (seconds, overflow) = count.multipliedReportingOverflow(by: letter ?? 86_400)
        guard !overflow else { throw FormatProblem("-i is too long a time") }
        return seconds
    }
}
