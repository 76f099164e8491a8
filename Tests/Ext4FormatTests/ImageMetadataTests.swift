import Ext4
import Testing

/// What inodes say: types, owners, modes, times, targets of links, devices.
@Suite struct ImageMetadataTests {
    /// Targets around the 59 bytes that stand in the inode, up to the longest.
    @Test(arguments: [ImageKind.ext4, .small, .inline, .bigalloc, ImageKind(kind: .ext2)])
    func targetsOfAnyLength(_ kind: ImageKind) throws {
        let image = try TestImage(kind)
        let most = kind.blockSize == 1024 ? 1023 : 4095
        var expected: ShownTree = [:]
        for length in [1, 58, 59, 60, 61, 255, 1000, most] {
            let target = pattern(length, seed: length).map { $0 == 0 ? 1 : $0 }
            let node = try image.builder.add(
                FileName("\(length)"), in: .root, .symlink(to: target))
            #expect(try image.builder.target(of: node) == target)
            expected[FileName("\(length)")] = .symlink(target)
        }
        #expect(throws: Ext4Error.nameTooLong) {
            try image.builder.add(
                "long", in: .root, .symlink(to: [UInt8](repeating: 0x61, count: most + 1)))
        }
        let volume = try image.finish()
        expectSame(try volume.shownTree(), expected)
        #expect(try volume.inode(atPath: "/59", followingSymlinks: false).blocks512 == 0)
        let unit = UInt64(volume.superblock.clusterSize / 512)
        #expect(try volume.inode(atPath: "/60", followingSymlinks: false).blocks512 == unit)
    }

    @Test(arguments: [ImageKind.ext4, .inline, ImageKind(kind: .ext2), ImageKind(kind: .ext3)])
    func everyTypeIsKept(_ kind: ImageKind) throws {
        let image = try TestImage(kind)
        let numbers: [(UInt32, UInt32)] = [
            (5, 1), (255, 255), (256, 0), (259, 70_000), (4095, 1_048_575),
        ]
        var expected: ShownTree = [:]
        for (major, minor) in numbers {
            for (name, type, mode) in [
                ("c", FileType.characterDevice, 0o020660), ("b", .blockDevice, 0o060640),
            ] as [(String, FileType, UInt16)] {
                let device = DeviceNumber(major: major, minor: minor)
                let path = FileName("\(name)-\(major)-\(minor)")
                try image.builder.add(
                    path, in: .root, NewImageNode(mode: FileMode(rawValue: mode), device: device))
                expected[path] = Shown(type: type, permissions: mode & 0o7777, device: device)
            }
        }
        for (name, type, mode) in [
            ("pipe", FileType.fifo, 0o010600), ("socket", .socket, 0o140777),
            ("set", .regular, 0o107777), ("none", .regular, 0o100000),
        ] as [(FileName, FileType, UInt16)] {
            try image.builder.add(name, in: .root, NewImageNode(mode: FileMode(rawValue: mode)))
            expected[name] = Shown(type: type, permissions: mode & 0o7777)
        }
        try image.builder.add("sticky", in: .root, .directory(0o3777))
        expected["sticky"] = .directory()
        expected["sticky"]?.permissions = 0o3777
        expectSame(try image.finish().shownTree(), expected)
        let said = try image.debugfs("stat /b-259-70000")
        #expect(said.contains("Type: block special"))
        #expect(said.contains("(New-style) Device major/minor number: 259:70000"))
    }

    @Test(arguments: [ImageKind.ext4, ImageKind(kind: .ext2)])
    func ownersOfAnyNumberAreKept(_ kind: ImageKind) throws {
        let image = try TestImage(kind)
        for id: UInt32 in [0, 1, 65535, 65536, 4_294_967_294] {
            var new = NewImageNode.file()
            (new.userID, new.groupID) = (id, 4_294_967_294 - id)
            try image.builder.add(FileName("\(id)"), in: .root, new)
        }
        let node = try image.builder.add("changed", in: .root, .file(0o600))
        try image.builder.change(node, userID: 100_000, groupID: 7)
        let link = try image.builder.add("link", in: .root, .symlink(to: [0x78]))
        try image.builder.change(link, userID: 8, groupID: 9, permissions: 0)
        try image.builder.change(.root, userID: 3, groupID: 4, permissions: 0o1700)
        let volume = try image.finish()
        for id: UInt32 in [0, 1, 65535, 65536, 4_294_967_294] {
            let inode = try volume.inode(atPath: "/\(id)")
            #expect(inode.userID == id)
            #expect(inode.groupID == 4_294_967_294 - id)
        }
        let changed = try volume.inode(atPath: "/changed")
        #expect([changed.userID, changed.groupID] == [100_000, 7])
        #expect(changed.mode.rawValue == 0o100600)
        #expect(
            try volume.inode(atPath: "/link", followingSymlinks: false).mode.rawValue == 0o120777)
        let root = try volume.root()
        #expect([root.userID, root.groupID] == [3, 4])
        #expect(root.mode.rawValue == 0o041700)
    }

    /// Each of four times, to the nanosecond, from 1901 to 2446; clamped where inodes are small.
    @Test(arguments: [256, 128])
    func timesAreKept(_ inodeSize: Int) throws {
        var options = try someOptions(.ext4, "^has_journal")
        options.inodeSize = inodeSize
        let image = try TestImage(options, size: .automatic(free: 0, limit: TestImage.limit))
        let times = [
            Timestamp(seconds: 981_173_106, nanoseconds: 123_456_789),
            Timestamp(seconds: -631_152_000, nanoseconds: 500_000_000),
            Timestamp(seconds: -2_147_483_648), Timestamp(seconds: 10_413_792_000, nanoseconds: 1),
            Timestamp(seconds: 15_032_385_535, nanoseconds: 999_999_999),
        ]
        for (index, time) in times.enumerated() {
            var new = NewImageNode.file()
            new.modificationTime = time
            new.accessTime = times[(index + 1) % times.count]
            new.changeTime = times[(index + 2) % times.count]
            try image.builder.add(FileName("\(index)"), in: .root, new)
        }
        var half = NewImageNode.directory()
        half.modificationTime = times[0]
        try image.builder.add("half", in: .root, half)
        try image.builder.add("made", in: .root, .file())
        let volume = try image.finish()
        func kept(_ time: Timestamp) -> Timestamp {
            inodeSize == 256 ? time : Timestamp(seconds: min(time.seconds, 2_147_483_647))
        }
        for (index, time) in times.enumerated() {
            let inode = try volume.inode(atPath: "/\(index)")
            #expect(inode.modificationTime == kept(time))
            #expect(inode.accessTime == kept(times[(index + 1) % times.count]))
            #expect(inode.changeTime == kept(times[(index + 2) % times.count]))
        }
        let now = Timestamp(seconds: 1_700_000_000)
        let inode = try volume.inode(atPath: "/half")
        #expect(inode.accessTime == kept(times[0]))
        #expect(inode.changeTime == now)
        #expect(inode.creationTime == (inodeSize == 256 ? now : nil))
        #expect(try volume.inode(atPath: "/made").modificationTime == now)
        // 2001-02-03 04:05:06.123456789 UTC, by another's reckoning.
        let said = try image.debugfs("stat /0")
        #expect(said.contains("mtime: 0x3a7b8372"))
        #expect(said.contains("0x3a7b8372:1d6f3454") == (inodeSize == 256))
    }

    /// Everything is replaced but what the inode holds.
    @Test func aNodeIsSetAnew() throws {
        let image = try TestImage()
        let file = try image.builder.addFile("f", in: .root, .file(), contents: pattern(5000))
        var new = NewImageNode.file(0o4711)
        new.userID = 5
        new.modificationTime = Timestamp(seconds: 99)
        try image.builder.set(file, to: new)
        #expect(throws: Ext4Error.invalidArgument) {
            try image.builder.set(file, to: .directory())
        }
        let other = try TestImage()
        let far = try other.builder.add("a", in: .root, .file())
        try other.builder.addFile("b", in: .root, .file(), contents: [])
        let unknown = try other.builder.add("c", in: .root, .file())
        #expect(throws: Ext4Error.notFound) { try image.builder.set(unknown, to: .file()) }
        #expect(throws: Ext4Error.notFound) {
            try image.builder.change(unknown, userID: 0, groupID: 0)
        }
        #expect(image.builder.type(of: far) == .regular)
        #expect(image.builder.type(of: unknown) == .unknown)
        var expected = Shown.file(pattern(5000))
        (expected.permissions, expected.userID) = (0o4711, 5)
        expected.modificationTime = Timestamp(seconds: 99)
        expectSame(try image.finish().shownTree(), ["f": expected])
    }
}
