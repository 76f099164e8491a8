import Ext4

// The superblock, its copies, and the descriptors of the groups.

extension RepairRound {
    private typealias Layout = Superblock.Layout

    func applySuperblock(_ finding: Finding, _ batch: [Finding]) throws(Ext4Error) {
        switch finding.rule {
        case .superblockInvalid:
            try restoreSuperblock()
        case .superblockUUID:
            // No randomness is needed: a volume without a UUID has nothing that names it.
            let seed = UInt64(now) &* 0x9E37_79B9_7F4A_7C15 ^ superblock.blocksCount
            try volume.changeSuperblock { record in
                for i in Layout.uuid {
                    let shift = UInt64(i - Layout.uuid.lowerBound) * 5 % 57
                    record.bytes[i] = UInt8(truncatingIfNeeded: seed >> shift) | 1
                }
                record.bytes[Layout.uuid.lowerBound + 6] &= 0x0F
                record.bytes[Layout.uuid.lowerBound + 6] |= 0x40
                record.bytes[Layout.uuid.lowerBound + 8] &= 0x3F
                record.bytes[Layout.uuid.lowerBound + 8] |= 0x80
            }
        case .superblockMountTime:
            try volume.changeSuperblock { record in
                record[Layout.mountTime] = now
                record[Layout.mountTimeHigh] = 0
            }
        case .superblockWriteTime:
            try volume.changeSuperblock { record in
                record[Layout.writeTime] = now
                record[Layout.writeTimeHigh] = 0
            }
        case .superblockReservedDescriptors:
            try volume.changeSuperblock { $0[Layout.reservedDescriptors] = 0 }
            if !superblock.compatible.contains(.resizeInode) {
                try clearInode(InodeNumber.resize.rawValue)
            }
        case .superblockReservedBlocks:
            let blocks = superblock.blocksCount / 20
            let isWide = superblock.incompatible.contains(.bit64)
            try volume.changeSuperblock { record in
                record[Layout.reservedBlocksLow] = UInt32(truncatingIfNeeded: blocks)
                if isWide {
                    record[Layout.reservedBlocksHigh] = UInt32(truncatingIfNeeded: blocks >> 32)
                }
            }
        case .superblockFeatures, .superblockExclusive:
            try mendFeatures()
        case .superblockState:
            // What is not sound yet is not marked so.
            guard batch.allSatisfy({ $0.rule.severity == .note }) else { return }
            try volume.changeSuperblock { record in
                record[Layout.state] = record[Layout.state] & ~2 | 1
            }
        case .superblockErrors:
            try volume.changeSuperblock { record in
                record[Layout.errorCount] = 0
                record.fill(Layout.errorCount.offset..<Layout.lastErrorFunction.upperBound)
                record[Layout.firstErrorTimeHigh] = 0
                record[Layout.lastErrorTimeHigh] = 0
                record[Layout.firstErrorCode] = 0
                record[Layout.lastErrorCode] = 0
            }
        case .superblockBackup:
            guard batch.allSatisfy({ $0.rule.severity == .note }) else { return }
            try refreshBackups()
        default: break
        }
    }

    /// Writes the primary superblock from the copy that the check went by.
    private func restoreSuperblock() throws(Ext4Error) {
        let bytes = state.volume.superblockBytes
        try volume.changeSuperblock { record in
            record.bytes = bytes
            record[Layout.group] = 0
            if !superblock.readOnlyCompatible.contains(.bigalloc) {
                record[Layout.clustersPerGroup] = superblock.blocksPerGroup
            }
            if !superblock.incompatible.contains(.bit64), record[Layout.descriptorSize] > 1024 {
                record[Layout.descriptorSize] = 0
            }
            record[Layout.state] = record[Layout.state] & ~2 | 1
        }
    }

