import Ext4
import Ext4Host
import TestShell
import Testing

/// The same input makes the same bytes, whatever the machine does.
@Suite struct ReproducibleImageTests {
    /// Something of everything, by the builder's calls.
    private func fill(_ builder: ImageBuilder, seed: Int = 1) throws {
        let directory = try builder.add("d", in: .root, .directory())
        for number in 0..<100 {
            try builder.addFile(
                FileName("file \(number)"), in: directory, .file(),
                contents: pattern(number * 37, seed: seed))
        }
        var new = NewImageNode.file()
        for (name, count): (FileName, Int) in [("user.a", 30), ("user.b", 300), ("user.c", 2)] {
            new.attributes.append(ExtendedAttribute(name: name, value: pattern(count)))
        }
        try builder.add("attributes", in: .root, new)
        try builder.add("long", in: .root, .symlink(to: [UInt8](repeating: 0x74, count: 200)))
        try builder.remove("file 50", in: directory)
        _ = try builder.openFile("holes", in: .root, .file(), size: 100_000, hasHoles: true)
        try builder.skip(to: 50_000)
        try builder.write(unsafe pattern(100).span.bytes)
        try builder.closeFile()
    }

    private func bytes(_ kind: ImageKind, seed: Int = 1) throws -> [UInt8] {
        let image = try TestImage(kind)
        try fill(image.builder, seed: seed)
        _ = try image.finish()
        return try image.scratch.read("image")
    }

    @Test(arguments: ImageKind.all)
    func sameCallsMakeTheSameBytes(_ kind: ImageKind) throws {
        let one = try bytes(kind)
        let isSame = try one == bytes(kind)
        #expect(isSame)
        let isSameWithOthers = try one == bytes(kind, seed: 2)
        #expect(!isSameWithOthers)
    }

    /// Another device, with its requests in other pieces, makes no difference.
    @Test func theDeviceMakesNoDifference() throws {
        let kind = ImageKind.bigalloc
        let device = MemoryDevice([UInt8](repeating: 0, count: 8 << 20))
        let builder = try ImageBuilder(device, kind.options, size: .fixed(8 << 20))
        try fill(builder)
        #expect(try builder.finish() == 8 << 20)
        let isSame = try device.bytes == bytes(kind)
        #expect(isSame)
    }

    /// Two trees with the same names, made in another order at another time.
    @Test func theOrderOfReaddirMakesNoDifference() throws {
        let scratch = try ScratchDirectory()
        try shell(
            """
            mkdir $1/one $1/two
            fill() {
                mkdir -p $1/d/e
                for i in $2; do echo $i > $1/d/file-$i; ln -s $i $1/d/link-$i; mkdir $1/dir-$i; done
                ln $1/d/file-7 $1/d/e/hard
                find $1 -exec touch -h -d '2010-10-10 10:10:10.101' {} +
            }
            fill $1/one "$(seq 1 60)"
            sleep 0.02
            fill $1/two "$(seq 60 -1 1)"
            """, scratch.root)
        func image(_ name: String, _ latest: Timestamp?) throws -> [UInt8] {
            let image = try TestImage(.small)
            image.builder.latestTime = latest
            let tree = ImageImport(image.builder, ImageImport.Options()) { event in
                if case .problem(_, let words) = event { Issue.record("\(words)") }
            }
            try tree.addTree(at: scratch.bytes(ofPath: name))
            _ = try image.finish()
            return try image.scratch.read("image")
        }
        let listing = "ls -U $1 | sha256sum"
        #expect(
            try shell(listing, scratch.path("one/d")) != shell(listing, scratch.path("two/d")),
            "the two are listed in the same order: this tells nothing")
        let latest = Timestamp(seconds: 1_700_000_000)
        let isSame = try image("one", latest) == image("two", latest)
        #expect(isSame)
        // Without it, times of change tell them apart.
        let isSameWithTimes = try image("one", nil) == image("two", nil)
        #expect(!isSameWithTimes)
    }

    /// As SOURCE_DATE_EPOCH has it: no time is later, and none tells when it was copied.
    @Test func noTimeIsLaterThanTheLatest() throws {
        let image = try TestImage()
        let latest = Timestamp(seconds: 1_500_000_000)
        image.builder.latestTime = latest
        var old = NewImageNode.file()
        old.modificationTime = Timestamp(seconds: 1_000_000_000, nanoseconds: 5)
        old.accessTime = Timestamp(seconds: 1_600_000_000)
        old.changeTime = Timestamp(seconds: 1_600_000_000)
        try image.builder.add("old", in: .root, old)
        var new = old
        new.modificationTime = Timestamp(seconds: 1_600_000_000)
        try image.builder.add("new", in: .root, new)
        let volume = try image.finish()
        let oldInode = try volume.inode(atPath: "/old")
        #expect(oldInode.modificationTime == old.modificationTime)
        #expect(oldInode.accessTime == old.modificationTime)
        #expect(oldInode.changeTime == latest)
        #expect(oldInode.creationTime == latest)
        let newInode = try volume.inode(atPath: "/new")
        for time in [newInode.modificationTime, newInode.accessTime, newInode.changeTime] {
            #expect(time == latest)
        }
        #expect(newInode.creationTime == latest)
    }
}
