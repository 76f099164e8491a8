import Foundation
import Testing

/// `ext4 mkfs` as a command: what it refuses, what it leaves behind, sizes. What it makes is
/// compared with mke2fs's by `scripts/compare-mkfs`.
@Suite(.serialized)
struct MkfsCommandTests {
    let scratch: ScratchDirectory
    let image: String

    init() throws {
        scratch = try ScratchDirectory()
        image = scratch.path("disk.img")
    }

    private func size(_ path: String) throws -> Int {
        try FileManager.default.attributesOfItem(atPath: path)[.size] as? Int ?? -1
    }

    private func mkfs(_ arguments: String...) throws -> Tool.Result {
        try Tool.run(Tool.commandPath, ["mkfs"] + arguments)
    }

    @Test func sizesHaveUnits() throws {
        for (text, count, options) in [
            ("3M", 3 << 20, []), ("3072", 3 << 20, []), ("6144s", 3 << 20, []),
            ("3MiB", 3 << 20, []), ("768", 3 << 20, ["-b", "4096"]), ("2K", 0, []),
            ("x", 0, []), ("-5M", 0, []), ("0", 0, []), ("99999999999999999999", 0, []),
        ] as [(String, Int, [String])] {
            let result = try Tool.run(
                Tool.commandPath, ["mkfs", "-q"] + options + [image, text])
            #expect((result.status == 0) == (count > 0), "\(text): \(result.errors)")
            #expect(result.status == 0 || result.status == 1)
            #expect(FileManager.default.fileExists(atPath: image) == (count > 0), "\(text)")
            if count > 0 {
                #expect(try size(image) == count)
                #expect(try Tool.run("e2fsck", ["-fn", image]).status == 0)
                try FileManager.default.removeItem(atPath: image)
            }
        }
    }

    /// Neither a refusal nor a dry run leaves anything.
    @Test func nothingIsLeftOfWhatIsRefused() throws {
        for arguments in [
            ["-b", "3000"], ["-I", "64"], ["-O", "nonsense"], ["-E", "nonsense"], ["-T", "all"],
            ["-J", "size=999"], ["-J", "device=/dev/null"], ["-m", "51"], ["-N", "99999999"],
            ["-U", "no-uuid"], ["-e", "explode"], ["-o", "plan9"], ["-t", "ext5"],
            ["-L", "a label of over sixteen bytes"], ["-C", "65536"], ["-E", "root_owner=me"],
        ] {
            let result = try Tool.run(Tool.commandPath, ["mkfs"] + arguments + [image, "8M"])
            #expect(result.status == 1, "\(arguments)")
            #expect(result.errors.hasPrefix("ext4: "), "\(arguments): \(result.errors)")
            #expect(result.errors.split(separator: "\n").count == 1, "\(result.errors)")
        }
        let dry = try mkfs("-n", image, "64M")
        #expect(dry.status == 0)
        #expect(dry.text.contains("65536 blocks of 1024 bytes"))
        #expect(try FileManager.default.contentsOfDirectory(atPath: scratch.root) == [])
        #expect(try mkfs(image).status == 1)
    }

    @Test func whatADeviceHoldsIsKept() throws {
        func expectRefused(_ words: String) throws {
            let before = try scratch.bytes("disk.img")
            let result = try mkfs("-q", image)
            #expect(result.status == 1)
            #expect(result.errors.contains(words), "\(result.errors)")
            let isSame = try scratch.bytes("disk.img") == before
            #expect(isSame)
            #expect(try mkfs("-n", image).status == 0)
            #expect(try mkfs("-q", "-F", image).status == 0)
            let check = try Tool.run("e2fsck", ["-fn", image])
            #expect(check.status == 0, "\(words): \(check.text)")
        }
        try Tool.check("mke2fs", ["-q", "-t", "ext3", "-L", "mine", image, "4M"])
        try expectRefused("an ext3 file system labelled mine")
        try Tool.check("mke2fs", ["-q", "-F", "-t", "ext4", image, "4M"])
        try expectRefused("an ext4 file system")
        var bytes = [UInt8](repeating: 0, count: 4 << 20)
        func put(_ text: [UInt8], at offset: Int, _ words: String) throws {
            bytes = [UInt8](repeating: 0, count: bytes.count)
            bytes.replaceSubrange(offset..<offset + text.count, with: text)
            try scratch.file("disk.img", bytes)
            try expectRefused(words)
        }
        try put(Array("XFSB".utf8), at: 0, "XFS")
        try put(Array("_BHRfS_M".utf8), at: 0x10040, "btrfs")
        try put(Array("SWAPSPACE2".utf8), at: 4086, "swap")
        try put(Array("LUKS".utf8) + [0xBA, 0xBE], at: 0, "LUKS")
        try put(
            Array("LABELONE".utf8) + [UInt8](repeating: 0, count: 16) + Array("LVM2 001".utf8),
            at: 512, "LVM")
        try put(Array("NTFS    ".utf8), at: 3, "NTFS")
        try put(Array("FAT32   ".utf8), at: 82, "FAT")
        try put(Array("hsqs".utf8), at: 0, "squashfs")
        try put(Array("CD001".utf8), at: 0x8001, "ISO 9660")
        try put(Array("EFI PART".utf8), at: 512, "GPT")
        let partition: [UInt8] = [0x80, 0, 0, 0, 0x83, 0, 0, 0, 0, 8, 0, 0, 0, 0x10, 0, 0]
        try put(
            partition + [UInt8](repeating: 0, count: 48) + [0x55, 0xAA], at: 446, "MBR")
    }

