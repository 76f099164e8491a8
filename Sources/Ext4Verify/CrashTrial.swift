@testable import Ext4

/// What a volume looks like at one moment: what a crash may leave is judged by such.
struct TreeState {
    struct Node {
        var type: FileType
        var mode: UInt16
        var attributes: [FileName: [UInt8]]
        var target: [UInt8]
        var contents: SparseContents
    }

    var nodes: [InodeNumber: Node] = [:]
    var paths: [[UInt8]: InodeNumber] = [:]

    init(_ root: ModelNode) { add(root, at: []) }

    private mutating func add(_ node: ModelNode, at path: [UInt8]) {
        paths[path] = node.number
        nodes[node.number] = Node(
            type: node.type, mode: node.mode.rawValue, attributes: node.attributes,
            target: node.target, contents: node.contents)
        for (name, child) in node.entries { add(child, at: path + [0x2F] + name.bytes) }
    }

    /// Reads what a volume has.
    init(_ volume: Volume) throws(Ext4Error) { try add(try volume.root(), at: [], of: volume) }

    private mutating func add(
        _ inode: Inode, at path: [UInt8], of volume: Volume
    ) throws(Ext4Error) {
        paths[path] = inode.number
        if nodes[inode.number] == nil {
            var node = Node(
                type: inode.type, mode: inode.mode.rawValue, attributes: [:], target: [],
                contents: SparseContents())
            for attribute in try volume.extendedAttributes(of: inode) {
                node.attributes[attribute.name] = attribute.value
            }
            switch inode.type {
            case .regular:
                node.contents.write(try volume.contents(of: inode), at: 0)
            case .symlink: node.target = try volume.symlinkTarget(of: inode)
            default: break
            }
            nodes[inode.number] = node
        }
        guard inode.isDirectory else { return }
        for entry in try volume.entries(of: inode) {
            if entry.name == "." || entry.name == ".." { continue }
            if path.isEmpty, entry.name == "lost+found" { continue }
            try add(
                volume.lookup(entry.name, in: inode), at: path + [0x2F] + entry.name.bytes,
                of: volume)
        }
    }
}

/// A workload on a device that remembers every write, with the states that it went through; and
/// the judge of what a crash left.
final class CrashTrial {
    let device: TestDevice
    let start: TestDevice
    let workload: Workload
    private var states: [(event: Int, state: TreeState)] = []
    /// Which state was durable at which event: as a whole, or one file's contents.
    private var syncs: [(event: Int, state: Int, number: InodeNumber?)] = []

    init(_ device: TestDevice, options: OpenOptions, clock: Workload.Clock, seed: UInt64) throws {
        self.device = device
        start = TestDevice(copyOf: device)
        device.startRecording()
        workload = try Workload(
            Volume.open(device, options: options), clock: clock, seed: seed)
        workload.hasFarOffsets = false
        workload.weightLimit = 1 << 20
        workload.onState = { [unowned self] in
            states.append((self.device.eventCount, TreeState(workload.root)))
        }
        workload.onSync = { [unowned self] node in
            // The call changed nothing: the last state, from before it, is the one.
            syncs.append((self.device.eventCount, states.count - 1, node?.number))
        }
        syncs.append((device.eventCount, 0, nil))
    }

    func run(_ count: Int) {
        for _ in 0..<count where workload.isRunning {
            workload.run(1)
            guard workload.isRunning, workload.random.chance(25) else { continue }
            if workload.random.chance(30) {
                workload.synchroniseAll()
            } else if let file = workload.someFile() {
                workload.synchronise(file, isDataOnly: false)
            }
        }
        workload.onState?()
    }

    /// The number of the event from which on the volume was open.
    var firstEvent: Int { syncs[0].event }

    /// What is wrong with what `found` holds after a crash behind `event` events; nil for nothing.
    ///
    /// - Parameter spared: an inode of which a failed operation left nobody knows what.
    func judge(
        _ found: TreeState, after event: Int, sparing spared: InodeNumber? = nil
    ) -> String? {
        let first = syncs.last { $0.event <= event && $0.number == nil }?.state ?? 0
        // The operation that was under way may have happened too.
        let last = states.firstIndex { $0.event > event } ?? states.count - 1
        guard states[first...last].contains(where: { $0.state.paths == found.paths }) else {
            return "the tree is that of no moment since the last sync" + difference(found, last)
        }
        for (number, node) in found.nodes where number != spared {
            if let reason = judge(node, number, event, first...last) {
                return "inode \(number): \(reason)"
            }
        }
        return nil
    }

    private func difference(_ found: TreeState, _ last: Int) -> String {
        let state = states[last].state
        let missing = state.paths.filter { found.paths[$0.key] != $0.value }.keys
        let extra = found.paths.filter { state.paths[$0.key] != $0.value }.keys
        func text(_ paths: some Collection<[UInt8]>) -> String {
            paths.prefix(5).map { String(decoding: $0.suffix(60), as: UTF8.self) }
                .joined(separator: " ")
        }
        return ": missing [\(text(missing))], there too [\(text(extra))]"
    }

