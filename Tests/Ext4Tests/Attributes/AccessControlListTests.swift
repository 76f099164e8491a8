import Testing

@testable import Ext4

@Suite struct AccessControlListTests {
    private let list = AccessControlList([
        .init(.userObject, [.read, .write]), .init(.user(1000), .read),
        .init(.groupObject, .read), .init(.group(0x0102_0304), [.read, .execute]),
        .init(.mask, [.read, .write, .execute]), .init(.other, []),
    ])

    /// Version 1: ids only where they mean something.
    private let onDisk: [UInt8] = [
        1, 0, 0, 0, 0x01, 0, 6, 0, 0x02, 0, 4, 0, 0xE8, 3, 0, 0, 0x04, 0, 4, 0,
        0x08, 0, 5, 0, 4, 3, 2, 1, 0x10, 0, 7, 0, 0x20, 0, 0, 0,
    ]

    private func parse(_ bytes: [UInt8]) throws(Ext4Error) -> AccessControlList {
        unsafe try AccessControlList(onDisk: bytes.span.bytes, at: .init(inode: .init(12)))
    }

    private func corruption(_ bytes: [UInt8]) -> Corruption? {
        do {
            _ = try parse(bytes)
            return nil
        } catch {
            guard case .corrupt(let corruption) = error else { return nil }
            return corruption
        }
    }

    @Test func readsAndWritesTheDisksEncoding() throws {
        #expect(try parse(onDisk) == list)
        #expect(list.onDisk == onDisk)
    }

    @Test func readsAndWritesTheAttributesEncoding() throws {
        let bytes: [UInt8] = [
            2, 0, 0, 0, 0x01, 0, 6, 0, 255, 255, 255, 255, 0x02, 0, 4, 0, 0xE8, 3, 0, 0,
            0x04, 0, 4, 0, 255, 255, 255, 255, 0x08, 0, 5, 0, 4, 3, 2, 1,
            0x10, 0, 7, 0, 255, 255, 255, 255, 0x20, 0, 0, 0, 255, 255, 255, 255,
        ]
        #expect(list.attributeValue == bytes)
        #expect(try AccessControlList(attributeValue: bytes) == list)
        for cut in 0..<bytes.count where cut % 8 != 4 {
            #expect(throws: Ext4Error.self) {
                try AccessControlList(attributeValue: Array(bytes[..<cut]))
            }
        }
    }

    @Test func everyCutInTheMiddleOfAnEntryIsFound() throws {
        let ends: Set = [0, 4, 8, 16, 20, 28, 32, 36]
        for cut in 0...onDisk.count {
            let part = Array(onDisk[..<cut])
            if ends.contains(cut) {
                let entries = try parse(part).entries
                #expect(entries == Array(list.entries.prefix(entries.count)))
            } else {
                let found = corruption(part)
                #expect(found?.structure == .accessControlList, "\(cut)")
                #expect(found?.place.inode == InodeNumber(12))
            }
        }
    }

    @Test func otherVersionsAndTagsAreRefused() {
        var bytes = onDisk
        bytes[0] = 2
        #expect(corruption(bytes)?.rule == .field("a_version", value: 2, rule: "1"))
        bytes = onDisk
        bytes[4] = 0x40
        #expect(
            corruption(bytes)?.rule
                == .field("e_tag", value: 0x40, rule: "a known tag, with its id"))
        #expect(corruption(bytes)?.place.byteOffset == 4)
    }

    @Test func rulesOfPOSIX() {
        #expect(list.brokenRule == nil)
        var other = list
        other.entries.swapAt(0, 1)
        #expect(other.brokenRule == "the entries are not in order")
        other = list
        other.entries.remove(at: 4)
        #expect(other.brokenRule == "the mask is missing")
        other = list
        other.entries.insert(.init(.user(1000), []), at: 1)
        #expect(other.brokenRule == "two entries for the same")
        other = list
        other.entries.removeLast()
        #expect(other.brokenRule == "the owner, the group or the others have no entry")
        other = list
        other.entries[0].permissions = .init(rawValue: 8)
        #expect(other.brokenRule == "unknown permission bits")
        #expect(
            AccessControlList([
                .init(.userObject, []), .init(.groupObject, []), .init(.other, []),
            ]).brokenRule == nil)
    }

    @Test func printsAsGetfaclDoes() {
        #expect(
            list.description == """
                user::rw-
                user:1000:r--
                group::r--
                group:16909060:r-x
                mask::rwx
                other::---
                """)
    }

    @Test func noBytesTrap() {
        var state: UInt64 = 0x0AC1
        for _ in 0..<20_000 {
            var bytes = onDisk
            for _ in 0..<3 {
                state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                bytes[Int(state >> 33) % bytes.count] = UInt8(truncatingIfNeeded: state >> 17)
            }
            bytes.removeLast(Int(state >> 60))
            let parsed = try? parse(bytes)
            #expect(parsed.map { $0.entries.count <= bytes.count / 4 } ?? true)
        }
    }
}
