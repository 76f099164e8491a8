import Testing

@testable import Ext4

/// Which inodes are given out, and where.
@Suite struct InodeAllocatorTests {
    private static let make = "-t ext4 -b 1024"

    private func allocate(
        _ volume: MadeVolume, isDirectory: Bool = false, parent: InodeNumber = .root,
        isTopLevel: Bool = false
    ) throws(Ext4Error) -> InodeNumber {
        try volume.change { (handle) throws(Ext4Error) in
            try volume.inodes.allocate(
                isDirectory: isDirectory, parent: parent, isTopLevel: isTopLevel, in: &handle)
        }
    }

    private func free(
        _ volume: MadeVolume, _ number: InodeNumber, isDirectory: Bool = false
    ) throws(Ext4Error) {
        try volume.change { (handle) throws(Ext4Error) in
            try volume.inodes.free(number, isDirectory: isDirectory, in: &handle)
        }
    }

    private func firstInode(of group: UInt32, _ volume: MadeVolume) -> InodeNumber {
        InodeNumber(group * volume.superblock.inodesPerGroup + 1)
    }

    @Test func theLowestFreeOneIsTaken() throws {
        let volume = try MadeVolume(Self.make)
        // 11 is lost+found.
        let numbers = try (0..<5).map { _ in try allocate(volume).rawValue }
        #expect(numbers == [12, 13, 14, 15, 16])
        #expect(try volume.inodes.isAllocated(InodeNumber(13)))
        try free(volume, InodeNumber(13))
        #expect(try !volume.inodes.isAllocated(InodeNumber(13)))
        // Only after the commit.
        #expect(volume.inodes.hasInodesAwaitingCommit)
        #expect(try allocate(volume).rawValue == 17)
        try volume.journal.commitRunning()
        #expect(try allocate(volume).rawValue == 13)
        #expect(try allocate(volume).rawValue == 18)
        let parent = firstInode(of: 3, volume)
        #expect(try allocate(volume, parent: parent) == parent)
    }

    @Test(arguments: [
        "-t ext4 -b 1024 -N 2048", "-t ext4 -b 1024 -N 2048 -O ^flex_bg",
        "-t ext4 -b 1024 -N 2048 -O ^metadata_csum,uninit_bg", "-t ext2 -b 1024 -N 2048 -I 128",
    ])
    func allOfThemAreGivenOutOnce(make: String) throws {
        let volume = try MadeVolume(make)
        var seen: Set<InodeNumber> = []
        let count = volume.inodes.freeInodes
        var parent = InodeNumber(1000)
        for index in 0..<count {
            parent = try allocate(volume, isDirectory: index % 3 == 0, parent: parent)
            #expect(seen.insert(parent).inserted && parent >= volume.superblock.firstInode)
        }
        #expect(volume.inodes.freeInodes == 0)
        #expect(throws: Ext4Error.noSpace) { try allocate(volume) }
        // The blocks of the table were garbage: those in use are zeros now, all of them.
        try volume.journal.commitRunning()
        try volume.journal.checkpoint()
        let perGroup = volume.superblock.inodesPerGroup
        for number in seen {
            let index = number.rawValue - 1
            let table = try volume.groups.descriptor(
                of: volume.groups.geometry.group(of: number)
            ).inodeTable
            let bytes = try volume.device.read(
                at: table.rawValue * UInt64(volume.superblock.blockSize)
                    + UInt64(index % perGroup) * UInt64(volume.superblock.inodeSize),
                count: volume.superblock.inodeSize)
            #expect(unsafe bytes.span.bytes.isAllZero, "inode \(number)")
        }
        let sorted = seen.sorted()
        for (index, number) in sorted.enumerated() where index % 2 == 0 {
            // What was a directory is told by its turn, and so not known any more.
            try free(volume, number)
        }
        try volume.journal.commitRunning()
        #expect(try sorted.contains(allocate(volume)))
    }

    @Test func whatMustNotBeFreedIsRefused() throws {
        let volume = try MadeVolume(Self.make)
        let before = volume.inodes.freeInodes
        for number: UInt32 in [
            0, 1, 2, 8, 10, 12, 5000, volume.superblock.inodesCount,
            volume.superblock.inodesCount + 1, .max,
        ] {
            #expect(throws: Ext4Error.self) { try free(volume, InodeNumber(number)) }
        }
        #expect(volume.inodes.freeInodes == before)
        #expect(throws: Ext4Error.invalidArgument) {
            try volume.inodes.isAllocated(InodeNumber(0))
        }
        #expect(throws: Ext4Error.invalidArgument) {
            try volume.inodes.isAllocated(InodeNumber(volume.superblock.inodesCount + 1))
        }
        #expect(try volume.inodes.isAllocated(.root))
        #expect(try !volume.inodes.isAllocated(InodeNumber(volume.superblock.inodesCount)))
    }

    @Test func directoriesAtTheTopAreSpreadAndOthersStay() throws {
        let volume = try MadeVolume(Self.make + " -O ^flex_bg")
        let geometry = volume.groups.geometry
        let groupCount = Int(volume.superblock.groupCount)
        var homes: Set<GroupNumber> = []
        var last = InodeNumber.root
        for _ in 0..<groupCount {
            last = try allocate(volume, isDirectory: true, isTopLevel: true)
            homes.insert(geometry.group(of: last))
        }
        #expect(homes.count > groupCount / 2)
        for _ in 0..<20 {
            let number = try allocate(volume, isDirectory: true, parent: last)
            #expect(geometry.group(of: number) == geometry.group(of: last))
            let file = try allocate(volume, parent: number)
            #expect(geometry.group(of: file) == geometry.group(of: last))
        }
        // One place does not get all of them.
        homes = []
        for _ in 0..<volume.superblock.inodesPerGroup {
            homes.insert(
                geometry.group(of: try allocate(volume, isDirectory: true, parent: last)))
        }
        #expect(homes.count > 1)
    }

    @Test func aBadBitmapIsLeftAlone() throws {
        let volume = try MadeVolume(Self.make) { bytes, sound in
            let bitmap = try sound.groupDescriptor(GroupNumber(0)).inodeBitmap
            bytes[Int(bitmap.rawValue) * sound.blockSize + 10] ^= 1
        }
        let number = try allocate(volume)
        #expect(volume.groups.geometry.group(of: number) != GroupNumber(0))
        #expect(volume.messages.count == 1)
        #expect(throws: Ext4Error.self) { try volume.inodes.isAllocated(InodeNumber(12)) }
        let before = volume.inodes.freeInodes
        try free(volume, InodeNumber(11), isDirectory: true)
        #expect(volume.inodes.freeInodes == before)
    }

    @Test func nearestGroupsAreAllGroupsOnce() throws {
        let volume = try MadeVolume(Self.make + " -G 4", kibibytes: 8192 * 11)
        let geometry = volume.groups.geometry
        #expect(geometry.groupCount == 11)
        for home in 0..<geometry.groupCount {
            let order = NearestGroups(GroupNumber(home), geometry).map(\.rawValue)
            #expect(order.first == home && Set(order) == Set(0..<geometry.groupCount))
            #expect(order.count == Int(geometry.groupCount))
            let near = order.prefix(home < 8 ? 4 : 3)
            #expect(near.allSatisfy { $0 / 4 == home / 4 })
        }
    }
}
