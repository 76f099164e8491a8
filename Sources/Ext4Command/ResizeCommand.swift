internal import ArgumentParser
internal import Ext4
internal import Ext4Check
internal import Ext4Host
internal import Glibc
internal import Synchronization

/// `ext4 resize`: makes a volume larger or smaller.
struct ResizeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "resize",
        abstract: "Make a volume larger or smaller.",
        discussion: """
            SIZE is a number of the volume's blocks, or with s (sectors of 512 bytes), K, M, G or T \
            behind it of those; with + or - before it, by how much. Without a SIZE the volume \
            fills its device or image file, as with --device. An image file is made longer before \
            its volume grows, and cut off after it was made smaller.

            A volume that was in use since its last check is checked first, and one that has \
            errors is refused, without -f.

            A mounted volume is named by its mount point, and can only become larger, whether \
            ext4 mount or the kernel serves the mount. Who uses it waits for that moment. An image \
            file that ext4 mount has mounted is made longer, too; a loop device over one is not: \
            see truncate(1) and losetup -c.

            Cut off at any moment, the volume is sound, or made so by ext4 fsck -fy, and resize \
            can be run again.

            EXAMPLES
              ext4 resize disk.img 4G
              ext4 resize disk.img +500M
              ext4 resize --minimum disk.img
              ext4 resize --device /dev/sdb1
              ext4 resize -P disk.img
              ext4 resize /mnt 8G

            EXIT STATUS
              0 when the volume has the size now, 1 otherwise.
            """)

    @Argument(help: "The image file or block device, or where it is mounted.")
    var image: String

    @Argument(
        help: ArgumentHelp("The new size, perhaps with a sign and a unit.", valueName: "size"))
    var size: ResizeArgument?

    @Flag(
        name: [.customShort("M"), .customLong("minimum")],
        help: "Make it as small as what it holds allows.")
    var minimum = false

    @Flag(name: .customLong("device"), help: "Fill the device or the image file.")
    var fillsDevice = false

    @Flag(
        name: [.customShort("P"), .customLong("print-minimum")],
        help: "Only print how many blocks it needs at least.")
    var printsMinimum = false

    @Flag(name: .customShort("n"), help: "Only tell what would be done.")
    var looksOnly = false

    @Flag(
        name: .customShort("f"),
        help: "Go on without a check, and with a volume that has errors.")
    var force = false

    @Flag(help: "Write an object.")
    var json = false

    @OptionGroup var log: LogOptions

    func validate() throws {
        let given = [size != nil, minimum, fillsDevice, printsMinimum].filter { $0 }.count
        guard given <= 1 else {
            throw ValidationError(
                "Only one of SIZE, --minimum, --device and --print-minimum can be given.")
        }
    }

    func run() throws {
        Interruption.watch()
        if let mounted = try MountedResize(directory: image) { return try grow(mounted) }
        let device: FileDevice
        do throws(Ext4Error) {
            device = try FileDevice(
                path: image, access: looksOnly || printsMinimum ? .readOnly : .readWrite)
        } catch {
            if error == .busy, let point = DeviceUse.find(path: image)?.mountPoint {
                throw CommandFailure(
                    "\(Quoted(image.utf8)): it is mounted on \(Quoted(point.utf8)); to make it "
                        + "larger name that directory, else unmount it first")
            }
            throw CommandFailure(opening: image, error)
        }
        let work = ResizeWork(device: device, image: image, options: resizeOptions)
        var output = Output()
        if printsMinimum {
            let blocks = try work.minimumBlocks()
            ProgressLine.clear()
            try output.write(
                json
                    ? JSONText.object([
                        ("image", .string(image)), ("minimumBlocks", .number(blocks)),
                    ]).text
                    : "Estimated minimum size of the filesystem: \(blocks)\n")
            return try output.flush()
        }
        let superblock = try work.superblock()
        let blocks = try minimum ? work.minimumBlocks() : goal(superblock, device.byteCount)
        if looksOnly {
            let usable = Resizer.usableBlocks(blocks, of: superblock)
            if usable < superblock.blocksCount {
                try work.checkFits(usable)
            } else {
                try work.checkFormat(of: usable, superblock)
            }
            try output.write(plan(superblock, usable))
            return try output.flush()
        }
        if !force { try work.check() }
        let report = try work.resize(to: blocks, from: superblock, isMinimum: minimum)
        ProgressLine.clear()
        if json || !report.isCancelled { try output.write(text(of: report)) }
        try output.flush()
        if let signal = Interruption.signal {
            throw CommandFailure(
                "interrupted; \(Quoted(image.utf8)) has \(report.newBlocks) blocks now",
                status: 128 + signal)
        }
    }

    private var resizeOptions: ResizeOptions {
        var options = ResizeOptions()
        options.clock = { Timestamp.now }
        options.log = Log(log.logger)
        options.isForced = force
        let line = ResizeProgressLine()
        options.progress = { line.show($0) }
        options.isCancelled = { Interruption.isThere }
        return options
    }

    /// Makes a mounted volume larger.
    private func grow(_ mounted: MountedResize) throws {
        guard !minimum, !printsMinimum else {
            throw CommandFailure(
                "\(Quoted(image.utf8)): is mounted, and can only become larger; unmount it first")
        }
        let (superblock, byteCount) = try mounted.state()
        let blocks = try goal(superblock, byteCount)
        let usable = Resizer.usableBlocks(blocks, of: superblock)
        guard usable >= superblock.blocksCount else {
            throw CommandFailure(
                "\(Quoted(image.utf8)): has \(superblock.blocksCount) blocks, and is mounted: it "
                    + "can only become larger; unmount it to make it smaller")
        }
        var output = Output()
        if looksOnly {
            try output.write(plan(superblock, usable))
        } else {
            try output.write(text(of: mounted.resize(to: blocks, from: superblock)))
        }
        try output.flush()
    }

    /// The size that is asked for, in blocks, of a volume on a device of so many bytes.
    private func goal(_ superblock: Superblock, _ byteCount: UInt64) throws -> UInt64 {
        guard let size else { return byteCount >> UInt64(superblock.blockSizeLog2) }
        guard let blocks = size.blocks(of: superblock) else {
            throw CommandFailure("\(Quoted(image.utf8)): no volume can have that size")
        }
        return blocks
    }

    private func plan(_ superblock: Superblock, _ blocks: UInt64) -> String {
        if json {
            return JSONText.object([
                ("image", .string(image)), ("oldBlocks", .number(superblock.blocksCount)),
                ("newBlocks", .number(blocks)), ("blockSize", .number(superblock.blockSize)),
                ("done", .bool(false)),
            ]).text
        }
        let place = Quoted(image.utf8)
        return blocks == superblock.blocksCount
            ? "\(place): has \(blocks) blocks already\n"
            : "\(place): would be resized from \(superblock.blocksCount) to \(blocks) blocks"
                + " of \(superblock.blockSize) bytes\n"
    }

    private func text(of report: ResizeReport) -> String {
        if json {
            return JSONText.object([
                ("image", .string(image)), ("oldBlocks", .number(report.oldBlocks)),
                ("newBlocks", .number(report.newBlocks)),
                ("blockSize", .number(report.blockSize)),
                ("movedBlocks", .number(report.movedBlocks)),
                ("movedInodes", .number(report.movedInodes)),
                ("done", .bool(!report.isCancelled)),
            ]).text
        }
        let place = Quoted(image.utf8)
        guard report.newBlocks != report.oldBlocks else {
            return "\(place): has \(report.newBlocks) blocks already\n"
        }
        var moved = ""
        if report.movedBlocks > 0 || report.movedInodes > 0 {
            moved = " (\(report.movedBlocks) blocks and \(report.movedInodes) inodes moved)"
        }
        return "\(place): resized from \(report.oldBlocks) to \(report.newBlocks) blocks"
            + " of \(report.blockSize) bytes\(moved)\n"
    }
}

