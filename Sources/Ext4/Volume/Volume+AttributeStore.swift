// Where the attributes of inodes are on a volume that is written: the area in the inode, which is
// the inode's own; blocks, which inodes with the same attributes share (`h_refcount`); and inodes
// that hold one large value, which the entries that name them share.
//
// Others go on at once from what this operation did to something shared, so it cannot be taken back
// by putting the old bytes back. Hence the rule: a share is taken at once, and the way back is to
// give it up; a share is given up last, when the operation cannot fail any more (`onSuccess`). What
// an inode has alone is changed in place, and nobody finds it meanwhile.

extension Volume {
    /// All attributes of `inode`, to be changed. The caller holds its lock.
    ///
    /// - Throws: `.corrupt`, `.io`.
    func storedAttributes(of inode: Inode) throws(Ext4Error) -> StoredAttributes {
        let context = attributeContext(inode)
        let inInode = try inode.record.attributeSet(context)
        var inBlock = AttributeSet(emptyIn: .block(byteCount: blockSize))
        let number = inode.attributeBlock
        if number.rawValue != 0 {
            let block = try attributeBlock(number, of: inode)
            (inBlock, _) = try parse(block, number, context)
        }
        return StoredAttributes(
            inInode: inInode, inBlock: inBlock, hasAttributeInodes: context.hasAttributeInodes)
    }

    /// Stores what has become of the attributes of `inode`, whose lock the caller holds.
    ///
    /// - Parameter change: what else changes in the inode.
    /// - Throws: `.noSpace`, `.corrupt`, `.io`.
    func store(
        _ new: StoredAttributes, insteadOf old: StoredAttributes, of inode: Inode,
        for spender: Spender = .privileged, in handle: inout Handle,
        _ change: (inout InodeRecord) throws(Ext4Error) -> Void
    ) throws(Ext4Error) {
        let writing = try requireWriting()
        let oldBlock = inode.attributeBlock
        var block = oldBlock
        if new.inBlock != old.inBlock {
            block = try writing.sharedAttributes.lock.exclusive { () throws(Ext4Error) in
                freeUnusedBlocks(in: &handle, writing)
                return try place(
                    new.inBlock, insteadOf: old.inBlock, of: inode, spender, in: &handle, writing)
            }
        }
        let dropped = Self.difference(old.inInode.valueInodes, new.inInode.valueInodes)
        if !dropped.isEmpty { giveUp(dropped, of: inode, in: &handle, writing) }
        let delta = countedBlocks(new, block) &- countedBlocks(old, oldBlock)
        try update(inode, in: &handle) { (record) throws(Ext4Error) in
            if new.inInode != old.inInode { record.store(new.inInode) }
            record.setAttributeBlock(block)
            try record.addBlocks(delta, superblock)
            try change(&record)
        }
    }

    /// Gives up the block, and the inodes with values, of an inode that is being freed.
    ///
    /// - Throws: `.corrupt`, `.io`.
    func releaseAttributes(of inode: Inode, in handle: inout Handle) throws(Ext4Error) {
        let old = try storedAttributes(of: inode)
        guard inode.attributeBlock.rawValue != 0 || !old.valueInodes.isEmpty else { return }
        let new = StoredAttributes(
            inInode: AttributeSet(emptyIn: old.inInode.area),
            inBlock: AttributeSet(emptyIn: old.inBlock.area),
            hasAttributeInodes: old.hasAttributeInodes)
        try store(new, insteadOf: old, of: inode, in: &handle) { _ in }
    }

    /// What the attributes add to the blocks that an inode counts as its own: a shared block as if
    /// it were not, and a value in an inode of its own as the blocks that it fills.
    private func countedBlocks(_ attributes: StoredAttributes, _ block: BlockNumber) -> Int64 {
        let values = attributes.valueInodes.reduce(Int64(0)) {
            $0 &+ Int64(($1.size &+ blockSize &- 1) / blockSize)
        }
        return values &+ (block.rawValue == 0 ? 0 : 1)
    }

    // MARK: Blocks

    /// A copy of the bytes of an attribute block, its checksum verified.
    func attributeBlock(_ number: BlockNumber, of inode: Inode) throws(Ext4Error) -> [UInt8] {
        guard let lock = writing?.sharedAttributes.lock else {
            return try readAttributeBlock(number, inode.number).withBytes { $0.copy() }
        }
        return try lock.shared { () throws(Ext4Error) in
            try readAttributeBlock(number, inode.number).withBytes { $0.copy() }
        }
    }

