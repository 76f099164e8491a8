import Ext4Verify
import Foundation
import Testing

@testable import Ext4

/// How well large files lie together.
@Suite struct AllocationTests {
    private func volume(
        _ scratch: Scratch, _ options: String
    ) throws -> (ContentlessDevice, Volume) {
        let path = scratch.path("image")
        try shell("truncate -s 2G $1; mke2fs -q -F -E lazy_itable_init=1 \(options) $1", path)
        let device = try ContentlessDevice(path: path)
        return (device, try Volume.open(device, options: Workload.options(Workload.Clock())))
    }

    private static let piece: [UInt8] = {
        var bytes = [UInt8](repeating: 0x42, count: 1 << 20)
        for index in 0..<8 {
            bytes[index] = UInt8(
                truncatingIfNeeded: ContentlessDevice.mark >> UInt64(index * 8))
        }
        return bytes
    }()

    private func finish(_ volume: Volume, _ device: ContentlessDevice, _ scratch: Scratch) throws {
        try volume.close()
        try device.save(to: scratch.path("image"))
        #expect(try TestImage.complaints(aboutFile: scratch.path("image")) == nil)
    }

    /// How many extents the file takes: one has 32,768 blocks at most.
    private func extents(of inode: Inode, on volume: Volume) throws -> Int {
        let runs = try volume.mappings(of: inode)
        #expect(runs.reduce(0) { $0 + $1.count } == inode.size / UInt64(volume.blockSize))
        return runs.reduce(0) { $0 + Int(($1.count + 32767) / 32768) }
    }

    @Test(arguments: ["-t ext4 -b 4096", "-t ext4 -b 1024"])
    func aGibibyteInPiecesIsInSixteenExtents(options: String) throws {
        let scratch = try Scratch()
        let (device, volume) = try volume(scratch, options)
        let inode = try volume.create(
            "large", in: volume.root(), NewInode(mode: FileMode(rawValue: 0o100644)))
        for index in 0..<1024 {
            try volume.write(Self.piece, to: inode, at: UInt64(index) << 20)
        }
        let count = try extents(of: inode, on: volume)
        // Blocks of 1 KiB need 32 extents where one of 4 KiB need 8.
        #expect(count <= (volume.blockSize == 4096 ? 16 : 64), "\(count) extents")
        try finish(volume, device, scratch)
    }

    @Test func fourFilesThatGrowInTurn() throws {
        let scratch = try Scratch()
        let (device, volume) = try volume(scratch, "-t ext4 -b 4096")
        let root = try volume.root()
        let files = try (0..<4).map {
            try volume.create(
                FileName("f\($0)"), in: root, NewInode(mode: FileMode(rawValue: 0o100644)))
        }
        for index in 0..<256 {
            for file in files { try volume.write(Self.piece, to: file, at: UInt64(index) << 20) }
        }
        let counts = try files.map { try extents(of: $0, on: volume) }
        #expect(counts.reduce(0, +) <= 64, "\(counts) extents")
        try finish(volume, device, scratch)
    }
}
