import Foundation
import Testing

/// What `ext4 mkfs` makes of arguments at their limits: one line, and nothing half-made.
@Suite(.serialized)
struct MkfsArgumentTests {
    let scratch: ScratchDirectory
    let image: String

    init() throws {
        scratch = try ScratchDirectory()
        image = scratch.path("disk.img")
    }

    private func mkfs(_ arguments: String...) throws -> Tool.Result {
        try Tool.run(Tool.commandPath, ["mkfs", "-q"] + arguments)
    }

    private func expectRefused(_ arguments: [String], _ words: String = "") throws {
        let result = try Tool.run(Tool.commandPath, ["mkfs", "-q"] + arguments)
        #expect(result.status == 1, "\(arguments): \(result.errors)")
        #expect(result.errors.hasPrefix("ext4: "), "\(arguments): \(result.errors)")
        #expect(result.errors.split(separator: "\n").count == 1, "\(result.errors)")
        #expect(words.isEmpty || result.errors.contains(words), "\(arguments): \(result.errors)")
    }

    private func size(_ path: String) throws -> Int {
        try FileManager.default.attributesOfItem(atPath: path)[.size] as? Int ?? -1
    }

    @Test func endsBeyondAllFilesAreRefused() throws {
        let tree = scratch.path("tree")
        try Tool.shell("mkdir \"$1\"", tree)
        for offset in ["18446744073709550592", "9223372036854774784"] {
            try expectRefused(["-E", "offset=\(offset)", image, "8M"], "no file")
        }
        try expectRefused(["--size", "18014398509481983", image])
        try expectRefused(["--size", "18014398509481983", "-d", tree, image], "--size")
        #expect(!FileManager.default.fileExists(atPath: image))
        try scratch.file("disk.img", [])
        for offset in ["18446744073709550592", "9223372036854774784"] {
            try expectRefused(["-E", "offset=\(offset)", image, "8M"], "no file")
        }
        #expect(try size(image) == 0)
    }

    @Test func sizesAreGivenOnceAndInAnyCase() throws {
        try expectRefused(["--size", "8M", image, "16M"], "twice")
        let tree = scratch.path("tree")
        try Tool.shell("mkdir \"$1\"", tree)
        for size in ["auto+-5M", "auto++5M", "auto+<5M", "auto5M", "auto+", "autos", "-5M", "5X"] {
            try expectRefused(["--from", tree, "--size", size, image], "--size")
        }
        #expect(!FileManager.default.fileExists(atPath: image))
        for (text, count) in [("3m", 3 << 20), ("3072k", 3 << 20)] {
            #expect(try mkfs("-F", image, text).status == 0, "\(text)")
            #expect(try size(image) == count)
            try FileManager.default.removeItem(atPath: image)
        }
    }

    /// What does not fit its field is refused, not bent.
    @Test func numbersThatDoNotFitAreRefused() throws {
        for arguments in [
            ["-E", "num_backup_sb=3"], ["-E", "stride=65536"], ["-E", "quotatype"],
            ["-O", "mmp", "-E", "mmp_update_interval=65536"], ["-O", "^none"],
            ["-U", "1111111-12222-3333-4444-555555555555"],
        ] { try expectRefused(arguments + [image, "8M"]) }
        #expect(!FileManager.default.fileExists(atPath: image))
        for arguments in [
            ["-E", "stride=65535"], ["-U", "CLEAR"], ["-U", "Random"],
            ["-O", "Has_Journal,^EXTENT,^64BIT"],
        ] {
            let result = try Tool.run(
                Tool.commandPath, ["mkfs", "-q", "-F"] + arguments + [image, "8M"])
            #expect(result.status == 0, "\(arguments): \(result.errors)")
            let check = try Tool.run("e2fsck", ["-fn", image])
            #expect(check.status == 0, "\(arguments): \(check.text)")
        }
    }

    /// A file with contents takes the place of the one that is there: its owner and mode, and the
    /// names that lead to it.
    @Test func whatWasPrivateStaysPrivate() throws {
        let tree = scratch.path("tree")
        let link = scratch.path("link")
        try Tool.shell(
            """
            mkdir "$1"; echo secret > "$1/file"; truncate -s 8M "$2"; chmod 600 "$2"
            ln -s disk.img "$3"
            """, tree, image, link)
        if getuid() == 0 { try Tool.shell("chown 7:8 \"$1\"", image) }
        let owner = try Tool.check("stat", ["-c", "%a %u %g", image]).text
        #expect(try mkfs("--from", tree, link).status == 0)
        #expect(try Tool.check("stat", ["-c", "%F", link]).text == "symbolic link\n")
        #expect(try Tool.check("stat", ["-c", "%a %u %g", image]).text == owner)
        #expect(try Tool.run("e2fsck", ["-fn", image]).status == 0)
        #expect(try Tool.ext4("cat", image, "/file").text == "secret\n")
    }

