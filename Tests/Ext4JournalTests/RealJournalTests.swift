import Ext4Host
import Testing

@testable import Ext4

/// A way to make an image, to mount it, and what to do there.
struct Crash: Sendable, CustomTestStringConvertible {
    let name: String
    let make: String
    var mount = "rw"
    var script = Crash.everything
    /// What the log must hold, or the case shows nothing.
    var holds: Set<Content> = [.revokes]

    enum Content: Sendable { case revokes, escapes, wrap }

    var testDescription: String { name }

    /// Files and directories come, go and change their names; blocks of directories that are gone
    /// become contents of files, so that there are revokes; the last words are not fsynced.
    static let everything = """
        mkdir a b c
        for i in $(seq 200); do echo $i > a/file-$i; done
        for i in $(seq 40); do mkdir b/$i; echo $i > b/$i/x; ln -s $(seq -s- 60) b/$i/link; done
        sync -f .
        rm -r b; for i in $(seq 1 3 200); do mv a/file-$i c/renamed-$i; done
        sync -f .
        for i in $(seq 30); do head -c 9000 /dev/urandom > c/data-$i; done
        sync c/data-1
        for i in $(seq 2 3 200); do rm a/file-$i; done
        mkdir b; printf '\\300\\073\\071\\230 begins like a block of the journal' > b/magic
        head -c 20000 /dev/zero | tr '\\0' '\\300' >> b/magic
        sync b/magic
        echo never seen again > a/lost
        """

    static let all: [Crash] = [
        .init(name: "default", make: "-t ext4 -b 4096"),
        .init(name: "1 KiB blocks", make: "-t ext4 -b 1024"),
        .init(name: "2 KiB blocks, 128-byte inodes", make: "-t ext4 -b 2048 -I 128"),
        .init(name: "no 64bit", make: "-t ext4 -b 4096 -O ^64bit"),
        .init(name: "no checksums", make: "-t ext4 -b 4096 -O ^metadata_csum"),
        .init(name: "no checksums, no 64bit", make: "-t ext4 -b 4096 -O ^metadata_csum,^64bit"),
        .init(
            name: "checksum v1", make: "-t ext4 -b 4096 -O ^metadata_csum",
            mount: "journal_checksum"),
        .init(
            name: "checksum v1, asynchronous", make: "-t ext4 -b 1024 -O ^metadata_csum,^64bit",
            mount: "data=writeback,journal_async_commit"),
        .init(
            name: "asynchronous", make: "-t ext4 -b 4096",
            mount: "data=writeback,journal_async_commit"),
        .init(
            name: "data=journal", make: "-t ext4 -b 4096", mount: "data=journal",
            holds: [.escapes]),
        .init(
            name: "data=journal, 1 KiB, no checksums", make: "-t ext4 -b 1024 -O ^metadata_csum",
            mount: "data=journal", holds: [.escapes]),
        .init(name: "data=writeback", make: "-t ext4 -b 4096", mount: "data=writeback"),
        .init(name: "ext3", make: "-t ext3 -b 1024"),
        .init(name: "bigalloc", make: "-t ext4 -b 4096 -O bigalloc -C 16384"),
        .init(name: "orphan file", make: "-t ext4 -b 4096 -O orphan_file"),
        .init(
            name: "a log that wraps", make: "-t ext4 -b 1024 -J size=1", mount: "data=journal",
            script: """
                for i in $(seq 60); do
                    mkdir -p d$((i % 7)); head -c 30000 /dev/urandom > d$((i % 7))/f$i
                    sync d$((i % 7))/f$i
                    test $((i % 5)) != 0 || rm -r d$((i % 7))
                done
                sync -f .
                """,
            holds: [.wrap]),
    ]
}

@Suite(.enabled(if: isRoot, "mounting needs root"), .serialized)
struct RealJournalTests {
    @Test(arguments: Crash.all)
    func recoversAsE2fsckDoes(_ crash: Crash) throws {
        let image = try CrashImage(crash.make)
        try image.crash(mountedWith: crash.mount, running: crash.script)
        let recovery = try expectSameAsE2fsck(image)
        let superblock = recovery.area.superblock
        var holds: Set<Crash.Content> = []
        if recovery.report.revokedBlockCount > 0 { holds.insert(.revokes) }
        if recovery.blocks.contains(where: \.isEscaped) { holds.insert(.escapes) }
        let last = recovery.blocks.map(\.distance).max() ?? 0
        if superblock.start + last >= superblock.end { holds.insert(.wrap) }
        #expect(holds.isSuperset(of: crash.holds))
    }

