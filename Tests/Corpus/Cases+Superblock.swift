import Ext4
import Ext4Check
import Ext4Verify

extension CaseList {
    mutating func addSuperblock() {
        add("superblock/magic", on: "ext4", "ext2") { $0.superblock { $0[SB.magic] = 0x1234 } }
        add("superblock/checksum", on: "ext4") {
            $0.superblock(seals: false) { $0[SB.checksum] ^= 1 }
        }
        add("superblock/zeroed", on: "ext4", "ext2", "ext3") {
            $0.superblock(seals: false) { $0.fill(0..<1024) }
        }
        add("superblock/free-blocks", on: "ext4", "ext2", "bigalloc") {
            $0.superblock { $0[SB.freeBlocksLow] += 3 }
        }
        add("superblock/free-blocks-high", on: "ext4") {
            $0.superblock { $0[SB.freeBlocksHigh] = 1 }
        }
        add("superblock/free-inodes", on: "ext4", "ext2") {
            $0.superblock { $0[SB.freeInodes] -= 1 }
        }
        add("superblock/inodes-count", on: "ext4", "ext2") {
            $0.superblock { $0[SB.inodesCount] -= 8 }
        }
        add("superblock/inodes-count-zero", on: "ext4") {
            $0.superblock { $0[SB.inodesCount] = 0 }
        }
        add("superblock/blocks-count-larger", on: "ext4", "ext2") {
            $0.superblock { $0[SB.blocksCountLow] += 4096 }
        }
        add("superblock/blocks-count-zero", on: "ext4") {
            $0.superblock { $0[SB.blocksCountLow] = 0 }
        }
        add("superblock/reserved-blocks", on: "ext4", "ext2") {
            $0.superblock { $0[SB.reservedBlocksLow] = $0[SB.blocksCountLow] }
        }
        add("superblock/first-data-block", on: "ext4", "ext2") {
            $0.superblock { $0[SB.firstDataBlock] = 7 }
        }
        add("superblock/block-size", on: "ext4") { $0.superblock { $0[SB.logBlockSize] = 9 } }
        add("superblock/cluster-size", on: "ext4", "ext2") {
            $0.superblock { $0[SB.logClusterSize] += 1 }
        }
        add("superblock/blocks-per-group", on: "ext4", "ext2") {
            $0.superblock { $0[SB.blocksPerGroup] = 3 }
        }
        add("superblock/clusters-per-group", on: "ext4", "bigalloc") {
            $0.superblock { $0[SB.clustersPerGroup] = 7 }
        }
        add("superblock/inodes-per-group", on: "ext4", "ext2") {
            $0.superblock { $0[SB.inodesPerGroup] = 0 }
        }
        add("superblock/inode-size", on: "ext4", "ext2") {
            $0.superblock { $0[SB.inodeSize] = 100 }
        }
        add("superblock/inode-size-zero", on: "ext4") { $0.superblock { $0[SB.inodeSize] = 0 } }
        add("superblock/first-inode", on: "ext4", "ext2") {
            $0.superblock { $0[SB.firstInode] = 5 }
        }
        add("superblock/revision", on: "ext4") { $0.superblock { $0[SB.revision] = 7 } }
        add("superblock/descriptor-size", on: "ext4") {
            $0.superblock { $0[SB.descriptorSize] = 65 }
        }
        add("superblock/reserved-descriptors", on: "ext4") {
            $0.superblock { $0[SB.reservedDescriptors] = 0x7FFF }
        }
        add("superblock/journal-inode", on: "ext4") { $0.superblock { $0[SB.journalInode] = 12 } }
        add("superblock/journal-inode-zero", on: "ext4") {
            $0.superblock { $0[SB.journalInode] = 0 }
        }
        add("superblock/journal-device", on: "ext4") {
            $0.superblock { $0[SB.journalDevice] = 0x801 }
        }
        add("superblock/journal-backup", on: "ext4") {
            $0.superblock { $0[SB.journalBackup] ^= 0xFFFF }
        }
        add("superblock/hash-version", on: "ext4") {
            $0.superblock { $0[SB.defaultHashVersion] = 99 }
        }
        add("superblock/wanted-extra-size", on: "ext4") {
            $0.superblock { $0[SB.wantedExtraSize] = 1000 }
        }
        add("superblock/minimum-extra-size", on: "ext4") {
            $0.superblock { $0[SB.minimumExtraSize] = 1000 }
        }
        add("superblock/state-error", on: "ext4", "ext2") {
            $0.superblock { $0[SB.state] |= 2 }
        }
        add("superblock/state-not-clean", on: "ext2") { $0.superblock { $0[SB.state] &= ~1 } }
        add("superblock/uuid-zero", on: "ext2") { $0.superblock { $0.fill(SB.uuid) } }
        add("superblock/mount-time-future", on: "ext4") {
            $0.superblock { $0[SB.mountTime] = 0xF000_0000 }
        }
        add("superblock/write-time-future", on: "ext4") {
            $0.superblock { $0[SB.writeTime] = 0xF000_0000 }
        }
        add("superblock/check-time-future", on: "ext4") {
            $0.superblock { $0[SB.lastCheck] = 0xF000_0000 }
        }
        add("superblock/mount-count", on: "ext4") {
            $0.superblock {
                $0[SB.maximumMountCount] = 5
                $0[SB.mountCount] = 50
            }
        }
        add("superblock/flex-groups", on: "ext4") { $0.superblock { $0[SB.logGroupsPerFlex] = 40 } }
        add("superblock/checksum-type", on: "ext4") { $0.superblock { $0[SB.checksumType] = 5 } }
        add("superblock/overhead", on: "ext4") {
            $0.superblock { $0[SB.overheadClusters] = 0xFFFFF }
        }
        add("superblock/first-meta-group", on: "metabg") {
            $0.superblock { $0[SB.firstMetaGroup] = 1000 }
        }
        add("superblock/error-count", on: "ext4") {
            $0.superblock {
                $0[SB.errorCount] = 3
                $0[SB.firstErrorTime] = 1
            }
        }
        add("superblock/descriptor-size-without-64bit", on: "ext2") {
            $0.superblock { $0[SB.descriptorSize] = 11_822 }
        }
        add("superblock/casefold-unused", on: "ext4") {
            $0.superblock { $0[SB.incompatible] |= IncompatibleFeatures.casefold.rawValue }
        }
        add("superblock/encoding", on: "casefold") { $0.superblock { $0[SB.encoding] = 77 } }
        add("superblock/lost-and-found-inode", on: "ext4") {
            $0.superblock { $0[SB.lostAndFoundInode] = 9999 }
        }
        add("superblock/creator", on: "ext4") { $0.superblock { $0[SB.creatorOS] = 99 } }
        add("superblock/errors-behaviour", on: "ext4") { $0.superblock { $0[SB.errors] = 99 } }
    }

