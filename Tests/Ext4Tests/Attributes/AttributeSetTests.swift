import Testing

@testable import Ext4

/// A seeded source of numbers, the same on every machine.
private struct Lottery {
    var state: UInt64

    mutating func next(below limit: Int) -> Int {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return Int(state >> 33) % limit
    }

    mutating func bytes(_ count: Int, from lowest: UInt8 = 0) -> [UInt8] {
        (0..<count).map { _ in UInt8(next(below: 256 - Int(lowest))) + lowest }
    }

    /// One of some forty names, so that values are replaced as often as they are added.
    mutating func name() -> AttributeName {
        let prefixes: [AttributeName.Prefix] = [.user, .trusted, .security, .accessACL]
        let prefix = prefixes[next(below: prefixes.count)]
        if prefix == .accessACL { return .accessACL }
        let number = next(below: 14)
        // Names that differ in their length, in their last byte, and in bytes above 127.
        var rest = [UInt8](repeating: 0x61, count: 1 + number % 7 * (number % 3 + 1))
        rest[rest.count - 1] = UInt8(0x62 + number * 11)
        return AttributeName(prefix: prefix, rest: rest)
    }
}

@Suite struct AttributeSetTests {
    private let number = BlockNumber(77)

    // MARK: - The judge: the parser, and a dictionary

