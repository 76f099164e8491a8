import Testing

@testable import Ext4

/// Random allocation on volumes of many kinds, against a list of what is in use.
@Suite struct AllocationWorkloadTests {
    static let makes = [
        "-t ext4 -b 4096 -g 2048", "-t ext4 -b 1024", "-t ext4 -b 1024 -O ^flex_bg",
        "-t ext4 -b 2048 -G 4 -g 4096", "-t ext4 -b 1024 -O ^metadata_csum,uninit_bg",
        "-t ext4 -b 1024 -O ^metadata_csum", "-t ext4 -b 1024 -O ^resize_inode,meta_bg",
        "-t ext4 -b 1024 -O ^64bit", "-t ext4 -b 1024 -O ^metadata_csum,^64bit,uninit_bg -I 128",
        "-t ext4 -b 1024 -O ^resize_inode,sparse_super2 -N 2000", "-t ext4 -b 1024 -O ^has_journal",
        "-t ext3 -b 1024", "-t ext2 -b 4096 -g 2048 -I 128",
    ]

    private struct Model {
        /// Blocks that the bitmaps have as used.
        var used: [Bool]
        /// Blocks that nobody may be given: used, set aside, or freed in that transaction.
        var reserved: Set<UInt64> = []
        var waiting: [UInt64: TransactionID] = [:]
        var claimed: [BlockRange] = []
        var setAside: [BlockRange] = []
        /// Those of them that the running handle added, claimed since or not.
        var fresh: [BlockRange] = []
        var inodes: [(number: InodeNumber, isDirectory: Bool)] = []
        var freedInodes: [InodeNumber: TransactionID] = [:]

        mutating func mark(_ range: BlockRange, used isUsed: Bool) {
            for block in range.start.rawValue..<range.end.rawValue { used[Int(block)] = isUsed }
        }
    }

    @Test(arguments: makes) func aWorkload(make: String) throws {
        // The last group is a short one.
        let volume = try MadeVolume(make, kibibytes: 40_500)
        let superblock = volume.superblock
        let freeBlocks = volume.blocks.freeBlocks
        let freeInodes = volume.inodes.freeInodes
        var model = Model(
            used: try (0..<superblock.blocksCount).map { block in
                try block < UInt64(superblock.firstDataBlock)
                    || volume.isUsed(BlockNumber(block))
            })
        #expect(model.used.count { !$0 } == Int(freeBlocks))
        var random = Xorshift(UInt64(make.utf8.count))
        for step in 0..<600 {
            try oneStep(volume, &model, &random)
            if step % 40 == 39 { try volume.journal.commitRunning() }
            if step == 300 {
                try checkBitmaps(volume, model)
                // With what is in use by nobody, nothing but the bitmaps may be wrong.
                let (status, output) = try volume.check()
                #expect(status == 4 || status == 0, "\(output)")
                #expect(!output.contains("checksum") && !output.contains("orrupt"), "\(output)")
            }
        }
        for range in model.setAside { volume.blocks.cancel(range) }
        for range in model.claimed {
            try volume.change { (handle) throws(Ext4Error) in
                try volume.blocks.free(range, isMetadata: range.count % 2 == 0, in: &handle)
            }
        }
        for (number, isDirectory) in model.inodes {
            try volume.change { (handle) throws(Ext4Error) in
                try volume.inodes.free(number, isDirectory: isDirectory, in: &handle)
            }
        }
        #expect(volume.blocks.freeBlocks == freeBlocks)
        #expect(volume.blocks.unreservedBlocks == freeBlocks)
        #expect(volume.inodes.freeInodes == freeInodes)
        try volume.finish()
        #expect(!volume.blocks.hasBlocksAwaitingCommit && !volume.inodes.hasInodesAwaitingCommit)
        let (status, output) = try volume.check()
        #expect(status == 0, "\(output)")
        #expect(volume.messages == [])
    }

    /// One handle, which may fail at its end: then the volume is as before.
    private func oneStep(
        _ volume: MadeVolume, _ model: inout Model, _ random: inout Xorshift
    ) throws {
        let fails = random.next(below: 5) == 0
        var next = model
        next.fresh = []
        do throws(Ext4Error) {
            try volume.change { (handle) throws(Ext4Error) in
                for _ in 0...random.next(below: 6) {
                    try operation(volume, &next, &random, in: &handle)
                }
                if fails { throw Ext4Error.quotaExceeded }
            }
        } catch {
            guard fails, error == .quotaExceeded else { throw error }
            // What was set aside is in memory only, and no part of the transaction.
            for range in next.fresh { volume.blocks.cancel(range) }
            return
        }
        model = next
    }

