import Ext4Verify
import Testing

@testable import Ext4

// The negative corpus, its part about journals.

extension VolumeFixture {
    /// Where the blocks of the journal are.
    fileprivate var journal: JournalLocation {
        get throws { try sound.journalLocation() }
    }

    /// Where block `index` of the journal starts.
    fileprivate func journalBlock(_ index: UInt64) throws -> Int {
        guard let block = try journal.block(index) else { throw Ext4Error.notFound }
        return start(of: block)
    }

    /// What the log is made of: its control blocks, and the copies behind the descriptors.
    fileprivate struct Piece {
        /// The block of the journal.
        let index: UInt64
        /// nil for a copy.
        let kind: JournalHeader.Kind?
        /// Where a copy belongs.
        var target: UInt64 = 0
    }

    /// All pieces of the log, in its order.
    fileprivate func pieces() throws -> [Piece] {
        let start = try journalBlock(0)
        let superblock = try JournalSuperblock(
            parsing: unsafe image.span.bytes.extracting(start..<start + 1024),
            at: BlockNumber(0), volumeBlockSize: blockSize, blockCount: journal.blockCount)
        var walk = LogWalk(
            LogArea(
                device: MemoryDevice(image), location: try journal, superblock: superblock))
        let format = JournalFormat(superblock)
        var pieces: [Piece] = []
        while let found = try walk.next() {
            pieces.append(Piece(index: UInt64(walk.index), kind: found))
            if found == .descriptor {
                for tag in unsafe JournalTag.all(in: walk.block.span.bytes, format) {
                    guard let index = walk.skipLoggedBlock() else { break }
                    pieces.append(
                        Piece(index: UInt64(index), kind: nil, target: tag.target.rawValue))
                }
            }
            if found == .commit { walk.beginNextTransaction() }
        }
        return pieces
    }

    /// The last control block of a kind in the log, by its index.
    fileprivate func last(_ kind: JournalHeader.Kind) throws -> UInt64 {
        guard let found = try pieces().last(where: { $0.kind == kind }) else {
            throw Ext4Error.notFound
        }
        return found.index
    }

    /// Puts other bytes into the newest copy of `target` in the log.
    fileprivate mutating func log(_ bytes: [UInt8], as target: UInt64) throws {
        let copies = try pieces().filter { $0.kind == nil && $0.target == target }
        guard let newest = copies.last else { throw Ext4Error.notFound }
        let start = try journalBlock(newest.index)
        image.replaceSubrange(start..<start + blockSize, with: bytes)
    }
}

@Suite struct JournalCorpusTests {
    private func open(_ image: [UInt8]) throws -> Volume {
        var options = OpenOptions()
        options.superblock = .primary
        return try Volume.open(MemoryDevice(image), options: options)
    }

