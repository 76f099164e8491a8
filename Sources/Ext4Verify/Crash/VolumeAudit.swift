package import Ext4

/// A quick check of a small volume that was closed: what is reachable against what the bitmaps and
/// counters say. Records and their checksums are checked as they are read.
///
/// It is made to be run ten thousands of times; `ext4 fsck` and e2fsck look at more.
package struct VolumeAudit {
    /// What is wrong.
    package private(set) var complaints: [String] = []

    private var owners: [BlockNumber: InodeNumber] = [:]
    private var sharedBlocks: Set<BlockNumber> = []
    private var blocksOfTrees: UInt64 = 0
    private var names: [InodeNumber: UInt32] = [:]
    private var directories: [InodeNumber: InodeNumber] = [:]

    /// How many blocks the volume's own structures take: what is counted of the first volume, and
    /// then given for those that came of it.
    package private(set) var ownClusters: UInt64?

    /// Checks the volume on `device`, opened with `options`.
    package init(of device: any BlockDevice, options: OpenOptions, ownClusters: UInt64? = nil) {
        self.ownClusters = ownClusters
        var options = options
        options.access = .readOnly
        do throws(Ext4Error) {
            let volume = try Volume.open(device, options: options)
            if volume.recovery != nil { complaints.append("the journal is not empty") }
            try check(volume)
        } catch {
            complaints.append("\(error)")
        }
    }

    private mutating func check(_ volume: Volume) throws(Ext4Error) {
        let superblock = volume.superblock
        if superblock.lastOrphan.rawValue != 0 { complaints.append("orphans are left") }
        if superblock.state & 1 == 0 { complaints.append("it is not marked as unmounted") }
        if superblock.incompatible.contains(.recover) {
            complaints.append("it is marked as in use")
        }
        try countNames(volume)
        var used: Set<InodeNumber> = []
        var directoriesOfGroups = [UInt32](repeating: 0, count: Int(superblock.groupCount))
        for value in 1...max(superblock.inodesCount, 1) {
            let number = InodeNumber(value)
            guard let inode = try inUse(number, volume) else { continue }
            used.insert(number)
            let isReserved = number < superblock.firstInode && number != .root
            // What the volume's own files have is counted with the volume's own blocks.
            if !isReserved { try claimBlocks(of: inode, volume) }
            if inode.isDirectory {
                directoriesOfGroups[Int((value - 1) / superblock.inodesPerGroup)] += 1
            }
            guard !isReserved, !inode.flags.contains(.attributeInode),
                number != superblock.orphanFileInode
            else { continue }
            let links = names[number] ?? 0
            if links == 0 {
                complaints.append("no name leads to inode \(number)")
            } else if links != inode.linkCount {
                complaints.append("inode \(number): \(inode.linkCount) links, not \(links)")
            }
        }
        for number in names.keys where !used.contains(number) {
            complaints.append("a name leads to inode \(number), which is not in use")
        }
        try checkGroups(volume, used, directoriesOfGroups)
    }

    /// The inode when it is in use.
    private func inUse(
        _ number: InodeNumber, _ volume: Volume
    ) throws(Ext4Error) -> Inode? {
        do throws(Ext4Error) {
            return try volume.inode(number)
        } catch {
            guard error == .notFound else { throw error }
            return nil
        }
    }

    /// Counts the names that lead to each inode.
    private mutating func countNames(_ volume: Volume) throws(Ext4Error) {
        var waiting = [try volume.root()]
        directories[.root] = .root
        while let directory = waiting.popLast() {
            for entry in try volume.entries(of: directory) {
                names[entry.inode, default: 0] += 1
                if entry.name == "." || entry.name == ".." {
                    let expected =
                        entry.name == "."
                        ? directory.number
                        : directories[
                            directory.number]
                    if entry.inode != expected {
                        complaints.append(
                            "\(entry.name) of inode \(directory.number) is \(entry.inode)")
                    }
                    continue
                }
                guard entry.type == .directory else { continue }
                guard directories[entry.inode] == nil else {
                    complaints.append("directory \(entry.inode) has two names")
                    continue
                }
                directories[entry.inode] = directory.number
                waiting.append(try volume.inode(entry.inode))
            }
        }
    }

    /// Notes which blocks an inode has; a block has one owner.
    private mutating func claimBlocks(of inode: Inode, _ volume: Volume) throws(Ext4Error) {
        let ratio = UInt64(volume.superblock.clusterRatioLog2)
        let perBlock = UInt64(volume.blockSize / 512)
        var clusters: Set<UInt64> = []
        for run in try volume.mappings(of: inode) {
            let start: BlockNumber
            switch run.state {
            case .mapped(let block), .unwritten(let block): start = block
            case .hole: continue
            }
            for block in start.rawValue..<start.rawValue + run.count {
                let number = BlockNumber(block)
                if let owner = owners.updateValue(inode.number, forKey: number) {
                    complaints.append(
                        "block \(block) is of inode \(owner) and of inode \(inode.number)")
                }
                clusters.insert(block >> ratio)
            }
        }
        var known = UInt64(clusters.count) << ratio
        let attributes = inode.attributeBlock
        if attributes.rawValue != 0 {
            known += 1 << ratio
            if owners[attributes] != nil {
                complaints.append("block \(attributes) has attributes, and is of a file")
            }
            sharedBlocks.insert(attributes)
        }
        // The rest are nodes of the map itself.
        let counted = inode.blocks512 / perBlock
        if inode.flags.contains(.attributeInode) { return }
        if counted < known {
            complaints.append("inode \(inode.number): \(counted) blocks counted, \(known) there")
        } else {
            blocksOfTrees += (counted - known) >> ratio
        }
    }

    // MARK: Bitmaps and counters

    private mutating func checkGroups(
        _ volume: Volume, _ used: Set<InodeNumber>, _ directories: [UInt32]
    ) throws(Ext4Error) {
        let superblock = volume.superblock
        var freeBlocks: UInt64 = 0
        var freeInodes: UInt64 = 0
        var usedClusters: Set<UInt64> = []
        let ratio = UInt64(superblock.clusterRatioLog2)
        for value in 0..<superblock.groupCount {
            let group = try volume.groupDescriptor(GroupNumber(value))
            freeBlocks += UInt64(group.freeBlocksCount)
            freeInodes += UInt64(group.freeInodesCount)
            if group.usedDirectoriesCount != directories[Int(value)] {
                complaints.append(
                    "group \(value): \(group.usedDirectoriesCount) directories counted, "
                        + "\(directories[Int(value)]) there")
            }
            let first = UInt64(value) * UInt64(superblock.inodesPerGroup)
            var free: UInt32 = 0
            if !group.flags.contains(.inodeUninit) {
                let bits = try bytes(group.inodeBitmap, volume)
                for bit in 0..<Int(superblock.inodesPerGroup) {
                    let number = InodeNumber(UInt32(first) + UInt32(bit) + 1)
                    let isSet = bits[bit / 8] >> UInt8(bit % 8) & 1 == 1
                    if !isSet { free += 1 }
                    let isUsed = used.contains(number) || number < superblock.firstInode
                    if isSet != isUsed {
                        complaints.append(
                            "inode \(number) is \(isSet ? "marked as used" : "marked as free")")
                    }
                }
                if free != group.freeInodesCount {
                    complaints.append(
                        "group \(value): \(group.freeInodesCount) free inodes counted, \(free) there"
                    )
                }
            }
            if !group.flags.contains(.blockUninit) {
                usedClusters.formUnion(try markedClusters(of: value, group, volume))
            }
        }
        if freeBlocks << ratio != superblock.freeBlocksCount {
            complaints.append(
                "\(superblock.freeBlocksCount) free blocks in the superblock, \(freeBlocks << ratio)"
                    + " in the groups")
        }
        if freeInodes != UInt64(superblock.freeInodesCount) {
            complaints.append(
                "\(superblock.freeInodesCount) free inodes in the superblock, \(freeInodes) in the"
                    + " groups")
        }
        checkUse(of: usedClusters, volume)
    }

    private mutating func markedClusters(
        of value: UInt32, _ group: GroupDescriptor, _ volume: Volume
    ) throws(Ext4Error) -> Set<UInt64> {
        let superblock = volume.superblock
        let ratio = UInt64(superblock.clusterRatioLog2)
        let bits = try bytes(group.blockBitmap, volume)
        let first = UInt64(value) * UInt64(superblock.clustersPerGroup)
        let all =
            (superblock.blocksCount - UInt64(superblock.firstDataBlock) + (1 << ratio) - 1)
            >> ratio
        let count = min(UInt64(superblock.clustersPerGroup), all - first)
        var found: Set<UInt64> = []
        for bit in 0..<Int(count) where bits[bit / 8] >> UInt8(bit % 8) & 1 == 1 {
            found.insert(first + UInt64(bit))
        }
        if count - UInt64(found.count) != UInt64(group.freeBlocksCount) {
            complaints.append(
                "group \(value): \(group.freeBlocksCount) free blocks counted, "
                    + "\(count - UInt64(found.count)) there")
        }
        return found
    }

    /// What files have must be marked as used, and as much as all of it.
    private mutating func checkUse(of used: Set<UInt64>, _ volume: Volume) {
        let superblock = volume.superblock
        let ratio = UInt64(superblock.clusterRatioLog2)
        let start = UInt64(superblock.firstDataBlock)
        var clusters: Set<UInt64> = []
        for block in owners.keys { clusters.insert((block.rawValue - start) >> ratio) }
        for block in sharedBlocks { clusters.insert((block.rawValue - start) >> ratio) }
        if let free = clusters.first(where: { !used.contains($0) }) {
            complaints.append("block \((free << ratio) + start) is in use and marked as free")
        }
        guard let own = ownClusters else {
            ownClusters =
                UInt64(used.count) - UInt64(clusters.count)
                - min(
                    blocksOfTrees, UInt64(used.count) - UInt64(clusters.count))
            return
        }
        let expected = own + UInt64(clusters.count) + blocksOfTrees
        if expected != UInt64(used.count) {
            complaints.append("\(used.count) blocks are marked as used, \(expected) are in use")
        }
    }

    private func bytes(_ block: BlockNumber, _ volume: Volume) throws(Ext4Error) -> [UInt8] {
        try volume.device.read(
            at: block.rawValue &* UInt64(volume.blockSize), count: volume.blockSize)
    }
}