    mutating func addFeatures() {
        add("features/unknown-compatible", on: "ext4") {
            $0.superblock { $0[SB.compatible] |= 0x8000_0000 }
        }
        add("features/unknown-incompatible", on: "ext4") {
            $0.superblock { $0[SB.incompatible] |= 0x8000_0000 }
        }
        add("features/unknown-read-only", on: "ext4") {
            $0.superblock { $0[SB.readOnlyCompatible] |= 0x8000_0000 }
        }
        add("features/no-extents", on: "ext4") {
            $0.superblock { $0[SB.incompatible] &= ~IncompatibleFeatures.extents.rawValue }
        }
        add("features/no-filetype", on: "ext4", "ext2") {
            $0.superblock { $0[SB.incompatible] &= ~IncompatibleFeatures.filetype.rawValue }
        }
        add("features/no-journal", on: "ext4", "ext3") {
            $0.superblock { $0[SB.compatible] &= ~CompatibleFeatures.hasJournal.rawValue }
        }
        add("features/no-resize-inode", on: "ext4", "ext2") {
            $0.superblock { $0[SB.compatible] &= ~CompatibleFeatures.resizeInode.rawValue }
        }
        add("features/no-dir-index", on: "ext4") {
            $0.superblock { $0[SB.compatible] &= ~CompatibleFeatures.dirIndex.rawValue }
        }
        add("features/no-ext-attr", on: "ext4") {
            $0.superblock { $0[SB.compatible] &= ~CompatibleFeatures.extAttr.rawValue }
        }
        add("features/no-large-file", on: "large") {
            $0.superblock {
                $0[SB.readOnlyCompatible] &= ~ReadOnlyCompatibleFeatures.largeFile.rawValue
            }
        }
        add("features/no-inline-data", on: "inline") {
            $0.superblock { $0[SB.incompatible] &= ~IncompatibleFeatures.inlineData.rawValue }
        }
        add("features/no-ea-inode", on: "eainode") {
            $0.superblock { $0[SB.incompatible] &= ~IncompatibleFeatures.eaInode.rawValue }
        }
        add("features/no-casefold", on: "casefold") {
            $0.superblock { $0[SB.incompatible] &= ~IncompatibleFeatures.casefold.rawValue }
        }
        add("features/no-flex-bg", on: "ext4") {
            $0.superblock { $0[SB.incompatible] &= ~IncompatibleFeatures.flexBg.rawValue }
        }
        add("features/both-checksums", on: "ext4") {
            $0.superblock {
                $0[SB.readOnlyCompatible] |= ReadOnlyCompatibleFeatures.gdtCsum.rawValue
            }
        }
        add("features/recover-without-journal", on: "ext2") {
            $0.superblock { $0[SB.incompatible] |= IncompatibleFeatures.recover.rawValue }
        }
        add("features/meta-bg-and-resize-inode", on: "ext4") {
            $0.superblock { $0[SB.incompatible] |= IncompatibleFeatures.metaBg.rawValue }
        }
        add("features/orphan-present", on: "ext4") {
            $0.superblock {
                $0[SB.readOnlyCompatible] |= ReadOnlyCompatibleFeatures.orphanPresent.rawValue
            }
        }
        add("features/orphan-file-without-inode", on: "ext4") {
            $0.superblock { $0[SB.compatible] |= CompatibleFeatures.orphanFile.rawValue }
        }
        add("features/revision-0", on: "ext2") { $0.superblock { $0[SB.revision] = 0 } }
    }

