import Synchronization

@testable import Ext4

/// A random workload on a volume, repeated by its seed, beside a model that says what must come of
/// each of its operations.
final class Workload {
    /// A clock that stands still during an operation.
    final class Clock: Sendable {
        private let seconds = Atomic<Int64>(1_600_000_000)
        private let nanoseconds: UInt32
        private let isStopped: Bool

        /// Inodes of 128 bytes have whole seconds; workloads that share a volume have one moment.
        init(isWhole: Bool = false, isStopped: Bool = false) {
            nanoseconds = isWhole ? 0 : 123_456_789
            self.isStopped = isStopped
        }

        var now: Timestamp {
            Timestamp(seconds: seconds.load(ordering: .relaxed), nanoseconds: nanoseconds)
        }
        func advance() {
            if !isStopped { seconds.add(1, ordering: .relaxed) }
        }
    }

    /// Flags that the model knows.
    static let modelledFlags: InodeFlags = [.noDump, .noAccessTime, .immutable, .appendOnly]

    var volume: Volume
    let clock: Clock
    let root: ModelNode
    var random: Randomness
    var directories: [ModelNode]
    /// Everything else that has a name.
    var files: [ModelNode] = []
    /// What has no name and is held by a reference.
    var orphans: [ModelNode] = []
    /// What went otherwise than the model says.
    private(set) var surprises: [String] = []
    private(set) var recent: [String] = []
    private(set) var operations = 0
    /// Whether the device may fail: the first failure ends the run.
    var toleratesFailure = false
    private(set) var failure: (error: Ext4Error, operation: String)?
    /// Whether the volume may be full.
    var toleratesFullVolume = false
    private(set) var refusals = 0
    /// The inode that was asked for last: what an operation that failed was about.
    private(set) var lastNode: ModelNode?
    /// Called before each operation and once one succeeded, when the model is up to date.
    var onState: (() -> Void)?
    /// Told of each call that made something durable: everything, or with a node, only that.
    var onSync: ((ModelNode?) -> Void)?
    /// The contents of all files take about as much memory at most.
    var weightLimit = 12 << 20
    /// Whether files may become as large as the volume's maps allow.
    var hasFarOffsets = true

    let names: [FileName]

    /// - Parameter inode: the directory that the workload has for itself; nil for the root.
    init(
        _ volume: Volume, in inode: Inode? = nil, clock: Clock, seed: UInt64
    ) throws(Ext4Error) {
        self.volume = volume
        self.clock = clock
        random = Randomness(seed)
        let top: Inode
        if let inode { top = inode } else { top = try volume.root() }
        root = ModelNode(
            number: top.number, new: NewInode(mode: top.mode), time: top.modificationTime)
        directories = [root]
        // Enough to meet each other often, and long enough to fill blocks.
        names = (0..<60).map { index in
            let text = "n\(index)"
            if index % 6 == 5 {
                return FileName(text + String(repeating: "x", count: 100 + index * 2))
            }
            return index % 11 == 3 ? FileName(Array(text.utf8) + [0xFF, 0x80]) : FileName(text)
        }
    }

    static func options(_ clock: Clock, cacheBytes: Int = 4 << 20) -> OpenOptions {
        var options = OpenOptions()
        options.access = .readWrite
        options.clock = { clock.now }
        options.cacheBytes = cacheBytes
        return options
    }

    // MARK: Running

    var isUsingExtents: Bool { volume.superblock.incompatible.contains(.extents) }
    var blockSize: UInt64 { UInt64(volume.blockSize) }

    /// Runs `count` operations, unless one goes wrong.
    func run(_ count: Int) {
        for _ in 0..<count where isRunning {
            clock.advance()
            operations += 1
            step()
        }
    }

    /// Whether all has gone as it should.
    var isRunning: Bool { surprises.isEmpty && failure == nil }

    /// Goes on after a failure of the device that changed nothing.
    func forgive() { failure = nil }

    func fail(_ text: String) { surprises.append(text) }

