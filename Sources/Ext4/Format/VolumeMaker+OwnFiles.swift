// The files that a volume has of its own: journal, resize inode, orphan file, quota files, and the
// block of multi-mount protection.

extension VolumeMaker {
    /// What owners use, as quota counts it, by kind: user, group, project.
    package typealias Usage = [UInt32: (inodes: UInt64, bytes: UInt64)]

    /// Makes everything that the volume has of its own but root and lost+found.
    ///
    /// - Parameter hasContents: inodes are yet to be set; so quota is counted at the end.
    package func makeOwnFiles(hasContents: Bool = false) throws(Ext4Error) {
        try makeReservedInodes()
        if superblock.compatible.contains(.resizeInode) { try makeResizeInode() }
        if layout.journalBlocks > 0 { try makeJournal() }
        if superblock.incompatible.contains(.mmp) { try makeMultiMountBlock() }
        owesQuota = hasContents
        if !hasContents { try makeQuotaFiles() }
        if layout.orphanFileBlocks > 0 { try makeOrphanFile() }
    }

    private func checksumSeed(of inode: InodeNumber) -> UInt32 {
        InodeRecord.checksumSeed(inode, generation: 0, seed: superblock.checksumSeed)
    }

    /// Inodes that are reserved have checksums all the same.
    private func makeReservedInodes() throws(Ext4Error) {
        let used = [
            InodeNumber.root, superblock.compatible.contains(.resizeInode) ? .resize : nil,
            layout.journalBlocks > 0 ? .journal : nil,
            layout.quotas.contains(.user) ? .userQuota : nil,
            layout.quotas.contains(.group) ? .groupQuota : nil,
        ]
        for number in 1..<superblock.firstInode.rawValue {
            let inode = InodeNumber(number)
            guard !used.contains(inode) else { continue }
            var record = InodeRecord(zeroed: superblock.inodeSize, extraSize: 0)
            if inode == .badBlocks { setTimes(of: &record) }
            try setInode(&record, inode)
        }
    }

    // MARK: Room for descriptors

    /// The resize inode: a file of which the map is the blocks into which the descriptors may
    /// grow. Its one table of double indirection leads to the reserved blocks of group 0, and each
    /// of those lists the same block of each copy.
    private func makeResizeInode() throws(Ext4Error) {
        let perBlock = UInt64(blockSize / 4)
        let used = VolumeGeometry.ceiling(
            UInt64(superblock.groupCount), UInt64(superblock.descriptorsPerBlock))
        let reserved = UInt64(superblock.reservedDescriptorBlocks)
        let start = superblock.location(ofDescriptorBlock: 0).rawValue + used
        let perGroup = UInt64(superblock.blocksPerGroup)
        var copies: [UInt64] = []
        for group in 1..<max(superblock.groupCount, 1)
        where superblock.hasSuperblock(GroupNumber(group)) {
            copies.append(UInt64(group) * perGroup)
        }
        // Behind where the tables of a group on its own would end, as mke2fs has it.
        let goal =
            UInt64(superblock.firstDataBlock) + used + reserved + 2
            + UInt64(superblock.inodeTableBlocks)
        guard let table = try takeFirst(1, from: goal).first?.lowerBound else { throw .noSpace }
        var double = [UInt8](repeating: 0, count: blockSize)
        var leaves = [UInt8](repeating: 0, count: Int(reserved) * blockSize)
        var span = double.mutableSpan
        var top = unsafe span.mutableBytes
        var leafSpan = leaves.mutableSpan
        var bottom = unsafe leafSpan.mutableBytes
        for index in 0..<reserved {
            let slot = Int((used + index) % perBlock)
            top[Field<UInt32>.le(4 * slot)] = UInt32(truncatingIfNeeded: start + index)
            let base = Int(index) * blockSize
            for (i, copy) in copies.enumerated() where i < Int(perBlock) {
                bottom[Field<UInt32>.le(base + 4 * i)] = UInt32(
                    truncatingIfNeeded: start + index + copy)
            }
        }
        try write(double, atBlock: table)
        if reserved > 0 { try write(leaves, atBlock: start) }
        var record = newInode(mode: 0o100600, links: 1)
        record[Field<UInt32>.le(InodeRecord.Layout.block.lowerBound + 4 * 13)] = UInt32(
            truncatingIfNeeded: table)
        record.setSize((perBlock * perBlock + perBlock + 12) << UInt64(superblock.blockSizeLog2))
        let count = 1 + reserved * UInt64(1 + copies.count)
        try record.addBlocks(
            Int64(clamping: count << UInt64(superblock.clusterRatioLog2)), superblock)
        try setInode(&record, .resize)
    }

