import Ext4
import Ext4Check
import Ext4Verify

extension CaseList {
    mutating func addDescriptors() {
        add("descriptor/checksum", on: "ext4", "nocsum") {
            $0.descriptor(1, seals: false) { $0[GD.checksum] ^= 1 }
        }
        add("descriptor/checksum-of-first", on: "ext4") {
            $0.descriptor(0, seals: false) { $0[GD.checksum] ^= 0x8000 }
        }
        add("descriptor/block-bitmap-zero", on: "ext4", "ext2") {
            $0.descriptor(1) { $0[GD.blockBitmapLow] = 0 }
        }
        add("descriptor/block-bitmap-outside", on: "ext4", "ext2") {
            $0.descriptor(1) { $0[GD.blockBitmapLow] = 0x0FFF_FFFF }
        }
        add("descriptor/inode-bitmap-zero", on: "ext4", "ext2") {
            $0.descriptor(1) { $0[GD.inodeBitmapLow] = 0 }
        }
        add("descriptor/inode-bitmap-outside", on: "ext4", "ext2") {
            $0.descriptor(1) { $0[GD.inodeBitmapLow] = 0x0FFF_FFFF }
        }
        add("descriptor/inode-table-zero", on: "ext4", "ext2") {
            $0.descriptor(2) { $0[GD.inodeTableLow] = 0 }
        }
        add("descriptor/inode-table-outside", on: "ext4", "ext2") {
            $0.descriptor(2) { $0[GD.inodeTableLow] = 0x0FFF_FFFF }
        }
        add("descriptor/inode-table-high", on: "ext4") {
            $0.descriptor(2) { $0[GD.inodeTableHigh] = 1 }
        }
        add("descriptor/bitmaps-share-a-block", on: "ext4", "ext2") {
            $0.descriptor(1) { $0[GD.inodeBitmapLow] = $0[GD.blockBitmapLow] }
        }
        add("descriptor/bitmap-in-superblock", on: "ext2") {
            $0.descriptor(1) { $0[GD.blockBitmapLow] = 1 }
        }
        add("descriptor/tables-overlap", on: "ext4") { editor in
            let other = try editor.descriptor(0).inodeTable.rawValue
            editor.descriptor(2) { $0[GD.inodeTableLow] = UInt32(other) + 2 }
        }
        add("descriptor/free-blocks", on: "ext4", "ext2", "nocsum", "bigalloc") {
            $0.descriptor(1) { $0[GD.freeBlocksLow] ^= 5 }
        }
        add("descriptor/free-inodes", on: "ext4", "ext2", "nocsum") {
            $0.descriptor(1) { $0[GD.freeInodesLow] ^= 3 }
        }
        add("descriptor/directories", on: "ext4", "ext2") {
            $0.descriptor(0) { $0[GD.usedDirectoriesLow] += 1 }
        }
        add("descriptor/unused-inodes", on: "ext4", "nocsum") {
            $0.descriptor(0) { $0[GD.unusedInodesLow] = 0xFFF }
        }
        add("descriptor/unused-hides-inodes", on: "ext4", "nocsum") {
            $0.descriptor(0) { $0[GD.unusedInodesLow] = $0[GD.unusedInodesLow] + 8 }
        }
        add("descriptor/inode-uninit", on: "ext4", "nocsum") {
            $0.descriptor(0) { $0[GD.flags] |= 1 }
        }
        add("descriptor/block-uninit", on: "ext4", "nocsum") {
            $0.descriptor(0) { $0[GD.flags] |= 2 }
        }
        add("descriptor/unknown-flag", on: "ext4") { $0.descriptor(1) { $0[GD.flags] |= 0x100 } }
        add("descriptor/flags-without-checksums", on: "ext2") {
            $0.descriptor(1) { $0[GD.flags] |= 3 }
        }
        add("descriptor/unused-without-checksums", on: "ext2") {
            $0.descriptor(1) { $0[GD.unusedInodesLow] = 7 }
        }
        add("descriptor/zeroed", on: "ext4", "ext2") {
            $0.descriptor(1, seals: false) { $0.fill(0..<$0.bytes.count) }
        }
        add("descriptor/all-garbage", on: "ext4", "ext2") { editor in
            for group in 0..<editor.superblock.groupCount {
                editor.descriptor(group, seals: false) { $0.fill(0..<$0.bytes.count, 0xA5) }
            }
        }
    }