    /// A volume of one label is made in the room of another without a trace of that.
    @Test func aVolumeIsMadeOverAnother() throws {
        try Tool.check("mke2fs", ["-q", "-t", "ext4", "-b", "1024", image, "32M"])
        #expect(try mkfs("-q", "-F", "-b", "4096", "-t", "ext2", "-L", "new", image).status == 0)
        #expect(try Tool.run("e2fsck", ["-fn", image]).status == 0)
        let header = try Tool.run("dumpe2fs", ["-h", image]).text
        #expect(header.contains("Filesystem volume name:   new"))
        #expect(header.contains("Block size:               4096"))
        // Grows the file where a size says so, and only then.
        #expect(try mkfs("-q", "-F", image, "48M").status == 0)
        #expect(try size(image) == 48 << 20)
        #expect(try mkfs("-q", "-F", image, "16M").status == 0)
        #expect(try size(image) == 48 << 20)
        #expect(try Tool.run("e2fsck", ["-fn", image]).status == 0)
    }

    @Test func sameOptionsMakeTheSameBytes() throws {
        let uuid = "01020304-0506-0708-090a-0b0c0d0e0f10"
        for name in ["one.img", "two.img"] {
            let result = try Tool.run(
                Tool.commandPath,
                ["mkfs", "-q", "-U", uuid, "-E", "hash_seed=\(uuid)", scratch.path(name), "8M"],
                environment: ["SOURCE_DATE_EPOCH": "1700000000"])
            #expect(result.status == 0, "\(result.errors)")
        }
        let isSame = try scratch.bytes("one.img") == scratch.bytes("two.img")
        #expect(isSame)
        let bad = try Tool.run(
            Tool.commandPath, ["mkfs", image, "8M"], environment: ["SOURCE_DATE_EPOCH": "now"])
        #expect(bad.status == 1)
    }

    @Test func anOffsetIsKept() throws {
        #expect(try mkfs("-q", "-E", "offset=1048576", image, "8M").status == 0)
        #expect(try size(image) == 9 << 20)
        try Tool.shell(
            "dd if=\"$1\" of=\"$2\" bs=1M skip=1 status=none", image, scratch.path("part"))
        #expect(try Tool.run("e2fsck", ["-fn", scratch.path("part")]).status == 0)
    }

    @Test func programsReadAnObject() throws {
        let result = try mkfs("--json", "-L", "x", image, "2G")
        let object = try JSONSerialization.jsonObject(with: Data(result.output)) as? [String: Any]
        #expect(object?["blocks"] as? Int == 524_288)
        #expect(object?["journalBlocks"] as? Int == 16_384)
        #expect((object?["superblockCopies"] as? [Int])?.first == 32_768)
    }

    @Test(.enabled(if: isRoot, "loop devices need root"))
    func devicesInUseAreRefused() throws {
        try Tool.check("mke2fs", ["-q", "-t", "ext4", image, "16M"])
        let point = scratch.path("mount")
        try Tool.shell("mkdir \"$2\"; mount -o loop \"$1\" \"$2\"", image, point)
        do {
            defer { _ = try? Tool.shell("umount \"$1\"", point) }
            for force in [["-F"], ["-F", "-F"]] {
                let result = try Tool.run(Tool.commandPath, ["mkfs", "-q"] + force + [image])
                #expect(result.status == 1)
                #expect(result.errors.contains("mounted"), "\(result.errors)")
            }
        }
        #expect(try Tool.run("e2fsck", ["-fn", image]).status == 0)
        // A device with something on it, and with sectors that no block may be smaller than.
        try Tool.shell("head -c 16777216 /dev/urandom > \"$1\"", image)
        let device = try Tool.check("losetup", ["-f", "--show", "-b", "4096", image]).text
            .trimmingCharacters(in: .whitespacesAndNewlines)
        defer { _ = try? Tool.shell("losetup -d \"$1\"", device) }
        for options in [["-E", "nodiscard"], ["-E", "nodiscard,lazy_itable_init=0"], []] {
            let result = try Tool.run(
                Tool.commandPath, ["mkfs", "-q", "-F"] + options + [device])
            #expect(result.status == 0, "\(result.errors)")
            let check = try Tool.run("e2fsck", ["-fn", device])
            #expect(check.status == 0, "\(options): \(check.text)")
            let header = try Tool.run("dumpe2fs", ["-h", device]).text
            #expect(header.contains("Block size:               4096"))
            try Tool.shell(
                "mount \"$1\" \"$2\"; echo hello > \"$2/file\"; umount \"$2\"", device, point)
            #expect(try Tool.run("e2fsck", ["-fn", device]).status == 0)
        }
        #expect(try Tool.run(Tool.commandPath, ["mkfs", device, "17M"]).status == 1)
    }
}
