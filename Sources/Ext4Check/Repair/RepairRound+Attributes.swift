import Ext4

// Extended attributes: in the inode, in blocks of their own, in inodes of their own.

extension RepairRound {
    private typealias Layout = InodeRecord.Layout

    /// What decides which entries of an inode are good.
    func attributeContext(_ number: UInt32) -> AttributeList.Context {
        AttributeList.Context(
            owner: InodeNumber(number), inodeCount: superblock.inodesCount,
            firstInode: superblock.firstInode.rawValue,
            hasAttributeInodes: superblock.incompatible.contains(.eaInode), checksumSeed: nil)
    }

    /// The entry of inline contents in an inode: the range of its value.
    private func inlineAttribute(_ record: Record) -> Range<Int>? {
        let extra = Int(record.bytes.count > 128 ? record[Layout.extraSize] : 0)
        let list = record.withBytes {
            try? AttributeList(parsingInode: $0, extraSize: extra, attributeContext(0))
        }
        // e_name_index 7 (EXT4_XATTR_INDEX_SYSTEM), "data".
        for entry in list?.entries ?? [] where entry.name.prefix.rawValue == 7 {
            if entry.name.rest == Array("data".utf8), case .inArea(let range) = entry.value {
                return range
            }
        }
        return nil
    }

    func hasInlineAttribute(_ record: Record) -> Bool { inlineAttribute(record) != nil }

    func inlineAttributeSize(_ record: Record) -> Int { inlineAttribute(record)?.count ?? 0 }

    /// The part of inline contents that is in the attribute.
    func inlineAttributeValue(_ record: Record) -> [UInt8] {
        inlineAttribute(record).map { record.part($0) } ?? []
    }

    /// Changes that part, to bytes of the same number.
    func setInlineAttributeValue(_ value: [UInt8], in record: inout Record) {
        guard let range = inlineAttribute(record), range.count == value.count else { return }
        record.bytes.replaceSubrange(range, with: value)
    }

    /// Gives a file whose contents are said to be in the inode the attribute that goes with them:
    /// what fits into the map's place is there.
    func addInlineAttribute(_ number: UInt32, _ record: inout Record) -> Bool {
        let size = min(Int(record[Layout.sizeLow]), Layout.block.count)
        let contents = Array(record.part(Layout.block).prefix(size))
        guard FileMode(rawValue: record[Layout.mode]).type == .regular,
            var parsed = record.withBytes({
                try? InodeRecord(
                    parsing: $0, number: InodeNumber(number), superblock: superblock,
                    verifiesChecksum: false)
            }), (try? parsed.setInlineContents(contents, attributeContext(number))) != nil
        else { return false }
        record.bytes = parsed.withBytes { $0.copy() }
        setSize(UInt64(size), blocks: 0, in: &record)
        return true
    }

    /// Takes the attribute of inline contents out of an inode.
    func removeInlineAttribute(_ number: UInt32, _ record: inout Record) {
        let start = InodeRecord.goodOldSize + Int(record[Layout.extraSize])
        guard start < record.bytes.count else { return }
        guard
            var parsed = record.withBytes({
                try? InodeRecord(
                    parsing: $0, number: InodeNumber(number), superblock: superblock,
                    verifiesChecksum: false)
            }), (try? parsed.removeInlineContents(attributeContext(number))) != nil
        else {
            record.fill(start..<record.bytes.count)
            return
        }
        record.bytes = parsed.withBytes { $0.copy() }
    }

    func applyAttributes(_ finding: Finding, _ attempt: Int) throws(Ext4Error) {
        switch finding.rule {
        case .attributeInodeArea:
            guard let number = finding.place.inode?.rawValue else { return }
            try mendArea(number, attempt)
        case .inodeAttributeBlock, .attributeBlock:
            guard let number = finding.place.inode?.rawValue else { return }
            try dropAttributeBlock(of: number)
        case .attributeEntry, .attributeChecksum, .attributeHash:
            guard let block = finding.place.block?.rawValue else {
                if let number = finding.place.inode?.rawValue { try mendArea(number, attempt) }
                return
            }
            if attempt == 0 { try mendBlock(block) } else { try dropAttributeBlock(finding) }
        case .attributeReferences:
            guard let block = finding.place.block?.rawValue, let count = finding.expected else {
                return
            }
            try changeAttributeBlock(block) {
                $0[XAttrBlockHeader.Layout.referenceCount] = UInt32(truncatingIfNeeded: count)
            }
        case .attributeInode:
            try dropValue(finding)
        case .attributeInodeReferences:
            guard let number = finding.place.inode?.rawValue, let count = finding.expected else {
                return
            }
            // The count stands in i_ctime and i_version of such an inode, high and low half.
            try volume.changeInode(number) { record in
                record[Layout.changeTime] = UInt32(truncatingIfNeeded: count >> 32)
                record[Layout.versionLow] = UInt32(truncatingIfNeeded: count)
            }
        default: break
        }
    }

