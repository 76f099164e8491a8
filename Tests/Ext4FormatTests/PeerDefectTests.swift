import Ext4
import Ext4Host
import Foundation
import TestShell
import Testing

/// What another maker of images in Swift gets wrong, each as a test of its own.
@Suite struct PeerDefectTests {
    /// Takes a source over, and tells what could not be.
    private func take(
        _ image: TestImage, _ source: (ImageImport) throws -> Void
    ) throws -> [String] {
        var problems: [String] = []
        let tree = ImageImport(image.builder, ImageImport.Options()) { event in
            if case .problem(let path, let words) = event {
                problems.append("\(FileName(path)): \(words)")
            }
        }
        try source(tree)
        return problems
    }

    private func takeTar(_ archive: [UInt8], _ image: TestImage) throws -> [String] {
        try image.scratch.write(archive, to: "tar")
        let file = try FileHandle(
            forReadingFrom: URL(fileURLWithPath: image.scratch.path("tar")))
        defer { try? file.close() }
        return try take(image) { try $0.addTar(file.fileDescriptor, path: Array("tar".utf8)) }
    }

    /// Blocks smaller than a page, where group 0 begins with block 1, or several to a page.
    @Test(arguments: [1024, 2048])
    func blocksMayBeSmall(_ blockSize: Int) throws {
        let image = try TestImage(ImageKind(features: "^has_journal", blockSize: blockSize))
        let bytes = pattern(12 << 20)
        try image.builder.addFile("large", in: .root, .file(), contents: bytes)
        try image.builder.addFile("small", in: .root, .file(), contents: [1])
        let volume = try image.finish()
        #expect(volume.blockSize == blockSize)
        let isSame = try volume.bytes(at: "/large") == bytes
        #expect(isSame)
        #expect(try volume.bytes(at: "/small") == [1])
    }

    /// A reader finds the root of an image with blocks of 1 KiB, whoever reads.
    @Test func anImageOfSmallBlocksListsItsEntries() throws {
        let image = try TestImage(.small)
        let directory = try image.builder.add("directory", in: .root, .directory())
        for name: FileName in ["a", "b"] {
            try image.builder.addFile(name, in: directory, .file(), contents: Array(name.bytes))
        }
        let volume = try image.finish()
        let names = try volume.entries(of: volume.inode(atPath: "/directory")).map { "\($0.name)" }
        #expect(names.sorted() == [".", "..", "a", "b"])
        let said = try image.debugfs("ls -p /directory").split(separator: "\n")
        #expect(said.map { $0.split(separator: "/")[4] } == [".", "..", "a", "b"])
        #expect(try image.debugfs("cat /directory/b") == "b")
    }

    /// A journal of the volume's own, whole and empty, beside contents.
    @Test(arguments: [
        ImageKind(megabytes: 12), ImageKind(kind: .ext3, blockSize: 1024, megabytes: 12),
    ])
    func anImageMayHaveAJournal(_ kind: ImageKind) throws {
        let image = try TestImage(kind)
        try image.builder.addFile("f", in: .root, .file(), contents: pattern(2 << 20))
        let volume = try image.finish()
        let isSame = try volume.bytes(at: "/f") == pattern(2 << 20)
        #expect(isSame)
        let said = try shell("dumpe2fs $1 2>/dev/null", image.path)
        #expect(said.contains("has_journal"))
        #expect(!said.contains("needs_recovery"))
        #expect(said.contains("Journal inode:            8"))
        #expect(said.contains("Total journal blocks:     1024"))
    }

    private static let nfc: FileName = "caf\u{E9}"
    private static let nfd: FileName = "cafe\u{301}"
    private static let noText = FileName(Array("bad".utf8) + [0xFF, 0xFE, 0x80])
    private static let names = [nfc, nfd, noText]

    /// Names are bytes: two forms of one text are two names, and some are no text at all.
    @Test(arguments: [true, false])
    func namesAreBytes(_ isArchive: Bool) throws {
        let image = try TestImage()
        try #require(Self.nfc != Self.nfd)
        // Where text is UTF-8, libarchive has ideas about it.
        let locale = unsafe newlocale(1 << LC_CTYPE, "C.UTF-8", nil)
        let before = unsafe uselocale(locale)
        defer {
            unsafe uselocale(before)
            unsafe freelocale(locale)
        }
        var expected: [FileName: [UInt8]] = [:]
        if isArchive {
            var tar = TarBytes()
            for (index, name) in Self.names.enumerated() {
                expected[name] = [UInt8(index)]
                tar.add(name.bytes, "0", contents: [UInt8(index)])
                // By PAX, as tars write what is more than ASCII.
                let long = Array("long-".utf8) + name.bytes
                expected[FileName(long)] = [UInt8(index), 7]
                tar.addAttributes([("path", long)])
                tar.add("short", contents: [UInt8(index), 7])
                let link = FileName(Array("link-".utf8) + name.bytes)
                expected[link] = name.bytes
                tar.add(link.bytes, "2", contents: [], link: name.bytes)
            }
            #expect(try takeTar(tar.ended, image) == [])
        } else {
            try shell(
                """
                mkdir $1/t; cd $1/t
                for name in "$(printf 'caf\\303\\251')" "$(printf 'cafe\\314\\201')" \
                    "$(printf 'bad\\377\\376\\200')"; do
                    printf "$name" > "$name"; ln -s "$name" "link-$name"
                done
                """, image.scratch.root)
            for name in Self.names {
                expected[name] = name.bytes
                expected[FileName(Array("link-".utf8) + name.bytes)] = name.bytes
            }
            #expect(try take(image) { try $0.addTree(at: image.scratch.bytes(ofPath: "t")) } == [])
        }
        let tree = try image.finish().shownTree()
        #expect(tree.mapValues(\.contents) == expected)
    }

