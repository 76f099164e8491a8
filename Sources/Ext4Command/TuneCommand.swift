internal import ArgumentParser
internal import Ext4
internal import Ext4Check
internal import Ext4Host
internal import Glibc
internal import Synchronization

/// `ext4 tune`: changes what a volume is, but not what it holds.
struct TuneCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tune",
        abstract: "Change the label, the UUID, features and other settings of a volume.",
        discussion: """
            The options are those of tune2fs. The volume must not be mounted; a journal that waits \
            is replayed first.

            FEATURES
              -O takes names with commas between them, ^ before those to switch off. \
            On can be switched: has_journal, dir_index, ext_attr, stable_inodes, ea_inode, encrypt, \
            large_dir, extent, metadata_csum_seed, large_file, huge_file, dir_nlink, extra_isize, \
            verity, read-only, metadata_csum, uninit_bg. Off: has_journal, orphan_file, dir_index, \
            stable_inodes, metadata_csum_seed, read-only, metadata_csum, uninit_bg. The others are \
            refused by name.

            A new UUID, with metadata_csum but without metadata_csum_seed, takes a new checksum of \
            everything; -O metadata_csum_seed before makes it a matter of one block. What is cut \
            off in the middle is put right by ext4 fsck -fy, and can then be done again.

            EXTENDED OPTIONS
              -E stride=BLOCKS, stripe_width=BLOCKS, hash_alg=legacy|half_md4|tea,
                 mount_opts=OPTIONS, mmp_update_interval=SECONDS, hash_seed=UUID

            EXAMPLES
              ext4 tune -L root disk.img
              ext4 tune -U random disk.img
              ext4 tune -O ^has_journal disk.img
              ext4 tune -m 1 -e remount-ro -o acl,^user_xattr /dev/sdb1

            EXIT STATUS
              0 when all was changed, 1 otherwise.
            """)

    @Argument(help: "The image file or block device.")
    var image: String

    @OptionGroup var settings: TuneSettings

    @Flag(name: .customShort("l"), help: "Show the superblock afterwards, as ext4 info does.")
    var lists = false

    @Flag(
        name: .shortAndLong, help: "Go on with a volume that has errors or was not unmounted.")
    var force = false

    @Flag(help: "Write an object.")
    var json = false

    @OptionGroup var log: LogOptions

    func run() throws {
        let changes = try settings.changes()
        guard changes != TuneChanges() else {
            guard lists else { throw CommandFailure("nothing to change; see ext4 tune --help") }
            return try show()
        }
        Interruption.watch()
        let device: FileDevice
        do throws(Ext4Error) {
            device = try FileDevice(path: image, access: .readWrite)
        } catch {
            throw CommandFailure(opening: image, error)
        }
        var options = TuneOptions()
        options.clock = { Timestamp.now }
        options.log = Log(log.logger)
        options.isForced = force
        let line = Mutex(ProgressLine("tuning"))
        options.progress = { done, total in
            line.withLock { $0.show("checksums", done: done, total: total) }
        }
        let report: TuneReport
        do throws(TuneFailure) {
            report = try Tuner.tune(device, changes, options: options)
        } catch {
            ProgressLine.clear()
            switch error {
            case .volume(.busy): throw CommandFailure.protected(image)
            case .volume(let error): throw CommandFailure(opening: image, error)
            case .refused(let words): throw CommandFailure("\(Quoted(image.utf8)): \(words)")
            }
        }
        ProgressLine.clear()
        if report.needsRepair { try repair(device) }
        if lists { return try show() }
        var output = Output()
        if json {
            try output.write(
                JSONText.object([
                    ("image", .string(image)),
                    ("featuresOn", .array(report.featuresOn.names.map { .string($0) })),
                    ("featuresOff", .array(report.featuresOff.names.map { .string($0) })),
                    ("directoriesMade", .bool(report.needsRepair)),
                ]).text)
        }
        try output.flush()
    }

    /// Makes directories anew that have to look different now.
    private func repair(_ device: FileDevice) throws {
        var options = CheckOptions()
        options.now = Timestamp.now
        let line = CheckProgressLine()
        options.progress = { line.show($0) }
        let report: RepairReport
        do throws(Ext4Error) {
            report = try Repairer.repair(device, options: options, mode: .all, takesOver: force)
        } catch {
            ProgressLine.clear()
            throw CommandFailure(
                "\(Quoted(image.utf8)): \(CommandFailure.words(for: error));"
                    + " run ext4 fsck -fy to finish")
        }
        ProgressLine.clear()
        guard report.isClean else {
            throw CommandFailure("\(Quoted(image.utf8)): run ext4 fsck -fy to finish")
        }
    }

    private func show() throws {
        let info = try InfoCommand.parse(json ? ["--json", "--", image] : ["--", image])
        try info.run()
    }
}