    /// A log that puts another superblock in place: its journal has another number (bz216541), or
    /// it is none at all.
    @Test func replayChangesTheSuperblock() throws {
        let sound = try VolumeFixture("journal")
        var superblock = Array(sound.image[1024..<2048])
        ChecksumSeal.set(&superblock, Superblock.Layout.journalInode, 12)
        let checksum = unsafe Superblock.checksum(of: superblock.span.bytes)
        ChecksumSeal.set(&superblock, Superblock.Layout.checksum, checksum)
        var volume = sound
        try volume.log(superblock, as: 1)
        let moved = volume.corruption { (_) throws(Ext4Error) in }
        #expect(moved?.structure == .superblock)
        #expect(moved?.field == "s_journal_inum" && moved?.value == 12)
        volume.walk()
        let untouched = MemoryDevice(volume.sealed)
        #expect(throws: Ext4Error.self) { try Volume.replayJournal(on: untouched) }
        #expect(untouched.bytes == volume.sealed)

        volume = sound
        try volume.log([UInt8](repeating: 0, count: 1024), as: 1)
        #expect(throws: Ext4Error.corrupt(.superblock, .magic(found: 0))) {
            try open(volume.sealed)
        }
        volume.walk()
        let device = MemoryDevice(volume.sealed)
        #expect(throws: Ext4Error.self) { try Volume.replayJournal(on: device) }
        #expect(device.bytes == volume.sealed)
    }

    /// Copies for blocks that are none of the volume's, or the journal's own.
    @Test func targetIsWrong() throws {
        let sound = try VolumeFixture("journal")
        let own = try #require(try sound.sound.journalLocation().block(5)?.rawValue)
        for target in [0, 2560, 0x7FFF_FFFF, .max, UInt32(own)] {
            var volume = sound
            let descriptor = try volume.last(.descriptor)
            let tag = try volume.journalBlock(descriptor) + JournalHeader.Layout.byteCount
            volume.set(JournalTag.Layout.blockLow, at: tag, target)
            let place: BlockNumber = try #require(
                try sound.sound.journalLocation().block(descriptor + 1))
            #expect {
                try open(volume.sealed)
            } throws: { error in
                guard case .corrupt(let found)? = error as? Ext4Error else { return false }
                return found.structure == .journal && found.place == .init(block: place)
                    && found.field == "t_blocknr" && found.value == UInt64(target)
            }
            volume.walk()
        }
    }

    /// A superblock of the journal whose ring, start or blocks cannot be.
    @Test func journalSuperblock() throws {
        typealias Layout = JournalSuperblock.Layout
        let sound = try VolumeFixture("journal")
        let start = try sound.journalBlock(0)
        let first: BlockNumber = try #require(try sound.sound.journalLocation().block(0))
        let place = Corruption.Place(block: first)
        func expect(
            _ field: Field<UInt32>, _ values: [UInt32], _ name: String,
            sourceLocation: SourceLocation = #_sourceLocation
        ) {
            for value in values {
                var volume = sound
                volume.set(field, at: start, value)
                let found = volume.corruption(sourceLocation: sourceLocation) {
                    (_) throws(Ext4Error) in
                }
                #expect(found?.structure == .journalSuperblock, sourceLocation: sourceLocation)
                #expect(found?.place == place, sourceLocation: sourceLocation)
                #expect(found?.field == name, sourceLocation: sourceLocation)
                #expect(found?.value == UInt64(value), sourceLocation: sourceLocation)
            }
        }
        expect(Layout.blockSize, [0, 512, 2048, .max], "s_blocksize")
        expect(Layout.length, [0, 1, 1025, .max], "s_maxlen")
        expect(Layout.first, [0, 1024, .max], "s_first")
        expect(Layout.start, [1024, 5000, .max], "s_start")
        expect(Layout.blockType, [0, 1, 2, 5, .max], "h_blocktype")
        var volume = sound
        volume.set(Layout.magic, at: start, 0)
        let found = volume.corruption { (_) throws(Ext4Error) in }
        #expect(found == Corruption(.journalSuperblock, at: place, .magic(found: 0)))
        volume.walk()
    }

    /// Features of a journal that nobody knows are refused by name.
    @Test func unknownFeatures() throws {
        var volume = try VolumeFixture("journal")
        let field = JournalSuperblock.Layout.incompatible
        let start = try volume.journalBlock(0)
        volume.set(field, at: start, volume.get(field, at: start) | 0x4000_0000)
        #expect {
            try open(volume.sealed)
        } throws: { error in
            guard case .unsupported? = error as? Ext4Error else { return false }
            return true
        }
    }

    /// An inode of the journal that is no file, inline, free or full of holes.
    @Test func journalInode() throws {
        typealias Layout = InodeRecord.Layout
        func expect<Value>(
            _ field: Field<Value>, _ value: Value,
            sourceLocation: SourceLocation = #_sourceLocation
        ) throws {
            var volume = try VolumeFixture("journal")
            try volume.setInode(.journal, field, value)
            let found = volume.corruption(sourceLocation: sourceLocation) {
                (_) throws(Ext4Error) in
            }
            #expect(found?.structure == .journal, sourceLocation: sourceLocation)
            #expect(found?.place.inode == .journal, sourceLocation: sourceLocation)
            volume.walk(sourceLocation: sourceLocation)
        }
        try expect(Layout.mode, 0o040700)
        try expect(Layout.mode, 0)
        try expect(Layout.linkCount, 0)
        try expect(
            Layout.flags, InodeFlags.inlineData.rawValue | InodeFlags.extents.rawValue)
        try expect(Layout.sizeHigh, 1)
        try expect(Layout.sizeLow, 2000 << 10)
        for number: UInt32 in [1, 2, 5, 11, 12, 64, 65, .max] {
            var volume = try VolumeFixture("journal")
            volume.setSuperblock(Superblock.Layout.journalInode, number)
            volume.walk()
        }
    }

    /// Revoke records that hold more than their block, and descriptors without an end.
    @Test func controlBlocks() throws {
        let sound = try VolumeFixture("journal")
        // The last commit becomes a record of revokes, and a copy of it commits that.
        let commit = try sound.last(.commit)
        var revoking = sound
        let record = try revoking.journalBlock(commit)
        let next = try revoking.journalBlock(commit + 1)
        for i in 0..<1024 { revoking.image[next + i] = revoking.image[record + i] }
        revoking.set(
            JournalHeader.Layout.blockType, at: record, JournalHeader.Kind.revoke.rawValue)
        let target = try #require(try sound.pieces().last { $0.kind == nil }).target
        revoking.set(JournalRevoke.Layout.byteCount, at: record, 24)
        revoking.set(Field<UInt64>.be(JournalRevoke.Layout.entries), at: record, target)
        #expect(try open(revoking.sealed).recovery?.revokedBlockCount == 1)
        for count: UInt32 in [1021, 0x7FFF_FFFF, .max] {
            var volume = revoking
            volume.set(JournalRevoke.Layout.byteCount, at: record, count)
            let place: BlockNumber = try #require(
                try sound.sound.journalLocation().block(commit))
            #expect {
                try open(volume.sealed)
            } throws: { error in
                guard case .corrupt(let found)? = error as? Ext4Error else { return false }
                return found.structure == .journal && found.place == .init(block: place)
                    && found.field == "r_count" && found.value == UInt64(count)
            }
            volume.walk()
        }
        let descriptor = try sound.last(.descriptor)
        for flags: UInt16 in [0, 1, 2, 4, 8, 0xFFFF] {
            var volume = sound
            let base = try volume.journalBlock(descriptor)
            for tag in stride(from: JournalHeader.Layout.byteCount, to: 1000, by: 16) {
                volume.set(JournalTag.Layout.flags, at: base + tag, flags)
            }
            volume.walk()
        }
    }

    /// Every block of the log and of its superblock as zeros, ones, or a copy of the one before.
    @Test(arguments: ["journal", "ext3", "fast"]) func logBlocksAreLost(_ name: String) throws {
        let sound = try VolumeFixture(name)
        let location = try sound.sound.journalLocation()
        for index in 0..<min(location.blockCount, 24) {
            let start = try sound.journalBlock(index)
            for fill in [0, 0xFF, nil] as [UInt8?] {
                var image = sound.image
                for i in start..<start + sound.blockSize {
                    image[i] = fill ?? image[i - sound.blockSize]
                }
                _ = timed(#_sourceLocation) { try? Volume.open(MemoryDevice(image)) }
                ChecksumSeal.seal(&image)
                _ = timed(#_sourceLocation) { try? Volume.open(MemoryDevice(image)) }
            }
        }
    }

    /// A fast commit whose records do not fit their block.
    @Test func fastCommitRecords() throws {
        let sound = try VolumeFixture("fast")
        let location = try sound.sound.journalLocation()
        var hits = 0
        for index in 0..<location.blockCount {
            let start = try sound.journalBlock(index)
            guard sound.get(JournalFastCommit.Layout.tag, at: start) == 9 else { continue }
            hits += 1
            var sound = sound
            // The transaction that would come next.
            sound.set(JournalFastCommit.Layout.headTransaction, at: start, 5)
            for length: UInt16 in [0, 4, 7, 1016, 1020, 1021, 0xFFFF] {
                var volume = sound
                volume.set(JournalFastCommit.Layout.valueByteCount, at: start, length)
                volume.walk()
                // The record behind the head.
                volume = sound
                volume.set(JournalFastCommit.Layout.valueByteCount, at: start + 12, length)
                volume.walk()
            }
        }
        #expect(hits > 0)
    }
}
