@testable import Ext4

/// A volume in memory with a journal, and a writer of logs that knows the format on its own: its
/// offsets are its own, so that a wrong one in the engine shows.
struct LogWriter {
    enum Checksum: CaseIterable { case none, v1, v2, v3 }

    struct Options {
        var blockSize = 1024
        var checksum = Checksum.none
        var is64Bit = false
        var isAsync = false
        var firstSequence: UInt32 = 1
        /// Where the log's live part starts.
        var start: UInt32 = 1
        /// Write a UUID behind every tag and not only behind a block's first one.
        var hasUUIDInEveryTag = false
        var fastCommitBlocks: UInt32 = 0
    }

    static let blockCount = 400
    /// Where the journal's runs are: out of order, so that a wrong place shows.
    static let runs = [
        JournalLocation.Run(firstBlock: BlockNumber(200), count: 20),
        JournalLocation.Run(firstBlock: BlockNumber(100), count: 30),
        JournalLocation.Run(firstBlock: BlockNumber(300), count: 14),
    ]
    static let journalLength: UInt32 = 64
    static let magic: UInt32 = 0xC03B_3998

    private static let pattern = pattern(of: 1024)

    private static func pattern(of blockSize: Int) -> [UInt8] {
        (0..<blockCount * blockSize).map { UInt8(truncatingIfNeeded: $0 &* 7 ^ $0 >> 9) }
    }

    let options: Options
    var bytes: [UInt8]
    private(set) var position: UInt32
    private(set) var sequence: UInt32
    /// The journal's block that was written last.
    private(set) var lastIndex: UInt32 = 0
    private var crc32: UInt32 = ~0

    init(_ options: Options = .init()) {
        self.options = options
        bytes = options.blockSize == 1024 ? Self.pattern : Self.pattern(of: options.blockSize)
        position = options.start
        sequence = options.firstSequence
        for index in 0..<Self.journalLength {
            set(index, [UInt8](repeating: 0, count: options.blockSize))
        }
        writeSuperblock()
    }

    var end: UInt32 { Self.journalLength - options.fastCommitBlocks }

    var volume: JournalledVolume {
        JournalledVolume(
            blockSize: options.blockSize, blocksCount: UInt64(Self.blockCount), firstDataBlock: 1)
    }

    var uuid: [UInt8] { (1...16).map { UInt8($0 * 3) } }

    private var seed: UInt32 {
        var crc = CRC32C()
        unsafe crc.update(uuid.span.bytes)
        return crc.value
    }

    // MARK: The journal as an array of blocks

    static func place(_ index: UInt32) -> Int {
        switch index {
        case ..<20: 200 + Int(index)
        case ..<50: 100 + Int(index) - 20
        default: 300 + Int(index) - 50
        }
    }

    mutating func set(_ index: UInt32, _ block: [UInt8]) {
        let at = Self.place(index) * options.blockSize
        bytes.replaceSubrange(at..<at + block.count, with: block)
    }

    func get(_ index: UInt32) -> [UInt8] {
        let at = Self.place(index) * options.blockSize
        return Array(bytes[at..<at + options.blockSize])
    }

    mutating func change(_ index: UInt32, _ body: (inout [UInt8]) -> Void) {
        var block = get(index)
        body(&block)
        set(index, block)
    }

    private mutating func append(_ block: [UInt8]) {
        set(position, block)
        lastIndex = position
        position += 1
        if position == end { position = 1 }
    }

    // MARK: Records

    mutating func writeSuperblock(
        start: UInt32? = nil, errno: Int32 = 0, _ change: (inout [UInt8]) -> Void = { _ in }
    ) {
        var block = [UInt8](repeating: 0, count: options.blockSize)
        block.put32(0, Self.magic)
        block.put32(4, 4)
        block.put32(0x0C, UInt32(options.blockSize))
        block.put32(0x10, Self.journalLength)
        block.put32(0x14, 1)
        block.put32(0x18, options.firstSequence)
        block.put32(0x1C, start ?? options.start)
        block.put32(0x20, UInt32(bitPattern: errno))
        block.put32(0x24, options.checksum == .v1 ? 1 : 0)
        var incompatible: UInt32 = 1
        if options.is64Bit { incompatible |= 2 }
        if options.isAsync { incompatible |= 4 }
        if options.checksum == .v2 { incompatible |= 8 }
        if options.checksum == .v3 { incompatible |= 0x10 }
        if options.fastCommitBlocks > 0 {
            incompatible |= 0x20
            block.put32(0x54, options.fastCommitBlocks)
        }
        block.put32(0x28, incompatible)
        block.replaceSubrange(0x30..<0x40, with: uuid)
        if hasCRC32C { block[0x50] = 4 }
        change(&block)
        if hasCRC32C {
            block.put32(0xFC, 0)
            block.put32(0xFC, crc32c(Array(block[..<1024]), seed: ~0))
        }
        set(0, block)
    }