/// The options of `ext4 tune`: those of tune2fs.
struct TuneSettings: ParsableArguments {
    @Option(
        name: [.customShort("L"), .long],
        help: ArgumentHelp("The label, at most 16 bytes.", valueName: "label"))
    var label: PathArgument?

    @Option(
        name: [.customShort("U"), .long],
        help: ArgumentHelp("The UUID; or random, time, clear.", valueName: "uuid"))
    var uuid: String?

    @Option(help: ArgumentHelp("The seed of the hashes of names.", valueName: "uuid"))
    var hashSeed: String?

    @Option(
        name: .customShort("m"),
        help: ArgumentHelp("Hundredths that only root may use: 0 to 50.", valueName: "percent"))
    var reserved: Double?

    @Option(
        name: .customShort("r"),
        help: ArgumentHelp("Blocks that only root may use.", valueName: "blocks"))
    var reservedBlocks: UInt64?

    @Option(
        name: .customShort("u"),
        help: ArgumentHelp("The user who may use them, too.", valueName: "user"))
    var user: OwnerArgument?

    @Option(
        name: .customShort("g"),
        help: ArgumentHelp("The group that may use them, too.", valueName: "group"))
    var group: String?

    @Option(
        name: .customShort("e"),
        help: ArgumentHelp(
            "What a mount does on errors: continue, remount-ro, panic.", valueName: "behaviour"))
    var errors: String?

    @Option(
        name: .customShort("o"),
        help: ArgumentHelp(
            """
            Options that mounts have of themselves, ^ before those to drop: debug, bsdgroups, \
            user_xattr, acl, uid16, journal_data, journal_data_ordered, journal_data_writeback, \
            nobarrier, block_validity, discard, nodelalloc.
            """, valueName: "options"))
    var mountDefaults: [String] = []

    @Option(
        name: .customShort("O"),
        help: ArgumentHelp(
            "Features, with commas; ^ before those to switch off.", valueName: "features"))
    var features: [String] = []

    @Option(
        name: .customShort("E"),
        help: ArgumentHelp("More options; see above.", valueName: "options"))
    var extended: [String] = []

    @Flag(name: .customShort("j"), help: "With a journal, as -O has_journal.")
    var hasJournal = false

    @Option(
        name: .customShort("J"),
        help: ArgumentHelp("The new journal: size=MiB.", valueName: "options"))
    var journal: String?

    @Option(
        name: .customShort("c"), parsing: .unconditional,
        help: ArgumentHelp("Mounts after which a check is due; 0 or -1 for never.", valueName: "n"))
    var maximumMountCount: Int16?

    @Option(
        name: .customShort("C"),
        help: ArgumentHelp("How often it was mounted since the last check.", valueName: "n"))
    var mountCount: UInt16?

    @Option(
        name: .customShort("i"),
        help: ArgumentHelp(
            "Days (or with m months, w weeks, s seconds) after which a check is due; 0: never.",
            valueName: "time"))
    var interval: String?

    @Option(
        name: .customShort("T"),
        help: ArgumentHelp("When it was last checked: now, or a date.", valueName: "time"))
    var lastCheck: TimeArgument?

    @Option(
        name: .customShort("M"),
        help: ArgumentHelp("Where it was last mounted.", valueName: "directory"))
    var lastMounted: PathArgument?

    @Option(name: .customShort("Q"), help: .hidden)
    var quota: String?

    /// The options as the engine takes them.
    func changes() throws(CommandFailure) -> TuneChanges {
        do throws(FormatProblem) {
            return try TuneArguments.changes(self)
        } catch {
            throw CommandFailure("\(error)")
        }
    }
}
