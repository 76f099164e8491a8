import Ext4
import Ext4Check
import Ext4Verify

/// Damage with no plan, by a seed: several changes of bytes in metadata, some with the checksum
/// made right afterwards.
enum RandomDamage {
    /// SplitMix64.
    private struct Generator {
        var state: UInt64

        mutating func next() -> UInt64 {
            state &+= 0x9E37_79B9_7F4A_7C15
            var z = state
            z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
            z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
            return z ^ (z >> 31)
        }

        mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(max(bound, 1))) }
    }

    /// Damages the image.
    static func apply(seed: UInt64, to editor: ImageEditor) -> [UInt8] {
        var editor = editor
        var random = Generator(state: seed)
        for _ in 0..<1 + random.below(12) { damage(&editor, &random) }
        return editor.bytes
    }

    /// Changes some of the bytes of a record.
    private static func scramble(_ record: inout Record, _ random: inout Generator) {
        let count = record.bytes.count
        switch random.below(6) {
        case 0:
            let start = random.below(count)
            record.fill(start..<min(count, start + 1 + random.below(64)))
        case 1:
            let start = random.below(count)
            record.fill(
                start..<min(count, start + 1 + random.below(32)), UInt8(random.below(256)))
        case 2:
            let field = Field<UInt32>.le(random.below(count / 4) * 4)
            record[field] = UInt32(truncatingIfNeeded: random.next())
        case 3:
            let field = Field<UInt16>.le(random.below(count / 2) * 2)
            record[field] = record[field] &+ UInt16(truncatingIfNeeded: random.below(5)) &- 2
        case 4:
            record.bytes[random.below(count)] ^= 1 << UInt8(random.below(8))
        default:
            let from = random.below(count / 4) * 4
            let to = random.below(count / 4) * 4
            record[Field<UInt32>.le(to)] = record[Field<UInt32>.le(from)]
        }
    }

    private static func damage(_ editor: inout ImageEditor, _ random: inout Generator) {
        let superblock = editor.superblock
        let seals = random.below(3) > 0
        let group = UInt32(random.below(Int(superblock.groupCount)))
        let paths = [
            "/", "/dir", "/dir/sub", "/index", "/hello", "/big", "/deep", "/far", "/fast", "/slow",
            "/attributes", "/lost+found", "/pieces", "/many", "/huge", "/medium",
        ]
        let path = paths[random.below(paths.count)]
        switch random.below(16) {
        case 0:
            // Rarely, and of what a volume can come back from.
            guard random.below(4) == 0 else { return }
            editor.superblock(seals: seals) { scramble(&$0, &random) }
        case 1:
            editor.descriptor(group, seals: seals) { scramble(&$0, &random) }
        case 2:
            try? editor.blockBitmap(group, seals: seals) { scramble(&$0, &random) }
        case 3:
            try? editor.inodeBitmap(group, seals: seals) { scramble(&$0, &random) }
        case 4, 5, 6:
            try? editor.inode(path, seals: seals) { scramble(&$0, &random) }
        case 7:
            let number = UInt32(1 + random.below(Int(min(superblock.inodesCount, 140))))
            try? editor.inode(number, seals: seals) { scramble(&$0, &random) }
        case 8, 9, 10:
            guard let inode = try? editor.inode(path), inode.isDirectory else { return }
            let blocks = max(1, inode.size >> UInt64(superblock.blockSizeLog2))
            let logical = UInt64(random.below(Int(blocks)))
            let isIndex = logical == 0 && inode.flags.contains(.index)
            try? editor.directoryBlock(logical, of: path, seals: seals, isIndex: isIndex) {
                scramble(&$0, &random)
            }
        case 11:
            guard let inode = try? editor.inode("/deep"), inode.usesExtents else { return }
            let block = editor.extentChild(of: inode)
            guard block < superblock.blocksCount else { return }
            editor.extentNode(block, of: inode, seals: seals) { scramble(&$0, &random) }
        case 12:
            try? editor.attributeBlock(of: "/attributes", seals: seals) { scramble(&$0, &random) }
        case 13:
            try? editor.journalSuperblock(seals: seals) { scramble(&$0, &random) }
        case 14:
            // A block anywhere: metadata, contents or nothing.
            let block = UInt64(1 + random.below(Int(superblock.blocksCount) - 1))
            editor.block(block) { scramble(&$0, &random) }
        default:
            // Two inodes that hold the same map.
            guard let first = try? editor.start(ofInode: 12), let other = try? editor.number(path)
            else { return }
            let map = editor.record(first, superblock.inodeSize)
            try? editor.inode(other, seals: true) { record in
                record.bytes.replaceSubrange(
                    InodeRecord.Layout.block, with: map.bytes[InodeRecord.Layout.block])
            }
        }
    }
}
