// Mapping and removing ranges of a file with an indirect map.

extension MapEditor {
    /// `insert` for an indirect map.
    mutating func insertPointers(_ run: BlockRun, in handle: inout Handle) throws(Ext4Error) {
        guard case .mapped(let start) = run.state else { throw .notSupported }
        guard run.count > 0, reader.superblock.contains(start, count: run.count) else {
            throw .invalidArgument
        }
        guard run.logical < .end, run.count <= LogicalBlock.end.rawValue &- run.logical.rawValue,
            run.end.rawValue <= IndirectMap.directCount
                || pointers.place(of: LogicalBlock(run.end.rawValue &- 1)) != nil
        else { throw .fileTooLarge }
        // A pointer has 32 bits: what lies behind them is no room for this file.
        guard start.rawValue &+ run.count <= 1 << 32 else { throw .noSpace }
        var rest = run
        while let start = rest.start {
            let done =
                if rest.logical.rawValue < IndirectMap.directCount {
                    try insertDirect(rest, at: start)
                } else {
                    try insertPiece(of: rest, at: start, in: &handle)
                }
            guard done < rest.count else { return }
            rest = rest.suffix(from: LogicalBlock(rest.logical.rawValue &+ done))
        }
    }

    /// Maps as much from the start of `run` on as the inode has pointers for.
    private mutating func insertDirect(
        _ run: BlockRun, at start: BlockNumber
    ) throws(Ext4Error) -> UInt64 {
        let slot = Int(run.logical.rawValue)
        let count = min(run.count, IndirectMap.directCount &- run.logical.rawValue)
        let slots = slot..<slot &+ Int(count)
        guard root.withBytes({ Self.areZero(slots, in: $0) }) else {
            throw alreadyMapped(run.logical)
        }
        rootChanged = true
        root.withMutableBytes { Self.set(slots, in: &$0, to: start) }
        return count
    }

    /// Maps as much from the start of `run` on as one block of pointers has room for.
    private mutating func insertPiece(
        of run: BlockRun, at start: BlockNumber, in handle: inout Handle
    ) throws(Ext4Error) -> UInt64 {
        let map = pointers
        guard let (level, offset) = map.place(of: run.logical) else { throw .fileTooLarge }
        let perBlock: UInt64 = 1 << map.perBlockLog2
        let count = min(run.count, perBlock &- (offset & (perBlock &- 1)))
        func slot(_ level: UInt64) -> Int {
            Int((offset >> (level &* map.perBlockLog2)) & (perBlock &- 1))
        }
        let slots = slot(0)..<slot(0) &+ Int(count)

        // As far down as there are blocks.
        var missing = level
        var parent: Buffer?
        var pointer = root.pointer(Int(IndirectMap.directCount &+ level &- 1))
        while missing > 0, pointer != 0 {
            let buffer = try pointerBlock(pointer, at: run.logical)
            missing &-= 1
            let next = slot(missing)
            pointer = buffer.withBytes { $0[IndirectMap.pointer(next)] }
            parent = buffer
        }
        if missing == 0, let leaf = parent {
            guard leaf.withBytes({ Self.areZero(slots, in: $0) }) else {
                throw alreadyMapped(run.logical)
            }
            handle.preserve(leaf)
            handle.modify(leaf, seal: Buffer.Seal.none) { Self.set(slots, in: &$0, to: start) }
            return count
        }

        // The missing ones, the lowest last; each is ready before the one above leads to it.
        var blocks: [BlockNumber] = []
        for _ in 0..<missing {
            let block = try allocateBlock(near: blocks.last ?? start, in: &handle)
            guard block.rawValue < 1 << 32 else { throw .noSpace }
            blocks.append(block)
        }
        var target = start
        var targetSlots = slots
        var depth: UInt64 = 0
        for block in blocks.reversed() {
            let buffer = handle.fresh(block, in: reader.cache, seal: .none)
            handle.modify(buffer) { Self.set(targetSlots, in: &$0, to: target) }
            target = block
            depth &+= 1
            targetSlots = slot(depth)..<slot(depth) &+ 1
        }
        if let parent {
            handle.preserve(parent)
            handle.modify(parent, seal: Buffer.Seal.none) {
                Self.set(targetSlots, in: &$0, to: target)
            }
        } else {
            let top = Int(IndirectMap.directCount &+ level &- 1)
            rootChanged = true
            root.withMutableBytes { Self.set(top..<top &+ 1, in: &$0, to: target) }
        }
        return count
    }

    // MARK: Less

    /// `remove` for an indirect map.
    mutating func removePointers(
        _ removal: inout MapRemoval, in handle: inout Handle
    ) throws(Ext4Error) {
        let perBlockLog2 = pointers.perBlockLog2
        var entered: Set<BlockNumber> = []
        for level in (1...IndirectMap.maximumLevel).reversed() {
            guard !removal.isDone, !removal.isExhausted else { return }
            var first = IndirectMap.directCount
            for lower in 1..<level { first &+= 1 << (lower &* perBlockLog2) }
            guard removal.end.rawValue > first else { continue }
            // Behind the last tree there is nothing.
            removal.advance(to: LogicalBlock(first &+ 1 << (level &* perBlockLog2)))
            let top = Int(IndirectMap.directCount &+ level &- 1)
            let pointer = root.pointer(top)
            guard pointer != 0 else {
                removal.advance(to: LogicalBlock(first))
                continue
            }
            let isEmpty = try clear(
                pointer, level: level, from: first, &removal, &entered, in: &handle)
            guard isEmpty else { continue }
            try freeBlock(BlockNumber(UInt64(pointer)), in: &handle)
            rootChanged = true
            root.withMutableBytes { $0[IndirectMap.pointer(top)] = 0 }
        }
        guard !removal.isDone, !removal.isExhausted, removal.end.rawValue <= IndirectMap.directCount
        else { return }
        let cleared = try root.withBytes { (bytes) throws(Ext4Error) in
            try collect(&removal, in: bytes, from: 0)
        }
        guard !cleared.isEmpty else { return }
        rootChanged = true
        root.withMutableBytes { Self.clear(cleared, in: &$0) }
    }

