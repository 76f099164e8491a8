import Ext4

// Inodes, their maps and their attributes.

extension RepairRound {
    private typealias Layout = InodeRecord.Layout

    func applyInode(
        _ finding: Finding, _ attempt: Int, _ batch: [Finding]
    ) throws(Ext4Error) {
        guard let number = finding.place.inode?.rawValue else {
            try applyAttributes(finding, attempt)
            return
        }
        guard var record = volume.inode(number) else { return }
        if attempt >= 3 {
            // What does not come right by its fields is given up as a whole.
            try giveUp(number, attempt)
            return
        }
        switch finding.rule {
        case .inodeMode, .inodeReserved:
            try clearInode(number)
        case .inodeRoot:
            try remakeRoot()
        case .inodeChecksum:
            // With nothing else wrong the inode is what it says. Where more is wrong, the bytes are
            // not an inode's.
            let others = batch.filter {
                $0.place.inode?.rawValue == number && $0.rule != .inodeChecksum
            }
            if isGarbage(record, others) {
                try giveUp(number, attempt)
            } else {
                try volume.setInode(number, record)
            }
        case .inodeDeletionTime:
            record[Layout.deletionTime] = 0
            try volume.setInode(number, record)
        case .inodeNoDeletionTime:
            record[Layout.deletionTime] = now
            try volume.setInode(number, record)
        case .inodeOrphan:
            record[Layout.deletionTime] = now
            try volume.setInode(number, record)
        case .inodeExtraSize:
            record[Layout.extraSize] = extraSize
            try volume.setInode(number, record)
        case .inodeExtraTime:
            clearExtraTimes(&record)
            try volume.setInode(number, record)
        case .inodeFragment:
            record[Field<UInt32>.le(Layout.sizeHigh.end)] = 0  // i_obso_faddr
            try volume.setInode(number, record)
        case .inodeBlocksHigh:
            record[Layout.blocksHigh] = 0
            try volume.setInode(number, record)
        case .inodeAttributeBlock, .attributeBlock, .attributeChecksum, .attributeEntry,
            .attributeHash, .attributeInode, .attributeReferences, .attributeInodeArea,
            .attributeInodeReferences:
            try applyAttributes(finding, attempt)
        case .inodeSize:
            try setSize(number, &record, finding)
        case .inodeBlocks:
            setBlocks(&record, finding.expected ?? 0)
            try volume.setInode(number, record)
        case .inodeTooLarge, .extentHeader, .extentChecksum, .extentDepth, .extentOrder,
            .extentLength, .extentRange, .extentKey, .extentNode, .extentUnwritten,
            .extentAlignment, .indirectRange, .indirectAlignment, .mapMetadata:
            try mendMap(number, &record, finding)
        case .symlinkTarget:
            try mendSymlink(number, &record, attempt)
        case .inlineData:
            try mendInlineData(number, &record, finding, attempt)
        case .encryptionContext:
            try drop(.encrypted, number, &record)
        default:
            try applyFlags(finding, number, &record, attempt)
        }
    }

    /// Puts flags right, and what goes with them.
    private func applyFlags(
        _ finding: Finding, _ number: UInt32, _ record: inout Record, _ attempt: Int
    ) throws(Ext4Error) {
        switch finding.rule {
        case .inodeExtentsFlag, .inodeNoExtentsFlag:
            try mendExtentsFlag(number, &record, finding)
        case .inodePointers:
            guard settled.insert(number).inserted else { return }
            let map = MapSalvage(record, in: volume, isStructure: isStructure)
            record[Layout.flags] |= InodeFlags.extents.rawValue
            try rebuildMap(number, &record, finding, map.runs)
        case .inodeIndexFlag:
            try drop(.index, number, &record)
        case .inodeInlineFlag:
            try mendInlineFlag(number, &record, finding)
        case .inodeEncryptFlag:
            try drop(.encrypted, number, &record)
        case .inodeCasefoldFlag:
            try drop(.casefold, number, &record)
        case .inodeVerityFlag:
            try drop(.verity, number, &record)
        case .inodeAttributeFlag:
            try drop(.attributeInode, number, &record)
        case .inodeObsoleteFlag:
            if let flags = finding.expected {
                record[Layout.flags] = UInt32(truncatingIfNeeded: flags)
            }
            try volume.setInode(number, record)
        case .inodeSpecialFlags:
            clearSpecialMap(&record)
            let dropped: InodeFlags = [
                .immutable, .appendOnly, .index, .extents, .inlineData, .hugeFile, .casefold,
                .verity, .encrypted,
            ]
            var flags = InodeFlags(rawValue: record[Layout.flags])
            flags.subtract(dropped)
            if FileMode(rawValue: record[Layout.mode]).type == .symlink,
                InodeFlags(rawValue: record[Layout.flags]).contains(.extents),
                record[ExtentNode.Header.magic.at(Layout.block.lowerBound)] == ExtentNode.magic
            {
                flags.insert(.extents)
            }
            record[Layout.flags] = flags.rawValue
            try volume.setInode(number, record)
        case .inodeImmutable:
            try drop(.immutable, number, &record)
        case .inodeSpecialSize:
            record[Layout.sizeLow] = 0
            record[Layout.sizeHigh] = 0
            try volume.setInode(number, record)
        default:
            try giveUp(number, attempt)
        }
    }

