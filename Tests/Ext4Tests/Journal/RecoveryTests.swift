import Testing

@testable import Ext4

/// Every layout that a log's control blocks come in.
private let layouts: [LogWriter.Options] = LogWriter.Checksum.allCases.flatMap { checksum in
    [false, true].flatMap { is64Bit in
        [false, true].map { hasUUIDInEveryTag in
            LogWriter.Options(
                checksum: checksum, is64Bit: is64Bit, hasUUIDInEveryTag: hasUUIDInEveryTag)
        }
    }
}

@Suite struct RecoveryTests {
    @Test func emptyLogNeedsNothing() throws {
        var writer = LogWriter()
        writer.writeSuperblock(start: 0)
        #expect(try writer.scan() == nil)
    }

    @Test(arguments: layouts)
    func newestCopyOfEachBlockIsReplayed(_ options: LogWriter.Options) throws {
        var writer = LogWriter(options)
        writer.log([(10, writer.contents(1)), (11, writer.contents(2)), (350, writer.contents(3))])
        writer.commit()
        writer.log([(11, writer.contents(4))])
        writer.log([(12, writer.contents(5)), (12, writer.contents(6))])
        writer.commit()
        let report = try #require(try writer.scan()).report
        #expect(report.firstTransaction == TransactionID(1))
        #expect(report.lastTransaction == TransactionID(2))
        #expect(report.transactionCount == 2)
        #expect(report.loggedBlockCount == 6)
        #expect(report.replayedBlockCount == 4)
        #expect(report.revokedBlockCount == 0)

        var expected = writer.bytes
        for (target, byte) in [(10, 1), (11, 4), (350, 3), (12, 6)] {
            let at = target * options.blockSize
            expected.replaceSubrange(
                at..<at + options.blockSize, with: writer.contents(UInt8(byte)))
        }
        var replayed = try writer.replayed()
        // The journal's superblock says so and is otherwise what it was.
        let journal = LogWriter.place(0) * options.blockSize
        #expect(Array(replayed[journal...]).get32(0x1C) == 0)
        #expect(Array(replayed[journal...]).get32(0x18) == 4)
        writer.writeSuperblock(start: 0) { $0.put32(0x18, 4) }
        let block = writer.get(0)
        #expect(replayed[journal..<journal + options.blockSize].elementsEqual(block))
        replayed.replaceSubrange(
            journal..<journal + options.blockSize,
            with: expected[journal..<journal + options.blockSize])
        #expect(replayed == expected)
    }

