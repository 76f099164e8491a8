import Foundation
import Testing

/// The commands that change a volume, held against coreutils, the kernel's mount and e2fsck.
@Suite(.serialized)
struct ChangeCommandTests {
    static let kinds: [[String]] = [
        ["-t", "ext4"], ["-t", "ext4", "-b", "1024"], ["-t", "ext2"], ["-t", "ext3", "-b", "1024"],
        ["-t", "ext4", "-O", "inline_data"], ["-t", "ext4", "-O", "^has_journal"],
    ]

    let scratch: ScratchDirectory
    let image: String
    let tree: String

    init() throws {
        scratch = try ScratchDirectory()
        image = scratch.path("disk.img")
        tree = scratch.path("tree")
    }

    private func make(_ options: [String]) throws {
        try Tool.check("mke2fs", ["-q"] + options + [image, "64M"])
        try Tool.shell("mkdir \"$1\"; mkdir -m 700 \"$1/lost+found\"", tree)
    }

    /// Runs a command in the volume.
    @discardableResult
    private func change(
        _ command: [String], status: Int32 = 0, input: String? = nil
    ) throws -> String {
        // `xattr set` has two words.
        let words = command[0] == "xattr" ? 2 : 1
        let arguments = command.prefix(words) + [image] + command.dropFirst(words)
        let result = try Tool.run(Tool.commandPath, Array(arguments), input: input)
        #expect(result.status == status, "\(command): \(result.errors)")
        let check = try Tool.run("e2fsck", ["-fn", image])
        #expect(check.status == 0, "after \(command): \(check.text)")
        return result.errors
    }

    /// Runs a command in the volume, and the system's in a tree that is to look the same.
    private func both(_ command: String...) throws {
        try change(command)
        try Tool.check(
            command[0],
            command.dropFirst().map { $0.hasPrefix("/") ? tree + $0 : $0 })
    }

    private func mounted(_ body: (String) throws -> Void) throws {
        let point = scratch.path("mount")
        try Tool.shell("mkdir -p \"$2\"; mount -o ro,loop \"$1\" \"$2\"", image, point)
        defer { _ = try? Tool.shell("umount \"$1\"", point) }
        try body(point)
    }

    private func expectSame(as expected: TreeListing, _ options: [String]) throws {
        try mounted { point in
            let difference = expected.difference(from: try TreeListing(point))
            #expect(difference.isEmpty, "\(options)")
            for line in difference.prefix(20) { Issue.record("\(line)") }
        }
    }

    @Test(.enabled(if: isRoot, "the kernel's mount needs root"), arguments: kinds)
    func commandsDoWhatCoreutilsDo(options: [String]) throws {
        try make(options)
        try both("mkdir", "-p", "/a/b/c", "/a/d")
        try both("mkdir", "-m", "2751", "/g")
        try both("mkdir", "-m", "u=rwx,go=", "/g/below")
        try both("touch", "/a/one", "/a/two", "/three")
        try both("truncate", "-s", "70001", "/a/one", "/a/b/new")
        try both("truncate", "-s", "-30K", "/a/one")
        try both("truncate", "-s", "%4096", "/a/one")
        try both("truncate", "-s", "<1000", "/a/b/new")
        try both("ln", "/a/one", "/a/hard")
        try both("ln", "/a/two", "/three", "/a/d")
        try both("ln", "-s", "../one", "/a/b/link")
        try both("ln", "-sf", "one", "/a/two")
        try both("ln", "-sfn", "b", "/a/todir")
        try both("ln", "-sfn", "d", "/a/todir")
        try both("mv", "/three", "/a/b")
        try both("mv", "/a/b", "/g")
        try both("mv", "-n", "/a/one", "/a/hard")
        try both("mv", "/g/b/c", "/g/b/c2")
        try both("chmod", "u+x,g=u,o-rwx", "/a/one")
        try both("chmod", "6755", "/a/hard")
        try both("chmod", "755", "/g")
        try both("chmod", "g=rx", "/g")
        try both("chmod", "-R", "a+X,o=", "/g")
        try both("chmod", "+t,u=rwxs,g=o", "/a/d")
        try both("chown", "12:34", "/a/hard")
        try both("chown", "-h", ":70000", "/a/two")
        try both("chown", "-R", "4000000000", "/g")
        try both("rm", "/g/b/new")
        try both("rm", "-f", "/g/b/none", "/a/d/two")
        try both("rmdir", "/g/b/c2")
        try both("mkdir", "-p", "/gone/deep/er")
        try both("touch", "/gone/deep/file", "/gone/deep/er/file")
        try both("rm", "-r", "/gone")
        try both(
            "touch", "-d", "2001-02-03 04:05:06.789", "/a/one", "/g/b/three", "/a/d/three")
        try both("touch", "-h", "-d", "@981173106.5", "/a/two", "/a/todir", "/g/b/link")
        try both(
            "touch", "-t", "200203040506.07", "/a", "/a/d", "/g", "/g/b", "/g/below", "/lost+found")
        try expectSame(as: try TreeListing(tree), options)
    }

