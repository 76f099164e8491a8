// Changes within one block. Each takes itself back when the operation that it belongs to fails: a
// few bytes are remembered, not the block. Where entries move, the whole block is (`preserve`).

extension Directory {
    /// What a leaf needs before it is written.
    var leafSeal: Buffer.Seal { .directoryLeaf(owner) }

    /// What the block that holds an entry needs before it is written.
    private func seal(of block: LogicalBlock) -> Buffer.Seal {
        let isRoot = block.rawValue == 0 && flags.contains(.index)
        return isRoot ? .htreeNode(owner, isRoot: true) : leafSeal
    }

    /// Checks that a leaf ends as one of this volume does, so that its tail is not taken for room.
    func checkTail(_ bytes: RawSpan, of block: LogicalBlock) throws(Ext4Error) {
        guard format.hasChecksums, !DirectoryRecord.hasTail(bytes) else {
            return
        }
        throw .corrupt(
            .directoryBlock, at: .init(inode: owner.inode, logicalBlock: block),
            .broken("it has no room for its checksum"))
    }

    /// Adds an entry at the end of that at `room`, which has room to spare, or in its place if it
    /// is unused.
    func add(
        _ name: RawSpan, _ target: DirectoryRecord.Target, at room: Int, in buffer: Buffer,
        _ handle: inout Handle
    ) {
        let format = format
        takeBackHeader(at: room, of: buffer, in: &handle)
        handle.modify(buffer, seal: leafSeal) { bytes in
            DirectoryRecord.add(name, target, at: room, in: &bytes, format: format)
        }
    }

    /// Removes the entry at `location`: the one before takes its room, or the first of a block
    /// becomes unused. The name is wiped, as the kernel does.
    func remove(at location: Location, in handle: inout Handle) throws(Ext4Error)
        -> DirectoryRecord.Target
    {
        let format = format
        let record = try record(at: location)
        let entry = record.start..<record.end
        let buffer = location.buffer
        let old = buffer.withBytes { $0.copy(entry) }
        handle.onFailure { handle in
            handle.modify(buffer) { unsafe $0.store(old.span.bytes, at: entry.lowerBound) }
        }
        if let before = location.before { takeBackHeader(at: before, of: buffer, in: &handle) }
        handle.modify(buffer, seal: seal(of: location.block)) { bytes in
            DirectoryRecord.remove(
                entry, before: location.before, in: &bytes, format: format)
        }
        return DirectoryRecord.Target(inode: record.inode, type: record.type)
    }

    /// Lets the entry at `location` lead elsewhere.
    func replace(
        _ target: DirectoryRecord.Target, at location: Location, in handle: inout Handle
    ) throws(Ext4Error) -> DirectoryRecord.Target {
        let format = format
        let record = try record(at: location)
        takeBackHeader(at: record.start, of: location.buffer, in: &handle)
        handle.modify(location.buffer, seal: seal(of: location.block)) { bytes in
            DirectoryRecord.setTarget(
                target, at: record.start, in: &bytes, format: format)
        }
        return DirectoryRecord.Target(inode: record.inode, type: record.type)
    }

    /// Restores the fields before the name of the entry at `start` if the operation fails: whatever
    /// lies behind its end belongs to others again, or to nobody.
    private func takeBackHeader(at start: Int, of buffer: Buffer, in handle: inout Handle) {
        let field = DirectoryRecord.Header.word.at(start)
        let old = buffer.withBytes { $0[field] }
        handle.onFailure { handle in handle.modify(buffer) { $0[field] = old } }
    }
}
