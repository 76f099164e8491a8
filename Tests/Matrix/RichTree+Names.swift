import Ext4
import Ext4Verify

// Directories of every size, extended attributes of every kind, and what is encrypted.

extension RichTree {
    func makeDirectories() throws(HostFailure) {
        let directories = try root.makeDirectory("directories".bytes)
        // Deep.
        var directory = directories
        for level in 0..<60 {
            directory = try directory.makeDirectory("level\(level)".bytes)
            if level % 10 == 0 { _ = try directory.create("file".bytes) }
        }
        // Of a few blocks, with and without gaps.
        let source = try directories.create("source".bytes)
        for (name, count) in [("two-blocks", 150), ("some", 700), ("more", 3000)] {
            let directory = try directories.makeDirectory(name.bytes)
            for index in 0..<count {
                try directories.link("source".bytes, to: directory, as: "entry \(index)".bytes)
            }
        }
        let gaps = try directories.makeDirectory("gaps".bytes)
        let emptied = try directories.makeDirectory("emptied".bytes)
        for index in 0..<1000 {
            try directories.link("source".bytes, to: gaps, as: "entry \(index)".bytes)
            try directories.link("source".bytes, to: emptied, as: "entry \(index)".bytes)
        }
        for index in 0..<1000 {
            if index % 16 != 3 { try gaps.unlink("entry \(index)".bytes) }
            try emptied.unlink("entry \(index)".bytes)
        }
        for index in 0..<40 { _ = try gaps.create("later \(index)".bytes) }
        _ = source
        guard scale.subdirectories > 0 else { return }
        let many = try root.makeDirectory("subdirectories".bytes)
        for index in 0..<scale.subdirectories { try many.makeDirectory("\(index)".bytes) }
    }

    /// A directory with very many names, which lead to a few files.
    func makeBigDirectory() throws(HostFailure) {
        let big = try root.makeDirectory("big".bytes)
        let sources = (0..<8).map { "source\($0)".bytes }
        for source in sources { _ = try big.create(source) }
        // Bytes over 127 are where the signed and the unsigned hashes part.
        let tail = scale.hasLongNames ? [UInt8](repeating: 0xE9, count: 225) : "é".bytes
        for index in 0..<scale.bigDirectory {
            let name = "name \(index &* 7919 % 1_000_003) ".bytes + tail
            try big.link(sources[index % sources.count], to: big, as: name)
        }
    }

    mutating func makeAttributes() throws(HostFailure) {
        let directory = try root.makeDirectory("attributes".bytes)
        _ = try directory.create("few".bytes)
        for (name, value) in [
            ("user.a", "b"), ("user.empty", ""), ("trusted.overlay.opaque", "y"),
            ("security.selinux", "system_u:object_r:etc_t:s0\u{0}"),
            ("user.with.dots.and " + "spaces", "v"),
        ] {
            try directory.setAttribute(name, to: value.bytes, of: "few".bytes)
        }
        // security.capability has a format of its own (VFS_CAP_REVISION_2).
        try directory.setAttribute(
            "security.capability",
            to: [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], of: "few".bytes)
        // Every length around the inode's room, in one file each.
        for length in [1, 3, 4, 5, 16, 30, 40, 60, 64, 70, 80, 90, 100, 300, 600] {
            let name = "v\(length)"
            _ = try directory.create(name.bytes)
            try directory.setAttribute("user.value", to: randomBytes(length), of: name.bytes)
        }
        _ = try directory.create("many".bytes)
        for index in 0..<40 {
            guard try set("user.n\(index)", randomBytes(index % 9), "many", directory) else {
                break
            }
        }
        _ = try directory.create("long-name".bytes)
        _ = try set(
            "user." + String(repeating: "x", count: 250), randomBytes(10), "long-name", directory)
        // The largest that the volume takes: 64 KiB with ea_inode, about a block without.
        for name in ["largest", "largest-two"] {
            _ = try directory.create(name.bytes)
            for length in [65_536, 65_000, 60_000, 4000, 3900, 2000, 1900, 980, 900, 800] {
                if try set("user.large", randomBytes(length), name, directory) { break }
            }
            _ = try set("user.second", randomBytes(20_000), name, directory)
            _ = try set("user.small", "next to it".bytes, name, directory)
        }
        // The same attributes on many files share one block, the same large value one inode.
        let (shared, sharedLarge) = (randomBytes(500), randomBytes(30_000))
        for index in 0..<12 {
            let name = "shared\(index)"
            _ = try directory.create(name.bytes)
            _ = try set("user.shared", shared, name, directory)
            _ = try set("user.large", sharedLarge, name, directory)
        }
        // On what is no regular file.
        try directory.makeSymlink("symlink".bytes, to: "few".bytes)
        try directory.setAttribute("trusted.t", to: "on a link".bytes, of: "symlink".bytes)
        try directory.makeNode("fifo".bytes, mode: 0o010600)
        try directory.setAttribute("trusted.t", to: "on a fifo".bytes, of: "fifo".bytes)
        try directory.makeSymlink("s".bytes, to: [UInt8](repeating: 0x73, count: 120))
        _ = try set("trusted.t", randomBytes(300), "s", directory)
        try directory.setAttribute("user.d", to: "on a directory".bytes, of: ".".bytes)
        try makeACLs()
    }