    mutating func addBackups() {
        add("backup/zeroed", on: "ext4", "ext2") {
            $0.superblock(group: 1, seals: false) { $0.fill(0..<1024) }
        }
        add("backup/checksum", on: "ext4") {
            $0.superblock(group: 1, seals: false) { $0[SB.checksum] ^= 1 }
        }
        add("backup/features", on: "ext4") {
            $0.superblock(group: 1) { $0[SB.compatible] ^= CompatibleFeatures.dirIndex.rawValue }
        }
        add("backup/incompatible-features", on: "ext4", "ext2") {
            $0.superblock(group: 1) {
                $0[SB.incompatible] ^= IncompatibleFeatures.filetype.rawValue
            }
        }
        add("backup/blocks-count", on: "ext4") {
            $0.superblock(group: 1) { $0[SB.blocksCountLow] -= 1 }
        }
        add("backup/inodes-count", on: "ext4") {
            $0.superblock(group: 3) { $0[SB.inodesCount] += 8 }
        }
        add("backup/uuid", on: "ext4") { $0.superblock(group: 1) { $0.fill(SB.uuid, 7) } }
        add("backup/group", on: "ext4") { $0.superblock(group: 1) { $0[SB.group] = 3 } }
        add("backup/all-and-primary", on: "ext4") { editor in
            editor.superblock(seals: false) { $0[SB.magic] = 0 }
            editor.superblock(group: 1, seals: false) { $0[SB.magic] = 0 }
        }
        add("backup/descriptors", on: "ext4") { editor in
            let first = editor.superblock.firstBlock(of: GroupNumber(1)).rawValue
            editor.block(first + 1) { $0.fill(0..<64, 0xEE) }
        }
    }
}
