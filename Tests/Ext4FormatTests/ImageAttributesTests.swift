import Ext4
import TestShell
import Testing

/// Extended attributes and access lists: in inodes, in blocks that files share, in inodes of values.
@Suite struct ImageAttributesTests {
    static let kinds: [ImageKind] = [
        .ext4, .small, .inline, .bigalloc, ImageKind(kind: .ext2, blockSize: 1024),
        ImageKind(features: "^has_journal,ea_inode", blockSize: 1024),
        ImageKind(features: "^has_journal,bigalloc,inline_data,ea_inode", megabytes: 16),
    ]

    private func attribute(_ name: FileName, _ count: Int, seed: Int = 1) -> ExtendedAttribute {
        ExtendedAttribute(name: name, value: pattern(count, seed: seed))
    }

    private func file(_ attributes: ExtendedAttribute...) -> NewImageNode {
        var new = NewImageNode.file()
        new.attributes = attributes
        return new
    }

    private func shown(_ attributes: ExtendedAttribute..., contents: [UInt8] = []) -> Shown {
        var shown = Shown.file(contents)
        for attribute in attributes { shown.attributes[attribute.name] = attribute.value }
        return shown
    }

    @Test(arguments: kinds)
    func valuesOfAnySizeAreKept(_ kind: ImageKind) throws {
        let image = try TestImage(kind)
        let small = attribute("user.small", 10)
        let empty = attribute("user.empty", 0)
        let medium = attribute("user.medium", 120, seed: 2)
        let large = attribute("user.large", 700, seed: 3)
        let trusted = attribute("trusted.t", 33, seed: 4)
        let capability = attribute("security.capability", 20, seed: 5)
        let contents = pattern(140)
        try image.builder.addFile("a", in: .root, file(small), contents: contents)
        try image.builder.addFile("b", in: .root, file(small, empty, medium), contents: contents)
        try image.builder.addFile("c", in: .root, file(large, small), contents: contents)
        try image.builder.addFile(
            "d", in: .root, file(trusted, capability, large), contents: contents)
        var directory = NewImageNode.directory()
        directory.attributes = [large, empty]
        try image.builder.add("e", in: .root, directory)
        var link = NewImageNode.symlink(to: [0x78])
        link.attributes = [trusted]
        try image.builder.add("f", in: .root, link)
        var (shownDirectory, shownLink) = (Shown.directory(), Shown.symlink([0x78]))
        shownDirectory.attributes = ["user.large": large.value, "user.empty": []]
        shownLink.attributes = ["trusted.t": trusted.value]
        let volume = try image.finish()
        expectSame(
            try volume.shownTree(),
            [
                "a": shown(small, contents: contents),
                "b": shown(small, empty, medium, contents: contents),
                "c": shown(large, small, contents: contents),
                "d": shown(trusted, capability, large, contents: contents), "e": shownDirectory,
                "f": shownLink,
            ])
        let said = try image.debugfs("ea_get -x /c user.large")
        #expect(said.split(separator: " ").count > 700, "\(said.prefix(100))")
    }

