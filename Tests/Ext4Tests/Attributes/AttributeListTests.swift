import Testing

@testable import Ext4

@Suite struct AttributeListTests {
    private let good = AttributeArea(
        .init("name", Array("value".utf8)), .init("empty"),
        .init("selinux", Array("context\0".utf8), prefix: .security))

    private func texts(_ list: AttributeList?) -> [String] {
        (list?.entries ?? []).map {
            String(decoding: $0.name.userSpace ?? [], as: UTF8.self)
        }
    }

    private func value(_ entry: AttributeEntry?, in bytes: [UInt8]) -> [UInt8]? {
        guard case .inArea(let range)? = entry?.value else { return nil }
        return Array(bytes[range])
    }

    @Test func readsABlock() throws {
        let bytes = good.block()
        let list = try AttributeArea.parse(block: bytes)
        #expect(texts(list) == ["user.name", "user.empty", "security.selinux"])
        #expect(list.header?.referenceCount == 1)
        #expect(list.header?.hash == XAttrHash.ofBlock(list.entries.map(\.hash)))
        #expect(value(list.entries[0], in: bytes) == Array("value".utf8))
        #expect(value(list.entries[1], in: bytes) == [])
        #expect(value(list.entries[2], in: bytes) == Array("context\0".utf8))
        for entry in list.entries {
            unsafe try entry.checkHash(ofValueIn: bytes.span.bytes, at: list.place)
        }
    }

    @Test(arguments: [(256, 32), (256, 28), (1024, 32), (256, 4)])
    func readsAnInode(size: Int, extraSize: Int) throws {
        let bytes = good.inode(size: size, extraSize: extraSize)
        let list = try #require(try AttributeArea.parse(inode: bytes, extraSize: extraSize))
        #expect(texts(list) == ["user.name", "user.empty", "security.selinux"])
        #expect(value(list.entries[0], in: bytes) == Array("value".utf8))
        #expect(list.header == nil)
    }

    @Test func inodesWithoutAnAreaHaveNoList() throws {
        let small = [UInt8](repeating: 0xEA, count: 128)
        #expect(try AttributeArea.parse(inode: small, extraSize: 0) == nil)
        #expect(try AttributeArea.parse(inode: good.inode(extraSize: 0), extraSize: 0) == nil)
        // No room behind the fields, and another magic number.
        #expect(try AttributeArea.parse(inode: good.inode(), extraSize: 128) == nil)
        #expect(try AttributeArea.parse(inode: good.inode(), extraSize: 124) == nil)
        #expect(try AttributeArea.parse(inode: good.inode(), extraSize: 28) == nil)
    }

    @Test func aFullAreaWithNothingBehindItsEndIsGood() throws {
        // 256 - 160 = 96 bytes: header, one entry of 16 + 4, the end, and 68 bytes of value.
        let bytes = AttributeArea(.init("abcd", [UInt8](repeating: 9, count: 68))).inode()
        let list = try #require(try AttributeArea.parse(inode: bytes))
        #expect(value(list.entries[0], in: bytes)?.count == 68)
    }

    @Test func theFirstOfTwoWithOneNameIsFound() throws {
        let bytes = AttributeArea(.init("a", [1]), .init("a", [2])).block()
        let list = try AttributeArea.parse(block: bytes)
        #expect(list.entries.count == 2)
        let name = try AttributeName(userSpace: Array("user.a".utf8))
        #expect(value(list.entry(named: name), in: bytes) == [1])
    }

    @Test func aValueInAnInodeOfItsOwn() throws {
        var item = AttributeArea.Item("big")
        item.inode = 500
        item.size = 65536
        let list = try AttributeArea.parse(block: AttributeArea(item).block())
        #expect(list.entries[0].value == .inode(.init(500), size: 65536))
    }

    // MARK: - Names

