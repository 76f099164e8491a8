import Ext4
import Testing

/// What a volume shows at a path.
struct Shown: Hashable {
    var type = FileType.regular
    var permissions: UInt16 = 0o644
    var userID: UInt32 = 0
    var groupID: UInt32 = 0
    var linkCount: UInt32 = 1
    var modificationTime = Timestamp(seconds: 1_700_000_000)
    /// The bytes of a file or of a link's target.
    var contents: [UInt8] = []
    var device: DeviceNumber?
    var attributes: [FileName: [UInt8]] = [:]

    static func file(_ contents: [UInt8]) -> Shown { Shown(contents: contents) }

    static func directory(_ subdirectories: UInt32 = 0) -> Shown {
        Shown(type: .directory, permissions: 0o755, linkCount: 2 + subdirectories)
    }

    static func symlink(_ target: [UInt8]) -> Shown {
        Shown(type: .symlink, permissions: 0o777, contents: target)
    }
}

/// A tree by its paths, which begin with no slash; without the root and lost+found.
typealias ShownTree = [FileName: Shown]

extension Volume {
    /// Everything that the volume shows.
    func shownTree() throws -> ShownTree {
        var tree: ShownTree = [:]
        var pending: [(inode: Inode, path: [UInt8])] = [(try root(), [])]
        while let (directory, path) = pending.popLast() {
            for entry in try entries(of: directory) where ![".", ".."].contains(entry.name) {
                let name = path + (path.isEmpty ? [] : [0x2F]) + entry.name.bytes
                guard FileName(name) != "lost+found" else { continue }
                // As it is found, not only as it is listed.
                let inode = try lookup(entry.name, in: directory)
                try #require(inode.number == entry.inode)
                if superblock.incompatible.contains(.filetype) {
                    #expect(entry.type == inode.type, "\(FileName(name))")
                }
                #expect(tree.updateValue(try shown(inode), forKey: FileName(name)) == nil)
                if inode.isDirectory { pending.append((inode, name)) }
            }
        }
        return tree
    }

    private func shown(_ inode: Inode) throws -> Shown {
        var shown = Shown(
            type: inode.type, permissions: inode.mode.permissions, userID: inode.userID,
            groupID: inode.groupID, linkCount: inode.linkCount,
            modificationTime: inode.modificationTime, device: inode.device)
        switch inode.type {
        case .regular:
            shown.contents = try contents(of: inode)
            #expect(UInt64(shown.contents.count) == inode.size)
        case .symlink: shown.contents = try symlinkTarget(of: inode)
        default: break
        }
        for attribute in try extendedAttributes(of: inode) {
            shown.attributes[attribute.name] = attribute.value
        }
        return shown
    }

    /// The bytes of the file at a path.
    func bytes(at path: String) throws -> [UInt8] {
        try contents(of: inode(atPath: path, followingSymlinks: false))
    }
}

/// Records where a tree is not what it should be, path by path.
func expectSame(
    _ found: ShownTree, _ expected: ShownTree, _ place: SourceLocation = #_sourceLocation
) {
    for (path, wanted) in expected where found[path] != wanted {
        guard var other = found[path] else {
            Issue.record("\(path) is missing", sourceLocation: place)
            continue
        }
        var shown = wanted
        if shown.contents != other.contents {
            let first = zip(shown.contents, other.contents).enumerated().first { $1.0 != $1.1 }
            Issue.record(
                "\(path): \(other.contents.count) bytes, not \(shown.contents.count), and others from \(first?.offset ?? -1) on",
                sourceLocation: place)
        }
        (shown.contents, other.contents) = ([], [])
        if shown != other {
            Issue.record("\(path): \(other), not \(shown)", sourceLocation: place)
        }
    }
    for path in found.keys where expected[path] == nil {
        Issue.record("\(path) should not be there", sourceLocation: place)
    }
}
