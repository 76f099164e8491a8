/// The inode that a block of metadata belongs to, as the checksums know it.
package struct BlockOwner: Hashable, Sendable {
    /// The inode's number.
    package let inode: InodeNumber
    /// The seed of all its checksums: of the volume, its number and its generation.
    package let checksumSeed: UInt32
}
