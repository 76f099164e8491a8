extension Buffer {
    /// What a changed block needs before it goes to the disk: its checksum, once for all changes of
    /// a transaction.
    enum Seal: Sendable {
        /// Nothing: the block has no checksum, or it is kept up to date at each change.
        case none
        /// A node of an extent tree, with that many levels below it.
        case extentNode(BlockOwner, depth: Int)
        /// A block of entries; it ends with the record that holds the checksum.
        case directoryLeaf(BlockOwner)
        /// A node of a directory's index.
        case htreeNode(BlockOwner, isRoot: Bool)
        /// A block of extended attributes, of a volume with that seed.
        case attributes(seed: UInt32)
        /// A block of the orphan file.
        case orphanFile(BlockOwner)
        /// The block that holds the superblock, from that byte on.
        case superblock(byteOffset: Int)

        /// As what the contents count as checked.
        var verification: Verification? {
            switch self {
            case .none, .orphanFile, .superblock: nil
            case .extentNode(let owner, let depth):
                Verification(.extentNode, owner: owner.inode, detail: depth)
            case .directoryLeaf(let owner):
                Verification(.directoryLeaf, owner: owner.inode, detail: 0)
            case .htreeNode(let owner, let isRoot):
                Verification(.directoryLeaf, owner: owner.inode, detail: isRoot ? 1 : 0)
            case .attributes: Verification(.attributes, owner: InodeNumber(0))
            }
        }

        /// Puts the checksum into the block's bytes.
        func apply(to bytes: inout MutableRawSpan, block: BlockNumber) {
            switch self {
            case .none: break
            case .extentNode(let owner, _): ExtentNode.seal(&bytes, owner: owner)
            case .directoryLeaf(let owner): DirectoryRecord.sealTail(&bytes, owner: owner)
            case .htreeNode(let owner, let isRoot):
                HTreeNode.seal(&bytes, isRoot: isRoot, owner: owner)
            case .attributes(let seed):
                bytes[XAttrBlockHeader.Layout.checksum] = XAttrBlockHeader.checksum(
                    of: bytes.bytes, at: block, seed: seed)
            case .orphanFile(let owner):
                let tail = bytes.byteCount &- OrphanFileBlock.Tail.size
                bytes[OrphanFileBlock.Tail.checksum.at(tail)] = OrphanFileBlock.checksum(
                    of: bytes.bytes, at: block, seed: owner.checksumSeed)
            case .superblock(let offset):
                var superblock = bytes._mutatingExtracting(
                    offset..<offset &+ Superblock.byteCount)
                Superblock.seal(&superblock)
            }
        }
    }
}
