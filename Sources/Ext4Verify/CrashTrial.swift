package import Ext4

/// A workload on a device that remembers every write, with the states that it went through; and
/// the judge of what a crash left.
package final class CrashTrial {
    /// Where the workload runs.
    package let device: FaultyDevice
    /// The device as it was before.
    package let start: FaultyDevice
    package let workload: Workload
    private var states: [(event: Int, state: TreeState)] = []
    /// Which state was durable at which event: as a whole, or one file's contents.
    private var syncs: [(event: Int, state: Int, number: InodeNumber?)] = []

    /// Opens the volume on `device`, and remembers everything from now on.
    package init(
        _ device: FaultyDevice, options: OpenOptions, clock: Workload.Clock, seed: UInt64
    ) throws(Ext4Error) {
        self.device = device
        start = FaultyDevice(copyOf: device)
        device.startRecording()
        workload = try Workload(
            Volume.open(device, options: options), clock: clock, seed: seed)
        workload.hasFarOffsets = false
        workload.weightLimit = 1 << 20
        workload.onState = { [unowned self] in
            states.append((self.device.eventCount, TreeState(workload.model.root)))
        }
        workload.onSync = { [unowned self] node in
            // The call changed nothing: the last state, from before it, is the one.
            syncs.append((self.device.eventCount, states.count - 1, node?.number))
        }
        syncs.append((device.eventCount, 0, nil))
    }

    /// Runs steps, with a call that makes something durable after some of them.
    package func run(_ count: Int) {
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
    package var firstEvent: Int { syncs[0].event }

    /// What is wrong with what `found` holds after a crash behind `event` events; nil for nothing.
    ///
    /// - Parameter spared: an inode of which a failed operation left nobody knows what.
    package func judge(
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
    package func forEachCrash(
        cuts: Int, seed: UInt64, _ body: (FaultyDevice, _ event: Int) throws -> Bool
    ) rethrows {
        try Self.forEachCrash(
            of: device, from: start, after: firstEvent, cuts: cuts, seed: seed, body)
    }

    /// Calls `body` with devices as crashes may leave them, until it returns false: at `cuts`
    /// places, of which about half are just before a flush.
    package static func forEachCrash(
        of device: FaultyDevice, from start: FaultyDevice, after firstEvent: Int, cuts: Int,
        seed: UInt64, _ body: (FaultyDevice, _ event: Int) throws -> Bool
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
        let durable = FaultyDevice(copyOf: start)
        var pending: [Int: [ArraySlice<UInt8>]] = [:]
        for (index, event) in events.enumerated() {
            if chosen.contains(index) {
                let image = FaultyDevice(copyOf: durable)
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
        _ pending: [Int: [ArraySlice<UInt8>]], on image: FaultyDevice, _ random: inout Randomness
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

    /// What is wrong with what the next mount makes of `image`; nil for nothing.
    ///
    /// - Parameter check: what somebody else says of the volume afterwards.
    package func complaint(
        about image: FaultyDevice, _ options: OpenOptions, after event: Int,
        sparing spared: InodeNumber? = nil, check: (FaultyDevice) throws -> String?
    ) rethrows -> String? {
        do throws(Ext4Error) {
            let volume = try Volume.open(image, options: options)
            let found = try TreeState(volume)
            if let reason = judge(found, after: event, sparing: spared) { return reason }
            try volume.close()
        } catch {
            return "recovery: \(error)"
        }
        return try check(image)
    }
}
