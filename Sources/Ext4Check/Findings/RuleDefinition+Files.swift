// The rules of inodes and of what belongs to them.

extension RuleDefinition {
    static let inodes: [Entry] = [
        (
            .inodeChecksum, .risky, "the inode's checksum is that of its bytes",
            "the checksum is written when all else is sound, else the inode is cleared"
        ),
        (.inodeMode, .risky, "i_mode names a type of file", "the inode is cleared"),
        (
            .inodeReserved, .risky, "a reserved inode is not in use, or of its proper type",
            "the inode is cleared"
        ),
        (.inodeRoot, .risky, "the root inode is a directory", "the root is made anew"),
        (
            .inodeDeletionTime, .safe, "an inode in use has no deletion time",
            "the time is set to 0"
        ),
        (
            .inodeNoDeletionTime, .safe, "an inode that was freed has a deletion time",
            "the time is set to now"
        ),
        (
            .inodeOrphan, .safe, "no deletion time is the number of the next orphan",
            "the orphan is freed"
        ),
        (
            .inodeExtraSize, .safe, "i_extra_isize is a multiple of 4 that the inode has room for",
            "it is set to the volume's own"
        ),
        (
            .inodeExtraTime, .note, "the high bits of a time fit its low ones",
            "they are cleared"
        ),
        (.inodeFragment, .safe, "an inode has no fragment", "the fields are set to 0"),
        (
            .inodeBlocksHigh, .safe, "without huge_file l_i_blocks_high is 0",
            "it is set to 0"
        ),
        (
            .inodeAttributeBlock, .risky, "i_file_acl is 0 or a block of the volume",
            "it is set to 0"
        ),
        (.inodeSize, .safe, "i_size fits the blocks that the inode has", "it is set to that"),
        (.inodeBlocks, .safe, "i_blocks is what the inode takes", "it is set to that"),
        (
            .inodeTooLarge, .risky, "no block lies beyond the largest size of a file",
            "the blocks are freed"
        ),
        (
            .inodeExtentsFlag, .risky,
            "the extents flag is on an inode with extents, and on a volume that has them",
            "the flag is dropped, or the inode cleared"
        ),
        (
            .inodeNoExtentsFlag, .safe, "an inode with a tree of extents has the flag",
            "the flag is set"
        ),
        (
            .inodePointers, .risky, "with bigalloc a map is a tree of extents",
            "the map becomes one"
        ),
        (
            .inodeIndexFlag, .risky, "only a directory of a volume with dir_index has an index",
            "the flag is dropped"
        ),
        (
            .inodeInlineFlag, .risky,
            "only files and directories of a volume with inline_data have their contents in the inode",
            "the flag is dropped, or the inode cleared"
        ),
        (
            .inodeEncryptFlag, .risky, "only a volume with encrypt has encrypted inodes",
            "the flag is dropped"
        ),
        (
            .inodeCasefoldFlag, .risky, "only a directory of a volume with casefold ignores case",
            "the flag is dropped"
        ),
        (
            .inodeVerityFlag, .note,
            "only a regular file of a volume with verity has a Merkle tree",
            "the flag is dropped"
        ),
        (
            .inodeAttributeFlag, .risky,
            "only the value of an extended attribute has the ea_inode flag",
            "the flag is dropped"
        ),
        (
            .inodeObsoleteFlag, .risky, "no inode has a flag of compression or of imagic",
            "the flag is dropped"
        ),
        (
            .inodeSpecialFlags, .risky, "a device, pipe or socket has no map",
            "the flags are dropped"
        ),
        (
            .inodeImmutable, .note, "a device, pipe or socket is not immutable",
            "the flag is dropped"
        ),
        (
            .inodeSpecialSize, .safe, "a device, pipe or socket has no size",
            "the size is set to 0"
        ),
        (
            .symlinkTarget, .risky, "a symbolic link has a target of the length that it says",
            "the inode is cleared"
        ),
        (
            .inlineData, .risky,
            "contents in the inode have their attribute, and a directory's size",
            "the size is set to what is there, or the inode cleared"
        ),
    ]

    static let maps: [Entry] = [
        (
            .extentHeader, .risky, "a node has the magic number, and no more entries than room",
            "the node is dropped, with what is below it"
        ),
        (
            .extentChecksum, .risky, "a node's checksum is that of its bytes",
            "it is written when the node is sound, else the node is dropped"
        ),
        (
            .extentDepth, .risky,
            "a tree has at most five levels, each one less than the one above",
            "the node is dropped"
        ),
        (
            .extentOrder, .risky, "entries are in order and do not overlap",
            "the entry is dropped"
        ),
        (
            .extentLength, .risky, "an extent has at least one block, and ends before 2^32",
            "the entry is dropped"
        ),
        (
            .extentRange, .risky, "an extent lies in the volume",
            "the entry is dropped"
        ),
        (
            .extentKey, .safe, "an index has the first block of what is below it",
            "it is set to that"
        ),
        (
            .extentNode, .risky, "the node that an index leads to lies in the volume",
            "the index is dropped"
        ),
        (
            .extentUnwritten, .risky, "a directory has no unwritten blocks",
            "the extent is marked as written, its blocks are made empty"
        ),
        (
            .extentAlignment, .risky,
            "with bigalloc a block has the same place in file and cluster, and its neighbours too",
            "the cluster gets a copy where all of it fits"
        ),
        (
            .indirectRange, .risky, "a pointer is 0 or a block of the volume",
            "it is set to 0"
        ),
        (
            .indirectAlignment, .risky,
            "with bigalloc a block has the same place in file and cluster", "it is set to 0"
        ),
        (
            .mapMetadata, .risky, "no block of a file is one of the volume's own structures",
            "the file gets a copy of its own, or the block is dropped"
        ),
    ]

