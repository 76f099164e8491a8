import Foundation
import Testing

@testable import Ext4

/// Broken attributes give an error that names the place, and nothing else.
@Suite(.serialized, .enabled(if: isRoot, "mounting needs root"))
struct BrokenAttributeTests {
    private typealias Entry = XAttrEntryRecord.Layout
    private typealias Header = XAttrBlockHeader.Layout
    private typealias Record = InodeRecord.Layout

    private let name = AttributeName(prefix: .user, rest: Array("v".utf8))

    /// A volume with a value in an inode, one in a block, and one in an inode of its own.
    private func volume(_ options: String) throws -> BrokenVolume {
        let image = try KernelImage(
            ["-t", "ext4", "-b", "4096", "-J", "size=8", "-O", options], mebibytes: 32)
        try image.mounted { root in
            try KernelImage.shell(
                """
                cd "$1"
                touch inner outer big other; echo contents >plain; mkdir directory
                setfattr -n user.v -v small inner
                setfattr -n user.v -v "$(printf %01500d 7)" outer
                setfattr -n user.v -v "$(printf %020000d 7)" big
                setfattr -n user.v -v "$(printf %020001d 7)" other
                setfacl -m u:1000:rwx inner
                """, root)
        }
        return try BrokenVolume(image)
    }

    private func attributes(_ volume: Volume, _ path: String) throws {
        _ = try volume.extendedAttributes(of: volume.inode(atPath: path))
    }

    @Test func blocks() throws {
        let volume = try volume("ea_inode,^metadata_csum")
        let (entry, place) = try #require(try volume.entryInBlock(name, "outer"))
        let number = try volume.inode("outer").attributeBlock
        let block = volume.offset(of: number)
        guard case .inArea(let range) = entry.value else {
            Issue.record("the value is not in the block")
            return
        }
        typealias Case = (offset: UInt64, bytes: [UInt8], rule: Corruption.Rule)
        let cases: [Case] = [
            (block, [1], .magic(found: 0xEA02_0001)),
            (
                block + UInt64(Header.referenceCount.offset), BrokenVolume.little(UInt32(0)),
                .field("h_refcount", value: 0, rule: "from 1 to 1024")
            ),
            (
                block + UInt64(Header.referenceCount.offset), BrokenVolume.little(UInt32.max),
                .field("h_refcount", value: UInt64(UInt32.max), rule: "from 1 to 1024")
            ),
            (
                block + UInt64(Header.blockCount.offset), [9],
                .field("h_blocks", value: 9, rule: "1")
            ),
            (
                place + UInt64(Entry.valueOffset.offset), [255, 255],
                .field(
                    "e_value_offs", value: 65535, rule: "behind the entries and within the area")
            ),
            (
                place + UInt64(Entry.valueSize.offset), BrokenVolume.little(UInt32(4096)),
                .field("e_value_size", value: 4096, rule: "within the area")
            ),
            (place + UInt64(Entry.name), [0], .broken("the name has a zero byte")),
        ]
        for (offset, bytes, rule) in cases {
            let found = try volume.corruption([(offset, bytes)]) { try attributes($0, "outer") }
            #expect(found?.structure == .extendedAttribute)
            #expect(found?.rule == rule)
            #expect(found?.place.block == number)
        }
        // The value is not what its hash says; without that check it is read as it is.
        let change = [
            (offset: block + UInt64(range.lowerBound), bytes: [UInt8](repeating: 0, count: 1))
        ]
        let found = try volume.corruption(change) { try attributes($0, "outer") }
        guard case .checksum? = found?.rule else {
            Issue.record("\(String(describing: found))")
            return
        }
        var options = OpenOptions()
        options.verifiesChecksums = false
        try volume.patched(change, options: options) { changed in
            let value = try changed.extendedAttribute(
                "user.v", of: changed.inode(atPath: "outer"))
            #expect(value == [0] + [UInt8](repeating: 0x30, count: 1498) + [0x37])
        }
        // The block's number leads out of the volume, or into something else.
        let field =
            try volume.offset(of: volume.inode("outer").number)
            + UInt64(Record.fileACLLow.offset)
        for (pointer, structure) in [(UInt32.max, "out"), (1, "descriptors")] {
            let found = try volume.corruption([(field, BrokenVolume.little(pointer))]) {
                try attributes($0, "outer")
            }
            #expect(found?.structure == .extendedAttribute, "\(structure)")
        }
    }

