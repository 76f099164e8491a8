import Foundation
import Testing

/// Mounted volumes that become larger under those who use them.
@Suite(.enabled(if: canMount, needsMount)) struct GrowthTests {
    /// Writes, removes and reads files until the file `stop` is there; what it leaves has checksums.
    private static let load = """
        cd "$1"
        mkdir -p load-$2
        exec 3>load-$2/unnamed 4<load-$2/unnamed
        rm load-$2/unnamed
        i=0
        while [ ! -e "$3" ]; do
            head -c $((i % 7 * 9000 + 5)) /dev/urandom >load-$2/$((i % 60))
            sha256sum <load-$2/$((i % 60)) >load-$2/$((i % 60)).sum
            [ $((i % 11)) -ne 3 ] || rm -f load-$2/$((i % 60)) load-$2/$((i % 60)).sum
            echo $i >&3
            i=$((i + 1))
        done
        # All that was written to it is there, though it has had no name for long.
        j=0
        while [ $j -lt $i ]; do read -r line <&4; [ "$line" = $j ]; j=$((j + 1)); done
        """

    private static let check = """
        cd "$1"
        for sum in load-*/*.sum; do
            [ "$(cat "$sum")" = "$(sha256sum <"${sum%.sum}")" ] || { echo "$sum"; exit 1; }
        done
        """

    @Test(arguments: [
        "-b 4096", "-b 1024 -O orphan_file", "-b 1024 -O ^has_journal",
        "-b 1024 -O meta_bg,^resize_inode",
    ])
    func aVolumeInUseGrows(_ options: String) throws {
        let scratch = try ScratchDirectory()
        let image = scratch.path("volume.img")
        try Tool.shell("truncate -s 48M \"$1\"; mke2fs -q -F -t ext4 \(options) \"$1\"", image)
        let mounted = try MountedVolume(image, in: scratch, options: "rw")
        let stop = scratch.path("stop")
        let writers = try (1...3).map { number in
            let writer = Process()
            writer.executableURL = URL(fileURLWithPath: "/bin/sh")
            writer.arguments = ["-eu", "-c", Self.load, "sh", mounted.directory, "\(number)", stop]
            try writer.run()
            return writer
        }
        defer { for writer in writers where writer.isRunning { writer.terminate() } }
        for size in ["60M", "61M", "400M", "+100M"] {
            usleep(300_000)
            let result = try Tool.ext4("resize", mounted.directory, size)
            #expect(result.status == 0, "\(result.errors)")
        }
        usleep(300_000)
        try scratch.file("stop", [])
        for writer in writers {
            writer.waitUntilExit()
            #expect(writer.terminationStatus == 0)
        }
        // There is room for what would not have fitted.
        try Tool.shell("head -c 250000000 /dev/zero | tr '\\0' x > \"$1\"", mounted.path("large"))
        try Tool.shell(Self.check, mounted.directory)
        let server = try mounted.server()
        try mounted.unmount()
        #expect(ends(server))

        let length = try FileManager.default.attributesOfItem(atPath: image)[.size] as? UInt64
        #expect(length == 500 << 20)
        let words = try Tool.run("e2fsck", ["-fn", image])
        #expect(words.status == 0, "\(words.text)")
        let kernel = try MountedVolume.byKernel(image, in: scratch)
        try Tool.shell(Self.check, kernel.directory)
        try kernel.unmount()
    }

    @Test func whatCannotBeIsRefused() throws {
        let scratch = try ScratchDirectory()
        let image = scratch.path("volume.img")
        try Tool.shell("truncate -s 48M \"$1\"; mke2fs -q -F -t ext4 \"$1\"", image)
        func refusal(_ arguments: String...) throws -> String {
            let result = try Tool.run(Tool.commandPath, ["resize"] + arguments)
            #expect(result.status == 1)
            return result.errors
        }
        #expect(try refusal(scratch.root, "60M").contains("nothing is mounted"))
        do {
            let mounted = try MountedVolume(image, in: scratch, options: "rw")
            let place = mounted.directory
            #expect(try refusal(image, "60M").contains("name that directory"))
            #expect(try refusal(place, "40M").contains("unmount it to make it smaller"))
            #expect(try refusal("-M", place).contains("only become larger"))
            #expect(try !refusal(place, "1000T").isEmpty)
            #expect(try refusal("/proc", "60M").contains("no ext2, ext3 or ext4"))
            // It is as long as it was, and goes on.
            let length = try FileManager.default.attributesOfItem(atPath: image)[.size] as? UInt64
            #expect(length == 48 << 20)
            #expect(try Tool.ext4("resize", place).text.contains("already"))
            try Tool.shell("echo text > \"$1\"", mounted.path("file"))
            try mounted.unmount()
        }
        let mounted = try MountedVolume(image, in: scratch, options: "ro")
        #expect(try refusal(mounted.directory, "60M").contains("read-only"))
        try mounted.unmount()
        #expect(try Tool.run("e2fsck", ["-fn", image]).status == 0)
    }

    /// A block device is as long as somebody made it since it was opened.
    @Test func aDeviceIsFilled() throws {
        let scratch = try ScratchDirectory()
        let image = scratch.path("volume.img")
        try Tool.shell("truncate -s 48M \"$1\"; mke2fs -q -F -t ext4 \"$1\"", image)
        let loop = try Tool.check("losetup", ["-f", "--show", image]).text
            .trimmingCharacters(in: .newlines)
        defer { _ = try? Tool.run("losetup", ["-d", loop]) }
        let mounted = try MountedVolume(loop, in: scratch, options: "rw")
        try Tool.shell("truncate -s 148M \"$1\"; losetup -c \"$2\"", image, loop)
        let result = try Tool.ext4("resize", mounted.directory)
        #expect(result.status == 0, "\(result.errors)")
        #expect(try Tool.ext4("resize", mounted.directory, "200M").status == 1)
        try Tool.shell("head -c 90000000 /dev/zero > \"$1\"", mounted.path("large"))
        let server = try mounted.server()
        try mounted.unmount()
        #expect(ends(server))
        let words = try Tool.run("e2fsck", ["-fn", loop])
        #expect(words.status == 0, "\(words.text)")
    }
}