/// A size as `resize2fs` takes it, and one against the present size.
struct ResizeArgument: ExpressibleByArgument {
    private let sign: Character?
    private let amount: UInt64
    /// Bytes of a unit; nil for blocks.
    private let unit: UInt64?

    /// Arguments of the command in which a size with a minus is no option any more.
    static func shielded(_ arguments: [String]) -> [String] {
        guard arguments.first == ResizeCommand._commandName else { return arguments }
        return arguments.map { argument in
            let second = argument.dropFirst().first
            return argument.first == "-" && second.map { ("0"..."9").contains($0) } == true
                ? " " + argument : argument
        }
    }

    init?(argument: String) {
        var text = argument.drop { $0 == " " }
        sign = text.first.flatMap { $0 == "+" || $0 == "-" ? $0 : nil }
        if sign != nil { text.removeFirst() }
        let digits = text.prefix { ("0"..."9").contains($0) }
        guard let amount = UInt64(digits) else { return nil }
        self.amount = amount
        let suffix = text[digits.endIndex...]
        let bases: [Character: UInt64] = [
            "s": 9, "k": 10, "m": 20, "g": 30, "t": 40, "p": 50,
        ]
        guard let letter = suffix.first else {
            unit = nil
            return
        }
        let lower = Character(letter.lowercased())
        guard let base = bases[lower], suffix.dropFirst().isEmpty || suffix.dropFirst() == "iB"
        else { return nil }
        unit = 1 << base
    }

    /// The size in blocks, rounded down; nil for one that cannot be calculated with.
    func blocks(of superblock: Superblock) -> UInt64? {
        var blocks = amount
        if let unit {
            let (bytes, overflow) = amount.multipliedReportingOverflow(by: unit)
            guard !overflow else { return nil }
            blocks = bytes >> UInt64(superblock.blockSizeLog2)
        }
        switch sign {
        case "+":
            let (sum, overflow) = superblock.blocksCount.addingReportingOverflow(blocks)
            return overflow ? nil : sum
        case "-":
            return blocks < superblock.blocksCount ? superblock.blocksCount - blocks : nil
        default:
            return blocks > 0 ? blocks : nil
        }
    }
}

