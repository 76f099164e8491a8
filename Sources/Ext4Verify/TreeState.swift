package import Ext4

/// What a volume looks like at one moment: what a crash may leave is judged by such.
package struct TreeState: Sendable {
    /// A file, directory or other object.
    package struct Node: Sendable {
        package var type: FileType
        package var mode: UInt16
        package var attributes: [FileName: [UInt8]]
        package var target: [UInt8]
        package var contents: SparseContents
    }

    package var nodes: [InodeNumber: Node] = [:]
    package var paths: [[UInt8]: InodeNumber] = [:]

    /// What the model has.
    package init(_ root: ReferenceModel.Node) { add(root, at: []) }

    private mutating func add(_ node: ReferenceModel.Node, at path: [UInt8]) {
        paths[path] = node.number
        nodes[node.number] = Node(
            type: node.type, mode: node.mode.rawValue, attributes: node.attributes,
            target: node.target, contents: node.contents)
        for (name, child) in node.entries { add(child, at: path + [0x2F] + name.bytes) }
    }

    /// Reads what a volume has.
    package init(_ volume: Volume) throws(Ext4Error) {
        try add(try volume.root(), at: [], of: volume)
    }

    private mutating func add(
        _ inode: Inode, at path: [UInt8], of volume: Volume
    ) throws(Ext4Error) {
        paths[path] = inode.number
        if nodes[inode.number] == nil {
            var node = Node(
                type: inode.type, mode: inode.mode.rawValue, attributes: [:], target: [],
                contents: SparseContents())
            for attribute in try volume.extendedAttributes(of: inode) {
                node.attributes[attribute.name] = attribute.value
            }
            switch inode.type {
            case .regular:
                node.contents.write(try volume.contents(of: inode), at: 0)
            case .symlink: node.target = try volume.symlinkTarget(of: inode)
            default: break
            }
            nodes[inode.number] = node
        }
        guard inode.isDirectory else { return }
        for entry in try volume.entries(of: inode) {
            if entry.name == "." || entry.name == ".." { continue }
            if path.isEmpty, entry.name == "lost+found" { continue }
            try add(
                volume.lookup(entry.name, in: inode), at: path + [0x2F] + entry.name.bytes,
                of: volume)
        }
    }
}
