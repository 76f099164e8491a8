import Testing

@testable import Ext4

@Suite struct XAttrHashTests {
    private func hash(
        _ name: [UInt8], _ value: [UInt8], _ signedness: XAttrHash.Signedness = .unsigned
    ) -> UInt32 {
        unsafe XAttrHash.ofEntry(name: name.span.bytes, value: value.span.bytes, signedness)
    }

    /// By hand, from the format's description: five bits a byte of the name, sixteen a word.
    @Test func hashesByHand() {
        #expect(hash([], []) == 0)
        #expect(hash([0x61], []) == 0x61)
        #expect(hash([0x61, 0x62], []) == 0x61 << 5 ^ 0x62)
        #expect(hash([0x61], [1, 2, 3, 4]) == 0x61 << 16 ^ 0x0403_0201)
        #expect(hash([0x61], [1]) == hash([0x61], [1, 0, 0, 0]))
        #expect(hash([0x61], [1, 2, 3, 4, 5]) != hash([0x61], [1, 2, 3, 4]))
    }

    @Test func bytesAbove127HaveTwoHashes() {
        #expect(hash([0xE9], []) == 0xE9)
        #expect(hash([0xE9], [], .signed) == 0xFFFF_FFE9)
        #expect(hash([0x69], []) == hash([0x69], [], .signed))
    }

    @Test func blocksWithAnUnhashedEntryHaveNone() {
        #expect(XAttrHash.ofBlock([]) == 0)
        #expect(XAttrHash.ofBlock([5, 6]) == 5 << 16 ^ 6)
        #expect(XAttrHash.ofBlock([5, 0, 6]) == 0)
    }

    private func entry(_ name: [UInt8], _ value: AttributeEntry.Value, _ hash: UInt32)
        -> AttributeEntry
    {
        .init(name: .init(prefix: .user, rest: name), value: value, hash: hash, byteOffset: 32)
    }

    @Test func eitherHashIsGoodAndAThirdIsNot() throws {
        let name: [UInt8] = [0x61, 0xE9]
        let value: [UInt8] = [1, 2, 3]
        for signedness in XAttrHash.Signedness.allCases {
            let entry = entry(name, .inArea(0..<3), hash(name, value, signedness))
            unsafe try entry.checkHash(ofValueIn: value.span.bytes, at: .init())
        }
        // The kernel leaves the hash of an inode's own attributes out.
        unsafe try entry(name, .inArea(0..<3), 0).checkHash(
            ofValueIn: value.span.bytes, at: .init())
        let stored = hash(name, value) ^ 1
        let expected = Ext4Error.corrupt(
            .init(
                .extendedAttribute, at: .init(block: .init(7), byteOffset: 32),
                .checksum(stored: stored, computed: hash(name, value))))
        #expect(throws: expected) {
            unsafe try entry(name, .inArea(0..<3), stored).checkHash(
                ofValueIn: value.span.bytes, at: .init(block: .init(7)))
        }
    }

    @Test func hashesOfValuesInInodes() throws {
        let name: [UInt8] = [0x61, 0xE9]
        let value = [UInt8](repeating: 3, count: 5000)
        let stored = unsafe XAttrHash.ofInodeValue(value.span.bytes, seed: 99)
        func check(_ hash: UInt32, stored: UInt32) throws(Ext4Error) {
            unsafe try entry(name, .inode(.init(50), size: 5000), hash).checkHash(
                ofInodeValue: value.span.bytes, storedInInode: stored, seed: 99, at: .init())
        }
        for signedness in XAttrHash.Signedness.allCases {
            let hash = unsafe XAttrHash.ofEntry(
                name: name.span.bytes, valueHash: stored, signedness)
            try check(hash, stored: stored)
            #expect(throws: Ext4Error.self) { try check(hash &+ 1, stored: stored) }
            #expect(
                throws: Ext4Error.corrupt(
                    .init(
                        .attributeInode, at: .init(inode: .init(50)),
                        .checksum(stored: stored ^ 4, computed: stored)))
            ) {
                try check(hash, stored: stored ^ 4)
            }
        }
    }
}