/// What `ext4 resize` does to an image or device.
struct ResizeWork {
    let device: FileDevice
    let image: String
    let options: ResizeOptions

    private func failure(_ error: ResizeFailure) -> CommandFailure {
        ProgressLine.clear()
        switch error {
        case .volume(let error): return CommandFailure(opening: image, error)
        case .refused(let words): return CommandFailure("\(Quoted(image.utf8)): \(words)")
        }
    }

    /// The volume's superblock, as its journal has it.
    func superblock() throws(CommandFailure) -> Superblock {
        do throws(Ext4Error) {
            return try Volume.open(device).superblock
        } catch {
            throw CommandFailure(opening: image, error)
        }
    }

    /// Checks a volume that was in use since its last check, as resize2fs wants it.
    func check() throws(CommandFailure) {
        do throws(Ext4Error) {
            var opening = OpenOptions()
            opening.access = .readWrite
            opening.clock = options.clock
            let volume = try Volume.open(device, options: opening)
            let superblock = volume.superblock
            // Brings it up to date with its journal, and frees what a crash left.
            try volume.close()
            let isChecked =
                superblock.state == 1 && superblock.errorCount == 0
                && superblock.lastCheckTime.seconds >= superblock.mountTime.seconds
            guard !isChecked else { return }
            var checking = CheckOptions()
            checking.now = Timestamp.now
            let line = CheckProgressLine()
            checking.progress = { line.show($0) }
            checking.isCancelled = { Interruption.isThere }
            let report = try Check.run(device, options: checking).report
            ProgressLine.clear()
            guard Interruption.signal == nil else {
                throw Ext4Error.notPermitted
            }
            guard !report.isClean else { return }
        } catch {
            ProgressLine.clear()
            if let signal = Interruption.signal {
                throw CommandFailure("interrupted", status: 128 + signal)
            }
            throw error == .busy ? .protected(image) : CommandFailure(opening: image, error)
        }
        throw CommandFailure(
            "\(Quoted(image.utf8)): is damaged; see ext4 fsck -fn, and repair it first")
    }

    /// The fewest blocks that the volume needs.
    func minimumBlocks() throws(CommandFailure) -> UInt64 {
        do throws(ResizeFailure) {
            return try Resizer.minimumBlocks(of: device, options: options)
        } catch {
            throw failure(error)
        }
    }

    /// Refuses a size that the volume's format does not allow.
    func checkFormat(of blocks: UInt64, _ superblock: Superblock) throws(CommandFailure) {
        do throws(ResizeFailure) {
            try Resizer.checkFormat(of: blocks, superblock)
        } catch {
            throw failure(error)
        }
    }

    /// Refuses a size that is less than the volume needs.
    func checkFits(_ blocks: UInt64) throws(CommandFailure) {
        let least = try minimumBlocks()
        guard blocks < least else { return }
        throw CommandFailure(
            "\(Quoted(image.utf8)): what it holds needs \(least) blocks at least")
    }

    /// Resizes the volume, and the image file with it.
    func resize(
        to blocks: UInt64, from superblock: Superblock, isMinimum: Bool
    ) throws(CommandFailure) -> ResizeReport {
        let log2 = UInt64(superblock.blockSizeLog2)
        let before = device.byteCount
        var options = options
        if Resizer.usableBlocks(blocks, of: superblock) << log2 > before {
            guard !device.isBlockDevice else {
                throw CommandFailure(
                    "\(Quoted(image.utf8)): the device has only \(before >> log2) blocks of"
                        + " \(superblock.blockSize) bytes")
            }
            try setLength(blocks << log2)
            options.zerosFrom = before
        }
        let report: ResizeReport
        do throws(ResizeFailure) {
            report = try Resizer.resize(
                device, to: blocks, isMinimum: isMinimum, options: options)
        } catch {
            // What was added is cut off again, as far as the volume does not use it by now.
            let used = (try? self.superblock().blocksCount) ?? superblock.blocksCount
            if device.byteCount > before { try? setLength(max(used << log2, before)) }
            throw failure(error)
        }
        if report.newBlocks < report.oldBlocks, !device.isBlockDevice {
            try setLength(report.newBlocks << log2)
        } else if device.byteCount > before {
            try setLength(max(report.newBlocks << log2, before))
        }
        return report
    }

    private func setLength(_ count: UInt64) throws(CommandFailure) {
        do throws(Ext4Error) {
            try device.setByteCount(count)
        } catch {
            throw CommandFailure(opening: image, error)
        }
    }
}

/// The progress of a resize.
final class ResizeProgressLine: Sendable {
    private let line = Mutex(ProgressLine("resizing"))

    func show(_ progress: ResizeProgress) {
        let words =
            switch progress.stage {
            case .newGroups: "groups"
            case .search: "search"
            case .blocks: "blocks"
            case .inodes: "inodes"
            case .backups: "backups"
            }
        line.withLock { $0.show(words, done: progress.done, total: progress.total) }
    }
}
