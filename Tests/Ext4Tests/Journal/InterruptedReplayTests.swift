import Testing

@testable import Ext4

/// A replay that is cut off anywhere can be done again and ends the same.
@Suite struct InterruptedReplayTests {
    /// Blocks in several runs, so that there are several writes between the two flushes.
    private func log(_ checksum: LogWriter.Checksum) -> LogWriter {
        var writer = LogWriter(.init(checksum: checksum, start: 58))
        var magic = writer.contents(9)
        magic.put32(0, LogWriter.magic)
        writer.log([(60, writer.contents(1)), (61, writer.contents(1)), (70, magic)])
        writer.commit()
        writer.log([(60, writer.contents(2)), (80, writer.contents(3)), (390, magic)])
        writer.revoke([61])
        writer.commit()
        return writer
    }

    @Test func everyCutAndEveryLossOfUnflushedWritesIsMended() throws {
        for checksum in [LogWriter.Checksum.none, .v3] {
            let writer = log(checksum)
            let expected = try writer.replayed()
            let whole = VolatileDevice(writer.bytes)
            try #require(try writer.scan()).replay(to: whole)
            let events = whole.events
            #expect(events.count { $0 == .flush } == 2)
            #expect(events.last == .flush)

            for cut in 0...events.count {
                // What was flushed is there; of the rest, every subset may be.
                let durable = events[..<cut].lastIndex(of: .flush) ?? 0
                let pending = (durable..<cut).filter { events[$0] != .flush }
                for subset in 0..<(1 << pending.count) {
                    var after = writer
                    for index in 0..<cut {
                        guard case .write(let offset, let bytes) = events[index] else { continue }
                        let place = pending.firstIndex(of: index)
                        if let place, subset >> place & 1 == 0 { continue }
                        after.bytes.replaceSubrange(offset..<offset + bytes.count, with: bytes)
                    }
                    #expect(try after.replayed() == expected, "cut \(cut), subset \(subset)")
                }
            }
        }
    }

    @Test func aFailingDeviceLeavesTheLog() throws {
        let writer = log(.v3)
        let whole = VolatileDevice(writer.bytes)
        try #require(try writer.scan()).replay(to: whole)
        for limit in 0..<whole.events.count {
            let device = VolatileDevice(writer.bytes, failingAfter: limit)
            let recovery = try #require(try writer.scan())
            #expect(throws: Ext4Error.self) { try recovery.replay(to: device) }
            #expect(device.events.count == limit)
        }
    }
}

/// A device that remembers what was written and when it was flushed, and fails when told to.
private final class VolatileDevice: BlockDevice {
    enum Event: Equatable {
        case write(offset: Int, bytes: [UInt8])
        case flush
    }

    private let memory: MemoryDevice
    private let limit: Int
    private let log = Guarded<[Event]>([])

    init(_ bytes: [UInt8], failingAfter limit: Int = .max) {
        memory = MemoryDevice(bytes)
        self.limit = limit
    }

    var events: [Event] { log.withLock { $0 } }
    var byteCount: UInt64 { memory.byteCount }
    var isReadOnly: Bool { false }

    func read(at byteOffset: UInt64, into bytes: inout MutableRawSpan) throws(Ext4Error) {
        try memory.read(at: byteOffset, into: &bytes)
    }

    func write(_ bytes: RawSpan, at byteOffset: UInt64) throws(Ext4Error) {
        try record(.write(offset: Int(byteOffset), bytes: bytes.copy()))
        try memory.write(bytes, at: byteOffset)
    }

    func flush() throws(Ext4Error) { try record(.flush) }

    private func record(_ event: Event) throws(Ext4Error) {
        let isDone = log.withLock { log in
            guard log.count < limit else { return false }
            log.append(event)
            return true
        }
        guard isDone else { throw .io(IOFailure(.write, at: 0, count: 0, errno: 5)) }
    }
}
