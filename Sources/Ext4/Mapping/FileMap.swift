/// The map of a file, of whichever kind its inode has.
enum FileMap: Sendable {
    case extents(ExtentTree)
    case indirect(IndirectMap)
    /// No blocks at all: the contents stand in the inode.
    case none

    init(_ record: InodeRecord, flags: InodeFlags, owner: BlockOwner, reader: BlockReader) {
        if flags.contains(.inlineData) {
            self = .none
        } else if flags.contains(.extents) {
            self = .extents(ExtentTree(reader: reader, owner: owner, root: MapRoot(record)))
        } else {
            self = .indirect(IndirectMap(reader: reader, owner: owner, root: MapRoot(record)))
        }
    }

    /// The run that holds `block`; see the kinds for where it may be cut.
    func run(at block: LogicalBlock) throws(Ext4Error) -> BlockRun {
        switch self {
        case .extents(let tree): try tree.run(at: block)
        case .indirect(let map): try map.run(at: block)
        case .none:
            .hole(from: block)
        }
    }

    /// Every mapped or unwritten run from `start` up to `end`, in order, adjacent ones in one.
    ///
    /// - Throws: what a map throws; `.corrupt` when the file claims more blocks than the volume
    ///   has.
    func runs(
        from start: LogicalBlock = .init(0), to end: LogicalBlock = .end, volumeBlocks: UInt64
    ) throws(Ext4Error) -> [BlockRun] {
        var runs: [BlockRun] = []
        var next = start
        var claimed: UInt64 = 0
        var entered: Set<BlockNumber>? = []
        let end = min(end, .end)
        while next < end {
            let found =
                if case .indirect(let map) = self {
                    try map.run(at: next, entering: &entered)
                } else {
                    try run(at: next)
                }
            let run = found.suffix(from: next)
            next = run.end
            if case .hole = run.state { continue }
            claimed &+= run.count
            guard claimed <= volumeBlocks else { throw overclaimed }
            if let merged = runs.last?.merged(with: run) {
                runs[runs.count - 1] = merged
            } else {
                runs.append(run)
            }
        }
        return runs
    }

    /// The error for a file that claims more blocks than there are.
    private var overclaimed: Ext4Error {
        let owner: InodeNumber? =
            switch self {
            case .extents(let tree): tree.owner.inode
            case .indirect(let map): map.owner.inode
            case .none: nil
            }
        return .corrupt(
            .inode, at: .init(inode: owner),
            .broken("its map holds more blocks than the volume has"))
    }
}
