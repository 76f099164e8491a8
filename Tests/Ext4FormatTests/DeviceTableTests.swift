import Ext4
import Ext4Host
import Testing

/// Tables of owners, permissions and devices, as genext2fs and makedevs have them.
@Suite struct DeviceTableTests {
    /// Applies a table to an image with `bin/tool`, `bin/sub/deep` and the link `sbin` to `bin`.
    private func apply(
        _ text: String, _ image: TestImage
    ) throws -> (problems: [String], volume: Volume) {
        let bin = try image.builder.add("bin", in: .root, .directory())
        try image.builder.addFile("tool", in: bin, .file(0o755), contents: [1])
        let sub = try image.builder.add("sub", in: bin, .directory())
        try image.builder.addFile("deep", in: sub, .file(0o600), contents: [2])
        try image.builder.add("sbin", in: .root, .symlink(to: Array("bin".utf8)))
        var problems: [String] = []
        let tree = ImageImport(image.builder, ImageImport.Options()) { event in
            if case .problem(let path, let words) = event {
                problems.append("\(FileName(path)): \(words)")
            }
        }
        try tree.apply(DeviceTable(parsing: Array(text.utf8)))
        #expect(tree.problems == UInt64(problems.count))
        return (problems, try image.finish())
    }

    private func said(_ volume: Volume, _ path: String) throws -> String {
        let inode = try volume.inode(atPath: path, followingSymlinks: false)
        let device = inode.device.map { " \($0.major):\($0.minor)" } ?? ""
        return "\(inode.type) \(String(inode.mode.permissions, radix: 8)) "
            + "\(inode.userID):\(inode.groupID)\(device)"
    }

    @Test func everyTypeOfLine() throws {
        let (problems, volume) = try apply(
            """
            # name         type mode uid gid major minor start inc count
            /dev           d    755  0   0   -     -     -     -   -
            /dev/console   c    622  1   2   5     1     -     -   -
            /dev/loop      b    640  0   6   7     0     0     1   3
            /dev/hda       b    640  0   0   3     1     1     2   2   # each second minor
            /dev/made/way  p    600  3   4
            /dev/log       s    666  5   6
            /bin           r    4750 8   9
            /bin/tool\tf\t4711 10 11
            sbin/link      d    700  12  13
            /              d    751  14  15
            """, TestImage())
        #expect(problems == [])
        let wanted = [
            ("/dev", "directory 755 0:0"), ("/dev/console", "characterDevice 622 1:2 5:1"),
            ("/dev/loop0", "blockDevice 640 0:6 7:0"), ("/dev/loop1", "blockDevice 640 0:6 7:1"),
            ("/dev/loop2", "blockDevice 640 0:6 7:2"), ("/dev/hda1", "blockDevice 640 0:0 3:1"),
            ("/dev/hda2", "blockDevice 640 0:0 3:3"), ("/dev/made", "directory 755 0:0"),
            ("/dev/made/way", "fifo 600 3:4"), ("/dev/log", "socket 666 5:6"),
            ("/bin", "directory 4750 8:9"), ("/bin/tool", "regular 4711 10:11"),
            ("/bin/sub", "directory 755 8:9"), ("/bin/sub/deep", "regular 600 8:9"),
            ("/bin/link", "directory 700 12:13"), ("/", "directory 751 14:15"),
        ]
        for (path, line) in wanted { #expect(try said(volume, path) == line, "\(path)") }
        let names = try volume.entries(of: volume.inode(atPath: "/dev")).map { "\($0.name)" }
        #expect(
            names.sorted() == [
                ".", "..", "console", "hda1", "hda2", "log", "loop0", "loop1", "loop2", "made",
            ])
        #expect(try volume.bytes(at: "/bin/sub/deep") == [2])
    }

    /// What cannot be done is told, by its path, and the rest is done.
    @Test func whatIsNotThereIsTold() throws {
        let (problems, volume) = try apply(
            """
            /bin/none f 644 0 0
            /none/tool f 644 0 0
            /none r 644 0 0
            ../out d 755 0 0
            /bin/tool/below d 755 0 0
            / f 644 0 0
            /lost+found c 644 0 0 1 1
            /good d 711 0 0
            """, TestImage())
        let words = [
            "/bin/none: there is no such file", "/none/tool: there is no such file",
            "/none: there is no such file", "../out: the path leads up by \"..\": left out",
            "/bin/tool/below: a part of the path is no directory: left out",
            "/: the root is a directory",
            "/lost+found: not put into the image: the file exists",
        ]
        #expect(problems == words)
        #expect(try said(volume, "/good") == "directory 711 0:0")
        #expect(try said(volume, "/lost+found") == "directory 700 0:0")
        #expect(throws: Ext4Error.notFound) { try volume.inode(atPath: "/none") }
    }

    @Test(arguments: [
        ("/dev d 755 0", "line 1: it has 4 fields"),
        ("\n\n/dev d 755 0 0 0 0 0 0 0 0", "line 3: it has 11 fields"),
        ("/dev x 755 0 0", "line 1: x is no type"), ("/dev dd 755 0 0", "is no type"),
        ("/dev d 758 0 0", "758 is no number"), ("/dev d 10000 0 0", "10000 is no mode"),
        ("/dev d 755 root 0", "root is no number"), ("/dev d 755 -1 0", "is no number"),
        ("/dev d 755 0 4294967296", "is no number"),
        ("/dev c 755 0 0 1 1 0 1 65537", "more than 65536 devices"),
        ("# fine\n/ok d 755 0 0\nwrong", "line 3: it has 1 fields"),
    ])
    func wrongLinesAreRefused(_ text: String, _ words: String) throws {
        let problem = #expect(throws: DeviceTable.Problem.self) {
            try DeviceTable(parsing: Array(text.utf8))
        }
        #expect("\(try #require(problem))".contains(words), "\(String(describing: problem))")
    }

    /// Numbers at their limits end in no trap.
    @Test func numbersMayBeLarge() throws {
        let (problems, volume) = try apply(
            """
            /a c 7777 4294967295 4294967294 4095 1048575 4294967295 4294967295 2
            \r
            /b c - - - - -\r
            """, TestImage())
        #expect(problems == [])
        #expect(
            try said(volume, "/a4294967295")
                == "characterDevice 7777 4294967295:4294967294 4095:1048575")
        #expect(try volume.inode(atPath: "/a4294967296").type == .characterDevice)
        #expect(try said(volume, "/b") == "characterDevice 0 0:0 0:0")
    }
}
