import Testing

@testable import Ext4

@Suite struct StoredAttributesTests {
    private func attributes(
        inode: Int = 96, block: Int = 1024, hasInodes: Bool = false
    ) -> StoredAttributes {
        StoredAttributes(
            inInode: AttributeSet(emptyIn: .inode(byteCount: inode)),
            inBlock: AttributeSet(emptyIn: .block(byteCount: block)),
            hasAttributeInodes: hasInodes)
    }

    private func name(_ text: String) -> AttributeName {
        AttributeName(prefix: .user, rest: Array(text.utf8))
    }

    private func expect(
        _ all: inout StoredAttributes, _ name: String, _ value: [UInt8],
        goes placement: StoredAttributes.Placement, _ location: SourceLocation = #_sourceLocation
    ) throws {
        let found = try all.set(self.name(name), to: value)
        #expect(found == placement, sourceLocation: location)
    }

    private func expectRemoval(
        of name: AttributeName, from all: inout StoredAttributes
    ) {
        let wasThere = all.remove(name)
        #expect(wasThere)
    }

    private func expectNoSpace(
        _ location: SourceLocation = #_sourceLocation, _ body: () throws -> some Any
    ) {
        do {
            _ = try body()
            Issue.record("it fits", sourceLocation: location)
        } catch {
            #expect(error as? Ext4Error == .noSpace, sourceLocation: location)
        }
    }

    private func bytes(_ count: Int) -> [UInt8] { [UInt8](repeating: 7, count: count) }

    @Test func smallOnesGoIntoTheInodeAndTheRestIntoTheBlock() throws {
        var all = attributes()
        try expect(&all, "a", bytes(40), goes: .stored)
        #expect(all.inInode.items.count == 1 && all.inBlock.isEmpty)
        try expect(&all, "b", bytes(40), goes: .stored)
        #expect(all.inInode.items.count == 1 && all.inBlock.items.count == 1)
        // One that grows moves, and comes back when it shrinks.
        try expect(&all, "a", bytes(200), goes: .stored)
        #expect(all.inInode.isEmpty && all.inBlock.items.count == 2)
        try expect(&all, "a", bytes(3), goes: .stored)
        #expect(all.inInode.items.map(\.name) == [name("a")])
        #expect(all.inBlock.items.map(\.name) == [name("b")])
        expectRemoval(of: name("b"), from: &all)
        let wasThere = all.remove(name("b"))
        #expect(!wasThere)
        #expect(all.inBlock.isEmpty)
    }

    @Test func withoutInodesOfTheirOwnLargeOnesHaveNoPlace() throws {
        var all = attributes()
        try expect(&all, "a", bytes(1024 - 36 - 20), goes: .stored)
        let before = all
        expectNoSpace { try all.set(name("b"), to: bytes(69)) }
        expectNoSpace { try all.set(name("a"), to: bytes(1024 - 36 - 19)) }
        expectNoSpace { try all.set(name("c"), to: bytes(65536)) }
        #expect(all == before)
    }

    @Test func inodesOfTheirOwn() throws {
        var all = attributes(hasInodes: true)
        // What leaves no room for a name of three bytes is not even tried.
        try expect(&all, "a", bytes(1024 - 36 - 20 + 1), goes: .needsInode)
        #expect(all.inInode.isEmpty && all.inBlock.isEmpty)
        // The first 128 bytes of the block are kept for entries.
        try expect(&all, "a", bytes(1024 - 128 + 1), goes: .needsInode)
        try expect(&all, "a", bytes(1024 - 128), goes: .stored)
        try expect(&all, "b", bytes(400), goes: .needsInode)
        try all.set(name("b"), toValueIn: .init(50), size: 400, hash: 99)
        #expect(all.inInode.items.map(\.name) == [name("b")])
        #expect(all.valueInodes.map(\.inode) == [.init(50)])
        #expect(all.item(named: name("b"))?.value == .inode(.init(50), size: 400))
        expectRemoval(of: name("b"), from: &all)
        #expect(all.valueInodes.isEmpty)
    }

    @Test func entriesWithoutRoom() throws {
        var all = attributes(inode: 0, hasInodes: true)
        for i in 0..<49 {
            try all.set(name("\(10 + i)x"), toValueIn: .init(50), size: 4000, hash: 1)
        }
        let before = all
        expectNoSpace { try all.set(name("y"), toValueIn: .init(51), size: 4000, hash: 1) }
        #expect(all == before)
    }

    @Test func inlineContentsStayInTheInode() throws {
        var all = attributes()
        // 96 bytes: magic number, end, an entry of 16 + 4 bytes.
        #expect(all.inlineRoom == 68)
        try expect(&all, "a", bytes(8), goes: .stored)
        #expect(all.inlineRoom == 68 - 28)
        expectNoSpace { try all.setInlineData(bytes(41)) }
        try all.setInlineData(bytes(40))
        #expect(all.inlineRoom == 40)
        // Others go around it.
        try expect(&all, "b", [], goes: .stored)
        #expect(all.inBlock.items.map(\.name) == [name("b")])
        #expect(all.inInode.value(of: .inlineData) == .bytes(bytes(40)))
        try all.setInlineData([])
        #expect(all.inInode.value(of: .inlineData) == .bytes([]))
        expectRemoval(of: .inlineData, from: &all)
        #expect(attributes(inode: 0).inlineRoom == nil)
    }
}
