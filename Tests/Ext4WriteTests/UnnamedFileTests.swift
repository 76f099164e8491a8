import Ext4Verify
import Testing

@testable import Ext4

/// Files that have no name, or none yet (`O_TMPFILE`), and who frees them when.
@Suite struct UnnamedFileTests {
    private static let content = [UInt8]("contents".utf8)

    private func unnamed(on volume: Volume) throws -> Inode {
        let inode = try volume.createUnnamed(
            in: volume.root(), NewInode(mode: FileMode(rawValue: 0o100600)))
        try volume.write(Self.content, to: inode, at: 0)
        return inode
    }

    private func open(_ device: FaultyDevice) throws -> Volume {
        try Volume.open(device, options: Workload.options(Workload.Clock()))
    }

    private func content(of inode: Inode, on volume: Volume) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 100)
        var span = bytes.mutableSpan
        var raw = unsafe span.mutableBytes
        let count = try volume.read(inode, at: 0, into: &raw)
        return Array(bytes[..<count])
    }

    private func expectFile(_ name: FileName, on volume: Volume) throws {
        let found = try volume.lookup(name, in: volume.root())
        #expect(found.linkCount == 1)
        #expect(try content(of: found, on: volume) == Self.content)
    }

    /// The kernel lets go of a file long after it got its name, often with the unmount.
    @Test(arguments: [true, false])
    func aNameKeepsItWhoeverStillKnowsIt(isReleased: Bool) throws {
        let device = try TestImage.make("-t ext4 -b 1024", megabytes: 16)
        let volume = try open(device)
        let inode = try unnamed(on: volume)
        try volume.link(inode, as: "named", in: volume.root())
        if isReleased { try volume.release(inode.number) }
        try volume.close()
        #expect(try TestImage.complaints(about: device) == nil)
        try expectFile("named", on: open(device))
    }

    @Test(arguments: [true, false])
    func withoutANameItGoes(isReleased: Bool) throws {
        let device = try TestImage.make("-t ext4 -b 1024", megabytes: 16)
        let volume = try open(device)
        let before = volume.statistics().freeBlocks
        let inode = try unnamed(on: volume)
        if isReleased { try volume.release(inode.number) }
        try volume.close()
        #expect(try TestImage.complaints(about: device) == nil)
        #expect(try open(device).statistics().freeBlocks == before)
    }

    /// A name that it got and lost again does not bring it back.
    @Test func aNameThatWentFreesItAtTheLastRelease() throws {
        let device = try TestImage.make("-t ext4 -b 1024 -O ^has_journal", megabytes: 16)
        let volume = try open(device)
        let inode = try unnamed(on: volume)
        try volume.link(inode, as: "named", in: volume.root())
        try volume.unlink("named", in: volume.root())
        #expect(try content(of: inode, on: volume) == Self.content)
        #expect(throws: Ext4Error.notFound) {
            try volume.lookup("named", in: volume.root())
        }
        try volume.release(inode.number)
        try volume.close()
        #expect(try TestImage.complaints(about: device) == nil)
    }

    @Test func aCrashFreesWhatHasNoName() throws {
        let device = try TestImage.make("-t ext4 -b 1024", megabytes: 16)
        let volume = try open(device)
        let first = try unnamed(on: volume)
        _ = try unnamed(on: volume)
        try volume.link(first, as: "named", in: volume.root())
        try volume.sync()
        let after = try open(device)
        try expectFile("named", on: after)
        try after.close()
        #expect(try TestImage.complaints(about: device) == nil)
    }
}
