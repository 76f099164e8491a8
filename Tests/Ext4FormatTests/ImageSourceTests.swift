import Ext4
import Ext4Host
import Foundation
import TestShell
import Testing

/// Directories of the host as sources, and the file that an image is made in.
@Suite struct ImageSourceTests {
    /// Takes a directory over, and tells what could not be.
    private func add(
        _ path: String, _ image: TestImage, _ options: ImageImport.Options = .init()
    ) throws -> (problems: [String], remarks: [String]) {
        var problems: [String] = []
        var remarks: [String] = []
        let tree = ImageImport(image.builder, options) { event in
            switch event {
            case .problem(let path, let words): problems.append("\(FileName(path)): \(words)")
            case .remark(let path, let words): remarks.append("\(FileName(path)): \(words)")
            case .progress: break
            }
        }
        try tree.addTree(at: Array(path.utf8))
        return (problems, remarks)
    }

    @Test(arguments: [ImageKind.ext4, .small, .inline, .bigalloc])
    func aDirectoryIsTakenOver(_ kind: ImageKind) throws {
        let image = try TestImage(kind)
        let source = image.scratch.path("source")
        try shell(
            """
            mkdir -p $1/d/e; cd $1
            printf hello > d/file; : > empty; seq 20000 > seq
            truncate -s 3M sparse; printf x | dd of=sparse bs=1 seek=1000000 conv=notrunc status=none
            truncate -s 2M hole; ln d/file d/e/hard; ln -s d/file sym; mkfifo pipe; ln pipe pipe2
            ln -s dangling/far sym2; ln sym2 sym3
            chmod 4711 d/file; chmod 3777 d/e; chmod 700 .; chmod 0 empty
            touch -h -d '2001-02-03 04:05:06.123456789 UTC' d/file sym d/e
            touch -d '1950-01-01 00:00:00.5 UTC' seq
            """, source)
        #expect(try add(source, image).problems == [])
        let volume = try image.finish()
        let tree = try volume.shownTree()
        let seq = Array((1...20000).map { "\($0)\n" }.joined().utf8)
        var sparse = [UInt8](repeating: 0, count: 3 << 20)
        sparse[1_000_000] = 0x78
        for (path, contents) in [
            ("d/file", Array("hello".utf8)), ("empty", []), ("seq", seq), ("sparse", sparse),
            ("hole", [UInt8](repeating: 0, count: 2 << 20)), ("sym", Array("d/file".utf8)),
            ("sym2", Array("dangling/far".utf8)),
        ] as [(FileName, [UInt8])] {
            let isSame = tree[path]?.contents == contents
            #expect(isSame, "\(path)")
        }
        #expect(
            Set(tree.keys) == [
                "d", "d/e", "d/file", "d/e/hard", "empty", "seq", "sparse", "hole", "sym", "sym2",
                "sym3", "pipe", "pipe2",
            ])
        let time = Timestamp(seconds: 981_173_106, nanoseconds: 123_456_789)
        for path: FileName in ["d/file", "sym", "d/e", "d/e/hard"] {
            #expect(tree[path]?.modificationTime == time, "\(path)")
        }
        #expect(
            tree["seq"]?.modificationTime
                == Timestamp(seconds: -631_152_000, nanoseconds: 500_000_000))
        #expect(tree["d/e"]?.permissions == 0o3777)
        #expect(tree["d/file"]?.permissions == 0o4711)
        #expect(tree["empty"]?.permissions == 0)
        for path: FileName in ["d/file", "pipe", "pipe2", "sym2", "sym3"] {
            #expect(tree[path]?.linkCount == 2, "\(path)")
        }
        #expect(tree["pipe"]?.type == .fifo)
        #expect(try volume.root().mode.permissions == 0o700)
        #expect(try volume.inode(atPath: "/hole").blocks512 == 0)
        let unit = UInt64(volume.superblock.clusterSize / 512)
        // One page of the host's memory has data.
        #expect(try volume.inode(atPath: "/sparse").blocks512 <= max(unit, 8))
    }

    /// Owners and modes as they are wanted, not as they are.
    @Test func ownersAndModesMayBeOthers() throws {
        let image = try TestImage()
        let source = image.scratch.path("source")
        try shell("mkdir -p $1/d; : > $1/d/f; ln -s f $1/d/l; chmod 640 $1/d/f", source)
        var options = ImageImport.Options()
        (options.userID, options.groupID) = (70_000, 0)
        options.permissions = { old, isDirectory in isDirectory ? 0o750 : old | 0o4001 }
        #expect(try add(source, image, options).problems == [])
        let tree = try image.finish().shownTree()
        #expect(tree.values.allSatisfy { $0.userID == 70_000 && $0.groupID == 0 })
        #expect(tree["d"]?.permissions == 0o750)
        #expect(tree["d/f"]?.permissions == 0o4641)
        #expect(tree["d/l"]?.permissions == 0o777)
    }

    /// One tree over another: names of both, the later where both have one.
    @Test func treesComeOneOverTheOther() throws {
        let image = try TestImage()
        try shell(
            """
            mkdir -p $1/one/a $1/one/x $1/two/a; cd $1
            echo 1 > one/a/both; echo 1 > one/a/one; echo 1 > two/x; echo 2 > two/a/both
            echo 1 > one/x/gone; echo 2 > two/a/two
            """, image.scratch.root)
        #expect(try add(image.scratch.path("one"), image).problems == [])
        #expect(try add(image.scratch.path("two"), image).problems == [])
        let tree = try image.finish().shownTree()
        #expect(Set(tree.keys) == ["a", "a/both", "a/one", "a/two", "x"])
        #expect(tree["a/both"]?.contents == Array("2\n".utf8))
        #expect(tree["x"]?.type == .regular)
    }

    /// What ends while it is worked on, or is not there at all.
    @Test func whatCannotBeReadIsTold() throws {
        let image = try TestImage()
        #expect(throws: ImageImport.Failure.self) {
            try add(image.scratch.path("none"), image)
        }
        let source = image.scratch.path("source")
        try shell("mkdir $1; seq 100 > $1/f", source)
        #expect(throws: ImageImport.Failure.self) { try add(source + "/f", image) }
        var options = ImageImport.Options()
        options.isInterrupted = { true }
        try shell("for i in $(seq 70); do : > $1/$i; done", source)
        let failure = #expect(throws: ImageImport.Failure.self) {
            try add(source, image, options)
        }
        #expect(failure?.description == "interrupted")
    }

    /// The image itself, in the directory that it is made of, is left out.
    @Test func theImageItselfIsLeftOut() throws {
        let image = try TestImage()
        try image.scratch.write([1], to: "file")
        let (problems, remarks) = try add(image.scratch.root, image)
        #expect(problems == [])
        #expect(remarks.count == 1)
        #expect(try #require(remarks.first).hasSuffix("it is the image itself: left out"))
        #expect(Set(try image.finish().shownTree().keys) == ["file"])
    }

    /// A new image has its name when it is complete, and until then nothing has.
    @Test func anImageHasItsNameAtTheEnd() throws {
        let scratch = try ScratchDirectory()
        func names() throws -> [String] {
            try FileManager.default.contentsOfDirectory(atPath: scratch.root).sorted()
        }
        do {
            let image = try NewImage(path: scratch.bytes(ofPath: "image"), byteCount: 8 << 20)
            let builder = try ImageBuilder(
                image.device, someOptions(.ext4, "^has_journal"), size: .automatic(free: 0))
            try builder.addFile("f", in: .root, .file(), contents: pattern(5000))
            #expect(try names() == [])
            let size = try builder.finish()
            #expect(try names() == [])
            try image.commit(byteCount: size)
            #expect(try names() == ["image"])
            #expect(try scratch.read("image").count == Int(size))
        }
        #expect(try Volume.open(path: scratch.path("image")).bytes(at: "/f") == pattern(5000))
        // What is there is not replaced, but where that is wanted.
        let before = try scratch.read("image")
        do {
            let image = try NewImage(path: scratch.bytes(ofPath: "image"), byteCount: 4096)
            #expect(throws: SystemFailure.self) { try image.commit() }
        }
        #expect(try names() == ["image"])
        let isSame = try scratch.read("image") == before
        #expect(isSame)
        do {
            let image = try NewImage(path: scratch.bytes(ofPath: "image"), byteCount: 4096)
            try image.commit(replaces: true)
        }
        #expect(try names() == ["image"])
        #expect(try scratch.read("image") == [UInt8](repeating: 0, count: 4096))
        do { _ = try NewImage(path: scratch.bytes(ofPath: "gone"), byteCount: 4096) }
        #expect(try names() == ["image"])
        for path in ["none/image", "", "image/"] {
            #expect(throws: SystemFailure.self, "\(path)") {
                try NewImage(path: path.isEmpty ? [] : scratch.bytes(ofPath: path), byteCount: 1)
            }
        }
    }
}
