import Ext4
import TestShell
import Testing

/// Names: what is added, replaced, linked and removed, and what is refused.
@Suite struct ImageBuilderTests {
    /// A bit of everything, in every kind of volume, read by our reader and by debugfs.
    @Test(arguments: ImageKind.all)
    func everyKindOfVolumeHoldsATree(_ kind: ImageKind) throws {
        let image = try TestImage(kind)
        let builder = image.builder
        var expected: ShownTree = ["a": .directory(2), "a/b": .directory(), "a/many": .directory()]
        let a = try builder.add("a", in: .root, .directory())
        let b = try builder.add("b", in: a, .directory())
        for (index, size) in [0, 1, 59, 100, 1023, 1024, 4097, 70_000, 1 << 20].enumerated() {
            let bytes = pattern(size, seed: index)
            try builder.addFile(FileName("size-\(size)"), in: b, .file(), contents: bytes)
            expected[FileName("a/b/size-\(size)")] = .file(bytes)
        }
        let many = try builder.add("many", in: a, .directory())
        for number in 0..<150 {
            let name = "a name that is not so short: \(number)"
            try builder.add(FileName(name), in: many, .file())
            expected[FileName("a/many/\(name)")] = .file([])
        }
        let target = Array("a/b/size-59".utf8)
        try builder.add("link", in: .root, .symlink(to: target))
        expected["link"] = .symlink(target)
        let first = try #require(try builder.find("size-70000", in: b))
        try builder.addLink("again", in: .root, to: first)
        expected["a/b/size-70000"]?.linkCount = 2
        expected["again"] = expected["a/b/size-70000"]
        let volume = try image.finish()
        expectSame(try volume.shownTree(), expected)
        // The other reader sees the same bytes.
        let hasInlineData = volume.superblock.incompatible.contains(.inlineData)
        try shell("mkdir $1/out", image.scratch.root)
        _ = try image.debugfs("rdump /a \(image.scratch.path("out"))")
        for (path, shown) in expected where shown.type == .regular && path != "again" {
            // Of a file in an inode, debugfs 1.47 shows the 60 bytes of `i_block` at the least.
            let read = try image.scratch.read("out/\(path)")
            let isSame = read.prefix(shown.contents.count) == shown.contents[...]
            #expect(isSame, "debugfs: \(path)")
            #expect(read.count == shown.contents.count || hasInlineData && read.count == 60)
        }
        #expect(try volume.inode(atPath: "/lost+found").number.rawValue == 11)
    }

    @Test(arguments: [ImageKind.ext4, .inline, .bigalloc])
    func whatHasANameIsReplaced(_ kind: ImageKind) throws {
        let image = try TestImage(kind)
        let builder = image.builder
        try builder.addFile("file", in: .root, .file(), contents: pattern(30_000))
        try builder.addFile("file", in: .root, .file(0o600), contents: pattern(9000, seed: 2))
        try builder.addFile("to a link", in: .root, .file(), contents: pattern(5000))
        try builder.add("to a link", in: .root, .symlink(to: [0x78]))
        try builder.add("to a file", in: .root, .symlink(to: pattern(200).map { $0 | 1 }))
        try builder.addFile("to a file", in: .root, .file(), contents: pattern(7000))
        let directory = try builder.add("directory", in: .root, .directory(0o700))
        try builder.addFile("in it", in: directory, .file(), contents: [1])
        // A directory keeps what is in it, and is another one to look at.
        #expect(try builder.add("directory", in: .root, .directory(0o711)) == directory)
        let gone = try builder.add("gone", in: .root, .directory())
        try builder.addFile("in it", in: gone, .file(), contents: pattern(12_000))
        try builder.addFile("gone", in: .root, .file(), contents: [2])
        #expect(!builder.isNamed(gone))
        #expect(throws: Ext4Error.notDirectory) { try builder.add("x", in: gone, .file()) }
        var expected: ShownTree = [
            "file": .file(pattern(9000, seed: 2)), "to a link": .symlink([0x78]),
            "to a file": .file(pattern(7000)), "directory": .directory(),
            "directory/in it": .file([1]), "gone": .file([2]),
        ]
        expected["file"]?.permissions = 0o600
        expected["directory"]?.permissions = 0o711
        let volume = try image.finish()
        expectSame(try volume.shownTree(), expected)
    }

