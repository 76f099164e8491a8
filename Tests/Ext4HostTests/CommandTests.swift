import Foundation
import Testing

/// The command's words, held against those of the e2fsprogs.
@Suite struct CommandTests {
    let scratch: ScratchDirectory
    let image: String

    init() throws {
        scratch = try ScratchDirectory()
        image = scratch.path("disk.img")
    }

    /// Makes a volume with a few files.
    private func make(_ options: String...) throws {
        let tree = scratch.path("tree")
        try Tool.shell(
            """
            mkdir -p "$1/dir/sub"; cd "$1"
            echo hello > file; echo more > dir/file; echo dot > .hidden; ln -s file link
            truncate -s 3M sparse; printf x | dd of=sparse bs=1 seek=1M conv=notrunc
            printf z > "$(printf 'not\\377utf8')"
            touch -d '1960-02-03 04:05:06' file
            setfattr -n user.note -v 'a value' file
            """, tree)
        try Tool.check("mke2fs", ["-q"] + options + ["-d", tree, image, "32M"])
    }

    /// The lines `label: value` of a superblock's listing.
    private func fields(_ text: String) -> [String: String] {
        var fields: [String: String] = [:]
        for line in text.split(separator: "\n") {
            guard let colon = line.firstIndex(of: ":") else { continue }
            let value = line[line.index(after: colon)...]
                .trimmingCharacters(in: .whitespacesAndNewlines)
            fields[String(line[..<colon])] = value
        }
        return fields
    }

    @Test(arguments: [
        ["-t", "ext4"], ["-t", "ext2"], ["-t", "ext3", "-b", "1024"],
        ["-t", "ext4", "-O", "bigalloc", "-C", "16384"],
        ["-t", "ext4", "-O", "quota,mmp,encrypt,casefold,verity,metadata_csum_seed"],
        ["-t", "ext4", "-O", "^has_journal,sparse_super2,meta_bg,^resize_inode", "-L", "A label"],
        [
            "-t", "ext4", "-O", "orphan_file,inline_data", "-I", "1024", "-E",
            "stride=4,stripe_width=8",
        ],
        [
            "-t", "ext4", "-i", "4096", "-e", "panic", "-m", "10", "-U", "random", "-M",
            "/some/where",
        ],
    ])
    func infoHasTheWordsOfDumpe2fs(options: [String]) throws {
        try Tool.check("mke2fs", ["-q"] + options + [image, "64M"])
        try Tool.check("tune2fs", ["-c", "25", "-i", "6m", "-o", "journal_data,discard", image])
        let ours = fields(try Tool.check(Tool.commandPath, ["info", image]).text)
        var theirs = fields(
            try Tool.check("dumpe2fs", ["-h", image], environment: ["LC_ALL": "C"]).text)
        // What the journal and the multi-mount block say, and not the superblock.
        for key in [
            "Journal features", "Total journal blocks", "Max transaction length",
            "Fast commit length", "Journal sequence", "Journal start", "Journal checksum type",
            "Journal checksum", "MMP_block", "mmp_magic", "mmp_check_interval", "mmp_sequence",
            "mmp_update_date", "mmp_update_time", "mmp_node_name", "mmp_device_name",
        ] {
            theirs[key] = nil
            theirs["    \(key)"] = nil
        }
        #expect(theirs.count > 30)
        for (key, value) in theirs { #expect(ours[key] == value, "\(key)") }
        for key in ours.keys where theirs[key] == nil { Issue.record("only ours: \(key)") }

        let object = try json("info", "--json", image)
        #expect(object["uuid"] as? String == theirs["Filesystem UUID"])
        #expect("\(object["blockCount"] ?? "")" == theirs["Block count"])
    }

    @Test func groupsAreThoseOfDumpe2fs() throws {
        try Tool.check("mke2fs", ["-q", "-t", "ext4", "-b", "1024", image, "64M"])
        let ours = try Tool.check(Tool.commandPath, ["info", "--groups", image]).text
        let theirs = try Tool.check("dumpe2fs", [image]).text
        let pattern = #"^Group \d+: .*$|^  \d+ free blocks, .*$"#
        #expect(lines(ours, pattern) == lines(theirs, pattern))
        #expect(lines(ours, pattern).count == 16)
        for word in ["Block bitmap at", "Inode bitmap at", "Inode table at"] {
            #expect(
                lines(ours, "\(word) [0-9-]+", prefix: true)
                    == lines(theirs, "\(word) [0-9-]+", prefix: true))
        }
    }

    private func lines(_ text: String, _ pattern: String, prefix: Bool = false) -> [String] {
        guard let regex = try? Regex(pattern).anchorsMatchLineEndings() else { return [] }
        return text.matches(of: regex).map { String(text[$0.range]) }
    }

