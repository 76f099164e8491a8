import Testing

@testable import Ext4

/// What a log must not make recovery do: each case a whole log, one change, one exact answer.
@Suite struct DamagedLogTests {
    private let withCRC32C: [LogWriter.Options] = [
        .init(checksum: .v2), .init(checksum: .v2, is64Bit: true), .init(checksum: .v3),
        .init(checksum: .v3, is64Bit: true),
    ]

    private func corruption(_ writer: LogWriter) throws -> Corruption? {
        do throws(Ext4Error) {
            _ = try writer.scan()
            return nil
        } catch {
            guard case .corrupt(let corruption) = error else { throw error }
            return corruption
        }
    }

    private func place(_ index: UInt32) -> BlockNumber {
        BlockNumber(UInt64(LogWriter.place(index)))
    }

    /// Two transactions at blocks 1…3 and 4…6 of the log.
    private func twoTransactions(
        _ options: LogWriter.Options, seconds: (UInt64, UInt64) = (1_000, 1_001)
    ) -> LogWriter {
        var writer = LogWriter(options)
        writer.log([(60, writer.contents(1))])
        writer.commit(seconds: seconds.0)
        writer.log([(61, writer.contents(2))])
        writer.commit(seconds: seconds.1)
        return writer
    }

    // MARK: Checksums

    @Test func wrongCommitChecksumIsDamage() throws {
        for options in withCRC32C {
            for index in [UInt32(3), 6] {
                var writer = twoTransactions(options)
                writer.change(index) { $0[17] ^= 1 }
                let found = try #require(try corruption(writer))
                #expect(found.structure == .journal)
                #expect(found.place.block == place(index))
            }
        }
    }

    @Test func wrongCommitChecksumOfAnOlderTimeEndsTheLog() throws {
        for options in withCRC32C {
            var writer = twoTransactions(options, seconds: (1_000, 900))
            writer.change(6) { $0[17] ^= 1 }
            #expect(try writer.scan()?.report.transactionCount == 1)
        }
    }

    @Test func commitBlockWithOnlyItsFirstSectorWrittenCounts() throws {
        for options in withCRC32C {
            var writer = twoTransactions(options)
            writer.change(6) { for i in 512..<1024 { $0[i] = 0xEE } }
            #expect(try writer.scan()?.report.transactionCount == 2)
        }
    }

    @Test func unfinishedAsynchronousCommitEndsTheLog() throws {
        for var options in withCRC32C {
            options.isAsync = true
            var writer = twoTransactions(options)
            writer.change(6) { $0[17] ^= 1 }
            #expect(try writer.scan()?.report.transactionCount == 1)
            #expect(try writer.scan()?.endTransaction == TransactionID(2))
        }
    }

    @Test func wrongDescriptorChecksumIsDamageUnlessTheLogIsOlder() throws {
        for options in withCRC32C {
            // In a corner that nothing is read from.
            var writer = twoTransactions(options)
            writer.change(4) { $0[900] ^= 1 }
            #expect(try corruption(writer)?.place.block == place(4))

            writer = twoTransactions(options, seconds: (1_000, 900))
            writer.change(4) { $0[900] ^= 1 }
            #expect(try writer.scan()?.report.transactionCount == 1)

            // Without a commit block it is the rest of nothing.
            writer = twoTransactions(options)
            writer.change(4) { $0[900] ^= 1 }
            writer.change(6) { $0.put32(0, 0) }
            #expect(try writer.scan()?.report.transactionCount == 1)
        }
    }

    @Test func wrongRevokeChecksumIsDamageUnlessTheLogIsOlder() throws {
        for options in withCRC32C {
            var writer = twoTransactions(options)
            writer.revoke([60])
            let index = writer.lastIndex
            writer.commit(seconds: 1_001)
            #expect(try writer.scan()?.report.revokedBlockCount == 1)
            writer.change(index) { $0[900] ^= 1 }
            #expect(try corruption(writer)?.place.block == place(index))

            writer = twoTransactions(options)
            writer.revoke([60])
            writer.change(writer.lastIndex) { $0[900] ^= 1 }
            writer.commit(seconds: 999)
            #expect(try writer.scan()?.report.transactionCount == 2)
            #expect(try writer.scan()?.report.revokedBlockCount == 0)
        }
    }

