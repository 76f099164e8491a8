import Foundation
import Testing

/// How a mount begins and ends, and what it says when it does not begin.
@Suite(.serialized, .enabled(if: canMount, needsMount))
struct LifetimeTests {
    let scratch: ScratchDirectory

    init() throws { scratch = try ScratchDirectory() }

    /// A small image with one file.
    private func image() throws -> String {
        try scratch.filledImage(script: "echo hello > hello; mkdir d")
    }

    @Test func endsWithTheUnmount() throws {
        let mounted = try MountedVolume(image(), in: scratch)
        let server = try mounted.server()
        #expect(try Tool.check("cat", [mounted.path("hello")]).text == "hello\n")
        try mounted.unmount()
        #expect(ends(server))
        // The lock on the image is gone, so it can be mounted again.
        let again = try MountedVolume(mounted.image, in: scratch)
        let other = try again.server()
        try Tool.check("fusermount3", ["-u", again.directory])
        #expect(ends(other))
    }

    @Test(arguments: [SIGTERM, SIGINT, SIGHUP])
    func endsWithASignal(_ signal: Int32) throws {
        let mounted = try MountedVolume(image(), in: scratch)
        let server = try mounted.server()
        // Somebody who still has a file open does not hold the end up.
        let descriptor = unsafe open(mounted.path("hello"), O_RDONLY)
        #expect(descriptor >= 0)
        defer { close(descriptor) }
        #expect(kill(server, signal) == 0)
        #expect(ends(server))
        #expect(!MountedVolume.isMounted(mounted.directory))
    }

    @Test func staysInTheForeground() throws {
        let image = try image()
        let directory = try scratch.directory()
        let process = Process()
        process.executableURL = URL(fileURLWithPath: Tool.commandPath)
        process.arguments = ["mount", "-o", "ro", "--foreground", image, directory]
        try process.run()
        defer { _ = try? Tool.run("umount", ["-l", directory]) }
        for _ in 0..<100 where !MountedVolume.isMounted(directory) { usleep(50_000) }
        #expect(try Tool.check("cat", ["\(directory)/hello"]).text == "hello\n")
        #expect(process.isRunning)
        try Tool.check("umount", [directory])
        process.waitUntilExit()
        #expect(process.terminationStatus == 0)
    }

    @Test func saysWhatIsWrongWithAnImage() throws {
        let directory = try scratch.directory()
        let empty = try scratch.file("empty.img", [UInt8](repeating: 0, count: 1 << 20))
        for (path, words) in [
            (empty, "no ext2, ext3 or ext4 file system"),
            (scratch.path("none.img"), "No such file"),
            (scratch.root, "is a directory"),
        ] {
            for mode in [[], ["--foreground"]] {
                let result = try Tool.run(
                    Tool.commandPath, ["mount", "-o", "ro"] + mode + [path, directory])
                #expect(result.status == 1)
                #expect(result.errors.contains(words), "\(result.errors)")
                #expect(result.errors.hasPrefix("ext4: "))
                #expect(result.errors.split(separator: "\n").count == 1)
                #expect(!MountedVolume.isMounted(directory))
            }
        }
    }

    @Test func saysWhatIsWrongWithADirectory() throws {
        let image = try image()
        let none = try Tool.ext4("mount", image, scratch.path("none"))
        #expect(none.status == 1)
        #expect(none.errors.contains("No such file or directory"))
        let file = try scratch.file("file", [])
        let noDirectory = try Tool.ext4("mount", image, file)
        #expect(noDirectory.status == 1)
        #expect(noDirectory.errors.contains("not a directory"))
    }

    @Test func refusesOptionsByTheirNames() throws {
        let image = try image()
        let directory = try scratch.directory()
        let unknown = try Tool.ext4("mount", "-o", "ro,colour=red,acl,frobnicate", image, directory)
        #expect(unknown.status == 1)
        #expect(unknown.errors == "ext4: unknown mount options colour, frobnicate\n")
        #expect(!MountedVolume.isMounted(directory))
    }

