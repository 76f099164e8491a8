import Foundation
import Testing

@testable import Ext4

/// Where blocks come from, and what the allocator refuses.
@Suite struct BlockAllocatorTests {
    private static let make = "-t ext4 -b 1024"

    /// The first block of `group` from which on `count` are free.
    private func freeRun(_ count: UInt64, in volume: MadeVolume, group: UInt32) throws -> UInt64 {
        let range = try volume.blocks.reserve(
            count, near: volume.groups.geometry.blocks(of: GroupNumber(group)).start,
            for: .ordinary)
        volume.blocks.cancel(range)
        #expect(range.count == count)
        return range.start.rawValue
    }

    private func reserve(
        _ volume: MadeVolume, _ count: UInt64, at goal: UInt64, _ spender: Spender = .ordinary
    ) throws(Ext4Error) -> BlockRange {
        try volume.blocks.reserve(count, near: BlockNumber(goal), for: spender)
    }

    private func allocate(_ volume: MadeVolume, _ range: BlockRange) throws {
        try volume.change { (handle) throws(Ext4Error) in
            try volume.blocks.claim(range, in: &handle)
        }
    }

    private func free(_ volume: MadeVolume, _ range: BlockRange) throws(Ext4Error) {
        try volume.change { (handle) throws(Ext4Error) in
            try volume.blocks.free(range, isMetadata: false, in: &handle)
        }
    }

    private func range(_ start: UInt64, _ count: UInt64) -> BlockRange {
        BlockRange(start: BlockNumber(start), count: count)
    }

    private func corruption(_ body: () throws(Ext4Error) -> Void) -> Corruption.Rule? {
        do throws(Ext4Error) {
            try body()
        } catch .corrupt(let corruption) {
            return corruption.rule
        } catch {
            return nil
        }
        return nil
    }

    @Test func theGoalComesFirst() throws {
        let volume = try MadeVolume(Self.make)
        let start = try freeRun(100, in: volume, group: 2)
        #expect(try reserve(volume, 10, at: start + 20) == range(start + 20, 10))
        // Up to what is taken, when the goal itself is free.
        #expect(try reserve(volume, 50, at: start + 15) == range(start + 15, 5))
        // Behind the goal, when it is not: the gap of 15 before it is left alone.
        #expect(try reserve(volume, 15, at: start + 25) == range(start + 30, 15))
        #expect(try reserve(volume, 15, at: start) == range(start, 15))
        // A goal outside the volume is no goal.
        #expect(try reserve(volume, 1, at: 1 << 40).count == 1)
        #expect(try reserve(volume, 1, at: 0).count == 1)
    }

    @Test func aRunThatIsLongEnoughBeatsPieces() throws {
        let volume = try MadeVolume(Self.make)
        let group = volume.groups.geometry.blocks(of: GroupNumber(3))
        // Every fourth block of the group is taken.
        var holes: [BlockRange] = []
        while true {
            let rest = try reserve(volume, 1, at: group.start.rawValue)
            guard group.contains(rest.start) else {
                volume.blocks.cancel(rest)
                break
            }
            holes.append(rest)
        }
        for hole in holes where hole.start.rawValue % 4 != 0 { volume.blocks.cancel(hole) }
        let found = try reserve(volume, 64, at: group.start.rawValue)
        #expect(found.count == 64 && !group.contains(found.start))
        // What fits is taken from the group.
        let small = try reserve(volume, 3, at: group.start.rawValue)
        #expect(small.count == 3 && group.contains(small.start))
    }

    @Test func theLastBlocksAreForThePrivileged() throws {
        let volume = try MadeVolume(Self.make + " -m 10", kibibytes: 16384)
        let reserved = volume.superblock.reservedBlocksCount
        #expect(reserved > 1000)
        let all = volume.blocks.freeBlocks
        func fill(_ spender: Spender) throws -> UInt64 {
            var sum: UInt64 = 0
            while let found = try? volume.blocks.reserve(5000, near: BlockNumber(1), for: spender) {
                try allocate(volume, found)
                sum += found.count
            }
            return sum
        }
        let kept = volume.superblock.keptBlocksCount
        #expect(try fill(.ordinary) == all - reserved - kept)
        #expect(try fill(.privileged) == reserved)
        #expect(try fill(.essential) == kept)
        #expect(volume.blocks.freeBlocks == 0 && volume.blocks.unreservedBlocks == 0)
        #expect(!volume.blocks.hasBlocksAwaitingCommit)

        // A block that was freed comes back after the commit and not before.
        let taken = volume.groups.geometry.blocks(of: GroupNumber(1)).end.rawValue - 10
        try free(volume, range(taken, 5))
        #expect(volume.blocks.freeBlocks == 5)
        #expect(throws: Ext4Error.noSpace) { try reserve(volume, 1, at: taken, .essential) }
        #expect(volume.blocks.hasBlocksAwaitingCommit)
        try volume.journal.commitRunning()
        #expect(!volume.blocks.hasBlocksAwaitingCommit)
        #expect(try reserve(volume, 100, at: 1, .essential) == range(taken, 5))
    }

