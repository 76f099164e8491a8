extension BlockAllocator {
    /// Frees blocks that were the volume's own.
    func release(_ range: BlockRange, in handle: inout Handle) throws(Ext4Error) {
        let table = groups
        var rest = range
        while rest.count > 0 {
            let group = try table.group(geometry.group(of: rest.start))
            let part = rest.prefix(group.range.end.rawValue &- rest.start.rawValue)
            guard part.count > 0 else { return }
            let bits = group.bits(of: part)
            try withBitmap(of: group) { (state, bitmap) throws(Ext4Error) in
                // Of a group that was never used the bitmap follows from what is known of it.
                if let bitmap {
                    guard bitmap.withBytes({ $0.areBitsSet(bits) }) else {
                        throw .corrupt(
                            .blockBitmap, at: .init(group: group.number, block: part.start),
                            .broken("blocks of the volume's own structures are free in it"))
                    }
                    handle.modify(bitmap) { $0.clearBits(bits) }
                    state.blocks.unsealed = bitmap
                    table.noteUnsealed(group, &state)
                }
                table.change(group, &state, in: &handle) {
                    $0.freeBlocksCount &+= UInt32(bits.count)
                }
            }
            rest = rest.dropFirst(part.count)
        }
    }
}
