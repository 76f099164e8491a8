// Where bitmaps and inode tables lie. With flex_bg those of a flexible group lie together at its
// start: all maps of blocks, all maps of inodes, all tables, around the copies of the superblock
// that are in the way. Without it each group has its own. The searches are those of mke2fs, so that
// both lay a volume out alike.

/// The structures of neighbouring groups whose places are found together: a flexible group, or one
/// that stands alone.
package struct GroupUnit: Sendable {
    /// Its number: units are equally many groups each.
    package let number: UInt32
    /// Its groups.
    package let groups: Range<UInt32>
    /// Its blocks.
    package let blocks: Range<UInt64>
    /// The places, by group from the first one on.
    package fileprivate(set) var places: [GroupPlaces] = []
    /// The blocks of structures, in blocks of the volume, not rounded to clusters.
    package fileprivate(set) var structures = NumberRanges()

    fileprivate init(number: UInt32, groups: Range<UInt32>, blocks: Range<UInt64>) {
        self.number = number
        self.groups = groups
        self.blocks = blocks
    }

    /// One group that has nothing yet but copies of the superblock and of descriptors.
    init(bare group: UInt32, blocks: Range<UInt64>, copies: [Range<UInt64>]) {
        self.init(number: group, groups: group..<group + 1, blocks: blocks)
        for range in copies { structures.insert(range) }
    }
}

extension VolumeLayout {
    /// Groups of a unit.
    package var groupsPerUnit: UInt32 {
        packedStart == nil ? superblock.groupsPerFlex : superblock.groupCount
    }

    /// The number of units.
    package var unitCount: UInt32 {
        let size = UInt64(groupsPerUnit)
        return UInt32((UInt64(superblock.groupCount) + size - 1) / size)
    }

    /// The blocks of `group`.
    package func blocks(of group: UInt32) -> Range<UInt64> {
        let start = superblock.firstBlock(of: GroupNumber(group)).rawValue
        return start..<start + UInt64(superblock.blockCount(of: GroupNumber(group)))
    }

    /// The blocks of a group that hold copies of the superblock and of descriptors.
    ///
    /// With blocks of 1 KiB and clusters, group 0 starts before the superblock.
    package func copies(in group: UInt32) -> [Range<UInt64>] {
        let blocks = blocks(of: group)
        let isShifted =
            group == 0 && superblock.blockSize == 1024 && superblock.firstDataBlock == 0
        let start = blocks.lowerBound
        let count = UInt64(superblock.copiedBlockCount(of: GroupNumber(group)))
        let end = min(start + count + (isShifted ? 1 : 0), blocks.upperBound)
        return start < end ? [start..<end] : []
    }

    /// Works out a unit.
    ///
    /// - Throws: `Ext4Error.noSpace` when structures do not fit.
    package func unit(_ number: UInt32) throws(Ext4Error) -> GroupUnit {
        let size = groupsPerUnit
        let first = number * size
        let end = UInt32(min(UInt64(first) + UInt64(size), UInt64(superblock.groupCount)))
        var unit = GroupUnit(
            number: number, groups: first..<end,
            blocks: blocks(of: first).lowerBound..<blocks(of: end - 1).upperBound)
        for group in unit.groups {
            for range in copies(in: group) { unit.structures.insert(range) }
        }
        if let packedStart {
            try placePacked(&unit, from: packedStart)
        } else if superblock.groupsPerFlex > 1 {
            for group in unit.groups { try placeFlexible(group, &unit) }
        } else {
            for group in unit.groups { try placeAlone(group, &unit) }
        }
        return unit
    }

    private var tableBlocks: UInt64 { UInt64(superblock.inodeTableBlocks) }

    // MARK: Alone