    /// What the parser finds in the bytes of a block; its hashes and its order are checked.
    private func contents(ofBlock bytes: [UInt8]) throws -> [AttributeName: [UInt8]] {
        var bytes = bytes
        AttributeArea.fixChecksum(&bytes)
        let list = try AttributeArea.parse(block: bytes)
        #expect(list.header?.hash == XAttrHash.ofBlock(list.entries.map(\.hash)))
        for entry in list.entries {
            unsafe try entry.checkHash(ofValueIn: bytes.span.bytes, at: list.place)
        }
        for (a, b) in zip(list.entries, list.entries.dropFirst()) {
            #expect(
                (a.name.prefix.rawValue, a.name.rest.count, key(a))
                    < (b.name.prefix.rawValue, b.name.rest.count, key(b)))
        }
        return try values(list, bytes)
    }

    private func key(_ entry: AttributeEntry) -> String {
        entry.name.rest.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }

    private func values(
        _ list: AttributeList, _ bytes: [UInt8]
    ) throws -> [AttributeName: [UInt8]] {
        var found: [AttributeName: [UInt8]] = [:]
        for entry in list.entries {
            guard case .inArea(let range) = entry.value else { continue }
            #expect(found.updateValue(Array(bytes[range]), forKey: entry.name) == nil)
        }
        return found
    }

    /// The bytes that a set of attributes takes, by the format's own rule.
    private func size(of attributes: [AttributeName: [UInt8]]) -> Int {
        attributes.reduce(0) {
            $0 + (16 + $1.key.rest.count + 3) / 4 * 4 + ($1.value.count + 3) / 4 * 4
        }
    }

    @Test(arguments: [1024, 4096, 65536])
    func randomChangesOfBlocks(byteCount: Int) throws {
        var lottery = Lottery(state: UInt64(byteCount))
        var set = AttributeSet(emptyIn: .block(byteCount: byteCount))
        var model: [AttributeName: [UInt8]] = [:]
        var full = 0
        for _ in 0..<(byteCount > 4096 ? 100 : 800) {
            let name = lottery.name()
            if lottery.next(below: 4) == 0 {
                let wasThere = set.remove(name)
                #expect(wasThere == (model.removeValue(forKey: name) != nil))
            } else {
                let value = lottery.bytes(lottery.next(below: byteCount / 6))
                var next = model
                next[name] = value
                let fits = size(of: next) <= byteCount - 32 - 4
                let isSet = set.set(name, to: value)
                #expect(isSet == fits)
                if fits { model = next } else { full += 1 }
            }
            let bytes = set.block(referenceCount: 1)
            #expect(bytes.count == byteCount)
            #expect(try contents(ofBlock: bytes) == model)
            #expect(set.usedSize == size(of: model))
            // Read back, it is the same set and gives the same bytes.
            var sealed = bytes
            AttributeArea.fixChecksum(&sealed)
            let again = unsafe try AttributeSet(
                AttributeArea.parse(block: sealed), in: sealed.span.bytes,
                .block(byteCount: byteCount))
            #expect(again == set)
        }
        #expect(full > 10)
    }

    @Test(arguments: [(256, 32), (256, 28), (256, 4), (512, 32), (1024, 32), (1024, 160)])
    func randomChangesOfInodes(size inodeSize: Int, extraSize: Int) throws {
        var lottery = Lottery(state: UInt64(inodeSize + extraSize))
        let byteCount = inodeSize - 128 - extraSize
        var set = AttributeSet(emptyIn: .inode(byteCount: byteCount))
        var model: [AttributeName: [UInt8]] = [:]
        var (full, empty) = (0, 0)
        for round in 0..<800 {
            let name = lottery.name()
            if round % 50 == 49 {
                for name in model.keys { set.remove(name) }
                model = [:]
            } else if lottery.next(below: 3) == 0 {
                let wasThere = set.remove(name)
                #expect(wasThere == (model.removeValue(forKey: name) != nil))
            } else {
                let value = lottery.bytes(lottery.next(below: byteCount / 2))
                var next = model
                next[name] = value
                let fits = size(of: next) <= byteCount - 4 - 4
                let isSet = set.set(name, to: value)
                #expect(isSet == fits)
                if fits { model = next } else { full += 1 }
            }
            // What stands before the attributes is not looked at.
            let inode = lottery.bytes(128 + extraSize) + set.inodeArea
            let list = try AttributeArea.parse(inode: inode, extraSize: extraSize)
            if model.isEmpty {
                #expect(list == nil)
                empty += 1
                continue
            }
            let parsed = try #require(list)
            #expect(try values(parsed, inode) == model)
            #expect(parsed.entries.allSatisfy { $0.hash == 0 })
            let again = unsafe try AttributeSet(
                parsed, in: inode.span.bytes, .inode(byteCount: byteCount))
            #expect(again == set)
        }
        #expect(full > 20)
        #expect(empty >= 16)
    }

    // MARK: - Corners

    private func put(_ name: String, _ value: [UInt8], into set: inout AttributeSet) {
        let fits = set.set(self.name(name), to: value)
        #expect(fits)
    }

    private func name(_ text: String) -> AttributeName {
        AttributeName(prefix: .user, rest: Array(text.utf8))
    }

    @Test func roomIsExact() {
        for byteCount in [1024, 4096] {
            var set = AttributeSet(emptyIn: .block(byteCount: byteCount))
            let room = byteCount - 32 - 4 - 20
            #expect(set.room(for: name("abc")) == room)
            let tooLarge = set.set(name("abc"), to: [UInt8](repeating: 1, count: room + 1))
            #expect(!tooLarge)
            #expect(set.isEmpty)
            let fits = set.set(name("abc"), to: [UInt8](repeating: 1, count: room))
            #expect(fits)
            // Its own value is no obstacle to a new one, but it is to another name.
            #expect(set.room(for: name("abc")) == room)
            #expect(set.room(for: name("x")) == nil)
            put("abc", [2], into: &set)
            #expect(set.room(for: name("x")) == room - 24)
        }
        #expect(AttributeSet(emptyIn: .inode(byteCount: 0)).room(for: name("")) == nil)
        #expect(AttributeSet(emptyIn: .inode(byteCount: 24)).room(for: name("")) == 0)
        #expect(AttributeSet(emptyIn: .inode(byteCount: 20)).room(for: name("")) == nil)
    }

    @Test func untouchedEntriesKeepTheirHash() throws {
        var area = AttributeArea(.init("a", [1]), .init("b", [2]))
        area.items[0].name = [0xE9]
        let (name, value): ([UInt8], [UInt8]) = ([0xE9], [1])
        let signed = unsafe XAttrHash.ofEntry(
            name: name.span.bytes, value: value.span.bytes, .signed)
        area.items[0].hash = signed
        let bytes = area.block()
        var set = unsafe try AttributeSet(
            AttributeArea.parse(block: bytes), in: bytes.span.bytes, .block(byteCount: 1024))
        put("b", [3], into: &set)
        #expect(set.items.map(\.hash).contains(signed))
        #expect(try contents(ofBlock: set.block(referenceCount: 1)).count == 2)
    }

    @Test func aSecondAttributeOfTheNameGoesWithTheFirst() throws {
        let bytes = AttributeArea(.init("a", [1]), .init("b", [9]), .init("a", [2])).inode()
        let list = try #require(try AttributeArea.parse(inode: bytes))
        let set = unsafe try AttributeSet(list, in: bytes.span.bytes, .inode(byteCount: 96))
        var removed = set
        removed.remove(name("a"))
        #expect(removed.items.map(\.name) == [name("b")])
        var replaced = set
        put("a", [7], into: &replaced)
        #expect(replaced.items.map(\.name) == [name("a"), name("b")])
        #expect(replaced.value(of: name("a")) == .bytes([7]))
    }

    @Test func valuesThatOverlapAreRefused() throws {
        // 24 values of one byte at the same place pass the parser, which counts bytes; with their
        // padding they would not fit.
        var area = AttributeArea()
        for i in 0..<24 {
            var item = AttributeArea.Item("n\(i)", [])
            item.size = 5
            item.offset = 1016
            area.items.append(item)
        }
        for i in 0..<15 {
            var item = AttributeArea.Item("m\(i)", [])
            item.size = 5
            item.offset = 1016
            area.items.append(item)
        }
        let bytes = area.block()
        let list = try AttributeArea.parse(block: bytes)
        #expect(throws: Ext4Error.self) {
            unsafe try AttributeSet(list, in: bytes.span.bytes, .block(byteCount: 1024))
        }
    }

    @Test func paddingsAndGapsAreZeros() {
        var set = AttributeSet(emptyIn: .block(byteCount: 1024))
        put("abcde", [UInt8](repeating: 0xFF, count: 300), into: &set)
        put("abcde", [0xFF], into: &set)
        let bytes = set.block(referenceCount: 3)
        #expect(bytes[1020...].elementsEqual([0xFF, 0, 0, 0]))
        #expect(bytes[(32 + 24)..<1020].allSatisfy { $0 == 0 })
        #expect(bytes[4] == 3)
        var inode = AttributeSet(emptyIn: .inode(byteCount: 96))
        put("a", [1], into: &inode)
        inode.remove(name("a"))
        #expect(inode.inodeArea.allSatisfy { $0 == 0 })
    }

    @Test func valuesInInodes() throws {
        let value = [UInt8](repeating: 5, count: 9000)
        let hash = unsafe XAttrHash.ofInodeValue(value.span.bytes, seed: AttributeArea.seed)
        for area in [AttributeSet.Area.block(byteCount: 1024), .inode(byteCount: 96)] {
            var set = AttributeSet(emptyIn: area)
            let done = set.set(name("big"), toValueIn: .init(500), size: value.count, hash: hash)
            #expect(done)
            put("a", [1, 2, 3], into: &set)
            let list: AttributeList?
            if case .block = area {
                var bytes = set.block(referenceCount: 1)
                AttributeArea.fixChecksum(&bytes)
                list = try AttributeArea.parse(block: bytes)
            } else {
                list = try AttributeArea.parse(
                    inode: [UInt8](repeating: 0, count: 160) + set.inodeArea)
            }
            let entry = try #require(list?.entry(named: name("big")))
            #expect(entry.value == .inode(.init(500), size: 9000))
            unsafe try entry.checkHash(
                ofInodeValue: value.span.bytes, storedInInode: hash, seed: AttributeArea.seed,
                at: .init())
        }
    }
}
