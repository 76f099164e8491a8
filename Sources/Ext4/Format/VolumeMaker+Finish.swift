// What comes last: the bitmaps, the descriptors, the superblock and the copies of both.

extension VolumeMaker {
    /// What is counted group by group.
    private struct Totals {
        var freeClusters: UInt64 = 0
        var freeInodes: UInt64 = 0
        var structureClusters: UInt64 = 0
    }

    /// Finishes the volume. Until the last request is done, there is no superblock at its start.
    package func finish() throws(Ext4Error) {
        if owesQuota { try makeQuotaFiles() }
        owesQuota = false
        try flushTables()
        let size = superblock.descriptorSize
        let perBlock = Int(superblock.descriptorsPerBlock)
        let blocks = (Int(superblock.groupCount) + perBlock - 1) / perBlock
        var table = [UInt8](repeating: 0, count: blocks * blockSize)
        var totals = Totals()
        try writeGroups(&table, size, &totals)
        let bytes = superblockBytes(totals)
        try writeCopies(bytes, table)
        try device.flush()
        try writePrimary(bytes, table)
        try device.flush()
    }

    // MARK: Groups

    private func writeGroups(
        _ table: inout [UInt8], _ size: Int, _ totals: inout Totals
    ) throws(Ext4Error) {
        let format = GroupDescriptor.Format(superblock)
        var blockQueue = WriteQueue(blockSize: blockSize)
        var inodeQueue = WriteQueue(blockSize: blockSize)
        let last = superblock.groupCount - 1
        let perBlock = Int(superblock.descriptorsPerBlock)
        for number in 0..<layout.unitCount {
            let (unit, structures) = try unit(number)
            progress?(unit.groups.lowerBound, superblock.groupCount)
            for group in unit.groups {
                let places = unit.places[Int(group - unit.groups.lowerBound)]
                var descriptor = GroupDescriptor(
                    blockBitmap: places.blockBitmap, inodeBitmap: places.inodeBitmap,
                    inodeTable: places.inodeTable)
                if let bitmap = describeBlocks(
                    group, isLast: group == last, unit, structures, &descriptor, &totals)
                {
                    try blockQueue.add(bitmap, at: places.blockBitmap.rawValue, put)
                }
                if let bitmap = describeInodes(group, &descriptor, &totals) {
                    try inodeQueue.add(bitmap, at: places.inodeBitmap.rawValue, put)
                }
                try clearTable(places, &descriptor)
                let start = Int(group) / perBlock * blockSize + Int(group) % perBlock * size
                var span = table.mutableSpan
                var raw = unsafe span.mutableBytes
                var bytes = raw._mutatingExtracting(start..<start + size)
                descriptor.writeNew(to: &bytes, group: GroupNumber(group), format)
            }
        }
        try blockQueue.flush(put)
        try inodeQueue.flush(put)
    }

    private func put(_ bytes: [UInt8], at block: UInt64) throws(Ext4Error) {
        try write(bytes, atBlock: block)
    }

    /// Counts a group's blocks; its bitmap, if it must be written.
    private func describeBlocks(
        _ group: UInt32, isLast: Bool, _ unit: GroupUnit, _ structures: NumberRanges,
        _ descriptor: inout GroupDescriptor, _ totals: inout Totals
    ) -> [UInt8]? {
        let blocks = layout.blocks(of: group)
        let ratio = UInt64(superblock.clusterRatioLog2)
        let structural = structures.count(in: blocks)
        let own = taken.count(in: blocks)
        // The last cluster may be cut by the end of the volume: it is used with what it has.
        let all = wholeClusters(blocks.upperBound - blocks.lowerBound, up: true) >> ratio
        let usedClusters = wholeClusters(structural + own, up: true) >> ratio
        descriptor.freeBlocksCount = UInt32(all - min(usedClusters, all))
        totals.freeClusters += UInt64(descriptor.freeBlocksCount)
        totals.structureClusters += wholeClusters(structural, up: true) >> ratio
        let hasInodes = takenInodes.count(in: inodes(of: group)) > 0
        if superblock.hasDescriptorChecksums, !isLast, own == 0, !hasInodes,
            !hasPlaced(in: group, unit)
        {
            descriptor.flags.insert(.blockUninit)
            return nil
        }
        var bitmap = [UInt8](repeating: 0, count: blockSize)
        var span = bitmap.mutableSpan
        var raw = unsafe span.mutableBytes
        for part in structures.parts(in: blocks) + taken.parts(in: blocks) {
            let low = Int((part.lowerBound - blocks.lowerBound) >> ratio)
            let high = Int(
                wholeClusters(part.upperBound - blocks.lowerBound, up: true) >> ratio)
            raw.setBits(low..<high)
        }
        // What stands for no block of the volume counts as used.
        raw.setBits(Int(all)..<blockSize * 8)
        descriptor.blockBitmapChecksum =
            GroupDescriptor.blockBitmapChecksum(of: raw.bytes, superblock: superblock) ?? 0
        return bitmap
    }

