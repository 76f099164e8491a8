import Ext4

// Maps and directories that are written anew. The nodes of a map lie in blocks that were free, so
// that the old map holds until the inode leads to the new one.

extension RepairVolume {
    /// Puts a map of `runs` into an inode's `i_block`.
    ///
    /// - Parameter owner: of the nodes.
    /// - Returns: false when there is no room for the nodes; the record is as it was then.
    func setMap(
        _ runs: [BlockRun], in record: inout Record, owner: BlockOwner
    ) throws(Ext4Error) -> Bool {
        let flags = InodeFlags(rawValue: record[InodeRecord.Layout.flags])
        let builder = MapBuilder(
            blockSize: blockSize, owner: owner, usesExtents: flags.contains(.extents),
            hasChecksums: superblock.hasMetadataChecksums)
        guard let places = allocateNodes(builder.nodeCount(of: runs)) else { return false }
        let map = builder.map(of: runs, nodes: places.map { BlockNumber($0) })
        for (place, node) in zip(places, map.nodes) { try setBlock(place, Record(node)) }
        record.bytes.replaceSubrange(InodeRecord.Layout.block, with: map.root)
        return true
    }

    /// The blocks of a directory with those names, and whether they have an index.
    ///
    /// - Parameter hash: the hash that the index is by; nil for none.
    func directoryBlocks(
        _ entries: [SalvagedEntry], owner: BlockOwner, parent: UInt32, hash: DirectoryHash?
    ) -> (blocks: [Record], isIndexed: Bool) {
        var names: [UInt8] = []
        var listed: [DirectoryBuilder.Entry] = []
        for entry in entries {
            listed.append(
                DirectoryBuilder.Entry(
                    nameOffset: names.count, nameLength: UInt8(clamping: entry.name.count),
                    type: entry.type, inode: entry.inode))
            names += entry.name.prefix(FileName.maximumLength)
        }
        let builder = DirectoryBuilder(
            owner: owner, parent: InodeNumber(parent), format: format, hash: hash,
            maximumLevels: HTreeNode.maximumLevels(superblock), names: names)
        let (bytes, isIndexed) = builder.blocks(listed)
        let blocks = stride(from: 0, to: bytes.count, by: blockSize).map {
            Record(Array(bytes[$0..<min($0 + blockSize, bytes.count)]))
        }
        return (blocks, isIndexed)
    }
}
