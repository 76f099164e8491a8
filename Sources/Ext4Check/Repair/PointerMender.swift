import Ext4

/// Takes the pointers out of a map of ext2 and ext3 that cannot be: outside the volume, to one of
/// its own structures, to a table that was met already. They become holes, in their place: such a
/// map may be as large as the volume.
struct PointerMender {
    let volume: RepairVolume
    let isStructure: (UInt64) -> Bool
    private var visited: Set<UInt64> = []
    /// Whether anything was changed.
    private(set) var hasChanged = false

    init(_ volume: RepairVolume, isStructure: @escaping (UInt64) -> Bool) {
        self.volume = volume
        self.isStructure = isStructure
    }

    /// Mends the map of an inode; its tables are written, the inode is the caller's to write.
    mutating func mend(_ record: inout Record) throws(Ext4Error) {
        let start = InodeRecord.Layout.block.lowerBound
        for i in 0..<15 {
            let field = Field<UInt32>.le(start + 4 * i)
            guard try !keeps(record[field], level: max(0, i - 11)) else { continue }
            record[field] = 0
            hasChanged = true
        }
    }

    /// Whether a pointer stays; looks into the table that it leads to.
    private mutating func keeps(_ pointer: UInt32, level: Int) throws(Ext4Error) -> Bool {
        let number = UInt64(pointer)
        guard number != 0 else { return true }
        guard volume.superblock.contains(BlockNumber(number)), !isStructure(number) else {
            return false
        }
        guard level > 0 else { return true }
        guard visited.insert(number).inserted, var table = volume.block(number) else {
            return false
        }
        var isMended = false
        var bad = 0
        var used = 0
        for i in 0..<volume.blockSize / 4 {
            let field = Field<UInt32>.le(4 * i)
            guard table[field] != 0 else { continue }
            used += 1
            guard try !keeps(table[field], level: level - 1) else { continue }
            table[field] = 0
            isMended = true
            bad += 1
        }
        // A table in which nothing is right was never one.
        guard bad < 8 || bad < used else { return false }
        if isMended {
            hasChanged = true
            try volume.setBlock(number, table)
        }
        return true
    }
}
