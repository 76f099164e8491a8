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
            self = .extents(ExtentTree(reader: reader, owner: owner, record: record))
        } else {
            self = .indirect(IndirectMap(reader: reader, owner: owner, record: record))
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
    ///   has: an indirect map whose pointers lead back to one another would go on for ages.
    func runs(
        from start: LogicalBlock = .init(0), to end: LogicalBlock = .end, volumeBlocks: UInt64
    ) throws(Ext4Error) -> [BlockRun] {
        var runs: [BlockRun] = []
        var next = start
        var claimed: UInt64 = 0
        while next < end {
            let run = try self.run(at: next).suffix(from: next)
            next = run.end
            if case .hole = run.state { continue }
            claimed &+= run.count
            guard claimed <= volumeBlocks else { throw .corrupt(.indirectBlock, .cycle) }
            if let merged = runs.last?.merged(with: run) {
                runs[runs.count - 1] = merged
            } else {
                runs.append(run)
            }
        }
        return runs
    }
}