    /// Switches features as the others need them.
    private func mendFeatures() throws(Ext4Error) {
        var removesResizeInode = false
        let ignoresCase = hasDirectoryThatIgnoresCase()
        try volume.changeSuperblock { record in
            var compatible = CompatibleFeatures(rawValue: record[Layout.compatible])
            var incompatible = IncompatibleFeatures(rawValue: record[Layout.incompatible])
            var readOnly = ReadOnlyCompatibleFeatures(rawValue: record[Layout.readOnlyCompatible])
            if readOnly.contains(.metadataCsum) { readOnly.remove(.gdtCsum) }
            if incompatible.contains(.metaBg) {
                compatible.remove(.resizeInode)
                record[Layout.reservedDescriptors] = 0
                removesResizeInode = true
            }
            if !readOnly.contains(.metadataCsum) { incompatible.remove(.csumSeed) }
            if !compatible.contains(.hasJournal) { incompatible.remove(.recover) }
            if record[Layout.encoding] != Superblock.utf8Encoding, !ignoresCase {
                incompatible.remove(.casefold)
            }
            if record[Layout.revision] > 0 { readOnly.insert(.largeFile) }
            record[Layout.compatible] = compatible.rawValue
            record[Layout.incompatible] = incompatible.rawValue
            record[Layout.readOnlyCompatible] = readOnly.rawValue
        }
        if removesResizeInode { try clearInode(InodeNumber.resize.rawValue) }
    }

    /// Whether a directory ignores case on a volume whose encoding of names nobody knows.
    private func hasDirectoryThatIgnoresCase() -> Bool {
        guard superblock.incompatible.contains(.casefold),
            superblock.encoding != Superblock.utf8Encoding
        else { return false }
        return (1...max(superblock.inodesCount, 1)).contains { number in
            guard let record = volume.inode(number),
                FileMode(rawValue: record[InodeRecord.Layout.mode]).type == .directory
            else { return false }
            return InodeFlags(rawValue: record[InodeRecord.Layout.flags]).contains(.casefold)
        }
    }

    /// Writes every copy of the superblock and of the descriptors from the primary ones.
    func refreshBackups() throws(Ext4Error) {
        let primary = Record(
            try device.read(at: Superblock.byteOffset, count: Superblock.byteCount))
        let hasChecksum = superblock.hasMetadataChecksums
        for group in 1..<max(superblock.groupCount, 1)
        where superblock.hasSuperblock(GroupNumber(group)) {
            let start = superblock.firstBlock(of: GroupNumber(group)).rawValue
            var copy = primary
            copy[Layout.group] = UInt16(truncatingIfNeeded: group)
            // A copy never says that it waits for a journal's replay.
            copy[Layout.incompatible] &= ~IncompatibleFeatures.recover.rawValue
            if hasChecksum {
                copy[Layout.checksum] = copy.withBytes { Superblock.checksum(of: $0) }
            }
            guard superblock.contains(BlockNumber(start)) else { continue }
            try unsafe device.write(
                copy.bytes.span.bytes, at: start << UInt64(superblock.blockSizeLog2))
        }
        try refreshDescriptorCopies()
    }

    private func refreshDescriptorCopies() throws(Ext4Error) {
        let blocks = (superblock.groupCount - 1) / superblock.descriptorsPerBlock + 1
        for index in 0..<blocks {
            let place = superblock.location(ofDescriptorBlock: index, copyOf: GroupNumber(0))
            guard let source = volume.block(place.rawValue) else { continue }
            for target in copies(ofDescriptorBlock: index) { try volume.setBlock(target, source) }
        }
    }

    /// Where the copies of a block of descriptors stand.
    private func copies(ofDescriptorBlock index: UInt32) -> [UInt64] {
        let perBlock = superblock.descriptorsPerBlock
        if superblock.incompatible.contains(.metaBg), index >= superblock.firstMetaGroup {
            // In the second and the last group of those that it describes.
            let first = index * perBlock
            return [first + 1, first + perBlock - 1].filter { $0 < superblock.groupCount }.map {
                let group = GroupNumber($0)
                return superblock.firstBlock(of: group).rawValue
                    + (superblock.hasSuperblock(group) ? 1 : 0)
            }
        }
        return superblock.groupsWithTableCopies.map {
            superblock.firstBlock(of: $0).rawValue + 1 + UInt64(index)
        }
    }

    // MARK: Descriptors

    private typealias Group = GroupDescriptor.Layout