    @Test func wrongChecksumOfALoggedBlockIsDamage() throws {
        for options in withCRC32C {
            var writer = twoTransactions(options)
            writer.change(5) { $0[77] ^= 0x10 }
            let found = try #require(try corruption(writer))
            #expect(found.place.block == place(5))
            guard case .checksum = found.rule else {
                Issue.record("\(found)")
                return
            }
            // A copy that nobody uses may hold what it likes.
            writer.revoke([61])
            writer.commit(seconds: 1_002)
            #expect(try writer.scan()?.report.replayedBlockCount == 1)
        }
    }

    @Test func transactionChecksumOfVersion1IsVerified() throws {
        let options = LogWriter.Options(checksum: .v1)
        #expect(try twoTransactions(options).scan()?.report.transactionCount == 2)
        for index in [UInt32(4), 5, 6] {
            var writer = twoTransactions(options)
            writer.change(index) { $0[index == 6 ? 19 : 700] ^= 4 }
            #expect(try corruption(writer)?.place.block == place(6))
            writer = twoTransactions(options, seconds: (1_000, 999))
            writer.change(index) { $0[index == 6 ? 19 : 700] ^= 4 }
            #expect(try writer.scan()?.report.transactionCount == 1)
        }
        // One that was not made is not wrong.
        var writer = LogWriter(options)
        writer.log([(60, writer.contents(1))])
        writer.commit(withoutChecksum: true)
        #expect(try writer.scan()?.report.transactionCount == 1)
    }

    @Test func asynchronousCommitWithVersion1() throws {
        var options = LogWriter.Options(checksum: .v1)
        options.isAsync = true
        // The last one may be unfinished…
        var writer = twoTransactions(options)
        writer.change(5) { $0[700] ^= 4 }
        #expect(try writer.scan()?.report.transactionCount == 1)
        // …one that others follow may not.
        writer = twoTransactions(options)
        writer.change(2) { $0[700] ^= 4 }
        #expect(try corruption(writer)?.structure == .journal)
    }

    // MARK: Fields