    @Test func showsAVolumeThatNeedsItsJournal() throws {
        let image = try image()
        let dirty = scratch.path("dirty.img")
        // What a power cut leaves: the journal has what the rest of the volume has not.
        let writer = try MountedVolume.byKernel(image, in: scratch, options: "rw")
        try Tool.shell(
            """
            cd "$1"
            mkdir new; i=0
            while [ $i -lt 200 ]; do echo $i > "new/file $i"; i=$((i + 1)); done
            rm hello; mv d moved; sync -f .
            cp --sparse=always "$2" "$3"
            """, writer.directory, image, dirty)
        try writer.unmount()
        let before = try Tool.check("sha256sum", [dirty]).text
        #expect(try Tool.check("dumpe2fs", ["-h", dirty]).text.contains("needs_recovery"))

        let ours = try MountedVolume(dirty, in: scratch)
        let list = "cd \"$1\"; find . -type f -exec sha256sum {} + | LC_ALL=C sort; ls -AlR"
        let seen = try Tool.shell(list, ours.directory).text
        try ours.unmount()
        #expect(try Tool.check("sha256sum", [dirty]).text == before)

        let kernel = try MountedVolume.byKernel(dirty, in: scratch, options: "rw")
        #expect(seen == (try Tool.shell(list, kernel.directory).text))
        #expect(seen.contains("new/file 199"))
        try kernel.unmount()
    }

    @Test func hidesWhatOptionsSay() throws {
        let image = try scratch.filledImage(
            script: """
                echo a > a; setfattr -n user.x -v 1 a; setfacl -m u:1234:rw a; chmod o-r a
                """)
        let mounted = try MountedVolume(image, in: scratch, options: "ro,noacl,nouser_xattr")
        #expect(try Tool.run("getfattr", ["-d", "-m", "-", mounted.path("a")]).text.isEmpty)
        let read = try Tool.run(
            "setpriv", ["--reuid=1234", "--regid=1234", "--clear-groups", "cat", mounted.path("a")])
        #expect(read.status != 0)
    }

    @Test func reportsCorruptionAsSuch() throws {
        let image = try image()
        let text = try Tool.check("debugfs", ["-R", "imap /hello", image]).text
        // "Inode 12 is part of block group 0\n\tlocated at block 258, offset 0x0b00"
        let words = text.split { " ,\n".contains($0) }.map(String.init)
        let last = try #require(words.lastIndex(of: "block"))
        let block = try #require(Int(words[last + 1]))
        let offset = try #require(words.last.flatMap { Int($0.dropFirst(2), radix: 16) })
        // Damage the modification time: only the checksum can tell.
        let size = try Tool.shell(
            "dumpe2fs -h \"$1\" 2>/dev/null | sed -n 's/^Block size: *//p'", image)
        let blockSize = try #require(Int(size.text.filter(\.isNumber)))
        let handle = try FileHandle(forUpdating: URL(fileURLWithPath: image))
        try handle.seek(toOffset: UInt64(block * blockSize + offset + 0x10))
        try handle.write(contentsOf: Data([0x55, 0x66, 0x77]))
        try handle.close()

        let directory = try scratch.directory()
        let log = scratch.path("log")
        try scratch.file("log", [])
        let process = Process()
        process.executableURL = URL(fileURLWithPath: Tool.commandPath)
        process.arguments = ["mount", "-o", "ro", "--foreground", image, directory]
        process.standardError = try FileHandle(forWritingTo: URL(fileURLWithPath: log))
        try process.run()
        defer { _ = try? Tool.run("umount", ["-l", directory]) }
        for _ in 0..<100 where !MountedVolume.isMounted(directory) { usleep(50_000) }
        for _ in 0..<3 {
            let seen = try Tool.run("stat", ["\(directory)/hello"])
            #expect(seen.errors.contains("Structure needs cleaning"))
        }
        // The rest of the directory can still be listed.
        let listed = try Tool.run("ls", ["-a", directory])
        #expect(listed.text.contains("hello\n"))
        try Tool.check("umount", [directory])
        process.waitUntilExit()
        let lines = String(decoding: try scratch.bytes("log"), as: UTF8.self).split(separator: "\n")
        #expect(lines.count == 1)
        #expect(lines.first?.contains("corrupt inode of inode 12") == true, "\(lines)")
    }
}
