package import Ext4
import Synchronization

/// A random workload on a volume, repeated by its seed, beside a model that says what must come of
/// each of its operations. After each, what it touched is compared.
///
/// Each step draws from a stream of its own, so that a run from which steps are left out does much
/// the same: that is how a failure is made small (`WorkloadReduction`).
package final class Workload {
    /// A clock that stands still during an operation.
    package final class Clock: Sendable {
        private let seconds = Atomic<Int64>(1_600_000_000)
        private let nanoseconds: UInt32
        private let isStopped: Bool

        /// Inodes of 128 bytes have whole seconds; workloads that share a volume have one moment.
        package init(isWhole: Bool = false, isStopped: Bool = false) {
            nanoseconds = isWhole ? 0 : 123_456_789
            self.isStopped = isStopped
        }

        /// The time.
        package var now: Timestamp {
            Timestamp(seconds: seconds.load(ordering: .relaxed), nanoseconds: nanoseconds)
        }
        /// Goes on by a second.
        package func advance() {
            if !isStopped { seconds.add(1, ordering: .relaxed) }
        }
    }

    /// What the operations are done to.
    package var volume: Volume
    package let clock: Clock
    /// What the volume should be.
    package let model: ReferenceModel
    /// The stream of the present step.
    package var random: Randomness
    private let seed: UInt64
    /// The only steps that are carried out, by number from 1 on; nil for all.
    package var steps: Set<Int>?
    /// Whether what an operation touched is compared afterwards.
    package var comparesEachStep = true
    /// What went otherwise than the model says.
    package private(set) var surprises: [String] = []
    package private(set) var recent: [String] = []
    /// How many of the last operations are remembered.
    package var memory = 64
    /// How many steps were taken.
    package private(set) var operations = 0
    /// Whether the device may fail: the first failure ends the run.
    package var toleratesFailure = false
    package private(set) var failure: (error: Ext4Error, operation: String)?
    /// Whether the volume may be full.
    package var toleratesFullVolume = false
    package private(set) var refusals = 0
    /// The inode that was asked for last: what an operation that failed was about.
    package private(set) var lastNode: ReferenceModel.Node?
    private var touched: [ReferenceModel.Node] = []
    /// Called before each operation and once one succeeded, when the model is up to date.
    package var onState: (() -> Void)?
    /// Told of each call that made something durable: everything, or with a node, only that.
    package var onSync: ((ReferenceModel.Node?) -> Void)?
    /// The contents of all files take about as much memory at most.
    package var weightLimit = 12 << 20
    /// About as many files have names at most.
    package var fileLimit = 1500
    /// Whether files may become as large as the volume's maps allow.
    package var hasFarOffsets = true

    let names: [FileName]

    /// - Parameter inode: the directory that the workload has for itself; nil for the root.
    package init(
        _ volume: Volume, in inode: Inode? = nil, clock: Clock, seed: UInt64
    ) throws(Ext4Error) {
        self.volume = volume
        self.clock = clock
        self.seed = seed
        random = Randomness(seed)
        let top: Inode
        if let inode { top = inode } else { top = try volume.root() }
        model = ReferenceModel(top, of: volume)
        // Enough to meet each other often, and long enough to fill blocks.
        names = (0..<60).map { index in
            let text = "n\(index)"
            if index % 6 == 5 {
                return FileName(text + String(repeating: "x", count: 100 + index * 2))
            }
            return index % 11 == 3 ? FileName(Array(text.utf8) + [0xFF, 0x80]) : FileName(text)
        }
    }

    /// Opens for writing, by that clock.
    package static func options(_ clock: Clock, cacheBytes: Int = 4 << 20) -> OpenOptions {
        var options = OpenOptions()
        options.access = .readWrite
        options.clock = { clock.now }
        options.cacheBytes = cacheBytes
        return options
    }

    // MARK: Running

    var isUsingExtents: Bool { volume.superblock.incompatible.contains(.extents) }
    var blockSize: UInt64 { UInt64(volume.blockSize) }

    /// Runs `count` steps, unless one goes wrong.
    package func run(_ count: Int) {
        for _ in 0..<count where isRunning {
            clock.advance()
            operations += 1
            if let steps, !steps.contains(operations) { continue }
            random = Randomness(seed, step: operations)
            touched.removeAll(keepingCapacity: true)
            step()
            if comparesEachStep, isRunning, !toleratesFailure { compareTouched() }
        }
    }

    /// Compares what the last step was about: attributes, listings, a part of the contents.
    private func compareTouched() {
        var comparison = ReferenceComparison(of: volume)
        var seen: [ReferenceModel.Node] = []
        for node in touched where seen.count < 8 {
            if seen.contains(where: { $0 === node }) { continue }
            seen.append(node)
            let isGone =
                node.isDirectory
                ? node !== model.root
                    && node.parent?.entries.values.contains { $0 === node } != true
                : node.names == 0 && node.references == 0
            if isGone { continue }
            let path = { "inode \(node.number)" }
            do throws(Ext4Error) {
                let inode = try volume.inode(node.number)
                try comparison.compareAttributes(of: node, inode, path())
                if node.isDirectory, node.entries.count < 40 || random.chance(10) {
                    try comparison.compareEntries(node, inode, path())
                } else if node.type == .regular, node.contents.size == inode.size {
                    let size = node.contents.size
                    if size <= 16 << 10 {
                        try comparison.comparePart(of: node, inode, at: 0, count: 17 << 10, path())
                    } else {
                        let start = UInt64(random.below(Int(min(size, 1 << 40))))
                        try comparison.comparePart(of: node, inode, at: start, count: 8192, path())
                        try comparison.comparePart(
                            of: node, inode, at: size - 5000, count: 6000, path())
                    }
                }
            } catch {
                fail("comparing inode \(node.number): \(error)")
            }
        }
        for difference in comparison.differences { fail(difference) }
    }

    /// Opens the volume again, by somebody of whom nothing is in memory.
    package func reopen(_ open: () throws(Ext4Error) -> Volume) throws(Ext4Error) {
        releaseAll()
        try volume.close()
        volume = try open()
    }

    /// Whether all has gone as it should.
    package var isRunning: Bool { surprises.isEmpty && failure == nil }

    /// Goes on after a failure of the device that changed nothing.
    package func forgive() { failure = nil }

    /// Has a node compared after this step.
    func note(_ node: ReferenceModel.Node) { touched.append(node) }

    /// Notes something that is not as it should be: the run ends.
    package func fail(_ text: String) { surprises.append(text) }

    /// What went wrong, with what came before it.
    package var report: String {
        surprises.joined(separator: "\n") + "\nafter \(operations) operations; the last ones:\n  "
            + recent.suffix(12).joined(separator: "\n  ")
    }

    /// Runs an operation, which must fail with `expected` or, with nil, succeed.
    ///
    /// - Returns: whether it succeeded.
    func attempt(
        _ name: String, expecting expected: Ext4Error?, orEither other: Set<Ext4Error> = [],
        _ body: () throws(Ext4Error) -> Void
    ) -> Bool {
        recent.append("\(operations): \(name.prefix(100)) -> \(expected.map { "\($0)" } ?? "ok")")
        if recent.count > memory { recent.removeFirst(memory / 2) }
        onState?()
        do throws(Ext4Error) {
            try body()
            if let expected { fail("\(name): succeeded, should fail with \(expected)") }
            return true
        } catch {
            if toleratesFailure, error.isOfDevice {
                failure = (error, name)
                return false
            }
            if toleratesFullVolume, error == .noSpace {
                refusals += 1
                return false
            }
            if error != expected, !other.contains(error) {
                fail("\(name): \(error), should \(expected.map { "fail with \($0)" } ?? "succeed")")
            }
            return false
        }
    }

    func inode(_ node: ReferenceModel.Node) throws(Ext4Error) -> Inode {
        lastNode = node
        touched.append(node)
        return try volume.inode(node.number)
    }

    /// Compares everything; the differences.
    package func compare() -> [String] { ReferenceComparison(model, of: volume).differences }

    /// Gives all references back, so that nothing is left that has no name.
    package func releaseAll() {
        for node in model.orphans + model.files + model.directories where node.references > 0 {
            let count = node.references
            _ = attempt("release \(node.number)", expecting: nil) { () throws(Ext4Error) in
                try volume.release(node.number, count: count)
            }
            model.release(node, count: count)
        }
    }

    // MARK: The choice

    private func step() {
        if operations % 16 == 0 {
            let weight = model.files.reduce(0) { $0 + $1.contents.weight }
            if weight > weightLimit { return shrink() }
            // What is allocated and not written is in no file's weight.
            let space = volume.statistics()
            if !toleratesFullVolume, space.availableBlocks < space.blocks / 5 {
                return removeSome()
            }
        }
        if model.files.count > fileLimit, random.chance(50) { return removeSome() }
        switch random.below(100) {
        case 0..<14: makeFile()
        case 14..<20: makeDirectory()
        case 20..<23: makeLink()
        case 23..<25: makeSpecial()
        case 25..<45: write()
        case 45..<52: truncate()
        case 52..<60: changeRange()
        case 60..<69: rename()
        case 69..<72: link()
        case 72..<79: unlink()
        case 79..<82: removeDirectory()
        case 82..<89: changeAttribute()
        case 89..<92: changeMode()
        case 92..<94: changeFlags()
        case 94..<96: refer()
        case 96..<97: makeUnnamed()
        case 97..<98: makeMany()
        default: synchronise()
        }
    }

    func somewhere() -> ReferenceModel.Node {
        random.element(of: model.directories) ?? model.root
    }
    func someName() -> FileName { random.element(of: names) ?? "n" }

    /// A regular file, now and then one without a name.
    package func someFile() -> ReferenceModel.Node? {
        if random.chance(10), let orphan = random.element(of: model.orphans),
            orphan.type == .regular
        {
            return orphan
        }
        // A few looks, as most are regular files.
        for _ in 0..<5 {
            if let file = random.element(of: model.files), file.type == .regular { return file }
        }
        return nil
    }

    private func shrink() {
        let largest = model.files.max { $0.contents.weight < $1.contents.weight }
        guard let node = largest else { return }
        setSize(of: node, to: UInt64(random.below(5000)))
    }

    // MARK: Making

    private func newInode(_ type: UInt16) -> NewInode {
        NewInode(
            mode: FileMode(rawValue: type | UInt16(random.below(0o10000))),
            userID: random.chance(30) ? UInt32(random.below(200_000)) : 0,
            groupID: random.chance(30) ? UInt32(random.below(200_000)) : 0)
    }

    /// Makes something, which the model then has.
    private func make(_ new: NewInode, as name: FileName, in directory: ReferenceModel.Node) {
        var made: Inode?
        let isMade = attempt(
            "create \(new.mode.type) \(name) in \(directory.number)",
            expecting: model.failure(ofMaking: name, in: directory)
        ) { () throws(Ext4Error) in
            made = try volume.create(name, in: inode(directory), new)
        }
        guard isMade, let made else { return }
        touched.append(
            model.make(new, number: made.number, as: name, in: directory, at: clock.now))
    }

    private func makeFile() {
        if random.chance(2) {
            let long = FileName([UInt8](repeating: 0x61, count: 256))
            return make(newInode(0o100000), as: long, in: somewhere())
        }
        make(newInode(0o100000), as: someName(), in: somewhere())
    }

    private func makeDirectory() {
        guard model.directories.count < 40 else { return makeFile() }
        make(newInode(0o040000), as: someName(), in: somewhere())
    }

    private func makeLink() {
        let longest = min(volume.blockSize, 4096) - 1
        let lengths = [1, 20, 59, 60, 61, 100, 159, 160, 300, longest]
        let length = lengths[random.below(lengths.count)]
        var target = random.bytes(length)
        for index in target.indices where target[index] == 0 { target[index] = 0x2F }
        make(.symlink(to: target), as: someName(), in: somewhere())
    }

    private func makeSpecial() {
        let types: [UInt16] = [0o010000, 0o140000, 0o020000, 0o060000]
        var new = newInode(types[random.below(4)])
        if new.mode.type == .characterDevice || new.mode.type == .blockDevice {
            new.device =
                random.chance(50)
                ? DeviceNumber(major: UInt32(random.below(256)), minor: UInt32(random.below(256)))
                : DeviceNumber(
                    major: UInt32(random.below(4096)), minor: UInt32(random.below(1 << 20)))
        }
        make(new, as: someName(), in: somewhere())
    }

    /// Many names in one directory, of which some are renamed and some go.
    private func makeMany() {
        let directory = somewhere()
        let count = 20 + random.below(100)
        let mark = random.below(1000)
        let padding = String(repeating: "y", count: random.below(180))
        func name(_ index: Int) -> FileName { FileName("m\(mark)-\(index)-\(padding)") }
        guard directory.entries[name(0)] == nil else { return }
        for index in 0..<count where isRunning {
            make(NewInode(mode: FileMode(rawValue: 0o100644)), as: name(index), in: directory)
        }
        for index in 0..<count where index % 7 != 0 && isRunning {
            if index % 3 == 0 {
                move(name(index), in: directory, to: someName(), in: somewhere(), [])
            } else {
                unlink(name(index), in: directory)
            }
        }
    }

    private func makeUnnamed() {
        guard model.orphans.count < 8 else { return release() }
        let directory = somewhere()
        let new = newInode(0o100000)
        var made: Inode?
        let isMade = attempt("create unnamed in \(directory.number)", expecting: nil) {
            () throws(Ext4Error) in made = try volume.createUnnamed(in: inode(directory), new)
        }
        guard isMade, let made else { return }
        let node = model.makeUnnamed(new, number: made.number, for: directory, at: clock.now)
        // Some get a name.
        guard random.chance(40) else { return }
        let name = someName()
        let place = somewhere()
        let isLinked = attempt(
            "link unnamed \(node.number) as \(name)",
            expecting: model.failure(ofMaking: name, in: place)
        ) { () throws(Ext4Error) in
            try volume.link(inode(node), as: name, in: inode(place))
        }
        if isLinked { model.link(node, as: name, in: place, at: clock.now) }
    }

    // MARK: References

    private func refer() {
        if model.orphans.count > 5 || random.chance(40) { return release() }
        guard let node = random.element(of: model.files) else { return }
        let count = UInt64(1 + random.below(3))
        let isDone = attempt("acquire \(node.number) \(count)", expecting: nil) {
            () throws(Ext4Error) in
            let inode = try inode(node)
            for _ in 0..<count { volume.acquire(inode) }
        }
        if isDone { node.references += count }
    }

    private func release() {
        let held = model.orphans + model.files.filter { $0.references > 0 }
        guard let node = random.element(of: held) else { return }
        let count = 1 + UInt64(random.below(Int(node.references)))
        _ = attempt("release \(node.number) \(count)", expecting: nil) { () throws(Ext4Error) in
            try volume.release(node.number, count: count)
        }
        model.release(node, count: count)
    }

    private func synchronise() {
        if random.chance(50), let file = someFile() {
            synchronise(file, isDataOnly: random.chance(50))
        } else {
            synchroniseAll()
        }
    }

    /// Makes everything durable.
    package func synchroniseAll() {
        let isDone = attempt("sync", expecting: nil) { () throws(Ext4Error) in
            try volume.sync()
        }
        if isDone { onSync?(nil) }
    }

    /// Makes one file durable.
    package func synchronise(_ file: ReferenceModel.Node, isDataOnly: Bool) {
        let isDone = attempt("sync \(file.number)", expecting: nil) { () throws(Ext4Error) in
            try volume.sync(inode(file), dataOnly: isDataOnly)
        }
        if isDone { onSync?(file) }
    }
}

extension Ext4Error {
    /// Whether it tells of a device that fails, or of the volume that was given up for that.
    package var isOfDevice: Bool {
        switch self {
        case .io, .readOnlyVolume: true
        default: false
        }
    }
}
