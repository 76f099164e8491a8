import Foundation
import Testing

@testable import Ext4

/// Attributes that the kernel wrote are read as the kernel reads them.
@Suite(.serialized, .enabled(if: isRoot, "mounting needs root"))
struct KernelAttributesTests {
    /// Options of `mke2fs`, the largest value that fits, and a size that fits a block but no inode.
    static let volumes: [(options: String, largest: Int, shared: Int)] = [
        ("-t ext4 -b 4096", 3900, 1500),
        ("-t ext4 -b 1024 -I 128", 900, 400),
        ("-t ext4 -b 4096 -I 1024", 3900, 1500),
        ("-t ext2 -b 2048", 1900, 400),
        ("-t ext4 -b 4096 -J size=8 -O ea_inode,metadata_csum_seed", 65536, 1500),
        ("-t ext4 -b 1024 -J size=8 -O ea_inode,^metadata_csum", 65536, 400),
        ("-t ext4 -b 4096 -J size=8 -O ea_inode,inline_data", 65536, 1500),
    ]

    @Test(arguments: volumes.indices)
    func everythingIsReadAsTheKernelReadsIt(_ index: Int) throws {
        let (options, largest, shared) = Self.volumes[index]
        let image = try KernelImage(
            options.split(separator: " ").map(String.init), mebibytes: 32)
        try image.mounted { try AttributeTree.fill($0, largest: largest, shared: shared) }
        let expected = try image.mounted(readOnly: true) { try AttributeListing.kernel($0) }
        #expect(expected.files.count > 60)
        #expect(expected.files["large"]?.values.contains { $0.count == largest } == true)

        let volume = try image.volume()
        let found = try AttributeListing.engine(volume)
        #expect(found.differences(from: expected) == [])

        // One at a time, by name; and the names alone.
        for (path, attributes) in expected.files {
            let inode = try volume.inode(atPath: path, followingSymlinks: false)
            #expect(
                Set(try volume.extendedAttributeNames(of: inode).map(\.bytes))
                    == Set(attributes.keys))
            for (name, value) in attributes {
                #expect(try volume.extendedAttribute(FileName(name), of: inode) == value)
            }
            #expect(throws: Ext4Error.noAttribute) {
                try volume.extendedAttribute("user.not there", of: inode)
            }
        }
        try expectACLs(volume, image)
        try expectSharing(volume)
    }

    /// `getfacl` and this engine print the same lists.
    private func expectACLs(_ volume: Volume, _ image: KernelImage) throws {
        let printed = try image.mounted(readOnly: true) { root in
            try ["acl", "directory"].map { name in
                String(
                    decoding: try KernelImage.run(["getfacl", "-n", "-c", "-p", "\(root)/\(name)"]),
                    as: UTF8.self
                ).trimmingCharacters(in: .newlines)
            }
        }
        let file = try volume.inode(atPath: "acl")
        let directory = try volume.inode(atPath: "directory")
        let access = try #require(try volume.accessControlList(.access, of: file))
        #expect(access.entries.count == 7)
        // getfacl adds what the mask leaves of an entry, as a comment.
        #expect(access.description == uncommented(printed[0]))
        #expect(try volume.accessControlList(.default, of: file) == nil)
        let inherited = try #require(try volume.accessControlList(.default, of: directory))
        let lines = uncommented(printed[1]).split(separator: "\n")
        #expect(
            inherited.description
                == lines.filter { $0.hasPrefix("default:") }.map { $0.dropFirst(8) }
                .joined(separator: "\n"))
    }

    private func uncommented(_ text: String) -> String {
        text.split(separator: "\n").map { line in
            String(line.prefix { $0 != "\t" && $0 != "#" }).trimmingCharacters(in: .whitespaces)
        }.joined(separator: "\n")
    }

    /// Files with the same attributes share one block, and all of them are read from it.
    private func expectSharing(_ volume: Volume) throws {
        let inodes = try (0..<20).map { try volume.inode(atPath: "shared\($0)") }
        let blocks = Set(inodes.map(\.attributeBlock))
        #expect(blocks.count == 1)
        let block = try #require(blocks.first)
        #expect(block.rawValue != 0)
        let bytes = try volume.device.read(
            at: block.rawValue * UInt64(volume.blockSize), count: volume.blockSize)
        let header = try unsafe XAttrBlockHeader(
            parsing: bytes.span.bytes, at: block, checksumSeed: nil)
        #expect(header.referenceCount == 20)
        let list = try unsafe AttributeList(
            parsingBlock: bytes.span.bytes, at: block, volume.attributeContext(inodes[0]))
        #expect(XAttrHash.ofBlock(list.entries.map(\.hash)) == header.hash)
    }

    /// A tree that `mke2fs -d` copied: the attributes are libext2fs's work, not the kernel's.
    @Test(arguments: ["-t ext4 -O ea_inode", "-t ext4 -b 1024 -I 128", "-t ext4 -O inline_data"])
    func attributesOfMke2fs(_ options: String) throws {
        let source = try KernelImage(["-t", "ext4", "-O", "ea_inode"])
        let large = options.contains("ea_inode") ? 20_000 : 700
        let image = try source.mounted { root in
            try AttributeTree.fill(root, largest: large, isPlain: true)
            return try KernelImage(
                options.split(separator: " ").map(String.init) + ["-d", root])
        }
        let expected = try image.mounted(readOnly: true) { try AttributeListing.kernel($0) }
        #expect(expected.files.count > 40)
        #expect(try AttributeListing.engine(image.volume()).differences(from: expected) == [])
    }
}