    private func changeAttributeBlock(
        _ block: UInt64, _ body: (inout Record) -> Void
    ) throws(Ext4Error) {
        guard var record = volume.block(block) else { return }
        body(&record)
        if superblock.hasMetadataChecksums {
            record[XAttrBlockHeader.Layout.checksum] = record.withBytes {
                XAttrBlockHeader.checksum(
                    of: $0, at: BlockNumber(block), seed: superblock.checksumSeed)
            }
        }
        try volume.setBlock(block, record)
    }

    /// Gives a block of attributes the hashes and the checksum that its bytes call for, when the
    /// rest of it is sound; else it is left for the next attempt.
    private func mendBlock(_ block: UInt64) throws(Ext4Error) {
        guard let record = volume.block(block) else { return }
        let context = attributeContext(0)
        guard
            let list = record.withBytes({
                try? AttributeList(parsingBlock: $0, at: BlockNumber(block), context)
            })
        else { return }
        try changeAttributeBlock(block) { record in
            var hashes: [UInt32] = []
            for entry in list.entries {
                if let hash = record.withBytes({ entry.madeHash(ofValueIn: $0) }) {
                    record[XAttrEntryRecord.Layout.hash.at(entry.byteOffset)] = hash
                }
                hashes.append(record[XAttrEntryRecord.Layout.hash.at(entry.byteOffset)])
            }
            record[XAttrBlockHeader.Layout.hash] = XAttrHash.ofBlock(hashes)
        }
    }

    func dropAttributeBlock(of number: UInt32) throws(Ext4Error) {
        let sectors = UInt32(superblock.clusterSize / 512)
        try volume.changeInode(number) { record in
            guard record[Layout.fileACLLow] != 0 || record[Layout.fileACLHigh] != 0
            else { return }
            record[Layout.fileACLLow] = 0
            record[Layout.fileACLHigh] = 0
            record[Layout.blocksLow] =
                record[Layout.blocksLow]
                &- min(
                    sectors, record[Layout.blocksLow])
        }
    }

    /// Takes a broken block from everybody who has it.
    private func dropAttributeBlock(_ finding: Finding) throws(Ext4Error) {
        if let number = finding.place.inode?.rawValue {
            try dropAttributeBlock(of: number)
            return
        }
        guard let block = finding.place.block?.rawValue else { return }
        for number in 1...superblock.inodesCount where state.inodes.isUsed(InodeNumber(number)) {
            guard let record = volume.inode(number) else { continue }
            let found =
                UInt64(record[Layout.fileACLHigh]) << 32
                | UInt64(record[Layout.fileACLLow])
            if found == block { try dropAttributeBlock(of: number) }
        }
    }

    /// Keeps of the attributes in an inode those that are sound: all of the area or, where that is
    /// broken, none of it.
    private func mendArea(_ number: UInt32, _ attempt: Int) throws(Ext4Error) {
        guard var record = volume.inode(number), record.bytes.count > InodeRecord.goodOldSize
        else { return }
        let extra = Int(record[Layout.extraSize])
        let start = InodeRecord.goodOldSize + extra
        guard extra >= 4, start < record.bytes.count else { return }
        let list = record.withBytes {
            try? AttributeList(parsingInode: $0, extraSize: extra, attributeContext(number))
        }
        let names = Set((list?.entries ?? []).map(\.name.prefix.rawValue))
        let known: Set<UInt8> = [1, 2, 3, 4, 6, 7, 8, 9]
        if attempt == 0, let list, names.isSubset(of: known), isOverlapFree(list) {
            for entry in list.entries {
                // Zero stands for a hash that was never made.
                let hash = XAttrEntryRecord.Layout.hash.at(entry.byteOffset)
                if record[hash] != 0,
                    let made = record.withBytes({ entry.madeHash(ofValueIn: $0) })
                {
                    record[hash] = made
                }
            }
        } else {
            record.fill(start..<record.bytes.count)
        }
        try volume.setInode(number, record)
    }

    private func isOverlapFree(_ list: AttributeList) -> Bool {
        var ranges: [Range<Int>] = []
        for entry in list.entries {
            guard case .inArea(let range) = entry.value, !range.isEmpty else { continue }
            if ranges.contains(where: { $0.overlaps(range) }) { return false }
            ranges.append(range)
        }
        return true
    }

    /// Drops the attribute whose value's inode is wrong: with its area or its block, as e2fsck does.
    private func dropValue(_ finding: Finding) throws(Ext4Error) {
        guard let number = finding.place.inode?.rawValue else { return }
        if finding.place.block != nil {
            try dropAttributeBlock(finding)
            return
        }
        guard var record = volume.inode(number) else { return }
        let start = InodeRecord.goodOldSize + Int(record[Layout.extraSize])
        guard start < record.bytes.count else { return }
        record.fill(start..<record.bytes.count)
        try volume.setInode(number, record)
    }
}