    /// Removes what a block of pointers, and those below it, lead to, as far as the removal goes.
    ///
    /// - Parameter first: the first block of the file that it is about.
    /// - Returns: whether it leads to nothing any more; then it is as it was, and the caller frees
    ///   it.
    private mutating func clear(
        _ pointer: UInt32, level: UInt64, from first: UInt64, _ removal: inout MapRemoval,
        _ entered: inout Set<BlockNumber>, in handle: inout Handle
    ) throws(Ext4Error) -> Bool {
        let block = BlockNumber(UInt64(pointer))
        guard entered.insert(block).inserted else {
            throw .corrupt(
                .indirectBlock,
                at: .init(
                    inode: owner.inode, logicalBlock: LogicalBlock(first), block: block), .cycle)
        }
        let buffer = try pointerBlock(pointer, at: LogicalBlock(first))
        let perBlockLog2 = pointers.perBlockLog2
        let spanLog2 = (level &- 1) &* perBlockLog2
        // Slots that lead to nothing any more.
        var cleared: [Int] = []
        if level == 1 {
            cleared = try buffer.withBytes { (bytes) throws(Ext4Error) in
                try collect(&removal, in: bytes, from: first)
            }
        } else {
            var slot = Int((removal.end.rawValue &- 1 &- first) >> spanLog2)
            while slot >= 0, !removal.isDone, !removal.isExhausted {
                let start = first &+ UInt64(slot) << spanLog2
                let child = buffer.withBytes { $0[IndirectMap.pointer(slot)] }
                if child != 0 {
                    let isEmpty = try clear(
                        child, level: level &- 1, from: start, &removal, &entered, in: &handle)
                    if isEmpty {
                        try freeBlock(BlockNumber(UInt64(child)), in: &handle)
                        cleared.append(slot)
                    }
                } else {
                    removal.advance(to: LogicalBlock(start))
                }
                slot &-= 1
            }
        }
        removal.countNode()
        let used = buffer.withBytes { bytes in
            var used = 0
            for slot in 0..<1 << Int(perBlockLog2) where bytes[IndirectMap.pointer(slot)] != 0 {
                used &+= 1
            }
            return used
        }
        guard used > cleared.count else { return true }
        guard !cleared.isEmpty else { return false }
        handle.preserve(buffer)
        handle.modify(buffer, seal: Buffer.Seal.none) { Self.clear(cleared, in: &$0) }
        return false
    }

    /// Collects what pointers to contents lead to, as far as the removal goes; the pointer of file
    /// block `first` is the first one.
    ///
    /// - Returns: the slots that are to become zero, none of which is.
    private func collect(
        _ removal: inout MapRemoval, in pointers: RawSpan, from first: UInt64
    ) throws(Ext4Error) -> [Int] {
        let lowest = Int(max(removal.range.lowerBound.rawValue, first) &- first)
        var slot = Int(removal.end.rawValue &- first)
        var cleared: [Int] = []
        while slot > lowest, !removal.isExhausted {
            slot &-= 1
            let value = pointers[IndirectMap.pointer(slot)]
            guard value != 0 else {
                removal.advance(to: LogicalBlock(first &+ UInt64(slot)))
                continue
            }
            cleared.append(slot)
            var start = value
            while slot > lowest, start > 1,
                pointers[IndirectMap.pointer(slot &- 1)] == start &- 1
            {
                slot &-= 1
                start &-= 1
                cleared.append(slot)
            }
            let count = UInt64(value &- start) &+ 1
            let block = BlockNumber(UInt64(start))
            guard reader.superblock.contains(block, count: count) else {
                throw .corrupt(
                    .indirectBlock,
                    at: .init(
                        inode: owner.inode, logicalBlock: LogicalBlock(first &+ UInt64(slot))),
                    .field("block pointer", value: block.rawValue, rule: "inside the volume"))
            }
            removal.free(
                BlockRun(
                    logical: LogicalBlock(first &+ UInt64(slot)), count: count,
                    state: .mapped(block)))
        }
        return cleared
    }

    // MARK: Pointers

    /// The block of pointers that `pointer` leads to.
    private func pointerBlock(
        _ pointer: UInt32, at block: LogicalBlock
    ) throws(Ext4Error) -> Buffer {
        try reader.buffer(
            of: BlockNumber(UInt64(pointer)), for: .indirectBlock,
            at: .init(inode: owner.inode, logicalBlock: block))
    }

    private static func areZero(_ slots: Range<Int>, in bytes: RawSpan) -> Bool {
        for slot in slots where bytes[IndirectMap.pointer(slot)] != 0 { return false }
        return true
    }

    /// Makes `slots` lead to consecutive blocks.
    private static func set(
        _ slots: Range<Int>, in bytes: inout MutableRawSpan, to start: BlockNumber
    ) {
        var block = UInt32(truncatingIfNeeded: start.rawValue)
        for slot in slots {
            bytes[IndirectMap.pointer(slot)] = block
            block &+= 1
        }
    }

    private static func clear(_ slots: [Int], in bytes: inout MutableRawSpan) {
        for slot in slots { bytes[IndirectMap.pointer(slot)] = 0 }
    }
}
