import Foundation
import Testing

@testable import Ext4

/// Attributes that this engine wrote are what e2fsck and the kernel find good and the same.
@Suite(.serialized, .enabled(if: isRoot, "mounting needs root"))
struct WrittenAttributesTests {
    @Test(arguments: KernelAttributesTests.volumes.indices)
    func randomChangesAreWhatTheKernelSees(_ index: Int) throws {
        let (options, largest, _) = KernelAttributesTests.volumes[index]
        let image = try KernelImage(options.split(separator: " ").map(String.init), mebibytes: 32)
        var model = AttributeModel(seed: UInt64(index) &+ 1, largest: largest)
        try image.written { try model.fill($0) }
        // Several times over, so that what was written is also found on the disk and changed.
        for _ in 0..<3 {
            try image.written { volume in
                for i in 0..<250 {
                    try model.change(volume)
                    if i % 100 == 99 { try volume.sync() }
                }
                try model.compare(with: volume)
                // A short target is told from blocks of attributes.
                let link = try volume.inode(atPath: "link", followingSymlinks: false)
                #expect(try volume.symlinkTarget(of: link) == Array("file0".utf8))
            }
            let kernel = try image.mounted(readOnly: true) { try AttributeListing.kernel($0) }
            #expect(kernel.differences(from: model.expected) == [])
            try model.compare(with: try image.volume())
        }
        #expect(model.expected.files.count > 8)
        // The kernel goes on from there, where it has room.
        try image.mounted { root in
            for path in model.expected.files.keys where path.hasPrefix("file") {
                try KernelImage.shell(
                    """
                    if setfattr -n user.kernel -v here "$1" 2>/dev/null
                    then setfattr -x user.kernel "$1"; fi
                    """,
                    "\(root)/\(path)")
            }
        }
        try image.check()
        // And everything goes with the files: as many blocks and inodes are free as were before.
        try image.written { volume in
            let root = try volume.root()
            for path in AttributeModel.paths {
                if path.hasPrefix("directory") {
                    try volume.removeDirectory(FileName(path), in: root)
                } else {
                    try volume.unlink(FileName(path), in: root)
                }
            }
        }
        let empty = try KernelImage(options.split(separator: " ").map(String.init), mebibytes: 32)
        #expect(try freeCounts(image) == freeCounts(empty))
    }

    private func freeCounts(_ image: KernelImage) throws -> [String] {
        String(decoding: try KernelImage.run(["dumpe2fs", "-h", image.path]), as: UTF8.self)
            .split(separator: "\n").map(String.init).filter {
                $0.hasPrefix("Free blocks:") || $0.hasPrefix("Free inodes:")
            }
    }

    // MARK: - Sharing

    /// The blocks of attributes of these files, and how many share each.
    private func counts(_ volume: Volume, _ paths: [String]) throws -> [BlockNumber: UInt32] {
        var counts: [BlockNumber: UInt32] = [:]
        for path in paths {
            let inode = try volume.inode(atPath: path)
            let block = inode.attributeBlock
            guard block.rawValue != 0 else { continue }
            let bytes = try volume.attributeBlock(block, of: inode)
            counts[block] = unsafe bytes.span.bytes[XAttrBlockHeader.Layout.referenceCount]
        }
        return counts
    }

    @Test(arguments: ["-t ext4 -b 4096", "-t ext4 -b 1024 -O ^metadata_csum", "-t ext2 -b 1024"])
    func filesWithTheSameAttributesShareBlocks(_ options: String) throws {
        let image = try KernelImage(options.split(separator: " ").map(String.init), mebibytes: 32)
        let paths = (0..<1100).map { "file\($0)" }
        let value = [UInt8](repeating: 7, count: 400)
        let free = try image.written { volume in
            let root = try volume.root()
            for path in paths {
                _ = try volume.create(
                    FileName(path), in: root, NewInode(mode: FileMode(rawValue: 0o100644)))
            }
            return try volume.requireWriting().blocks.freeBlocks
        }
        try image.written { volume in
            for path in paths {
                try volume.setExtendedAttribute(
                    "user.same", to: value, of: volume.inode(atPath: path))
            }
            // No block has more than 1,024 owners.
            #expect(try counts(volume, paths).values.sorted() == [76, 1024])
            #expect(try volume.requireWriting().blocks.freeBlocks == free - 2)
        }
        try image.written { volume in
            // Who changes has a block alone again, and the others keep theirs.
            let inode = try volume.inode(atPath: paths[3])
            try volume.setExtendedAttribute("user.other", to: value, of: inode, mode: .create)
            #expect(try counts(volume, [paths[3]]).values.sorted() == [1])
            #expect(try counts(volume, paths).values.sorted() == [1, 76, 1023])
            // In place, while it is alone.
            let block = inode.attributeBlock
            try volume.setExtendedAttribute("user.other", to: [9], of: inode, mode: .replace)
            #expect(inode.attributeBlock == block)
            // And back, to one that others have.
            try volume.removeExtendedAttribute("user.other", of: inode)
            #expect(try counts(volume, paths).values.sorted().reduce(0, +) == 1100)
        }
        let seen = try image.mounted(readOnly: true) { try AttributeListing.kernel($0) }
        #expect(seen.files.count == 1100)
        #expect(seen.files.values.allSatisfy { $0 == [Array("user.same".utf8): value] })
        try image.written { volume in
            let root = try volume.root()
            for path in paths[..<600] {
                try volume.removeExtendedAttribute("user.same", of: volume.inode(atPath: path))
            }
            for path in paths[600...] { try volume.unlink(FileName(path), in: root) }
            try volume.sync()
            #expect(try volume.requireWriting().blocks.freeBlocks == free)
        }
    }