    private func placeAlone(_ group: UInt32, _ unit: inout GroupUnit) throws(Ext4Error) {
        let (first, end) = (unit.blocks.lowerBound, unit.blocks.upperBound)
        let last = end - 1
        var start = first
        if superblock.raidStride > 0 {
            // Maps of neighbouring groups lie on different disks of a RAID.
            guard let free = unit.structures.gap(of: 1, from: first, before: last, limit: end)
            else { throw .noSpace }
            start = free + tableBlocks
            if start <= last {
                start += UInt64(superblock.raidStride) * UInt64(group) % (last - start + 1)
            }
            if start >= last { start = first }
        }
        func take(_ count: UInt64, from start: UInt64) throws(Ext4Error) -> UInt64 {
            let place =
                unit.structures.gap(of: count, from: start, before: end, limit: end)
                ?? unit.structures.gap(of: count, from: first, before: end, limit: end)
            guard let place else { throw .noSpace }
            unit.structures.insert(place..<place + count)
            return place
        }
        let blockBitmap = try take(1, from: start)
        let inodeBitmap = try take(1, from: start)
        let table = try take(tableBlocks, from: first)
        unit.places.append(
            GroupPlaces(blockBitmap: blockBitmap, inodeBitmap: inodeBitmap, inodeTable: table))
    }

    // MARK: Together

    private func placeFlexible(_ group: UInt32, _ unit: inout GroupUnit) throws(Ext4Error) {
        let size = UInt64(superblock.groupsPerFlex)
        let isFirst = group == unit.groups.lowerBound
        let rest = UInt64(unit.groups.upperBound - group)
        // From the maps of blocks to those of inodes, and from those to the tables.
        var distance = size
        if isFirst, unit.groups.upperBound == superblock.groupCount {
            // The last one keeps them close together.
            distance = UInt64(unit.groups.upperBound - 1) & (size - 1)
            distance = distance == 0 ? size : distance + 1
        }
        let before = unit.places.last
        let blockBitmap = try take(
            1, rest, near: before.map { $0.blockBitmap.rawValue + 1 }, &unit)
        let inodeBitmap = try take(
            1, rest, near: before.map { $0.inodeBitmap.rawValue + 1 } ?? blockBitmap + distance,
            &unit)
        let table = try take(
            tableBlocks, rest,
            near: before.map { $0.inodeTable.rawValue + tableBlocks } ?? inodeBitmap + distance,
            &unit)
        unit.places.append(
            GroupPlaces(blockBitmap: blockBitmap, inodeBitmap: inodeBitmap, inodeTable: table))
    }

    /// Takes `count` blocks for a group that `rest - 1` groups follow: where the last group's end,
    /// or from where on there is room for those of all groups, or else anywhere in the unit.
    private func take(
        _ count: UInt64, _ rest: UInt64, near hint: UInt64?, _ unit: inout GroupUnit
    ) throws(Ext4Error) -> UInt64 {
        let (first, end) = (unit.blocks.lowerBound, unit.blocks.upperBound)
        let whole = min(count * rest, UInt64(superblock.blocksPerGroup) / 4)
        var place: UInt64?
        if let hint, hint < superblock.blocksCount {
            place = unit.structures.gap(of: count, from: hint, before: hint + whole, limit: end)
        }
        if place == nil,
            let start = unit.structures.gap(of: whole, from: first, before: end - 1, limit: end)
        {
            place = unit.structures.gap(of: count, from: start, before: end, limit: end)
        }
        place = place ?? unit.structures.gap(of: count, from: first, before: end, limit: end)
        guard let place else { throw .noSpace }
        unit.structures.insert(place..<place + count)
        return place
    }

    // MARK: In one place

    /// All maps of blocks, all maps of inodes, all tables, from `packedStart` on around the copies
    /// of the superblock. The whole volume is one unit then.
    private func placePacked(_ unit: inout GroupUnit, from start: UInt64) throws(Ext4Error) {
        let end = unit.blocks.upperBound
        var next = start
        func take(_ count: UInt64) throws(Ext4Error) -> UInt64 {
            let place = unit.structures.gap(of: count, from: next, before: end, limit: end)
            guard let place else { throw .noSpace }
            unit.structures.insert(place..<place + count)
            next = place + count
            return place
        }
        var blockBitmaps: [UInt64] = []
        for _ in unit.groups { blockBitmaps.append(try take(1)) }
        var inodeBitmaps: [UInt64] = []
        for _ in unit.groups { inodeBitmaps.append(try take(1)) }
        for (blockBitmap, inodeBitmap) in zip(blockBitmaps, inodeBitmaps) {
            unit.places.append(
                GroupPlaces(
                    blockBitmap: blockBitmap, inodeBitmap: inodeBitmap,
                    inodeTable: try take(tableBlocks)))
        }
    }
}
