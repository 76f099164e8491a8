// The end of an image: numbers, directories, maps, attribute blocks, inodes, and then the rest of
// the volume.

extension ImageBuilder {
    /// What is known of the nodes when all of them are.
    struct Numbering {
        /// The numbers of nodes; 0 for those without a name.
        var numbers: [UInt32] = []
        /// The number of each value that has an inode of its own, 0 for one that nobody names.
        var values: [UInt32] = []
        /// The first number behind all of them.
        var end: UInt32
    }

    /// What directories, maps and values have in blocks.
    struct Written {
        /// The map of a value.
        struct ValueMap {
            var runs: [BlockRun] = []
            var root: [UInt8] = []
            /// How many nodes the map has besides the root.
            var nodes: UInt64 = 0
        }

        /// Roots of maps that are not those of a single run, and how many nodes they have.
        var roots: [Int32: (root: [UInt8], nodes: UInt64)] = [:]
        /// Where values are that have inodes of their own.
        var valueMaps: [ValueMap] = []
        /// Directories that have an index.
        var indexed: Set<Int32> = []
        /// Directories whose entries stand in their inode: what would be their block.
        var inline: [Int32: InlineDirectory] = [:]
        /// The blocks of each set of attributes, and how many inodes the last of them has got.
        var attributeBlocks: [[BlockNumber]] = []
        var given: [UInt64] = []
    }

    /// Writes what is left: the volume is complete then.
    ///
    /// - Returns: the size of the volume in bytes.
    /// - Throws: `.noSpace`, `.notPermitted` when `progress` says so, `.tooManyLinks` for a directory with too many others in it, `.io`;
    ///   `.invalidArgument` when a file is open or it was called before.
    public func finish() throws(Ext4Error) -> UInt64 {
        guard open == nil, !isFinished else { throw .invalidArgument }
        isFinished = true
        mergeFreed()
        let numbering = try number()
        var written = Written()
        for index in tree.directories.indices {
            try writeDirectory(index, numbering, &written)
        }
        if maker.isGrowing, !superblock.incompatible.contains(.flexBg) { try relocate(numbering) }
        for index in tree.nodes.indices where numbering.numbers[index] > 0 {
            try writeMap(Int32(truncatingIfNeeded: index), numbering.numbers[index], &written)
        }
        try writeValues(numbering, &written)
        try writeAttributes(numbering, &written)
        try giveBack()
        do throws(FormatProblem) {
            try maker.settle(
                inodeCount: UInt64(numbering.end &- 1), freeBlocks: freeBlocks,
                owners: owners(numbering)
            )
        } catch {
            throw .noSpace
        }
        guard numbering.end &- 1 <= superblock.inodesCount else { throw .noSpace }
        try writeInodes(numbering, &written)
        try maker.makeOwnFiles(hasContents: true)
        try maker.finish()
        return superblock.blocksCount << blockSizeLog2
    }

    /// The blocks that are to be left free.
    var freeBlocks: UInt64 {
        guard case .automatic(let free, _) = size else { return 0 }
        return (free >> blockSizeLog2) &+ (free & UInt64(blockSize &- 1) == 0 ? 0 : 1)
    }

    /// Writes out what waits, and gives the maker back what nobody has.
    func giveBack() throws(Ext4Error) {
        try writer.flush()
        for range in spare { maker.free(range) }
        for range in freed {
            maker.free(range)
            // What was written there and is gone is nothing that an image should tell.
            try maker.makeZeros(range)
        }
        spare = []
        freed = []
        takenEnd = 0
    }

    /// Makes long runs of what files gave back.
    private func mergeFreed() {
        freed.sort { $0.lowerBound < $1.lowerBound }
        var merged: [Range<UInt64>] = []
        for range in freed {
            if let last = merged.last, last.upperBound == range.lowerBound {
                merged[merged.count - 1] = last.lowerBound..<range.upperBound
            } else {
                merged.append(range)
            }
        }
        freed = merged
    }

    // MARK: Numbers

    /// Gives inodes their numbers in the order in which they came.
    private func number() throws(Ext4Error) -> Numbering {
        // Behind lost+found come those that the volume takes for itself.
        var next = maker.firstFreeInode.rawValue
        var numbering = Numbering(end: next)
        numbering.numbers = [UInt32](repeating: 0, count: tree.nodes.count)
        for (index, node) in tree.nodes.enumerated() where node.linkCount > 0 {
            if node.attributes >= 0 { attributes.use(node.attributes) }
            guard index > 0 else {
                numbering.numbers[0] = InodeNumber.root.rawValue
                continue
            }
            guard ImageNode(index: Int32(index)) != .lostAndFound else {
                numbering.numbers[index] = superblock.firstInode.rawValue
                continue
            }
            numbering.numbers[index] = next
            guard next < UInt32.max - 16 else { throw .noSpace }
            next &+= 1
        }
        numbering.values = attributes.numberValues(from: next)
        numbering.end = max(next, (numbering.values.max() ?? 0) &+ 1)
        return numbering
    }