    /// The inodes of a group.
    private func inodes(of group: UInt32) -> Range<UInt64> {
        let perGroup = UInt64(superblock.inodesPerGroup)
        let first = UInt64(group) * perGroup + 1
        return first..<first + perGroup
    }

    /// Whether structures other than the copies of the superblock lie in a group, where they are
    /// not the group's own: the kernel knows of its own ones only.
    private func hasPlaced(in group: UInt32, _ unit: GroupUnit) -> Bool {
        guard layout.groupsPerUnit > 1 else { return false }
        let blocks = layout.blocks(of: group)
        var copies: UInt64 = 0
        for range in layout.copies(in: group) { copies += range.upperBound - range.lowerBound }
        return unit.structures.count(in: blocks) > copies
    }

    /// Counts a group's inodes; its bitmap, if it must be written.
    private func describeInodes(
        _ group: UInt32, _ descriptor: inout GroupDescriptor, _ totals: inout Totals
    ) -> [UInt8]? {
        let perGroup = UInt64(superblock.inodesPerGroup)
        let inodes = inodes(of: group)
        let first = inodes.lowerBound
        let used = takenInodes.count(in: inodes)
        descriptor.freeInodesCount = UInt32(perGroup - used)
        descriptor.usedDirectoriesCount = UInt32(directories.count(in: inodes))
        totals.freeInodes += perGroup - used
        let parts = takenInodes.parts(in: inodes)
        if superblock.hasDescriptorChecksums {
            let end = parts.last?.upperBound ?? first
            descriptor.unusedInodesCount = UInt32(inodes.upperBound - end)
            if used == 0 {
                descriptor.flags.insert(.inodeUninit)
                return nil
            }
        }
        var bitmap = [UInt8](repeating: 0, count: blockSize)
        var span = bitmap.mutableSpan
        var raw = unsafe span.mutableBytes
        for part in parts {
            raw.setBits(Int(part.lowerBound - first)..<Int(part.upperBound - first))
        }
        raw.setBits(Int(perGroup)..<blockSize * 8)
        descriptor.inodeBitmapChecksum =
            GroupDescriptor.inodeBitmapChecksum(of: raw.bytes, superblock: superblock) ?? 0
        return bitmap
    }

    /// Sees to it that what is not written of an inode table reads as zeros, unless the kernel
    /// will.
    private func clearTable(
        _ places: GroupPlaces, _ descriptor: inout GroupDescriptor
    ) throws(Ext4Error) {
        let isLazy = layout.options.leavesInodeTables && superblock.hasDescriptorChecksums
        if superblock.hasDescriptorChecksums, isZeroed || !isLazy {
            descriptor.flags.insert(.inodeZeroed)
        }
        guard !isZeroed else { return }
        let used = superblock.inodesPerGroup - (isLazy ? descriptor.unusedInodesCount : 0)
        let count = VolumeGeometry.ceiling(UInt64(used), UInt64(superblock.inodesPerBlock))
        let start = places.inodeTable.rawValue
        var place = start
        for written in writtenTables.parts(in: start..<start + count) {
            try clear(place..<written.lowerBound)
            place = written.upperBound
        }
        try clear(place..<start + count)
    }

    func clear(_ blocks: Range<UInt64>) throws(Ext4Error) {
        guard !blocks.isEmpty else { return }
        let log2 = UInt64(superblock.blockSizeLog2)
        try device.writeZeros(
            at: blocks.lowerBound << log2, count: (blocks.upperBound - blocks.lowerBound) << log2)
    }

    // MARK: Superblock

