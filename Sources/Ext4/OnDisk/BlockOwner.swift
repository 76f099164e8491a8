/// The inode that a block of metadata belongs to, as the checksums know it.
package struct BlockOwner: Hashable, Sendable {
    /// The inode's number.
    package let inode: InodeNumber
    /// The seed of all its checksums: of the volume, its number and its generation.
    package let checksumSeed: UInt32

    /// Blocks of `inode`, whose checksums start from `checksumSeed`.
    package init(inode: InodeNumber, checksumSeed: UInt32) {
        self.inode = inode
        self.checksumSeed = checksumSeed
    }
}