    /// What was removed leaves its blocks to others: the volume is no larger for it.
    @Test func blocksOfWhatWasRemovedAreUsedAgain() throws {
        let once = try TestImage()
        try once.builder.addFile("b", in: .root, .file(), contents: pattern(2 << 20, seed: 2))
        _ = try once.finish()
        let image = try TestImage()
        let builder = image.builder
        try builder.addFile("a", in: .root, .file(), contents: pattern(2 << 20))
        try builder.remove("a", in: .root)
        try builder.addFile("b", in: .root, .file(), contents: pattern(2 << 20, seed: 2))
        let volume = try image.finish()
        expectSame(try volume.shownTree(), ["b": .file(pattern(2 << 20, seed: 2))])
        #expect(image.byteCount == once.byteCount)
    }

    /// What was written and removed at the end lies where tables and the journal come to lie then:
    /// nothing of it may be taken for inodes, or for transactions.
    @Test(arguments: [
        ImageKind(kind: .ext2, blockSize: 1024), .ext4, ImageKind(kind: .ext3), ImageKind(),
    ])
    func nothingOfWhatWasRemovedIsLeft(_ kind: ImageKind) throws {
        var options = try kind.options
        options.inodeRatio = 4096
        let hasJournal = kind.kind != .ext2 && kind.features.isEmpty
        let image = try TestImage(
            options, size: .automatic(free: hasJournal ? 9 << 20 : 1 << 20, limit: TestImage.limit))
        let builder = image.builder
        try builder.addFile("kept", in: .root, .file(), contents: pattern(9000))
        // To an inode table these bytes are files with links.
        let bytes = [UInt8](repeating: 0x81, count: 3 << 20)
        try builder.addFile("removed", in: .root, .file(), contents: bytes)
        try builder.remove("removed", in: .root)
        for number in 0..<40 { try builder.add(FileName("\(number)"), in: .root, .file()) }
        let volume = try image.finish()
        #expect(try volume.bytes(at: "/kept") == pattern(9000))
        let superblock = volume.superblock
        for group in 0..<superblock.groupCount {
            let table = try volume.groupDescriptor(GroupNumber(group)).inodeTable.rawValue
            let count = Int(superblock.inodesPerGroup) * superblock.inodeSize
            let bytes = try image.scratch.read(
                "image", from: table << UInt64(superblock.blockSizeLog2), count: count)
            #expect(!hasStale(bytes), "group \(group)")
        }
        guard hasJournal else { return }
        let journal = try image.debugfs("dump <8> \(image.scratch.path("journal"))")
        #expect(journal == "")
        let log = try image.scratch.read("journal")
        #expect(log.count == 1024 * volume.blockSize)
        #expect(!hasStale(log))
    }

    /// Whether there is a line of sixteen bytes of what was removed.
    private func hasStale(_ bytes: [UInt8]) -> Bool {
        stride(from: 0, to: bytes.count, by: 256).contains { start in
            bytes[start..<start + 16].allSatisfy { $0 == 0x81 }
        }
    }

