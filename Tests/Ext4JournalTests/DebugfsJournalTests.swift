import Ext4Host
import Foundation
import Testing

@testable import Ext4

/// Journals that debugfs writes: block sizes that this machine's kernel does not mount, and the
/// checksums that it no longer writes.
@Suite struct DebugfsJournalTests {
    struct Form: Sendable, CustomTestStringConvertible {
        let make: String
        /// The arguments of `journal_open`.
        let open: String
        /// Enough for the smallest journal, 1,024 blocks.
        let megabytes: Int

        var testDescription: String { "\(make), jo \(open)" }
    }

    static let forms: [Form] = [1024, 4096, 65536].flatMap { blockSize in
        ["64bit", "^64bit"].flatMap { feature in
            ["", "-c -v 2", "-c -v 3"].map {
                Form(
                    make: "-t ext4 -b \(blockSize) -O \(feature)", open: $0,
                    megabytes: blockSize == 65536 ? 160 : 24)
            }
        }
    }

    @Test(arguments: forms)
    func recoversAsE2fsckDoes(_ form: Form) throws {
        let image = try CrashImage(form.make, megabytes: form.megabytes)
        let (volume, _) = try image.geometry()
        // Blocks of no file, behind the journal.
        let base = volume.blocksCount - 100
        func block(_ number: UInt64) -> String { String(base + number) }
        let (data, magic) = (image.directory + "/data", image.directory + "/magic")
        try shell("head -c $(($1 * 4)) /dev/urandom > $2", "\(volume.blockSize)", data)
        try shell(
            "(printf '\\300\\073\\071\\230'; head -c $(($1 * 3 - 4)) /dev/urandom) > $2",
            "\(volume.blockSize)", magic)
        // One session a transaction: more in one session overwrite each other.
        let transactions = [
            "-b \(block(0))-\(block(3)) \(data)",
            "-b \(block(10)),\(block(11)),\(block(2)) \(magic)",
            "-r \(block(1)),\(block(10))",
            "-b \(block(10)) \(data)",
            "-r \(block(11)),\(block(3))",
            "-b \(block(20)),\(block(21)) \(magic)",
            "-b \(block(5)) -c \(data)",
        ]
        let script = image.directory + "/script"
        try transactions.map { "jo \(form.open)\njw \($0)\njc\n" }.joined()
            .write(toFile: script, atomically: true, encoding: .utf8)
        try shell("debugfs -w -f $1 $2", script, image.path)

        let journal = try image.geometry().journal
        let recovery = try #require(
            try Recovery.scan(
                openImage(image.path), journal: journal, volume: volume, log: .none))
        #expect(recovery.report.transactionCount == 6)
        #expect(recovery.report.revokedBlockCount == 3)
        #expect(recovery.blocks.map { $0.target - base } == [0, 2, 10, 20, 21])
        #expect(recovery.blocks.map(\.isEscaped) == [false, false, false, true, false])
        try expectSameAsE2fsck(image)
    }
}