    /// Devices and pipes are nothing to leave out.
    @Test(arguments: [true, false])
    func devicesAndPipesAreKept(_ isArchive: Bool) throws {
        let image = try TestImage()
        var isRoot = true
        if isArchive {
            var tar = TarBytes()
            tar.add("null", "3", mode: 0o666, device: (1, 3))
            tar.add("disk", "4", mode: 0o660, device: (8, 300))
            tar.add("pipe", "6", mode: 0o600)
            #expect(try takeTar(tar.ended, image) == [])
        } else {
            let said = try shell(
                """
                mkdir $1/t; cd $1/t; mkfifo -m 600 pipe
                if mknod -m 666 null c 1 3 2>/dev/null; then mknod -m 660 disk b 8 300; else echo no; fi
                """, image.scratch.root)
            isRoot = said.isEmpty
            #expect(try take(image) { try $0.addTree(at: image.scratch.bytes(ofPath: "t")) } == [])
        }
        let tree = try image.finish().shownTree()
        #expect(tree["pipe"]?.type == .fifo)
        #expect(tree["pipe"]?.permissions == 0o600)
        guard isRoot else { return }
        #expect(tree["null"]?.type == .characterDevice)
        #expect(tree["null"]?.device == DeviceNumber(major: 1, minor: 3))
        #expect(tree["null"]?.permissions == 0o666)
        #expect(tree["disk"]?.type == .blockDevice)
        #expect(tree["disk"]?.device == DeviceNumber(major: 8, minor: 300))
    }

    /// More directories in one than its links can count: 64,998 are the fewest, with the two that
    /// each has. `scripts/compare-images` makes 65,010 and mounts them.
    @Test func directoriesMayBeMoreThanCanBeCounted() throws {
        // In their inodes, so that they take the least.
        let image = try TestImage(.inline)
        for number in 0..<64_998 {
            try image.builder.add(FileName("\(number)"), in: .root, .directory())
        }
        let size = try image.builder.finish()
        try image.device.setByteCount(size)
        try shell("e2fsck -fn $1", image.path)
        let volume = try Volume.open(image.device)
        #expect(try volume.root().linkCount == 1)
        #expect(try volume.inode(atPath: "/64997").linkCount == 2)
        #expect(volume.superblock.inodesCount - volume.superblock.freeInodesCount == 64_998 + 11)
    }

    /// Where the feature is missing that allows that, it is an error and no broken image.
    @Test func tooManyDirectoriesAreRefusedWithoutTheFeature() throws {
        let image = try TestImage(ImageKind(kind: .ext3, blockSize: 4096))
        for number in 0..<64_998 {
            try image.builder.add(FileName("\(number)"), in: .root, .directory())
        }
        #expect(throws: Ext4Error.tooManyLinks) { try image.builder.finish() }
    }

    /// An attribute that fits neither inode nor block: kept in an inode of its own, or named and
    /// left out, with everything else taken over.
    @Test(arguments: [true, false])
    func anAttributeMayBeLarge(_ hasRoom: Bool) throws {
        let image = try TestImage(
            ImageKind(features: "^has_journal" + (hasRoom ? ",ea_inode" : "")))
        let value = [UInt8](repeating: 0x76, count: 5000)
        var tar = TarBytes()
        tar.addAttributes([
            ("SCHILY.xattr.user.large", value), ("SCHILY.xattr.user.small", [1, 2]),
        ])
        tar.add("file", contents: pattern(3000))
        tar.add("after", contents: [1])
        let problems = try takeTar(tar.ended, image)
        let tree = try image.finish().shownTree()
        #expect(tree["file"]?.contents == pattern(3000))
        #expect(tree["after"]?.contents == [1])
        if hasRoom {
            #expect(problems == [])
            #expect(tree["file"]?.attributes == ["user.large": value, "user.small": [1, 2]])
        } else {
            #expect(problems.count == 1)
            for word in ["file", "user.large", "5000", "ea_inode"] {
                #expect(try #require(problems.first).contains(word))
            }
            #expect(tree["file"]?.attributes == ["user.small": [1, 2]])
        }
    }

    /// What stands in inodes, and what stands nowhere, reads as what it is.
    @Test func sparseAndInlineFilesAreReadRight() throws {
        let image = try TestImage(.inline)
        var expected: ShownTree = [:]
        for count in [1, 59, 60, 61, 100, 128, 150, 160] {
            let bytes = pattern(count, seed: count)
            try image.builder.addFile(FileName("\(count)"), in: .root, .file(), contents: bytes)
            expected[FileName("\(count)")] = .file(bytes)
        }
        var sparse = [UInt8](repeating: 0, count: 3_000_000)
        sparse.replaceSubrange(1_000_001..<1_000_101, with: pattern(100))
        _ = try image.builder.openFile(
            "sparse", in: .root, .file(), size: UInt64(sparse.count), hasHoles: true)
        try image.builder.skip(to: 1_000_001)
        try image.builder.write(unsafe pattern(100).span.bytes)
        try image.builder.closeFile()
        expected["sparse"] = .file(sparse)
        let volume = try image.finish()
        expectSame(try volume.shownTree(), expected)
        #expect(try volume.inode(atPath: "/100").usesInlineData)
        #expect(try !volume.inode(atPath: "/160").usesInlineData)
        #expect(try volume.inode(atPath: "/sparse").blocks512 == 8)
        for path in ["/100", "/160"] {
            _ = try image.debugfs("dump \(path) \(image.scratch.path("out"))")
            let isSame = try image.scratch.read("out") == volume.bytes(at: path)
            #expect(isSame, "\(path)")
        }
    }
}
