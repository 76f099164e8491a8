// The rules of the superblock, the descriptors, the journal and all that a volume has once.

extension RuleDefinition {
    static let superblock: [Entry] = [
        (
            .superblockInvalid, .risky, "the primary superblock is sound",
            "it is written anew from the backup"
        ),
        (
            .superblockSize, .risky, "the volume is no larger than its device",
            "none: enlarge the device, or restore the right one"
        ),
        (.superblockUUID, .note, "the volume has a UUID", "it gets a new one"),
        (
            .superblockMountTime, .note, "the last mount is not in the future",
            "the time is set to now"
        ),
        (
            .superblockWriteTime, .note, "the last write is not in the future",
            "the time is set to now"
        ),
        (
            .superblockReservedDescriptors, .note,
            "without resize_inode no descriptor blocks are reserved", "the number is set to 0"
        ),
        (
            .superblockReservedBlocks, .risky, "no more than half of the blocks is reserved",
            "a twentieth is"
        ),
        (
            .superblockExclusive, .note, "only one kind of checksum of descriptors is on",
            "uninit_bg is switched off"
        ),
        (
            .superblockFeatures, .risky, "features that need each other are there together",
            "the feature is switched as the others need it"
        ),
        (
            .superblockState, .note, "a sound volume is marked as valid and without errors",
            "the mark is set"
        ),
        (
            .superblockErrors, .note, "no error is on record",
            "the record is cleared once all is well"
        ),
        (
            .superblockBackup, .note, "the copies of the superblock agree with it",
            "they are written anew"
        ),
    ]

    static let descriptors: [Entry] = [
        (
            .groupChecksum, .risky, "the descriptor's checksum is that of its bytes",
            "marks of what is unused are dropped, and the checksum is written"
        ),
        (
            .groupBlockBitmapPlace, .risky,
            "the block bitmap lies in the volume, and without flex_bg in its group",
            "it gets a free block"
        ),
        (
            .groupInodeBitmapPlace, .risky,
            "the inode bitmap lies in the volume, and without flex_bg in its group",
            "it gets a free block"
        ),
        (
            .groupInodeTablePlace, .risky,
            "the inode table lies in the volume, and without flex_bg in its group",
            "it gets free blocks, and the group's inodes are lost"
        ),
        (
            .groupOverlap, .risky, "no two structures of the volume have a block in common",
            "the bitmap gets a free block"
        ),
        (
            .groupFlags, .risky, "neither the first group nor the last is marked as unused",
            "the marks are dropped"
        ),
        (
            .groupUnusedInodes, .risky, "no more inodes are unused than there are",
            "the number is set to 0"
        ),
        (
            .groupMarks, .note, "without checksums of descriptors nothing is marked as unused",
            "the marks and the number of unused inodes are cleared"
        ),
        (
            .groupBackup, .note, "the copies of the descriptors agree with them",
            "they are written anew"
        ),
    ]