    private var hasCRC32C: Bool { options.checksum == .v2 || options.checksum == .v3 }

    private func header(_ type: UInt32) -> [UInt8] {
        var block = [UInt8](repeating: 0, count: options.blockSize)
        block.put32(0, Self.magic)
        block.put32(4, type)
        block.put32(8, sequence)
        return block
    }

    private func withTail(_ block: [UInt8]) -> [UInt8] {
        guard hasCRC32C else { return block }
        var block = block
        block.put32(options.blockSize - 4, 0)
        block.put32(options.blockSize - 4, crc32c(block, seed: seed))
        return block
    }

    /// Recomputes the checksum at the end of a descriptor or revoke block.
    mutating func fixTail(_ index: UInt32) { set(index, withTail(get(index))) }

    /// Makes the checksums of a block right again after a change of any field.
    mutating func fixChecksums(of index: UInt32) {
        guard hasCRC32C else { return }
        var block = get(index)
        if index == 0 {
            block.put32(0xFC, 0)
            block.put32(0xFC, crc32c(block, seed: ~0))
        } else if block.get32(0) == Self.magic {
            if block.get32(4) == 2 {
                block.put32(16, 0)
                block.put32(16, crc32c(block, seed: seed))
            } else {
                block = withTail(block)
            }
        }
        set(index, block)
    }

    /// A descriptor and what it announces.
    mutating func log(_ blocks: [(target: UInt64, contents: [UInt8])]) {
        var descriptor = header(1)
        var offset = 12
        var copies: [[UInt8]] = []
        for (position, entry) in blocks.enumerated() {
            var copy = entry.contents
            var flags: UInt32 = 0
            if copy[..<4].elementsEqual([0xC0, 0x3B, 0x39, 0x98]) {
                flags |= 1
                copy.put32(0, 0)
            }
            let hasUUID = position == 0 || options.hasUUIDInEveryTag
            if !hasUUID { flags |= 2 }
            if position == blocks.count - 1 { flags |= 8 }
            var sequenceBytes = [UInt8](repeating: 0, count: 4)
            sequenceBytes.put32(0, sequence)
            let checksum = crc32c(sequenceBytes + copy, seed: seed)
            descriptor.put32(offset, UInt32(truncatingIfNeeded: entry.target))
            let high = UInt32(truncatingIfNeeded: entry.target >> 32)
            switch options.checksum {
            case .v3:
                descriptor.put32(offset + 4, flags)
                if options.is64Bit { descriptor.put32(offset + 8, high) }
                descriptor.put32(offset + 12, checksum)
                offset += 16
            default:
                if options.checksum == .v2 {
                    descriptor.put16(offset + 4, UInt16(truncatingIfNeeded: checksum))
                }
                descriptor.put16(offset + 6, UInt16(flags))
                offset += 8
                if options.is64Bit {
                    descriptor.put32(offset, high)
                    offset += 4
                }
                if options.checksum == .v2 { offset += 2 }
            }
            if hasUUID {
                descriptor.replaceSubrange(offset..<offset + 16, with: uuid)
                offset += 16
            }
            copies.append(copy)
        }
        let room = options.blockSize - (hasCRC32C ? 4 : 0)
        precondition(offset <= room, "the test puts too many tags in one descriptor")
        descriptor = withTail(descriptor)
        for block in [descriptor] + copies {
            crc32 = crc32BigEndian(block, seed: crc32)
            append(block)
        }
    }

