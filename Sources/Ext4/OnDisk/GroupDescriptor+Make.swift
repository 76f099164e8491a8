// The descriptor of a group of a new volume.

extension GroupDescriptor {
    /// A descriptor with nothing but the places of the group's structures.
    package init(blockBitmap: BlockNumber, inodeBitmap: BlockNumber, inodeTable: BlockNumber) {
        self.blockBitmap = blockBitmap
        self.inodeBitmap = inodeBitmap
        self.inodeTable = inodeTable
        freeBlocksCount = 0
        freeInodesCount = 0
        usedDirectoriesCount = 0
        unusedInodesCount = 0
        flags = []
        blockBitmapChecksum = 0
        inodeBitmapChecksum = 0
        checksum = 0
    }

    /// Writes a whole descriptor to `bytes`, which are zeros: the places, too.
    package mutating func writeNew(
        to bytes: inout MutableRawSpan, group: GroupNumber, _ format: Format
    ) {
        for (block, low, high) in [
            (blockBitmap, Layout.blockBitmapLow, Layout.blockBitmapHigh),
            (inodeBitmap, Layout.inodeBitmapLow, Layout.inodeBitmapHigh),
            (inodeTable, Layout.inodeTableLow, Layout.inodeTableHigh),
        ] {
            bytes[low] = UInt32(truncatingIfNeeded: block.rawValue)
            if format.size >= 64 { bytes[high] = UInt32(truncatingIfNeeded: block.rawValue >> 32) }
        }
        write(to: &bytes, group: group, format)
    }
}