    @Test func targetsOutsideTheVolumeAreRefused() throws {
        for is64Bit in [false, true] {
            let options = LogWriter.Options(checksum: .v3, is64Bit: is64Bit)
            var targets: [UInt64] = [0, 400, 401, 0xFFFF_FFFF]
            if is64Bit { targets += [1 << 32 | 60, .max, 1 << 63, .max / 1024] }
            for target in targets {
                var writer = LogWriter(options)
                writer.log([(60, writer.contents(1)), (target, writer.contents(2))])
                writer.commit()
                let found = try #require(try corruption(writer))
                // The first that is wrong, in the order of the volume.
                #expect(found.place.block == place(3))
                #expect(
                    found.rule
                        == .field(
                            "t_blocknr", value: target,
                            rule: "a block of the volume outside the journal"))
            }
        }
    }

    @Test func theJournalsOwnBlocksAreNoTargets() throws {
        for run in LogWriter.runs {
            for target in run.firstBlock.rawValue..<run.firstBlock.rawValue + run.count {
                var writer = LogWriter()
                writer.log([(target, writer.contents(2))])
                writer.commit()
                #expect(try corruption(writer)?.structure == .journal)
            }
            for target in [run.firstBlock.rawValue - 1, run.firstBlock.rawValue + run.count] {
                var writer = LogWriter()
                writer.log([(target, writer.contents(2))])
                writer.commit()
                #expect(try corruption(writer) == nil)
            }
        }
    }

    @Test func revokeBlocksHoldNoMoreThanTheyCan() throws {
        for (options, room) in [
            (LogWriter.Options(), UInt32(1024)), (.init(checksum: .v3), 1020),
        ] {
            var counts: [(UInt32, Bool)] = [
                (0, true), (3, true), (16, true), (19, true), (room, true), (room + 1, false),
                (0x8000_0000, false), (.max, false),
            ]
            if room == 1020 { counts.append((1024, false)) }
            for (count, isFine) in counts {
                var writer = LogWriter(options)
                writer.log([(60, writer.contents(1))])
                writer.revoke([61])
                let index = writer.lastIndex
                writer.change(index) { $0.put32(12, count) }
                writer.fixTail(index)
                writer.commit()
                let found = try corruption(writer)
                #expect((found == nil) == isFine, "r_count \(count)")
                if !isFine { #expect(found?.place.block == place(index)) }
            }
        }
    }

    @Test func descriptorsWithoutALastTagEndWithTheirBlock() throws {
        // Every tag of the block counts then: 126 of 8 bytes in 1,012, less the UUID's 16.
        var writer = LogWriter()
        writer.log([(60, writer.contents(1))])
        writer.commit()
        writer.change(1) { block in
            for offset in stride(from: 12, to: 1016, by: 8) {
                block.put16(offset + 6, 2)
            }
        }
        // They do not fit into the log, so the transaction never ended.
        #expect(try writer.scan()?.report.transactionCount == 0)

        // Tags with a UUID each: 42 of 24 bytes, and none behind the end of the block.
        writer = LogWriter()
        writer.log([(60, writer.contents(1))])
        let copy = writer.position
        writer.change(1) { block in
            for offset in stride(from: 12, to: 1012, by: 24) {
                block.put32(offset, 60)
                block.put16(offset + 6, 0)
            }
        }
        for _ in 0..<41 { writer.set(copy, writer.contents(0)) }
        var skipped = writer
        for index in UInt32(3)..<44 { skipped.set(index, writer.contents(3)) }
        #expect(try skipped.scan()?.report.transactionCount == 0)
    }

    @Test func logFullOfDescriptorsEnds() throws {
        // Each announces nothing that ends: the walk must stop after one round.
        var writer = LogWriter()
        writer.log([(60, writer.contents(1))])
        let descriptor = writer.get(1)
        for index in 1..<LogWriter.journalLength { writer.set(index, descriptor) }
        #expect(try writer.scan()?.report.transactionCount == 0)
        // The same of revoke blocks.
        writer = LogWriter()
        writer.revoke([60, 61])
        let revoke = writer.get(1)
        for index in 1..<LogWriter.journalLength { writer.set(index, revoke) }
        #expect(try writer.scan()?.report.transactionCount == 0)
    }

    // MARK: The journal's superblock

    @Test func fieldsOfTheSuperblockAreChecked() throws {
        func expect(
            _ offset: Int, _ value: UInt32, _ name: String,
            sourceLocation: SourceLocation = #_sourceLocation
        ) throws {
            for options in [LogWriter.Options(), .init(checksum: .v3)] {
                var writer = twoTransactions(options)
                writer.writeSuperblock { $0.put32(offset, value) }
                let found = try #require(try corruption(writer), sourceLocation: sourceLocation)
                #expect(found.structure == .journalSuperblock, sourceLocation: sourceLocation)
                #expect(found.place.block == place(0), sourceLocation: sourceLocation)
                guard case .field(name, value: UInt64(value), _) = found.rule else {
                    Issue.record("\(found)", sourceLocation: sourceLocation)
                    return
                }
            }
        }
        try expect(0x04, 1, "h_blocktype")
        try expect(0x04, 5, "h_blocktype")
        for size: UInt32 in [0, 512, 2048, 0x8000_0000] { try expect(0x0C, size, "s_blocksize") }
        for length: UInt32 in [0, 1, 65, .max] { try expect(0x10, length, "s_maxlen") }
        for first: UInt32 in [0, 64, 65, .max] { try expect(0x14, first, "s_first") }
        for start: UInt32 in [64, 65, .max] { try expect(0x1C, start, "s_start") }
        var writer = twoTransactions(.init())
        writer.writeSuperblock { $0.put32(0x14, 5) }  // s_start is before s_first now
        #expect(try corruption(writer)?.structure == .journalSuperblock)
        writer.writeSuperblock { $0.put32(0, 0x98) }
        #expect(try corruption(writer)?.rule == .magic(found: 0x98))
    }

    @Test func checksumOfTheSuperblockIsVerified() throws {
        for options in withCRC32C {
            for offset in [0x1B, 0x54, 0x100, 0x3FF] {
                var writer = twoTransactions(options)
                writer.change(0) { $0[offset] ^= 1 }
                let found = try #require(try corruption(writer))
                guard case .checksum = found.rule else {
                    Issue.record("\(found)")
                    return
                }
            }
            var writer = twoTransactions(options)
            writer.writeSuperblock { $0[0x50] = 1 }
            guard case .field("s_checksum_type", value: 1, _) = try corruption(writer)?.rule else {
                Issue.record("another type of checksum was accepted")
                return
            }
        }
        var writer = twoTransactions(.init(checksum: .v3))
        writer.writeSuperblock { $0.put32(0x28, $0.get32(0x28) | 8) }
        #expect(try corruption(writer)?.structure == .journalSuperblock)
        writer.writeSuperblock { $0.put32(0x24, 1) }
        #expect(try corruption(writer)?.structure == .journalSuperblock)
    }

    @Test func unknownFeaturesAreRefusedByName() throws {
        var writer = twoTransactions(.init())
        writer.writeSuperblock {
            $0.put32(0x28, 0x8000_0041)
            $0.put32(0x2C, 4)
        }
        #expect(
            throws: Ext4Error.unsupported(
                UnsupportedFeatures(
                    ["journal FEATURE_R2", "journal FEATURE_I6", "journal FEATURE_I31"],
                    for: .recovery))
        ) { try writer.scan() }
        // A log that is empty can be left alone.
        writer.writeSuperblock(start: 0) { $0.put32(0x28, 0x8000_0041) }
        #expect(try writer.scan() == nil)
    }

    @Test func version1SuperblockHasNoFeatures() throws {
        // What stands in the place of the features is not looked at.
        var writer = twoTransactions(.init())
        writer.writeSuperblock {
            $0.put32(4, 3)
            $0.put32(0x28, 0xFFFF_FFFF)
        }
        #expect(try writer.scan()?.report.transactionCount == 2)
    }

    // MARK: Where the journal is

    @Test func journalsOutsideTheVolumeAreRefused() throws {
        let volume = JournalledVolume(blockSize: 1024, blocksCount: 400, firstDataBlock: 1)
        for (first, count) in [
            (UInt64(0), UInt64(4)), (390, 11), (400, 1), (.max, 1), (5, .max), (.max, .max),
        ] {
            #expect(throws: Ext4Error.self) {
                try JournalLocation(
                    [.init(firstBlock: BlockNumber(first), count: count)], on: volume)
            }
        }
        #expect(throws: Ext4Error.self) {
            try JournalLocation(
                [
                    .init(firstBlock: BlockNumber(10), count: 5),
                    .init(firstBlock: BlockNumber(2), count: 5),
                    .init(firstBlock: BlockNumber(14), count: 5),
                ], on: volume)
        }
        let none = try JournalLocation([], on: volume)
        #expect(throws: Ext4Error.self) {
            try Recovery.scan(
                MemoryDevice([UInt8](repeating: 0, count: 400 * 1024)), journal: none,
                volume: volume, log: .none)
        }
    }

    @Test func locationFindsEveryBlock() throws {
        let location = try JournalLocation(LogWriter.runs, on: LogWriter().volume)
        #expect(location.blockCount == 64)
        for index in UInt32(0)..<64 {
            #expect(location.block(UInt64(index)) == place(index))
        }
        #expect(location.block(64) == nil)
        #expect(location.block(.max) == nil)
        let own = Set((UInt32(0)..<64).map { UInt64(LogWriter.place($0)) })
        for block in UInt64(0)..<400 {
            #expect(location.contains(BlockNumber(block)) == own.contains(block))
        }
    }

    @Test func truncatedDeviceIsAnError() throws {
        var writer = twoTransactions(.init(checksum: .v3))
        for count in [0, 1024, 100 * 1024, 200 * 1024 + 600, 203 * 1024] {
            var cut = writer
            cut.bytes = Array(writer.bytes[..<count])
            #expect(throws: Ext4Error.self) { try cut.scan() }
        }
        // The log is there, a target is not.
        writer.log([(390, writer.contents(1))])
        writer.commit(seconds: 2_000)
        writer.bytes = Array(writer.bytes[..<(380 * 1024)])
        let recovery = try #require(try writer.scan())
        let device = MemoryDevice(writer.bytes)
        #expect(throws: Ext4Error.self) { try recovery.replay(to: device) }
        #expect(device.bytes[200 * 1024 + 0x1F] == 1, "the log must stay as it was")
    }
}