    private func judge(
        _ node: TreeState.Node, _ number: InodeNumber, _ event: Int, _ range: ClosedRange<Int>
    ) -> String? {
        let all = states[range].compactMap { $0.state.nodes[number] }.filter {
            $0.type == node.type
        }
        guard all.contains(where: { $0.mode == node.mode }) else { return "mode" }
        guard all.contains(where: { $0.attributes == node.attributes }) else {
            return "attributes"
        }
        guard all.contains(where: { $0.target == node.target }) else { return "target" }
        guard node.type == .regular else { return nil }
        let own = syncs.last { $0.event <= event && $0.number == number }?.state ?? 0
        let range = max(range.lowerBound, own)...range.upperBound
        let candidates = states[range].compactMap { $0.state.nodes[number]?.contents }
        guard let shortest = candidates.map(\.size).min(),
            let longest = candidates.map(\.size).max()
        else { return "it should not be there" }
        let size = node.contents.size
        guard size >= shortest, size <= longest else {
            return "size \(size), not \(shortest)...\(longest)"
        }
        let bytes = node.contents.bytes(at: 0, count: Int(size))
        let possible = candidates.map {
            let known = $0.bytes(at: 0, count: Int(size))
            return known + [UInt8](repeating: 0, count: bytes.count - known.count)
        }
        if possible.contains(where: { equal($0, bytes) }) { return nil }
        for index in bytes.indices
        where !possible.contains(where: { $0[index] == bytes[index] }) {
            return "byte \(index) of \(size) is \(bytes[index]), not one of "
                + "\(Set(possible.map { $0[index] })) (\(candidates.count) candidates)"
        }
        return nil
    }

    // MARK: Crashes

    /// As the static function, for this trial's device.
    func forEachCrash(
        cuts: Int, seed: UInt64, _ body: (TestDevice, _ event: Int) throws -> Bool
    ) rethrows {
        try Self.forEachCrash(
            of: device, from: start, after: firstEvent, cuts: cuts, seed: seed, body)
    }

    /// Calls `body` with devices as crashes may leave them, until it returns false: at `cuts`
    /// places, of which about half are just before a flush.
    static func forEachCrash(
        of device: TestDevice, from start: TestDevice, after firstEvent: Int, cuts: Int,
        seed: UInt64, _ body: (TestDevice, _ event: Int) throws -> Bool
    ) rethrows {
        var random = Randomness(seed)
        let events = device.events
        var chosen: Set<Int> = []
        let flushes = events.indices.filter {
            if case .flush = events[$0] { $0 > firstEvent } else { false }
        }
        for _ in 0..<cuts / 2 {
            if let flush = random.element(of: flushes) { chosen.insert(flush) }
        }
        while chosen.count < min(cuts, events.count - firstEvent) {
            chosen.insert(firstEvent + random.below(events.count - firstEvent))
        }
        let durable = TestDevice(copyOf: start)
        var pending: [Int: [ArraySlice<UInt8>]] = [:]
        for (index, event) in events.enumerated() {
            if chosen.contains(index) {
                let image = TestDevice(copyOf: durable)
                choose(pending, on: image, &random)
                guard try body(image, index) else { return }
            }
            switch event {
            case .write(let offset, let bytes):
                for sector in stride(from: 0, to: bytes.count, by: 512) {
                    let end = min(sector + 512, bytes.count)
                    pending[offset + sector, default: []].append(bytes[sector..<end])
                }
            case .flush:
                for (offset, versions) in pending {
                    if let last = versions.last { durable.put(last, at: offset) }
                }
                pending = [:]
            }
        }
    }

    /// Of the sectors that no flush made durable, any may be there, in any version.
    private static func choose(
        _ pending: [Int: [ArraySlice<UInt8>]], on image: TestDevice, _ random: inout Randomness
    ) {
        let mode = random.below(4)
        for (offset, versions) in pending.sorted(by: { $0.key < $1.key }) {
            let choice =
                switch mode {
                case 0: versions.count
                case 1: 0
                default: random.below(versions.count + 1)
                }
            if choice > 0 { image.put(versions[choice - 1], at: offset) }
        }
    }

    /// What is wrong with what the next mount, or `e2fsck -p`, makes of `image`; nil for nothing.
    func complaint(
        about image: TestDevice, _ options: OpenOptions, after event: Int, byE2fsck: Bool,
        sparing spared: InodeNumber? = nil
    ) throws -> String? {
        var image = image
        if byE2fsck {
            let scratch = try Scratch()
            let path = scratch.path("image")
            try image.save(to: path)
            // `-p` goes on only where nothing is lost by it; 1 tells that it did something.
            let (status, output) = try runShell("e2fsck -fp $1 2>&1", [path])
            guard status <= 1 else { return "e2fsck -fp: \(status): \(output)" }
            image = try TestDevice(path: path)
        }
        do throws(Ext4Error) {
            let volume = try Volume.open(image, options: options)
            let found = try TreeState(volume)
            if let reason = judge(found, after: event, sparing: spared) { return reason }
            try volume.close()
        } catch {
            return "recovery: \(error)"
        }
        return try TestImage.complaints(about: image)
    }
}
