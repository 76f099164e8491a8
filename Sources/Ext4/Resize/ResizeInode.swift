// The resize inode: a file that holds the blocks into which the descriptors may grow. Its map is
// one table of double indirection, of which each entry is a reserved block of group 0; that block
// in turn lists the same block of each copy.

/// The resize inode of a volume of another size.
struct ResizeInode {
    let volume: Volume
    let inode: Inode
    /// The block with the table.
    let table: BlockNumber

    /// The table's pointer in `i_block` (`EXT4_DIND_BLOCK`).
    private static let slot = 13

    /// Finds the inode; nil on a volume without one.
    ///
    /// - Throws: `.corrupt` when it has no table.
    init?(_ volume: Volume) throws(Ext4Error) {
        guard volume.superblock.compatible.contains(.resizeInode) else { return nil }
        self.volume = volume
        inode = try volume.inodes.inode(.resize)
        table = BlockNumber(UInt64(inode.record.blockWord(Self.slot)))
        guard volume.superblock.contains(table) else {
            throw .corrupt(
                .inode, at: .init(inode: .resize),
                .field("i_block[13]", value: table.rawValue, rule: "a block of the volume"))
        }
    }

    /// The groups that have copies, but for the first.
    static func backupGroups(of superblock: Superblock) -> [GroupNumber] {
        guard superblock.groupCount > 1 else { return [] }
        return (1..<superblock.groupCount).map { GroupNumber($0) }
            .filter { superblock.hasSuperblock($0) }
    }

    /// Reserved block `index` of group 0.
    private static func reserved(_ index: UInt64, _ superblock: Superblock) -> BlockNumber {
        superblock.location(ofDescriptorBlock: 0)
            .advanced(by: UInt64(superblock.descriptorBlockCount) &+ index)
    }

    /// The blocks of group 0 whose lists of copies change.
    static func lists(from old: Superblock, to new: Superblock) -> [BlockNumber] {
        let kept = backupGroups(of: old) == backupGroups(of: new)
        let oldFirst = reserved(0, old)
        return (0..<UInt64(new.reservedDescriptorBlocks)).map { reserved($0, new) }
            .filter { !kept || $0 < oldFirst }
    }

    /// Makes the inode that of `new`: to be called when nothing in the handle fails any more.
    ///
    /// - Parameter lists: the buffers of the blocks that `lists(from:to:)` tells, and of the table.
    func adapt(
        to new: Superblock, lists: [Buffer], table: Buffer, in handle: inout Handle
    ) throws(Ext4Error) {
        let perBlock = UInt64(new.blockSize / 4)
        let reserved = UInt64(new.reservedDescriptorBlocks)
        let copies = Self.backupGroups(of: new)
        handle.preserve(table)
        handle.modify(table, seal: Buffer.Seal.none) { bytes in
            bytes.clear()
            for i in 0..<reserved {
                let slot = (UInt64(new.descriptorBlockCount) &+ i) % perBlock
                bytes[Field<UInt32>.le(4 &* Int(slot))] = UInt32(
                    truncatingIfNeeded: Self.reserved(i, new).rawValue)
            }
        }
        for list in lists {
            handle.preserve(list)
            handle.modify(list, seal: Buffer.Seal.none) { bytes in
                bytes.clear()
                for (slot, group) in copies.enumerated() where UInt64(slot) < perBlock {
                    let distance = UInt64(group.rawValue) &* UInt64(new.blocksPerGroup)
                    bytes[Field<UInt32>.le(4 &* slot)] = UInt32(
                        truncatingIfNeeded: list.block.rawValue &+ distance)
                }
            }
        }
        let blocks = Int64(1 &+ reserved &* UInt64(1 &+ copies.count))
        let superblock = volume.superblock
        try volume.update(inode, in: &handle) { (record) throws(Ext4Error) in
            let now = Int64(
                clamping: record.blocks512(superblock) >> UInt64(superblock.blockSizeLog2 &- 9))
            try record.addBlocks(blocks &- now, superblock)
        }
    }

    /// Makes `block`, which has a copy of it, the table.
    func setTable(
        _ block: BlockNumber, in handle: inout Handle, _ writing: Writing
    ) throws(Ext4Error) {
        try writing.blocks.free(
            BlockRange(start: table, count: 1), isMetadata: true, in: &handle)
        let field = Field<UInt32>.le(InodeRecord.Layout.block.lowerBound &+ 4 &* Self.slot)
        try volume.update(inode, in: &handle) {
            $0[field] = UInt32(truncatingIfNeeded: block.rawValue)
        }
    }

    /// Frees the inode, of a volume that needs it no more.
    func free(in handle: inout Handle, _ writing: Writing) throws(Ext4Error) {
        try writing.blocks.free(
            BlockRange(start: table, count: 1), isMetadata: true, in: &handle)
        try volume.update(inode, in: &handle) { record in
            record = InodeRecord(zeroed: record.bytes.count, extraSize: 0)
        }
    }
}