    /// The kernel gives equal large values one inode, and so whole blocks that name it are shared.
    @Test(arguments: ["-t ext4 -b 4096 -I 128", "-t ext4 -b 1024 -I 256"])
    func valuesThatTheKernelShares(_ options: String) throws {
        let image = try KernelImage(
            options.split(separator: " ").map(String.init) + ["-O", "ea_inode"], mebibytes: 32)
        let paths = (0..<9).map { "file\($0)" }
        let free = try freeCounts(image)
        let large = [UInt8](repeating: 0x41, count: 20_000)
        let middle = [UInt8](repeating: 0x42, count: 300)
        try image.mounted { root in
            for path in paths {
                try KernelImage.shell(
                    """
                    touch "$1"
                    setfattr -n user.middle -v "$(head -c 300 /dev/zero | tr '\\0' B)" "$1"
                    setfattr -n user.other -v "$(head -c 300 /dev/zero | tr '\\0' B)" "$1"
                    python3 -c 'import os, sys; os.setxattr(sys.argv[1], "user.large", b"A" * 20000)' "$1"
                    """, "\(root)/\(path)")
            }
        }
        var expected = AttributeListing()
        let names = ["user.middle", "user.other", "user.large"].map { Array($0.utf8) }
        for path in paths {
            expected.files[path] = [names[0]: middle, names[1]: middle, names[2]: large]
        }
        try image.written { volume in
            #expect(try AttributeListing.engine(volume).differences(from: expected) == [])
            #expect(try counts(volume, paths).values.allSatisfy { $0 > 1 })
            for (index, path) in paths.enumerated() {
                let inode = try volume.inode(atPath: path)
                switch index % 4 {
                case 0:
                    // A block of its own, which names the value too.
                    try volume.setExtendedAttribute("user.other", to: [1], of: inode)
                    expected.files[path]?[names[1]] = [1]
                case 1:
                    try volume.removeExtendedAttribute("user.large", of: inode)
                    expected.files[path]?[names[2]] = nil
                case 2:
                    try volume.setExtendedAttribute("user.large", to: middle + large, of: inode)
                    expected.files[path]?[names[2]] = middle + large
                default: break
                }
            }
        }
        let seen = try image.mounted(readOnly: true) { try AttributeListing.kernel($0) }
        #expect(seen.differences(from: expected) == [])
        try image.written { volume in
            for path in paths[..<5] { try volume.unlink(FileName(path), in: volume.root()) }
            try volume.sync()
            for path in paths[5...] { try volume.unlink(FileName(path), in: volume.root()) }
        }
        #expect(try freeCounts(image) == free)
    }

    @Test func sharedBlocksOfManyThreads() throws {
        let image = try KernelImage(["-t", "ext4", "-b", "1024", "-O", "ea_inode"], mebibytes: 32)
        let paths = (0..<8).map { "file\($0)" }
        try image.written { volume in
            let root = try volume.root()
            for path in paths {
                _ = try volume.create(
                    FileName(path), in: root, NewInode(mode: FileMode(rawValue: 0o100644)))
            }
            let failures = Failures()
            DispatchQueue.concurrentPerform(iterations: paths.count) { index in
                var lottery = Lottery(state: UInt64(index))
                do {
                    let inode = try volume.inode(atPath: paths[index])
                    for round in 0..<300 {
                        let value = [UInt8](
                            repeating: UInt8(lottery.next(below: 3)), count: 200)
                        let big = [UInt8](repeating: UInt8(round & 255), count: 3000)
                        switch lottery.next(below: 5) {
                        case 0: try? volume.removeExtendedAttribute("user.a", of: inode)
                        case 1: try? volume.removeExtendedAttribute("user.big", of: inode)
                        case 2:
                            try volume.setExtendedAttribute("user.big", to: big, of: inode)
                            let read = try volume.extendedAttribute("user.big", of: inode)
                            if read != big { failures.add("big") }
                        default:
                            try volume.setExtendedAttribute("user.a", to: value, of: inode)
                            let read = try volume.extendedAttribute("user.a", of: inode)
                            if read != value { failures.add("value") }
                        }
                        if round % 100 == 50 { try volume.sync() }
                    }
                } catch {
                    failures.add("\(error)")
                }
            }
            #expect(failures.all == [])
        }
    }

