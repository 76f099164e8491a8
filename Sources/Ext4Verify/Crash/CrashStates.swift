// Which states of a device a crash may leave.
//
// A sector is written as a whole. After a crash each holds what was durable, or any version that
// was written since, whatever its neighbours hold: that covers writes that were reordered, lost or
// torn. A flush makes durable what was written before it, a forced write itself.

/// A sector that was written and not made durable yet, with all its versions since.
struct PendingSector {
    /// A version: a sector of one write.
    struct Version {
        let write: RecordedWrite
        let index: Int
        /// Which request it came with, counted within the recording.
        let event: Int

        var hash: UInt64 { write.hashes[index] }
        var bytes: ArraySlice<UInt8> { write.sector(index) }
    }

    let sector: Int
    /// What is durable, as a hash.
    let durable: UInt64
    /// Oldest first; no two neighbours are the same.
    var versions: [Version]
}

/// One state: of each pending sector the version that is there, 0 for what was durable.
typealias CrashChoice = [UInt16]

/// A walk through a recording, which knows at each event what is durable and what is pending.
struct CrashWalk {
    /// Every write that was made durable so far is in it.
    let durable: DeviceImage
    private var pending: [Int: PendingSector] = [:]
    /// The hash of all that is durable, relative to the start.
    private(set) var durableHash: UInt64 = 0
    private var known: [Int: UInt64] = [:]
    /// How many events are done.
    private(set) var position = 0

    /// Starts at `base`, which is copied.
    init(_ base: DeviceImage) { durable = DeviceImage(copyOf: base) }

    /// The pending sectors in order.
    var sectors: [PendingSector] {
        pending.values.filter { !$0.versions.isEmpty }.sorted { $0.sector < $1.sector }
    }

    /// Goes on behind `event`.
    mutating func advance(over event: DeviceEvent) {
        defer { position += 1 }
        switch event {
        case .write(let write, let isForced):
            add(write)
            guard isForced else { return }
            for sector in write.firstSector..<write.firstSector + write.sectorCount {
                settle(sector)
            }
        case .discard(let write): add(write)
        case .flush: for sector in Array(pending.keys) { settle(sector) }
        }
    }

    private mutating func add(_ write: RecordedWrite) {
        for index in 0..<write.sectorCount {
            let sector = write.firstSector + index
            let version = PendingSector.Version(write: write, index: index, event: position)
            if pending[sector] == nil {
                pending[sector] = PendingSector(
                    sector: sector, durable: durableHash(of: sector), versions: [])
            }
            let newest = pending[sector]?.versions.last?.hash ?? durableHash(of: sector)
            if newest != version.hash { pending[sector]?.versions.append(version) }
        }
    }

    private mutating func durableHash(of sector: Int) -> UInt64 {
        if let hash = known[sector] { return hash }
        let start = sector * DeviceImage.sectorSize
        let hash = RecordedWrite.hash(
            of: durable.bytes(start..<start + DeviceImage.sectorSize)[...], sector: sector)
        known[sector] = hash
        return hash
    }

    private mutating func settle(_ sector: Int) {
        guard let last = pending.removeValue(forKey: sector)?.versions.last else { return }
        durable.put(last.bytes, at: sector * DeviceImage.sectorSize)
        durableHash ^= durableHash(of: sector) ^ last.hash
        known[sector] = last.hash
    }

    /// The hash of the state that `choice` makes of `sectors`.
    func hash(of choice: CrashChoice, _ sectors: [PendingSector]) -> UInt64 {
        var hash = durableHash
        for (sector, version) in zip(sectors, choice) where version > 0 {
            hash ^= sector.durable ^ sector.versions[Int(version) - 1].hash
        }
        return hash
    }

    /// A device in the state that `choice` makes of `sectors`.
    func device(_ choice: CrashChoice, _ sectors: [PendingSector]) -> LayeredDevice {
        let device = LayeredDevice(durable)
        for (sector, version) in zip(sectors, choice) where version > 0 {
            device.put(
                sector.versions[Int(version) - 1].bytes,
                at: sector.sector * DeviceImage.sectorSize)
        }
        return device
    }
}

