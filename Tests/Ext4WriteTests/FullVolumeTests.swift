import Ext4Verify
import Testing

@testable import Ext4

/// Volumes that run out of space.
@Suite struct FullVolumeTests {
    static let user = Credentials(userID: 1000, groupID: 1000)
    static let file = NewInode(mode: FileMode(rawValue: 0o100644))
    static let options = [
        "-t ext4 -b 1024 -J size=1 -m 10 -N 4000", "-t ext2 -b 1024 -m 10 -N 4000",
        "-t ext4 -b 1024 -O ^has_journal,inline_data -m 10 -N 4000",
    ]

    private func open(_ device: FaultyDevice) throws -> Volume {
        try Volume.open(device, options: Workload.options(Workload.Clock()))
    }

    private func free(_ volume: Volume) throws -> UInt64 {
        try volume.sync()
        return volume.statistics().freeBlocks
    }

    /// Runs `body` until the volume is full; how often that went well.
    private func fill(_ body: (Int) throws(Ext4Error) -> Void) -> (count: Int, error: Ext4Error) {
        var count = 0
        while true {
            do throws(Ext4Error) {
                try body(count)
            } catch {
                return (count, error)
            }
            count += 1
        }
    }

    @Test(arguments: options)
    func manySmallFilesFillIt(kind: String) throws {
        let device = try TestImage.make(kind, megabytes: 6)
        let volume = try open(device)
        let root = try volume.root()
        let directory = try volume.create(
            "d", in: root, NewInode(mode: FileMode(rawValue: 0o040777)))
        let before = try free(volume)
        let bytes = [UInt8](repeating: 0x42, count: 3000)
        var files = 0
        let (_, error) = fill { (number) throws(Ext4Error) in
            let inode = try volume.create(
                FileName("f\(number)"), in: directory, Self.file, by: Self.user)
            files = number + 1
            try volume.write(bytes, to: inode, at: 0, by: Self.user)
        }
        #expect(error == .noSpace)
        #expect(files > 500)
        try refuseEverything(volume, directory, by: Self.user)
        // What is reserved is for root.
        let reserved = try free(volume)
        #expect(reserved >= volume.superblock.reservedBlocksCount)
        let last = try volume.lookup(FileName("f\(files - 1)"), in: directory)
        try volume.write(bytes, to: last, at: 100_000)
        let (_, rootsError) = fill { (number) throws(Ext4Error) in
            try volume.write([1], to: last, at: UInt64(200_000 + number * 1024))
        }
        #expect(rootsError == .noSpace)
        #expect(try free(volume) < volume.superblock.keptBlocksCount + 32)
        try refuseEverything(volume, directory, by: .root)

        // Every file that was written whole is.
        for number in 0..<files - 1 {
            let inode = try volume.lookup(FileName("f\(number)"), in: directory)
            #expect(try volume.contents(of: inode) == bytes)
        }
        for number in 0..<files { try volume.unlink(FileName("f\(number)"), in: directory) }
        // A directory keeps its blocks.
        try volume.removeDirectory("d", in: root)
        let directoryBlocks = before - min(before, try free(volume))
        #expect(directoryBlocks == 0)
        _ = try volume.create("again", in: root, Self.file, by: Self.user)
        try volume.close()
        #expect(try TestImage.complaints(about: device) == nil)
    }

    /// On a volume without a free block nothing that needs one works, and all else does.
    private func refuseEverything(
        _ volume: Volume, _ directory: Inode, by credentials: Credentials
    ) throws {
        let blockSize = volume.blockSize
        let hasInline = volume.superblock.incompatible.contains(.inlineData)
        func refuse(_ body: () throws(Ext4Error) -> Void) {
            #expect(throws: Ext4Error.noSpace) { try body() }
        }
        let some = try volume.lookup("f1", in: directory)
        refuse { () throws(Ext4Error) in
            try volume.write(
                [UInt8](repeating: 1, count: 200 * blockSize), to: some, at: 50_000,
                by: credentials)
        }
        refuse { () throws(Ext4Error) in
            try volume.setExtendedAttribute(
                "user.large", to: [UInt8](repeating: 1, count: 400), of: some, by: credentials)
        }
        refuse { () throws(Ext4Error) in
            let target = [UInt8](repeating: 0x61, count: 300)
            _ = try volume.create("link", in: directory, .symlink(to: target), by: credentials)
        }
        if !hasInline {
            refuse { () throws(Ext4Error) in
                let new = NewInode(mode: FileMode(rawValue: 0o040755))
                _ = try volume.create("new", in: directory, new, by: credentials)
            }
        }
        if some.usesExtents {
            refuse { () throws(Ext4Error) in
                try volume.change(
                    .allocate(keepsSize: true), of: some, at: 100_000, count: 1 << 20,
                    by: credentials)
            }
        }
        // What needs none.
        #expect(throws: Ext4Error.notFound) { try volume.lookup("link", in: directory) }
        try volume.rename("f1", in: directory, to: "g1", in: directory, by: credentials)
        try volume.rename("g1", in: directory, to: "f1", in: directory, by: credentials)
        var changes = AttributeChanges()
        changes.permissions = 0o600
        try volume.setAttributes(changes, of: some, by: credentials)
        try volume.write([0x42], to: some, at: 0, by: credentials)
    }

    @Test(arguments: options)
    func oneLargeFileFillsIt(kind: String) throws {
        let device = try TestImage.make(kind, megabytes: 12)
        let volume = try open(device)
        let root = try volume.root()
        let before = try free(volume)
        let large = try volume.create("large", in: root, Self.file)
        let piece = [UInt8](repeating: 0x42, count: 10_000)
        let (_, error) = fill { (number) throws(Ext4Error) in
            try volume.write(piece, to: large, at: UInt64(number) * 10_000)
        }
        #expect(error == .noSpace)
        #expect(try free(volume) < volume.superblock.keptBlocksCount + 4)
        #expect(try !volume.contents(of: large).contains { $0 != 0x42 })
        var changes = AttributeChanges()
        changes.size = large.size / 2
        try volume.setAttributes(changes, of: large)
        #expect(try free(volume) > before / 3)
        try volume.unlink("large", in: root)
        #expect(try free(volume) == before)
        let again = try volume.create("again", in: root, Self.file)
        for number in 0..<100 { try volume.write(piece, to: again, at: UInt64(number) * 10_000) }
        try volume.close()
        #expect(try TestImage.complaints(about: device) == nil)
    }

    /// A random workload where there is never enough room.
    @Test(arguments: CrashTests.kinds)
    func aWorkloadWithoutRoom(kind: VolumeKind) throws {
        for seed in 1...WorkloadTests.seeds {
            // The smallest journal of 4 KiB blocks alone takes more than there is to be here.
            let isLarge = kind.options.contains("4096")
            let device = try TestImage.make(
                isLarge ? "-t ext4 -b 4096 -O ^has_journal" : kind.options,
                megabytes: isLarge ? 2 : 3)
            let clock = Workload.Clock()
            var options = Workload.options(clock)
            options.dataMode = kind.dataMode
            let workload = try Workload(
                Volume.open(device, options: options), clock: clock, seed: UInt64(seed))
            workload.toleratesFullVolume = true
            workload.hasFarOffsets = false
            workload.run(WorkloadTests.operations * 2)
            try #require(workload.surprises.isEmpty, "seed \(seed): \(workload.report)")
            #expect(workload.refusals > 0)
            #expect(workload.compare() == [], "seed \(seed): \(workload.report)")
            workload.releaseAll()
            try workload.volume.close()
            #expect(try TestImage.complaints(about: device) == nil, "\(workload.report)")
        }
    }
}