    @Test func fastCommitsAreRefusedAndTheirAbsenceIsNot() throws {
        let make = "-t ext4 -b 4096 -O fast_commit"
        let image = try CrashImage(make)
        try image.crash(
            mountedWith: "rw",
            running: "echo a > a; sync -f .; echo b > b; sync b; echo c >> b; sync b")
        let (volume, journal) = try image.geometry()
        #expect(throws: Ext4Error.unsupported(UnsupportedFeatures(["fast_commit"], for: .recovery)))
        {
            try Recovery.scan(
                openImage(image.path), journal: journal, volume: volume, log: .none)
        }
        // A full commit on top makes what is in the area old.
        let quiet = try CrashImage(make)
        try quiet.crash(
            mountedWith: "rw",
            running: "echo a > a; sync -f .; echo b > b; sync b; echo c >> b; sync -f .")
        // e2fsck 1.47.0 replays the log, and then fails over the old fast commit.
        try expectSameAsE2fsck(quiet, andTheSameJournalSuperblock: false)
    }

    @Test func cleanVolumesNeedNothing() throws {
        let image = try CrashImage("-t ext4 -b 4096")
        let (volume, journal) = try image.geometry()
        let device = try openImage(image.path)
        #expect(try Recovery.scan(device, journal: journal, volume: volume, log: .none) == nil)
    }
}

/// Recovers copies of the image by e2fsck, in memory, and in place: all must hold the same.
@discardableResult
func expectSameAsE2fsck(
    _ image: CrashImage, andTheSameJournalSuperblock comparesJournalSuperblock: Bool = true
) throws -> Recovery {
    let (volume, journal) = try image.geometry()
    let expected = try image.recoveredByE2fsck()
    let ours = try image.copy("ours")
    let blockSize = UInt64(volume.blockSize)
    // What e2fsck writes on top: the journal's and the volume's superblock.
    let own: Set = [try #require(journal.block(0)).rawValue, 1024 / blockSize]

    let recovery = try #require(
        try Recovery.scan(
            openImage(image.path), journal: journal, volume: volume, log: .none))
    #expect(recovery.report.transactionCount > 0)
    #expect(recovery.report.replayedBlockCount > 0)
    try recovery.replay(to: openImage(ours, access: .readWrite))
    #expect(
        try Set(differingBlocks(ours, expected, blockSize: volume.blockSize)).subtracting(own)
            .isEmpty)

    let overlay = try recovery.overlay(over: openImage(image.path))
    let replayed = try openImage(ours)
    #expect(
        try Set(differingBlocks(overlay, replayed, blockSize: volume.blockSize))
            .subtracting([own.max() ?? 0]).isEmpty)

    try expectReplayedVolume(image, like: expected, own: own, recovery.report)
    guard comparesJournalSuperblock else { return recovery }
    let place = try #require(journal.block(0)).rawValue * blockSize
    let byUs = try replayed.read(at: place, count: 1024)
    let byE2fsck = try openImage(expected).read(at: place, count: 1024)
    #expect(byUs == byE2fsck)
    return recovery
}

/// What `ext4 replay` does: the whole volume, with its superblock.
func expectReplayedVolume(
    _ image: CrashImage, like expected: String, own: Set<UInt64>, _ report: RecoveryReport
) throws {
    let blockSize = try image.geometry().volume.blockSize
    let path = try image.copy("replayed")
    do {
        let device = try openImage(path, access: .readWrite)
        #expect(try Volume.replayJournal(on: device) == report)
        #expect(try Volume.replayJournal(on: device) == nil)
        let volume = try Volume.open(device)
        #expect(volume.recovery == nil)
        #expect(!volume.superblock.incompatible.contains(.recover))
    }
    #expect(
        try Set(differingBlocks(path, expected, blockSize: blockSize)).subtracting(own).isEmpty)
    // The check finds the same as after e2fsck's own replay: on a volume that was not unmounted,
    // free counts of the superblock, and orphans.
    #expect(try check(path) == check(expected))

    // In memory it is the same volume.
    let volume = try Volume.open(openImage(image.path))
    #expect(volume.recovery == report)
    let replayed = try openImage(path)
    #expect(
        try Set(differingBlocks(volume.device, replayed, blockSize: blockSize))
            .isSubset(of: own))
}

/// What e2fsck says of a volume, without the volume's name.
private func check(_ path: String) throws -> String {
    try shell("e2fsck -fn $1 2>&1", path, expecting: [0, 4])
        .replacing(path, with: "image")
}
