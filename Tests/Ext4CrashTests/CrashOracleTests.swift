import Testing

@testable import Ext4
@testable import Ext4Verify

/// The oracle lets pass what a crash may leave, and nothing else.
@Suite struct CrashOracleTests {
    private func recording(
        _ operations: [CrashOperation], on name: String = "ordered"
    ) throws -> CrashRecording {
        HostProgram.fixTime()
        let kind = try #require(CrashVolume.named(name))
        let numbers = operations.compactMap { CrashOperation.all.firstIndex(of: $0) }
        try #require(numbers.count == operations.count)
        let recording = CrashRecording(
            CrashWorkload(volume: name, numbers: numbers), on: kind, try kind.makeImage(), nil)
        try #require(recording.failure == nil)
        return recording
    }

    private func window(_ floor: Int, _ last: Int) -> CrashWindow {
        CrashWindow(floor: floor, last: last)
    }

    /// What the volume was at each moment may be found, in the window and nowhere else.
    @Test func momentsAreFoundInTheirWindow() throws {
        let oracle = try recording([
            .truncate("foo", size: 0), .write("foo", at: 40_000, count: 1024), .create("new"),
            .rename("new", to: "foo", []), .setMode("A", 0o700),
        ]).oracle
        #expect(oracle.moments.count == 6)
        for moment in 0...5 {
            let found = oracle.moments[moment]
            #expect(oracle.complaint(about: found, window(0, 5)) == nil)
            #expect(oracle.complaint(about: found, window(moment, moment)) == nil)
            if moment > 0 {
                #expect(oracle.complaint(about: found, window(0, moment - 1)) != nil)
            }
            if moment < 5 {
                #expect(oracle.complaint(about: found, window(moment + 1, 5)) != nil)
            }
        }
    }

    /// Contents that were promised must be there, though names and sizes are the same.
    @Test func promisedContentsAreWanted() throws {
        let oracle = try recording([.write("foo", at: 0, count: 512)]).oracle
        let before = oracle.moments[0]
        let foo = try #require(before.contents.first { $0.value.count == 3000 }?.key)
        var promised = window(0, 1)
        #expect(oracle.complaint(about: before, promised) == nil)
        promised.contents[foo] = 1
        #expect(oracle.complaint(about: before, promised)?.contains("data at byte 0") == true)
    }

    /// A volume whose free blocks show in a file.
    @Test func staleDataIsFound() throws {
        let recording = try recording([.write("foo", at: 40_000, count: 1024)])
        let device = LayeredDevice(recording.image)
        let options = recording.volume.openOptions(CrashClock())
        let volume = try Volume.open(device, options: options)
        let file = try volume.inode(atPath: "foo")
        let poison = (0..<512).map { CrashOracle.poison[$0 % CrashOracle.poison.count] }
        try unsafe volume.write(poison.span.bytes, to: file, at: 512)
        let found = try TreeSnapshot(volume)
        #expect(
            recording.oracle.complaint(about: found, window(0, 1))?.contains("stale") == true)
    }

    /// What a file was cut off by does not have to have been as long as what is found.
    @Test func shorterMomentsCountAsZeros() throws {
        let oracle = try recording([.truncate("big", size: 0), .append("big", count: 30_000)])
            .oracle
        for moment in 0...2 {
            #expect(oracle.complaint(about: oracle.moments[moment], window(0, 2)) == nil)
        }
    }

    @Test func promisesRaiseTheFloor() throws {
        let recording = try recording([
            .create("new"), .setMode("A", 0o700), .fsync("new"), .setTimes("foo"), .sync,
            .unlink("bar"),
        ])
        let ends = recording.ends
        #expect(recording.window(at: 0) == window(0, 0))
        // fsync of a file promises what came before its last change, not what came after.
        #expect(recording.window(at: ends[2]).floor == 1)
        #expect(recording.window(at: ends[4]).floor == 5)
        #expect(recording.window(at: recording.events.count).floor == 6)
        #expect(recording.window(at: recording.events.count).last == 6)
    }
}
