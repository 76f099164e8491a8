import Ext4
import Ext4Host
import Foundation
import TestShell
import Testing

/// Tar archives: the oddities of real ones, and those of people who mean harm.
@Suite struct ImageArchiveTests {
    /// Puts an archive into an image, and tells what could not be taken over.
    @discardableResult
    private func add(_ archive: [UInt8], to image: TestImage) throws -> [String] {
        try image.scratch.write(archive, to: "tar")
        let file = try FileHandle(
            forReadingFrom: URL(fileURLWithPath: image.scratch.path("tar")))
        defer { try? file.close() }
        var problems: [String] = []
        let tree = ImageImport(image.builder, ImageImport.Options()) { event in
            if case .problem(let path, let words) = event {
                problems.append("\(FileName(path)): \(words)")
            }
        }
        try tree.addTar(file.fileDescriptor, path: Array("tar".utf8))
        return problems
    }

    private func shown(_ shown: Shown, _ mode: UInt16? = nil) -> Shown {
        var shown = shown
        shown.permissions = mode ?? shown.permissions
        shown.modificationTime = Timestamp(seconds: 1_600_000_000)
        return shown
    }

    @Test func everyTypeIsTakenOver() throws {
        var tar = TarBytes()
        tar.add("./", "5", mode: 0o711, owner: 3)
        tar.add("./d/", "5", mode: 0o750)
        tar.add("./d/file", contents: pattern(3000), mode: 0o4755, owner: 1000)
        tar.add("d/link", "1", link: "./d/file")
        tar.add("/absolute", contents: [1])
        tar.add("sym", "2", link: "../../out", mode: 0o777)
        tar.add("c", "3", device: (5, 1))
        tar.add("b", "4", device: (7, 300))
        tar.add("p", "6", mode: 0o600)
        tar.add("made/on/the/way", contents: [2])
        let image = try TestImage()
        #expect(try add(tar.ended, to: image) == [])
        let volume = try image.finish()
        var file = shown(.file(pattern(3000)), 0o4755)
        (file.userID, file.groupID, file.linkCount) = (1000, 1000, 2)
        let character = DeviceNumber(major: 5, minor: 1)
        let block = DeviceNumber(major: 7, minor: 300)
        expectSame(
            try volume.shownTree(),
            [
                "d": shown(.directory(), 0o750), "d/file": file, "d/link": file,
                "absolute": shown(.file([1])), "sym": shown(.symlink(Array("../../out".utf8))),
                "c": shown(Shown(type: .characterDevice, device: character)),
                "b": shown(Shown(type: .blockDevice, device: block)),
                "p": shown(Shown(type: .fifo), 0o600), "made": .directory(1),
                "made/on": .directory(1), "made/on/the": .directory(),
                "made/on/the/way": shown(.file([2])),
            ])
        #expect(try volume.root().mode.permissions == 0o711)
        #expect(try volume.root().userID == 3)
    }

