public import Ext4

extension TreeManifest {
    /// Reads the whole tree of a volume by the engine's public calls.
    ///
    /// What one inode fails with stands in its node's `failures`: the walk goes on.
    ///
    /// - Throws: What reading the root inode failed with.
    public init(reading volume: Volume) throws(Ext4Error) {
        let root = try volume.root()
        self.init(root: UInt64(root.number.rawValue))
        let reader = VolumeReader(volume)
        var waiting = [root]
        nodes[self.root] = TreeNode(root, of: volume)
        while let inode = waiting.popLast() {
            let number = UInt64(inode.number.rawValue)
            var node = nodes[number] ?? TreeNode(inode, of: volume)
            let children = reader.fill(&node, of: inode)
            nodes[number] = node
            for child in children where nodes[UInt64(child.number.rawValue)] == nil {
                nodes[UInt64(child.number.rawValue)] = TreeNode(child, of: volume)
                waiting.append(child)
            }
        }
    }
}

extension TreeNode {
    /// The flags that `FS_IOC_GETFLAGS` shows (`EXT4_FL_USER_VISIBLE`).
    static let visibleFlags: UInt32 = 0x725B_DFFF

    init(_ inode: Inode, of volume: Volume) {
        self.init(
            type: inode.type, permissions: inode.mode.permissions, userID: inode.userID,
            groupID: inode.groupID, size: volume.shownSize(of: inode), linkCount: inode.linkCount,
            blocks512: inode.blocks512, accessTime: inode.accessTime,
            modificationTime: inode.modificationTime, changeTime: inode.changeTime,
            creationTime: inode.creationTime, device: inode.device,
            flags: inode.flags.rawValue & Self.visibleFlags, generation: inode.generation,
            projectID: inode.projectID)
    }
}

/// Reads what a node holds besides what its inode says.
private final class VolumeReader {
    let volume: Volume
    private var buffer = [UInt8](repeating: 0, count: 1 << 20)

    init(_ volume: Volume) { self.volume = volume }

    /// Returns the inodes that a directory leads to.
    func fill(_ node: inout TreeNode, of inode: Inode) -> [Inode] {
        var children: [Inode] = []
        attempt("attributes", &node) { node throws(Ext4Error) in
            for attribute in try volume.extendedAttributes(of: inode) {
                node.attributes[attribute.name] = attribute.value
            }
            try checkAttributes(&node, of: inode)
        }
        switch node.type {
        case .directory:
            attempt("entries", &node) { node throws(Ext4Error) in
                children = try readEntries(&node, of: inode)
            }
            attempt("map", &node) { node throws(Ext4Error) in
                node.map = try readMap(of: inode)
            }
        case .regular:
            attempt("map", &node) { node throws(Ext4Error) in
                node.map = try readMap(of: inode)
            }
            attempt("contents", &node) { node throws(Ext4Error) in
                try readContents(&node, of: inode)
            }
        case .symlink:
            attempt("target", &node) { node throws(Ext4Error) in
                node.target = try volume.symlinkTarget(of: inode)
            }
        default:
            break
        }
        return children
    }

    private func attempt(
        _ part: String, _ node: inout TreeNode,
        _ body: (inout TreeNode) throws(Ext4Error) -> Void
    ) {
        do throws(Ext4Error) {
            try body(&node)
        } catch {
            node.failures.append("\(part): \(error)")
        }
    }

    /// The other two ways to the attributes say the same as the first.
    private func checkAttributes(
        _ node: inout TreeNode, of inode: Inode
    ) throws(Ext4Error) {
        let names = try volume.extendedAttributeNames(of: inode)
        if Set(names) != Set(node.attributes.keys) || names.count != node.attributes.count {
            node.failures.append("attributes: the list of names differs from the list of values")
        }
        for (name, value) in node.attributes
        where try volume.extendedAttribute(name, of: inode) != value {
            node.failures.append("attributes: \(name) alone has another value")
        }
    }

