/// Where blocks go that lie in the way of structures: to other places in the same order, as few
/// pieces as the places are.
package struct Relocation {
    /// Blocks that stay together.
    struct Move {
        let from: Range<UInt64>
        /// Where the first of them goes.
        let to: UInt64
    }

    /// All blocks that there are, in order, those that stay where they are, too.
    private(set) var moves: [Move] = []

    /// Nothing that could move.
    init() {}

    /// Puts the blocks of `taken` into `room`, both in order; nil when that has too few.
    init?(of taken: [Range<UInt64>], to room: [Range<UInt64>]) {
        var index = 0
        var start = room.first?.lowerBound ?? 0
        for range in taken {
            var rest = range
            while !rest.isEmpty {
                guard index < room.count else { return nil }
                let end = min(rest.upperBound, rest.lowerBound + (room[index].upperBound - start))
                moves.append(Move(from: rest.lowerBound..<end, to: start))
                start += end - rest.lowerBound
                rest = end..<rest.upperBound
                guard start == room[index].upperBound else { continue }
                index += 1
                start = index < room.count ? room[index].lowerBound : 0
            }
        }
    }

    /// The places of all blocks, in order.
    var places: [Range<UInt64>] {
        moves.map { $0.to..<$0.to + ($0.from.upperBound - $0.from.lowerBound) }
    }

    /// A file's runs as they lie afterwards.
    func moved(_ runs: [BlockRun]) -> [BlockRun] {
        var moved: [BlockRun] = []
        for run in runs {
            var rest = run
            while let start = rest.start?.rawValue, let move = move(of: start) {
                let part = rest.prefix(min(rest.count, move.from.upperBound - start))
                let place = BlockRun(
                    logical: part.logical, count: part.count,
                    state: .mapped(BlockNumber(move.to + (start - move.from.lowerBound))))
                if let last = moved.last, let merged = last.merged(with: place) {
                    moved[moved.count - 1] = merged
                } else {
                    moved.append(place)
                }
                guard part.count < rest.count else { break }
                rest = rest.suffix(from: part.end)
            }
        }
        return moved
    }

    private func move(of block: UInt64) -> Move? {
        var (low, high) = (0, moves.count)
        while low < high {
            let middle = (low + high) / 2
            if moves[middle].from.upperBound <= block { low = middle + 1 } else { high = middle }
        }
        return low < moves.count && moves[low].from.contains(block) ? moves[low] : nil
    }
}

extension VolumeMaker {
    /// Bytes that are copied in one request.
    private static let chunk: UInt64 = 4 << 20

    /// Moves what was written, and makes zeros of where it was.
    ///
    /// - Parameter goesOn: told how many blocks were moved, of how many; false breaks it off.
    /// - Throws: `.notPermitted` when it was broken off; `.io`.
    func carryOut(
        _ relocation: Relocation, _ goesOn: (UInt64, UInt64) -> Bool = { _, _ in true }
    ) throws(Ext4Error) {
        let all = relocation.moves.filter { $0.to != $0.from.lowerBound }
            .reduce(UInt64(0)) { $0 + UInt64($1.from.count) }
        var moved: UInt64 = 0
        func tell(_ count: UInt64) -> Bool {
            moved += count
            return goesOn(moved, all)
        }
        // First what goes towards the start, from the start on, then what goes towards the end,
        // from there: as the order stays, nothing is written over that is yet to move.
        for move in relocation.moves where move.to < move.from.lowerBound {
            try copy(move, backwards: false, tell)
        }
        for move in relocation.moves.reversed() where move.to > move.from.lowerBound {
            try copy(move, backwards: true, tell)
        }
        var left = NumberRanges()
        for move in relocation.moves { left.insert(move.from) }
        taken = NumberRanges()
        for place in relocation.places {
            taken.insert(place)
            left.remove(place)
        }
        // Tables and the journal are not written where the device reads as zeros.
        for range in left.ranges { try makeZeros(range) }
    }

    private func copy(
        _ move: Relocation.Move, backwards: Bool, _ goesOn: (UInt64) -> Bool
    ) throws(Ext4Error) {
        let log2 = UInt64(superblock.blockSizeLog2)
        let count = move.from.upperBound - move.from.lowerBound
        let most = max(Self.chunk >> log2, 1)
        var done: UInt64 = 0
        while done < count {
            let part = min(count - done, most)
            let offset = backwards ? count - done - part : done
            let bytes = try device.read(
                at: (move.from.lowerBound + offset) << log2, count: Int(part << log2))
            try device.write(unsafe bytes.span.bytes, at: (move.to + offset) << log2)
            done += part
            guard goesOn(part) else { throw .notPermitted }
        }
    }

    /// Makes blocks that were written and are nobody's any more read as zeros again, on a device
    /// that did so.
    func makeZeros(_ blocks: Range<UInt64>) throws(Ext4Error) {
        if isZeroed { try clear(blocks) }
    }
}