    @Test func linksLeadToOneFile() throws {
        let image = try TestImage()
        let builder = image.builder
        let directory = try builder.add("directory", in: .root, .directory())
        let file = try builder.addFile("file", in: .root, .file(), contents: pattern(5000))
        try builder.addLink("one", in: directory, to: file)
        try builder.addLink("two", in: directory, to: file)
        // A name that it has already is no link more; one that was another's becomes its own.
        try builder.addLink("two", in: directory, to: file)
        try builder.addFile("other", in: .root, .file(), contents: [1])
        try builder.addLink("other", in: .root, to: file)
        try builder.remove("file", in: .root)
        let pipe = try builder.add(
            "pipe", in: .root, NewImageNode(mode: FileMode(rawValue: 0o010600)))
        try builder.addLink("pipe 2", in: .root, to: pipe)
        #expect(throws: Ext4Error.notPermitted) {
            try builder.addLink("three", in: .root, to: directory)
        }
        try builder.add("three", in: .root, .file())
        let three = try #require(try builder.find("three", in: .root))
        try builder.remove("three", in: .root)
        #expect(throws: Ext4Error.notFound) { try builder.addLink("four", in: .root, to: three) }
        let volume = try image.finish()
        var linked = Shown.file(pattern(5000))
        linked.linkCount = 3
        let twoPipes = Shown(type: .fifo, permissions: 0o600, linkCount: 2)
        expectSame(
            try volume.shownTree(),
            [
                "directory": .directory(), "directory/one": linked, "directory/two": linked,
                "other": linked, "pipe": twoPipes, "pipe 2": twoPipes,
            ])
        let numbers = try ["/directory/one", "/directory/two", "/other"].map {
            try volume.inode(atPath: $0).number
        }
        #expect(Set(numbers).count == 1)
    }

    /// 65,000 names are the most that a file has.
    @Test func namesOfAFileAreCounted() throws {
        let image = try TestImage()
        let file = try image.builder.addFile("0", in: .root, .file(), contents: [1])
        for number in 1..<65_000 {
            try image.builder.addLink(FileName("\(number)"), in: .root, to: file)
        }
        #expect(throws: Ext4Error.tooManyLinks) {
            try image.builder.addLink("more", in: .root, to: file)
        }
        #expect(try image.finish().inode(atPath: "/64999").linkCount == 65_000)
    }

    /// A name takes the place of a directory that the file itself was in.
    @Test func aLinkOverItsOwnDirectoryKeepsTheFile() throws {
        let image = try TestImage()
        let directory = try image.builder.add("x", in: .root, .directory())
        let file = try image.builder.addFile("f", in: directory, .file(), contents: pattern(9000))
        let link = try image.builder.add("l", in: directory, .symlink(to: Array("far".utf8)))
        try image.builder.addLink("x", in: .root, to: file)
        #expect(!image.builder.isNamed(link))
        expectSame(try image.finish().shownTree(), ["x": .file(pattern(9000))])
    }

    @Test func lostAndFoundStays() throws {
        let image = try TestImage(.inline)
        let builder = image.builder
        #expect(throws: Ext4Error.exists) { try builder.add("lost+found", in: .root, .file()) }
        #expect(throws: Ext4Error.notPermitted) { try builder.remove("lost+found", in: .root) }
        let file = try builder.addFile("file", in: .root, .file(), contents: [1])
        #expect(throws: Ext4Error.exists) {
            try builder.addLink("lost+found", in: .root, to: file)
        }
        try builder.add("lost+found", in: .root, .directory(0o711))
        try builder.addFile("found", in: .lostAndFound, .file(), contents: [2])
        try builder.removeContents(of: .root)
        #expect(try builder.entries(of: .root).map(\.node) == [.lostAndFound])
        let volume = try image.finish()
        let directory = try volume.inode(atPath: "/lost+found")
        #expect(directory.number.rawValue == 11)
        #expect(directory.mode.permissions == 0o711)
        // Room for what is found on a full volume.
        #expect(directory.size == 16384)
        #expect(try volume.bytes(at: "/lost+found/found") == [2])
    }

    /// Names that no entry can have are refused, and nothing is lost by that.
    @Test func badNamesAreRefused() throws {
        let image = try TestImage(.small)
        let builder = image.builder
        let file = try builder.addFile("file", in: .root, .file(), contents: [7])
        let long = FileName([UInt8](repeating: 0x6E, count: 256))
        let bad: [FileName] = ["", ".", "..", "a/b", "/", FileName([0x61, 0, 0x62]), long]
        for name in bad {
            let error = name == long ? Ext4Error.nameTooLong : .invalidArgument
            #expect(throws: error) { try builder.add(name, in: .root, .directory()) }
            #expect(throws: error) { try builder.addLink(name, in: .root, to: file) }
            #expect(throws: error) { try builder.openFile(name, in: .root, .file(), size: 9) }
            #expect(throws: Ext4Error.notFound) { try builder.remove(name, in: .root) }
            #expect(try builder.find(name, in: .root) == nil)
        }
        #expect(throws: Ext4Error.notDirectory) { try builder.add("x", in: file, .file()) }
        #expect(throws: Ext4Error.notDirectory) { try builder.entries(of: file) }
        let longest = FileName(pattern(255, seed: 3).map { $0 == 0 || $0 == 0x2F ? 1 : $0 })
        try builder.addFile(longest, in: .root, .file(), contents: [8])
        expectSame(try image.finish().shownTree(), ["file": .file([7]), longest: .file([8])])
    }

    /// What is refused changes nothing: least of all is what has the name gone.
    @Test func whatIsRefusedLeavesWhatWasThere() throws {
        let image = try TestImage(.ext4)
        let builder = image.builder
        let bytes = pattern(5000)
        try builder.addFile("file", in: .root, .file(), contents: bytes)
        func refuse(_ error: Ext4Error, _ new: NewImageNode) {
            #expect(throws: error) { try builder.add("file", in: .root, new) }
        }
        refuse(.invalidArgument, NewImageNode(mode: FileMode(rawValue: 0o644)))
        refuse(.invalidArgument, NewImageNode(mode: FileMode(rawValue: 0o020644)))
        refuse(.invalidArgument, .symlink(to: []))
        refuse(.invalidArgument, .symlink(to: [0x61, 0]))
        refuse(.nameTooLong, .symlink(to: [UInt8](repeating: 0x61, count: 4096)))
        var large = NewImageNode.file()
        large.attributes = [
            ExtendedAttribute(name: "user.x", value: [UInt8](repeating: 1, count: 9000))
        ]
        refuse(.attributeTooLarge, large)
        expectSame(try image.finish().shownTree(), ["file": .file(bytes)])
    }
}
