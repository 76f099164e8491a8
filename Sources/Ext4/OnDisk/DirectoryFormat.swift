/// What of a volume's features decides how its directory entries look: a few words, where a copy of
/// the superblock would cost more than adding an entry.
package struct DirectoryFormat: Hashable, Sendable {
    package let blockSize: Int
    package let inodesCount: UInt32
    /// Entries tell the type of what they lead to.
    package let hasTypes: Bool
    /// Blocks have a checksum, those of entries in a tail, those of the index behind the entries.
    package let hasChecksums: Bool

    package init(_ superblock: borrowing Superblock) {
        blockSize = superblock.blockSize
        inodesCount = superblock.inodesCount
        hasTypes = superblock.incompatible.contains(.filetype)
        hasChecksums = superblock.hasMetadataChecksums
    }

    /// Where the entries of a block end that this engine fills: before its tail, if it has one.
    package var entriesEnd: Int { blockSize &- (hasChecksums ? DirectoryRecord.tailSize : 0) }
}
