/// The inode that a block of metadata belongs to, as the checksums know it.
struct BlockOwner: Hashable, Sendable {
    /// The inode's number.
    let inode: InodeNumber
    /// The seed of all its checksums: of the volume, its number and its generation.
    let checksumSeed: UInt32
}
