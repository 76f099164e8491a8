package import Ext4

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// Compares a volume with the model of it.
package struct ReferenceComparison {
    private let volume: Volume
    package private(set) var differences: [String] = []

    /// For single nodes.
    package init(of volume: Volume) { self.volume = volume }

    /// Compares everything.
    package init(_ model: ReferenceModel, of volume: Volume) {
        self.volume = volume
        compareTree(model.root, path: "")
        for node in model.orphans { compareTree(node, path: "orphan") }
    }

    private mutating func compareTree(_ node: ReferenceModel.Node, path: String) {
        do throws(Ext4Error) {
            let inode = try volume.inode(node.number)
            guard differences.count < 20 else { return }
            try compareAttributes(of: node, inode, path)
            switch node.type {
            case .regular: try compareContents(node, inode, path)
            case .directory:
                try compareEntries(node, inode, path)
                for (name, child) in node.entries {
                    let found = try volume.lookup(name, in: inode)
                    check("\(path)/\(name)", "inode", child.number, found.number)
                    compareTree(child, path: "\(path)/\(name)")
                }
            default: break
            }
        } catch {
            differences.append("\(path): the comparison failed: \(error)")
        }
    }

    private mutating func check<Value: Equatable>(
        _ path: @autoclosure () -> String, _ what: String, _ expected: Value, _ found: Value
    ) {
        if expected != found {
            differences.append("\(path()): \(what): expected \(expected), found \(found)")
        }
    }

    /// Compares what `stat` and `listxattr` show.
    package mutating func compareAttributes(
        of node: ReferenceModel.Node, _ inode: Inode, _ path: @autoclosure () -> String
    ) throws(Ext4Error) {
        let found = inode.attributes
        check(path(), "number", node.number, inode.number)
        check(path(), "mode", node.mode.rawValue, found.mode.rawValue)
        check(path(), "owner", node.userID, found.userID)
        check(path(), "group", node.groupID, found.groupID)
        // The root has one more subdirectory, lost+found.
        let extra: UInt32 = inode.number == .root ? 1 : 0
        check(path(), "links", node.linkCount + extra, found.linkCount)
        check(path(), "device", node.device, found.device)
        check(path(), "flags", node.flags, found.flags.intersection(ReferenceModel.flags))
        check(path(), "modification time", node.modificationTime, found.modificationTime)
        check(path(), "change time", node.changeTime, found.changeTime)
        if node.creationTime != nil {
            check(path(), "creation time", node.creationTime, found.creationTime)
        }
        if node.type == .regular { check(path(), "size", node.contents.size, found.size) }
        if node.type == .symlink {
            check(path(), "target", node.target, try volume.symlinkTarget(of: inode))
        }
        var attributes: [FileName: [UInt8]] = [:]
        for attribute in try volume.extendedAttributes(of: inode) {
            attributes[attribute.name] = attribute.value
        }
        if attributes != node.attributes {
            let names = Set(attributes.keys).union(node.attributes.keys)
                .filter { attributes[$0] != node.attributes[$0] }
                .map {
                    "\($0) \(node.attributes[$0]?.count ?? -1)/\(attributes[$0]?.count ?? -1)"
                }
            differences.append("\(path()): attributes differ: \(names.sorted())")
        }
    }

    /// Compares what a listing of a directory shows.
    package mutating func compareEntries(
        _ node: ReferenceModel.Node, _ inode: Inode, _ path: @autoclosure () -> String
    ) throws(Ext4Error) {
        var found: [FileName: DirectoryEntry] = [:]
        found.reserveCapacity(node.entries.count + 3)
        for entry in try volume.entries(of: inode) {
            if found.updateValue(entry, forKey: entry.name) != nil {
                differences.append("\(path())/\(entry.name): listed twice")
            }
        }
        check(
            path(), ".", node.number, found.removeValue(forKey: ".")?.inode ?? InodeNumber(0))
        let parent = found.removeValue(forKey: "..")?.inode ?? InodeNumber(0)
        check(path(), "..", node.parent?.number ?? .root, parent)
        if node.number == .root { found["lost+found"] = nil }
        for (name, child) in node.entries {
            guard let entry = found.removeValue(forKey: name) else {
                differences.append("\(path())/\(name): missing")
                continue
            }
            check("\(path())/\(name)", "entry's inode", child.number, entry.inode)
            if entry.type != .unknown || volume.superblock.incompatible.contains(.filetype) {
                check("\(path())/\(name)", "entry's type", child.type, entry.type)
            }
        }
        for name in found.keys { differences.append("\(path())/\(name): should not be there") }
    }

    private mutating func compareContents(
        _ node: ReferenceModel.Node, _ inode: Inode, _ path: String
    ) throws(Ext4Error) {
        guard node.contents.size == inode.size else { return }
        if inode.size <= 4 << 20 {
            try comparePart(of: node, inode, at: 0, count: Int(inode.size), path)
            return
        }
        // Of a sparse file, where either has something.
        for index in node.contents.pieces.keys {
            let offset = index * SparseContents.pieceSize
            try comparePart(
                of: node, inode, at: offset, count: Int(SparseContents.pieceSize), path)
        }
        let blockSize = UInt64(volume.blockSize)
        for run in try volume.mappings(of: inode) {
            guard case .mapped = run.state else { continue }
            try comparePart(
                of: node, inode, at: run.logical.rawValue * blockSize,
                count: Int(run.count * blockSize), path)
        }
        try comparePart(
            of: node, inode, at: inode.size - min(inode.size, 5000), count: 10_000, path)
    }

    /// Compares what a read of a part of a file gives.
    package mutating func comparePart(
        of node: ReferenceModel.Node, _ inode: Inode, at offset: UInt64, count: Int,
        _ path: @autoclosure () -> String
    ) throws(Ext4Error) {
        let expected = node.contents.bytes(at: offset, count: count)
        let found = try volume.bytes(of: inode, at: offset, count: count)
        guard !equal(expected, found) else { return }
        guard expected.count == found.count else {
            differences.append(
                "\(path()): reading \(count) bytes at \(offset) gave \(found.count), not "
                    + "\(expected.count)")
            return
        }
        let first = expected.indices.first { expected[$0] != found[$0] } ?? 0
        let last = expected.indices.last { expected[$0] != found[$0] } ?? 0
        differences.append(
            "\(path()): contents (size \(inode.size)) differ in \(offset + UInt64(first))..."
                + "\(offset + UInt64(last)): expected \(expected[first]), found \(found[first])"
                + (inode.usesInlineData ? " inline" : ""))
    }
}