    @Test func checksumsOfBlocks() throws {
        let volume = try volume("ea_inode")
        let block = volume.offset(of: try volume.inode("outer").attributeBlock)
        for offset in [UInt64(Header.checksum.offset), UInt64(Header.hash.offset), 2000, 4095] {
            let found = try volume.corruption([(block + offset, [0xA5])]) {
                try attributes($0, "outer")
            }
            guard case .checksum? = found?.rule else {
                Issue.record("byte \(offset): \(String(describing: found))")
                continue
            }
            #expect(found?.place.block?.rawValue == block / 4096)
        }
    }

    /// Self reference, and a flag on one side only: each once led a file system astray.
    @Test func valuesInInodes() throws {
        let volume = try volume("ea_inode,^metadata_csum")
        let (entry, place) = try #require(try volume.entryInInode(name, "big"))
        guard case .inode(let number, let size) = entry.value else {
            Issue.record("the value has no inode")
            return
        }
        #expect(size == 20_000)
        let holder = try volume.offset(of: number)
        let other = try #require(try volume.entryInInode(name, "other")?.0)
        guard case .inode(let otherNumber, _) = other.value else { return }
        let plain = try volume.inode("plain")
        let reference = place + UInt64(Entry.valueInode.offset)
        let size32 = BrokenVolume.little(UInt32(20_001))

        func found(_ patches: (offset: UInt64, bytes: [UInt8])...) throws -> Corruption? {
            try volume.corruption(patches) { try attributes($0, "big") }
        }
        // The value's inode is the file itself.
        let own = try volume.inode("big").number
        #expect(try found((reference, BrokenVolume.little(own.rawValue)))?.rule == .cycle)
        // It is the root, a reserved one, or beyond the last.
        for bad: UInt32 in [2, 8, .max] {
            let corruption = try found((reference, BrokenVolume.little(bad)))
            guard case .field("e_value_inum", UInt64(bad), _)? = corruption?.rule else {
                Issue.record("\(String(describing: corruption))")
                continue
            }
        }
        // It is a file that somebody can open and write to, and has the right size.
        let flags = holder + UInt64(Record.flags.offset)
        for patches in [
            [(reference, BrokenVolume.little(plain.number.rawValue))],
            [(flags, BrokenVolume.little(UInt32(0x80000)))],
        ] {
            let corruption = try volume.corruption(patches) { try attributes($0, "big") }
            #expect(corruption?.structure == .attributeInode)
            guard case .field("i_flags", _, _)? = corruption?.rule else {
                Issue.record("\(String(describing: corruption))")
                continue
            }
        }
        // Another one's value; another size; contents, and a hash, that were changed.
        let swapped = try found((reference, BrokenVolume.little(otherNumber.rawValue)))
        guard case .field("i_size", 20_001, _)? = swapped?.rule else {
            Issue.record("\(String(describing: swapped))")
            return
        }
        let stretched = try found(
            (place + UInt64(Entry.valueSize.offset), size32),
            (holder + UInt64(Record.sizeLow.offset), size32))
        let rehashed = try found((holder + UInt64(Record.accessTime.offset), [1, 2, 3, 4]))
        let otherEntry = try found((place + UInt64(Entry.hash.offset), [1, 2, 3, 4]))
        for (corruption, structure) in [
            (stretched, Corruption.Structure.attributeInode), (rehashed, .attributeInode),
            (otherEntry, .extendedAttribute),
        ] {
            #expect(corruption?.structure == structure)
            guard case .checksum? = corruption?.rule else {
                Issue.record("\(String(describing: corruption))")
                continue
            }
        }
        // It has attributes of its own, which could lead on and on.
        let nested = try found((holder + UInt64(Record.fileACLLow.offset), [7]))
        #expect(nested?.rule == .field("i_file_acl", value: 7, rule: "0"))
        // It is free.
        let free = try found((holder, [0, 0]), (holder + UInt64(Record.linkCount.offset), [0, 0]))
        #expect(free?.structure == .attributeInode)
    }

