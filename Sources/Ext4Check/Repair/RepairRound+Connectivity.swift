import Ext4

// What hangs on nothing: the root, lost+found, lost directories and files, and link counts.

extension RepairRound {
    private typealias Layout = InodeRecord.Layout

    func applyConnectivity(_ finding: Finding, _ attempt: Int) throws(Ext4Error) {
        switch finding.rule {
        case .rootMissing: try remakeRoot()
        case .lostAndFoundMissing, .lostAndFoundType: _ = try lostAndFound()
        case .directoryUnconnected:
            guard let number = finding.place.inode?.rawValue else { return }
            try attach(number)
        case .directoryParent:
            guard let number = finding.place.inode?.rawValue else { return }
            let parent = finding.expected.flatMap { UInt32(exactly: $0) } ?? finding.other?.rawValue
            try setParent(of: number, to: parent ?? 2)
        default: break
        }
    }

    func applyLinks(_ finding: Finding, _ attempt: Int) throws(Ext4Error) {
        guard let number = finding.place.inode?.rawValue else { return }
        switch finding.rule {
        case .inodeLinks:
            guard let links = finding.expected else { return }
            try volume.changeInode(number) {
                $0[Layout.linkCount] = UInt16(truncatingIfNeeded: links)
            }
        case .inodeUnattached:
            guard let record = volume.inode(number) else { return }
            let size = UInt64(record[Layout.sizeHigh]) << 32 | UInt64(record[Layout.sizeLow])
            let type = FileMode(rawValue: record[Layout.mode]).type
            let hasAttributes =
                record[Layout.fileACLLow] != 0 || record[Layout.fileACLHigh] != 0
            if type == .regular, size == 0, record[Layout.blocksLow] == 0, !hasAttributes {
                try clearInode(number)
            } else {
                try attach(number)
            }
        default: break
        }
    }

    // MARK: Lost and found

    /// Gives an inode a name in lost+found.
    private func attach(_ number: UInt32) throws(Ext4Error) {
        guard let directory = try lostAndFound(), number != directory,
            let record = volume.inode(number)
        else { return }
        let type = FileMode(rawValue: record[Layout.mode]).type
        if record[Layout.linkCount] == 0 {
            try volume.changeInode(number) { $0[Layout.linkCount] = 1 }
        }
        if isValue(record) || isUnusedQuota(number) {
            try clearInode(number)
            if isUnusedQuota(number) { try forgetQuota() }
            return
        }
        if type == .directory, let index = state.directories?.index(of: InodeNumber(number)),
            let parent = state.directories?.parent(at: index), parent.rawValue != 0
        {
            // It hangs in a circle with this parent: the circle is opened here.
            droppedTargets[parent.rawValue, default: []].insert(number)
        }
        newNames[directory, default: []].append(
            SalvagedEntry(name: Array("#\(number)".utf8), inode: number, type: type.rawValue))
        if type == .directory { try setParent(of: number, to: directory) }
    }

    /// Whether an inode holds the value of an attribute, which nobody has any more.
    private func isValue(_ record: Record) -> Bool {
        superblock.incompatible.contains(.eaInode)
            && InodeFlags(rawValue: record[Layout.flags]).contains(.attributeInode)
    }

    /// Whether an inode is a quota file of a volume that keeps no quota any more.
    private func isUnusedQuota(_ number: UInt32) -> Bool {
        let files = [
            superblock.userQuotaInode, superblock.groupQuotaInode, superblock.projectQuotaInode,
        ]
        return files.contains(InodeNumber(number))
            && !superblock.readOnlyCompatible.contains(.quota)
    }

    /// The directory lost+found, which is made when there is none.
    private func lostAndFound() throws(Ext4Error) -> UInt32? {
        if let known = lostAndFoundNumber { return known }
        guard let root = volume.inode(2) else { return nil }
        let name = Array("lost+found".utf8)
        for entry in salvage(2, root).entries where entry.name == name {
            guard let record = volume.inode(entry.inode),
                FileMode(rawValue: record[Layout.mode]).type == .directory,
                record[Layout.linkCount] > 0,
                !InodeFlags(rawValue: record[Layout.flags]).contains(.encrypted)
            else {
                droppedNames.insert(name)
                break
            }
            lostAndFoundNumber = entry.inode
            return entry.inode
        }
        guard let number = allocateInode() else { return nil }
        try makeDirectory(number, parent: 2, mode: 0o040700)
        newNames[2, default: []].append(
            SalvagedEntry(name: name, inode: number, type: FileType.directory.rawValue))
        lostAndFoundNumber = number
        return number
    }

