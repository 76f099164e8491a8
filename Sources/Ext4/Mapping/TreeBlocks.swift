/// Where the blocks of a map's own nodes come from and go to.
protocol TreeBlocks: AnyObject, Sendable {
    /// Allocates one block, as near behind `goal` as possible.
    func allocate(
        near goal: BlockNumber, for spender: Spender, in handle: inout Handle
    ) throws(Ext4Error) -> BlockNumber

    /// Frees blocks; with `isMetadata`, they were in the cache and in the log.
    func free(
        _ range: BlockRange, isMetadata: Bool, in handle: inout Handle
    ) throws(Ext4Error)
}

extension BlockAllocator: TreeBlocks {}
