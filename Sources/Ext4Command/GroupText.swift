internal import Ext4

/// A group's descriptor for people and for programs.
enum GroupText {
    private static func names(of flags: GroupDescriptor.Flags) -> [String] {
        let table: [(GroupDescriptor.Flags, String)] = [
            (.inodeUninit, "INODE_UNINIT"), (.blockUninit, "BLOCK_UNINIT"),
            (.inodeZeroed, "ITABLE_ZEROED"),
        ]
        return table.filter { flags.contains($0.0) }.map(\.1)
    }

    private static func hexadecimal(_ value: some BinaryInteger, _ digits: Int) -> String {
        let text = String(value, radix: 16)
        return "0x" + String(repeating: "0", count: max(0, digits - text.utf8.count)) + text
    }

    /// The lines of a group, as `dumpe2fs` prints them.
    static func lines(
        of descriptor: GroupDescriptor, _ number: UInt32, _ superblock: Superblock
    ) -> [String] {
        let first =
            UInt64(superblock.firstDataBlock)
            + UInt64(number) * UInt64(superblock.blocksPerGroup)
        let last = min(first + UInt64(superblock.blocksPerGroup), superblock.blocksCount) - 1
        var head = "Group \(number): (Blocks \(first)-\(last))"
        if superblock.hasDescriptorChecksums {
            head += " csum \(hexadecimal(descriptor.checksum, 4))"
        }
        let flags = names(of: descriptor.flags)
        if !flags.isEmpty { head += " [\(flags.joined(separator: ", "))]" }
        var lines = [head]
        if superblock.hasSuperblock(GroupNumber(number)) {
            lines.append("  \(number == 0 ? "Primary" : "Backup") superblock at \(first)")
        }
        let hasSums = superblock.hasMetadataChecksums
        func sum(_ value: UInt32) -> String {
            hasSums ? ", csum \(hexadecimal(value, 8))" : ""
        }
        let tableBlocks =
            (UInt64(superblock.inodesPerGroup) * UInt64(superblock.inodeSize)
                + UInt64(superblock.blockSize) - 1) / UInt64(superblock.blockSize)
        let table = descriptor.inodeTable.rawValue
        var counts = "  \(descriptor.freeBlocksCount) free blocks, "
        counts += "\(descriptor.freeInodesCount) free inodes, "
        counts += "\(descriptor.usedDirectoriesCount) directories"
        if superblock.hasDescriptorChecksums, descriptor.unusedInodesCount > 0 {
            counts += ", \(descriptor.unusedInodesCount) unused inodes"
        }
        lines += [
            "  Block bitmap at \(descriptor.blockBitmap)\(sum(descriptor.blockBitmapChecksum))",
            "  Inode bitmap at \(descriptor.inodeBitmap)\(sum(descriptor.inodeBitmapChecksum))",
            "  Inode table at \(table)-\(table &+ tableBlocks &- 1)",
            counts,
        ]
        return lines
    }

    /// The fields of a group.
    static func object(of descriptor: GroupDescriptor, _ number: UInt32) -> JSONText {
        .object([
            ("group", .number(number)),
            ("blockBitmap", .number(descriptor.blockBitmap.rawValue)),
            ("inodeBitmap", .number(descriptor.inodeBitmap.rawValue)),
            ("inodeTable", .number(descriptor.inodeTable.rawValue)),
            ("freeBlocks", .number(descriptor.freeBlocksCount)),
            ("freeInodes", .number(descriptor.freeInodesCount)),
            ("directories", .number(descriptor.usedDirectoriesCount)),
            ("unusedInodes", .number(descriptor.unusedInodesCount)),
            ("flags", .array(names(of: descriptor.flags).map { .string($0) })),
            ("checksum", .number(descriptor.checksum)),
        ])
    }
}