    private func json(_ arguments: String...) throws -> [String: Any] {
        let output = try Tool.check(Tool.commandPath, arguments).output
        let value = try JSONSerialization.jsonObject(with: Data(output))
        return try #require(value as? [String: Any])
    }

    @Test func statIsWhatDebugfsSays() throws {
        try make("-t", "ext4", "-b", "1024")
        let debugfs = try Tool.check("debugfs", ["-R", "stat /sparse", image]).text
        let object = try json("stat", "--json", image, "/sparse")
        let number = try #require(object["inode"] as? Int)
        #expect(debugfs.contains("Inode: \(number) "))
        #expect(object["size"] as? Int == 3 << 20)
        #expect(object["mode"] as? String == "0644")
        #expect(object["type"] as? String == "regular")
        let extents = try #require(object["extents"] as? [[String: Any]])
        #expect(extents.count == 1)
        #expect(extents[0]["logical"] as? Int == 1_024)
        let text = try Tool.check(Tool.commandPath, ["stat", image, "<\(number)>"]).text
        #expect(text.contains("(1024):\(extents[0]["physical"] ?? "")"))
        #expect(debugfs.contains("(1024):\(extents[0]["physical"] ?? "")"))

        let file = try json("stat", "--json", image, "/file")
        #expect(file["modificationTime"] as? String == "1960-02-03T04:05:06.000000000Z")
        let attributes = try #require(file["extendedAttributes"] as? [[String: Any]])
        #expect(attributes.first?["name"] as? String == "user.note")
        #expect(attributes.first?["value"] as? String == "a value")
    }

    @Test func lsListsLikeLs() throws {
        try make("-t", "ext4")
        #expect(
            try Tool.check(Tool.commandPath, ["ls", image]).output
                == Array("dir\nfile\nlink\nlost+found\nnot".utf8) + [0xFF]
                + Array("utf8\nsparse\n".utf8))
        let all = try Tool.check(Tool.commandPath, ["ls", "-a", image]).text
        #expect(all.hasPrefix(".\n..\n.hidden\n"))
        let long = try Tool.check(
            Tool.commandPath, ["ls", "-l", image, "/file", "/link"], environment: ["TZ": "UTC"])
        #expect(long.text.contains("-rw-r--r-- 1 0 0 6 Feb  3  1960 /file\n"))
        #expect(long.text.contains(" /link -> file\n"))
        let recursive = try Tool.check(Tool.commandPath, ["ls", "-R", image, "/dir"]).text
        #expect(recursive == "/dir:\nfile\nsub\n\n/dir/sub:\n")
        #expect(try Tool.check(Tool.commandPath, ["ls", "-d", image, "/dir"]).text == "/dir\n")