    @Test func namesOfUserSpace() throws {
        for (text, name) in [
            ("user.x", AttributeName(prefix: .user, rest: [0x78])),
            ("trusted.overlay.opaque", .init(prefix: .trusted, rest: Array("overlay.opaque".utf8))),
            ("gnu.x", .init(prefix: .hurd, rest: [0x78])),
            ("system.posix_acl_access", .accessACL), ("system.posix_acl_default", .defaultACL),
        ] {
            #expect(try AttributeName(userSpace: Array(text.utf8)) == name)
            #expect(name.userSpace == Array(text.utf8))
        }
        for text in ["user.", "security.", "trusted."] {
            #expect(throws: Ext4Error.invalidArgument) {
                try AttributeName(userSpace: Array(text.utf8))
            }
        }
        for text in ["", "user", "system.data", "lustre.lov", "system.richacl", "User.x", "c"] {
            #expect(throws: Ext4Error.notSupported) {
                try AttributeName(userSpace: Array(text.utf8))
            }
        }
        #expect(AttributeName.inlineData.userSpace == nil)
        #expect(AttributeName.encryptionContext.userSpace == nil)
        #expect(AttributeName(prefix: .init(rawValue: 0), rest: [0x78]).userSpace == nil)
    }

    // MARK: - What is broken

    private func expect(
        _ area: AttributeArea, _ rule: Corruption.Rule, byteOffset: Int? = nil,
        _ location: SourceLocation = #_sourceLocation
    ) {
        let found = AttributeArea.corruption(ofBlock: area.block())
        #expect(found?.structure == .extendedAttribute, sourceLocation: location)
        #expect(found?.rule == rule, sourceLocation: location)
        #expect(found?.place.block == BlockNumber(77), sourceLocation: location)
        #expect(found?.place.byteOffset == byteOffset, sourceLocation: location)
    }

    private func item(_ change: (inout AttributeArea.Item) -> Void) -> AttributeArea {
        var item = AttributeArea.Item("name", [1, 2, 3, 4, 5])
        change(&item)
        return AttributeArea(item)
    }

    @Test func headers() {
        var area = good
        area.magic = 0xEA01_0000
        expect(area, .magic(found: 0xEA01_0000))
        area = good
        area.blockCount = 2
        expect(area, .field("h_blocks", value: 2, rule: "1"))
        for count: UInt32 in [0, 1025, .max] {
            area = good
            area.referenceCount = count
            expect(area, .field("h_refcount", value: UInt64(count), rule: "from 1 to 1024"))
        }
        #expect(AttributeArea.corruption(ofBlock: [0, 0, 2, 0xEA])?.rule == .truncated)
    }

    @Test func checksums() throws {
        var bytes = good.block()
        bytes[700] ^= 1
        guard case .checksum? = AttributeArea.corruption(ofBlock: bytes)?.rule else {
            Issue.record("a changed byte was not seen")
            return
        }
        // The block's number is a part of it: a block in another's place is found.
        guard
            case .checksum? =
                AttributeArea.corruption(ofBlock: good.block(), number: .init(78))?.rule
        else {
            Issue.record("a misplaced block was not seen")
            return
        }
        var context = AttributeArea.context
        context.checksumSeed = nil
        #expect(AttributeArea.corruption(ofBlock: bytes, context) == nil)
    }

    @Test func valuesOutsideTheArea() {
        let rule = "behind the entries and within the area"
        expect(
            item { $0.offset = 1025 }, .field("e_value_offs", value: 1025, rule: rule),
            byteOffset: 32)
        expect(
            item { $0.offset = .max }, .field("e_value_offs", value: 65535, rule: rule),
            byteOffset: 32)
        // Within the header, the entries and the list's end, which lies at 52.
        for offset: UInt16 in [0, 31, 32, 55] {
            expect(
                item { $0.offset = offset },
                .field("e_value_offs", value: UInt64(offset), rule: rule), byteOffset: 32)
        }
        #expect(AttributeArea.corruption(ofBlock: item { $0.offset = 56 }.block()) == nil)
        // CVE-2018-10880 and its kind: a size that leads beyond the end, alone or with its padding.
        for size: UInt32 in [9, 1024, 1 << 20, 1 << 24] {
            expect(
                item { $0.size = size },
                .field("e_value_size", value: UInt64(size), rule: "within the area"),
                byteOffset: 32)
        }
        expect(
            item { $0.size = 1 << 24 + 1 },
            .field("e_value_size", value: 1 << 24 + 1, rule: "at most 2^24"), byteOffset: 32)
        expect(
            item { $0.size = .max },
            .field("e_value_size", value: UInt64(UInt32.max), rule: "at most 2^24"),
            byteOffset: 32)
    }

    @Test func valuesThatOnlyFitWhenTheyOverlap() {
        var first = AttributeArea.Item("a", [UInt8](repeating: 1, count: 600))
        var second = AttributeArea.Item("b", [])
        first.offset = 400
        second.offset = 400
        second.size = 600
        expect(
            AttributeArea(first, second), .broken("values overlap each other"), byteOffset: 52)
    }

    @Test func namesThatLeaveTheArea() {
        // The last entry's header fits, its name does not.
        var bytes = [UInt8](repeating: 1, count: 64)
        bytes.replaceSubrange(0..<32, with: AttributeArea().block(size: 64)[..<32])
        bytes[32] = 200
        AttributeArea.fixChecksum(&bytes)
        #expect(
            AttributeArea.corruption(ofBlock: bytes)?.rule
                == .field("e_name_len", value: 200, rule: "within the area"))
        // The name takes the last byte, and the list has no end.
        bytes[32] = 16
        AttributeArea.fixChecksum(&bytes)
        let found = AttributeArea.corruption(ofBlock: bytes)
        #expect(found?.rule == .truncated)
        #expect(found?.place.byteOffset == 64)
        // An entry's header does not fit.
        bytes[32] = 4
        bytes[52] = 4
        AttributeArea.fixChecksum(&bytes)
        #expect(AttributeArea.corruption(ofBlock: bytes)?.place.byteOffset == 52)
    }

    @Test func namesWithAZeroByte() {
        expect(
            item { $0.name = [0x61, 0, 0x62] }, .broken("the name has a zero byte"),
            byteOffset: 32)
    }

    @Test func inodesOfValues() {
        let rule = "an inode of the volume that is not reserved"
        for number: UInt32 in [1, 2, 10, 1001, .max] {
            expect(
                item { $0.inode = number },
                .field("e_value_inum", value: UInt64(number), rule: rule), byteOffset: 32)
        }
        // Its own owner.
        expect(item { $0.inode = 12 }, .cycle, byteOffset: 32)
        var context = AttributeArea.context
        context.hasAttributeInodes = false
        #expect(
            AttributeArea.corruption(ofBlock: item { $0.inode = 500 }.block(), context)?.rule
                == .field("e_value_inum", value: 500, rule: "0 without the feature ea_inode"))
    }

    @Test func inodesWithBrokenAreas() {
        for (offset, byte) in [(164, 255), (166, 200), (172, 120)] as [(Int, UInt8)] {
            var bytes = good.inode()
            bytes[offset] = byte
            #expect(throws: Ext4Error.self, "byte \(offset)") {
                try AttributeArea.parse(inode: bytes)
            }
        }
    }

    /// Whatever the bytes are: a list or an error, and never more than the area holds.
    @Test func noBytesTrap() {
        var state: UInt64 = 0x0A77
        func next(_ bound: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % bound
        }
        var context = AttributeArea.context
        context.checksumSeed = nil
        var parsed = 0
        for round in 0..<20_000 {
            let isBlock = round % 2 == 0
            var bytes = isBlock ? good.block() : good.inode()
            let hot = isBlock ? 0..<112 : 160..<256
            for _ in 0...next(4) {
                bytes[hot.lowerBound + next(hot.count)] = UInt8(truncatingIfNeeded: next(256))
            }
            let list =
                isBlock
                ? try? AttributeArea.parse(block: bytes, context)
                : try? AttributeArea.parse(inode: bytes, context)
            guard let list else { continue }
            parsed += 1
            var sum = 0
            for entry in list.entries {
                if case .inArea(let range) = entry.value { sum += range.count }
                try? unsafe entry.checkHash(ofValueIn: bytes.span.bytes, at: list.place)
            }
            #expect(sum <= bytes.count)
        }
        // Both outcomes were met, so that the test tests.
        #expect(parsed > 1000 && parsed < 19_000)
    }
}
