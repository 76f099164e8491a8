// Images of an open size without flex_bg: when all contents and directories are written, it is known
// how many inodes there are, and so how large each group's table is. Contents move out of its way
// then, before maps are written and anything else that tells where they are.

extension ImageBuilder {
    /// Settles the size, and moves what was written out of the way of each group's structures.
    func relocate(_ numbering: Numbering) throws(Ext4Error) {
        try giveBack()
        let relocation: Relocation
        do throws(FormatProblem) {
            relocation = try maker.settleAround(
                inodeCount: UInt64(numbering.end &- 1), freeBlocks: freeBlocks,
                owners: owners(numbering)
            ) { furtherBlocks(numbering, $0) }
        } catch {
            throw .noSpace
        }
        for index in tree.nodes.indices where numbering.numbers[index] > 0 {
            let node = tree.nodes[index]
            let runs = tree.runs(of: node)
            guard !runs.isEmpty else { continue }
            let moved = relocation.moved(runs)
            if case .runs(let map) = node.contents {
                tree.maps[Int(map)] = moved
            } else {
                tree[ImageNode(index: Int32(truncatingIfNeeded: index))].contents =
                    tree.contents(moved)
            }
        }
        let log2 = blockSizeLog2
        try maker.carryOut(relocation) { progress?($0 << log2, $1 << log2) ?? true }
    }

    /// How many blocks are going to be taken for maps, values and attributes.
    private func furtherBlocks(_ numbering: Numbering, _ relocation: Relocation) -> UInt64 {
        var clusters: UInt64 = 0
        for (index, node) in tree.nodes.enumerated() where numbering.numbers[index] > 0 {
            switch node.contents {
            case .run, .runs:
                let runs = relocation.moved(tree.runs(of: node))
                clusters &+= UInt64(mapBuilder(numbering.numbers[index]).nodeCount(of: runs))
            default: break
            }
        }
        for (index, value) in attributes.values.enumerated() where numbering.values[index] > 0 {
            let blocks = UInt64(value.bytes.count &+ blockSize &- 1) >> blockSizeLog2
            let run = BlockRun(
                logical: LogicalBlock(0), count: blocks, state: .mapped(BlockNumber(1)))
            clusters &+= (blocks &+ clusterBlocks &- 1) >> clusterLog2
            // It may lie in pieces, of which four need no node.
            clusters &+= max(UInt64(mapBuilder(0).nodeCount(of: [run])), blocks > 4 ? 1 : 0)
        }
        for set in attributes.sets { clusters &+= attributes.blockCount(set) }
        return clusters << clusterLog2
    }
}