        let output = try Tool.check(Tool.commandPath, ["ls", "--json", image]).output
        let objects = try #require(
            try JSONSerialization.jsonObject(with: Data(output)) as? [[String: Any]])
        #expect(objects.count == 6)
        let odd = try #require(objects.first { $0["nameBytes"] != nil })
        #expect(odd["nameBytes"] as? String == "6e6f74ff75746638")
        #expect(odd["name"] as? String == "not\u{FFFD}utf8")
        let link = try #require(objects.first { $0["name"] as? String == "link" })
        #expect(link["target"] as? String == "file")
    }

    @Test func catWritesBytes() throws {
        try make("-t", "ext4")
        #expect(
            try Tool.check(Tool.commandPath, ["cat", image, "/link", "/dir/file"]).text
                == "hello\nmore\n")
        let sparse = try Tool.check(Tool.commandPath, ["cat", image, "/sparse"]).output
        #expect(sparse.count == 3 << 20)
        #expect(sparse[1 << 20] == UInt8(ascii: "x"))
        #expect(sparse.filter { $0 != 0 }.count == 1)
        // An argument that is not UTF-8 names the file with these bytes.
        let odd = try Tool.shell(
            "\"$1\" cat \"$2\" \"$(printf '/not\\377utf8')\"", Tool.commandPath, image)
        #expect(odd.text == "z")
    }

    @Test func attributesAreShown() throws {
        try make("-t", "ext4")
        #expect(
            try Tool.check(Tool.commandPath, ["xattr", "list", image, "/file"]).text
                == "user.note=\"a value\"\n")
        #expect(
            try Tool.check(Tool.commandPath, ["xattr", "get", image, "/file", "user.note"]).text
                == "a value")
        let none = try Tool.ext4("xattr", "get", image, "/file", "user.none")
        #expect(none.status == 1)
        #expect(none.errors.contains("no extended attribute user.none"))
    }

    @Test func failuresAreOneLineInWords() throws {
        try make("-t", "ext4")
        func expect(_ arguments: [String], _ status: Int32, _ words: String) throws {
            let result = try Tool.run(Tool.commandPath, arguments)
            #expect(result.status == status)
            #expect(result.errors.contains(words), "\(result.errors)")
            #expect(result.output == [])
            if status == 1 {
                #expect(result.errors.split(separator: "\n").count == 1)
                #expect(result.errors.hasPrefix("ext4: "))
            }
        }
        try expect(["cat", image, "/none"], 1, "disk.img: /none: no such file or directory")
        try expect(["cat", image, "/dir"], 1, "disk.img: /dir: is a directory")
        try expect(["ls", image, "/file/x"], 1, "disk.img: /file/x: not a directory")
        try expect(["info", scratch.path("no.img")], 1, "no.img: No such file or directory")
        try expect(["info", scratch.root], 1, "is a directory")
        try expect(["info", "/dev/null"], 1, "neither an image file nor a block device")
        try expect(["ls"], 64, "Missing expected argument")
        try expect(["nonsense", image], 64, "nonsense")
        try scratch.file("zeros", [UInt8](repeating: 0, count: 100_000))
        try expect(["ls", scratch.path("zeros")], 1, "no ext2, ext3 or ext4 file system")
        try scratch.file("short", [1, 2, 3])
        try expect(["ls", scratch.path("short")], 1, "no ext2, ext3 or ext4 file system")
        try Tool.shell("gzip -k \"$1\"", image)
        try expect(["ls", image + ".gz"], 1, "compressed by gzip")
    }

    @Test func aBadPrimarySuperblockIsReplaced() throws {
        try make("-t", "ext4", "-b", "1024")
        var bytes = try scratch.bytes("disk.img")
        bytes.replaceSubrange(1_024..<2_048, with: [UInt8](repeating: 0, count: 1_024))
        try scratch.file("disk.img", bytes)
        let automatic = try Tool.ext4("cat", image, "/file")
        #expect(automatic.text == "hello\n")
        #expect(automatic.errors.contains("warning"))
        #expect(try Tool.ext4("cat", "--sb", "8193", image, "/file").text == "hello\n")
        let wrong = try Tool.ext4("cat", "-b", "8192", image, "/file")
        #expect(wrong.status == 1)
    }

    @Test func checksumsCanBeIgnored() throws {
        try make("-t", "ext4", "-b", "1024", "-I", "256")
        // A bit of the inode's generation of /file is turned; the checksum then is wrong.
        let number = try json("stat", "--json", image, "/file")["inode"] as? Int ?? 0
        let listing = try Tool.check("debugfs", ["-R", "imap <\(number)>", image]).text
        let words = listing.split { " ,\n".contains($0) }
        let block = try #require(
            words.firstIndex(of: "at").map { $0 + 1 }.flatMap { Int(words[$0 + 1]) }, "\(listing)")
        let offset = try #require(
            words.firstIndex(of: "offset").flatMap { Int(words[$0 + 1].dropFirst(2), radix: 16) })
        var bytes = try scratch.bytes("disk.img")
        bytes[block * 1_024 + offset + 0x64] ^= 1
        try scratch.file("disk.img", bytes)
        let strict = try Tool.ext4("stat", image, "/file")
        #expect(strict.status == 1)
        #expect(strict.errors.contains("--ignore-checksums reads it all the same"))
        #expect(try Tool.ext4("stat", "--ignore-checksums", image, "/file").status == 0)
    }

    @Test func brokenPipesEndQuietly() throws {
        try make("-t", "ext4")
        let result = try Tool.shell(
            "{ \"$1\" cat \"$2\" /sparse || echo \"status $?\" >&2; } | head -c 1 >/dev/null",
            Tool.commandPath, image)
        // Ended by the signal, which says nothing by itself.
        #expect(result.errors == "status 141\n")
        let ignored = try Tool.shell(
            "trap '' PIPE; { \"$1\" cat \"$2\" /sparse || echo \"status $?\" >&2; } | head -c 1 >/dev/null",
            Tool.commandPath, image)
        #expect(ignored.errors == "status 1\n")
    }

    @Test func helpReadsLikeAManPage() throws {
        for name in ["info", "ls", "stat", "cat", "get", "export", "replay"] {
            let text = try Tool.check(Tool.commandPath, [name, "--help"]).text
            #expect(text.contains("EXAMPLES"), "\(name)")
            #expect(text.contains("EXIT STATUS"), "\(name)")
            #expect(text.contains("<image>"), "\(name)")
        }
        for name in ["list", "get"] {
            let text = try Tool.check(Tool.commandPath, ["xattr", name, "--help"]).text
            #expect(text.contains("EXIT STATUS"))
        }
    }
}