/// `==` of arrays goes byte by byte where nothing is optimised.
package func equal(_ a: [UInt8], _ b: [UInt8]) -> Bool {
    guard a.count == b.count else { return false }
    return unsafe a.withUnsafeBytes { a in
        unsafe b.withUnsafeBytes { b in
            guard let x = a.baseAddress, let y = b.baseAddress else { return true }
            return unsafe memcmp(x, y, a.count) == 0
        }
    }
}

extension Volume {
    /// Reads a part of a file.
    package func bytes(
        of inode: Inode, at offset: UInt64, count: Int
    ) throws(Ext4Error) -> [UInt8] {
        var bytes = [UInt8](repeating: 0xEE, count: count)
        let got: Int
        do {
            var span = bytes.mutableSpan
            var raw = unsafe span.mutableBytes
            got = try read(inode, at: offset, into: &raw)
        }
        return got == count ? bytes : Array(bytes.prefix(got))
    }

    /// Writes to a file.
    package func write(
        _ bytes: [UInt8], to inode: Inode, at offset: UInt64, dropsPrivileges: Bool = false,
        by credentials: Credentials = .root
    ) throws(Ext4Error) {
        try write(
            unsafe bytes.span.bytes, to: inode, at: offset, dropsPrivileges: dropsPrivileges,
            by: credentials)
    }
}