    private func superblockBytes(_ totals: Totals) -> [UInt8] {
        typealias Layout = Superblock.Layout
        var bytes = layout.superblockBytes
        var span = bytes.mutableSpan
        var raw = unsafe span.mutableBytes
        let ratio = UInt64(superblock.clusterRatioLog2)
        Superblock.setFree(
            &raw, has64Bit: superblock.incompatible.contains(.bit64),
            blocks: totals.freeClusters << ratio, inodes: totals.freeInodes)
        var overhead = totals.structureClusters
        overhead += wholeClusters(UInt64(layout.journalBlocks), up: true) >> ratio
        overhead += wholeClusters(UInt64(superblock.firstDataBlock), up: true) >> ratio
        raw[Layout.overheadClusters] = UInt32(truncatingIfNeeded: overhead)
        if let journal = own.journal {
            raw[Layout.journalInode] = journal.rawValue
            raw[Layout.journalBackupType] = 1
            raw.store(
                unsafe own.journalMap.span.bytes, at: Layout.journalBackup.offset)
            raw[Layout.journalBackup.at(15 * 4)] = UInt32(
                truncatingIfNeeded: own.journalSize >> 32)
            raw[Layout.journalBackup.at(16 * 4)] = UInt32(truncatingIfNeeded: own.journalSize)
        }
        if let block = own.mmpBlock {
            raw[Layout.mmpBlock] = block
            raw[Layout.mmpInterval] = multiMountInterval
        }
        for (field, inode) in own.quotas { raw[field] = inode.rawValue }
        if let inode = own.orphanFile { raw[Layout.orphanFileInode] = inode.rawValue }
        if superblock.compatible.rawValue != 0 || superblock.readOnlyCompatible.rawValue != 0 {
            raw[Layout.kibibytesWritten] = writtenBytes >> 10
        }
        seal(&raw, group: 0)
        return bytes
    }

    /// Makes the bytes those of the copy in `group`.
    private func seal(_ raw: inout MutableRawSpan, group: UInt32) {
        typealias Layout = Superblock.Layout
        raw[Layout.group] = UInt16(truncatingIfNeeded: group)
        if superblock.hasMetadataChecksums {
            raw[Layout.checksum] = Superblock.checksum(of: raw.bytes)
        }
    }

    /// The descriptor blocks that follow each copy of the superblock: all of them without meta_bg.
    private var tableBlocksBesideCopies: Int {
        if superblock.incompatible.contains(.metaBg) { return Int(superblock.firstMetaGroup) }
        let perBlock = superblock.descriptorsPerBlock
        return Int((superblock.groupCount + perBlock - 1) / perBlock)
    }

    private func writeCopies(_ bytes: [UInt8], _ table: [UInt8]) throws(Ext4Error) {
        let beside = tableBlocksBesideCopies
        let descriptors = Array(table[..<(beside * blockSize)])
        // A page of a file, and with small blocks one request for both.
        let isSmall = blockSize <= 4096
        var copy = [UInt8](repeating: 0, count: isSmall ? blockSize : bytes.count)
        copy.replaceSubrange(0..<bytes.count, with: bytes)
        if isSmall { copy += descriptors }
        for group in 1..<max(superblock.groupCount, 1)
        where superblock.hasSuperblock(GroupNumber(group)) {
            var span = copy.mutableSpan
            var raw = unsafe span.mutableBytes
            var head = raw._mutatingExtracting(0..<Superblock.byteCount)
            seal(&head, group: group)
            let start = layout.blocks(of: group).lowerBound
            try write(copy, atBlock: start)
            if !isSmall, beside > 0 { try write(descriptors, atBlock: start + 1) }
        }
        guard superblock.incompatible.contains(.metaBg) else { return }
        // Each block of descriptors is in the first, the second and the last group of those that
        // it describes.
        let perBlock = superblock.descriptorsPerBlock
        for index in beside..<table.count / blockSize {
            let first = UInt32(index) * perBlock
            let block = Array(table[index * blockSize..<(index + 1) * blockSize])
            let last = first + perBlock - 1
            for group in [first, first + 1, last] where group < superblock.groupCount {
                let start = layout.blocks(of: group).lowerBound
                let isShifted =
                    group == 0 && blockSize == 1024 && superblock.firstDataBlock == 0
                let offset = superblock.hasSuperblock(GroupNumber(group)) ? 1 : 0
                try write(block, atBlock: start + UInt64(offset + (isShifted ? 1 : 0)))
            }
        }
    }

    private func writePrimary(_ bytes: [UInt8], _ table: [UInt8]) throws(Ext4Error) {
        let beside = tableBlocksBesideCopies
        if beside > 0 {
            try write(
                Array(table[..<(beside * blockSize)]),
                atBlock: superblock.location(ofDescriptorBlock: 0).rawValue)
        }
        // With what may stand before it: a boot sector of something else.
        let head = [UInt8](repeating: 0, count: Int(Superblock.byteOffset)) + bytes
        writtenBytes += UInt64(head.count)
        try device.write(unsafe head.span.bytes, at: 0)
    }
}