    @Test(arguments: layouts)
    func escapedMagicComesBack(_ options: LogWriter.Options) throws {
        var writer = LogWriter(options)
        var contents = writer.contents(9)
        contents.put32(0, LogWriter.magic)
        writer.log([(20, writer.contents(8)), (21, contents)])
        writer.commit()
        var after = writer
        after.bytes = try writer.replayed()
        #expect(after.block(20) == writer.contents(8))
        #expect(after.block(21) == contents)

        // By byte as well, across the border of the four bytes.
        let device = MemoryDevice(writer.bytes)
        let overlay = try #require(try writer.scan()).overlay(over: device)
        let start = UInt64(21 * options.blockSize)
        for offset in UInt64(0)..<6 {
            for count in 1..<6 {
                let bytes = try overlay.read(at: start + offset, count: count)
                #expect(bytes.elementsEqual(contents[Int(offset)..<Int(offset) + count]))
            }
        }
        #expect(
            try overlay.read(at: start - 3, count: 5)
                == [8, 8, 8] + [UInt8(0xC0), 0x3B])
    }

    @Test(arguments: layouts)
    func revokeTakesBackItsOwnAndOlderTransactionsOnly(_ options: LogWriter.Options) throws {
        var writer = LogWriter(options)
        let before = writer.block(31)
        writer.log([(30, writer.contents(1)), (31, writer.contents(2)), (32, writer.contents(3))])
        writer.commit()
        // 31 and 32 are freed; 32 is metadata again two transactions later.
        writer.revoke([31, 32, 399, 5])
        writer.log([(33, writer.contents(4)), (34, writer.contents(4))])
        writer.commit()
        writer.log([(32, writer.contents(5))])
        writer.commit()
        // Freed in the same transaction that logged it, in either order.
        writer.log([(33, writer.contents(6))])
        writer.revoke([33])
        writer.revoke([34])
        writer.commit()
        let report = try #require(try writer.scan()).report
        #expect(report.replayedBlockCount == 2)
        #expect(report.revokedBlockCount == 3)
        var after = writer
        after.bytes = try writer.replayed()
        #expect(after.block(30) == writer.contents(1))
        #expect(after.block(31) == before)
        #expect(after.block(32) == writer.contents(5))
        #expect(after.block(33) == writer.block(33))
        #expect(after.block(34) == writer.block(34))
    }

    @Test(arguments: layouts)
    func logWrapsAroundItsEnd(_ options: LogWriter.Options) throws {
        for start in [UInt32(56), 59, 61, 62, 63] {
            var options = options
            options.start = start
            var writer = LogWriter(options)
            for round in UInt8(0)..<4 {
                writer.log((40..<44).map { ($0 + UInt64(round), writer.contents(round + 1)) })
                writer.commit()
            }
            writer.revoke([47])
            writer.commit()
            var after = writer
            after.bytes = try writer.replayed()
            for target in UInt64(40)..<47 {
                #expect(after.block(target) == writer.contents(UInt8(min(4, target - 39))))
            }
            #expect(after.block(47) == writer.block(47))
        }
    }

    @Test(arguments: layouts)
    func transactionNumbersWrapAround(_ options: LogWriter.Options) throws {
        var options = options
        options.firstSequence = 0xFFFF_FFFE
        var writer = LogWriter(options)
        writer.log([(50, writer.contents(1)), (51, writer.contents(1))])
        writer.commit()
        writer.log([(50, writer.contents(2)), (52, writer.contents(2))])
        writer.commit()
        writer.revoke([51])
        writer.log([(50, writer.contents(3))])
        writer.commit()
        writer.log([(51, writer.contents(4)), (53, writer.contents(4))])
        writer.commit()
        writer.revoke([53])
        writer.commit()
        let recovery = try #require(try writer.scan())
        #expect(recovery.report.lastTransaction == TransactionID(2))
        #expect(recovery.report.transactionCount == 5)
        #expect(recovery.endTransaction == TransactionID(3))
        var after = writer
        after.bytes = try writer.replayed()
        #expect(after.block(50) == writer.contents(3))
        #expect(after.block(51) == writer.contents(4))
        #expect(after.block(52) == writer.contents(2))
        #expect(after.block(53) == writer.block(53))
    }

    @Test(arguments: layouts)
    func onlyWholeTransactionsCount(_ options: LogWriter.Options) throws {
        var whole = LogWriter(options)
        whole.log([(60, whole.contents(1))])
        whole.commit()
        var writer = whole
        writer.log([(60, whole.contents(2)), (61, whole.contents(2))])
        let cut = writer.position
        writer.commit()
        #expect(try writer.scan()?.report.transactionCount == 2)
        writer.set(cut, whole.contents(0))
        #expect(try writer.scan()?.report.transactionCount == 1)
        #expect(try writer.scan()?.endTransaction == TransactionID(2))
        #expect(try writer.replayed()[60 * options.blockSize] == 1)

        // Nothing at all was finished: the log is emptied, no block is touched.
        var nothing = LogWriter(options)
        nothing.log([(60, whole.contents(2)), (9_999, whole.contents(2))])
        let recovery = try #require(try nothing.scan())
        #expect(recovery.report.lastTransaction == nil)
        #expect(recovery.blocks.isEmpty)
        let journal = LogWriter.place(0) * options.blockSize
        let replayed = try nothing.replayed()
        #expect(Array(replayed[journal...]).get32(0x1C) == 0)
        #expect(Array(replayed[journal...]).get32(0x18) == 2)
        #expect(replayed[..<journal].elementsEqual(nothing.bytes[..<journal]))
    }

    @Test func olderAndNewerTransactionsBehindTheEndAreLeftAlone() throws {
        for step: UInt32 in [1, 2, 5, .max] {
            var writer = LogWriter(.init(firstSequence: 100))
            writer.log([(60, writer.contents(1))])
            writer.commit()
            writer.goBack(step)
            writer.log([(61, writer.contents(1))])
            writer.commit()
            let recovery = try #require(try writer.scan())
            #expect(recovery.report.transactionCount == 1)
            #expect(recovery.blocks.map(\.target) == [60])
        }
    }

    @Test func replayIsRepeatable() throws {
        var writer = LogWriter(.init(checksum: .v3))
        writer.log([(70, writer.contents(1)), (71, writer.contents(2)), (200, writer.block(5))])
        writer.commit()
        // Block 200 is the journal's own: refused. Without it, twice is as good as once.
        #expect(throws: Ext4Error.self) { try writer.scan() }
        writer = LogWriter(.init(checksum: .v3))
        writer.log([(70, writer.contents(1)), (71, writer.contents(2))])
        writer.commit()
        let once = try writer.replayed()
        let device = MemoryDevice(writer.bytes)
        let recovery = try #require(try writer.scan())
        try recovery.replay(to: device)
        try recovery.replay(to: device)
        #expect(device.bytes == once)
        var after = writer
        after.bytes = once
        #expect(try after.scan() == nil)
    }

    @Test func errorOfTheLastUserSurvivesAReplay() throws {
        var writer = LogWriter(.init(checksum: .v3))
        writer.writeSuperblock(errno: -5)
        writer.log([(70, writer.contents(1))])
        writer.commit()
        #expect(try writer.scan()?.report.recordedError == -5)
        let journal = LogWriter.place(0) * 1024
        #expect(
            Array(try writer.replayed()[journal...]).get32(0x20) == UInt32(bitPattern: -5))
    }

    @Test func readOnlyDevicesAreNotReplayedTo() throws {
        var writer = LogWriter()
        writer.log([(70, writer.contents(1))])
        writer.commit()
        let recovery = try #require(try writer.scan())
        let device = MemoryDevice(writer.bytes, isReadOnly: true)
        #expect(throws: Ext4Error.readOnlyVolume) { try recovery.replay(to: device) }
        let overlay = recovery.overlay(over: device)
        #expect(overlay.isReadOnly)
        #expect(throws: Ext4Error.readOnlyVolume) {
            try unsafe overlay.write([1, 2].span.bytes, at: 0)
        }
    }

    @Test func overlayReadsAnyRange() throws {
        var writer = LogWriter()
        writer.log([(70, writer.contents(1)), (71, writer.contents(2)), (73, writer.contents(3))])
        writer.log([(0 + 399, writer.contents(4)), (1, writer.contents(5))])
        writer.commit()
        let overlay = try #require(try writer.scan()).overlay(over: MemoryDevice(writer.bytes))
        var expected = writer.bytes
        for (target, byte) in [(70, 1), (71, 2), (73, 3), (399, 4), (1, 5)] {
            for i in 0..<1024 { expected[target * 1024 + i] = UInt8(byte) }
        }
        #expect(try overlay.read(at: 0, count: expected.count) == expected)
        var generator = SplitMix(seed: 7)
        for _ in 0..<2_000 {
            let at = 68 * 1024 + Int(generator.next() % 8192)
            let count = Int(generator.next() % 5000)
            let bytes = try overlay.read(at: UInt64(at), count: count)
            #expect(bytes.elementsEqual(expected[at..<at + count]))
        }
        #expect(throws: Ext4Error.self) {
            try overlay.read(at: UInt64(expected.count) - 4, count: 8)
        }
        var one: [UInt8] = [0]
        var span = one.mutableSpan
        var raw = unsafe span.mutableBytes
        do throws(Ext4Error) {
            try overlay.read(at: .max, into: &raw)
            Issue.record("a read behind the end of the address space succeeded")
        } catch {
            guard case .io = error else {
                Issue.record("\(error)")
                return
            }
        }
    }
}

/// A small generator of numbers that gives the same ones on every machine.
struct SplitMix {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ z >> 30) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ z >> 27) &* 0x94D0_49BB_1331_11EB
        return z ^ z >> 31
    }
}