    mutating func addBitmaps() {
        add("bitmap/block-checksum", on: "ext4") {
            $0.descriptor(1) { $0[GD.blockBitmapCRCLow] ^= 1 }
        }
        add("bitmap/inode-checksum", on: "ext4") {
            $0.descriptor(0) { $0[GD.inodeBitmapCRCLow] ^= 1 }
        }
        add("bitmap/block-of-a-file-free", on: "ext4", "ext2", "nocsum") { editor in
            let superblock = editor.superblock
            let block = try editor.block(of: "/hello") - UInt64(superblock.firstDataBlock)
            let perGroup = UInt64(superblock.blocksPerGroup)
            let bit = Int(block % perGroup)
            try editor.blockBitmap(UInt32(block / perGroup)) {
                $0.bytes[bit / 8] &= ~(1 << UInt8(bit % 8))
            }
        }
        add("bitmap/block-of-metadata-free", on: "ext4", "ext2") {
            try $0.blockBitmap(0) { $0.bytes[0] &= ~4 }
        }
        add("bitmap/free-block-taken", on: "ext4", "ext2", "bigalloc") { editor in
            let count = editor.superblock.groupCount
            let group = count > 1 ? count - 2 : 0
            try editor.blockBitmap(group) { record in
                for bit in 0..<512 where record.bytes[bit / 8] & 1 << UInt8(bit % 8) == 0 {
                    record.bytes[bit / 8] |= 1 << UInt8(bit % 8)
                    return
                }
            }
        }
        add("bitmap/blocks-zeroed", on: "ext4", "ext2") {
            try $0.blockBitmap(0) { $0.fill(0..<$0.bytes.count) }
        }
        add("bitmap/blocks-full", on: "ext4", "ext2") {
            try $0.blockBitmap(1) { $0.fill(0..<$0.bytes.count, 0xFF) }
        }
        add("bitmap/block-padding", on: "ext4", "ext2") { editor in
            let group = editor.superblock.groupCount - 1
            try editor.blockBitmap(group) { $0.bytes[$0.bytes.count - 1] = 0 }
        }
        add("bitmap/inode-in-use-free", on: "ext4", "ext2") { editor in
            let bit = Int(try editor.number("/hello") - 1)
            let perGroup = Int(editor.superblock.inodesPerGroup)
            try editor.inodeBitmap(UInt32(bit / perGroup)) {
                $0.bytes[bit % perGroup / 8] &= ~(1 << UInt8(bit % 8))
            }
        }
        add("bitmap/reserved-inode-free", on: "ext4", "ext2") {
            try $0.inodeBitmap(0) { $0.bytes[0] &= ~0x10 }
        }
        add("bitmap/free-inode-taken", on: "ext4", "ext2") { editor in
            let last = Int(editor.superblock.inodesPerGroup) - 1
            try editor.inodeBitmap(0) { $0.bytes[last / 8] |= 1 << UInt8(last % 8) }
        }
        add("bitmap/inodes-zeroed", on: "ext4", "ext2") {
            try $0.inodeBitmap(0) { $0.fill(0..<$0.bytes.count) }
        }
        add("bitmap/inode-padding", on: "ext4", "ext2") {
            try $0.inodeBitmap(0) { $0.bytes[$0.bytes.count - 1] = 0 }
        }
    }

    mutating func addClusters() {
        add("cluster/extent-unaligned", on: "bigalloc") {
            try $0.inode("/big") { $0[EE.startLow.at(rootEntry(0))] += 1 }
        }
        add("cluster/logical-unaligned", on: "bigalloc") {
            try $0.inode("/big") { $0[EE.block.at(rootEntry(0))] += 1 }
        }
        add("cluster/shared", on: "bigalloc") { editor in
            let block = try editor.block(of: "/big")
            try editor.inode("/hello") { $0[EE.startLow.at(rootEntry(0))] = UInt32(block) }
        }
        add("cluster/shared-across", on: "bigalloc") { editor in
            let block = try editor.block(of: "/big")
            try editor.inode("/hello") { $0[EE.startLow.at(rootEntry(0))] = UInt32(block) + 1 }
        }
        add("cluster/blocks-count", on: "bigalloc") {
            try $0.inode("/big") { $0[IN.blocksLow] += 2 }
        }
        add("cluster/split", on: "bigalloc") { editor in
            // The first cluster of the file lies in two clusters of the volume.
            try editor.inode("/big") { record in
                let start = record[EE.startLow.at(rootEntry(0))]
                record[EH.entries.at(IN.block.lowerBound)] = 2
                record[EE.length.at(rootEntry(0))] = 2
                record[EE.block.at(rootEntry(1))] = 2
                record[EE.length.at(rootEntry(1))] = 54
                record[EE.startHigh.at(rootEntry(1))] = 0
                record[EE.startLow.at(rootEntry(1))] = start + 6
            }
        }
        add("cluster/pointers", on: "bigalloc") { editor in
            let block = try editor.block(of: "/hello")
            try editor.inode("/hello") { record in
                record[IN.flags] &= ~InodeFlags.extents.rawValue
                record.fill(IN.block)
                record[Field<UInt32>.le(IN.block.lowerBound)] = UInt32(block)
            }
        }
        add("cluster/bitmap-free", on: "bigalloc") { try $0.blockBitmap(0) { $0.bytes[1] = 0 } }
    }
}
