import Ext4
import Ext4Host
import Foundation
import Testing

/// Images made to write where they should not. Nothing of them may appear outside the destination.
@Suite struct HostileImageTests {
    let scratch: ScratchDirectory
    let image: String
    let outside: String
    let destination: String

    init() throws {
        scratch = try ScratchDirectory()
        image = scratch.path("hostile.img")
        outside = scratch.path("outside")
        destination = scratch.path("out/in")
        for path in [outside, scratch.path("out")] {
            try FileManager.default.createDirectory(
                atPath: path, withIntermediateDirectories: true)
        }
    }

    /// Makes an image of `files` (contents, or nil for a directory) and of symbolic links, without
    /// checksums, so that patched bytes count.
    private func make(
        files: [(String, String?)], links: [(String, String)] = [],
        patches: [(from: String, to: String)]
    ) throws {
        let tree = scratch.path("tree")
        try FileManager.default.createDirectory(atPath: tree, withIntermediateDirectories: true)
        for (name, contents) in files {
            if let contents {
                try scratch.file("tree/\(name)", Array(contents.utf8))
            } else {
                try FileManager.default.createDirectory(
                    atPath: "\(tree)/\(name)", withIntermediateDirectories: true)
            }
        }
        for (name, target) in links {
            try FileManager.default.createSymbolicLink(
                atPath: "\(tree)/\(name)", withDestinationPath: target)
        }
        try Tool.check(
            "mke2fs",
            ["-q", "-t", "ext4", "-O", "^metadata_csum,^has_journal", "-d", tree, image, "8M"])
        var bytes = try scratch.bytes("hostile.img")
        for (from, to) in patches {
            let (old, new) = (Array(from.utf8), Array(to.utf8))
            try #require(old.count == new.count)
            var found = 0
            for start in 0..<(bytes.count - old.count)
            where bytes[start] == old[0] && bytes[start..<start + old.count].elementsEqual(old) {
                bytes.replaceSubrange(start..<start + old.count, with: new)
                found += 1
            }
            try #require(found > 0, "\(from) is not in the image")
        }
        try scratch.file("hostile.img", bytes)
    }

    /// All that stands under `out` and `outside`, by path.
    private func everything() throws -> [String] {
        try Tool.shell("cd \"$1\"; find out outside | sort", scratch.root).text
            .split(separator: "\n").map(String.init)
    }

    private func get(_ expected: Int32 = 1) throws -> Tool.Result {
        let result = try Tool.ext4("get", image, "/", destination)
        #expect(result.status == expected, "\(result.errors)")
        return result
    }

    @Test func namesThatLeadElsewhereAreSkipped() throws {
        let away = "/\(outside.dropFirst())/file"
        let placeholder = String(repeating: "A", count: away.utf8.count)
        try make(
            files: [
                ("good", "good"), ("xx_escape1", "bad"), ("dir", nil), ("dir/xx_escape2", "bad"),
                (placeholder, "bad"), ("a_slash_b", "bad"), ("nul_inside", "bad"),
                ("dir/QQ", "bad"),
                ("dir/Z", nil), ("dir/Z/below", "bad"), ("dir/fine", "fine"),
            ],
            patches: [
                ("xx_escape1", "../escape1"), ("xx_escape2", "../escape2"), (placeholder, away),
                ("a_slash_b", "a/slash/b"), ("nul_inside", "nul\0inside"), ("QQ", ".."),
            ])
        let result = try get()
        #expect(
            try everything().filter { !$0.contains("lost+found") }
                == [
                    "out", "out/in", "out/in/dir", "out/in/dir/Z", "out/in/dir/Z/below",
                    "out/in/dir/fine", "out/in/good", "outside",
                ])
        #expect(result.errors.contains("../escape1"))
        #expect(result.errors.contains("nul\\000inside"))
        #expect(result.errors.contains("not complete"))

