package import Ext4

/// All that a volume shows at one moment.
package struct TreeSnapshot: Sendable {
    /// What an inode says, without its contents.
    package struct Node: Hashable, Sendable {
        var type: FileType
        var generation: UInt32
        var mode: UInt16
        var userID: UInt32
        var groupID: UInt32
        var linkCount: UInt32
        var size: UInt64
        var blocks512: UInt64
        var flags: UInt32
        var times: [Timestamp?]
        var device: DeviceNumber?
        var target: [UInt8]
        var attributes: [FileName: [UInt8]]
        var entries: [FileName: InodeNumber]
    }

    /// Everything that a name leads to.
    package private(set) var nodes: [InodeNumber: Node] = [:]
    /// What files hold.
    package private(set) var contents: [InodeNumber: [UInt8]] = [:]
    /// Differs when the nodes do, nearly always.
    package private(set) var digest = 0

    /// Reads what `volume` has; contents of more than `mostBytes` are an error.
    package init(_ volume: Volume, mostBytes: UInt64 = 4 << 20) throws(Ext4Error) {
        var waiting = [try volume.root()]
        while let inode = waiting.popLast() {
            guard nodes[inode.number] == nil else { continue }
            var node = Node(inode)
            for attribute in try volume.extendedAttributes(of: inode) {
                node.attributes[attribute.name] = attribute.value
            }
            switch inode.type {
            case .regular:
                guard inode.size <= mostBytes else { throw .fileTooLarge }
                contents[inode.number] = try volume.contents(of: inode)
            case .symlink: node.target = try volume.symlinkTarget(of: inode)
            case .directory:
                for entry in try volume.entries(of: inode) {
                    guard node.entries.updateValue(entry.inode, forKey: entry.name) == nil else {
                        throw .corrupt(
                            .directoryBlock, at: .init(inode: inode.number),
                            .broken("the name \(entry.name) is there twice"))
                    }
                    if entry.name == "." || entry.name == ".." { continue }
                    // By name, so that an index is looked through as well.
                    let child = try volume.lookup(entry.name, in: inode)
                    guard child.number == entry.inode, child.type == entry.type else {
                        throw .corrupt(
                            .directoryBlock, at: .init(inode: inode.number),
                            .broken("the entry \(entry.name) is not what it leads to"))
                    }
                    waiting.append(child)
                }
            default: break
            }
            nodes[inode.number] = node
        }
        digest = nodes.hashValue
    }

    /// Whether nothing differs but contents.
    package func hasSameNodes(as other: TreeSnapshot) -> Bool {
        digest == other.digest && nodes == other.nodes
    }

    /// What differs from `other` apart from contents, in words; a few of the differences.
    package func differences(from other: TreeSnapshot) -> String {
        var words: [String] = []
        for number in Set(nodes.keys).union(other.nodes.keys).sorted() {
            switch (nodes[number], other.nodes[number]) {
            case (nil, _): words.append("inode \(number) is missing")
            case (_, nil): words.append("inode \(number) is there too")
            case (let mine?, let its?) where mine != its:
                words.append("inode \(number): \(mine.differences(from: its))")
            default: break
            }
        }
        return words.prefix(6).joined(separator: "; ")
    }
}

extension TreeSnapshot.Node {
    init(_ inode: Inode) {
        let attributes = inode.attributes
        type = attributes.type
        generation = attributes.generation
        mode = attributes.mode.rawValue
        userID = attributes.userID
        groupID = attributes.groupID
        linkCount = attributes.linkCount
        size = attributes.size
        blocks512 = attributes.blocks512
        flags = attributes.flags.rawValue
        times = [
            attributes.accessTime, attributes.modificationTime, attributes.changeTime,
            attributes.creationTime,
        ]
        device = attributes.device
        target = []
        self.attributes = [:]
        entries = [:]
    }

    func differences(from other: Self) -> String {
        var words: [String] = []
        func compare<Value: Equatable>(_ name: String, _ path: KeyPath<Self, Value>) {
            let (mine, its) = (self[keyPath: path], other[keyPath: path])
            if mine != its { words.append("\(name) \(mine), not \(its)") }
        }
        compare("type", \.type)
        compare("generation", \.generation)
        compare("mode", \.mode)
        compare("uid", \.userID)
        compare("gid", \.groupID)
        compare("links", \.linkCount)
        compare("size", \.size)
        compare("sectors", \.blocks512)
        compare("flags", \.flags)
        for (name, index) in [("atime", 0), ("mtime", 1), ("ctime", 2), ("crtime", 3)]
        where times[index] != other.times[index] {
            let mine = times[index]?.seconds ?? -1
            words.append("\(name) \(mine), not \(other.times[index]?.seconds ?? -1)")
        }
        compare("device", \.device)
        compare("target", \.target.count)
        if attributes != other.attributes {
            words.append(
                "attributes \(Self.list(attributes)), not \(Self.list(other.attributes))")
        }
        let missing = other.entries.filter { entries[$0.key] != $0.value }.keys
        let extra = entries.filter { other.entries[$0.key] != $0.value }.keys
        if !missing.isEmpty { words.append("no entry \(Self.names(missing))") }
        if !extra.isEmpty { words.append("an entry \(Self.names(extra))") }
        return words.joined(separator: ", ")
    }

    private static func list(_ attributes: [FileName: [UInt8]]) -> String {
        "[" + attributes.map { "\($0.key):\($0.value.count)" }.sorted().joined(separator: " ") + "]"
    }

    private static func names(_ names: some Collection<FileName>) -> String {
        names.map(\.description).sorted().prefix(4).joined(separator: " ")
    }
}
