/// Where the structures of groups lie that a volume gets as it grows.
///
/// With flex_bg those of a flexible group lie together at the start of its first new group: first
/// the bitmaps of blocks, then those of inodes, then the tables, as `mke2fs` has them. Without it
/// each group has its own, and where they do not fit side by side.
struct NewGroups {
    /// A group and what it has.
    struct Group {
        let number: GroupNumber
        /// All of its blocks.
        let range: BlockRange
        /// Its bitmap of blocks.
        var blockBitmap = BlockNumber(0)
        /// Its bitmap of inodes.
        var inodeBitmap = BlockNumber(0)
        /// Its table of inodes.
        var inodeTable = BlockNumber(0)
        /// Blocks at its start that are a copy of the superblock and of descriptors.
        let copied: UInt64
        /// Blocks from its start on that are taken, those copies included.
        var taken: UInt64
        /// Whether bitmaps or tables lie in it, of its own or of others.
        var hasStructures: Bool { taken > copied }
    }

    /// In order.
    private(set) var groups: [Group] = []

    /// Places the groups that `new` has and a volume of `oldCount` groups has not.
    ///
    /// - Throws: `.noSpace` when structures do not fit into the groups.
    init(_ new: Superblock, from oldCount: UInt32) throws(Ext4Error) {
        guard oldCount < new.groupCount else { return }
        let perFlex = new.incompatible.contains(.flexBg) ? new.groupsPerFlex : 1
        groups.reserveCapacity(Int(new.groupCount &- oldCount))
        for number in oldCount..<new.groupCount {
            let group = GroupNumber(number)
            let range = BlockRange(
                start: new.firstBlock(of: group), count: UInt64(new.blockCount(of: group)))
            let copied = UInt64(new.copiedBlockCount(of: group))
            groups.append(Group(number: group, range: range, copied: copied, taken: copied))
        }
        var first = 0
        while first < groups.count {
            let flex = groups[first].number.rawValue / perFlex
            var end = first &+ 1
            while end < groups.count, groups[end].number.rawValue / perFlex == flex { end &+= 1 }
            let table = UInt64(new.inodeTableBlocks)
            // A copy of these alone: a slice would be one of all groups, each time.
            let empty = Array(groups[first..<end])
            do throws(Ext4Error) {
                try place(first..<end, tableBlocks: table)
            } catch {
                // Side by side the bitmaps of many groups take the room of a table.
                groups.replaceSubrange(first..<end, with: empty)
                for index in first..<end { try place(index..<index &+ 1, tableBlocks: table) }
            }
            first = end
        }
    }

    private mutating func place(
        _ part: Range<Int>, tableBlocks: UInt64
    ) throws(Ext4Error) {
        var room = part.lowerBound
        for index in part { groups[index].blockBitmap = try take(1, in: part, from: &room) }
        for index in part { groups[index].inodeBitmap = try take(1, in: part, from: &room) }
        for index in part {
            groups[index].inodeTable = try take(tableBlocks, in: part, from: &room)
        }
    }

    /// Takes blocks side by side in the first group from `room` on that has as many.
    private mutating func take(
        _ count: UInt64, in part: Range<Int>, from room: inout Int
    ) throws(Ext4Error) -> BlockNumber {
        while room < part.upperBound {
            let group = groups[room]
            if count <= group.range.count &- group.taken {
                groups[room].taken &+= count
                return group.range.start.advanced(by: group.taken)
            }
            room &+= 1
        }
        throw .noSpace
    }

    /// Blocks that the structures take, copies included.
    var overhead: UInt64 { groups.reduce(0) { $0 &+ $1.taken } }

    /// Blocks that are free in them.
    var freeBlocks: UInt64 { groups.reduce(0) { $0 &+ ($1.range.count &- $1.taken) } }
}
