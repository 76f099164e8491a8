import Foundation
import Testing

/// `ext4 tune` as a command: its arguments, beside those of tune2fs.
@Suite(.serialized)
struct TuneCommandTests {
    let scratch: ScratchDirectory
    let image: String

    init() throws {
        scratch = try ScratchDirectory()
        image = scratch.path("disk.img")
        try Tool.check("mke2fs", ["-q", "-t", "ext4", "-U", Self.uuid, image, "8M"])
    }

    private static let uuid = "11111111-2222-3333-4444-555555555555"

    /// The header of a volume, without what tells when, and of transactions: tune2fs makes none.
    private func header(_ path: String) throws -> [String] {
        try Tool.check("dumpe2fs", ["-h", path]).text.split(separator: "\n").map(String.init)
            .filter { line in
                ![
                    "Checksum:", "write time", "Lifetime", "Next check", "Journal features",
                    "Journal sequence", "Journal checksum",
                ].contains { line.contains($0) }
            }
    }

    /// The same arguments to both, the same header.
    @Test(arguments: [
        ["-L", ""], ["-L", "1234567890123456"], ["-U", "CLEAR"], ["-m", "50"], ["-m", "0"],
        ["-m", "0.5"], ["-r", "4096"], ["-c", "0"], ["-c", "-1"], ["-c", "20"], ["-C", "7"],
        ["-i", "0"], ["-i", "1W"], ["-i", "6M"], ["-i", "2D"], ["-i", "90s"], ["-e", "panic"],
        ["-o", "^acl,journal_data_writeback"], ["-u", "65535"], ["-g", "5"], ["-M", "/a/b"],
        ["-E", "stride=8,stripe_width=32"], ["-E", "mount_opts=noatime"], ["-E", "hash_alg=tea"],
        ["-T", "20380119031408"], ["-T", "20240506"], ["-O", "^metadata_csum"],
        ["-O", "metadata_csum_seed,verity"],
    ])
    func argumentsMeanTheSame(_ arguments: [String]) throws {
        let other = scratch.path("other.img")
        try Tool.shell("cp \"$1\" \"$2\"", image, other)
        let zone = ["TZ": "Europe/Vienna"]
        let result = try Tool.run(
            Tool.commandPath, ["tune"] + arguments + [image], environment: zone)
        #expect(result.status == 0, "\(arguments): \(result.errors)")
        try Tool.check("tune2fs", arguments + [other], environment: zone)
        #expect(try header(image) == header(other), "\(arguments)")
        #expect(try Tool.run("e2fsck", ["-fn", image]).status == 0, "\(arguments)")
    }

    @Test(arguments: [
        ["-L", "12345678901234567"], ["-m", "51"], ["-m", "-1"], ["-m", "nan"], ["-r", "4097"],
        ["-i", "1y"], ["-i", "99999999999"], ["-i", "50000m"], ["-e", "x"], ["-o", "x"],
        ["-u", "65536"], ["-u", "5:6"], ["-g", "5:6"], ["-U", "x"], ["-E", "stride=65536"],
        ["-E", "mmp_update_interval=301"], ["-E", "x"], ["-O", "x"], ["-O", "bigalloc"],
        ["-J", "size=8"], ["-J", "x"], ["-M", String(repeating: "x", count: 64)],
        ["-Q", "usrquota"],
        [], ["-O", "^has_journal,has_journal"],
    ])
    func whatIsRefusedIsSaidInALine(_ arguments: [String]) throws {
        let before = try scratch.bytes("disk.img")
        let result = try Tool.run(Tool.commandPath, ["tune"] + arguments + [image])
        #expect(result.status == 1 || result.status == 64, "\(arguments)")
        if result.status == 1 {
            #expect(result.errors.hasPrefix("ext4: "), "\(arguments): \(result.errors)")
            #expect(result.errors.split(separator: "\n").count == 1, "\(result.errors)")
        }
        let isSame = try scratch.bytes("disk.img") == before
        #expect(isSame, "\(arguments)")
    }
}