    /// The buffer of an attribute block; with the lock held, when the volume is written.
    private func readAttributeBlock(
        _ number: BlockNumber, _ owner: InodeNumber?
    ) throws(Ext4Error) -> Buffer {
        let buffer = try reader.buffer(
            of: number, for: .extendedAttribute, at: .init(inode: owner))
        if reader.checksBlocks {
            // The block's checksum does not depend on which of its owners asks.
            try buffer.verify(as: .init(.attributes, owner: InodeNumber(0))) {
                (bytes) throws(Ext4Error) in
                _ = try XAttrBlockHeader(
                    parsing: bytes, at: number, checksumSeed: superblock.checksumSeed)
            }
        }
        return buffer
    }

    private func parse(
        _ block: [UInt8], _ number: BlockNumber, _ context: AttributeList.Context
    ) throws(Ext4Error) -> (attributes: AttributeSet, count: UInt32) {
        var context = context
        // It was verified when it was read; of a block that is changing it is out of date.
        context.checksumSeed = nil
        let bytes = unsafe block.span.bytes
        let list = try AttributeList(parsingBlock: bytes, at: number, context)
        let set = try AttributeSet(list, in: bytes, .block(byteCount: blockSize))
        return (set, list.header?.referenceCount ?? 1)
    }

    /// Finds the block for `new`: one that has the same attributes already, the inode's own one, or
    /// a new one. With the lock held.
    private func place(
        _ new: AttributeSet, insteadOf old: AttributeSet, of inode: Inode, _ spender: Spender,
        in handle: inout Handle, _ writing: Writing
    ) throws(Ext4Error) -> BlockNumber {
        let current = inode.attributeBlock
        let shared = writing.sharedAttributes
        if new.isEmpty {
            giveUp(current, of: inode, in: &handle, writing)
            return BlockNumber(0)
        }
        if let found = try join(new, besides: current, in: &handle, writing) {
            if current.rawValue != 0 { giveUp(current, of: inode, in: &handle, writing) }
            return found
        }
        let hash = new.blockHash
        if current.rawValue != 0 {
            let buffer = try readAttributeBlock(current, inode.number)
            let count = buffer.withBytes { $0[XAttrBlockHeader.Layout.referenceCount] }
            if count <= 1 {
                shared.remove(current)
                handle.preserve(buffer)
                write(new, to: buffer, in: &handle)
                handle.onSuccess { _ in shared.insert(current, hash: hash) }
                let dropped = Self.difference(old.valueInodes, new.valueInodes)
                if !dropped.isEmpty { giveUp(dropped, of: inode, in: &handle, writing) }
                return current
            }
        }
        let block = try writing.blocks.allocate(
            near: attributeGoal(inode), for: spender, in: &handle)
        write(new, to: handle.fresh(block, in: reader.cache, seal: attributeSeal), in: &handle)
        handle.onSuccess { _ in shared.insert(block, hash: hash) }
        if current.rawValue != 0 {
            // The old block keeps its entries, and with them their shares of values.
            let kept = Self.common(old.valueInodes, new.valueInodes)
            if !kept.isEmpty {
                onSuccess(in: &handle, writing) { (volume, handle) throws(Ext4Error) in
                    for number in kept {
                        try volume.changeReferences(
                            of: number, by: 1, namedBy: inode, in: &handle, writing)
                    }
                }
            }
            giveUp(current, of: inode, in: &handle, writing)
        }
        return block
    }

    /// Takes a share of a block that has just these attributes; nil when none is known.
    private func join(
        _ attributes: AttributeSet, besides own: BlockNumber, in handle: inout Handle,
        _ writing: Writing
    ) throws(Ext4Error) -> BlockNumber? {
        let hash = attributes.blockHash
        guard hash != 0 else { return nil }
        let shared = writing.sharedAttributes
        for number in shared.blocks(with: hash) where number != own {
            guard let buffer = try? readAttributeBlock(number, nil),
                let (found, count) = try? parse(
                    buffer.withBytes { $0.copy() }, number, attributeContext(nil))
            else { continue }
            guard found == attributes, count < XAttrBlockHeader.maximumReferenceCount else {
                continue
            }
            handle.modify(buffer, seal: attributeSeal) {
                $0[XAttrBlockHeader.Layout.referenceCount] = count + 1
            }
            let seal = attributeSeal
            handle.onFailure { handle in
                shared.lock.exclusive {
                    let count = buffer.withBytes { $0[XAttrBlockHeader.Layout.referenceCount] }
                    guard count > 1 else {
                        // All others have left meanwhile, and a failed operation frees nothing.
                        shared.remove(number)
                        shared.leave(number)
                        return
                    }
                    handle.modify(buffer, seal: seal) {
                        $0[XAttrBlockHeader.Layout.referenceCount] = count - 1
                    }
                }
            }
            return number
        }
        return nil
    }

