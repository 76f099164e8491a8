/// What it takes to read the metadata of one volume.
///
/// A class, as copies of the superblock, with its many lists, would cost more than a look-up.
final class BlockReader: Sendable {
    let superblock: Superblock
    let cache: BufferCache
    let verifiesChecksums: Bool
    let log: Log

    init(superblock: Superblock, cache: BufferCache, verifiesChecksums: Bool, log: Log) {
        self.superblock = superblock
        self.cache = cache
        self.verifiesChecksums = verifiesChecksums
        self.log = log
    }

    /// Whether the CRC32C checksums of blocks are there and to be verified.
    var checksBlocks: Bool { verifiesChecksums && superblock.hasMetadataChecksums }

    /// The buffer of `block`, which must lie in the volume.
    ///
    /// - Throws: `.corrupt` naming `structure` and `place` when it does not.
    func buffer(
        of block: BlockNumber, for structure: Corruption.Structure, at place: Corruption.Place
    ) throws(Ext4Error) -> Buffer {
        guard superblock.contains(block) else {
            throw .corrupt(
                structure, at: place,
                .field("block number", value: block.rawValue, rule: "inside the volume"))
        }
        return try cache.buffer(of: block)
    }
}
