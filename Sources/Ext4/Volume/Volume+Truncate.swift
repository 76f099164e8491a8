// Cutting files off, and freeing them.
//
// What does not fit into one transaction is done in several. The inode is on the record of orphans
// meanwhile: a crash leaves it to the next mount, which goes on (`i_links_count` tells whether the
// file is being freed or cut off at its size).

extension Volume {
    /// How many blocks of metadata one transaction changes to free a file's blocks, about.
    private static let removalStep = 32

    /// Gives a file another size; the caller holds its lock.
    func truncate(
        _ inode: Inode, to size: UInt64, _ spender: Spender
    ) throws(Ext4Error) {
        var attributes = inode.attributes
        try checkContentsChange(attributes)
        guard !attributes.flags.contains(.appendOnly) else { throw .notPermitted }
        guard size <= maximumSize(of: attributes) else { throw .fileTooLarge }
        if attributes.flags.contains(.inlineData) {
            if try truncateInline(inode, to: size) { return }
            try moveInlineDataOut(of: inode, spender)
            attributes = inode.attributes
        }
        if size >= attributes.size {
            // What stands behind the old end must be zeros before it counts.
            if size > attributes.size { try clearTail(of: inode, from: attributes.size) }
            try change { (handle, writing) throws(Ext4Error) in
                try setSize(of: inode, to: size, in: &handle, writing)
            }
            return
        }
        try clearTail(of: inode, from: size)
        writing?.windows.remove(inode.number)
        let isDone = try change(credits: Self.removalStep + 16) {
            (handle, writing) throws(Ext4Error) -> Bool in
            try setSize(of: inode, to: size, in: &handle, writing)
            let isDone = try removeBlocks(of: inode, behind: size, in: &handle, writing)
            if !isDone {
                try writing.orphans.add(inode, in: &handle, setHead: setOrphanHead)
            }
            return isDone
        }
        if !isDone { try finishTruncating(inode) }
    }

    private func setSize(
        of inode: Inode, to size: UInt64, in handle: inout Handle, _ writing: Writing
    ) throws(Ext4Error) {
        let now = writing.clock()
        try update(inode, in: &handle) { record in
            record.setSize(size)
            record.setModificationTime(now)
            record.setChangeTime(now)
            record.advanceVersion()
        }
    }

    /// Frees what an inode on the record of orphans still has behind its size.
    func finishTruncating(_ inode: Inode) throws(Ext4Error) {
        var isDone = false
        while !isDone {
            isDone = try change(credits: Self.removalStep + 16) {
                (handle, writing) throws(Ext4Error) -> Bool in
                let size = inode.size
                guard try removeBlocks(of: inode, behind: size, in: &handle, writing) else {
                    return false
                }
                try writing.orphans.remove(inode, in: &handle, setHead: setOrphanHead)
                return true
            }
        }
    }

    /// Frees blocks behind `size`, from the end, as many as one transaction should.
    ///
    /// - Returns: whether none is left.
    private func removeBlocks(
        of inode: Inode, behind size: UInt64, in handle: inout Handle, _ writing: Writing
    ) throws(Ext4Error) -> Bool {
        guard hasMap(inode) else { return true }
        let log2 = UInt64(superblock.blockSizeLog2)
        let first = LogicalBlock((size >> log2) + (size & UInt64(blockSize - 1) == 0 ? 0 : 1))
        return try removeBlocks(of: inode, first..<LogicalBlock.end, in: &handle, writing)
    }

    /// Frees blocks of a range, from its end, as many as one transaction should.
    ///
    /// - Returns: whether none is left.
    func removeBlocks(
        of inode: Inode, _ range: Range<LogicalBlock>, in handle: inout Handle, _ writing: Writing
    ) throws(Ext4Error) -> Bool {
        var editor = try editor(of: inode, .privileged)
        let isLogged = journalsContents(of: inode.attributes)
        let removal = try editor.remove(
            range, limit: Self.removalStep, isLogged: isLogged, in: &handle)
        var blocks = Int64(editor.metadataBlocksDelta)
        for freed in removal.freed {
            try writing.blocks.free(freed, isMetadata: isLogged, in: &handle)
            blocks -= Int64(freed.count)
        }
        try update(inode, in: &handle) { (record) throws(Ext4Error) in
            if editor.rootChanged { editor.root.store(in: &record) }
            try record.addBlocks(blocks, superblock)
        }
        inode.lastRun.withLock { $0 = nil }
        return removal.resumeAt == nil
    }

    // MARK: Freeing

    /// Frees an inode to which no name leads and which nobody knows any more; the caller holds its
    /// lock.
    func free(_ inode: Inode) throws(Ext4Error) {
        var isDone = false
        while !isDone {
            isDone = try change(credits: Self.removalStep + 24) {
                (handle, writing) throws(Ext4Error) -> Bool in
                try freeStep(inode, in: &handle, writing)
            }
        }
    }

    /// Frees the inode, or if it has much, a part of that: it is on the record of orphans then.
    ///
    /// - Returns: whether it is free.
    func freeStep(
        _ inode: Inode, in handle: inout Handle, _ writing: Writing
    ) throws(Ext4Error) -> Bool {
        let number = inode.number
        writing.windows.remove(number)
        guard try removeBlocks(of: inode, behind: 0, in: &handle, writing) else {
            try writing.orphans.add(inode, in: &handle, setHead: setOrphanHead)
            return false
        }
        try releaseAttributes(of: inode, in: &handle)
        try writing.orphans.remove(inode, in: &handle, setHead: setOrphanHead)
        let now = UInt32(clamping: writing.clock().seconds)
        let isDirectory = inode.isDirectory
        try update(inode, in: &handle) { record in
            record[InodeRecord.Layout.deletionTime] = max(now, 1)
            record[InodeRecord.Layout.linkCount] = 0
            record.setSize(0)
        }
        try writing.inodes.free(number, isDirectory: isDirectory, in: &handle)
        inode.isFreed = true
        handle.onFailure { _ in inode.isFreed = false }
        return true
    }

    // MARK: References

    /// Notes that the caller will name the inode by its number: it is not freed before the
    /// reference is released, even without a name.
    ///
    /// A reference is for who keeps numbers, as a mount does; to hold an `Inode` is not one.
    public func acquire(_ inode: Inode) {
        guard writing != nil else { return }
        inodes.acquire(inode.number)
    }

    /// Takes back `count` references. An inode without a name is freed with the last one.
    ///
    /// - Throws: `.io`, `.corrupt`; the next mount frees the inode then.
    public func release(_ number: InodeNumber, count: UInt64 = 1) throws(Ext4Error) {
        guard let writing, let inode = inodes.release(number, count: count) else { return }
        guard writing.journal.failure == nil else { return }
        try inode.lock.exclusive { () throws(Ext4Error) in
            guard inode.linkCount == 0 else { return }
            try free(inode)
        }
    }
}
