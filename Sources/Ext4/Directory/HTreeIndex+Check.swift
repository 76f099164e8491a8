extension HTreeIndex {
    /// Whether every node can be read and has its hashes in order, and they lead to every other
    /// block of the directory once; the leaves are not looked at.
    var isSound: Bool {
        // A node has 28 bits for a block: that bounds what is kept here.
        guard directory.blockCount <= 1 << 28 else { return false }
        var passed = PassedBlocks(count: Int(directory.blockCount))
        do throws(Ext4Error) {
            let isInOrder = try check(rootFrame, level: 0, from: 0, upTo: nil, &passed)
            return isInOrder && passed.areAllButFirst
        } catch {
            return false
        }
    }

    /// Checks a node and what is below it. The level rises to that of the root's levels at most.
    private func check(
        _ frame: Frame, level: Int, from lower: UInt32, upTo upper: UInt32?,
        _ passed: inout PassedBlocks
    ) throws(Ext4Error) -> Bool {
        for index in 0..<frame.node.count {
            var way = frame
            way.index = index
            let bounds = bounds(of: [way])
            let (from, upTo) = (bounds.lower ?? lower, bounds.upper ?? upper)
            let block = try leaf(of: [way])
            guard from >= lower, from <= upTo ?? .max, passed.insert(block) else { return false }
            guard level < root.indirectLevels else { continue }
            let child = try self.frame(of: block, hash: nil)
            guard try check(child, level: level + 1, from: from, upTo: upTo, &passed) else {
                return false
            }
        }
        return true
    }
}

/// Blocks of a directory that a walk came by.
private struct PassedBlocks {
    private var words: [UInt64]
    private var remaining: Int

    /// None of `count` blocks.
    init(count: Int) {
        words = Array(repeating: 0, count: count / 64 + 1)
        remaining = count - 1
    }

    /// Whether the walk came by every block but the first, where it started.
    var areAllButFirst: Bool { remaining == 0 }

    /// Adds a block, which is one of them; false when it was there.
    mutating func insert(_ block: LogicalBlock) -> Bool {
        let word = Int(block.rawValue / 64)
        let bit: UInt64 = 1 << (block.rawValue % 64)
        guard words[word] & bit == 0 else { return false }
        words[word] |= bit
        remaining -= 1
        return true
    }
}
