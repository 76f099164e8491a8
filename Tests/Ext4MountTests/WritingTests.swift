import Foundation
import Testing

/// What programs do in a mount for writing is what the volume has afterwards.
@Suite(.enabled(if: canMount, needsMount)) final class WritingTests {
    let scratch: ScratchDirectory

    init() throws { scratch = try ScratchDirectory() }

    private func image(_ options: String...) throws -> String {
        let path = scratch.path("\(UUID().uuidString).img")
        try Tool.shell("truncate -s 64M \"$1\"", path)
        try Tool.check("mke2fs", ["-q", "-F"] + options + [path])
        return path
    }

    /// Unmounts and waits for the process to end: only then the image is the volume.
    private func end(_ mount: MountedVolume) throws {
        let server = try mount.server()
        try mount.unmount()
        #expect(ends(server))
    }

    private static let list =
        "cd \"$1\"; find . ! -name lost+found -printf '%p %y %m %n %U %G %s %T@ %l\\n' | LC_ALL=C sort; "
        + "find . -type f -exec sha256sum {} + | LC_ALL=C sort; getfattr -Rdh -m - . 2>/dev/null"

    @Test(arguments: [
        ["-t", "ext4"], ["-t", "ext4", "-b", "1024"], ["-t", "ext3"], ["-t", "ext2"],
    ])
    func theKernelSeesWhatWasWritten(options: [String]) throws {
        let path = scratch.path("written.img")
        try Tool.shell("truncate -s 64M \"$1\"", path)
        try Tool.check("mke2fs", ["-q", "-F"] + options + [path])
        let ours = try MountedVolume(path, in: scratch, options: "rw")
        try Tool.shell(
            """
            cd "$1"
            mkdir -p a/b/c; umask 027
            i=0; while [ $i -lt 300 ]; do echo "file $i" > "a/f$i"; i=$((i + 1)); done
            i=0; while [ $i -lt 300 ]; do rm "a/f$i"; i=$((i + 3)); done
            mv a/f1 a/b/moved; ln a/b/moved hard; ln -s a/b/moved soft; mkfifo pipe
            mknod null c 1 3; dd if=/dev/urandom of=large bs=64k count=100 2>/dev/null
            dd if=/dev/zero of=sparse bs=1 count=1 seek=5M 2>/dev/null; truncate -s 3M large
            chmod 4711 hard; chown 12:34 large; touch -d '2040-05-06 07:08:09.123456789' soft hard
            setfattr -n user.colour -v red large; mv a/b a/renamed; rmdir a/renamed/c
            cp -a a copy; rm -r a; sync
            """, ours.directory)
        let seen = try Tool.shell(Self.list, ours.directory).text
        try end(ours)
        try Tool.check("e2fsck", ["-fn", path])
        let kernel = try MountedVolume.byKernel(path, in: scratch)
        #expect(seen == (try Tool.shell(Self.list, kernel.directory).text))
        try kernel.unmount()
    }

    @Test func whatWasSyncedSurvivesTheEndOfTheProcess() throws {
        let path = try image()
        let ours = try MountedVolume(path, in: scratch, options: "rw,commit=1000")
        try Tool.shell(
            """
            cd "$1"; i=0
            while [ $i -lt 40 ]; do echo "synced $i" > s$i; sync s$i; echo junk > j$i; i=$((i + 1)); done
            exec 3> open; echo text >&3; rm open; sync s0
            echo late > late
            """, ours.directory)
        kill(try ours.server(), SIGKILL)
        try Tool.check("umount", ["-l", ours.directory])

        let again = try MountedVolume(path, in: scratch, options: "rw")
        for i in 0..<40 {
            #expect(
                try String(contentsOfFile: again.path("s\(i)"), encoding: .utf8) == "synced \(i)\n")
        }
        try end(again)
        try Tool.check("e2fsck", ["-fn", path])
    }

    @Test func anOpenFileLivesWithoutAName() throws {
        let path = try image()
        let ours = try MountedVolume(path, in: scratch, options: "rw")
        let text = try Tool.shell(
            """
            cd "$1"; exec 3<> file; echo first >&3; rm file; echo second >&3
            cat /proc/self/fd/3; exec 3>&-
            """, ours.directory
        ).text
        #expect(text == "first\nsecond\n")
        try end(ours)
        try Tool.check("e2fsck", ["-fn", path])
    }

    @Test(arguments: ["bigalloc", "quota", "mmp"])
    func refusesByNameWhatItCannotWrite(feature: String) throws {
        let path = try image("-t", "ext4", "-O", feature)
        let directory = try scratch.directory()
        let result = try Tool.ext4("mount", "-o", "rw", path, directory)
        #expect(result.status == 1)
        #expect(result.errors.contains(feature), "\(result.errors)")
        #expect(!MountedVolume.isMounted(directory))
        let reading = try MountedVolume(path, in: scratch, options: "ro")
        try reading.unmount()
    }

    @Test func aFullVolumeSaysSoAndGoesOn() throws {
        let path = try image("-m", "0")
        let ours = try MountedVolume(path, in: scratch, options: "rw")
        let status = try Tool.run(
            "sh", ["-c", "dd if=/dev/zero of=\"$1\"/fill bs=1M 2>&1", "sh", ours.directory])
        #expect(status.status != 0)
        #expect(status.text.contains("No space left on device"))
        try Tool.shell("cd \"$1\"; rm fill; sync .; echo again > again; cat again", ours.directory)
        try end(ours)
        try Tool.check("e2fsck", ["-fn", path])
    }

    /// `fstrim` gives back what is free while others write.
    @Test func fstrimMakesTheImageSmaller() throws {
        let path = try image("-t", "ext4")
        let ours = try MountedVolume(path, in: scratch, options: "rw")
        try Tool.shell(
            """
            cd "$1"; mkdir kept
            for i in $(seq 30); do head -c 100000 /dev/urandom > kept/$i; done
            head -c 30M /dev/urandom > large; sync large; rm large
            """, ours.directory)
        func stored() throws -> Int {
            try #require(Int(try Tool.check("stat", ["-c", "%b", path]).text.dropLast())) * 512
        }
        let before = try stored()
        let answer = try Tool.shell(
            """
            cd "$1"
            (for i in $(seq 200); do head -c 50000 /dev/urandom > new$i; rm -f new$((i - 5)); done) &
            for i in $(seq 5); do fstrim . ; done
            wait; rm new*; fstrim -v -m 64K .
            """, ours.directory)
        #expect(answer.text.contains("bytes) trimmed"), "\(answer.text)")
        #expect(try stored() < before - (25 << 20))
        let seen = try Tool.shell(Self.list, ours.directory).text
        // Not for everybody.
        let refused = try Tool.run(
            "setpriv", ["--reuid", "12345", "--clear-groups", "fstrim", ours.directory])
        #expect(refused.status != 0)
        try end(ours)
        try Tool.check("e2fsck", ["-fn", path])
        let kernel = try MountedVolume.byKernel(path, in: scratch)
        #expect(seen == (try Tool.shell(Self.list, kernel.directory).text))
        try kernel.unmount()

        let reading = try MountedVolume(path, in: scratch)
        let result = try Tool.run("fstrim", [reading.directory])
        #expect(result.errors.contains("Read-only file system"), "\(result.errors)")
        try reading.unmount()
    }
}