    /// Clears an inode, or makes it anew where the volume cannot do without it.
    func giveUp(_ number: UInt32, _ attempt: Int) throws(Ext4Error) {
        switch InodeNumber(number) {
        case .root:
            try remakeRoot()
        case .resize:
            try remakeResizeInode()
        case superblock.journalInode where superblock.compatible.contains(.hasJournal):
            try remakeJournal(attempt)
        default:
            try clearInode(number)
        }
    }

    /// Whether an inode whose checksum is wrong is none: of a used inode hardly anything holds.
    private func isGarbage(_ record: Record, _ others: [Finding]) -> Bool {
        let damage: Set<CheckRule> = [
            .inodeMode, .extentHeader, .inodeExtraSize, .indirectRange, .inodeReserved,
        ]
        // Checksums further down that are wrong as well are no more: they go by the same seed.
        let checksums: Set<CheckRule> = [.extentChecksum, .attributeChecksum]
        return others.count(where: { !checksums.contains($0.rule) }) > 2
            || others.contains { damage.contains($0.rule) }
    }

    /// Takes out of a map what a device, a pipe or a socket has no use for.
    private func clearSpecialMap(_ record: inout Record) {
        let first: Int
        switch FileMode(rawValue: record[Layout.mode]).type {
        case .characterDevice, .blockDevice: first = 2
        case .fifo, .socket: first = 0
        default: return
        }
        let start = Layout.block.lowerBound
        record.fill(start + 4 * first..<Layout.block.upperBound)
    }

    private func drop(
        _ flag: InodeFlags, _ number: UInt32, _ record: inout Record
    ) throws(Ext4Error) {
        record[Layout.flags] &= ~flag.rawValue
        try volume.setInode(number, record)
    }

    private func clearExtraTimes(_ record: inout Record) {
        let extra = Int(record[Layout.extraSize])
        for field in [
            Layout.changeTimeExtra, Layout.modificationTimeExtra, Layout.accessTimeExtra,
            Layout.creationTimeExtra,
        ] where field.end <= InodeRecord.goodOldSize + extra {
            record[field] &= ~3
        }
    }

    // MARK: Size and space

    private func setSize(
        _ number: UInt32, _ record: inout Record, _ finding: Finding
    ) throws(Ext4Error) {
        guard let size = finding.expected else {
            try giveUp(number, 0)
            return
        }
        if size == finding.found {
            // The block that asks for so large a size is beyond what a file can have.
            try mendMap(number, &record, finding)
            return
        }
        record[Layout.sizeLow] = UInt32(truncatingIfNeeded: size)
        record[Layout.sizeHigh] = UInt32(truncatingIfNeeded: size >> 32)
        try volume.setInode(number, record)
    }

    private func setBlocks(_ record: inout Record, _ blocks: UInt64) {
        record[Layout.blocksLow] = UInt32(truncatingIfNeeded: blocks)
        record[Layout.blocksHigh] = UInt16(truncatingIfNeeded: blocks >> 32)
        // i_blocks counts sectors again where it did not fit them before.
        if blocks < 1 << 32 { record[Layout.flags] &= ~InodeFlags.hugeFile.rawValue }
    }

    // MARK: Maps

