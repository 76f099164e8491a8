import Foundation
import Testing

/// Whether a test can mount here: by FUSE and, to compare with, by the kernel.
let canMount: Bool = {
    guard isRoot, FileManager.default.fileExists(atPath: "/dev/fuse") else { return false }
    return FileManager.default.fileExists(atPath: "/dev/loop-control")
}()

/// What a test that cannot run here says.
let needsMount: Comment = "needs root, /dev/fuse and loop devices"

/// A mount of the command under test, or of the kernel; gone with its owner, whatever happened.
final class MountedVolume {
    let directory: String
    let image: String

    /// Mounts `image` with the command under test, which must succeed.
    convenience init(_ image: String, in scratch: ScratchDirectory, options: String = "ro") throws {
        let directory = try scratch.directory()
        try Tool.check(Tool.commandPath, ["mount", "-o", options, image, directory])
        self.init(mounted: image, on: directory)
    }

    /// Mounts `image` with the kernel.
    static func byKernel(
        _ image: String, in scratch: ScratchDirectory, options: String = "ro"
    ) throws -> MountedVolume {
        let directory = try scratch.directory()
        try Tool.check("mount", ["-o", "loop,\(options)", image, directory])
        return MountedVolume(mounted: image, on: directory)
    }

    private init(mounted image: String, on directory: String) {
        self.image = image
        self.directory = directory
    }

    deinit {
        if Self.isMounted(directory) { _ = try? Tool.run("umount", ["-l", directory]) }
    }

    func path(_ name: String) -> String { "\(directory)/\(name)" }

    func unmount() throws { try Tool.check("umount", [directory]) }

    /// Whether something is mounted there, by the kernel's table: a look at a dead mount fails.
    static func isMounted(_ directory: String) -> Bool {
        let table = try? String(contentsOfFile: "/proc/self/mountinfo", encoding: .utf8)
        return table?.contains(" \(directory) ") ?? false
    }

    /// The process that serves the mount.
    func server() throws -> Int32 {
        let pattern = "mount -o [^ ]* \(image) \(directory)$"
        let text = try Tool.check("pgrep", ["-f", pattern]).text
        let first = try #require(text.split(separator: "\n").first)
        return try #require(Int32(first))
    }
}

/// Whether a process ends within some seconds.
func ends(_ process: Int32) -> Bool {
    for _ in 0..<100 {
        if kill(process, 0) != 0 { return true }
        usleep(50_000)
    }
    return false
}

extension ScratchDirectory {
    /// Makes a directory with a name of its own.
    func directory() throws -> String {
        // As the kernel's table of mounts shows it: with no symbolic link on the way.
        let path = URL(fileURLWithPath: root).resolvingSymlinksInPath()
            .appendingPathComponent("mnt-\(UUID().uuidString.prefix(8))").path
        try FileManager.default.createDirectory(
            atPath: path, withIntermediateDirectories: false)
        return path
    }

    /// Makes an image that the kernel filled with a bit of everything.
    func filledImage(_ arguments: [String] = [], script: String = fillScript) throws -> String {
        let image = path("volume-\(UUID().uuidString.prefix(8)).img")
        try Tool.shell("truncate -s 96M \"$1\"", image)
        try Tool.check("mke2fs", ["-q", "-F", "-t", "ext4"] + arguments + [image])
        let mounted = try MountedVolume.byKernel(image, in: self, options: "rw")
        try Tool.shell("cd \"$1\"\n" + script, mounted.directory)
        try mounted.unmount()
        return image
    }
}

/// Fills the present directory with a bit of everything that a volume can hold.
let fillScript = #"""
    mkdir -p plain deep/a/b/c/d/e many
    printf 'hello, world\n' > plain/hello
    : > plain/empty
    head -c 5000000 /dev/urandom > plain/large
    head -c 100 /dev/urandom > plain/short
    ln plain/hello plain/second-name
    ln -s hello plain/fast
    ln -s "$(printf '%0200d' 7)" plain/slow
    ln -s /nowhere plain/dangling
    mkfifo special-fifo
    mknod special-char c 5 1
    mknod special-char-large c 260 70000
    mknod special-block b 8 1
    truncate -s 3T sparse-end
    dd if=/dev/urandom of=sparse bs=4096 count=3 seek=1000 status=none
    dd if=/dev/urandom of=sparse bs=4096 count=3 seek=5000 conv=notrunc status=none
    truncate -s 100M sparse
    fallocate -l 3M unwritten
    printf x | dd of=unwritten bs=1 seek=1500000 conv=notrunc status=none
    i=0; while [ $i -lt 3000 ]; do : > "many/a file with number $i"; i=$((i + 1)); done
    i=0; while [ $i -lt 40 ]; do
        printf x | dd of=fragments bs=4096 seek=$((i * 2)) conv=notrunc status=none; i=$((i + 1))
    done
    : > "$(printf '%0255d' 1)"
    : > "$(printf 'not-utf8-\377\376')"
    chmod 4755 plain/short; chmod 1777 deep; chmod 0000 plain/empty
    chown 70000:80000 plain/large; chown -h 12:34 plain/fast
    touch -d '1940-05-05 01:02:03.123456789' plain/hello
    touch -d '2400-01-01 00:00:00.5' plain/short
    setfattr -n user.colour -v green plain/hello
    setfattr -n trusted.secret -v "$(printf '%0200d' 3)" plain/hello
    setfattr -n user.large -v "$(printf '%0600d' 3)" plain/short
    setfacl -m u:1234:rw,g:77:r plain/large
    setfacl -m d:u:1234:rwx,u:4:x deep
    chattr +d plain/second-name
    chattr +a plain/short
    chattr +i special-fifo 2>/dev/null || true
    """#
