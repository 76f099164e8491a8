import Foundation
import Testing

/// `ext4 diff` on images of which one was changed in a way that is known.
@Suite struct DiffCommandTests {
    let scratch: ScratchDirectory
    let a: String
    let b: String

    init() throws {
        scratch = try ScratchDirectory()
        a = scratch.path("a.img")
        b = scratch.path("b.img")
    }

    private func make(_ options: String...) throws {
        let tree = scratch.path("tree")
        try Tool.shell(
            """
            mkdir -p "$1/dir"; cd "$1"; echo hello > file; echo more > dir/inner
            ln -s file link; head -c 300000 /dev/urandom > large
            setfattr -n user.note -v 'a value' file
            """, tree)
        try Tool.check("mke2fs", ["-q", "-F"] + options + ["-d", tree, a, "32M"])
        try Tool.shell("cp $1 $2", a, b)
    }

    private func debugfs(_ commands: String...) throws {
        for command in commands { try Tool.check("debugfs", ["-w", "-R", command, b]) }
    }

    private func diff(_ options: String...) throws -> Tool.Result {
        try Tool.run(Tool.commandPath, ["diff"] + options + [a, b])
    }

    private func lines(_ options: String...) throws -> [String] {
        let result = try Tool.run(Tool.commandPath, ["diff"] + options + [a, b])
        #expect(result.status == 1, "\(result.errors)")
        return result.text.split(separator: "\n").map(String.init)
    }

    private func inode(of path: String) throws -> String {
        let text = try Tool.check(Tool.commandPath, ["stat", a, path]).text
        return String(text.split(separator: "Inode: ")[1].prefix { $0.isNumber })
    }