    // MARK: Journal

    private func makeJournal() throws(Ext4Error) {
        let length = layout.journalBlocks
        let goal =
            if let location = layout.options.journalLocation {
                location.blocks(ofSize: blockSize)
            } else if layout.packedStart != nil || !usesExtents {
                UInt64(0)
            } else {
                try middle()
            }
        let file = try makeFile(UInt64(length), inode: .journal, from: goal)
        var record = newInode(mode: 0o100600, links: 1)
        let size = UInt64(length) << UInt64(superblock.blockSizeLog2)
        try put(file, size: size, in: &record)
        try setInode(&record, .journal)
        own.journal = .journal
        own.journalMap = record.block
        own.journalSize = size
        guard let first = file.runs.first?.lowerBound else { throw .noSpace }
        if !isZeroed, !layout.options.leavesJournal {
            var rest = UInt64(length)
            for run in file.runs {
                let count = min(run.upperBound - run.lowerBound, rest)
                rest -= count
                try clear(run.lowerBound..<run.lowerBound + count)
            }
        }
        var bytes = [UInt8](repeating: 0, count: blockSize)
        var span = bytes.mutableSpan
        var raw = unsafe span.mutableBytes
        JournalSuperblock.writeNew(
            blockSize: blockSize, length: length, fastCommitBlocks: layout.fastCommitBlocks,
            to: &raw)
        try write(bytes, atBlock: first)
    }

    /// Where the journal starts when nothing is said: in the emptiest group around the middle, so
    /// that the way to it is never longer than half of the disk.
    private func middle() throws(Ext4Error) -> UInt64 {
        let groups = superblock.groupCount
        let first = UInt64(superblock.firstDataBlock)
        let half = (superblock.blocksCount - first) / 2
        let perGroup = UInt64(superblock.blocksPerGroup)
        var group = UInt32((half - min(first, half)) / perGroup)
        let flex = superblock.groupsPerFlex
        var start = group > 0 ? group - 1 : group
        if flex > 1, group > flex {
            group &= ~(flex - 1)
            while group < groups, try freeBlocks(of: group) == 0 { group += 1 }
            if group == groups { group = 0 }
            start = group
        }
        let end = group + 1 < groups ? group + 1 : group
        var best = start
        var most = try freeBlocks(of: start)
        for other in start..<end + 1 where other > start {
            let count = try freeBlocks(of: other)
            if count > most { (best, most) = (other, count) }
        }
        return layout.blocks(of: best).lowerBound
    }

    // MARK: Others

    private func makeMultiMountBlock() throws(Ext4Error) {
        guard let block = try takeFirst(1).first?.lowerBound else { throw .noSpace }
        var bytes = [UInt8](repeating: 0, count: blockSize)
        var span = bytes.mutableSpan
        var raw = unsafe span.mutableBytes
        MultiMountProtection.writeClean(
            interval: multiMountInterval,
            checksumSeed: superblock.hasMetadataChecksums ? superblock.checksumSeed : nil, to: &raw)
        try write(bytes, atBlock: block)
        own.mmpBlock = block
    }

    /// Seconds between two marks.
    var multiMountInterval: UInt16 {
        superblock.mmpInterval > 0 ? superblock.mmpInterval : MultiMountProtection.defaultInterval
    }

    func makeQuotaFiles() throws(Ext4Error) {
        typealias Layout = Superblock.Layout
        for (index, kind) in [FormatOptions.QuotaKinds.user, .group, .project].enumerated()
        where layout.quotas.contains(kind) {
            let (inode, field) =
                switch kind {
                case .user: (InodeNumber.userQuota, Layout.userQuotaInode)
                case .group: (InodeNumber.groupQuota, Layout.groupQuotaInode)
                default: (own.projectQuota ?? InodeNumber(0), Layout.projectQuotaInode)
                }
            var records: [UInt32: [UInt8]] = [:]
            for (id, amount) in usage[index] {
                records[id] = QuotaTree.record(id: id, inodes: amount.inodes, bytes: amount.bytes)
            }
            let contents = QuotaTree.bytes(records, kind: index)
            let count = UInt64((contents.count + blockSize - 1) / blockSize)
            let file = try makeFile(count, inode: inode)
            try write(contents, to: file.runs)
            var record = newInode(mode: 0o100600, links: 1, flags: .immutable)
            try put(file, size: UInt64(contents.count), in: &record)
            try setInode(&record, inode)
            own.quotas.append((field, inode))
        }
    }