    static let attributes: [Entry] = [
        (
            .attributeBlock, .risky, "a block of attributes has the magic number and one block",
            "the inode loses it"
        ),
        (
            .attributeChecksum, .risky, "a block's checksum is that of its bytes",
            "it is written when the block is sound, else the inode loses it"
        ),
        (
            .attributeEntry, .risky, "an entry and its value lie in their area and overlap nothing",
            "the attributes there are dropped"
        ),
        (
            .attributeHash, .risky, "an entry's hash is that of its name and value",
            "it is written"
        ),
        (
            .attributeInodeArea, .risky,
            "attributes in an inode lie in its area and overlap nothing",
            "the area is cleared"
        ),
        (
            .attributeInode, .risky, "a large value is in an inode of the right kind and hash",
            "the attribute is dropped"
        ),
        (
            .attributeInodeReferences, .safe,
            "an inode of a value counts the attributes that have it", "it is set to that"
        ),
        (
            .attributeReferences, .safe, "h_refcount is the number of inodes that have the block",
            "it is set to that"
        ),
        (
            .encryptionContext, .risky, "an encrypted inode has a sound encryption context",
            "the inode is cleared"
        ),
    ]

    static let claims: [Entry] = [
        (
            .claimShared, .risky, "no block belongs to two files",
            "each file but the first gets a copy"
        )
    ]

    static let directories: [Entry] = [
        (.directoryHole, .safe, "a directory has no holes", "an empty block is put there"),
        (
            .directoryChecksum, .risky, "a block's checksum is that of its bytes",
            "it is written when the block is sound, else what is sound is kept"
        ),
        (
            .directoryTail, .risky, "a block of entries ends with its checksum",
            "the directory is made anew"
        ),
        (
            .directoryRecord, .risky, "entries fill their block and hold their names",
            "what is sound is kept"
        ),
        (.directoryDot, .risky, "the first entry is . and leads to the directory", "it is made so"),
        (
            .directoryDotDot, .risky, "the second entry is .., and leads to a directory",
            "it is made so"
        ),
        (.directoryExtraDot, .risky, "there is one . and one ..", "the other ones are dropped"),
        (
            .directoryName, .risky, "a name has no zero byte and no slash, and is not empty",
            "the bytes are replaced"
        ),
        (
            .directoryDuplicate, .risky, "a name occurs once in a block",
            "the second one is renamed"
        ),
        (.directoryType, .safe, "an entry's type is its inode's", "it is set to that"),
        (.directoryTypeUnset, .note, "an entry has a type", "it is set to its inode's"),
        (
            .directoryInode, .risky, "an entry leads to an inode that names may lead to",
            "it is dropped"
        ),
        (.directoryUnusedInode, .risky, "an entry leads to an inode in use", "it is dropped"),
        (
            .directoryUninitialised, .risky,
            "an entry leads to an inode of the part of the table that is in use",
            "the table's part is enlarged"
        ),
        (.directorySelf, .risky, "no name leads to its own directory", "it is dropped"),
        (.directoryRoot, .risky, "no name leads to the root", "it is dropped"),
        (.directoryLink, .risky, "a directory has one name", "the second one is dropped"),
        (
            .directoryInline, .risky, "entries in the inode fill their area and hold their names",
            "what is sound is kept"
        ),
        (
            .directoryEncryption, .risky,
            "what is in an encrypted directory is encrypted by the same policy", "it is dropped"
        ),
    ]

    static let indexes: [Entry] = [
        (
            .htreeRoot, .risky, "the index's root is sound",
            "the index is made anew"
        ),
        (
            .htreeVersion, .risky, "the index uses a hash that is known",
            "the index is made anew"
        ),
        (
            .htreeDepth, .risky, "the index has no more levels than the volume allows",
            "the index is made anew"
        ),
        (
            .htreeNode, .risky, "a node's limit is its room, and its count at most that",
            "the index is made anew"
        ),
        (
            .htreeChecksum, .risky, "a node's checksum is that of its bytes",
            "the index is made anew"
        ),
        (.htreeOrder, .risky, "the hashes of a node rise", "the index is made anew"),
        (
            .htreeHash, .risky, "a name is in the block that the index leads to for its hash",
            "the index is made anew"
        ),
        (
            .htreeReference, .risky, "the index leads to every block once",
            "the index is made anew"
        ),
    ]
}