    func applyDescriptor(
        _ finding: Finding, _ attempt: Int, _ batch: [Finding]
    ) throws(Ext4Error) {
        let group = finding.place.group?.rawValue ?? 0
        switch finding.rule {
        case .groupBackup:
            guard batch.allSatisfy({ $0.rule == .groupBackup }) else { return }
            try refreshDescriptorCopies()
        case .groupFlags:
            try volume.changeDescriptor(group) { $0[Group.flags] &= ~3 }
        case .groupMarks:
            try setUnusedInodes(group, 0)
            try volume.changeDescriptor(group) { $0[Group.flags] &= ~3 }
        case .groupUnusedInodes:
            try setUnusedInodes(group, 0)
        case .groupChecksum:
            // A copy with the right checksum says more than this one with a wrong one.
            if attempt == 0, try restoreDescriptor(group) { return }
            try setUnusedInodes(group, 0)
            try volume.changeDescriptor(group) { $0[Group.flags] &= ~3 }
        case .groupBlockBitmapPlace, .groupInodeBitmapPlace, .groupInodeTablePlace, .groupOverlap:
            if attempt == 0, try restoreDescriptor(group) { return }
            if finding.rule != .groupOverlap, superblock.revision > 0,
                !superblock.incompatible.contains(.flexBg), isInVolume(finding)
            {
                // Everything is somewhere: it is the feature that was lost.
                try volume.changeSuperblock {
                    $0[Layout.incompatible] |= IncompatibleFeatures.flexBg.rawValue
                }
                return
            }
            try moveStructures(of: group, finding)
        default: break
        }
    }

    /// Whether the structure that the finding is about lies in the volume, outside its group.
    private func isInVolume(_ finding: Finding) -> Bool {
        guard let block = finding.found ?? finding.place.block?.rawValue else { return false }
        let count = finding.rule == .groupInodeTablePlace ? superblock.inodeTableBlocks : 1
        return superblock.contains(BlockNumber(block), count: UInt64(count)) && block > 2
    }

    /// Whether a block holds a group's bitmap, a part of its inode table, or a copy of superblock
    /// and descriptors.
    func isGroupStructure(_ block: UInt64) -> Bool {
        let table = UInt64(superblock.inodeTableBlocks)
        for (index, group) in volume.descriptors.enumerated() {
            if block == group.blockBitmap.rawValue || block == group.inodeBitmap.rawValue {
                return true
            }
            let start = group.inodeTable.rawValue
            if block >= start, block &- start < table { return true }
            let copies = state.volume.copies(of: GroupNumber(UInt32(index)))
            if block >= copies.start.rawValue, block &- copies.start.rawValue < copies.count {
                return true
            }
        }
        return false
    }

    private func setUnusedInodes(_ group: UInt32, _ count: UInt16) throws(Ext4Error) {
        let isWide = superblock.descriptorSize >= 64
        try volume.changeDescriptor(group) { record in
            record[Group.unusedInodesLow] = count
            if isWide { record[Group.unusedInodesHigh] = 0 }
        }
    }

    /// Takes a group's descriptor from a copy whose checksum is right and whose places are its own.
    ///
    /// - Returns: whether there was one that says something else.
    private func restoreDescriptor(_ group: UInt32) throws(Ext4Error) -> Bool {
        let size = superblock.descriptorSize
        let index = group / superblock.descriptorsPerBlock
        let slot = Int(group % superblock.descriptorsPerBlock) * size
        let current = try device.read(
            at: superblock.location(ofDescriptorBlock: index, copyOf: GroupNumber(0)).rawValue
                << UInt64(superblock.blockSizeLog2) + UInt64(slot), count: size)
        for place in copies(ofDescriptorBlock: index) {
            guard let block = volume.block(place) else { continue }
            let bytes = block.part(slot..<slot + size)
            guard
                let found = try? unsafe GroupDescriptor(
                    parsing: bytes.span.bytes, group: GroupNumber(group), superblock: superblock),
                !bytes.allSatisfy({ $0 == 0 }), isPlausible(found, of: group)
            else { continue }
            var copy = Record(bytes)
            // The copy is from when the volume was made: its marks of what is unused are old.
            copy[Group.flags] &= ~3
            copy[Group.unusedInodesLow] = 0
            if size >= 64 { copy[Group.unusedInodesHigh] = 0 }
            let places = [
                Group.blockBitmapLow, Group.inodeBitmapLow, Group.inodeTableLow,
            ]
            let isSame = places.allSatisfy { copy[$0] == Record(current)[$0] }
            guard !isSame else { continue }
            try volume.changeDescriptor(group) { $0.bytes = copy.bytes }
            return true
        }
        return false
    }

