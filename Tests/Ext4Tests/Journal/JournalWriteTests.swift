import Testing

@testable import Ext4

/// A device that remembers what was written when, so that every state that a crash can leave may
/// be made: each sector holds its durable version or any that was written since.
final class RecordingDevice: BlockDevice {
    enum Event {
        case write(offset: Int, bytes: [UInt8])
        case flush
    }

    private struct State {
        var contents: [UInt8]
        var events: [Event] = []
    }

    private let state: Guarded<State>
    let start: [UInt8]
    let byteCount: UInt64
    let isReadOnly = false
    /// Flushes that are forgotten, as if a line of code were missing: by their order.
    let droppedFlush: (@Sendable (Int) -> Bool)?
    private let flushes = Guarded(0)

    init(_ bytes: [UInt8], droppedFlush: (@Sendable (Int) -> Bool)? = nil) {
        start = bytes
        byteCount = UInt64(bytes.count)
        state = Guarded(State(contents: bytes))
        self.droppedFlush = droppedFlush
    }

    var events: [Event] { state.withLock { $0.events } }
    var eventCount: Int { state.withLock { $0.events.count } }
    var contents: [UInt8] { state.withLock { $0.contents } }

    func read(at byteOffset: UInt64, into bytes: inout MutableRawSpan) throws(Ext4Error) {
        try checkBounds(.read, at: byteOffset, count: bytes.byteCount)
        state.withLock { state in
            for i in 0..<bytes.byteCount {
                bytes.storeBytes(
                    of: state.contents[Int(byteOffset) + i], toByteOffset: i, as: UInt8.self)
            }
        }
    }

    func write(_ bytes: RawSpan, at byteOffset: UInt64) throws(Ext4Error) {
        try checkBounds(.write, at: byteOffset, count: bytes.byteCount)
        let copy = bytes.copy()
        state.withLock { state in
            let start = Int(byteOffset)
            state.contents.replaceSubrange(start..<start + copy.count, with: copy)
            state.events.append(.write(offset: start, bytes: copy))
        }
    }

    func flush() throws(Ext4Error) {
        let number = flushes.withLock { count in
            count += 1
            return count
        }
        if let droppedFlush, droppedFlush(number) { return }
        state.withLock { $0.events.append(.flush) }
    }
}

/// A stream of pseudo-random numbers that a seed repeats.
struct Xorshift {
    private var state: UInt64
    init(_ seed: UInt64) { state = seed &* 0x9E37_79B9_7F4A_7C15 | 1 }
    mutating func next() -> UInt64 {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        return state
    }
    mutating func next(below limit: Int) -> Int { Int(next() % UInt64(limit)) }
}

/// A workload on a journal, with the contents that each of its transactions leaves.
private struct Workload {
    static let blockSize = 1024
    static let usable = (10..<100).map { UInt64($0) } + (130..<200).map { UInt64($0) }

    let device: RecordingDevice
    let journal: Journal
    let cache: BufferCache
    let format: LogWriter
    /// What the journalled blocks hold after each transaction, as CRCs; the first is the start.
    var snapshots: [[UInt64: UInt32]] = [[:]]
    /// Blocks that hold data and no metadata.
    var freed: Set<UInt64> = []
    /// At which event how many transactions were promised to be durable.
    var promises: [(event: Int, transactions: Int)] = [(0, 0)]
    /// Data written to a freed block: as a CRC, at which event, freed by which transaction.
    var data: [(block: UInt64, digest: UInt32, writtenAt: Int, freedBy: Int)] = []

    init(_ options: LogWriter.Options, droppedFlush: (@Sendable (Int) -> Bool)? = nil) throws {
        var writer = LogWriter(options)
        writer.writeSuperblock(start: 0)
        format = writer
        device = RecordingDevice(writer.bytes, droppedFlush: droppedFlush)
        let volume = writer.volume
        journal = try Journal(
            device, at: JournalLocation(LogWriter.runs, on: volume), of: volume,
            is64Bit: options.is64Bit, hasChecksums: options.checksum == .v3,
            imageBudget: 24 << 10, clock: { Timestamp(seconds: 1_700_000_000) }, log: .none)
        cache = BufferCache(device: device, blockSizeLog2: 10, byteBudget: 8 << 10)
        for block in Self.usable {
            snapshots[0][block] = Self.digest(of: block, in: writer.bytes)
        }
    }

