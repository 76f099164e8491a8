import Testing

@testable import Ext4

/// The superblock's checksum where one sector is all that a device writes as a whole.
@Suite struct SuperblockSealTests {
    private func sealed() -> [UInt8] {
        var bytes = (0..<Superblock.byteCount).map { UInt8(truncatingIfNeeded: $0 &* 37 &+ 11) }
        var span = bytes.mutableSpan
        var raw = unsafe span.mutableBytes
        raw[Superblock.Layout.snapshotInode] = 0
        raw[Superblock.Layout.snapshotID] = 0
        raw[Superblock.Layout.checksum] = Superblock.checksum(of: raw.bytes)
        return bytes
    }

    private func change(
        _ old: [UInt8], _ body: (inout MutableRawSpan) -> Void
    ) -> [UInt8] {
        var bytes = old
        var span = bytes.mutableSpan
        var raw = unsafe span.mutableBytes
        body(&raw)
        Superblock.seal(&raw)
        let checksum = raw[Superblock.Layout.checksum]
        #expect(checksum == Superblock.checksum(of: raw.bytes))
        return bytes
    }

    @Test(arguments: [0, 1, 77, 1_600_000_000, UInt32.max])
    func aChangeOfTheFirstSectorLeavesTheSecond(value: UInt32) {
        let old = sealed()
        var bytes = old
        for step in 0..<5 {
            bytes = change(bytes) {
                $0[Superblock.Layout.writeTime] = value &+ UInt32(step)
                $0[Superblock.Layout.incompatible] ^= IncompatibleFeatures.recover.rawValue
            }
            #expect(bytes[512...] == old[512...])
        }
    }

    @Test func aChangeOfTheSecondSectorIsRightToo() {
        let old = sealed()
        let bytes = change(old) { $0[Superblock.Layout.writeTimeHigh] ^= 1 }
        #expect(bytes[0x3FC...] == old[0x3FC...])
    }

    /// A checksum that was wrong is right afterwards.
    @Test func aWrongChecksumIsMended() {
        var wrong = sealed()
        wrong[0x3FC] ^= 1
        _ = change(wrong) { $0[Superblock.Layout.writeTime] = 5 }
    }

    /// The number of a snapshot that is there stays.
    @Test func snapshotsKeepTheirNumber() {
        var snapshot = sealed()
        var span = snapshot.mutableSpan
        var raw = unsafe span.mutableBytes
        raw[Superblock.Layout.snapshotInode] = 12
        raw[Superblock.Layout.snapshotID] = 99
        raw[Superblock.Layout.checksum] = Superblock.checksum(of: raw.bytes)
        let bytes = change(snapshot) { $0[Superblock.Layout.writeTime] = 5 }
        #expect(bytes[Superblock.Layout.snapshotID.offset] == 99)
    }
}