        // An archive of it has none of these names either.
        let exported = try Tool.ext4("export", image, "-o", scratch.path("out.tar"))
        #expect(exported.status == 1)
        let names = try Tool.check("tar", ["-tf", scratch.path("out.tar")]).text
        #expect(!names.contains("escape"))
        #expect(!names.contains("slash"))
        #expect(!names.contains("file"))
        #expect(names.contains("./dir/fine") || names.contains("dir/fine"))
    }

    @Test func linksOfTheImageAreNotFollowed() throws {
        // Two entries of one name: a link that leads outside, and what is to be written through it.
        try make(
            files: [
                ("one_dir", nil), ("one_dir/file", "bad"), ("two_fil", "bad"),
                ("aaa_dir", nil), ("aaa_dir/file", "bad"), ("aaa_fil", "bad"),
            ],
            links: [
                ("one_lnk", outside), ("two_lnk", "\(outside)/new"), ("aaa_lnk", outside),
                ("zzz_lnk", "\(outside)/new"),
            ],
            patches: [
                ("one_dir", "one_lnk"), ("two_fil", "two_lnk"), ("aaa_dir", "zzz_lnk"),
                ("aaa_fil", "aaa_lnk"),
            ])
        let result = try get()
        #expect(try everything().filter { $0.hasPrefix("outside") } == ["outside"])
        #expect(result.errors.contains("File exists"))
    }

    @Test func linksOfTheDestinationAreNotFollowed() throws {
        try make(files: [("dir", nil), ("dir/file", "x"), ("file", "y")], patches: [])
        try FileManager.default.createDirectory(
            atPath: destination, withIntermediateDirectories: true)
        try FileManager.default.createSymbolicLink(
            atPath: "\(destination)/dir", withDestinationPath: outside)
        try FileManager.default.createSymbolicLink(
            atPath: "\(destination)/file", withDestinationPath: "\(outside)/file")
        _ = try get()
        #expect(try everything().filter { $0.hasPrefix("outside") } == ["outside"])
    }

    @Test func loopsEnd() throws {
        try make(
            files: [("dir", nil), ("dir/sub", nil), ("dir/sub/file", "x")], patches: [])
        try Tool.check(
            "debugfs", ["-w", "-R", "link <2> /dir/sub/root", image])
        try Tool.check(
            "debugfs", ["-w", "-R", "link /dir /dir/sub/again", image])
        let result = try get()
        #expect(result.errors.contains("a second time"))
        #expect(FileManager.default.fileExists(atPath: "\(destination)/dir/sub/file"))
        #expect(try everything().filter { $0.hasSuffix("file") }.count == 1)

        let listed = try Tool.ext4("ls", "-R", image)
        #expect(listed.status == 1)
        #expect(listed.errors.contains("a second time"))
        #expect(listed.text.split(separator: "\n").count < 40)
    }

    @Test(.enabled(if: isRoot, "devices are root's to make"))
    func deviceNodesAreNotOpened() throws {
        try make(files: [("dir", nil)], patches: [])
        // Opening this one would say ENXIO or worse; it is only made.
        try Tool.check("debugfs", ["-w", "-R", "mknod node c 240 17", image])
        _ = try get(0)
        let made = try Tool.shell("stat -c '%F %t:%T' \"$1\"/node", destination).text
        #expect(made == "character special file f0:11\n")
    }

    @Test func namesDoNotSteerTheTerminal() throws {
        try make(
            files: [("bell_esc_new", "x")], patches: [("bell_esc_new", "\u{7}\u{1B}[2J\nnew123")])
        let result = try Tool.ext4("cat", image, "/nothing\u{1B}[2J")
        #expect(result.status == 1)
        #expect(!result.errors.contains("\u{1B}"))
        // `script` gives the command a terminal.
        let shown = try Tool.shell(
            "script -qec \"'$1' ls '$2'\" /dev/null", Tool.commandPath, image)
        #expect(!shown.text.contains("\u{1B}[2J"))
        #expect(shown.text.contains("\\007\\033[2J\\nnew123"))
        let plain = try Tool.ext4("ls", image)
        #expect(plain.text.contains("\u{7}\u{1B}[2J\nnew123\n"))
    }
}