    private func mendMap(
        _ number: UInt32, _ record: inout Record, _ finding: Finding
    ) throws(Ext4Error) {
        if finding.rule == .mapMetadata,
            finding.found == UInt64(record[Layout.fileACLHigh]) << 32
                | UInt64(record[Layout.fileACLLow])
        {
            // No block of the map: that of the attributes.
            try dropAttributeBlock(of: number)
            return
        }
        guard settled.insert(number).inserted else { return }
        let flags = InodeFlags(rawValue: record[Layout.flags])
        let journal = superblock.journalInode.rawValue
        if number == journal, superblock.compatible.contains(.hasJournal) { return }
        if number == InodeNumber.resize.rawValue {
            try remakeResizeInode()
            return
        }
        guard flags.contains(.extents) else {
            var mender = PointerMender(volume, isStructure: isStructure)
            try mender.mend(&record)
            try volume.setInode(number, record)
            return
        }
        let map = MapSalvage(record, in: volume, isStructure: isStructure)
        try rebuildMap(number, &record, finding, map.runs)
    }

    /// Lets a tree of extents lead to what may stay of `found`.
    private func rebuildMap(
        _ number: UInt32, _ record: inout Record, _ finding: Finding, _ found: [BlockRun]
    ) throws(Ext4Error) {
        let runs = try aligned(fitting(found, finding, record))
        guard
            try volume.setMap(
                runs, in: &record, owner: volume.owner(number, record))
        else {
            try shrinkMap(number, &record, runs)
            return
        }
        try volume.setInode(number, record)
    }

    /// The runs that the rules of this kind of file allow.
    private func fitting(
        _ runs: [BlockRun], _ finding: Finding, _ record: Record
    ) -> [BlockRun] {
        let isDirectory = FileMode(rawValue: record[Layout.mode]).type == .directory
        let limit = LogicalBlock.end.rawValue - 1
        var result: [BlockRun] = []
        for run in runs {
            guard run.start != nil else { continue }
            if isDirectory, case .unwritten(let first) = run.state {
                for i in 0..<run.count { try? volume.setBlock(first.rawValue &+ i, volume.zeroes) }
                result.append(
                    BlockRun(logical: run.logical, count: run.count, state: .mapped(first)))
                continue
            }
            guard run.end.rawValue <= limit else {
                if run.logical.rawValue < limit {
                    result.append(run.prefix(limit &- run.logical.rawValue))
                }
                continue
            }
            result.append(run)
        }
        return result
    }

    /// With bigalloc, copies of the blocks that lie elsewhere in their cluster than in the file, or
    /// in another cluster than their neighbours.
    private func aligned(_ runs: [BlockRun]) throws(Ext4Error) -> [BlockRun] {
        let ratio = UInt64(1) << UInt64(superblock.clusterRatioLog2)
        guard ratio > 1 else { return runs }
        var last: (logical: UInt64, physical: UInt64)?
        let first = UInt64(superblock.firstDataBlock)
        return try copied(runs) { piece, block in
            let logical = piece.logical.rawValue
            let place = (logical: logical / ratio, physical: (block &- first) / ratio)
            defer { last = place }
            if let last, last.logical == place.logical, last.physical != place.physical {
                return true
            }
            return (block &- first) % ratio != logical % ratio
        }
    }

    /// A map that there is no room for keeps what fits into the inode.
    private func shrinkMap(
        _ number: UInt32, _ record: inout Record, _ runs: [BlockRun]
    ) throws(Ext4Error) {
        _ = try volume.setMap(
            Array(runs.prefix(4)), in: &record, owner: volume.owner(number, record))
        try volume.setInode(number, record)
    }

    private func mendExtentsFlag(
        _ number: UInt32, _ record: inout Record, _ finding: Finding
    ) throws(Ext4Error) {
        let hasTree =
            record[ExtentNode.Header.magic.at(Layout.block.lowerBound)] == ExtentNode.magic
        if hasTree, superblock.incompatible.contains(.extents) {
            record[Layout.flags] |= InodeFlags.extents.rawValue
            try volume.setInode(number, record)
        } else if finding.rule == .inodeExtentsFlag, !hasTree {
            try drop(.extents, number, &record)
        } else {
            // A tree on a volume without extents: the feature was lost, not the trees.
            try volume.changeSuperblock {
                $0[Superblock.Layout.incompatible] |= IncompatibleFeatures.extents.rawValue
            }
        }
    }