    /// Who owns something, by user, by group and by project; nil where nobody counts that.
    func owners(_ numbering: Numbering) -> [Set<UInt32>]? {
        guard superblock.readOnlyCompatible.contains(.quota) else { return nil }
        var owners: [Set<UInt32>] = [[], [], [0]]
        for (index, node) in tree.nodes.enumerated() where numbering.numbers[index] > 0 {
            owners[0].insert(node.userID)
            owners[1].insert(node.groupID)
        }
        return owners
    }

    private func owner(_ number: UInt32) -> BlockOwner {
        BlockOwner(
            inode: InodeNumber(number),
            checksumSeed: InodeRecord.checksumSeed(
                InodeNumber(number), generation: 0, seed: superblock.checksumSeed))
    }

    // MARK: Directories

    private func writeDirectory(
        _ index: Int, _ numbering: Numbering, _ written: inout Written
    ) throws(Ext4Error) {
        let directory = tree.directories[index]
        let number = numbering.numbers[Int(directory.node)]
        guard number > 0 else { return }
        if directory.subdirectoryCount + 2 >= Volume.maximumLinkCount,
            !superblock.readOnlyCompatible.contains(.dirNlink)
        {
            throw .tooManyLinks
        }
        let hasTypes = superblock.incompatible.contains(.filetype)
        let entries = tree.sortedPlaces(directory).map { place in
            let entry = directory.entries[place]
            let type = tree.nodes[Int(entry.node)].type
            return DirectoryBuilder.Entry(
                nameOffset: entry.nameOffset, nameLength: entry.nameLength,
                type: hasTypes ? type.rawValue : 0, inode: numbering.numbers[Int(entry.node)])
        }
        let node = ImageNode(index: directory.node)
        tree[node].linkCount = directory.subdirectoryCount + 2
        // Nobody looks here any more.
        tree.directories[index].entries = []
        tree.directories[index].table = []
        let parent = InodeNumber(numbering.numbers[Int(directory.parent)])
        if node != .root, node != .lostAndFound,
            let inline = try inlineDirectory(entries, parent, number, of: node)
        {
            written.inline[directory.node] = inline
            tree[node].size = inline.byteCount
            return
        }
        let builder = DirectoryBuilder(
            owner: owner(number), parent: parent, format: DirectoryFormat(superblock),
            hash: hash, maximumLevels: HTreeNode.maximumLevels(superblock), names: tree.names)
        var (blocks, isIndexed) = builder.blocks(entries)
        if node == .lostAndFound { addRoom(to: &blocks, isIndexed) }
        if isIndexed { written.indexed.insert(directory.node) }
        tree[node].size = UInt64(blocks.count)
        let runs = try writeBlocks(blocks)
        tree[node].contents = tree.contents(runs)
    }

    /// Adds empty blocks, so that what is found again has room on a full volume: 16 KiB in all.
    private func addRoom(to blocks: inout [UInt8], _ isIndexed: Bool) {
        let wanted = min(max(16384 / blockSize, 2), 12)
        guard !isIndexed, blocks.count < wanted * blockSize else { return }
        let format = DirectoryFormat(superblock)
        let owner = owner(superblock.firstInode.rawValue)
        while blocks.count < wanted * blockSize {
            var block = [UInt8](repeating: 0, count: blockSize)
            var span = block.mutableSpan
            var bytes = unsafe span.mutableBytes
            DirectoryRecord.writeUnused(
                length: format.entriesEnd, at: 0, in: &bytes, format: format)
            DirectoryRecord.writeTail(in: &bytes, format: format)
            if format.hasChecksums { DirectoryRecord.sealTail(&bytes, owner: owner) }
            blocks += block
        }
    }

    /// The hash of directories' indexes; nil where they have none.
    private var hash: DirectoryHash? {
        guard superblock.compatible.contains(.dirIndex) else { return nil }
        let seed = superblock.hashSeed
        let version = DirectoryHash.Version(rawValue: superblock.defaultHashVersion)
        return DirectoryHash(
            version.resolved(isUnsigned: superblock.flags & 2 != 0),  // EXT2_FLAGS_UNSIGNED_HASH
            seed: (seed[0], seed[1], seed[2], seed[3]))
    }

    /// The entries in the inode, where that has room for them.
    private func inlineDirectory(
        _ entries: [DirectoryBuilder.Entry], _ parent: InodeNumber, _ number: UInt32,
        of node: ImageNode
    ) throws(Ext4Error) -> InlineDirectory? {
        guard hasInlineData else { return nil }
        let capacity = attributes.inlineCapacity(tree[node].attributes)
        let size = entries.reduce(InlineDirectory.parentSize) {
            $0 &+ DirectoryRecord.size(nameLength: Int($1.nameLength), hasHash: false)
        }
        guard size <= capacity else { return nil }
        var inline = InlineDirectory(
            superblock: superblock, inode: InodeNumber(number), flags: [],
            block: InlineDirectory.empty(parent: parent, superblock: superblock), rest: [])
        let names = tree.names
        for entry in entries {
            let range = entry.nameOffset..<entry.nameOffset &+ Int(entry.nameLength)
            guard
                try unsafe inline.insert(
                    names.span.bytes.extracting(range), inode: InodeNumber(entry.inode),
                    type: FileType(rawValue: entry.type) ?? .unknown,
                    capacity: capacity &- InodeRecord.Layout.block.count)
            else { return nil }
        }
        return inline
    }