    static let journal: [Entry] = [
        (
            .mmpBlock, .risky, "the block of multi-mount protection lies in the volume",
            "the feature is switched off"
        ),
        (
            .mmpContents, .risky,
            "the block of multi-mount protection has its magic number and checksum",
            "it is written anew"
        ),
        (
            .mmpSequence, .risky,
            "the sequence number is that of a volume that is closed or in use",
            "it is set to that of one that is closed"
        ),
        (
            .mmpInUse, .note, "no machine has the volume open",
            "the mark is taken away when -f says that no machine has"
        ),
        (
            .journalInode, .risky, "the journal's inode is a file without holes",
            "the journal is dropped and made anew"
        ),
        (
            .journalSuperblock, .risky, "the journal's superblock is sound",
            "it is written anew, with an empty log"
        ),
        (
            .journalFeatures, .risky, "the journal has no feature that is unknown",
            "none: use a newer program"
        ),
        (
            .journalDirty, .note, "the journal holds nothing that is not in its place",
            "it is replayed"
        ),
        (
            .journalUnmarked, .note, "a journal that holds changes is marked so",
            "it is replayed"
        ),
        (
            .journalUnused, .note, "a volume without a journal names none",
            "the journal's marks are dropped"
        ),
        (
            .journalLog, .risky, "every block of the log that counts is sound",
            "what is sound is replayed, and the log emptied"
        ),
        (
            .journalError, .note, "the last user left no error in the journal",
            "the error is cleared once all is well"
        ),
        (
            .journalUUID, .risky, "a volume with a journal of its own names no other one",
            "the other one's UUID is cleared"
        ),
        (
            .journalBackup, .note, "the superblock has a copy of the journal's map",
            "it is written anew"
        ),
        (
            .orphanList, .note, "the list of orphans leads from inode to inode and ends",
            "the list is emptied"
        ),
        (
            .orphanFileInode, .risky, "the orphan file is a file without holes",
            "it is dropped and made anew"
        ),
        (
            .orphanFileBlock, .risky,
            "a block of the orphan file has its magic number and checksum",
            "it is written anew, and empty"
        ),
        (
            .orphanEntry, .note, "no orphan waits for being freed",
            "orphans are freed or cut off"
        ),
        (
            .orphanPresent, .safe, "orphan_present is set where the orphan file has entries",
            "the mark is dropped"
        ),
        (
            .resizeInode, .risky, "the resize inode names the reserved descriptor blocks",
            "it is made anew"
        ),
        (
            .quotaInode, .risky, "a quota file is a regular file that the superblock names",
            "it is made anew"
        ),
    ]

    static let connectivity: [Entry] = [
        (.rootMissing, .risky, "the root is a directory", "it is made anew"),
        (
            .lostAndFoundMissing, .note, "the root has a lost+found",
            "it is made"
        ),
        (
            .lostAndFoundType, .risky, "lost+found is a directory that is not encrypted",
            "the name is dropped and the directory made"
        ),
        (
            .directoryUnconnected, .risky, "a directory hangs on the root",
            "it gets a name in lost+found"
        ),
        (
            .directoryParent, .risky, "the entry .. leads to the directory that has the name",
            "it is set to that"
        ),
    ]

    static let links: [Entry] = [
        (
            .inodeUnattached, .risky, "an inode in use has a name",
            "it gets one in lost+found, or is freed when it is empty"
        ),
        (
            .inodeLinks, .safe, "i_links_count is the number of names",
            "it is set to that"
        ),
    ]

    static let totals: [Entry] = [
        (
            .bitmapBlocks, .safe, "the block bitmap has the blocks that are in use, and no others",
            "it is set to that"
        ),
        (
            .bitmapInodes, .safe, "the inode bitmap has the inodes that are in use, and no others",
            "it is set to that"
        ),
        (
            .bitmapBlockPadding, .safe, "bits behind the last block of a group are set",
            "they are set"
        ),
        (
            .bitmapInodePadding, .safe, "bits behind the last inode of a group are set",
            "they are set"
        ),
        (
            .bitmapBlockChecksum, .safe, "the block bitmap's checksum is that of its bytes",
            "it is written"
        ),
        (
            .bitmapInodeChecksum, .safe, "the inode bitmap's checksum is that of its bytes",
            "it is written"
        ),
        (
            .groupFreeBlocks, .safe, "bg_free_blocks_count is the number of free blocks",
            "it is set to that"
        ),
        (
            .groupFreeInodes, .safe, "bg_free_inodes_count is the number of free inodes",
            "it is set to that"
        ),
        (
            .groupDirectories, .safe, "bg_used_dirs_count is the number of directories",
            "it is set to that"
        ),
        (
            .groupUninitialised, .safe, "a group in use is not marked as unused",
            "the mark is dropped"
        ),
        (
            .superblockFreeBlocks, .note, "s_free_blocks_count is the number of free blocks",
            "it is set to that"
        ),
        (
            .superblockFreeInodes, .note, "s_free_inodes_count is the number of free inodes",
            "it is set to that"
        ),
        (.quotaFile, .safe, "a quota file is a sound tree of records", "it is made anew"),
        (
            .quotaUsage, .safe, "a quota file has what its users use",
            "the figures are set to that"
        ),
    ]
}