    /// Whether what a copy of a descriptor says leads to the group's own structures and to none of
    /// another group.
    private func isPlausible(_ found: GroupDescriptor, of group: UInt32) -> Bool {
        if superblock.incompatible.contains(.flexBg) { return true }
        let first = superblock.firstBlock(of: GroupNumber(group)).rawValue
        let blocks = first..<first + UInt64(superblock.blocksPerGroup)
        return [found.blockBitmap, found.inodeBitmap, found.inodeTable].allSatisfy {
            blocks.contains($0.rawValue)
        }
    }

    /// Gives a group's structure a place of its own.
    private func moveStructures(of group: UInt32, _ finding: Finding) throws(Ext4Error) {
        func set(_ low: Field<UInt32>, _ high: Field<UInt32>, _ block: UInt64) throws(Ext4Error) {
            let isWide = superblock.descriptorSize >= 64
            try volume.changeDescriptor(group) { record in
                record[low] = UInt32(truncatingIfNeeded: block)
                if isWide { record[high] = UInt32(truncatingIfNeeded: block >> 32) }
                record[Group.flags] &= ~3
                record[Group.unusedInodesLow] = 0
                if isWide { record[Group.unusedInodesHigh] = 0 }
            }
        }
        let place = finding.place.block?.rawValue
        let descriptor = volume.descriptors[Int(group)]
        let table = descriptor.inodeTable.rawValue
        let tableBlocks = UInt64(superblock.inodeTableBlocks)
        func allocate(_ count: UInt64) -> UInt64? {
            superblock.incompatible.contains(.flexBg)
                ? volume.allocateRun(count) : volume.allocateRun(count, in: GroupNumber(group))
        }
        switch finding.rule {
        case .groupBlockBitmapPlace:
            guard let block = allocate(1) else { return }
            try volume.setBlock(block, volume.zeroes)
            try set(Group.blockBitmapLow, Group.blockBitmapHigh, block)
        case .groupInodeBitmapPlace:
            guard let block = allocate(1) else { return }
            try volume.setBlock(block, volume.zeroes)
            try set(Group.inodeBitmapLow, Group.inodeBitmapHigh, block)
        case .groupInodeTablePlace:
            guard let block = allocate(tableBlocks) else { return }
            for i in 0..<tableBlocks { try volume.setBlock(block + i, volume.zeroes) }
            try set(Group.inodeTableLow, Group.inodeTableHigh, block)
        default:
            // A bitmap is computed anew anyway: it is the one that moves; of two tables the later
            // one moves and takes its inodes along.
            if place == descriptor.inodeBitmap.rawValue {
                guard let block = allocate(1) else { return }
                try set(Group.inodeBitmapLow, Group.inodeBitmapHigh, block)
            } else if place == descriptor.blockBitmap.rawValue {
                guard let block = allocate(1) else { return }
                try set(Group.blockBitmapLow, Group.blockBitmapHigh, block)
            } else if place == Record(state.volume.superblockBytes)[Layout.mmpBlock],
                superblock.incompatible.contains(.mmp)
            {
                // It is the block of multi-mount protection that is in the wrong place.
                try dropMultiMount()
            } else if place == nil || (place ?? 0) >= table && (place ?? 0) < table + tableBlocks {
                guard let block = allocate(tableBlocks) else { return }
                // It takes its inodes along, where a checksum tells them from those of the other.
                for i in 0..<tableBlocks {
                    let old = superblock.hasMetadataChecksums ? volume.block(table + i) : nil
                    try volume.setBlock(block + i, old ?? volume.zeroes)
                }
                try set(Group.inodeTableLow, Group.inodeTableHigh, block)
            }
        }
    }
}
