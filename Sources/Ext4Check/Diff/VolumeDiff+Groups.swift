import Ext4

// Descriptors and bitmaps, group by group.

extension VolumeDiff {
    mutating func compareGroups() {
        let counts = (a.superblock.groupCount, b.superblock.groupCount)
        for index in 0..<min(counts.0, counts.1) {
            let group = GroupNumber(index)
            let raw = both(.groupDescriptor, "descriptor", group: group) {
                (side) throws(Ext4Error) in try side.rawDescriptor(of: group)
            }
            if let (x, y) = raw {
                compareFields(
                    GroupDescriptor.namedFields, .groupDescriptor, x[...], y[...], group: group)
            }
            compareBitmap(.blockBitmap, of: group) { (side) throws(Ext4Error) in
                try side.blockBitmap(of: group)
            }
            compareBitmap(.inodeBitmap, of: group) { (side) throws(Ext4Error) in
                try side.inodeBitmap(of: group)
            }
        }
        if counts.0 != counts.1 {
            let (from, to) = (min(counts.0, counts.1), max(counts.0, counts.1) - 1)
            let text = from == to ? "group \(from)" : "groups \(from)-\(to)"
            check(
                .groupDescriptor, text, counts.0 > counts.1 ? "there" : nil,
                counts.1 > counts.0 ? "there" : nil)
        }
    }

    /// Compares which blocks or inodes are used, as ranges of their numbers.
    private mutating func compareBitmap(
        _ structure: Difference.Structure, of group: GroupNumber,
        _ read: (Side) throws(Ext4Error) -> UsedBits
    ) {
        guard let (x, y) = both(structure, "bitmap", group: group, read) else { return }
        guard x != y else { return }
        guard x.first == y.first else {
            // Groups of other sizes: number by number they have nothing in common.
            return check(
                structure, "the group starts at", "\(x.first)", "\(y.first)", group: group)
        }
        let count = max(x.count, y.count)
        var at = 0
        while at < count {
            let states = (x.isUsed(at), y.isUsed(at))
            guard states.0 != states.1 else {
                at += 1
                continue
            }
            let start = at
            repeat { at += 1 } while at < count && (x.isUsed(at), y.isUsed(at)) == states
            let (low, high) = (x.first + UInt64(start), x.first + UInt64(at) - 1)
            func word(_ state: Bool?) -> String? { state.map { $0 ? "used" : "free" } }
            check(
                structure, low == high ? "\(low)" : "\(low)-\(high)", word(states.0),
                word(states.1), group: group)
        }
    }
}

/// Which blocks, or which inodes, of a group are used.
struct UsedBits: Equatable {
    /// The number of the first one.
    let first: UInt64
    /// How many there are.
    let count: Int
    let bytes: [UInt8]

    /// Nil behind the end.
    func isUsed(_ index: Int) -> Bool? {
        guard index < count else { return nil }
        return bytes[index >> 3] & 1 << UInt8(index & 7) != 0
    }
}

extension VolumeDiff.Side {
    /// The bytes of a group's descriptor, as they lie.
    func rawDescriptor(of group: GroupNumber) throws(Ext4Error) -> [UInt8] {
        let perBlock = superblock.descriptorsPerBlock
        let block = volume.groups.location(ofDescriptorBlock: group.rawValue / perBlock)
        let slot = UInt64(group.rawValue % perBlock) * UInt64(superblock.descriptorSize)
        let (start, overflow) = block.rawValue.multipliedReportingOverflow(
            by: UInt64(superblock.blockSize))
        guard !overflow else {
            throw .corrupt(.groupDescriptor, at: .init(group: group), .broken("it is nowhere"))
        }
        return try device.read(at: start + slot, count: superblock.descriptorSize)
    }

    func blockBitmap(of group: GroupNumber) throws(Ext4Error) -> UsedBits {
        let range = GroupGeometry(superblock).blocks(of: group)
        let ratio = UInt64(1) << UInt64(superblock.clusterRatioLog2)
        let count = Int(clamping: (range.count + ratio - 1) / ratio)
        let descriptor = try volume.groupDescriptor(group)
        // Clusters are counted by their number: with bigalloc a bit stands for several blocks.
        let first = range.start.rawValue / ratio
        guard !descriptor.flags.contains(.blockUninit) || !superblock.hasDescriptorChecksums else {
            return UsedBits(
                first: first, count: count, bytes: try uninitialised(group, range, ratio, count))
        }
        return UsedBits(
            first: first, count: count, bytes: try bits(at: descriptor.blockBitmap, count))
    }

    /// What the bitmap of a group would be that was never written: only what is the volume's own
    /// is used in it.
    private func uninitialised(
        _ group: GroupNumber, _ range: BlockRange, _ ratio: UInt64, _ count: Int
    ) throws(Ext4Error) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: (count + 7) / 8)
        func use(_ part: BlockRange) {
            let low = max(part.start.rawValue, range.start.rawValue)
            let high = min(part.end.rawValue, range.end.rawValue)
            guard low < high else { return }
            let first = Int((low - range.start.rawValue) / ratio)
            let last = Int((high - 1 - range.start.rawValue) / ratio)
            for bit in first...last { bytes[bit >> 3] |= 1 << UInt8(bit & 7) }
        }
        // The group's copies, and those bitmaps and tables of its flexible group that lie here.
        let flex = superblock.incompatible.contains(.flexBg) ? superblock.groupsPerFlex : 1
        let from = group.rawValue / max(flex, 1) * max(flex, 1)
        let own = UInt64(superblock.copiedBlockCount(of: group))
        use(BlockRange(start: range.start, count: own))
        for index in from..<min(from + max(flex, 1), superblock.groupCount) {
            let other = try volume.groupDescriptor(GroupNumber(index))
            use(BlockRange(start: other.blockBitmap, count: 1))
            use(BlockRange(start: other.inodeBitmap, count: 1))
            use(
                BlockRange(
                    start: other.inodeTable, count: UInt64(superblock.inodeTableBlocks)))
        }
        return bytes
    }

    func inodeBitmap(of group: GroupNumber) throws(Ext4Error) -> UsedBits {
        let count = Int(superblock.inodesPerGroup)
        let first = UInt64(group.rawValue) * UInt64(count) + 1
        let descriptor = try volume.groupDescriptor(group)
        guard !descriptor.flags.contains(.inodeUninit) || !superblock.hasDescriptorChecksums else {
            return UsedBits(
                first: first, count: count,
                bytes: [UInt8](repeating: 0, count: (count + 7) / 8))
        }
        return UsedBits(
            first: first, count: count, bytes: try bits(at: descriptor.inodeBitmap, count))
    }

    /// The first bits of a block; the padding behind them counts for nothing.
    private func bits(at block: BlockNumber, _ count: Int) throws(Ext4Error) -> [UInt8] {
        let size = (count + 7) / 8
        guard size <= superblock.blockSize else {
            throw .corrupt(.blockBitmap, at: .init(block: block), .truncated)
        }
        var bytes = try device.read(
            at: block.rawValue << UInt64(superblock.blockSizeLog2), count: size)
        if count & 7 != 0 { bytes[size - 1] &= (1 << UInt8(count & 7)) - 1 }
        return bytes
    }
}
