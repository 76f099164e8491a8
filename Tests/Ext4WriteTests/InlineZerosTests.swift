import Ext4Host
import Ext4Verify
import Testing

@testable import Ext4

/// Files in their inodes that are longer than what is there, as mke2fs makes them of zeros.
@Suite struct InlineZerosTests {
    /// What is done to each file, in bytes of the file.
    private enum Change: CaseIterable {
        case writeInside, writeBehind, append, cutInside, cutBehind, grow, punch, allocate
    }

    @Test(arguments: [61, 150, 4000, 70_000]) func everyChangeKeepsTheZeros(size: Int) throws {
        let scratch = try Scratch()
        let path = scratch.path("image")
        let names = Change.allCases.map { "\($0)" }
        let (status, words) = try runShell(
            """
            image=$1 tree=$2 size=$3
            shift 3
            mkdir $tree
            for name; do truncate -s $size $tree/$name; done
            mke2fs -q -F -t ext4 -O inline_data -I 256 -d $tree $image 16M
            """, [path, scratch.path("tree"), "\(size)"] + names)
        try #require(status == 0, "\(words)")
        let expected = try change(path, size: size)
        #expect(try TestImage.complaints(aboutFile: path) == nil)
        let again = try Volume.open(FileDevice(path: path))
        for (name, contents) in expected {
            let file = try again.lookup(FileName(Array(name.utf8)), in: again.root())
            #expect(equal(try again.contents(of: file), contents), "\(name)")
        }
    }

    /// Makes all changes, one in each file, and tells what is in them then.
    private func change(_ path: String, size: Int) throws -> [String: [UInt8]] {
        let device = try FileDevice(path: path, access: .readWrite)
        let volume = try Volume.open(device, options: Workload.options(Workload.Clock()))
        let root = try volume.root()
        let new = Array("new".utf8)
        var expected: [String: [UInt8]] = [:]
        for change in Change.allCases {
            let file = try volume.lookup(FileName(Array("\(change)".utf8)), in: root)
            #expect(file.flags.contains(.inlineData))
            var contents = [UInt8](repeating: 0, count: size)
            #expect(equal(try volume.contents(of: file), contents))
            switch change {
            case .writeInside, .writeBehind, .append:
                let start = [.writeInside: 10, .writeBehind: size - 3][change] ?? size
                try volume.write(new, to: file, at: UInt64(start))
                contents += [UInt8](repeating: 0, count: max(start + 3 - size, 0))
                contents.replaceSubrange(start..<start + 3, with: new)
            case .cutInside, .cutBehind, .grow:
                let end = [.cutInside: 2, .cutBehind: size - 1][change] ?? size + 5000
                var changes = AttributeChanges()
                changes.size = UInt64(end)
                try volume.setAttributes(changes, of: file)
                contents = Array(contents.prefix(end))
                contents += [UInt8](repeating: 0, count: end - contents.count)
            case .punch:
                try volume.change(.punchHole, of: file, at: 2, count: 30)
            case .allocate:
                try volume.change(.allocate(keepsSize: true), of: file, at: 0, count: 100_000)
            }
            #expect(equal(try volume.contents(of: file), contents), "\(change)")
            expected["\(change)"] = contents
        }
        try volume.close()
        return expected
    }
}