    // MARK: Blocks

    /// Writes whole blocks to as few runs as there are.
    func writeBlocks(_ bytes: [UInt8]) throws(Ext4Error) -> [BlockRun] {
        let log2 = blockSizeLog2
        let count = UInt64(bytes.count) >> log2
        let ratio = clusterBlocks
        var runs: [BlockRun] = []
        var done: UInt64 = 0
        while done < count {
            let range = try allocateClusters((count &- done &+ ratio &- 1) / ratio)
            let part = min(UInt64(range.count), count &- done)
            let run = BlockRun(
                logical: LogicalBlock(done), count: part,
                state: .mapped(BlockNumber(range.lowerBound)))
            let start = Int(done << log2)
            try unsafe writer.write(
                bytes.span.bytes.extracting(start..<start &+ Int(part << log2)),
                at: range.lowerBound << log2)
            if let last = runs.last, let merged = last.merged(with: run) {
                runs[runs.count - 1] = merged
            } else {
                runs.append(run)
            }
            done &+= part
        }
        return runs
    }

    func mapBuilder(_ number: UInt32) -> MapBuilder {
        MapBuilder(
            blockSize: blockSize, owner: owner(number),
            usesExtents: usesExtents,
            hasChecksums: superblock.hasMetadataChecksums)
    }

    /// Writes the nodes of a map, and keeps its root.
    private func writeMap(
        _ node: Int32, _ number: UInt32, _ written: inout Written
    ) throws(Ext4Error) {
        let contents = tree.nodes[Int(node)].contents
        switch contents {
        case .runs: break
        case .run(_, let count):
            // One extent, or direct pointers, have no nodes.
            let most: UInt64 = usesExtents ? 32768 : 12
            guard count > most else { return }
        default: return
        }
        written.roots[node] = try writeMap(tree.runs(of: tree.nodes[Int(node)]), number)
    }

    private func writeMap(
        _ runs: [BlockRun], _ number: UInt32
    ) throws(Ext4Error) -> (root: [UInt8], nodes: UInt64) {
        let builder = mapBuilder(number)
        var places: [BlockNumber] = []
        let count = builder.nodeCount(of: runs)
        while places.count < count {
            places.append(BlockNumber(try allocateClusters(1).lowerBound))
        }
        let map = builder.map(of: runs, nodes: places)
        for (place, node) in zip(places, map.nodes) {
            try unsafe writer.write(
                node.span.bytes, at: place.rawValue << blockSizeLog2)
        }
        return (map.root, UInt64(count))
    }

    // MARK: Attributes

    private func writeValues(
        _ numbering: Numbering, _ written: inout Written
    ) throws(Ext4Error) {
        for (index, value) in attributes.values.enumerated() {
            guard numbering.values[index] > 0 else {
                written.valueMaps.append(Written.ValueMap())
                continue
            }
            let rest = value.bytes.count & (blockSize - 1)
            let padding = rest == 0 ? 0 : blockSize - rest
            let runs = try writeBlocks(value.bytes + [UInt8](repeating: 0, count: padding))
            let (root, nodes) = try writeMap(runs, numbering.values[index])
            written.valueMaps.append(Written.ValueMap(runs: runs, root: root, nodes: nodes))
        }
    }

    private func writeAttributes(
        _ numbering: Numbering, _ written: inout Written
    ) throws(Ext4Error) {
        let most = UInt64(XAttrBlockHeader.maximumReferenceCount)
        for set in attributes.sets {
            var blocks: [BlockNumber] = []
            var left = set.inBlock.isEmpty ? 0 : set.useCount
            while left > 0 {
                let count = min(left, most)
                let block = BlockNumber(try allocateClusters(1).lowerBound)
                var bytes = attributes.numbered(set.inBlock, numbering.values).block(
                    referenceCount: UInt32(count))
                if superblock.hasMetadataChecksums {
                    var span = bytes.mutableSpan
                    var raw = unsafe span.mutableBytes
                    raw[XAttrBlockHeader.Layout.checksum] = XAttrBlockHeader.checksum(
                        of: raw.bytes, at: block, seed: superblock.checksumSeed)
                }
                try unsafe writer.write(
                    bytes.span.bytes, at: block.rawValue << blockSizeLog2)
                blocks.append(block)
                left &-= count
            }
            written.attributeBlocks.append(blocks)
            written.given.append(0)
        }
    }
}