    /// A block of revoke records.
    mutating func revoke(_ targets: [UInt64]) {
        var block = header(5)
        var offset = 16
        for target in targets {
            if options.is64Bit {
                block.put32(offset, UInt32(truncatingIfNeeded: target >> 32))
                offset += 4
            }
            block.put32(offset, UInt32(truncatingIfNeeded: target))
            offset += 4
        }
        block.put32(12, UInt32(offset))
        append(withTail(block))
    }

    /// The end of a transaction; the next one begins.
    mutating func commit(seconds: UInt64 = 1_000, withoutChecksum: Bool = false) {
        var block = header(2)
        block.put32(0x30, UInt32(truncatingIfNeeded: seconds >> 32))
        block.put32(0x34, UInt32(truncatingIfNeeded: seconds))
        switch options.checksum {
        case .none: break
        case .v1:
            guard !withoutChecksum else { break }
            block[12] = 1
            block[13] = 4
            block.put32(16, crc32)
        case .v2, .v3:
            block.put32(16, crc32c(block, seed: seed))
        }
        append(block)
        crc32 = ~0
        sequence &+= 1
    }

    /// Blocks of an older log: what follows carries the number of `earlier` transactions ago.
    mutating func goBack(_ earlier: UInt32) { sequence &-= earlier }

    // MARK: Running the engine

    func contents(_ byte: UInt8) -> [UInt8] {
        [UInt8](repeating: byte, count: options.blockSize)
    }

    func block(_ number: UInt64) -> [UInt8] {
        let at = Int(number) * options.blockSize
        return Array(bytes[at..<at + options.blockSize])
    }

    func scan() throws(Ext4Error) -> Recovery? {
        try Recovery.scan(
            MemoryDevice(bytes, isReadOnly: true),
            journal: JournalLocation(Self.runs, on: volume), volume: volume, log: .none)
    }

    /// What the volume holds after a replay, by the overlay and by writing: both must agree
    /// outside of the journal.
    func replayed() throws -> [UInt8] {
        guard let recovery = try scan() else { return bytes }
        let device = MemoryDevice(bytes)
        let overlay = recovery.overlay(over: device)
        let seen = try overlay.read(at: 0, count: bytes.count)
        try recovery.replay(to: device)
        let written = device.bytes
        let journal = Self.place(0) * options.blockSize
        precondition(seen[..<journal].elementsEqual(written[..<journal]))
        let behind = journal + options.blockSize
        precondition(seen[behind...].elementsEqual(written[behind...]))
        return written
    }
}

/// The checksums by a table of their own, made from the polynomials' bits.
func crc32BigEndian(_ bytes: [UInt8], seed: UInt32) -> UInt32 {
    var crc = seed
    for byte in bytes { crc = crc << 8 ^ bigEndianTable[Int(UInt8(crc >> 24) ^ byte)] }
    return crc
}

func crc32c(_ bytes: [UInt8], seed: UInt32) -> UInt32 {
    var crc = seed
    for byte in bytes { crc = crc >> 8 ^ castagnoliTable[Int(UInt8(crc & 0xFF) ^ byte)] }
    return crc
}

private let bigEndianTable: [UInt32] = (UInt32(0)..<256).map { byte in
    (0..<8).reduce(byte << 24) { crc, _ in crc >> 31 == 1 ? crc << 1 ^ 0x04C1_1DB7 : crc << 1 }
}

private let castagnoliTable: [UInt32] = (UInt32(0)..<256).map { byte in
    (0..<8).reduce(byte) { crc, _ in crc & 1 == 1 ? crc >> 1 ^ 0x82F6_3B78 : crc >> 1 }
}

extension [UInt8] {
    mutating func put32(_ offset: Int, _ value: UInt32) {
        for i in 0..<4 { self[offset + i] = UInt8(truncatingIfNeeded: value >> (24 - 8 * i)) }
    }

    mutating func put16(_ offset: Int, _ value: UInt16) {
        self[offset] = UInt8(value >> 8)
        self[offset + 1] = UInt8(truncatingIfNeeded: value)
    }

    func get32(_ offset: Int) -> UInt32 {
        (0..<4).reduce(0) { $0 << 8 | UInt32(self[offset + $1]) }
    }
}