    private func readEntries(
        _ node: inout TreeNode, of inode: Inode
    ) throws(Ext4Error) -> [Inode] {
        var children: [Inode] = []
        var seen: Set<InodeNumber> = [inode.number]
        var entries: [FileName: TreeNode.Entry] = [:]
        var position: UInt64 = 0
        // A stream that is taken up again and again, as a mount does it, not one single walk.
        var isAtEnd = false
        while !isAtEnd {
            var batch: [DirectoryEntry] = []
            try volume.readDirectory(inode, from: position) { entry in
                batch.append(entry)
                position = entry.next
                return batch.count < 1000
            }
            isAtEnd = batch.count < 1000
            for entry in batch {
                let found = TreeNode.Entry(
                    number: UInt64(entry.inode.rawValue), type: entry.type)
                if entries.updateValue(found, forKey: entry.name) != nil {
                    node.failures.append("entries: \(entry.name) came twice")
                }
                // Every name that is listed must be found as well, through the index or without.
                let child = try volume.lookup(entry.name, in: inode)
                if child.number != entry.inode {
                    node.failures.append(
                        "entries: \(entry.name) is listed as \(entry.inode), found as "
                            + "\(child.number)")
                }
                if seen.insert(entry.inode).inserted { children.append(child) }
            }
        }
        node.entries = entries
        return children
    }

    private func readMap(of inode: Inode) throws(Ext4Error) -> [TreeNode.Extent] {
        let blockSize = UInt64(volume.blockSize)
        var map: [TreeNode.Extent] = []
        for run in try volume.mappings(of: inode) {
            let place: BlockNumber
            let isUnwritten: Bool
            switch run.state {
            case .mapped(let start): (place, isUnwritten) = (start, false)
            case .unwritten(let start): (place, isUnwritten) = (start, true)
            case .hole: continue
            }
            map.append(
                merging: TreeNode.Extent(
                    logical: run.logical.rawValue &* blockSize,
                    physical: place.rawValue &* blockSize, count: run.count &* blockSize,
                    isUnwritten: isUnwritten))
        }
        return map
    }

    private func readContents(
        _ node: inout TreeNode, of inode: Inode
    ) throws(Ext4Error) {
        var digest = ContentDigest()
        var segments: [TreeNode.Segment] = []
        var offset: UInt64 = 0
        do throws(Ext4Error) {
            while let start = try seek(.data, in: inode, from: offset) {
                guard let end = try seek(.hole, in: inode, from: start), end > start else { break }
                segments.append(TreeNode.Segment(offset: start, count: end - start))
                try read(inode, start..<end, into: &digest)
                offset = end
            }
            if segments.isEmpty {
                // Encrypted files are refused here at the latest, the empty ones too; holes are
                // zeros.
                try read(inode, 0..<min(inode.size, 4096), into: &digest)
            }
            node.contents = .digest(digest)
            node.segments = segments
        } catch .noKey {
            node.contents = .refused
        }
    }

    private func seek(
        _ kind: SeekTarget, in inode: Inode, from offset: UInt64
    ) throws(Ext4Error) -> UInt64? {
        do throws(Ext4Error) {
            return try volume.offset(of: kind, in: inode, from: offset)
        } catch .endOfFile {
            return nil
        }
    }

    private func read(
        _ inode: Inode, _ range: Range<UInt64>, into digest: inout ContentDigest
    ) throws(Ext4Error) {
        // Segments begin at blocks; inline files and whoever else begins elsewhere are rounded to
        // a piece of the digest, so that both sides cut alike.
        // A span cannot borrow from a property of a class.
        var bytes: [UInt8] = []
        swap(&bytes, &buffer)
        defer { swap(&bytes, &buffer) }
        var offset = range.lowerBound / UInt64(ContentDigest.pieceSize)
        offset *= UInt64(ContentDigest.pieceSize)
        repeat {
            let wanted = Int(min(UInt64(bytes.count), range.upperBound - offset))
            var span = bytes.mutableSpan
            var raw = unsafe span.mutableBytes
            var part = raw._mutatingExtracting(0..<wanted)
            let count = try volume.read(inode, at: offset, into: &part)
            guard count == wanted else {
                throw .io(IOFailure(.read, at: offset, count: wanted - count, errno: 0))
            }
            unsafe digest.add(bytes.span.bytes.extracting(0..<wanted), at: offset)
            offset += UInt64(wanted)
        } while offset < range.upperBound
    }
}
