/// A walk through the inodes that are in use.
struct UsedInodes {
    private let volume: Volume

    init(_ volume: Volume) { self.volume = volume }

    /// Those of one group, in order.
    func inodes(of group: GroupNumber) throws(Ext4Error) -> [Inode] {
        let superblock = volume.superblock
        let writing = try volume.requireWriting()
        let descriptor = try volume.groups.descriptor(of: group)
        var count = superblock.inodesPerGroup
        if superblock.hasDescriptorChecksums {
            guard !descriptor.flags.contains(.inodeUninit) else { return [] }
            count &-= min(descriptor.unusedInodesCount, count)
        }
        guard descriptor.freeInodesCount < superblock.inodesPerGroup else { return [] }
        var inodes: [Inode] = []
        let first = group.rawValue &* superblock.inodesPerGroup
        for slot in 0..<count {
            let number = InodeNumber(first &+ slot &+ 1)
            guard try writing.inodes.isAllocated(number) else { continue }
            let inode = try volume.inodes.inode(number)
            // Numbers that are the volume's own are taken and may stand for nothing.
            guard inode.mode.rawValue != 0, inode.linkCount > 0 else { continue }
            inodes.append(inode)
        }
        return inodes
    }
}

extension FileMap {
    /// The blocks of the map itself.
    ///
    /// - Throws: `.corrupt`, also for a map of more blocks than the volume has.
    func nodes(volumeBlocks: UInt64) throws(Ext4Error) -> [BlockNumber] {
        var found: [BlockNumber] = []
        switch self {
        case .none: break
        case .extents(let tree):
            try tree.checkRoot()
            var waiting = tree.root.withBytes { Self.children(of: $0) }
            while let next = waiting.popLast() {
                found.append(next.block)
                guard UInt64(found.count) <= volumeBlocks else { throw Self.tooMany }
                let node = try tree.node(next.block, depth: next.depth)
                waiting += node.withBytes { Self.children(of: $0) }
            }
        case .indirect(let map):
            var waiting: [(block: BlockNumber, depth: Int)] = []
            for level in 1...Int(IndirectMap.maximumLevel) {
                let pointer = map.root.pointer(Int(IndirectMap.directCount) &+ level &- 1)
                if pointer != 0 { waiting.append((BlockNumber(UInt64(pointer)), level &- 1)) }
            }
            let perBlock = 1 << Int(map.perBlockLog2)
            while let next = waiting.popLast() {
                found.append(next.block)
                guard UInt64(found.count) <= volumeBlocks else { throw Self.tooMany }
                guard next.depth > 0 else { continue }
                let buffer = try map.reader.buffer(
                    of: next.block, for: .indirectBlock, at: .init(inode: map.owner.inode))
                buffer.withBytes { pointers in
                    for slot in 0..<perBlock {
                        let pointer = pointers[IndirectMap.pointer(slot)]
                        if pointer != 0 {
                            waiting.append((BlockNumber(UInt64(pointer)), next.depth &- 1))
                        }
                    }
                }
            }
        }
        return found
    }

    private static var tooMany: Ext4Error {
        .corrupt(.extentNode, .broken("a map has more blocks than the volume"))
    }

    /// What the entries of a checked node lead to, with the levels below; nothing for a leaf.
    private static func children(of node: RawSpan) -> [(block: BlockNumber, depth: Int)] {
        let depth = Int(node[ExtentNode.Header.depth])
        guard depth > 0 else { return [] }
        return (0..<ExtentNode.count(node)).map { (ExtentNode.child(node, $0), depth &- 1) }
    }
}