    @Test(
        .enabled(if: isRoot, "the kernel's mount needs root"),
        arguments: [
            ["-t", "ext4", "-O", "ea_inode"], ["-t", "ext4", "-b", "1024", "-O", "ea_inode"],
            ["-t", "ext4", "-I", "512", "-O", "ea_inode,inline_data"],
        ])
    func putKeepsEverything(options: [String]) throws {
        let rich = try RichImage()
        try make(options)
        let point = rich.scratch.path("mount")
        try Tool.shell("mount -o ro,loop \"$1\" \"$2\"", rich.path, point)
        defer { _ = try? Tool.shell("umount \"$1\"", point) }
        #expect(try change(["put", "-r", point + "/.", "/"]) == "")
        try expectSame(as: rich.listing, options)
        // A second time everything is there already, and is replaced.
        #expect(try change(["put", "-r", point + "/.", "/"]) == "")
        try expectSame(as: rich.listing, options)
        #expect(try change(["put", "-r", point, "/copy"]) == "")
        let blocks = try Tool.check(Tool.commandPath, ["stat", "--json", image, "/copy/allhole"])
        #expect(blocks.text.contains("\"extents\":[]") || blocks.text.contains("\"extents\": []"))
        try change(["rm", "-r", "/copy"])
        try expectSame(as: rich.listing, options)
    }

