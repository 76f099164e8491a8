// Contents that stand in the inode (feature inline_data): files and directories that are small
// enough, until they outgrow it. The caller of all of these holds the inode's lock.

extension Volume {
    // MARK: Files

    /// Writes inline contents; false when they would not fit.
    func writeInline(
        _ bytes: RawSpan, to inode: Inode, at byteOffset: UInt64
    ) throws(Ext4Error) -> Bool {
        let capacity = try inode.record.inlineCapacity(attributeContext(inode))
        let end = byteOffset + UInt64(bytes.byteCount)
        guard end <= UInt64(capacity), inode.size <= UInt64(capacity) else { return false }
        var contents = try inlineContents(of: inode, count: Int(max(inode.size, end)))
        for i in 0..<bytes.byteCount { contents[Int(byteOffset) + i] = bytes.byte(at: i) }
        try setInline(contents, of: inode)
        return true
    }

    /// Gives inline contents another size; false when they would not fit.
    func truncateInline(_ inode: Inode, to size: UInt64) throws(Ext4Error) -> Bool {
        let capacity = try inode.record.inlineCapacity(attributeContext(inode))
        guard size <= UInt64(capacity) else { return false }
        try setInline(try inlineContents(of: inode, count: Int(size)), of: inode)
        return true
    }

    /// The first `count` bytes of inline contents, with zeros behind what is there.
    private func inlineContents(
        of inode: Inode, count: Int
    ) throws(Ext4Error) -> [UInt8] {
        let stored = try inode.record.inlineContents(attributeContext(inode))
        let known = stored.prefix(min(count, Int(clamping: inode.size)))
        return known + [UInt8](repeating: 0, count: count - known.count)
    }

    private func setInline(_ contents: [UInt8], of inode: Inode) throws(Ext4Error) {
        let context = attributeContext(inode)
        try change { (handle, writing) throws(Ext4Error) in
            let now = writing.clock()
            try update(inode, in: &handle) { (record) throws(Ext4Error) in
                try record.setInlineContents(contents, context)
                record.setSize(UInt64(contents.count))
                record.setModificationTime(now)
                record.setChangeTime(now)
                record.advanceVersion()
            }
        }
    }

    /// Moves inline contents to a block, for the file to grow there.
    func moveInlineDataOut(of inode: Inode, _ spender: Spender) throws(Ext4Error) {
        let stored = try inode.record.inlineContents(attributeContext(inode))
        let count = min(stored.count, Int(clamping: inode.size))
        var block = [UInt8](repeating: 0, count: blockSize)
        for i in 0..<min(count, blockSize) { block[i] = stored[i] }
        let isLogged = journalsContents(of: inode.attributes)
        try change(credits: 24) { (handle, writing) throws(Ext4Error) in
            try removeInlineContents(of: inode, &handle)
            guard count > 0 else { return }
            let place = try writing.blocks.allocate(
                near: firstGoal(for: inode.number), for: spender, in: &handle)
            if isLogged {
                let buffer = handle.fresh(place, in: reader.cache, seal: Buffer.Seal.none)
                handle.modify(buffer) { $0.copy(from: unsafe block.span.bytes) }
            } else {
                // One block: nobody waits long for this handle.
                try unsafe device.write(
                    block.span.bytes, at: place.rawValue << UInt64(superblock.blockSizeLog2))
            }
            var editor = try editor(of: inode, spender)
            try editor.insert(
                BlockRun(logical: LogicalBlock(0), count: 1, state: .mapped(place)), in: &handle)
            try update(inode, in: &handle) { (record) throws(Ext4Error) in
                if editor.rootChanged { editor.root.store(in: &record) }
                try record.addBlocks(Int64(1 + editor.metadataBlocksDelta), superblock)
            }
        }
        inode.lastRun.withLock { $0 = nil }
    }

    /// Makes room for a map where the inline contents stood.
    private func removeInlineContents(
        of inode: Inode, _ handle: inout Handle
    ) throws(Ext4Error) {
        let context = attributeContext(inode)
        let usesExtents = superblock.incompatible.contains(.extents)
        try update(inode, in: &handle) { (record) throws(Ext4Error) in
            try record.removeInlineContents(context)
            record.flags.remove(.inlineData)
            if usesExtents { record.flags.insert(.extents) }
            MapRoot(emptyWithExtents: usesExtents).store(in: &record)
        }
    }

    // MARK: Directories

    /// Makes a new inode an inline directory without entries.
    func makeInlineDirectory(
        _ inode: Inode, parent: InodeNumber, in handle: inout Handle
    ) throws(Ext4Error) {
        let block = InlineDirectory.empty(parent: parent, superblock: superblock)
        let context = attributeContext(inode)
        try update(inode, in: &handle) { (record) throws(Ext4Error) in
            try record.setInlineContents(block, context)
            record.setSize(UInt64(block.count))
        }
    }

    /// Adds an entry to an inline directory; false when it has no room.
    func insertInline(
        _ name: RawSpan, _ number: InodeNumber, _ type: FileType, in directory: Inode,
        _ handle: inout Handle
    ) throws(Ext4Error) -> Bool {
        var entries = try inlineDirectory(directory)
        let capacity = try directory.record.inlineCapacity(attributeContext(directory))
        guard
            try entries.insert(
                name, inode: number, type: type,
                capacity: max(capacity - InodeRecord.Layout.block.count, entries.rest.count))
        else { return false }
        try store(entries, in: directory, &handle)
        return true
    }

    func removeInline(
        _ name: RawSpan, in directory: Inode, _ handle: inout Handle
    ) throws(Ext4Error) {
        var entries = try inlineDirectory(directory)
        _ = try entries.remove(name)
        try store(entries, in: directory, &handle)
    }

    func replaceInline(
        _ name: RawSpan, by inode: Inode, in directory: Inode, _ handle: inout Handle
    ) throws(Ext4Error) {
        var entries = try inlineDirectory(directory)
        _ = try entries.replace(name, inode: inode.number, type: inode.type)
        try store(entries, in: directory, &handle)
    }

    func setInlineParent(
        _ parent: InodeNumber, of directory: Inode, _ handle: inout Handle
    ) throws(Ext4Error) {
        var entries = try inlineDirectory(directory)
        entries.setParent(parent)
        try store(entries, in: directory, &handle)
    }

    private func store(
        _ entries: InlineDirectory, in directory: Inode, _ handle: inout Handle
    ) throws(Ext4Error) {
        let context = attributeContext(directory)
        try update(directory, in: &handle) { (record) throws(Ext4Error) in
            try record.setInlineContents(entries.block + entries.rest, context)
            record.setSize(entries.byteCount)
        }
    }

    /// Moves the entries of an inline directory to a block.
    func moveInlineEntriesOut(
        of directory: Inode, _ spender: Spender, _ handle: inout Handle, _ writing: Writing
    ) throws(Ext4Error) {
        let entries = try inlineDirectory(directory)
        try removeInlineContents(of: directory, &handle)
        try update(directory, in: &handle) { $0.setSize(0) }
        let (_, buffer) = try appendBlock(to: directory, spender, &handle, writing)
        try entries.move(to: buffer, owner: directory.owner, in: &handle)
    }
}