    private func operation(
        _ volume: MadeVolume, _ model: inout Model, _ random: inout Xorshift,
        in handle: inout Handle
    ) throws(Ext4Error) {
        let blocksCount = volume.superblock.blocksCount
        switch random.next(below: 8) {
        case 0, 1:
            let goal = BlockNumber(random.next() % (blocksCount + 10))
            let count = UInt64(1 + random.next(below: [1, 8, 100, 3000][random.next(below: 4)]))
            let range: BlockRange
            do throws(Ext4Error) {
                range = try volume.blocks.reserve(count, near: goal, for: .privileged)
            } catch .noSpace {
                return
            }
            expectFree(range, volume, model)
            #expect(range.count <= count)
            for block in range.start.rawValue..<range.end.rawValue { model.reserved.insert(block) }
            model.setAside.append(range)
            model.fresh.append(range)
        case 2, 3:
            guard !model.setAside.isEmpty else { return }
            let range = model.setAside.remove(at: random.next(below: model.setAside.count))
            // A part of it is not needed after all.
            let part = range.prefix(1 + random.next() % range.count)
            try volume.blocks.claim(part, in: &handle)
            model.mark(part, used: true)
            model.claimed.append(part)
            let rest = range.dropFirst(part.count)
            if rest.count > 0 { model.setAside.append(rest) }
            for block in part.start.rawValue..<part.end.rawValue { model.reserved.remove(block) }
        case 4:
            let goal = BlockNumber(random.next() % blocksCount)
            let block: BlockNumber
            do throws(Ext4Error) {
                block = try volume.blocks.allocate(near: goal, for: .privileged, in: &handle)
            } catch .noSpace {
                return
            }
            let range = BlockRange(start: block, count: 1)
            expectFree(range, volume, model)
            model.mark(range, used: true)
            model.claimed.append(range)
        case 5:
            guard !model.claimed.isEmpty else { return }
            let range = model.claimed.remove(at: random.next(below: model.claimed.count))
            let part = range.prefix(1 + random.next() % range.count)
            try volume.blocks.free(part, isMetadata: random.next(below: 2) == 0, in: &handle)
            model.mark(part, used: false)
            for block in part.start.rawValue..<part.end.rawValue {
                model.waiting[block] = handle.transaction.id
            }
            let rest = range.dropFirst(part.count)
            if rest.count > 0 { model.claimed.append(rest) }
        case 6:
            let isDirectory = random.next(below: 3) == 0
            let parent = InodeNumber(
                1 + UInt32(random.next(below: Int(volume.superblock.inodesCount))))
            for _ in 0...random.next(below: 12) {
                let number = try volume.inodes.allocate(
                    isDirectory: isDirectory, parent: parent, isTopLevel: parent.rawValue % 2 == 0,
                    in: &handle)
                #expect(number >= volume.superblock.firstInode)
                #expect(!model.inodes.contains { $0.number == number })
                if let freed = model.freedInodes[number] {
                    #expect(volume.journal.isCommitted(freed))
                }
                #expect(try volume.inodes.isAllocated(number))
                model.inodes.append((number, isDirectory))
            }
        default:
            guard !model.inodes.isEmpty else { return }
            let (number, isDirectory) = model.inodes.remove(
                at: random.next(below: model.inodes.count))
            try volume.inodes.free(number, isDirectory: isDirectory, in: &handle)
            #expect(try !volume.inodes.isAllocated(number))
            model.freedInodes[number] = handle.transaction.id
        }
    }

    private func expectFree(_ range: BlockRange, _ volume: MadeVolume, _ model: Model) {
        for block in range.start.rawValue..<range.end.rawValue {
            let waits = model.waiting[block].map { !volume.journal.isCommitted($0) } ?? false
            if model.used[Int(block)] || model.reserved.contains(block) || waits {
                Issue.record("block \(block) is given away twice")
                return
            }
        }
    }

    /// Compares the bitmaps on the device with the model.
    private func checkBitmaps(_ volume: MadeVolume, _ model: Model) throws {
        try volume.journal.commitRunning()
        try volume.journal.checkpoint()
        var wrong = 0
        for block in UInt64(volume.superblock.firstDataBlock)..<volume.superblock.blocksCount
        where try volume.isUsed(BlockNumber(block)) != model.used[Int(block)] { wrong += 1 }
        #expect(wrong == 0)
    }
}