    /// Where no place is left, the set is refused and the builder goes on.
    @Test func whatDoesNotFitIsRefused() throws {
        let image = try TestImage(.small)
        let builder = image.builder
        let tooLarge = [
            [attribute("user.x", 5000)], [attribute("user.x", 70_000)],
            [attribute("user.x", 700), attribute("user.y", 400)],
        ]
        for set in tooLarge {
            var new = NewImageNode.file()
            new.attributes = set
            #expect(throws: Ext4Error.attributeTooLarge) { try builder.add("no", in: .root, new) }
            #expect(throws: Ext4Error.attributeTooLarge) {
                try builder.checkAttributes(set, of: .regular)
            }
        }
        let wrong: [(FileName, FileType, Ext4Error)] = [
            ("", .regular, .attributeNameTooLong),
            (
                FileName("user." + String(repeating: "n", count: 251)), .regular,
                .attributeNameTooLong
            ),
            ("user.x", .symlink, .notPermitted), ("user.x", .fifo, .notPermitted),
            ("gnu.author", .regular, .notSupported), ("nothing", .regular, .notSupported),
            (FileName(Array("user.a".utf8) + [0]), .regular, .invalidArgument),
            ("system.posix_acl_default", .regular, .accessDenied),
        ]
        let list = AccessControlList([
            .init(.userObject, [.read]), .init(.groupObject, []), .init(.other, []),
        ]).attributeValue
        for (name, type, error) in wrong {
            #expect(throws: error, "\(name)") {
                try builder.checkAttributes(
                    [ExtendedAttribute(name: name, value: list)], of: type)
            }
        }
        try builder.addFile("yes", in: .root, file(attribute("user.x", 900)), contents: [1])
        expectSame(
            try image.finish().shownTree(),
            ["yes": shown(attribute("user.x", 900), contents: [1])])
    }

    /// More files than one block of attributes can serve: 1,024 each.
    @Test(arguments: [ImageKind.ext4, .small])
    func aSetIsSharedByManyFiles(_ kind: ImageKind) throws {
        let image = try TestImage(kind)
        let new = file(attribute("user.shared", 300), attribute("security.selinux", 30))
        for number in 0..<2050 {
            try image.builder.add(FileName("\(number)"), in: .root, new)
        }
        let volume = try image.finish()
        for number in stride(from: 0, to: 2050, by: 100) {
            let inode = try volume.inode(atPath: "/\(number)")
            #expect(
                try volume.extendedAttribute("user.shared", of: inode)
                    == attribute("user.shared", 300).value)
        }
        let commands = (0..<2050).map { "stat /\($0)\n" }.joined()
        try image.scratch.write(Array(commands.utf8), to: "commands")
        let said = try shell(
            "debugfs -f $1 $2 2>/dev/null | sed -n 's/^File ACL: //p'",
            image.scratch.path("commands"), image.path)
        var blocks: [Substring: Int] = [:]
        for block in said.split(separator: "\n") { blocks[block, default: 0] += 1 }
        #expect(blocks.values.sorted() == [2, 1024, 1024])
        #expect(blocks["0"] == nil)
    }

    /// Values with inodes of their own, each value once, whoever names it.
    @Test(arguments: [
        ImageKind(features: "^has_journal,ea_inode"),
        ImageKind(features: "ea_inode", blockSize: 1024),
        ImageKind(features: "^has_journal,ea_inode,bigalloc", blockSize: 1024, megabytes: 8),
        ImageKind(features: "^has_journal,ea_inode,inline_data,^metadata_csum,quota"),
    ])
    func largeValuesHaveInodes(_ kind: ImageKind) throws {
        let image = try TestImage(kind)
        let one = attribute("user.one", 5000)
        let other = attribute("trusted.other", 65_536, seed: 2)
        let same = ExtendedAttribute(name: "user.same", value: one.value)
        for number in 0..<5 {
            try image.builder.add(FileName("\(number)"), in: .root, file(one))
        }
        try image.builder.addFile("more", in: .root, file(other, same), contents: pattern(3000))
        // Named by nobody in the end.
        try image.builder.add("gone", in: .root, file(attribute("user.x", 9000, seed: 3)))
        try image.builder.remove("gone", in: .root)
        let volume = try image.finish()
        var expected: ShownTree = ["more": shown(other, same, contents: pattern(3000))]
        for number in 0..<5 { expected[FileName("\(number)")] = shown(one) }
        expectSame(try volume.shownTree(), expected)
        let superblock = volume.superblock
        var values: [(size: UInt64, count: UInt64)] = []
        for number in 12...superblock.inodesCount {
            guard let inode = try? volume.inode(InodeNumber(number)),
                inode.flags.contains(.attributeInode)
            else { continue }
            values.append((inode.size, inode.version & 0xFFFF_FFFF))
        }
        values.sort { $0.size < $1.size }
        #expect(values.map(\.size) == [5000, 65_536])
        #expect(values.map(\.count) == [6, 1])
    }

    @Test(arguments: kinds)
    func accessListsAreKept(_ kind: ImageKind) throws {
        let image = try TestImage(kind)
        let rich = AccessControlList([
            .init(.userObject, [.read, .write]), .init(.user(1234), [.read, .execute]),
            .init(.groupObject, [.read]), .init(.group(77), []), .init(.mask, [.read]),
            .init(.other, []),
        ])
        let plain = AccessControlList([
            .init(.userObject, [.read, .write, .execute]), .init(.groupObject, [.execute]),
            .init(.other, [.read]),
        ])
        let access: FileName = "system.posix_acl_access"
        var new = NewImageNode.file(0o4777)
        new.attributes = [ExtendedAttribute(name: access, value: rich.attributeValue)]
        try image.builder.add("rich", in: .root, new)
        // A list that says what a mode can say is that mode.
        new.attributes = [ExtendedAttribute(name: access, value: plain.attributeValue)]
        try image.builder.add("plain", in: .root, new)
        var directory = NewImageNode.directory()
        directory.attributes = [
            ExtendedAttribute(name: "system.posix_acl_default", value: rich.attributeValue)
        ]
        try image.builder.add("directory", in: .root, directory)
        var broken = NewImageNode.file()
        let noMask = AccessControlList(rich.entries.filter { $0.tag != .mask })
        broken.attributes = [ExtendedAttribute(name: access, value: noMask.attributeValue)]
        let refused = broken
        #expect(throws: Ext4Error.invalidArgument) {
            try image.builder.add("broken", in: .root, refused)
        }
        let volume = try image.finish()
        let inode = try volume.inode(atPath: "/rich")
        #expect(try volume.accessControlList(.access, of: inode) == rich)
        // The mask is what the group's bits show.
        #expect(inode.mode.permissions == 0o4640)
        let other = try volume.inode(atPath: "/plain")
        #expect(other.mode.permissions == 0o4714)
        #expect(try volume.extendedAttributes(of: other) == [])
        let parent = try volume.inode(atPath: "/directory")
        #expect(try volume.accessControlList(.default, of: parent) == rich)
        #expect(parent.mode.permissions == 0o755)
    }

    /// `chmod` changes the mask of a list, and what the owner and others may do.
    @Test(arguments: kinds)
    func accessListsFollowPermissions(_ kind: ImageKind) throws {
        let image = try TestImage(kind)
        func list(_ owner: UInt16, _ mask: UInt16, _ other: UInt16) -> AccessControlList {
            AccessControlList([
                .init(.userObject, .init(rawValue: owner)), .init(.user(1234), [.read, .write]),
                .init(.groupObject, [.read]), .init(.mask, .init(rawValue: mask)),
                .init(.other, .init(rawValue: other)),
            ])
        }
        var new = NewImageNode.file(0o666)
        new.attributes = [
            ExtendedAttribute(
                name: "system.posix_acl_access", value: list(6, 6, 4).attributeValue)
        ]
        let changed = try image.builder.add("changed", in: .root, new)
        try image.builder.add("same", in: .root, new)
        try image.builder.change(changed, userID: 5, groupID: 6, permissions: 0o4640)
        let volume = try image.finish()
        let inode = try volume.inode(atPath: "/changed")
        #expect(try volume.accessControlList(.access, of: inode) == list(6, 4, 0))
        #expect(inode.mode.permissions == 0o4640)
        let other = try volume.inode(atPath: "/same")
        #expect(try volume.accessControlList(.access, of: other) == list(6, 6, 4))
        #expect(other.mode.permissions == 0o664)
    }

    /// Attributes that come when contents stand in the inode already.
    @Test func attributesComeLaterThanContents() throws {
        let image = try TestImage(.inline)
        let small = try image.builder.addFile(
            "small", in: .root, .file(), contents: pattern(50))
        let full = try image.builder.addFile("full", in: .root, .file(), contents: pattern(120))
        let large = attribute("user.large", 40)
        try image.builder.set(small, to: file(large))
        try image.builder.set(full, to: file(large))
        expectSame(
            try image.finish().shownTree(),
            [
                "small": shown(large, contents: pattern(50)),
                "full": shown(large, contents: pattern(120)),
            ])
    }
}