    @Test(arguments: [
        ["-t", "ext4"], ["-t", "ext2"], ["-t", "ext3", "-b", "1024"],
        ["-t", "ext4", "-O", "bigalloc", "-C", "16384"], ["-t", "ext4", "-O", "inline_data"],
        ["-t", "ext4", "-b", "1024", "-O", "meta_bg,^resize_inode", "-g", "1024"],
    ])
    func aCopyIsTheSame(options: [String]) throws {
        try Tool.check("mke2fs", ["-q", "-F"] + options + [a, "32M"])
        try Tool.shell("cp $1 $2", a, b)
        let result = try diff("--content")
        #expect(result.status == 0)
        #expect(result.text == "" && result.errors == "")
        let json = try diff("--json")
        #expect(json.status == 0)
        let object = try #require(
            JSONSerialization.jsonObject(with: Data(json.output)) as? [String: Any])
        #expect(object["same"] as? Bool == true)
        #expect((object["differences"] as? [Any])?.isEmpty == true)
    }

    @Test func aFieldIsNamedAsTheKernelDoes() throws {
        try make("-t", "ext4")
        let number = try inode(of: "/file")
        try debugfs(
            "set_inode_field /file mtime 1234567890", "set_inode_field /file uid 70001",
            "set_inode_field /file links_count 3", "set_super_value volume_name other",
            "set_super_value free_blocks_count 77")
        let found = try lines()
        #expect(found.contains { $0.hasPrefix("inode \(number): i_mtime: ") })
        #expect(found.contains("inode \(number): i_uid: 0 -> 70001"))
        #expect(found.contains("inode \(number): i_links_count: 1 -> 3"))
        #expect(found.contains { $0.hasPrefix("inode \(number): i_checksum: 0x") })
        #expect(found.contains("superblock: s_volume_name: \"\" -> \"other\""))
        #expect(found.contains { $0.hasSuffix(" -> 77") && $0.contains("s_free_blocks_count") })
        #expect(found.allSatisfy { $0.hasPrefix("superblock") || $0.hasPrefix("inode \(number)") })
    }

    @Test func bitmapsAreRanges() throws {
        try make("-t", "ext4", "-b", "4096")
        // From the second group's end backwards, so that nothing is there.
        try debugfs("setb 8000 5", "setb 8010", "seti <100>")
        let found = try lines()
        #expect(found.contains("group 0: block bitmap: 8000-8004: free -> used"))
        #expect(found.contains("group 0: block bitmap: 8010: free -> used"))
        #expect(found.contains("group 0: inode bitmap: 100: free -> used"))
    }

    @Test(arguments: [["-t", "ext4"], ["-t", "ext3"], ["-t", "ext4", "-O", "inline_data"]])
    func namesContentsAndMaps(options: [String]) throws {
        let tree = scratch.path("tree")
        try Tool.shell("mkdir $1; echo hello > $1/file; mkdir $1/dir; ln -s file $1/link", tree)
        try Tool.check("mke2fs", ["-q", "-F"] + options + ["-d", tree, a, "32M"])
        try Tool.shell("cp $1 $2", a, b)
        let file = try inode(of: "/file")
        let dir = try inode(of: "/dir")
        let link = try inode(of: "/link")
        try Tool.shell(
            """
            head -c 20000 /dev/zero | tr '\\0' x > $2.new
            $1 put $2 $2.new /dir/added
            $1 rm $2 /link
            $1 xattr set $2 /file user.color blue
            """, Tool.commandPath, b)
        let found = try lines()
        let added = try #require(found.first { $0.contains("directory entry added") })
        #expect(added.hasPrefix("inode \(dir): directory entry added: leads to: none -> inode "))
        #expect(
            found.contains {
                $0.hasPrefix("inode 2: directory entry link: leads to: inode \(link)")
            })
        #expect(found.contains { $0.hasPrefix("inode \(link): in use: symlink") })
        #expect(
            found.contains("inode \(file): extended attribute user.color: value: none -> \"blue\""))
    }

    @Test func contentsOnDemand() throws {
        try make("-t", "ext4")
        let number = try inode(of: "/large")
        let block = try Tool.check("debugfs", ["-R", "bmap /large 3", a]).text
            .trimmingCharacters(in: .whitespacesAndNewlines)
        // Behind the file system's back: only the contents differ.
        let size =
            try Tool.check("debugfs", ["-R", "show_super_stats -h", a]).text
            .contains("Block size:               4096") ? 4096 : 1024
        try Tool.shell(
            "printf 'abc' | dd of=$1 bs=1 seek=$(($2 * $3 + 10)) conv=notrunc", b, block, "\(size)")
        #expect(try diff().status == 0)
        let found = try lines("--content")
        #expect(found.count <= 3)
        #expect(found.allSatisfy { $0.hasPrefix("inode \(number): contents: byte") })
        let first = 3 * size + 10
        #expect(
            found.contains { line in
                (first..<first + 3).contains { line.contains("\($0)") }
            })
    }

    @Test func damageIsAFinding() throws {
        try make("-t", "ext4")
        let number = try inode(of: "/large")
        try debugfs("set_inode_field /large block[0] 0x1234")
        try debugfs("set_inode_field /file mode 0100600")
        let found = try lines()
        #expect(found.contains { $0.hasPrefix("! inode \(number): ") })
        #expect(found.contains { $0.contains("i_mode: 0100644 -> 0100600") })

        try Tool.shell("dd if=/dev/zero of=$1 bs=1024 seek=1 count=1 conv=notrunc", b)
        // The backup is taken: with -b 1 there is none.
        try Tool.shell("dd if=/dev/zero of=$1 bs=1M count=31 conv=notrunc", b)
        let broken = try diff()
        #expect(broken.status == 2)
        #expect(broken.text.contains("superblock: s_magic: 0xef53 -> 0x0"))
        #expect(broken.errors.contains("no ext2, ext3 or ext4 file system"))
        #expect(try Tool.ext4("diff", a, scratch.path("missing")).status == 2)
    }

    @Test func otherGeometryIsComparedAsFarAsItGoes() throws {
        try make("-t", "ext4", "-b", "1024")
        try Tool.check(
            "mke2fs",
            ["-q", "-F", "-t", "ext4", "-b", "4096", "-d", scratch.path("tree"), b, "64M"])
        let found = try lines("--content")
        #expect(found.contains { $0.hasPrefix("superblock: s_log_block_size: 0 -> 2") })
        #expect(found.contains { $0.contains("groups ") || $0.contains("group ") })
        // The files are the same.
        #expect(!found.contains { $0.contains(": contents: ") })
        #expect(!found.contains { $0.contains(": directory entry file") })
    }

    @Test func journalsAreTold() throws {
        try make("-t", "ext4")
        let inputs = scratch.path("input")
        try Tool.shell(
            """
            head -c 4096 /dev/zero > $2
            debugfs -w -R 'jo' $1
            printf 'jo\\njw -b 5000 %s\\njc\\n' "$2" | debugfs -w $1
            """, b, inputs)
        let found = try lines("--no-replay")
        #expect(found.contains { $0.hasPrefix("journal: s_start: 0 -> ") })
        #expect(found.contains { $0.hasPrefix("superblock: s_feature_incompat: ") })
        #expect(try lines().contains { $0.hasPrefix("journal: to be replayed: nothing -> ") })
    }
}
