import Ext4
import Ext4Host
import Foundation
import Testing

/// `get` and `export` against the kernel's view of the same volume.
@Suite(.serialized, .enabled(if: isRoot, "making the volume, and keeping owners, needs root"))
struct TransferTests {
    let image: RichImage
    let scratch: ScratchDirectory

    init() throws {
        image = try RichImage()
        scratch = image.scratch
    }

    private func expectSame(_ path: String, _ source: Comment) throws {
        let difference = image.listing.difference(from: try TreeListing(path))
        #expect(difference.isEmpty, source)
        for line in difference.prefix(20) { Issue.record("\(source): \(line)") }
    }

    @Test func copiesAndArchivesKeepEverything() throws {
        let got = scratch.path("got")
        let result = try Tool.ext4("get", image.path, "/", got)
        #expect(result.status == 0)
        #expect(result.errors == "")
        try expectSame(got, "get")
        // Holes take no space, here or in the archive.
        let blocks = try Tool.shell("stat -c %b \"$1\"/allhole \"$1\"/sparse", got).text
            .split(separator: "\n").compactMap { Int($0) }
        #expect(blocks[0] == 0)
        #expect(blocks[1] <= 64)

        let archive = scratch.path("all.tar")
        let exported = try Tool.ext4("export", image.path, "-o", archive)
        #expect(exported.status == 0)
        #expect(exported.errors == "")
        let size = try FileManager.default.attributesOfItem(atPath: archive)[.size] as? Int
        #expect((size ?? .max) < 16 << 20)

        try FileManager.default.createDirectory(
            atPath: scratch.path("gnu"), withIntermediateDirectories: true)
        try Tool.check(
            "tar",
            [
                "--xattrs", "--xattrs-include=*", "--numeric-owner", "-xpf", archive, "-C",
                scratch.path("gnu"),
            ])
        try expectSame(scratch.path("gnu"), "GNU tar")

        try FileManager.default.createDirectory(
            atPath: scratch.path("bsd"), withIntermediateDirectories: true)
        try Tool.check(
            "bsdtar", ["--numeric-owner", "-xpf", archive, "-C", scratch.path("bsd")])
        // bsdtar keeps no system.* attributes, no `=` in their names and one normal form of a
        // file's name only, and reads fractions before 1970 upwards.
        let bsd = try TreeListing(scratch.path("bsd"))
        let difference = image.listing.difference(from: bsd).filter {
            !$0.contains("system.posix_acl") && !$0.contains("user.a") && !$0.contains(" time=-")
                && !$0.contains("caf")
        }
        #expect(difference == [])
    }

    @Test func archivesAreCompressedAsTheirNamesSay() throws {
        for (name, program) in [("a.tar.gz", "gzip"), ("a.tar.zst", "zstd"), ("a.txz", "xz")] {
            let archive = scratch.path(name)
            let result = try Tool.ext4("export", image.path, "/deep", "-o", archive)
            #expect(result.status == 0, "\(result.errors)")
            try Tool.check(program, ["-t", archive])
            let names = try Tool.check("tar", ["-tf", archive]).text
            #expect(names.contains("./\n"))
            #expect(names.contains("hard2"))
        }
        let piped = try Tool.shell(
            "\"$1\" export \"$2\" /plain -o - | tar -tvf -", Tool.commandPath, image.path)
        #expect(piped.text.contains("1234/5678"))
        #expect(piped.text.hasSuffix(" plain\n"))
    }

    @Test func copiesNeverOverwrite() throws {
        let target = scratch.path("target")
        try FileManager.default.createDirectory(
            atPath: target, withIntermediateDirectories: true)
        try scratch.file("target/plain", Array("mine".utf8))
        let result = try Tool.ext4("get", image.path, "/plain", target)
        #expect(result.status == 1)
        #expect(result.errors.contains("File exists"))
        #expect(try scratch.bytes("target/plain") == Array("mine".utf8))
        // A new name, a directory's contents, a file into a directory.
        #expect(try Tool.ext4("get", image.path, "/plain", "\(target)/new").status == 0)
        #expect(try scratch.bytes("target/new") == Array("hello\n".utf8))
        #expect(try Tool.ext4("get", image.path, "/closed-later", target).status == 0)
        #expect(try scratch.bytes("target/closed-later/inside") == Array("inside\n".utf8))
        #expect(try Tool.ext4("get", image.path, "/closed-later/.", target).status == 0)
        #expect(try scratch.bytes("target/inside") == Array("inside\n".utf8))
        #expect(try Tool.ext4("get", image.path, "/plain", "\(target)/no/such").status == 1)
    }

    @Test func anOrdinaryUserGetsWhatIsTheirsToHave() throws {
        // Nobody may not read root's scratch directory, so the copy goes through one for all.
        let place = scratch.path("open")
        try Tool.shell(
            "mkdir -m 777 \"$1\"; chmod 755 \"$2\" \"$3\"", place, scratch.root, image.path)
        let result = try Tool.shell(
            """
            cp "$1" "$2/ext4"
            setpriv --reuid=65534 --regid=65534 --clear-groups \\
                "$2/ext4" get "$3" / "$2/mine" 2> "$2/errors" && echo fine || echo "failed"
            cat "$2/errors"
            stat -c '%a %u' "$2/mine/large" "$2/mine/closed-later"
            """, Tool.commandPath, place, image.path)
        // Devices are root's to make: the copy says so and fails, but has all the rest.
        #expect(result.text.contains("failed"))
        #expect(result.text.contains("/char: only root can create a device"))
        // Setuid for the one who copies is not what the image says.
        #expect(result.text.contains("755 65534\n555 65534\n"))
        #expect(
            FileManager.default.fileExists(atPath: "\(place)/mine/closed-later/inside"))
    }
}