    /// Makes an inode an empty directory.
    private func makeDirectory(
        _ number: UInt32, parent: UInt32, mode: UInt16
    ) throws(Ext4Error) {
        var record = newInode(mode: mode, links: 2)
        guard let block = volume.allocateCluster() else { return }
        let (blocks, _) = volume.directoryBlocks(
            [], owner: volume.owner(number, record), parent: parent, hash: nil)
        for bytes in blocks.prefix(1) { try volume.setBlock(block, bytes) }
        let run = BlockRun(
            logical: LogicalBlock(0), count: 1, state: .mapped(BlockNumber(block)))
        guard
            try volume.setMap(
                [run], in: &record, owner: volume.owner(number, record))
        else { return }
        setSize(
            UInt64(volume.blockSize), blocks: UInt64(superblock.clusterSize / volume.blockSize),
            in: &record)
        try volume.setInode(number, record)
    }

    /// Makes the root anew, empty: what hung on it is found again as lost.
    func remakeRoot() throws(Ext4Error) {
        guard settled.insert(2).inserted else { return }
        if let group = volume.descriptors.first, superblock.hasDescriptorChecksums,
            group.flags.contains(.inodeUninit)
                || group.unusedInodesCount > superblock.inodesPerGroup - 11
        {
            // The root is there: its group only says that it is not.
            let isWide = superblock.descriptorSize >= 64
            try volume.changeDescriptor(0) { record in
                record[GroupDescriptor.Layout.flags] &= ~1
                record[GroupDescriptor.Layout.unusedInodesLow] = 0
                if isWide { record[GroupDescriptor.Layout.unusedInodesHigh] = 0 }
            }
            return
        }
        if let record = volume.inode(2),
            FileMode(rawValue: record[Layout.mode]).type == .unknown
                || record[Layout.mode] != 0, !salvage(2, record).entries.isEmpty,
            InodeFlags(rawValue: record[Layout.flags]).rawValue & 0x8_0000 == 0
                || record[ExtentNode.Header.magic.at(Layout.block.lowerBound)] == ExtentNode.magic
        {
            // Its names are still there: it only has to become a directory again. Where it is one,
            // all else of it may be wrong.
            var mended = record
            if FileMode(rawValue: record[Layout.mode]).type == .directory {
                mended = newInode(mode: record[Layout.mode], links: record[Layout.linkCount])
                let flags = InodeFlags(rawValue: record[Layout.flags])
                mended[Layout.flags] = flags.intersection([.extents, .index, .inlineData]).rawValue
                mended[Layout.generation] = record[Layout.generation]
                mended[Layout.sizeLow] = record[Layout.sizeLow]
                mended[Layout.blocksLow] = record[Layout.blocksLow]
                mended.bytes.replaceSubrange(Layout.block, with: record.part(Layout.block))
            }
            mended[Layout.mode] = 0o040755
            mended[Layout.deletionTime] = 0
            if mended[Layout.linkCount] == 0 { mended[Layout.linkCount] = 2 }
            try volume.setInode(2, mended)
            return
        }
        try makeDirectory(2, parent: 2, mode: 0o040755)
    }

    /// Lets `..` of a directory lead to `parent`.
    private func setParent(of number: UInt32, to parent: UInt32) throws(Ext4Error) {
        guard var record = volume.inode(number) else { return }
        let flags = InodeFlags(rawValue: record[Layout.flags])
        if flags.contains(.inlineData) {
            record[Field<UInt32>.le(Layout.block.lowerBound)] = parent
            try volume.setInode(number, record)
            return
        }
        let map = MapSalvage(record, in: volume, isStructure: isStructure)
        guard let first = map.runs.first, first.logical.rawValue == 0,
            let block = first.start?.rawValue, var bytes = volume.block(block)
        else { return }
        let dotDot = DirectoryRecord.dotSize
        guard bytes[DirectoryRecord.Layout.nameLength.at(dotDot)] == 2 else { return }
        bytes[DirectoryRecord.Layout.inode.at(dotDot)] = parent
        let owner = volume.owner(number, record)
        if superblock.hasMetadataChecksums {
            bytes.withMutableBytes { bytes in
                if flags.contains(.index) {
                    HTreeNode.seal(&bytes, isRoot: true, owner: owner)
                } else {
                    DirectoryRecord.sealTail(&bytes, owner: owner)
                }
            }
        }
        try volume.setBlock(block, bytes)
    }
}
