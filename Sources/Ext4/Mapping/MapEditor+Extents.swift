// Mapping, converting and removing ranges of a file with an extent tree.

extension MapEditor {
    /// `insert` for an extent tree.
    mutating func insertExtents(_ run: BlockRun, in handle: inout Handle) throws(Ext4Error) {
        guard run.logical < Self.extentsEnd,
            run.count <= Self.extentsEnd.rawValue &- run.logical.rawValue
        else { throw .fileTooLarge }
        guard run.count > 0, let start = run.start,
            reader.superblock.contains(start, count: run.count)
        else { throw .invalidArgument }
        var rest = run
        while true {
            let done = try insertPiece(of: rest, in: &handle)
            guard done < rest.count else { break }
            rest = rest.suffix(from: LogicalBlock(rest.logical.rawValue &+ done))
        }
        try collapse(in: &handle)
    }

    /// Maps as much from the start of `run` on as one extent and one leaf can have.
    private mutating func insertPiece(
        of run: BlockRun, in handle: inout Handle
    ) throws(Ext4Error) -> UInt64 {
        var path = try tree.path(to: run.logical)
        let slot = path.leafSlot
        let longest = ExtentNode.longest(run)
        let piece = run.prefix(
            min(longest, path.range.upperBound.rawValue &- run.logical.rawValue))
        var slots = slot &+ 1..<slot &+ 1
        var runs = RunList()
        try withNode(path.depth, of: path) { (leaf) throws(Ext4Error) in
            if slot >= 0 {
                let left = ExtentNode.extent(leaf, slot)
                guard left.end <= run.logical else { throw alreadyMapped(run.logical) }
                if left.count < longest, left.merged(with: piece) != nil {
                    runs.append(left)
                    slots = slot..<slots.upperBound
                }
            }
            runs.append(piece)
            guard slots.upperBound < ExtentNode.count(leaf) else { return }
            let right = ExtentNode.extent(leaf, slots.upperBound)
            guard right.logical >= run.end else { throw alreadyMapped(right.logical) }
            if let merged = runs[runs.count &- 1].merged(with: right), merged.count <= longest {
                runs.append(right)
                slots = slots.lowerBound..<slots.upperBound &+ 1
            }
        }
        try replace(slots, of: &path, with: runs, in: &handle)
        return piece.count
    }

    /// `convert` for an extent tree: extent by extent.
    mutating func convertExtents(
        _ range: Range<LogicalBlock>, toWritten isWritten: Bool, in handle: inout Handle
    ) throws(Ext4Error) {
        var position = range.lowerBound
        let end = min(range.upperBound, .end)
        // Every step moves on, to the end of an extent or to the next one.
        while position < end {
            var path = try tree.path(to: position)
            let slot = path.leafSlot
            var slots = slot..<slot &+ 1
            var runs = RunList()
            withNode(path.depth, of: path) { leaf in
                let count = ExtentNode.count(leaf)
                guard slot >= 0, ExtentNode.extent(leaf, slot).contains(position) else {
                    slots = slot..<slot
                    position =
                        slot &+ 1 < count
                        ? ExtentNode.key(leaf, slot &+ 1) : path.range.upperBound
                    return
                }
                let extent = ExtentNode.extent(leaf, slot)
                let head = extent.prefix(position.rawValue &- extent.logical.rawValue)
                let rest = extent.suffix(from: position)
                let part = rest.prefix(end.rawValue &- position.rawValue)
                position = part.end
                let converted = part.asWritten(isWritten)
                guard converted != part else {
                    slots = slot..<slot
                    return
                }
                if head.count > 0 {
                    runs.add(head)
                } else if slot > 0 {
                    let left = ExtentNode.extent(leaf, slot &- 1)
                    if left.count < ExtentNode.longest(left), left.merged(with: converted) != nil {
                        runs.add(left)
                        slots = slot &- 1..<slots.upperBound
                    }
                }
                runs.append(converted)
                if part.count < rest.count {
                    runs.add(rest.suffix(from: position))
                } else if slot &+ 1 < count {
                    let right = ExtentNode.extent(leaf, slot &+ 1)
                    if let merged = runs[runs.count &- 1].merged(with: right),
                        merged.count <= ExtentNode.longest(right)
                    {
                        runs.append(right)
                        slots = slots.lowerBound..<slots.upperBound &+ 1
                    }
                }
            }
            if !slots.isEmpty { try replace(slots, of: &path, with: runs, in: &handle) }
        }
        try collapse(in: &handle)
    }

    // MARK: Less

    /// `remove` for an extent tree.
    mutating func removeExtents(
        _ removal: inout MapRemoval, in handle: inout Handle
    ) throws(Ext4Error) {
        let range = removal.range
        while !removal.isDone, !removal.isExhausted {
            guard var path = try lastExtent(before: removal.end) else {
                removal.advance(to: range.lowerBound)
                break
            }
            // What is left of the first extent, and of the last.
            var head: BlockRun?
            var tail: BlockRun?
            let slot = path.leafSlot
            var first = slot &+ 1
            withNode(path.depth, of: path) { leaf in
                while first > 0, !removal.isExhausted {
                    let extent = ExtentNode.extent(leaf, first &- 1)
                    guard extent.end > range.lowerBound else { break }
                    first &-= 1
                    let end = min(extent.end, removal.end)
                    var start = max(extent.logical, range.lowerBound)
                    if end.rawValue &- start.rawValue > removal.mostBlocks {
                        start = LogicalBlock(end.rawValue &- removal.mostBlocks)
                    }
                    if start > extent.logical {
                        head = extent.prefix(start.rawValue &- extent.logical.rawValue)
                    }
                    if end < extent.end { tail = extent.suffix(from: end) }
                    removal.free(
                        extent.suffix(from: start).prefix(end.rawValue &- start.rawValue))
                }
            }
            guard first <= slot else {
                removal.advance(to: range.lowerBound)
                break
            }
            var rest = RunList()
            if let head { rest.add(head) }
            if let tail { rest.add(tail) }
            try replace(first..<slot &+ 1, of: &path, with: rest, in: &handle)
            removal.countNode()
        }
        try collapse(in: &handle)
    }

    /// The way to the last extent that starts before `end`; nil when there is none.
    func lastExtent(before end: LogicalBlock) throws(Ext4Error) -> ExtentPath? {
        var end = end
        while end.rawValue > 0 {
            let path = try tree.path(to: LogicalBlock(end.rawValue &- 1))
            guard path.leafSlot < 0 else { return path }
            // A leaf that is empty, or starts behind the key that leads to it, sends to the one
            // before it; the key is lower than where the search began, or this is the first leaf.
            guard path.range.lowerBound < end else { return nil }
            end = path.range.lowerBound
        }
        return nil
    }
}

extension BlockRun {
    /// The same blocks, written or unwritten.
    fileprivate func asWritten(_ isWritten: Bool) -> BlockRun {
        guard let start else { return self }
        return BlockRun(
            logical: logical, count: count, state: isWritten ? .mapped(start) : .unwritten(start))
    }
}
