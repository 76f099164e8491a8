import Foundation
import Testing

@testable import Ext4

/// Whatever a journal holds, recovery ends, with a result or with an error.
@Suite struct MutatedLogTests {
    /// A log with everything in it, on the ring's end.
    private static func log(_ options: LogWriter.Options) -> LogWriter {
        var options = options
        options.start = 50
        var writer = LogWriter(options)
        var magic = writer.contents(9)
        magic.put32(0, LogWriter.magic)
        writer.log([(60, writer.contents(1)), (61, magic), (62, writer.contents(2))])
        writer.commit(seconds: 1_000)
        writer.revoke([61, 70, 71])
        writer.log([(63, writer.contents(3))])
        writer.log([(60, writer.contents(4)), (64, writer.contents(4))])
        writer.commit(seconds: 1_001)
        writer.log([(61, writer.contents(5)), (65, writer.contents(6))])
        writer.revoke([62])
        writer.commit(seconds: 1_001)
        return writer
    }

    /// The fields that steer recovery: where they are in a control block or in the superblock.
    private static let fields = [
        0x00, 0x04, 0x08, 0x0C, 0x10, 0x14, 0x18, 0x1C, 0x20, 0x24, 0x28, 0x2C, 0x30, 0x34, 0x38,
        0x50, 0x54, 0xFC,
    ]
    private static let values: [UInt32] = [
        0, 1, 2, 3, 4, 5, 8, 16, 63, 64, 0xFF, 0x100, 0x400, 0x7FFF_FFFF, 0x8000_0000,
        0xFFFF_FFF0, .max, LogWriter.magic,
    ]

    private static func mutate(_ writer: inout LogWriter, _ generator: inout SplitMix) {
        for _ in 0..<1 + generator.next() % 4 {
            // The superblock, or one of the log's blocks in use.
            let pick = UInt32(generator.next() % 20)
            let index = pick < 4 ? 0 : (pick - 4 + 49) % 63 + 1
            writer.change(index) { block in
                switch generator.next() % 3 {
                case 0:
                    let field = fields[Int(generator.next() % UInt64(fields.count))]
                    block.put32(field, values[Int(generator.next() % UInt64(values.count))])
                case 1:
                    let offset = Int(generator.next() % UInt64(block.count))
                    block[offset] ^= 1 << UInt8(generator.next() % 8)
                default:
                    let offset = Int(generator.next() % 64)
                    block[offset] = UInt8(truncatingIfNeeded: generator.next())
                }
            }
            if generator.next() % 2 == 0 { writer.fixChecksums(of: index) }
        }
    }

    @Test(arguments: LogWriter.Checksum.allCases)
    func everyMutationEnds(_ checksum: LogWriter.Checksum) throws {
        var (results, errors) = (0, 0)
        for (number, is64Bit) in [false, true].enumerated() {
            let log = Self.log(.init(checksum: checksum, is64Bit: is64Bit))
            for seed in UInt64(0)..<200 {
                var generator = SplitMix(seed: seed << 8 | UInt64(number))
                var writer = log
                Self.mutate(&writer, &generator)
                do throws(Ext4Error) {
                    try expectHarmless(writer, seed: seed)
                    results += 1
                } catch {
                    errors += 1
                }
            }
        }
        // Both must happen, or the mutations are too weak or too strong to show anything.
        #expect(results > 20)
        #expect(errors > 20)
    }

    /// Whatever the log says, the journal itself stays what it is but for its superblock, and the
    /// boot block stays too.
    private func expectHarmless(_ writer: LogWriter, seed: UInt64) throws(Ext4Error) {
        guard let recovery = try writer.scan() else { return }
        let device = MemoryDevice(writer.bytes)
        let overlay = recovery.overlay(over: device)
        let seen = try overlay.read(at: 0, count: writer.bytes.count)
        try recovery.replay(to: device)
        var after = writer
        after.bytes = device.bytes
        #expect(after.bytes.count == writer.bytes.count)
        for run in LogWriter.runs {
            let first = Int(run.firstBlock.rawValue)
            // The journal's superblock is its first block, and changes.
            let start = first == LogWriter.place(0) ? first + 1 : first
            let range = start * 1024..<(first + Int(run.count)) * 1024
            #expect(isSame(after.bytes, writer.bytes, in: range), "seed \(seed)")
        }
        #expect(isSame(after.bytes, writer.bytes, in: 0..<1024), "seed \(seed)")
        let journal = LogWriter.place(0) * 1024
        #expect(isSame(seen, after.bytes, in: 0..<journal), "seed \(seed)")
        #expect(try after.scan() == nil, "seed \(seed)")
    }

    /// `==` goes byte by byte where nothing is optimised.
    private func isSame(_ a: [UInt8], _ b: [UInt8], in range: Range<Int>) -> Bool {
        unsafe a.withUnsafeBytes { a in
            unsafe b.withUnsafeBytes { b in
                guard let x = a.baseAddress, let y = b.baseAddress else {
                    return false
                }
                return unsafe memcmp(x + range.lowerBound, y + range.lowerBound, range.count) == 0
            }
        }
    }

    @Test func everyTruncationOfTheDeviceEnds() throws {
        let log = Self.log(.init(checksum: .v3))
        for count in stride(from: 0, to: log.bytes.count, by: 1533) {
            var writer = log
            writer.bytes = Array(log.bytes[..<count])
            do throws(Ext4Error) {
                let recovery = try writer.scan()
                // All of the log lies before byte 314 · 1,024.
                #expect(count > 300 * 1024)
                try recovery?.replay(to: MemoryDevice(writer.bytes))
            } catch {
                guard case .io = error else {
                    Issue.record("\(count) bytes: \(error)")
                    continue
                }
            }
        }
    }

    @Test func everyCutOfTheLogKeepsWholeTransactions() throws {
        // The log's blocks reach the disk in order and stop anywhere.
        for checksum in LogWriter.Checksum.allCases {
            let log = Self.log(.init(checksum: checksum))
            let used = (0..<19).map { UInt32(49 + $0) % 63 + 1 }
            var commits = 0
            for (number, index) in used.enumerated() {
                var writer = log
                for later in used[number...] { writer.set(later, writer.contents(0)) }
                #expect(try writer.scan()?.report.transactionCount == commits)
                if log.get(index).get32(0) == LogWriter.magic, log.get(index).get32(4) == 2 {
                    commits += 1
                }
            }
            #expect(commits == 3)
        }
    }
}