    /// What went wrong, with what came before it.
    var report: String {
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
        if recent.count > 64 { recent.removeFirst(32) }
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

    func inode(_ node: ModelNode) throws(Ext4Error) -> Inode {
        lastNode = node
        return try volume.inode(node.number)
    }

    /// Compares everything; the differences.
    func compare() -> [String] {
        ModelComparison(root, of: volume, orphans: orphans).differences
    }

    /// Gives all references back, so that nothing is left that has no name.
    func releaseAll() {
        for node in orphans + files + directories where node.references > 0 {
            _ = attempt("release \(node.number)", expecting: nil) { () throws(Ext4Error) in
                try volume.release(node.number, count: node.references)
            }
            node.references = 0
        }
        orphans = []
    }

    // MARK: The choice

    private func step() {
        let weight = files.reduce(0) { $0 + $1.contents.weight }
        if weight > weightLimit { return shrink() }
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

    func somewhere() -> ModelNode { random.element(of: directories) ?? root }
    func someName() -> FileName { random.element(of: names) ?? "n" }

    func someFile() -> ModelNode? {
        if random.chance(10), let orphan = random.element(of: orphans), orphan.type == .regular {
            return orphan
        }
        // A few looks, as most are regular files.
        for _ in 0..<5 {
            if let file = random.element(of: files), file.type == .regular { return file }
        }
        return nil
    }

    private func shrink() {
        let largest = files.max { $0.contents.weight < $1.contents.weight }
        guard let node = largest else { return }
        setSize(of: node, to: UInt64(random.below(5000)))
    }

    // MARK: Making

    private func adopt(_ node: ModelNode, as name: FileName, in directory: ModelNode) {
        directory.entries[name] = node
        directory.modificationTime = clock.now
        if node.isDirectory {
            node.parent = directory
            directories.append(node)
        } else {
            node.names = 1
            files.append(node)
        }
    }

    private func newInode(_ type: UInt16) -> NewInode {
        NewInode(
            mode: FileMode(rawValue: type | UInt16(random.below(0o10000))),
            userID: random.chance(30) ? UInt32(random.below(200_000)) : 0,
            groupID: random.chance(30) ? UInt32(random.below(200_000)) : 0)
    }

    /// Makes something, which the model then has.
    private func make(_ new: NewInode, as name: FileName, in directory: ModelNode) {
        let expected: Ext4Error? =
            name.bytes.count > 255 ? .nameTooLong : directory.entries[name] != nil ? .exists : nil
        var made: Inode?
        let isMade = attempt(
            "create \(new.mode.type) \(name) in \(directory.number)", expecting: expected
        ) { () throws(Ext4Error) in
            made = try volume.create(name, in: inode(directory), new)
        }
        guard isMade, let made else { return }
        let node = ModelNode(number: made.number, new: new, time: clock.now)
        inherit(from: directory, to: node)
        adopt(node, as: name, in: directory)
    }

    private func inherit(from directory: ModelNode, to node: ModelNode) {
        if directory.mode.rawValue & 0o2000 != 0 {
            node.groupID = directory.groupID
            if node.isDirectory { node.mode = FileMode(rawValue: node.mode.rawValue | 0o2000) }
        }
        node.flags = directory.flags.intersection([.noDump, .noAccessTime])
    }

    private func makeFile() {
        if random.chance(2) {
            let long = FileName([UInt8](repeating: 0x61, count: 256))
            return make(newInode(0o100000), as: long, in: somewhere())
        }
        make(newInode(0o100000), as: someName(), in: somewhere())
    }

    private func makeDirectory() {
        guard directories.count < 40 else { return makeFile() }
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
        guard orphans.count < 8 else { return release() }
        let directory = somewhere()
        let new = newInode(0o100000)
        var made: Inode?
        let isMade = attempt("create unnamed in \(directory.number)", expecting: nil) {
            () throws(Ext4Error) in made = try volume.createUnnamed(in: inode(directory), new)
        }
        guard isMade, let made else { return }
        let node = ModelNode(number: made.number, new: new, time: clock.now)
        inherit(from: directory, to: node)
        node.references = 1
        orphans.append(node)
        // Some get a name.
        guard random.chance(40) else { return }
        let name = someName()
        let place = somewhere()
        let expected: Ext4Error? = place.entries[name] != nil ? .exists : nil
        let isLinked = attempt("link unnamed \(node.number) as \(name)", expecting: expected) {
            () throws(Ext4Error) in
            try volume.link(inode(node), as: name, in: inode(place))
        }
        guard isLinked else { return }
        orphans.removeAll { $0 === node }
        adopt(node, as: name, in: place)
    }

    // MARK: References

    private func refer() {
        if orphans.count > 5 || random.chance(40) { return release() }
        guard let node = random.element(of: files) else { return }
        let count = UInt64(1 + random.below(3))
        let isDone = attempt("acquire \(node.number) \(count)", expecting: nil) {
            () throws(Ext4Error) in
            let inode = try inode(node)
            for _ in 0..<count { volume.acquire(inode) }
        }
        if isDone { node.references += count }
    }

    private func release() {
        let held = orphans + files.filter { $0.references > 0 }
        guard let node = random.element(of: held) else { return }
        let count = 1 + UInt64(random.below(Int(node.references)))
        _ = attempt("release \(node.number) \(count)", expecting: nil) { () throws(Ext4Error) in
            try volume.release(node.number, count: count)
        }
        node.references -= count
        if node.references == 0 { orphans.removeAll { $0 === node } }
    }

    private func synchronise() {
        if random.chance(50), let file = someFile() {
            synchronise(file, isDataOnly: random.chance(50))
        } else {
            synchroniseAll()
        }
    }

    func synchroniseAll() {
        let isDone = attempt("sync", expecting: nil) { () throws(Ext4Error) in
            try volume.sync()
        }
        if isDone { onSync?(nil) }
    }

    func synchronise(_ file: ModelNode, isDataOnly: Bool) {
        let isDone = attempt("sync \(file.number)", expecting: nil) { () throws(Ext4Error) in
            try volume.sync(inode(file), dataOnly: isDataOnly)
        }
        if isDone { onSync?(file) }
    }
}

extension Ext4Error {
    /// Whether it tells of a device that fails, or of the volume that was given up for that.
    var isOfDevice: Bool {
        switch self {
        case .io, .readOnlyVolume: true
        default: false
        }
    }
}