    mutating func run(steps: Int, seed: UInt64) throws {
        var random = Xorshift(seed)
        for _ in 0..<steps {
            var now = snapshots[snapshots.count - 1]
            let before = journal.runningTransaction
            var revoked: [UInt64] = []
            try journal.withHandle(credits: 4) { (handle) throws(Ext4Error) in
                for _ in 0...random.next(below: 4) {
                    let block = Self.usable[random.next(below: Self.usable.count)]
                    guard !freed.contains(block) else { continue }
                    let buffer = try cache.buffer(of: BlockNumber(block))
                    let value = UInt8(truncatingIfNeeded: random.next())
                    let looksLikeControl = random.next(below: 4) == 0
                    handle.modify(buffer) { bytes in
                        for i in 0..<bytes.byteCount {
                            bytes[Field<UInt8>.le(i)] = value &+ UInt8(truncatingIfNeeded: i / 100)
                        }
                        if looksLikeControl { bytes[Field<UInt32>.be(0)] = LogWriter.magic }
                    }
                    now[block] = buffer.withBytes { Self.digest($0) }
                }
                if random.next(below: 5) == 0 {
                    let block = Self.usable[random.next(below: Self.usable.count)]
                    if !freed.contains(block) {
                        handle.revoke(BlockNumber(block))
                        revoked.append(block)
                    }
                }
            }
            // What a transaction that goes on holds is one snapshot.
            if before != nil, before == journal.runningTransaction {
                snapshots[snapshots.count - 1] = now
            } else {
                snapshots.append(now)
            }
            for block in revoked {
                try commit()
                freed.insert(block)
                try writeData(block, &random)
            }
            switch random.next(below: 8) {
            case 0...2: try commit()
            case 3: try journal.checkpoint()
            default: break
            }
        }
        try commit()
    }

    private mutating func commit() throws {
        try journal.commitRunning()
        promises.append((device.eventCount, snapshots.count - 1))
    }

    private mutating func writeData(_ block: UInt64, _ random: inout Xorshift) throws {
        let bytes = [UInt8](repeating: UInt8(truncatingIfNeeded: random.next()), count: 1024)
        try unsafe device.write(bytes.span.bytes, at: block * 1024)
        let digest = unsafe Self.digest(bytes.span.bytes)
        data.append((block, digest, device.eventCount, snapshots.count - 1))
    }

    private static func digest(_ bytes: RawSpan) -> UInt32 {
        var crc = CRC32C()
        crc.update(bytes)
        return crc.value
    }

    private static func digest(of block: UInt64, in image: [UInt8]) -> UInt32 {
        let start = Int(block) * 1024
        return digest(unsafe image.span.bytes.extracting(start..<start + 1024))
    }

    /// Calls `body` with `states` of what the device may hold behind each event, until it returns
    /// false.
    func forEachCut(
        states: Int, _ random: inout Xorshift, _ body: (_ image: [UInt8], _ cut: Int) -> Bool
    ) {
        var durable = device.start
        var pending: [Int: [ArraySlice<UInt8>]] = [:]
        for (cut, event) in device.events.enumerated() {
            switch event {
            case .write(let offset, let bytes):
                for sector in stride(from: 0, to: bytes.count, by: 512) {
                    pending[offset + sector, default: []].append(bytes[sector..<sector + 512])
                }
            case .flush:
                for (offset, versions) in pending {
                    if let last = versions.last {
                        durable.replaceSubrange(offset..<offset + 512, with: last)
                    }
                }
                pending = [:]
            }
            for _ in 0..<(pending.isEmpty ? 1 : states) {
                // Whole streaks survive or are lost as often as each sector on its own.
                let mode = random.next(below: 4)
                var image = durable
                for (offset, versions) in pending.sorted(by: { $0.key < $1.key }) {
                    let choice =
                        switch mode {
                        case 0: versions.count
                        case 1: 0
                        default: random.next(below: versions.count + 1)
                        }
                    guard choice > 0 else { continue }
                    image.replaceSubrange(offset..<offset + 512, with: versions[choice - 1])
                }
                guard body(image, cut + 1) else { return }
            }
        }
    }

    /// What is wrong with the state that recovery makes of `image`; nil when nothing is.
    func judge(_ image: [UInt8], after count: Int) -> String? {
        let target = MemoryDevice(image)
        do {
            if let recovery = try Recovery.scan(
                target, journal: JournalLocation(LogWriter.runs, on: format.volume),
                volume: format.volume, log: .none)
            {
                try recovery.replay(to: target)
            }
        } catch {
            return "recovery failed: \(error)"
        }
        let bytes = target.bytes
        var held: [UInt64: UInt32] = [:]
        for block in Self.usable { held[block] = Self.digest(of: block, in: bytes) }
        let promised = promises.last { $0.event <= count }?.transactions ?? 0
        let found = snapshots.indices.dropFirst(promised).contains { index in
            let gone = Set(data.filter { $0.freedBy <= index }.map(\.block))
            return snapshots[index].allSatisfy { gone.contains($0.key) || held[$0.key] == $0.value }
        }
        // Data that a flush made durable is not overwritten by older metadata.
        let lastFlush = device.events.prefix(count).lastIndex {
            if case .flush = $0 { true } else { false }
        }
        for item in data where item.writtenAt <= (lastFlush ?? -1) {
            guard held[item.block] == item.digest else {
                return "data in block \(item.block) was overwritten"
            }
        }
        return found ? nil : "no transaction boundary from \(promised) on"
    }
}