    /// What comes twice is the later one; a link may come before what it leads to.
    @Test func theLaterEntryCounts() throws {
        var tar = TarBytes()
        tar.add("early", "1", link: "d/target")
        tar.add("f", contents: pattern(5000))
        tar.add("was file", contents: [1])
        tar.add("was directory/", "5")
        tar.add("was directory/in", contents: [2])
        tar.add("d/target", contents: pattern(700))
        tar.add("f", contents: [3])
        tar.add("was file/", "5", mode: 0o700)
        tar.add("was file/in", contents: [4])
        tar.add("was directory", "2", link: "d", mode: 0o777)
        tar.add("d", "5", mode: 0o711)
        tar.add("nowhere", "1", link: "missing")
        tar.add("itself", "1", link: "itself")
        let image = try TestImage(.inline)
        #expect(
            try add(tar.ended, to: image) == [
                "nowhere: it is a hard link to missing, which is not in the archive",
                "itself: it is a hard link to itself, which is not in the archive",
            ])
        var target = shown(.file(pattern(700)))
        target.linkCount = 2
        expectSame(
            try image.finish().shownTree(),
            [
                "early": target, "d/target": target, "d": shown(.directory(), 0o711),
                "f": shown(.file([3])), "was file": shown(.directory(), 0o700),
                "was file/in": shown(.file([4])),
                "was directory": shown(.symlink([0x64])),
            ])
    }

    /// Paths that lead out lead nowhere, and neither do links.
    @Test func nothingLeadsOut() throws {
        var tar = TarBytes()
        tar.add("../escape", contents: [1])
        tar.add("a/../../escape", contents: [1])
        tar.add("a/..", "5")
        tar.add("/etc/../../escape", contents: [1])
        tar.add("up", "2", link: "../../../..")
        tar.add("up/file", contents: [2])
        tar.add("root", "2", link: "/")
        tar.add("root/d/file", contents: [3])
        tar.add("loop", "2", link: "loop")
        tar.add("loop/file", contents: [4])
        tar.add("f", contents: [5])
        tar.add("f/below", contents: [6])
        tar.add("hard", "1", link: "../../../etc/passwd")
        tar.add("etc", "1", link: "/etc/passwd")
        tar.add("directory", "1", link: "d")
        tar.add("lost+found", contents: [7])
        tar.add("lost+found", "1", link: "f")
        tar.add("", contents: [8])
        tar.add("up", "2", link: String(repeating: "x/../", count: 15) + "y")
        tar.add("up/z", contents: [9])
        let image = try TestImage()
        let problems = try add(tar.ended, to: image)
        func told(_ path: String) -> Int { problems.count { $0.hasPrefix("\(path): ") } }
        for path in [
            "../escape", "a/../../escape", "a/..", "/etc/../../escape", "loop/file", "f/below",
            "hard", "etc", "directory",
        ] { #expect(told(path) > 0, "\(path)") }
        #expect(told("lost+found") == 2)
        let volume = try image.finish()
        let names = try volume.entries(of: volume.root()).map { "\($0.name)" }
        #expect(
            Set(names) == [
                ".", "..", "lost+found", "up", "file", "root", "d", "loop", "f", "x", "y",
            ], "\(names)")
        #expect(try volume.bytes(at: "/file") == [2])
        #expect(try volume.bytes(at: "/d/file") == [3])
        #expect(try volume.bytes(at: "/f") == [5])
        #expect(try volume.bytes(at: "/y/z") == [9])
        #expect(!FileManager.default.fileExists(atPath: image.scratch.path("../escape")))
    }

    /// What POSIX archives say besides their headers.
    @Test func attributesOfPaxAreTakenOver() throws {
        let long = String(repeating: "directory/", count: 40) + String(repeating: "n", count: 255)
        var tar = TarBytes()
        tar.addAttributes([
            ("path", Array(long.utf8)), ("mtime", Array("1234567890.123456789".utf8)),
            ("atime", Array("-1.5".utf8)), ("uid", Array("3000000000".utf8)),
            ("SCHILY.xattr.user.name", [0, 1, 2, 0xFF, 0x0A]),
        ])
        tar.add("short", contents: pattern(100))
        tar.addAttributes([("path", Array(("d/" + String(repeating: "n", count: 256)).utf8))])
        tar.add("short", contents: [1])
        tar.addAttributes([("linkpath", [UInt8](repeating: 0x6C, count: 4095))])
        tar.add("longest", "2", link: "l")
        tar.addAttributes([("linkpath", [UInt8](repeating: 0x6C, count: 4096))])
        tar.add("too long", "2", link: "l")
        let image = try TestImage()
        let problems = try add(tar.ended, to: image)
        #expect(
            problems == [
                "d/" + String(repeating: "n", count: 256)
                    + ": a name has more than 255 bytes: left out",
                "too long: not put into the image: the name is too long",
            ])
        let volume = try image.finish()
        let inode = try volume.inode(atPath: "/" + long)
        #expect(
            inode.modificationTime == Timestamp(seconds: 1_234_567_890, nanoseconds: 123_456_789))
        #expect(inode.accessTime == Timestamp(seconds: -2, nanoseconds: 500_000_000))
        #expect(inode.userID == 3_000_000_000)
        #expect(try volume.contents(of: inode) == pattern(100))
        #expect(
            try volume.extendedAttributes(of: inode) == [
                ExtendedAttribute(name: "user.name", value: [0, 1, 2, 0xFF, 0x0A])
            ])
        let link = try volume.inode(atPath: "/longest", followingSymlinks: false)
        #expect(try volume.symlinkTarget(of: link).count == 4095)
    }

    /// Archives that end too early, or are none, make no image; those without entries are archives.
    @Test func damagedArchivesAreRefused() throws {
        var tar = TarBytes()
        tar.add("a", contents: pattern(3000))
        tar.add("b", contents: pattern(3000))
        var broken = tar.ended
        broken[3072 + 512 + 20] ^= 0xFF
        var promised = TarBytes()
        promised.add("large", contents: [1, 2, 3], announced: 1 << 30)
        for archive in [
            Array(tar.bytes.prefix(2000)), Array(tar.bytes.dropLast(1000)), broken,
            promised.ended, pattern(5000), [],
        ] {
            let image = try TestImage()
            #expect(throws: ImageImport.Failure.self) { try add(archive, to: image) }
        }
        let image = try TestImage()
        #expect(try add(TarBytes().ended, to: image) == [])
        expectSame(try image.finish().shownTree(), [:])
    }

    /// Holes of GNU tar's sparse formats stay holes; compression makes no difference.
    @Test(arguments: [
        "--format=pax --sparse", "--format=pax --sparse --sparse-version=0.1",
        "--format=gnu --sparse", "--format=pax", "--format=gnu", "--format=v7", "-z", "--zstd",
    ])
    func archivesOfTarAreRead(_ options: String) throws {
        let image = try TestImage()
        try shell(
            """
            mkdir -p $1/t/d; cd $1/t
            truncate -s 3M sparse
            printf x | dd of=sparse bs=1 seek=1000000 conv=notrunc status=none
            seq 5000 > d/seq; ln d/seq hard; ln -s d/seq sym
            tar $2 -C $1/t -cf $1/made .
            """.replacing("$2", with: options), image.scratch.root)
        #expect(try add(image.scratch.read("made"), to: image) == [])
        let volume = try image.finish()
        let seq = Array((1...5000).map { "\($0)\n" }.joined().utf8)
        #expect(try volume.bytes(at: "/hard") == seq)
        #expect(try volume.inode(atPath: "/sym").linkCount == 2)
        var sparse = [UInt8](repeating: 0, count: 3 << 20)
        sparse[1_000_000] = 0x78
        let inode = try volume.inode(atPath: "/sparse")
        let isSame = try volume.contents(of: inode) == sparse
        #expect(isSame)
        if options.contains("sparse") { #expect(inode.blocks512 <= 64, "\(inode.blocks512)") }
    }
}