    /// The name that an image has until it is complete is nobody else's, however long its own is.
    @Test func otherFilesStay() throws {
        let tree = scratch.path("tree")
        try Tool.shell("mkdir \"$1\"; echo contents > \"$1/file\"", tree)
        let long = scratch.path(String(repeating: "n", count: 255))
        for path in [image, long, image, long] {
            #expect(try mkfs("-F", "--from", tree, path).status == 0)
        }
        // As in a container, in which each process has a low number.
        try Tool.shell(
            """
            for i in $(seq 1 40); do echo precious > "$1.$i"; done
            unshare -pf --mount-proc "$2" mkfs -q -F --from "$3" "$1"
            for i in $(seq 1 40); do [ "$(cat "$1.$i")" = precious ]; rm "$1.$i"; done
            """, image, Tool.commandPath, tree)
        let left = try FileManager.default.contentsOfDirectory(atPath: scratch.root)
        #expect(left.count == 3, "\(left)")
    }

    /// What no volume can have is not made into something else, and nothing is no archive.
    @Test func archivesThatAreNone() throws {
        let tree = scratch.path("tree")
        let archive = scratch.path("a.tar")
        try Tool.shell(
            """
            mkdir "$1"; echo contents > "$1/file"
            tar --format=pax --pax-option=uid:=4294967301 -C "$1" -cf "$2" .
            """, tree, archive)
        let result = try mkfs("--from", archive, image)
        #expect(result.status == 1)
        #expect(result.errors.contains("owner or group"), "\(result.errors)")
        #expect(try mkfs("--owner", "1:2", "--from", archive, image).status == 0)
        let empty = try scratch.file("empty.tar", [])
        try expectRefused(["-F", "--from", empty, image], "no archive")
        // Two blocks of zeros are one without entries.
        let blank = try scratch.file("blank.tar", [UInt8](repeating: 0, count: 1024))
        #expect(try mkfs("-F", "--from", blank, image).status == 0)
    }

    /// A process that may not write large files, and file systems that have none.
    @Test func filesMayBeShort() throws {
        let tree = scratch.path("tree")
        try Tool.shell(
            """
            mkdir "$1"; echo contents > "$1/file"
            # In units of 1 KiB, or of 512 bytes.
            ulimit -f 4000000
            "$2" mkfs -q --from "$1" "$3"
            """, tree, Tool.commandPath, image)
        #expect(try Tool.run("e2fsck", ["-fn", image]).status == 0)
    }

    @Test func permissionsOfListsChange() throws {
        let tree = scratch.path("tree")
        try Tool.shell(
            """
            mkdir "$1"; echo contents > "$1/file"; setfacl -m u:7:rw,g:8:rwx "$1/file"
            """, tree)
        #expect(try mkfs("--from", tree, "--chmod", "u=rwX,go=", image).status == 0)
        let words = try Tool.check("debugfs", ["-R", "stat /file", image]).text
        // Somebody could execute it: X leaves that to its owner.
        #expect(words.contains("Mode:  0700"), "\(words)")
        let list = try Tool.check(
            "debugfs", ["-R", "ea_get /file system.posix_acl_access -x", image]
        ).text
        #expect(!list.isEmpty)
        let shown = try Tool.ext4("xattr", "list", image, "/file").text
        #expect(shown.contains("posix_acl_access"), "\(shown)")
    }

    @Test(.enabled(if: isRoot, "loop devices need root"))
    func blocksAreNotSmallerThanSectors() throws {
        try Tool.shell("truncate -s 64M \"$1\"", image)
        let device = try Tool.check("losetup", ["-f", "--show", "-b", "4096", image]).text
            .trimmingCharacters(in: .whitespacesAndNewlines)
        defer { _ = try? Tool.shell("losetup -d \"$1\"", device) }
        try expectRefused(["-b", "1024", device], "sectors of 4096")
        #expect(try mkfs(device).status == 0)
    }

    @Test(.enabled(if: isRoot, "loop devices need root"))
    func devicesThatAreTooSmallAreRefused() throws {
        let tree = scratch.path("tree")
        try Tool.shell("mkdir \"$1\"; truncate -s 8M \"$2\"", tree, image)
        let device = try Tool.check("losetup", ["-f", "--show", image]).text
            .trimmingCharacters(in: .whitespacesAndNewlines)
        defer { _ = try? Tool.shell("losetup -d \"$1\"", device) }
        try expectRefused(["--from", tree, device, "16M"], "the volume would have")
        try expectRefused([device, "16M"], "the volume would have")
        #expect(try mkfs("--from", tree, device, "6M").status == 0)
        #expect(try Tool.run("e2fsck", ["-fn", device]).status == 0)
    }
}