    // MARK: - Failures

    @Test(arguments: ["-t ext4 -b 1024", "-t ext4 -b 1024 -O ea_inode"])
    func whatFailsChangesNothing(_ options: String) throws {
        let image = try KernelImage(options.split(separator: " ").map(String.init), mebibytes: 32)
        var model = AttributeModel(seed: 99, largest: 900)
        try image.written { volume in
            try model.fill(volume)
            for _ in 0..<200 { try model.change(volume) }
        }
        try image.written { volume in
            let free = try volume.requireWriting().blocks.freeBlocks
            // Some of these share blocks, some have theirs alone, some have none.
            for round in 0..<60 {
                let path = AttributeModel.paths[round % 8]
                let inode = try volume.inode(atPath: path)
                let before = inode.record.bytes
                let size = [5, 150, 300, 700][round / 8 % 4]
                let value = [UInt8](repeating: UInt8(round % 2), count: size)
                #expect(throws: Ext4Error.busy) {
                    try inode.lock.exclusive { () throws(Ext4Error) in
                        try volume.change { (handle, writing) throws(Ext4Error) in
                            let name = AttributeName(prefix: .user, rest: [0x66])
                            do throws(Ext4Error) {
                                try volume.set(
                                    name, to: value, of: inode, for: .privileged, in: &handle
                                ) { _ in }
                                _ = try volume.remove(name, of: inode, in: &handle) { _ in }
                                try volume.releaseAttributes(of: inode, in: &handle)
                            } catch {
                                guard error == .noSpace else { throw error }
                            }
                            throw .busy
                        }
                    }
                }
                #expect(inode.record.bytes == before)
            }
            try model.compare(with: volume)
            #expect(try volume.requireWriting().blocks.freeBlocks == free)
        }
        try model.compare(with: try image.volume())
    }

    @Test func sharesOfWhatFailedAreGivenBack() throws {
        let image = try KernelImage(["-t", "ext4", "-b", "1024"])
        let value = [UInt8](repeating: 7, count: 300)
        let paths = ["a", "b", "c"]
        try image.written { volume in
            let root = try volume.root()
            for path in paths {
                _ = try volume.create(
                    FileName(path), in: root, NewInode(mode: FileMode(rawValue: 0o100644)))
            }
            for path in paths[..<2] {
                try volume.setExtendedAttribute("user.s", to: value, of: volume.inode(atPath: path))
            }
            let name = AttributeName(prefix: .user, rest: [0x73])
            func fail(_ path: String, _ value: [UInt8]?) throws {
                let inode = try volume.inode(atPath: path)
                #expect(throws: Ext4Error.busy) {
                    try volume.change { (handle, _) throws(Ext4Error) in
                        if let value {
                            try volume.set(
                                name, to: value, of: inode, for: .privileged, in: &handle
                            ) { _ in }
                        } else {
                            _ = try volume.remove(name, of: inode, in: &handle) { _ in }
                        }
                        throw .busy
                    }
                }
                #expect(try counts(volume, paths).values.sorted() == [2])
            }
            // A share that was taken, one that would have been given up, and both.
            try fail("c", value)
            try fail("a", nil)
            try fail("a", [UInt8](repeating: 8, count: 300))
            // Of two who share, one changes: the other keeps what it has.
            let other = [UInt8](repeating: 9, count: 300)
            try volume.setExtendedAttribute("user.s", to: other, of: volume.inode(atPath: "a"))
            #expect(try volume.extendedAttribute("user.s", of: volume.inode(atPath: "b")) == value)
            #expect(try counts(volume, paths).values.sorted() == [1, 1])
            // Back again: the block that it had alone is freed, and the share is the second one.
            try volume.setExtendedAttribute("user.s", to: value, of: volume.inode(atPath: "a"))
            #expect(try counts(volume, paths).values.sorted() == [2])
        }
    }

    /// Values until nothing fits any more: what was taken for the last one is given back.
    @Test(arguments: ["-t ext4 -b 1024 -O ea_inode", "-t ext2 -b 1024 -O ea_inode", "-t ext2"])
    func aFullVolumeStaysSound(_ options: String) throws {
        let image = try KernelImage(
            options.split(separator: " ").map(String.init) + ["-N", "4096"], mebibytes: 5)
        var expected = AttributeListing()
        try image.written { volume in
            let root = try volume.root()
            var refusals = 0
            var index = 0
            while refusals < 20 {
                index += 1
                let path = "file\(index)"
                let size = options.contains("ea_inode") ? 65536 >> (refusals % 7) : 800
                let value = [UInt8](repeating: UInt8(index & 255), count: size - index / 256)
                let user = Credentials(userID: 5, groupID: 5)
                do {
                    let inode = try volume.create(
                        FileName(path), in: root, NewInode(mode: FileMode(rawValue: 0o100644)),
                        by: user)
                    try volume.setExtendedAttribute("user.x", to: value, of: inode, by: user)
                    expected.files[path] = [Array("user.x".utf8): value]
                } catch {
                    guard error as? Ext4Error == .noSpace else { throw error }
                    refusals += 1
                }
            }
            #expect(try AttributeListing.engine(volume).differences(from: expected) == [])
        }
        let seen = try image.mounted(readOnly: true) { try AttributeListing.kernel($0) }
        #expect(seen.differences(from: expected) == [])
        #expect(seen.files.count > 30)
    }

    @Test func whatIsRefused() throws {
        let image = try KernelImage(["-t", "ext4", "-b", "1024"])
        try image.written { volume in
            let root = try volume.root()
            let file = try volume.create(
                "file", in: root, NewInode(mode: FileMode(rawValue: 0o100644)))
            let link = try volume.create("link", in: root, .symlink(to: [0x78]))
            func set(
                _ name: String, _ count: Int = 1, of inode: Inode, _ mode: AttributeExistence
            ) -> Ext4Error? {
                do {
                    try volume.setExtendedAttribute(
                        FileName(name), to: [UInt8](repeating: 1, count: count), of: inode,
                        mode: mode)
                    return nil
                } catch {
                    return error
                }
            }
            let long = "user." + String(repeating: "n", count: 251)
            #expect(set(long, of: file, .create) == .attributeNameTooLong)
            #expect(set(String(long.dropLast()), of: file, .create) == nil)
            #expect(set("", of: file, .create) == .attributeNameTooLong)
            #expect(set("user.x", 65537, of: file, .create) == .attributeTooLarge)
            #expect(set("user.x", 65536, of: file, .create) == .noSpace)
            #expect(set("user.x", of: file, .replace) == .noAttribute)
            #expect(set("user.x", of: file, .create) == nil)
            #expect(set("user.x", of: file, .create) == .exists)
            #expect(set("user.x", 2, of: file, .replace) == nil)
            #expect(set("user.", of: file, .create) == .invalidArgument)
            #expect(set("user.\u{0}", of: file, .create) == .invalidArgument)
            #expect(set("gnu.x", of: file, .create) == .notSupported)
            #expect(set("system.data", of: file, .create) == .notSupported)
            #expect(set("user.x", of: link, .create) == .notPermitted)
            #expect(set("trusted.x", of: link, .create) == nil)
            #expect(set("system.posix_acl_access", of: file, .create) == .invalidArgument)
            #expect(throws: Ext4Error.notSupported) {
                try volume.setAccessControlList(
                    .access, to: AccessControlList(permissionsOf: file.mode), of: link)
            }
            #expect(throws: Ext4Error.accessDenied) {
                try volume.setAccessControlList(
                    .default, to: AccessControlList(permissionsOf: file.mode), of: file)
            }
            try volume.setFlags(file.flags.union(.appendOnly), of: file)
            #expect(set("user.x", 3, of: file, .replace) == .notPermitted)
        }
        let reading = try image.volume()
        #expect(throws: Ext4Error.readOnlyVolume) {
            try reading.removeExtendedAttribute("user.x", of: reading.inode(atPath: "file"))
        }
    }

    @Test func theFeatureIsSetWithTheFirstAttribute() throws {
        let image = try KernelImage(["-t", "ext4", "-O", "^ext_attr"])
        try image.written { volume in
            try volume.setExtendedAttribute("user.x", to: [1], of: volume.root())
        }
        #expect(try image.volume().superblock.compatible.contains(.extAttr))
    }
}

/// What went wrong in some thread.
private final class Failures: @unchecked Sendable {
    private let lock = NSLock()
    private var messages: [String] = []
    var all: [String] { lock.withLock { messages } }
    func add(_ message: String) { lock.withLock { messages.append(message) } }
}
