import Ext4Host
import Ext4Verify
import Testing

@testable import Ext4

/// Contents that go through the journal (`data=journal`).
@Suite struct JournalledContentsTests {
    /// A volume whose free space is in single blocks: each block of a write is an extent, and nodes
    /// of the tree are split while the write is under way.
    @Test(arguments: [false, true])
    func oneWriteSplitsTheTree(isJournalled: Bool) throws {
        let device = try TestImage.make("-t ext4 -b 1024 -O ^flex_bg -N 64", megabytes: 16)
        var options = Workload.options(Workload.Clock())
        options.dataMode = isJournalled ? .journal : .ordered
        let volume = try Volume.open(device, options: options)
        let root = try volume.root()
        let new = NewInode(mode: FileMode(rawValue: 0o100644))
        let ballast = try volume.create("ballast", in: root, new)
        var end: UInt64 = 0
        let piece = [UInt8](repeating: 0x42, count: 64 << 10)
        while (try? volume.write(piece, to: ballast, at: end)) != nil { end += 64 << 10 }
        for block in stride(from: 0, to: end >> 10, by: 2) {
            try volume.change(.punchHole, of: ballast, at: block << 10, count: 1024)
        }
        try volume.sync()

        let file = try volume.create("file", in: root, new)
        var expected: [UInt8] = []
        var random = Randomness(7)
        for _ in 0..<12 {
            let bytes = random.bytes(180 << 10)
            try volume.write(bytes, to: file, at: UInt64(expected.count))
            expected += bytes
        }
        // And into the holes of a tree that is there.
        for block in stride(from: 0, to: 1800, by: 3) {
            try volume.change(.punchHole, of: file, at: UInt64(block) << 10, count: 1024)
        }
        let bytes = random.bytes(1800 << 10)
        try volume.write(bytes, to: file, at: 0)
        expected.replaceSubrange(0..<bytes.count, with: bytes)
        #expect(equal(try volume.contents(of: file), expected))
        try volume.close()
        #expect(try TestImage.complaints(about: device) == nil)
    }

    /// Every block that is freed is revoked, and the whole log has no room for those of one file.
    @Test func aFileGoesThatIsLargerThanTheLogCanRevoke() throws {
        let scratch = try Scratch()
        let path = scratch.path("image")
        try shell(
            """
            truncate -s 480M $1
            mke2fs -q -F -t ext4 -b 1024 -N 64 -J size=1 $1
            for name in removed cut holed; do
                truncate -s 140M $1.contents
                echo "write $1.contents $name"
                echo "fallocate $name 0 143359"
            done | debugfs -w -f - $1 2>&1
            """, path)
        let device = try FileDevice(path: path, access: .readWrite)
        var options = Workload.options(Workload.Clock())
        options.dataMode = .journal
        let volume = try Volume.open(device, options: options)
        let root = try volume.root()
        try volume.unlink("removed", in: root)
        var cut = AttributeChanges()
        cut.size = 0
        try volume.setAttributes(cut, of: volume.lookup("cut", in: root))
        let holed = try volume.lookup("holed", in: root)
        try volume.change(.punchHole, of: holed, at: 0, count: 140 << 20)
        #expect(volume.statistics().freeBlocks > 470 << 10)
        try volume.close()
        #expect(try TestImage.complaints(aboutFile: path) == nil)
    }
}