    @Test func whatMustNotBeFreedIsRefused() throws {
        let volume = try MadeVolume(Self.make)
        let start = try freeRun(10, in: volume, group: 1)
        let taken = try reserve(volume, 10, at: start)
        try allocate(volume, taken)
        let before = volume.blocks.freeBlocks
        let descriptor = try volume.groups.descriptor(of: GroupNumber(0))
        let table = descriptor.inodeTable.rawValue
        for bad in [
            range(start + 8, 4), range(start + 10, 1), range(1, 1), range(2, 1),
            range(descriptor.blockBitmap.rawValue, 1), range(descriptor.inodeBitmap.rawValue, 1),
            range(table + 5, 1), range(volume.superblock.blocksCount - 1, 2),
            range(volume.superblock.blocksCount, 1), range(.max, 2), range(0, 1),
            range(volume.groups.geometry.blocks(of: GroupNumber(3)).start.rawValue, 1),
        ] {
            #expect(corruption { () throws(Ext4Error) in try free(volume, bad) } != nil, "\(bad)")
        }
        #expect(volume.blocks.freeBlocks == before)
        // Twice in one handle, and in the next.
        #expect(
            corruption { () throws(Ext4Error) in
                try volume.change { (handle) throws(Ext4Error) in
                    try volume.blocks.free(taken, isMetadata: false, in: &handle)
                    try volume.blocks.free(taken, isMetadata: false, in: &handle)
                }
            } != nil)
        #expect(volume.blocks.freeBlocks == before)
        try free(volume, taken)
        #expect(corruption { () throws(Ext4Error) in try free(volume, taken) } != nil)
        try volume.finish()
        #expect(try volume.check().status == 0)
    }

    @Test func rangesOfSeveralGroupsAreFreedAtOnce() throws {
        let volume = try MadeVolume(Self.make + " -O ^resize_inode,sparse_super2 -G 16")
        let geometry = volume.groups.geometry
        let boundary = geometry.blocks(of: GroupNumber(4)).start.rawValue
        let before = try reserve(volume, 100, at: boundary - 100)
        let behind = try reserve(volume, 50, at: boundary)
        #expect(before == range(boundary - 100, 100) && behind == range(boundary, 50))
        try allocate(volume, before)
        try allocate(volume, behind)
        try free(volume, range(boundary - 100, 150))
        try volume.finish()
        #expect(try volume.check().status == 0)
    }

    @Test func aBadBitmapIsLeftAlone() throws {
        var badGroup: GroupNumber?
        let volume = try MadeVolume(Self.make) { bytes, sound in
            // One that is in use: its checksum does not fit any more.
            let number = GroupNumber(0)
            let bitmap = try sound.groupDescriptor(number).blockBitmap
            bytes[Int(bitmap.rawValue) * sound.blockSize + 1000] ^= 1
            badGroup = number
        }
        let group = volume.groups.geometry.blocks(of: try #require(badGroup))
        let found = try reserve(volume, 8, at: group.start.rawValue + 4000)
        #expect(!group.contains(found.start))
        #expect(volume.messages.count == 1)
        #expect(volume.messages.first?.contains("group 0") == true)
        // What is in it is leaked and not freed.
        let before = volume.blocks.freeBlocks
        try free(volume, range(group.end.rawValue - 1, 1))
        #expect(volume.blocks.freeBlocks == before)
        #expect(volume.messages.count == 1)
    }

    @Test func aWrongCountIsABadBitmap() throws {
        let volume = try MadeVolume("-t ext4 -b 1024 -O ^metadata_csum") { bytes, sound in
            let bitmap = try sound.groupDescriptor(GroupNumber(1)).blockBitmap
            bytes[Int(bitmap.rawValue) * sound.blockSize + 1000] |= 1
        }
        let group = volume.groups.geometry.blocks(of: GroupNumber(1))
        #expect(!group.contains(try reserve(volume, 8, at: group.start.rawValue + 4000).start))
        #expect(volume.messages.count == 1)
    }

    @Test func threadsDoNotGetTheSameBlocks() throws {
        let volume = try MadeVolume(Self.make, kibibytes: 40_500)
        let freeBlocks = volume.blocks.freeBlocks
        let freeInodes = volume.inodes.freeInodes
        let owners = Owners()
        let group = DispatchGroup()
        for seed in 0..<4 {
            group.enter()
            Thread.detachNewThread {
                do {
                    try work(volume, owners, seed: UInt64(seed))
                } catch {
                    owners.failures.withLock { $0.append("\(error)") }
                }
                group.leave()
            }
        }
        group.wait()
        #expect(owners.failures.withLock { $0 } == [])
        #expect(owners.blocks.withLock { $0.isEmpty } && owners.inodes.withLock { $0.isEmpty })
        #expect(volume.blocks.freeBlocks == freeBlocks)
        #expect(volume.blocks.unreservedBlocks == freeBlocks)
        #expect(volume.inodes.freeInodes == freeInodes)
        try volume.finish()
        let (status, output) = try volume.check()
        #expect(status == 0, "\(output)")
    }

    /// Who has what, over all threads.
    private final class Owners: Sendable {
        let blocks = Guarded<Set<UInt64>>([])
        let inodes = Guarded<Set<InodeNumber>>([])
        let failures = Guarded<[String]>([])

        func take(_ number: InodeNumber) {
            guard inodes.withLock({ !$0.insert(number).inserted }) else { return }
            failures.withLock { $0.append("inode \(number) has two owners") }
        }

        func giveBack(_ number: InodeNumber) { inodes.withLock { _ = $0.remove(number) } }

        func take(_ range: BlockRange) {
            let isNew = blocks.withLock { owned in
                (range.start.rawValue..<range.end.rawValue).allSatisfy { owned.insert($0).inserted }
            }
            if !isNew { failures.withLock { $0.append("\(range) has two owners") } }
        }

        func giveBack(_ range: BlockRange) {
            blocks.withLock { $0.subtract(range.start.rawValue..<range.end.rawValue) }
        }
    }

    /// Takes and gives back at random, near what other threads do, and gives all back at the end.
    private func work(_ volume: MadeVolume, _ owners: Owners, seed: UInt64) throws {
        var random = Xorshift(seed &+ 77)
        var mine: [BlockRange] = []
        var numbers: [InodeNumber] = []
        for step in 0..<400 {
            let goal = BlockNumber(random.next() % 10_000)
            let wanted = 1 + random.next() % 40
            let found = try volume.blocks.reserve(wanted, near: goal, for: .ordinary)
            owners.take(found)
            let fails = random.next(below: 6) == 0
            let old = mine.isEmpty ? nil : mine.remove(at: random.next(below: mine.count))
            do throws(Ext4Error) {
                numbers.append(
                    try volume.change { (handle) throws(Ext4Error) in
                        try volume.blocks.claim(found, in: &handle)
                        // Who frees it gives it up before anybody can get it.
                        if let old {
                            if !fails { owners.giveBack(old) }
                            try volume.blocks.free(old, isMetadata: false, in: &handle)
                        }
                        let number = try volume.inodes.allocate(
                            isDirectory: false, parent: .root, isTopLevel: true, in: &handle)
                        if fails { throw Ext4Error.quotaExceeded }
                        return number
                    })
                mine.append(found)
                owners.take(numbers[numbers.count - 1])
            } catch {
                guard error == .quotaExceeded else { throw error }
                owners.giveBack(found)
                volume.blocks.cancel(found)
                if let old { mine.append(old) }
            }
            if step % 50 == 20 + Int(seed) { try volume.journal.commitRunning() }
        }
        for range in mine {
            owners.giveBack(range)
            try free(volume, range)
        }
        for number in numbers {
            owners.giveBack(number)
            try volume.change { (handle) throws(Ext4Error) in
                try volume.inodes.free(number, isDirectory: false, in: &handle)
            }
        }
    }
}