    /// Writes the contents of a file to its blocks.
    private func write(_ contents: [UInt8], to runs: [Range<UInt64>]) throws(Ext4Error) {
        var offset = 0
        for run in runs where offset < contents.count {
            let room = Int(run.upperBound - run.lowerBound) * blockSize
            var part = Array(contents[offset..<min(offset + room, contents.count)])
            offset += part.count
            let rest = part.count % blockSize
            if rest > 0 { part += [UInt8](repeating: 0, count: blockSize - rest) }
            try write(part, atBlock: run.lowerBound)
        }
    }

    private func makeOrphanFile() throws(Ext4Error) {
        guard let inode = own.orphanFile else { return }
        let count = UInt64(layout.orphanFileBlocks)
        let file = try makeFile(count, inode: inode)
        let seed = superblock.hasMetadataChecksums ? checksumSeed(of: inode) : nil
        var rest = count
        for run in file.runs {
            var bytes: [UInt8] = []
            for block in run.prefix(Int(clamping: rest)) {
                var one = [UInt8](repeating: 0, count: blockSize)
                var span = one.mutableSpan
                var raw = unsafe span.mutableBytes
                OrphanFileBlock.writeEmpty(to: &raw, at: BlockNumber(block), checksumSeed: seed)
                bytes += one
            }
            rest -= UInt64(bytes.count / blockSize)
            if !bytes.isEmpty { try write(bytes, atBlock: run.lowerBound) }
        }
        var record = newInode(mode: 0o100600, links: 1)
        try put(file, size: count << UInt64(superblock.blockSizeLog2), in: &record)
        try setInode(&record, inode)
    }

    // MARK: Root

    /// Makes the root directory and lost+found, for a volume with nothing else in it.
    package func makeEmptyRoot() throws(Ext4Error) {
        let lost = superblock.firstInode
        let root = try makeFile(1, inode: .root)
        // A check finds place there without having to take any.
        var blocks: UInt64 = 1
        while blocks < 12 {
            let size = blocks * UInt64(blockSize)
            if size >= 16 << 10, blocks >= 2 { break }
            blocks += 1
        }
        if superblock.incompatible.contains(.inlineData) { blocks -= 1 }
        let found = try makeFile(blocks, inode: lost)
        try writeDirectory(root, .root, parent: .root, name: "lost+found", leadsTo: lost, 1)
        try writeDirectory(found, lost, parent: .root, name: nil, leadsTo: lost, blocks)
        var record = newInode(mode: 0o040000 | layout.options.rootPermissions, links: 3)
        record.setUserID(layout.options.rootOwner.user)
        record.setGroupID(layout.options.rootOwner.group)
        try put(root, size: UInt64(blockSize), in: &record)
        try setInode(&record, .root)
        record = newInode(mode: 0o040700, links: 2)
        try put(found, size: blocks * UInt64(blockSize), in: &record)
        try setInode(&record, lost)
    }

    private func writeDirectory(
        _ file: OwnFile, _ inode: InodeNumber, parent: InodeNumber, name: String?,
        leadsTo target: InodeNumber, _ count: UInt64
    ) throws(Ext4Error) {
        let format = DirectoryFormat(superblock)
        let owner = BlockOwner(inode: inode, checksumSeed: checksumSeed(of: inode))
        var contents: [UInt8] = []
        for index in 0..<count {
            var bytes = [UInt8](repeating: 0, count: blockSize)
            var span = bytes.mutableSpan
            var raw = unsafe span.mutableBytes
            let end = format.entriesEnd
            if index > 0 {
                DirectoryRecord.writeUnused(length: end, at: 0, in: &raw, format: format)
            } else if let name {
                let dots = 2 * DirectoryRecord.dotSize
                DirectoryRecord.writeDots(
                    itself: inode, parent: parent, end: dots, in: &raw, format: format)
                let name = Array(name.utf8)
                unsafe DirectoryRecord.write(
                    DirectoryRecord.Target(inode: target, type: .directory), name: name.span.bytes,
                    length: end - dots, at: dots, in: &raw, format: format)
            } else {
                DirectoryRecord.writeDots(
                    itself: inode, parent: parent, end: end, in: &raw, format: format)
            }
            DirectoryRecord.writeTail(in: &raw, format: format)
            if format.hasChecksums { DirectoryRecord.sealTail(&raw, owner: owner) }
            contents += bytes
        }
        try write(contents, to: file.runs)
    }
}