    /// POSIX ACLs in the encoding of the kernel's attribute: version 2, then tag, permissions and
    /// id of each entry.
    private func makeACLs() throws(HostFailure) {
        let directory = try root.makeDirectory("acls".bytes)
        func encoded(_ entries: [(UInt16, UInt16, UInt32)]) -> [UInt8] {
            var bytes: [UInt8] = [2, 0, 0, 0]
            for (tag, permissions, id) in entries {
                bytes += [UInt8(tag), 0, UInt8(permissions), 0]
                for shift in [0, 8, 16, 24] as [UInt32] {
                    bytes.append(UInt8(truncatingIfNeeded: id >> shift))
                }
            }
            return bytes
        }
        let none = UInt32.max
        let small = encoded([
            (0x01, 6, none), (0x02, 7, 1000), (0x04, 4, none), (0x10, 7, none), (0x20, 0, none),
        ])
        var entries: [(UInt16, UInt16, UInt32)] = [(0x01, 7, none)]
        for user in 0..<20 as Range<UInt32> { entries.append((0x02, 5, 5000 + user * 60_000)) }
        entries.append((0x04, 5, none))
        for group in 0..<20 as Range<UInt32> { entries.append((0x08, 4, 100 + group)) }
        let large = encoded(entries + [(0x10, 7, none), (0x20, 1, none)])
        for (name, value) in [("small", small), ("large", large)] {
            _ = try directory.create(name.bytes)
            try directory.setAttribute(
                "system.posix_acl_access", to: value, of: name.bytes)
            try directory.makeDirectory(("d-" + name).bytes)
            try directory.setAttribute(
                "system.posix_acl_default", to: value, of: ("d-" + name).bytes)
        }
        // These inherit.
        let parent = try directory.directory("d-small".bytes)
        _ = try parent.create("child".bytes, mode: 0o666)
        try parent.makeDirectory("child-directory".bytes)
    }

    /// Sets an attribute unless the volume has no room for it.
    private func set(
        _ attribute: String, _ value: [UInt8], _ name: String, _ directory: HostFile
    ) throws(HostFailure) -> Bool {
        do throws(HostFailure) {
            try directory.setAttribute(attribute, to: value, of: name.bytes)
            return true
        } catch  where [28, 7, 34].contains(error.errno) {  // ENOSPC, E2BIG, ERANGE
            return false
        }
    }

    /// Directories whose contents and names nobody can read who has not the key.
    mutating func makeEncrypted() throws(HostFailure) {
        let identifier = try root.addEncryptionKey((0..<64).map { UInt8($0 &* 37 & 0xFF) })
        let top = try root.makeDirectory("encrypted".bytes)
        try top.encrypt(withKey: identifier)
        for length in [1, 2, 15, 16, 17, 31, 32, 33, 63, 64, 100, 128, 143, 150, 200, 254, 255] {
            let name = [UInt8](repeating: UInt8(ascii: "e"), count: length)
            try top.create(name).write(randomBytes(length * 50), at: 0)
        }
        _ = try top.create("empty".bytes)
        let sparse = try top.create("sparse".bytes)
        try sparse.write("far".bytes, at: 1 << 30)
        for length in [1, 10, 59, 60, 200, 900] {
            try top.makeSymlink(
                "link\(length)".bytes, to: [UInt8](repeating: 0x74, count: length))
        }
        let nested = try top.makeDirectory("nested".bytes)
        for index in 0..<500 {
            if index % 50 == 0 {
                _ = try nested.create("file \(index)".bytes)
            } else {
                try top.link("empty".bytes, to: nested, as: "a name \(index)".bytes)
            }
        }
        try top.setAttribute("user.visible", to: "yes".bytes, of: "empty".bytes)
        try top.makeNode("fifo".bytes, mode: 0o010600)
    }
}