    /// An inode that holds a value must not be reached by a name.
    @Test func namesOfValues() throws {
        let volume = try volume("ea_inode,^metadata_csum")
        let plain = try volume.inode("plain")
        let flags = try volume.offset(of: plain.number) + UInt64(Record.flags.offset)
        let marked = BrokenVolume.little(plain.flags.rawValue | 0x20_0000)
        let found = try volume.corruption([(flags, marked)]) { _ = try $0.inode(atPath: "plain") }
        #expect(found?.structure == .directoryBlock)
    }

    @Test func accessControlLists() throws {
        let volume = try volume("ea_inode,^metadata_csum")
        let (entry, _) = try #require(try volume.entryInInode(.accessACL, "inner"))
        guard case .inArea(let range) = entry.value else { return }
        let start = try volume.offset(of: volume.inode("inner").number) + UInt64(range.lowerBound)
        // Version, a tag that nobody knows, and an order that POSIX forbids.
        for (offset, byte) in [(0, 2), (4, 0x40)] as [(UInt64, UInt8)] {
            let found = try volume.corruption([(start + offset, [byte])]) {
                try attributes($0, "inner")
            }
            #expect(found?.structure == .accessControlList)
            #expect(found?.place.inode != nil)
        }
        let found = try volume.corruption([(start + 4, [0x20])]) { volume in
            // As an attribute it is shown, as the kernel does.
            try attributes(volume, "inner")
            _ = try volume.accessControlList(.access, of: volume.inode(atPath: "inner"))
        }
        #expect(found?.rule == .broken("the entries are not in order"))
    }

    /// Whatever stands there: a value or an `Ext4Error`, and no end of it.
    @Test func noBytesTrap() throws {
        let volume = try volume("ea_inode,inline_data,^metadata_csum")
        var state: UInt64 = 0x0BAD
        func next(_ bound: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % bound
        }
        let paths = ["inner", "outer", "big", "other", "plain", "directory"]
        guard case .inode(let number, _)? = try volume.entryInInode(name, "big")?.0.value else {
            Issue.record("the value has no inode")
            return
        }
        let block = volume.offset(of: try volume.inode("outer").attributeBlock)
        var places = try paths.map { (try volume.offset(of: volume.inode($0).number), 256) }
        places += [(try volume.offset(of: number), 256), (block, 96)]
        let odd: [UInt8] = [0, 1, 2, 4, 0x10, 0x20, 0x7F, 0x80, 0xFC, 0xFF]
        var outcomes = (good: 0, corrupt: 0)
        for _ in 0..<1500 {
            let patches = (0...next(4)).map { _ in
                let (start, count) = places[next(places.count)]
                let byte = next(2) == 0 ? odd[next(odd.count)] : UInt8(next(256))
                return (offset: start + UInt64(next(count)), bytes: [byte])
            }
            try volume.patched(patches) { volume in
                for path in paths {
                    do {
                        let inode = try volume.inode(atPath: path)
                        _ = try volume.extendedAttributeNames(of: inode)
                        _ = try volume.accessControlList(.default, of: inode)
                        _ = try volume.extendedAttributes(of: inode)
                        outcomes.good += 1
                    } catch is Ext4Error {
                        outcomes.corrupt += 1
                    }
                }
            }
        }
        // Both were met, so that the test tests.
        #expect(outcomes.good > 1000 && outcomes.corrupt > 300, "\(outcomes)")
    }
}