    private var attributeSeal: Buffer.Seal { .attributes(seed: superblock.checksumSeed) }

    private func write(_ attributes: AttributeSet, to buffer: Buffer, in handle: inout Handle) {
        let bytes = attributes.block(referenceCount: 1)
        handle.modify(buffer, seal: attributeSeal) {
            $0.copy(from: unsafe bytes.span.bytes)
        }
    }

    /// Where blocks for attributes are looked for: in the group of the inode.
    private func attributeGoal(_ inode: Inode) -> BlockNumber {
        superblock.firstBlock(
            of: GroupNumber((inode.number.rawValue &- 1) / superblock.inodesPerGroup))
    }

    /// Gives up a share of a block, when the operation has succeeded.
    private func giveUp(
        _ block: BlockNumber, of inode: Inode, in handle: inout Handle, _ writing: Writing
    ) {
        guard block.rawValue != 0 else { return }
        onSuccess(in: &handle, writing) { (volume, handle) throws(Ext4Error) in
            let buffer = try volume.readAttributeBlock(block, inode.number)
            let bytes = buffer.withBytes { $0.copy() }
            let (attributes, count) = try volume.parse(
                bytes, block, volume.attributeContext(inode))
            guard count <= 1 else {
                handle.modify(buffer, seal: volume.attributeSeal) {
                    $0[XAttrBlockHeader.Layout.referenceCount] = count - 1
                }
                return
            }
            writing.sharedAttributes.remove(block)
            try writing.blocks.free(
                BlockRange(start: block, count: 1), isMetadata: true, in: &handle)
            for (number, _) in attributes.valueInodes {
                try volume.changeReferences(
                    of: number, by: -1, namedBy: inode, in: &handle, writing)
            }
        }
    }

    /// Frees blocks that a failed operation was the last one to use.
    private func freeUnusedBlocks(in handle: inout Handle, _ writing: Writing) {
        for block in writing.sharedAttributes.takeUnused() {
            handle.onFailure { _ in writing.sharedAttributes.leave(block) }
            do throws(Ext4Error) {
                try writing.blocks.free(
                    BlockRange(start: block, count: 1), isMetadata: true, in: &handle)
            } catch {
                reader.log(.error, "attribute block \(block) is not freed: \(error)")
            }
        }
    }

    /// Runs `body` with the lock held, when the operation has succeeded. It cannot fail then: what
    /// goes wrong is told, and leaves something that is used by nobody.
    private func onSuccess(
        in handle: inout Handle, _ writing: Writing,
        _ body: @escaping (Volume, inout Handle) throws(Ext4Error) -> Void
    ) {
        handle.onSuccess { handle in
            do throws(Ext4Error) {
                try writing.sharedAttributes.lock.exclusive { () throws(Ext4Error) in
                    try body(self, &handle)
                }
            } catch {
                self.reader.log(.error, "a share of attributes is not given up: \(error)")
                self.report(error)
            }
        }
    }

    // MARK: Values in inodes

    /// Gives up shares of inodes with values, when the operation has succeeded.
    private func giveUp(
        _ values: [InodeNumber], of inode: Inode, in handle: inout Handle, _ writing: Writing
    ) {
        onSuccess(in: &handle, writing) { (volume, handle) throws(Ext4Error) in
            for number in values {
                try volume.changeReferences(
                    of: number, by: -1, namedBy: inode, in: &handle, writing)
            }
        }
    }

    /// What is in `a` and not in `b`, each as often as it is there more often.
    private static func difference(
        _ a: [(inode: InodeNumber, size: Int)], _ b: [(inode: InodeNumber, size: Int)]
    ) -> [InodeNumber] {
        var rest = a.map { $0.inode }
        for (number, _) in b {
            if let index = rest.firstIndex(of: number) { rest.remove(at: index) }
        }
        return rest
    }

    private static func common(
        _ a: [(inode: InodeNumber, size: Int)], _ b: [(inode: InodeNumber, size: Int)]
    ) -> [InodeNumber] {
        var rest = a.map { $0.inode }
        for number in difference(a, b) {
            if let index = rest.firstIndex(of: number) { rest.remove(at: index) }
        }
        return rest
    }
}
