import Foundation
import Testing

/// `ext4 trim` against what dumpe2fs says is free, e2fsck, and the system's view of the image.
@Suite(.serialized)
struct TrimCommandTests {
    let scratch: ScratchDirectory
    let image: String

    init() throws {
        scratch = try ScratchDirectory()
        image = scratch.path("disk.img")
    }

    /// A volume of which a part was used and is free again, in an image without holes.
    private func make(_ options: [String]) throws {
        let tree = scratch.path("tree")
        try Tool.shell(
            """
            mkdir -p "$2/kept" "$2/gone"
            for i in $(seq 40); do head -c $((i * 3001)) /dev/urandom > "$2/kept/$i"; done
            head -c 9000000 /dev/urandom > "$2/gone/large"
            for i in $(seq 40); do head -c $((i * 2500)) /dev/urandom > "$2/gone/$i"; done
            head -c 48M /dev/zero | tr '\\0' '\\245' > "$1"
            mke2fs -q -F -E nodiscard -d "$2" $3 "$1"
            """, image, tree, options.joined(separator: " "))
        #expect(try Tool.ext4("rm", "-r", image, "/gone").status == 0)
    }

    private func stored() throws -> Int {
        try #require(
            Int(try Tool.check("stat", ["-c", "%b", image]).text.dropLast())) * 512
    }

    private func list() throws -> String {
        let directory = scratch.path("out-\(UUID().uuidString.prefix(6))")
        try Tool.check(Tool.commandPath, ["get", image, "/kept", directory])
        return try Tool.shell("cd \"$1\"; find . -type f -exec sha256sum {} + | sort", directory)
            .text
    }

    private func expectSound(withOurs: Bool = true) throws {
        let theirs = try Tool.run("e2fsck", ["-fn", image])
        #expect(theirs.status == 0, "\(theirs.text)")
        guard withOurs else { return }
        let ours = try Tool.ext4("fsck", "-fn", image)
        #expect(ours.status == 0, "\(ours.text)")
    }

    private func trim(_ options: String...) throws -> [String: Any] {
        let result = try Tool.run(Tool.commandPath, ["trim", "--json", image] + options)
        try #require(result.status == 0, "\(result.errors)")
        return try #require(
            try JSONSerialization.jsonObject(with: Data(result.output)) as? [String: Any])
    }

    /// The runs of free blocks as dumpe2fs has them, in bytes.
    private func freeRuns() throws -> [Range<Int>] {
        let text = try Tool.check("dumpe2fs", [image]).text
        var size = 0
        var runs: [Range<Int>] = []
        for line in text.split(separator: "\n") {
            if line.hasPrefix("Block size:") { size = Int(line.split(separator: " ")[2]) ?? 0 }
            guard line.hasPrefix("  Free blocks: ") else { continue }
            for piece in line.dropFirst(15).split(separator: ",") {
                let ends = piece.split(separator: "-").compactMap {
                    Int($0.trimmingCharacters(in: .whitespaces))
                }
                guard let first = ends.first, let last = ends.last else { continue }
                let run = first * size..<(last + 1) * size
                if let before = runs.last, before.upperBound == run.lowerBound {
                    runs[runs.count - 1] = before.lowerBound..<run.upperBound
                } else {
                    runs.append(run)
                }
            }
        }
        return runs
    }

    /// What is left of a run without parts of pages.
    private func pages(_ run: Range<Int>) -> Int {
        max(0, run.upperBound / 4096 * 4096 - (run.lowerBound + 4095) / 4096 * 4096)
    }

    @Test(arguments: [
        ["-t", "ext4", "-b", "4096"], ["-t", "ext2", "-b", "1024"],
        ["-t", "ext4", "-O", "^metadata_csum,uninit_bg,^flex_bg"],
        ["-t", "ext4", "-b", "1024", "-g", "2048", "-O", "^has_journal,inline_data"],
        ["-t", "ext4", "-O", "meta_bg,^resize_inode", "-g", "4096"],
    ])
    func imagesBecomeSmaller(options: [String]) throws {
        try make(options)
        let contents = try list()
        let runs = try freeRuns()
        let whole = runs.reduce(0) { $0 + pages($1) }
        #expect(whole > 20 << 20)
        let before = try stored()
        let bytes = try scratch.bytes("disk.img")

        let planned = try trim("-n")
        #expect(planned["trimmedBytes"] as? Int == whole)
        #expect(planned["done"] as? Bool == false)
        #expect(try scratch.bytes("disk.img") == bytes)
        #expect(try stored() == before)

        // Only what is long enough, and only there.
        for minimum in [8192, 100_000, 64 << 20] {
            let expected = runs.map(pages).filter { $0 >= minimum }.reduce(0, +)
            let found = try trim("-n", "--minimum", "\(minimum)")
            #expect(found["trimmedBytes"] as? Int == expected, "minimum \(minimum)")
        }
        let window = 10 << 20..<30 << 20
        let part = runs.map { pages($0.clamped(to: window)) }.reduce(0, +)
        let found = try trim("--offset", "10M", "--length", "20M")
        #expect(found["trimmedBytes"] as? Int == part)
        #expect(found["storedBytesBefore"] as? Int == before)
        #expect(try stored() <= before - part + 65_536)
        try expectSound(withOurs: false)

        let result = try Tool.ext4("trim", image)
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.text.contains("(\(whole) bytes) trimmed"))
        #expect(try stored() <= before - whole + 65_536)
        try expectSound()
        #expect(try list() == contents)
        // No free page has anything in it.
        let places = runs.filter { pages($0) > 0 }.map {
            "\(($0.lowerBound + 4095) / 4096 * 4096) \(pages($0))"
        }
        try Tool.shell(
            """
            printf '%s\\n' "$2" | while read -r start count; do
                cmp -n "$count" -i "$start:0" "$1" /dev/zero || exit 1
            done
            """, image, places.joined(separator: "\n"))
        // Free space is free space, given back or not.
        #expect(try trim("-n")["trimmedBytes"] as? Int == whole)
    }

    /// Whether a command was refused and left the image as it was.
    private func expectRefused(_ words: String) throws {
        let bytes = try scratch.bytes("disk.img")
        for options in [["-n"], []] {
            let result = try Tool.run(Tool.commandPath, ["trim", image] + options)
            #expect(result.status == 1)
            #expect(result.errors.contains(words), "\(result.errors)")
            #expect(try scratch.bytes("disk.img") == bytes)
        }
    }

    @Test func volumesWithErrorsAreRefused() throws {
        try make(["-t", "ext2"])
        try Tool.check("debugfs", ["-w", "-R", "set_super_value state 3", image])
        try expectRefused("run ext4 fsck")
        // Not unmounted, and no journal to tell what was under way.
        try Tool.check("debugfs", ["-w", "-R", "set_super_value state 0", image])
        try expectRefused("run ext4 fsck")
        try Tool.check("debugfs", ["-w", "-R", "set_super_value state 1", image])
        #expect(try Tool.ext4("trim", image).status == 0)
    }

    @Test(arguments: [["-t", "ext4"], ["-t", "ext2"]])
    func badBitmapsAreRefused(options: [String]) throws {
        try make(options)
        let text = try Tool.check("dumpe2fs", [image]).text
        let line = try #require(
            text.split(separator: "\n").first { $0.contains("Block bitmap at") })
        let word = try #require(line.split(separator: " ").first { Int($0) != nil })
        let block = try #require(Int(word))
        let place = block * (text.contains("Block size:               1024") ? 1024 : 4096)
        // Blocks that are in use are free all of a sudden.
        try Tool.shell(
            """
            printf '\\000' | dd of="$1" bs=1 seek=$2 conv=notrunc status=none
            """, image, "\(place)")
        let before = try stored()
        let contents = try list()
        for options in [["-n"], []] {
            let result = try Tool.run(Tool.commandPath, ["trim", image] + options)
            #expect(result.status == 1)
            #expect(result.errors.contains("block bitmap of group 0"), "\(result.errors)")
            #expect(result.errors.contains("run ext4 fsck -fy"), "\(result.errors)")
        }
        #expect(try stored() == before)
        #expect(try list() == contents)
    }

    @Test func wrongOptionsAreRefused() throws {
        try make(["-t", "ext4"])
        for options in [["--offset", "48M"], ["--length", "100"]] {
            let result = try Tool.run(Tool.commandPath, ["trim", image] + options)
            #expect(result.status == 1)
            #expect(result.errors.contains("no block in that range"), "\(result.errors)")
        }
        for options in [["-m", "-5"], ["-m", "much"], ["-m", "+1M"], ["--offset", "1X"]] {
            #expect(try Tool.run(Tool.commandPath, ["trim", image] + options).status == 64)
        }
        try Tool.check("mke2fs", ["-q", "-F", "-t", "ext4", "-O", "bigalloc", image])
        try expectRefused("bigalloc")
        try scratch.file("disk.img", [UInt8](repeating: 7, count: 100_000))
        try expectRefused("no ext2, ext3 or ext4 file system")
    }

    /// What the journal has is brought to its place first: bitmaps on the disk are older.
    @Test(.enabled(if: isRoot, "mounting needs root"))
    func journalsAreReplayedFirst() throws {
        try make(["-t", "ext4"])
        try Tool.shell(
            """
            mkdir "$1.dir"; mount -o loop "$1" "$1.dir"
            trap 'cd /; umount "$1.dir"' EXIT
            cd "$1.dir"; rm kept/1?; cp -r kept copy; mv copy kept; sync -f .
            if ext4="$("$2" trim "$1" 2>&1)"; then exit 3; fi
            case $ext4 in *"is mounted on"*) ;; *) exit 4 ;; esac
            cp "$1" "$1.crashed"
            """, image, Tool.commandPath)
        try Tool.shell("mv \"$1.crashed\" \"$1\"", image)
        #expect(try Tool.ext4("info", image).text.contains("needs_recovery"))
        let contents = try list()
        let result = try Tool.ext4("trim", image)
        #expect(result.status == 0, "\(result.errors)")
        try expectSound()
        #expect(try list() == contents)
        #expect(try !Tool.ext4("info", image).text.contains("needs_recovery"))
    }

    @Test(.enabled(if: isRoot, "loop devices need root"))
    func blockDevicesDiscard() throws {
        try make(["-t", "ext4"])
        let contents = try list()
        let before = try stored()
        let device = try Tool.shell("losetup --find --show \"$1\"", image).text.dropLast()
        defer { _ = try? Tool.check("losetup", ["-d", String(device)]) }
        let result = try Tool.ext4("trim", String(device))
        if result.errors.contains("cannot discard") { return }
        #expect(result.status == 0, "\(result.errors)")
        #expect(try stored() < before - (20 << 20))
        try Tool.check("losetup", ["-d", String(device)])
        try expectSound()
        #expect(try list() == contents)
    }
}