    // MARK: Links and contents in the inode

    private func mendSymlink(
        _ number: UInt32, _ record: inout Record, _ attempt: Int
    ) throws(Ext4Error) {
        let map = record.part(Layout.block)
        let flags = InodeFlags(rawValue: record[Layout.flags])
        let hasBlocks = record[Layout.blocksLow] != 0
        if attempt == 0, flags.isDisjoint(with: [.extents, .inlineData, .encrypted]), !hasBlocks,
            let end = map.firstIndex(of: 0), end > 0
        {
            setSize(UInt64(end), blocks: 0, in: &record)
            try volume.setInode(number, record)
        } else if attempt == 0, !flags.contains(.inlineData), !flags.contains(.encrypted),
            let block = MapSalvage(record, in: volume, isStructure: isStructure).runs.first,
            block.logical.rawValue == 0, case .mapped(let start) = block.state,
            let bytes = volume.block(start.rawValue)?.bytes,
            let end = bytes.firstIndex(of: 0), end > 0
        {
            record[Layout.sizeLow] = UInt32(end)
            record[Layout.sizeHigh] = 0
            try volume.setInode(number, record)
        } else {
            try clearInode(number)
        }
    }

    private func mendInlineFlag(
        _ number: UInt32, _ record: inout Record, _ finding: Finding
    ) throws(Ext4Error) {
        let type = FileMode(rawValue: record[Layout.mode]).type
        let hasTree =
            record[ExtentNode.Header.magic.at(Layout.block.lowerBound)] == ExtentNode.magic
        let isFile = type == .regular || type == .directory || type == .symlink
        if isFile, superblock.incompatible.contains(.inlineData), hasInlineAttribute(record) {
            record[Layout.flags] |= InodeFlags.inlineData.rawValue
            record[Layout.flags] &= ~InodeFlags.extents.rawValue
            try volume.setInode(number, record)
        } else if hasTree, superblock.incompatible.contains(.extents) {
            record[Layout.flags] &= ~InodeFlags.inlineData.rawValue
            record[Layout.flags] |= InodeFlags.extents.rawValue
            try volume.setInode(number, record)
        } else if !superblock.incompatible.contains(.inlineData),
            type == .regular || type == .directory,
            hasInlineAttribute(record)
        {
            try volume.changeSuperblock {
                $0[Superblock.Layout.incompatible] |= IncompatibleFeatures.inlineData.rawValue
            }
        } else if type == .regular || type == .directory {
            try clearInode(number)
        } else {
            try drop(.inlineData, number, &record)
        }
    }

    private func mendInlineData(
        _ number: UInt32, _ record: inout Record, _ finding: Finding, _ attempt: Int
    ) throws(Ext4Error) {
        let hasTree =
            record[ExtentNode.Header.magic.at(Layout.block.lowerBound)] == ExtentNode.magic
        if attempt == 0, hasTree, superblock.incompatible.contains(.extents),
            !hasInlineAttribute(record)
        {
            record[Layout.flags] |= InodeFlags.extents.rawValue
            record[Layout.flags] &= ~InodeFlags.inlineData.rawValue
            try volume.setInode(number, record)
        } else if attempt == 0, !InodeFlags(rawValue: record[Layout.flags]).contains(.inlineData),
            hasInlineAttribute(record)
        {
            record[Layout.flags] |= InodeFlags.inlineData.rawValue
            record[Layout.flags] &= ~InodeFlags.extents.rawValue
            try volume.setInode(number, record)
        } else if attempt == 0, !hasInlineAttribute(record), addInlineAttribute(number, &record) {
            try volume.setInode(number, record)
        } else if attempt == 0, let size = finding.expected {
            record[Layout.sizeLow] = UInt32(truncatingIfNeeded: size)
            record[Layout.sizeHigh] = 0
            try volume.setInode(number, record)
        } else if attempt < 2, hasInlineAttribute(record) {
            record[Layout.flags] &= ~InodeFlags.extents.rawValue
            record[Layout.sizeLow] = UInt32(Layout.block.count + inlineAttributeSize(record))
            record[Layout.sizeHigh] = 0
            try volume.setInode(number, record)
        } else {
            try clearInode(number)
        }
    }
}
