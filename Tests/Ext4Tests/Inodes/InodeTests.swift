import Testing

@testable import Ext4

/// The bytes of an inode of 256 bytes.
private struct InodeBytes {
    typealias Layout = InodeRecord.Layout
    var bytes = [UInt8](repeating: 0, count: 256)

    subscript<Value>(_ field: Field<Value>) -> Value {
        get { unsafe bytes.span.bytes[field] }
        set {
            var span = bytes.mutableSpan
            var raw = unsafe span.mutableBytes
            raw[field] = newValue
        }
    }

    func inode(_ number: UInt32 = 12) throws -> Inode {
        let superblock = try SuperblockBytes().parse()
        let record = try InodeRecord(
            parsing: unsafe bytes.span.bytes, number: InodeNumber(number), superblock: superblock,
            verifiesChecksum: false)
        return try Inode(record, number: InodeNumber(number), superblock: superblock)
    }
}

@Suite struct InodeTests {
    @Test(
        arguments: [(0, 0), (1, 1), (512, 1), (513, 2), (1 << 30, 1 << 21)] as [(UInt32, UInt64)])
    func whatIsInlineCountsAsSpace(size: UInt32, blocks: UInt64) throws {
        var bytes = InodeBytes()
        bytes[InodeBytes.Layout.mode] = 0o100644
        bytes[InodeBytes.Layout.flags] = InodeFlags.inlineData.rawValue
        bytes[InodeBytes.Layout.sizeLow] = size
        #expect(try bytes.inode().blocks512 == blocks)
        bytes[InodeBytes.Layout.blocksLow] = 8  // A block of attributes.
        #expect(try bytes.inode().blocks512 == blocks + 8)
        // Directories and links show what the disk says.
        bytes[InodeBytes.Layout.mode] = 0o040755
        #expect(try bytes.inode().blocks512 == 8)
    }
}

@Suite struct InodeShardTests {
    @Test func itGrowsWhileInodesAreHeldAndShrinksAfterwards() throws {
        let shard = InodeShard(budget: 10)
        var held: [Inode] = []
        for number in 1...500 as ClosedRange<UInt32> {
            held.append(shard.insert(try InodeBytes().inode(number)))
        }
        for inode in held { #expect(shard.find(inode.number) === inode) }
        held = []
        for number in 501...600 as ClosedRange<UInt32> {
            _ = shard.insert(try InodeBytes().inode(number))
        }
        let left = (1...600 as ClosedRange<UInt32>).count { shard.find(InodeNumber($0)) != nil }
        #expect(left <= 10)
        #expect(shard.find(InodeNumber(600)) != nil)
    }
}
