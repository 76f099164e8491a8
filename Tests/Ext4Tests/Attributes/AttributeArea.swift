@testable import Ext4

/// Builds attribute blocks and areas, good ones and bad ones, for the tests.
struct AttributeArea {
    /// One entry to be written; what is nil is computed.
    struct Item {
        var prefix: AttributeName.Prefix = .user
        var name: [UInt8]
        var value: [UInt8] = []
        var offset: UInt16?
        var inode: UInt32 = 0
        var size: UInt32?
        var hash: UInt32?

        init(_ name: String, _ value: [UInt8] = [], prefix: AttributeName.Prefix = .user) {
            self.prefix = prefix
            self.name = Array(name.utf8)
            self.value = value
        }
    }

    var items: [Item]
    var referenceCount: UInt32 = 1
    var blockCount: UInt32 = 1
    var magic: UInt32 = 0xEA02_0000

    init(_ items: Item...) { self.items = items }

    /// A block of that size. It has the checksum of `number` and `seed`.
    func block(
        size: Int = 1024, number: BlockNumber = .init(77), seed: UInt32 = AttributeArea.seed
    ) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: size)
        Self.put(magic, at: 0, in: &bytes)
        Self.put(referenceCount, at: 4, in: &bytes)
        Self.put(blockCount, at: 8, in: &bytes)
        let hashes = fill(&bytes, from: 32, base: 0)
        Self.put(XAttrHash.ofBlock(hashes), at: 12, in: &bytes)
        Self.fixChecksum(&bytes, number: number, seed: seed)
        return bytes
    }

    /// An inode of that size with these attributes behind `extraSize` bytes of fields.
    func inode(size: Int = 256, extraSize: Int = 32) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: size)
        let start = 128 + extraSize
        Self.put(magic, at: start, in: &bytes)
        _ = fill(&bytes, from: start + 4, base: start + 4)
        return bytes
    }

    private func fill(_ bytes: inout [UInt8], from start: Int, base: Int) -> [UInt32] {
        var hashes: [UInt32] = []
        var offset = start
        var end = bytes.count
        for item in items {
            var place = 0
            if item.inode == 0, !item.value.isEmpty {
                end -= XAttrEntryRecord.padded(item.value.count)
                place = end - base
                bytes.replaceSubrange(end..<end + item.value.count, with: item.value)
            }
            let computed = unsafe XAttrHash.ofEntry(
                name: item.name.span.bytes, value: item.value.span.bytes)
            let hash = item.hash ?? computed
            hashes.append(hash)
            bytes[offset] = UInt8(item.name.count)
            bytes[offset + 1] = item.prefix.rawValue
            let valueOffset = item.offset ?? UInt16(place)
            bytes[offset + 2] = UInt8(truncatingIfNeeded: valueOffset)
            bytes[offset + 3] = UInt8(truncatingIfNeeded: valueOffset >> 8)
            Self.put(item.inode, at: offset + 4, in: &bytes)
            Self.put(item.size ?? UInt32(item.value.count), at: offset + 8, in: &bytes)
            Self.put(hash, at: offset + 12, in: &bytes)
            bytes.replaceSubrange(offset + 16..<offset + 16 + item.name.count, with: item.name)
            offset += XAttrEntryRecord.padded(16 + item.name.count)
        }
        return hashes
    }

    static let seed: UInt32 = 0x1234_5678

    /// A volume with 1,000 inodes, the feature `ea_inode` and checksums; the owner is inode 12.
    static let context = AttributeList.Context(
        owner: .init(12), inodeCount: 1000, firstInode: 11, hasAttributeInodes: true,
        checksumSeed: seed)

    static func put(_ number: UInt32, at offset: Int, in bytes: inout [UInt8]) {
        for i in 0..<4 { bytes[offset + i] = UInt8(truncatingIfNeeded: number >> UInt32(8 * i)) }
    }

    static func fixChecksum(
        _ bytes: inout [UInt8], number: BlockNumber = .init(77), seed: UInt32 = seed
    ) {
        let checksum = unsafe XAttrBlockHeader.checksum(
            of: bytes.span.bytes, at: number, seed: seed)
        put(checksum, at: 16, in: &bytes)
    }

    static func parse(
        block bytes: [UInt8], number: BlockNumber = .init(77),
        _ context: AttributeList.Context = context
    ) throws(Ext4Error) -> AttributeList {
        unsafe try AttributeList(parsingBlock: bytes.span.bytes, at: number, context)
    }

    static func parse(
        inode bytes: [UInt8], extraSize: Int = 32, _ context: AttributeList.Context = context
    ) throws(Ext4Error) -> AttributeList? {
        unsafe try AttributeList(parsingInode: bytes.span.bytes, extraSize: extraSize, context)
    }

    /// What is wrong with a block, nil when it is read.
    static func corruption(
        ofBlock bytes: [UInt8], number: BlockNumber = .init(77),
        _ context: AttributeList.Context = context
    ) -> Corruption? {
        do {
            _ = try parse(block: bytes, number: number, context)
            return nil
        } catch {
            guard case .corrupt(let corruption) = error else { return nil }
            return corruption
        }
    }
}