    @Test(arguments: kinds)
    func putCopiesFilesAndInput(options: [String]) throws {
        try make(options)
        let bytes = (0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 &* 2_654_435_761 >> 13) }
        let file = try scratch.file("file", bytes)
        try change(["put", file, "/"])
        try change(["put", "--owner", "5:6", "--mode", "u=rw,go=", file, "/other"])
        for path in ["/file", "/other"] {
            #expect(try Tool.check(Tool.commandPath, ["cat", image, path]).output == bytes)
        }
        let listed = try Tool.check(Tool.commandPath, ["ls", "-l", image, "/other"]).text
        #expect(listed.hasPrefix("-rw------- 1 5 6 3000000 "))
        try change(["put", "-", "/file"], input: "from a pipe\n")
        #expect(
            try Tool.check(Tool.commandPath, ["cat", image, "/file"]).text == "from a pipe\n")
        // What is not complete has no name: the volume has no room for that.
        let large = scratch.path("large")
        try Tool.shell("head -c 90000000 /dev/zero > \"$1\"", large)
        #expect(try change(["put", large, "/file"], status: 1).contains("no space left"))
        #expect(
            try Tool.check(Tool.commandPath, ["cat", image, "/file"]).text == "from a pipe\n")
        try change(["put", file, "/file"])
        #expect(try Tool.check(Tool.commandPath, ["cat", image, "/file"]).output == bytes)
    }

    @Test func attributesAreSetAndRemoved() throws {
        try make(["-t", "ext4"])
        try change(["touch", "/file"])
        try change(["xattr", "set", "/file", "user.text", "some text"])
        try change(["xattr", "set", "/file", "user.bytes", "0x00ff10"])
        try change(["xattr", "set", "/file", "user.more", "0saGVsbG8="])
        try change(["xattr", "set", "/file", "user.input", "-"], input: "piped")
        let listed = try Tool.check(Tool.commandPath, ["xattr", "list", image, "/file"]).text
        #expect(
            Set(listed.split(separator: "\n")) == [
                "user.text=\"some text\"", "user.bytes=0x00ff10", "user.more=\"hello\"",
                "user.input=\"piped\"",
            ])
        let theirs = try Tool.check("debugfs", ["-R", "ea_get /file user.more", image]).text
        #expect(theirs.contains("hello"))
        try change(["xattr", "rm", "/file", "user.text", "user.bytes"])
        #expect(
            try change(["xattr", "rm", "/file", "user.text"], status: 1)
                .contains("no extended attribute user.text"))
        #expect(
            try change(["xattr", "set", "--create", "/file", "user.more", "x"], status: 1)
                .contains("is there already"))
        #expect(
            try change(["xattr", "set", "/file", "color", "red"], status: 1)
                .contains("names begin with user."))
    }

    @Test func refusalsSayWhatToDo() throws {
        try make(["-t", "ext4"])
        try change(["mkdir", "/dir"])
        try change(["touch", "/dir/file", "/file"])
        func expect(_ command: [String], _ words: String) throws {
            let errors = try change(command, status: 1)
            #expect(errors.contains(words), "\(command): \(errors)")
            #expect(errors.hasPrefix("ext4: "))
        }
        try expect(["mkdir", "/dir"], "/dir: the file exists")
        try expect(["mkdir", "/no/where"], "no such file or directory")
        try expect(["rm", "/dir"], "-r removes it")
        try expect(["rmdir", "/dir"], "not empty")
        try expect(["rm", "-r", "/"], "the root directory")
        try expect(["mv", "/dir", "/dir/in"], "into itself")
        try expect(["mv", "/file", "/dir", "/none"], "/none: not a directory")
        try expect(["ln", "/dir", "/second"], "-s links to it")
        try expect(["ln", "/file", "/dir/file"], "-f replaces")
        try expect(["put", scratch.root, "/"], "-r puts it")
        try expect(["put", scratch.path("none"), "/"], "No such file or directory")
        try expect(["put", image, "/"], "is the image itself")
        // The others are done all the same.
        try expect(["rm", "/none", "/file"], "/none: no such file or directory")
        #expect(try Tool.check(Tool.commandPath, ["ls", image]).text == "dir\nlost+found\n")
        let usage = try Tool.run(Tool.commandPath, ["chmod", image, "u+q", "/dir"])
        #expect(usage.status == 64)

        try Tool.check("mke2fs", ["-q", "-F", "-O", "quota", image, "64M"])
        let quota = try Tool.run(Tool.commandPath, ["mkdir", image, "/dir"])
        #expect(quota.status == 1)
        #expect(quota.errors.contains("quota"))
    }

    @Test func anInterruptedPutLeavesNoPartOfAFile() throws {
        try make(["-t", "ext4", "-O", "^has_journal"])
        let script = """
            mkfifo "$3"; sleep 30 > "$3" & holder=$!
            "$1" put "$2" - /part < "$3" & command=$!
            sleep 2; kill -TERM $command
            status=0; wait $command || status=$?
            kill $holder; echo $status
            """
        let fifo = scratch.path("fifo")
        #expect(try Tool.shell(script, Tool.commandPath, image, fifo).text == "143\n")
        #expect(try Tool.run("e2fsck", ["-fn", image]).status == 0)
        #expect(try Tool.check(Tool.commandPath, ["ls", image]).text == "lost+found\n")
    }
}