/// Which states are looked at where there are too many to look at all.
struct CrashStates {
    /// As many pending sectors as have all their states looked at: 2¹⁰ of them.
    static let mostStates = 1024
    /// How many states are chosen at random otherwise.
    var randomCount = 9
    /// How many requests are left out, or are there alone, one by one.
    var requestCount = 24

    /// The states at a place; the first one has everything that was written.
    func choices(_ sectors: [PendingSector], seed: UInt64) -> [CrashChoice] {
        var product = 1
        for sector in sectors {
            product = min(product * (sector.versions.count + 1), Self.mostStates + 1)
        }
        return product <= Self.mostStates
            ? all(sectors, product) : heuristic(sectors, seed: seed)
    }

    private func all(_ sectors: [PendingSector], _ count: Int) -> [CrashChoice] {
        (0..<count).map { number in
            var rest = number
            return sectors.map { sector in
                let base = sector.versions.count + 1
                defer { rest /= base }
                // Downwards: the first state has everything.
                return UInt16(base - 1 - rest % base)
            }
        }
    }

    private func heuristic(_ sectors: [PendingSector], seed: UInt64) -> [CrashChoice] {
        var random = SeededRandom(seed)
        let newest = sectors.map { UInt16($0.versions.count) }
        let none = CrashChoice(repeating: 0, count: sectors.count)
        var choices = [newest, none]
        let requests = Set(sectors.flatMap { $0.versions.map(\.event) }).sorted()
        let chosen =
            requests.count <= requestCount
            ? requests : Array(requests.shuffled(using: &random).prefix(requestCount))
        for request in chosen {
            choices.append(without(request, sectors))
            choices.append(only(request, sectors))
            choices += torn(request, sectors)
        }
        for _ in 0..<randomCount / 2 {
            choices.append(leavingOut(1 + random.below(2), newest, &random))
        }
        for number in 0..<randomCount {
            // Nearly everything, about half, nearly nothing.
            let percent = [50, 90, 10][number % 3]
            choices.append(
                sectors.map { sector in
                    random.below(100) < percent
                        ? UInt16(1 + random.below(sector.versions.count)) : 0
                })
        }
        var seen: Set<CrashChoice> = []
        return choices.filter { seen.insert($0).inserted }
    }

    /// Everything but one request: a sector has the version before, if there is one.
    private func without(_ request: Int, _ sectors: [PendingSector]) -> CrashChoice {
        sectors.map { sector in
            UInt16((sector.versions.lastIndex { $0.event != request } ?? -1) + 1)
        }
    }

    private func only(_ request: Int, _ sectors: [PendingSector]) -> CrashChoice {
        sectors.map { sector in
            UInt16((sector.versions.lastIndex { $0.event == request } ?? -1) + 1)
        }
    }

    /// A request without its first sector, without its last one, and with its first half only.
    private func torn(_ request: Int, _ sectors: [PendingSector]) -> [CrashChoice] {
        let own = sectors.indices.filter { index in
            sectors[index].versions.contains { $0.event == request }
        }
        guard own.count > 1, let first = own.first, let last = own.last else { return [] }
        let newest = sectors.map { UInt16($0.versions.count) }
        let missing = without(request, sectors)
        func dropping(_ dropped: some Sequence<Int>) -> CrashChoice {
            var choice = newest
            for index in dropped { choice[index] = missing[index] }
            return choice
        }
        return [dropping([first]), dropping([last]), dropping(own.suffix(own.count / 2))]
    }

    private func leavingOut(
        _ count: Int, _ newest: CrashChoice, _ random: inout SeededRandom
    ) -> CrashChoice {
        var choice = newest
        for _ in 0..<count { choice[random.below(choice.count)] = 0 }
        return choice
    }
}
