import Foundation
import Testing

@testable import Ext4

/// Encrypted directories look as the kernel shows them without the key.
@Suite(.serialized, .enabled(if: isRoot, "mounting needs root"))
struct EncryptedDirectoryTests {
    /// What one name of a tree leads to.
    struct Object: Equatable {
        let inode: UInt64
        let target: String?
    }

    @Test(arguments: [
        "-b 1024 -O encrypt", "-b 4096 -O encrypt", "-b 1024 -O encrypt,^dir_index",
        "-b 1024 -O encrypt,inline_data", "-b 4096 -I 128 -O encrypt,^metadata_csum",
    ])
    func namesAreShownAsTheKernelShowsThem(_ options: String) throws {
        let image = try KernelImage(
            ["-t", "ext4"] + options.split(separator: " ").map(String.init), mebibytes: 32)
        do {
            try image.mounted { try fill($0) }
        } catch is EncryptionKey.Unavailable {
            try Test.cancel("this kernel has no encryption of files")
        }
        // Directories that have an index keep its hash; those without one get the new one.
        if options.contains("-b 4096") {
            try KernelImage.run(["tune2fs", "-E", "hash_alg=tea", image.path])
        }
        let expected = try image.mounted(readOnly: true) { try kernelTree($0) }
        #expect(expected.count > 800)
        let volume = try image.volume()
        let found = try engineTree(volume)
        for path in Set(expected.keys).union(found.keys).sorted() {
            #expect(found[path] == expected[path], "\(path)")
        }
        // Each shown name is found again, and its contents stay closed.
        for (path, object) in expected {
            let inode = try volume.inode(atPath: path, followingSymlinks: false)
            #expect(UInt64(inode.number.rawValue) == object.inode)
            guard inode.isEncrypted, inode.type == .regular else { continue }
            #expect(throws: Ext4Error.noKey) { try volume.contents(of: inode) }
            #expect(try volume.extendedAttributeNames(of: inode) == [])
        }
        let directory = try volume.inode(atPath: "four")
        for name: FileName in ["n", "plain", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
            #expect(throws: Ext4Error.notFound) { try volume.lookup(name, in: directory) }
        }
        // The policy is there, but hidden from users.
        let policy = try volume.storedAttribute(.encryptionContext, of: directory)
        #expect(policy?.first == 2)
        #expect(policy?.count == 40)
    }

    private func fill(_ root: String) throws {
        let key = try EncryptionKey(addingTo: root)
        let files = FileManager.default
        for padding in EncryptionKey.Padding.allCases {
            let directory = "\(root)/\(padding)"
            try key.makeDirectory(directory, padding)
            // Ciphertexts are as long as the padded name; from 150 bytes on they are shortened.
            for length in [
                1, 4, 5, 16, 17, 31, 33, 100, 144, 145, 148, 149, 150, 152, 153, 161, 255,
            ] {
                let name = "\(length)" + String(repeating: "n", count: 255)
                #expect(
                    files.createFile(
                        atPath: "\(directory)/\(name.prefix(length))", contents: Data("x".utf8)))
            }
            for length in [1, 5, 30, 31, 59, 60, 61, 146, 200, 255, 1000] {
                try files.createSymbolicLink(
                    atPath: "\(directory)/link\(length)",
                    withDestinationPath: String(repeating: "t", count: length / 2 * 2 + 1))
            }
            try files.createDirectory(
                atPath: "\(directory)/below", withIntermediateDirectories: false)
            #expect(files.createFile(atPath: "\(directory)/below/file", contents: Data()))
        }
        // Enough for an index: names are found by their hash.
        try key.makeDirectory("\(root)/many", .sixteen)
        for i in 0..<700 {
            let name = "file \(i) " + String(repeating: "y", count: i % 180)
            #expect(files.createFile(atPath: "\(root)/many/\(name)", contents: nil))
        }
        try files.createDirectory(atPath: "\(root)/open", withIntermediateDirectories: false)
        #expect(files.createFile(atPath: "\(root)/open/name", contents: Data()))
    }

    private func kernelTree(_ root: String) throws -> [String: Object] {
        var tree: [String: Object] = [:]
        for path in try FileManager.default.subpathsOfDirectory(atPath: root) {
            let full = "\(root)/\(path)"
            let attributes = try FileManager.default.attributesOfItem(atPath: full)
            let isLink = attributes[.type] as? FileAttributeType == .typeSymbolicLink
            tree[path] = Object(
                inode: (attributes[.systemFileNumber] as? NSNumber)?.uint64Value ?? 0,
                target: isLink
                    ? try FileManager.default.destinationOfSymbolicLink(atPath: full) : nil)
        }
        return tree
    }

    private func engineTree(_ volume: Volume) throws -> [String: Object] {
        var tree: [String: Object] = [:]
        var pending: [(path: String, inode: Inode)] = [("", try volume.root())]
        while let (path, directory) = pending.popLast() {
            for entry in try volume.entries(of: directory)
            where entry.name != "." && entry.name != ".." {
                let name = path.isEmpty ? "\(entry.name)" : "\(path)/\(entry.name)"
                let inode = try volume.inode(entry.inode)
                let target =
                    inode.type == .symlink
                    ? String(decoding: try volume.symlinkTarget(of: inode), as: UTF8.self) : nil
                tree[name] = Object(inode: UInt64(inode.number.rawValue), target: target)
                if inode.isDirectory { pending.append((name, inode)) }
            }
        }
        return tree
    }
}
