/// Where the blocks of a journal lie on the volume: the runs of its inode, in order.
package struct JournalLocation: Hashable, Sendable {
    /// Consecutive blocks.
    package struct Run: Hashable, Sendable {
        package let firstBlock: BlockNumber
        package let count: UInt64

        /// `count` blocks from `firstBlock` on.
        package init(firstBlock: BlockNumber, count: UInt64) {
            self.firstBlock = firstBlock
            self.count = count
        }
    }

    /// A run and what comes before it.
    private struct Piece: Hashable, Sendable {
        package let index: UInt64
        package let firstBlock: UInt64
        package let count: UInt64
    }

    /// By index in the journal.
    private let pieces: [Piece]
    /// By place on the volume, for the question whether a block belongs to the journal.
    private let places: [Piece]
    /// How many blocks the journal has.
    package let blockCount: UInt64

    /// Takes the runs of the journal's inode, from its first block on and without holes.
    ///
    /// - Throws: `Ext4Error.corrupt` when a run does not lie on `volume`, or two overlap.
    package init(_ runs: [Run], on volume: JournalledVolume) throws(Ext4Error) {
        var pieces: [Piece] = []
        var index: UInt64 = 0
        for run in runs where run.count > 0 {
            let first = run.firstBlock.rawValue
            guard
                first >= volume.firstDataBlock, first < volume.blocksCount,
                run.count <= volume.blocksCount &- first
            else {
                throw .corrupt(
                    .journal, at: .init(block: run.firstBlock),
                    .broken("\(run.count) blocks of the journal lie outside the volume"))
            }
            pieces.append(Piece(index: index, firstBlock: first, count: run.count))
            let (sum, overflow) = index.addingReportingOverflow(run.count)
            guard !overflow else {
                throw .corrupt(.journal, .broken("the journal has too many blocks"))
            }
            index = sum
        }
        let places = pieces.sorted { $0.firstBlock < $1.firstBlock }
        for (earlier, later) in zip(places, places.dropFirst())
        where later.firstBlock &- earlier.firstBlock < earlier.count {
            throw .corrupt(
                .journal, at: .init(block: BlockNumber(later.firstBlock)),
                .broken("the block is in the journal twice"))
        }
        self.pieces = pieces
        self.places = places
        blockCount = index
    }

    /// The blocks of the volume that are the journal's.
    package var ranges: [BlockRange] {
        places.map { BlockRange(start: BlockNumber($0.firstBlock), count: $0.count) }
    }

    /// The place of the journal's block `index` on the volume; nil behind its end.
    package func block(_ index: UInt64) -> BlockNumber? {
        run(at: index)?.firstBlock
    }

    /// The blocks from the journal's block `index` on that lie side by side on the volume.
    package func run(at index: UInt64) -> Run? {
        guard let piece = Self.last(of: pieces, where: { $0.index <= index }) else { return nil }
        let within = index &- piece.index
        guard within < piece.count else { return nil }
        return Run(
            firstBlock: BlockNumber(piece.firstBlock &+ within), count: piece.count &- within)
    }

    /// Whether `block` of the volume belongs to the journal.
    package func contains(_ block: BlockNumber) -> Bool {
        let number = block.rawValue
        guard let piece = Self.last(of: places, where: { $0.firstBlock <= number }) else {
            return false
        }
        return number &- piece.firstBlock < piece.count
    }

    /// The last of the pieces for which `isBefore` holds; it holds for the first ones only.
    private static func last(of pieces: [Piece], where isBefore: (Piece) -> Bool) -> Piece? {
        var low = 0
        var high = pieces.count
        while low < high {
            let middle = (low &+ high) / 2
            if isBefore(pieces[middle]) { low = middle &+ 1 } else { high = middle }
        }
        return low == 0 ? nil : pieces[low &- 1]
    }
}

/// What recovery has to know of the volume that a journal belongs to.
package struct JournalledVolume: Hashable, Sendable {
    package let blockSize: Int
    package let blocksCount: UInt64
    package let firstDataBlock: UInt64

    /// What of a volume matters to a journal.
    package init(blockSize: Int, blocksCount: UInt64, firstDataBlock: UInt64) {
        self.blockSize = blockSize
        self.blocksCount = blocksCount
        self.firstDataBlock = firstDataBlock
    }
}
