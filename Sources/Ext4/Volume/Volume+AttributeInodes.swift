// Inodes that hold one large value each (`ea_inode`). No name leads to them, entries do, and they
// count how many: in `i_version` and, above 32 bits, in `i_ctime`. The hash of the value stands in
// `i_atime`. Their contents go through the journal, as those of a directory do.
//
// They are guarded by the lock of shared attributes, not by their own.

extension Volume {
    /// Makes an inode that holds `value`, and counts one entry that names it.
    ///
    /// - Returns: its number, and the hash of the value.
    /// - Throws: `.noSpace`, `.corrupt`, `.io`.
    func makeValueInode(
        _ value: [UInt8], for owner: Inode, _ spender: Spender, in handle: inout Handle
    ) throws(Ext4Error) -> (number: InodeNumber, hash: UInt32) {
        typealias Layout = InodeRecord.Layout
        let writing = try requireWriting()
        let number = try writing.inodes.allocate(
            isDirectory: false, parent: owner.number, isTopLevel: false, in: &handle)
        let hash = unsafe XAttrHash.ofInodeValue(
            value.span.bytes, seed: superblock.checksumSeed)
        let attributes = owner.attributes
        var record = InodeRecord(zeroedFor: superblock)
        record[Layout.mode] = 0o100600
        record.setUserID(attributes.userID)
        record.setGroupID(attributes.groupID)
        record.setSize(UInt64(value.count))
        let now = writing.clock()
        record.setModificationTime(now)
        record.setCreationTime(now)
        record[Layout.accessTime] = hash
        record[Layout.versionLow] = 1
        record[Layout.linkCount] = 1
        record[Layout.generation] = writing.nextGeneration()
        record.flags = .attributeInode
        try fill(&record, number, with: value, spender, in: &handle, writing)
        _ = try inodes.create(record, number: number, in: &handle)
        return (number, hash)
    }

    /// Writes the value to new blocks, and maps them.
    private func fill(
        _ record: inout InodeRecord, _ number: InodeNumber, with value: [UInt8],
        _ spender: Spender, in handle: inout Handle, _ writing: Writing
    ) throws(Ext4Error) {
        let usesExtents = superblock.incompatible.contains(.extents)
        if usesExtents { record.flags.insert(.extents) }
        let owner = BlockOwner(
            inode: number,
            checksumSeed: InodeRecord.checksumSeed(
                number, generation: record[InodeRecord.Layout.generation],
                seed: superblock.checksumSeed))
        var editor = MapEditor(
            MapRoot(emptyWithExtents: usesExtents), usesExtents: usesExtents, owner: owner,
            reader: reader, blocks: writing.blocks, spender: spender)
        let count = (value.count &+ blockSize &- 1) / blockSize
        var goal = superblock.firstBlock(
            of: GroupNumber((number.rawValue &- 1) / superblock.inodesPerGroup))
        var done = 0
        while done < count {
            let range = try writing.blocks.reserve(
                UInt64(count &- done), near: goal, for: spender)
            do throws(Ext4Error) {
                try writing.blocks.claim(range, in: &handle)
            } catch {
                writing.blocks.cancel(range)
                throw error
            }
            try editor.insert(
                BlockRun(
                    logical: LogicalBlock(UInt64(done)), count: range.count,
                    state: .mapped(range.start)), in: &handle)
            for index in 0..<range.count {
                let buffer = handle.fresh(
                    range.start.advanced(by: index), in: reader.cache, seal: Buffer.Seal.none)
                let start = (done &+ Int(index)) &* blockSize
                let part = Array(value[start..<min(start &+ blockSize, value.count)])
                handle.modify(buffer) { bytes in
                    var target = bytes._mutatingExtracting(0..<part.count)
                    target.copy(from: unsafe part.span.bytes)
                }
            }
            goal = range.start.advanced(by: range.count)
            done &+= Int(range.count)
        }
        editor.root.store(in: &record)
        try record.addBlocks(Int64(count &+ editor.metadataBlocksDelta), superblock)
    }

    /// Counts entries that name the inode with a value, more or fewer, and frees it when there is
    /// none left. With the lock held, when nothing can fail any more.
    ///
    /// - Throws: `.corrupt`, `.io`.
    func changeReferences(
        of number: InodeNumber, by delta: Int64, namedBy owner: Inode, in handle: inout Handle,
        _ writing: Writing
    ) throws(Ext4Error) {
        typealias Layout = InodeRecord.Layout
        let inode = try inodes.inode(number)
        guard inode.flags.contains(.attributeInode), inode.type == .regular, !inode.isFree else {
            throw .corrupt(
                .attributeInode, at: .init(inode: number),
                .field(
                    "i_flags", value: UInt64(inode.flags.rawValue), rule: "with EXT4_EA_INODE_FL"))
        }
        let record = inode.record
        // Lustre's own count nothing, and name their one owner where others have the time.
        let isLustres = record[Layout.modificationTime] == owner.number.rawValue
        let count =
            isLustres
            ? 1 : UInt64(record[Layout.changeTime]) << 32 | UInt64(record[Layout.versionLow])
        let new = Int64(clamping: count).addingReportingOverflow(delta)
        guard !new.overflow, new.partialValue > 0 else {
            return try free(valueInode: inode, in: &handle, writing)
        }
        guard !isLustres else { return }
        let value = UInt64(new.partialValue)
        try update(inode, in: &handle) { record in
            record[Layout.changeTime] = UInt32(truncatingIfNeeded: value >> 32)
            record[Layout.versionLow] = UInt32(truncatingIfNeeded: value)
        }
    }

    private func free(
        valueInode inode: Inode, in handle: inout Handle, _ writing: Writing
    ) throws(Ext4Error) {
        var editor = MapEditor(
            MapRoot(inode.record), usesExtents: inode.usesExtents, owner: inode.owner,
            reader: reader, blocks: writing.blocks, spender: .essential)
        var end: LogicalBlock? = .end
        while let last = end {
            // A value has a few hundred blocks at most: one step does it.
            let removal = try editor.remove(LogicalBlock(0)..<last, limit: 4096, in: &handle)
            for range in removal.freed {
                try writing.blocks.free(range, isMetadata: true, in: &handle)
            }
            if let next = removal.resumeAt, next >= last { break }
            end = removal.resumeAt
        }
        let now = UInt32(clamping: writing.clock().seconds)
        try update(inode, in: &handle) { (record) throws(Ext4Error) in
            editor.root.store(in: &record)
            try record.addBlocks(-Int64(clamping: record.blocks512(superblock)), superblock)
            record.setSize(0)
            record[InodeRecord.Layout.linkCount] = 0
            record[InodeRecord.Layout.deletionTime] = max(now, 1)
        }
        inode.lastRun.withLock { $0 = nil }
        try writing.inodes.free(inode.number, isDirectory: false, in: &handle)
    }
}
