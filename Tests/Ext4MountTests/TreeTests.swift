import Foundation
import Testing

/// The same image, mounted by the command under test and by the kernel, must look the same.
@Suite(.serialized, .enabled(if: canMount, needsMount))
struct TreeTests {
    let scratch: ScratchDirectory
    let ours: MountedVolume
    let kernel: MountedVolume

    init() throws {
        scratch = try ScratchDirectory()
        let image = try scratch.filledImage()
        kernel = try MountedVolume.byKernel(image, in: scratch)
        ours = try MountedVolume(image, in: scratch)
    }

    /// What a script prints in each mount.
    private func bothSay(_ script: String) throws -> (ours: String, kernel: String) {
        (
            try Tool.shell("cd \"$1\"\n" + script, ours.directory).text,
            try Tool.shell("cd \"$1\"\n" + script, kernel.directory).text
        )
    }

    @Test func hasTheSameNamesAndAttributes() throws {
        let format = #"%P|%y %m %U %G %s %n %i %b %l|%A@ %C@ %T@ %B@\n"#
        let said = try bothSay("find . -mindepth 1 -printf '\(format)' | LC_ALL=C sort")
        #expect(said.ours == said.kernel)
        #expect(said.ours.utf8.count > 300_000)
        let devices = try bothSay("stat -c '%n %t %T %o' special-* plain/* . deep")
        #expect(devices.ours == devices.kernel)
    }

    @Test func hasTheSameContents() throws {
        let said = try bothSay(
            "find . -type f ! -name sparse-end -print0 | LC_ALL=C sort -z | xargs -0 sha256sum")
        #expect(said.ours == said.kernel)
        // The end of a file of 3 TiB, which nobody wants to read from its beginning.
        let end = try bothSay("tail -c 100000 sparse-end | sha256sum; stat -c %s sparse-end")
        #expect(end.ours == end.kernel)
    }

    @Test func hasTheSameExtendedAttributes() throws {
        for script in [
            "find . ! -name 'a file*' -print0 | LC_ALL=C sort -z | xargs -0 getfattr -h -d -m - -e hex",
            "find . -print0 | LC_ALL=C sort -z | xargs -0 getfacl -n -p 2>&1 || true",
            "getfattr -n user.none plain/hello 2>&1 || true",
            "lsattr -R . 2>/dev/null | LC_ALL=C sort", "lsattr -v -d plain/* 2>/dev/null || true",
            "lsattr -p -d plain/hello",
        ] {
            let said = try bothSay(script)
            #expect(said.ours == said.kernel, "\(script)")
            #expect(!said.ours.isEmpty, "\(script)")
        }
    }

    @Test func hasTheSameStatistics() throws {
        let said = try bothSay("stat -f -c '%b %f %a %c %d %l %s %S' .")
        #expect(said.ours == said.kernel)
    }

    @Test func findsTheSameHoles() throws {
        for name in [
            "sparse", "unwritten", "fragments", "plain/large", "plain/empty", "sparse-end",
        ] {
            #expect(try holes(ours.path(name)) == (try holes(kernel.path(name))), "\(name)")
        }
    }

    /// Where data and holes begin, and the error at the end.
    private func holes(_ path: String) throws -> [Int] {
        let descriptor = unsafe open(path, O_RDONLY)
        try #require(descriptor >= 0)
        defer { close(descriptor) }
        let (seekData, seekHole): (Int32, Int32) = (3, 4)
        var found: [Int] = []
        var position = 0
        for _ in 0..<1000 {
            let data = lseek(descriptor, position, seekData)
            guard data >= 0 else { return found + [-Int(errno)] }
            let hole = lseek(descriptor, data, seekHole)
            found += [data, hole]
            position = hole
        }
        return found
    }

    @Test func obeysPermissionsAndAccessControlLists() throws {
        let script = """
            for user in 0:0 1234:1234 4:4 70000:1 65534:65534; do
                for file in plain/large plain/empty plain/short plain/hello; do
                    setpriv --reuid=${user%:*} --regid=${user#*:} --clear-groups \
                        head -c 1 $file > /dev/null 2>&1 && echo $user $file yes || echo $user $file no
                done
            done
            """
        let said = try bothSay(script)
        #expect(said.ours == said.kernel)
        #expect(said.ours.contains("1234:1234 plain/large yes"))
        #expect(said.ours.contains("65534:65534 plain/empty no"))
    }

    @Test func answersSeveralReadersAtOnce() throws {
        let said = try bothSay(
            """
            (echo plain/large; echo sparse; echo unwritten; find many -type f) |
                tr '\\n' '\\0' | xargs -0 -n 20 -P 8 sha256sum | LC_ALL=C sort
            """)
        #expect(said.ours == said.kernel)
    }

    @Test func refusesWhatItCannotDo() throws {
        let readOnly = try Tool.run("touch", [ours.path("new")])
        #expect(readOnly.errors.contains("Read-only file system"))
        let long = String(repeating: "n", count: 256)
        for name in [long, long + long] {
            #expect(
                try Tool.run("stat", [ours.path(name)]).errors.contains("File name too long"))
        }
        #expect(
            try Tool.run("stat", [ours.path("none")]).errors.contains("No such file or directory"))
        #expect(
            try Tool.run("chattr", ["+d", ours.path("plain/hello")]).errors
                .contains("Read-only file system"))
    }

    @Test func isShownAsFuseExt4OfItsImage() throws {
        let text = try Tool.check(
            "findmnt", ["-n", "-o", "SOURCE,FSTYPE", "-r", ours.directory]
        ).text
        #expect(text == "\(ours.image) fuse.ext4\n")
    }
}