@Suite struct JournalWriteTests {
    static let formats: [LogWriter.Options] = {
        var options: [LogWriter.Options] = []
        for checksum in [LogWriter.Checksum.none, .v3] {
            for is64Bit in [false, true] {
                var option = LogWriter.Options()
                option.checksum = checksum
                option.is64Bit = is64Bit
                // The last one wraps around 2³² in the middle of the workload.
                option.firstSequence = is64Bit ? 0xFFFF_FFF0 : 7
                options.append(option)
            }
        }
        return options
    }()

    /// After every cut: the blocks are those of one transaction boundary, not before the last
    /// promise; freed blocks keep the data that came after.
    @Test(arguments: 0..<4, [1, 2] as [UInt64])
    func everyCutRecoversToATransactionBoundary(format: Int, seed: UInt64) throws {
        var workload = try Workload(Self.formats[format])
        try workload.run(steps: 50, seed: seed)
        var random = Xorshift(seed)
        workload.forEachCut(states: 3, &random) { image, cut in
            guard let reason = workload.judge(image, after: cut) else { return true }
            Issue.record("seed \(seed), cut at event \(cut): \(reason)")
            return false
        }
    }

    /// The oracle itself: with a flush left out, some cut must show it.
    @Test(arguments: [2, 3])
    func aForgottenFlushIsFound(period: Int) throws {
        var isFound = false
        for seed in 1...6 as ClosedRange<UInt64> where !isFound {
            var workload = try Workload(Self.formats[0]) { $0 % period == 0 }
            try workload.run(steps: 50, seed: seed)
            var random = Xorshift(seed)
            workload.forEachCut(states: 4, &random) { image, cut in
                isFound = workload.judge(image, after: cut) != nil
                return !isFound
            }
        }
        #expect(isFound)
    }

    @Test func closingLeavesAnEmptyLogAndAllInPlace() throws {
        var workload = try Workload(Self.formats[3])
        try workload.run(steps: 40, seed: 9)
        try workload.journal.close()
        let device = MemoryDevice(workload.device.contents)
        let location = try JournalLocation(LogWriter.runs, on: workload.format.volume)
        let found = try Recovery.scan(
            device, journal: location, volume: workload.format.volume, log: .none)
        #expect(found == nil)
        #expect(
            workload.judge(workload.device.contents, after: workload.device.eventCount) == nil)
        // The next user goes on where this one stopped.
        let next = try Journal(
            device, at: location, of: workload.format.volume, is64Bit: true, hasChecksums: true,
            clock: { Timestamp(seconds: 0) }, log: .none)
        #expect(!next.isCommitted(next.monitor.withLock { $0.nextID }))
        #expect(next.monitor.withLock { $0.nextID.isAfter(workload.journal.lastCommitted) })
    }

    @Test func nothingToCommitWritesNothing() throws {
        let workload = try Workload(Self.formats[0])
        try workload.journal.withHandle(credits: 3) { (_) throws(Ext4Error) in }
        try workload.journal.commitRunning()
        #expect(workload.device.eventCount == 0)
    }

    @Test func tooManyCreditsAreRefused() throws {
        let workload = try Workload(Self.formats[0])
        #expect(throws: Ext4Error.invalidArgument) {
            try workload.journal.withHandle(credits: 1000) { (_) throws(Ext4Error) in }
        }
    }

    /// Several threads change blocks of their own and make them durable; no deadlock, and the
    /// last value of each block arrives.
    @Test func threadsShareTransactions() async throws {
        let workload = try Workload(Self.formats[3])
        let (journal, cache) = (workload.journal, workload.cache)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for thread in 0..<4 as Range<UInt64> {
                group.addTask {
                    for round in 1...50 as ClosedRange<UInt64> {
                        try journal.withHandle(credits: 3) { (handle) throws(Ext4Error) in
                            for i in 0..<3 as Range<UInt64> {
                                let buffer = try cache.buffer(
                                    of: BlockNumber(10 + thread * 10 + i))
                                handle.modify(buffer) { $0[Field<UInt64>.le(8)] = round }
                            }
                        }
                        if round % 5 == thread { try journal.commitRunning() }
                    }
                }
            }
            try await group.waitForAll()
        }
        try journal.close()
        let bytes = workload.device.contents
        for thread in 0..<4 {
            for i in 0..<3 {
                #expect(bytes[(10 + thread * 10 + i) * 1024 + 8] == 50)
            }
        }
    }
}
