// The inodes of an image: their bytes, from what is known of each.

extension ImageBuilder {
    func writeInodes(
        _ numbering: Numbering, _ written: inout Written
    ) throws(Ext4Error) {
        for index in tree.nodes.indices where numbering.numbers[index] > 0 {
            let number = InodeNumber(numbering.numbers[index])
            var record = try record(Int32(truncatingIfNeeded: index), numbering, &written)
            let set = Int(tree.nodes[index].attributes)
            try maker.setInode(
                &record, number, valueCount: set < 0 ? 0 : attributes.sets[set].valueCount)
        }
        for (index, value) in attributes.values.enumerated() where numbering.values[index] > 0 {
            let number = InodeNumber(numbering.values[index])
            var record = try record(value, written.valueMaps[index])
            try maker.setInode(&record, number)
        }
    }

    private func record(
        _ index: Int32, _ numbering: Numbering, _ written: inout Written
    ) throws(Ext4Error) -> InodeRecord {
        let node = tree.nodes[Int(index)]
        var record = emptyRecord
        record[InodeRecord.Layout.mode] = node.mode
        record.setUserID(node.userID)
        record.setGroupID(node.groupID)
        record.setSize(node.size)
        record.setAccessTime(node.accessTime.time)
        record.setChangeTime(node.changeTime.time)
        record.setModificationTime(node.modificationTime.time)
        record.setCreationTime(latestTime.map { min($0, time) } ?? time)
        // Of directories, from 65,000 on, 1 stands for more than can be counted.
        record[InodeRecord.Layout.linkCount] =
            node.linkCount >= Volume.maximumLinkCount && node.type == .directory
            ? 1 : UInt16(clamping: node.linkCount)
        var blocks: UInt64 = 0
        if node.attributes >= 0 {
            let set = attributes.sets[Int(node.attributes)]
            if !set.inInode.isEmpty {
                record.store(attributes.numbered(set.inInode, numbering.values))
            }
            blocks &+= set.valueBlocks
            if let block = attributeBlock(node.attributes, &written) {
                record.setAttributeBlock(block)
                blocks &+= 1 << clusterLog2
            }
        }
        try setContents(of: index, node, in: &record, &blocks, written)
        if blocks < 1 << 20 {
            record[InodeRecord.Layout.blocksLow] = UInt32(blocks << (blockSizeLog2 - 9))
        } else {
            try record.addBlocks(Int64(clamping: blocks), superblock)
        }
        return record
    }

    /// Sets what stands in `i_block`, and counts what it leads to.
    private func setContents(
        of index: Int32, _ node: ImageTree.Node, in record: inout InodeRecord,
        _ blocks: inout UInt64, _ written: Written
    ) throws(Ext4Error) {
        switch node.contents {
        case .device(let device): record.setDevice(device)
        case .directory:
            guard let inline = written.inline[index] else { throw .invalidArgument }
            record.flags.insert(.inlineData)
            try record.setInlineContents(inline.block + inline.rest, attributeContext)
        case .bytes(let offset, let count):
            let bytes = Array(tree.stored[offset..<offset &+ count])
            guard node.type == .symlink else {
                record.flags.insert(.inlineData)
                return try record.setInlineContents(bytes, attributeContext)
            }
            record.block = bytes + [0]
        case .run, .runs, .none:
            switch node.type {
            case .regular, .directory, .symlink: break
            default: return
            }
            if usesExtents { record.flags.insert(.extents) }
            if written.indexed.contains(index) { record.flags.insert(.index) }
            let runs = tree.runs(of: node)
            if let (root, nodes) = written.roots[index] {
                record.block = root
                blocks &+= nodes << clusterLog2
            } else if case .run(let start, let count) = node.contents {
                setRun(BlockNumber(start), count, in: &record)
            } else {
                MapRoot(emptyWithExtents: usesExtents).store(in: &record)
            }
            blocks &+= blockCount(runs)
        }
    }

    /// Sets a map of one run that needs no nodes.
    private func setRun(_ start: BlockNumber, _ count: UInt64, in record: inout InodeRecord) {
        let block = InodeRecord.Layout.block
        if usesExtents {
            record.withMutableBytes { bytes in
                var root = bytes._mutatingExtracting(block)
                ExtentNode.writeHeader(
                    to: &root, count: 1, maximum: block.count / ExtentNode.entrySize - 1, depth: 0)
                ExtentNode.setExtent(
                    BlockRun(logical: LogicalBlock(0), count: count, state: .mapped(start)),
                    at: 0, of: &root)
            }
        } else {
            for i in 0..<Int(count) {
                record[IndirectMap.pointer(i).at(block.lowerBound)] = UInt32(
                    truncatingIfNeeded: start.rawValue &+ UInt64(i))
            }
        }
    }

    /// How many blocks the clusters of runs have; two runs may share one.
    private func blockCount(_ runs: [BlockRun]) -> UInt64 {
        var count: UInt64 = 0
        var end: UInt64 = 0
        for run in runs {
            // By places in the file: those of a cluster go together there too.
            let ratio = clusterBlocks
            let first = max(run.logical.rawValue / ratio, end)
            let last = (run.end.rawValue &+ ratio &- 1) / ratio
            if last > first { count &+= (last &- first) << clusterLog2 }
            end = max(end, last)
        }
        return count
    }

    private var attributeContext: AttributeList.Context {
        AttributeList.Context(
            owner: nil, inodeCount: UInt32.max, firstInode: superblock.firstInode.rawValue,
            hasAttributeInodes: superblock.incompatible.contains(.eaInode), checksumSeed: nil)
    }

    /// The next share of the blocks with a set of attributes.
    private func attributeBlock(_ set: Int32, _ written: inout Written) -> BlockNumber? {
        let blocks = written.attributeBlocks[Int(set)]
        guard !blocks.isEmpty else { return nil }
        let index = written.given[Int(set)] / UInt64(XAttrBlockHeader.maximumReferenceCount)
        written.given[Int(set)] &+= 1
        return index < UInt64(blocks.count) ? blocks[Int(index)] : nil
    }

    /// The inode of a value, as the kernel makes such.
    private func record(
        _ value: ImageAttributes.Value, _ map: Written.ValueMap
    ) throws(Ext4Error) -> InodeRecord {
        typealias Layout = InodeRecord.Layout
        var record = emptyRecord
        record[Layout.mode] = 0o100600
        record.setSize(UInt64(value.bytes.count))
        record.setModificationTime(time)
        record.setCreationTime(time)
        // Who names it is counted where others have a time, and so is the value's hash.
        record[Layout.accessTime] = value.hash
        record[Layout.changeTime] = UInt32(truncatingIfNeeded: value.referenceCount >> 32)
        record[Layout.versionLow] = UInt32(truncatingIfNeeded: value.referenceCount)
        record[Layout.linkCount] = 1
        record.flags = .attributeInode
        if usesExtents { record.flags.insert(.extents) }
        record.block = map.root
        try record.addBlocks(
            Int64(clamping: blockCount(map.runs) &+ map.nodes << clusterLog2), superblock)
        return record
    }
}
