import Testing

@testable import Ext4
@testable import Ext4Verify

/// The states that a recording allows.
@Suite struct CrashStatesTests {
    private static let size = DeviceImage.sectorSize

    private func write(
        _ value: UInt8, sectors: Range<Int>, to device: RecordingDevice, isForced: Bool = false
    ) throws {
        let bytes = [UInt8](repeating: value, count: sectors.count * Self.size)
        try unsafe device.write(
            bytes.span.bytes, at: UInt64(sectors.lowerBound * Self.size), isForced: isForced)
    }

    /// The first byte of each of the first sectors, in every state behind all events.
    private func states(of device: RecordingDevice, _ base: DeviceImage, count: Int) -> Set<[UInt8]>
    {
        var walk = CrashWalk(base)
        for event in device.events { walk.advance(over: event) }
        let sectors = walk.sectors
        var found: Set<[UInt8]> = []
        for choice in CrashStates().choices(sectors, seed: 1) {
            let state = walk.device(choice, sectors)
            found.insert(
                (0..<count).map { state.bytes($0 * Self.size..<$0 * Self.size + 1)[0] })
        }
        return found
    }

    @Test func everySectorHasAnyVersion() throws {
        let base = DeviceImage(byteCount: 16 * Self.size)
        let device = RecordingDevice(base)
        try write(1, sectors: 0..<2, to: device)
        try write(2, sectors: 1..<3, to: device)
        let found = states(of: device, base, count: 3)
        var expected: Set<[UInt8]> = []
        for first: UInt8 in [0, 1] {
            for second: UInt8 in [0, 1, 2] {
                for third: UInt8 in [0, 2] { expected.insert([first, second, third]) }
            }
        }
        #expect(found == expected)
    }

    @Test func aFlushMakesDurable() throws {
        let base = DeviceImage(byteCount: 16 * Self.size)
        let device = RecordingDevice(base)
        try write(1, sectors: 0..<1, to: device)
        try device.flush()
        try write(2, sectors: 1..<2, to: device)
        #expect(states(of: device, base, count: 2) == [[1, 0], [1, 2]])
    }

    /// A forced write makes nothing durable but itself.
    @Test func aForcedWriteIsDurableAlone() throws {
        let base = DeviceImage(byteCount: 16 * Self.size)
        let device = RecordingDevice(base)
        try write(1, sectors: 0..<1, to: device)
        try write(2, sectors: 1..<2, to: device, isForced: true)
        #expect(states(of: device, base, count: 2) == [[0, 2], [1, 2]])
    }

    @Test func aDiscardIsAsVolatileAsAWrite() throws {
        let base = DeviceImage(byteCount: 16 * Self.size)
        base.put([UInt8](repeating: 7, count: Self.size), at: 0)
        let device = RecordingDevice(base)
        try device.discard(at: 0, count: Self.size)
        #expect(states(of: device, base, count: 1) == [[7], [0]])
    }

    /// What is there already makes no state of its own.
    @Test func rewritingTheSameIsNothing() throws {
        let base = DeviceImage(byteCount: 16 * Self.size)
        let device = RecordingDevice(base)
        try write(0, sectors: 0..<4, to: device)
        try write(1, sectors: 2..<3, to: device)
        try write(1, sectors: 2..<3, to: device)
        #expect(states(of: device, base, count: 4) == [[0, 0, 0, 0], [0, 0, 1, 0]])
    }

    /// Ten pending sectors have all their states looked at, more of them a choice.
    @Test func tenSectorsAreAllTried() throws {
        let base = DeviceImage(byteCount: 64 * Self.size)
        let device = RecordingDevice(base)
        try write(1, sectors: 0..<10, to: device)
        #expect(states(of: device, base, count: 10).count == 1024)
        try write(1, sectors: 10..<40, to: device)
        let found = states(of: device, base, count: 40)
        #expect(found.count > 20 && found.count < 200)
        #expect(found.contains([UInt8](repeating: 1, count: 40)))
        #expect(found.contains([UInt8](repeating: 0, count: 40)))
        // One request without the other, both ways; torn at either end.
        let first = [UInt8](repeating: 1, count: 10) + [UInt8](repeating: 0, count: 30)
        #expect(found.contains(first))
        #expect(found.contains(first.map { 1 - $0 }))
        #expect(found.contains([UInt8](repeating: 1, count: 39) + [0]))
        #expect(found.contains([0] + [UInt8](repeating: 1, count: 39)))
    }

    /// A state has the same hash however it came about.
    @Test func equalStatesHaveEqualHashes() throws {
        let base = DeviceImage(byteCount: 16 * Self.size)
        let one = RecordingDevice(base)
        try write(1, sectors: 0..<1, to: one)
        try write(2, sectors: 1..<2, to: one)
        let other = RecordingDevice(base)
        try write(9, sectors: 0..<1, to: other)
        try write(2, sectors: 1..<2, to: other)
        try other.flush()
        try write(1, sectors: 0..<1, to: other)
        func hashes(_ device: RecordingDevice) -> [UInt64] {
            var walk = CrashWalk(base)
            for event in device.events { walk.advance(over: event) }
            let sectors = walk.sectors
            let newest = sectors.map { UInt16($0.versions.count) }
            let none = sectors.map { _ in UInt16(0) }
            return [walk.hash(of: newest, sectors), walk.hash(of: none, sectors)]
        }
        #expect(hashes(one)[0] == hashes(other)[0])
        #expect(hashes(one)[1] != hashes(other)[1])
    }

    @Test func aLayeredDeviceLeavesItsImageAlone() throws {
        let base = DeviceImage(byteCount: 4096)
        let device = LayeredDevice(base)
        let bytes = [UInt8](repeating: 5, count: 700)
        try unsafe device.write(bytes.span.bytes, at: 1000)
        #expect(base.bytes(0..<4096).allSatisfy { $0 == 0 })
        let expected =
            [UInt8](repeating: 0, count: 1000) + bytes
            + [UInt8](repeating: 0, count: 4096 - 1700)
        #expect(device.bytes(0..<4096) == expected)
        #expect(device.flattened().bytes(0..<4096) == expected)
        #expect(throws: Ext4Error.self) { try device.read(at: 4090, count: 7) }
    }

    @Test func seedsAreTexts() {
        for text in ["ordered:1.2.3", "ext3:0@57.4", "4k:7.90@1.0@12.3"] {
            #expect(CrashSeed(text)?.description == text)
        }
        for text in [
            "", "nothing:1", "ordered:1@2", "ordered:99999", "ordered:x", "ordered:1@2.3@4.5@6.7",
        ] {
            #expect(CrashSeed(text) == nil)
        }
    }
}
