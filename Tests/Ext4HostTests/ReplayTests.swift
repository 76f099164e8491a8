import Ext4
import Ext4Host
import Foundation
import Testing

/// `replay` against `e2fsck -E journal_only` on what the kernel leaves after a crash.
@Suite(.serialized, .enabled(if: isRoot, "mounting needs root"))
struct ReplayTests {
    let scratch: ScratchDirectory
    let image: String

    init() throws {
        scratch = try ScratchDirectory()
        image = scratch.path("crashed.img")
    }

    /// A volume as a crash leaves it: the image is copied while the kernel has it mounted, after
    /// what was done got into the journal and before it got to its place.
    private func crash(_ options: String) throws {
        try Tool.shell(
            """
            truncate -s 64M "$1.live"; mke2fs -q -t ext4 $2 "$1.live"
            mkdir -p "$1.dir"; mount -o loop "$1.live" "$1.dir"
            trap 'cd /; umount "$1.dir"' EXIT
            cd "$1.dir"
            for i in $(seq 300); do echo "file $i" > file$i; done
            mkdir dir; mv file1 dir; rm file2 file3; ln file4 dir/linked
            sync -f .
            rm -r dir/linked; mkdir later; for i in $(seq 50); do : > later/$i; done
            sync -f .
            cp --sparse=always "$1.live" "$1"
            """, image, options)
    }

    @Test(arguments: ["", "-O ^metadata_csum", "-b 1024 -J size=4", "-O ^64bit,metadata_csum"])
    func writesWhatE2fsckWrites(options: String) throws {
        try crash(options)
        let theirs = scratch.path("theirs.img")
        try FileManager.default.copyItem(atPath: image, toPath: theirs)
        let shown = try Tool.ext4("ls", image, "/")
        #expect(shown.status == 0)
        #expect(try Tool.ext4("info", image).text.contains("needs_recovery"))

        let result = try Tool.ext4("replay", image)
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.text.contains("replayed transaction"))
        let e2fsck = try Tool.run("e2fsck", ["-y", "-E", "journal_only", theirs])
        #expect(e2fsck.status <= 1, "\(e2fsck.text)\(e2fsck.errors)")

        // The same in every byte, but for times and sums of the superblock (e2fsck sets them).
        let differing = try Tool.shell(
            "cmp -l \"$1\" \"$2\" | awk '{ print int(($1 - 1) / 1024) }' | uniq || :", image, theirs
        )
        #expect(differing.text == "1\n")
        // The superblock's free counts are the next mount's to write: e2fsck says the same of both.
        let check = try Tool.run("e2fsck", ["-fn", image])
        #expect(
            check.text.replacingOccurrences(of: image, with: "")
                == (try Tool.run("e2fsck", ["-fn", theirs])).text
                .replacingOccurrences(of: theirs, with: ""))
        for line in check.text.split(separator: "\n") where line.contains("wrong") {
            #expect(line.hasPrefix("Free ") && line.contains("count wrong"))
        }
        #expect(try Tool.ext4("ls", image, "/").text == shown.text)
        let again = try Tool.ext4("replay", image)
        #expect(again.status == 0)
        #expect(again.text.contains("nothing to replay"))
        #expect(try !Tool.ext4("info", image).text.contains("needs_recovery"))
    }

    @Test func readingWritesNothing() throws {
        try crash("")
        let before = try scratch.bytes("crashed.img")
        let shown = try Tool.ext4("ls", "-v", image, "/later")
        #expect(shown.text.split(separator: "\n").count == 50)
        #expect(shown.errors.contains("journal replayed in memory"))
        // Without its journal the volume is older, or worse; it is shown all the same.
        let without = try Tool.ext4("ls", "--no-replay", image, "/later")
        #expect(without.errors.contains("the journal is not replayed"))
        #expect(try scratch.bytes("crashed.img") == before)
    }

    @Test func volumesOfAnotherMachineAreLeftAlone() throws {
        try Tool.check(
            "mke2fs", ["-q", "-t", "ext4", "-b", "1024", "-O", "mmp,^metadata_csum", image, "16M"])
        let info = try Tool.ext4("info", "--json", image)
        let object = try #require(
            try JSONSerialization.jsonObject(with: Data(info.output)) as? [String: Any])
        let block = try #require(object["mmpBlock"] as? Int)
        #expect(try Tool.ext4("replay", image).status == 0)
        // The number of somebody who has it open.
        var bytes = try scratch.bytes("crashed.img")
        bytes.replaceSubrange(block * 1_024 + 4..<block * 1_024 + 8, with: [1, 2, 3, 0])
        try scratch.file("crashed.img", bytes)
        let result = try Tool.ext4("replay", image)
        #expect(result.status == 1)
        #expect(result.errors.contains("multi-mount protection"))
        #expect(try scratch.bytes("crashed.img") == bytes)
        #expect(try Tool.ext4("ls", image).status == 0)
    }

    @Test func mountedVolumesAreLeftAlone() throws {
        try Tool.shell(
            "truncate -s 8M \"$1\"; mke2fs -q -t ext4 \"$1\"; mkdir \"$1.dir\"; mount -o loop \"$1\" \"$1.dir\"",
            image)
        defer { _ = try? Tool.shell("umount \"$1.dir\"", image) }
        let result = try Tool.ext4("replay", image)
        #expect(result.status == 1)
        #expect(result.errors.contains("it is mounted on \(image).dir; unmount it first"))
    }
}
