// Inodes that have no name any more and are still there: open somewhere, or being freed in more
// than one transaction. What a crash leaves behind, the next mount finds by this record.
//
// The format has two: a chain through `i_dtime` of the inodes, whose head is `s_last_orphan`; and
// with the feature orphan_file a file of slots. A file that is full falls back to the chain.
//
// Invariant: the order of `chain` is that of the disk, first the head. An inode is in one place at
// the most.

/// The record of inodes without a name.
final class Orphans: Sendable {
    private let table: InodeTable
    private let state: Monitor<State>

    /// Where an inode is recorded.
    private enum Place {
        case chain
        case slot(block: Int, index: Int)
    }

    private struct State {
        var places: [InodeNumber: Place] = [:]
        var chain: [InodeNumber] = []
        var file: OrphanFile?
    }

    /// A link of the chain: the head in the superblock.
    typealias SetHead = (inout Handle, InodeNumber) -> Void

    init(_ table: InodeTable, file: OrphanFile?) {
        self.table = table
        state = Monitor(State(file: file))
    }

    /// The inodes that are recorded.
    var inodes: [InodeNumber] { state.withLock { Array($0.places.keys) } }

    /// Takes over what the last user of the volume left: the chain from `head` on, and the file.
    ///
    /// - Parameter isOrphan: whether an inode may be on the record.
    /// - Throws: `.corrupt` for a chain that leads to itself or out of the volume.
    func load(
        head: InodeNumber, inodeCount: UInt32, firstInode: InodeNumber
    ) throws(Ext4Error) {
        var chain: [InodeNumber] = []
        var seen: Set<InodeNumber> = []
        var next = head
        while next.rawValue != 0 {
            guard next >= firstInode, next.rawValue <= inodeCount else {
                throw .corrupt(
                    .superblock,
                    .field(
                        "s_last_orphan", value: UInt64(next.rawValue),
                        rule: "a chain of inodes that files can have"))
            }
            guard seen.insert(next).inserted else {
                throw .corrupt(.inode, at: .init(inode: next), .cycle)
            }
            chain.append(next)
            next = InodeNumber(try table.inode(next).deletionTime)
        }
        state.withLock { state in
            state.chain = chain
            for inode in chain { state.places[inode] = .chain }
            for (block, index, inode) in state.file?.recorded ?? []
            where seen.insert(inode).inserted {
                state.places[inode] = .slot(block: block, index: index)
            }
        }
    }

    /// Records `inode`, in the transaction that takes its last name or begins to free its blocks.
    func add(
        _ inode: Inode, in handle: inout Handle, setHead: @escaping SetHead
    ) throws(Ext4Error) {
        guard !handle.journal.has(.orphanNotRecorded) else { return }
        let number = inode.number
        let isRecorded = try state.withLock { (state) throws(Ext4Error) -> Bool in
            guard state.places[number] == nil else { return false }
            if let slot = state.file?.take(number, in: &handle) {
                state.places[number] = .slot(block: slot.block, index: slot.index)
                return true
            }
            let next = state.chain.first?.rawValue ?? 0
            try table.update(inode, isUndone: false, in: &handle) {
                $0[InodeRecord.Layout.deletionTime] = next
            }
            setHead(&handle, number)
            state.chain.insert(number, at: 0)
            state.places[number] = .chain
            return true
        }
        guard isRecorded else { return }
        handle.onFailure { [self] handle in
            try? remove(inode, in: &handle, setHead: setHead)
        }
    }

    /// Takes `inode` from the record; it is freed in the same transaction, or has a name again.
    func remove(
        _ inode: Inode, in handle: inout Handle, setHead: @escaping SetHead
    ) throws(Ext4Error) {
        let number = inode.number
        let wasRecorded = try state.withLock { (state) throws(Ext4Error) -> Bool in
            switch state.places[number] {
            case nil: return false
            case .slot(let block, let index):
                state.file?.give(block: block, index: index, in: &handle)
            case .chain:
                guard let position = state.chain.firstIndex(of: number) else { break }
                let next =
                    position + 1 < state.chain.count ? state.chain[position + 1] : InodeNumber(0)
                // Read before anything is changed: then nothing fails any more.
                let own = try table.place(of: number).buffer
                if position == 0 {
                    setHead(&handle, next)
                } else {
                    let before = try table.inode(state.chain[position - 1])
                    try table.update(before, isUndone: false, in: &handle) {
                        $0[InodeRecord.Layout.deletionTime] = next.rawValue
                    }
                }
                // A link of the chain is no time of deletion: the inode may live on.
                try withExtendedLifetime(own) { () throws(Ext4Error) in
                    try table.update(inode, isUndone: false, in: &handle) {
                        $0[InodeRecord.Layout.deletionTime] = 0
                    }
                }
                state.chain.remove(at: position)
            }
            state.places[number] = nil
            return true
        }
        guard wasRecorded else { return }
        handle.onFailure { [self] handle in
            try? add(inode, in: &handle, setHead: setHead)
        }
    }

    /// Whether `inode` is recorded.
    func contains(_ inode: InodeNumber) -> Bool {
        state.withLock { $0.places[inode] != nil }
    }
}

/// The file of slots (feature orphan_file): blocks that stay in memory.
struct OrphanFile {
    private let owner: BlockOwner
    private var blocks: [Buffer]
    /// Free slots of each block.
    private var free: [Int]
    private let slots: Int

    /// Takes the file's blocks, each checked as an `OrphanFileBlock`.
    init(_ buffers: [Buffer], owner: BlockOwner, blockSize: Int) {
        self.owner = owner
        blocks = buffers
        let count = (blockSize - OrphanFileBlock.Tail.size) / 4
        slots = count
        free = buffers.map { buffer in
            buffer.withBytes { bytes in
                (0..<count).reduce(0) { $0 + (bytes[OrphanFileBlock.slot($1)] == 0 ? 1 : 0) }
            }
        }
    }

    /// Every slot that is in use.
    var recorded: [(block: Int, index: Int, inode: InodeNumber)] {
        var found: [(block: Int, index: Int, inode: InodeNumber)] = []
        for (block, buffer) in blocks.enumerated() where free[block] < slots {
            buffer.withBytes { bytes in
                for index in 0..<slots where bytes[OrphanFileBlock.slot(index)] != 0 {
                    found.append((block, index, InodeNumber(bytes[OrphanFileBlock.slot(index)])))
                }
            }
        }
        return found
    }

    /// Puts `inode` into a free slot; nil when there is none.
    mutating func take(
        _ inode: InodeNumber, in handle: inout Handle
    ) -> (block: Int, index: Int)? {
        guard let block = free.firstIndex(where: { $0 > 0 }) else { return nil }
        let count = slots
        let found = handle.modify(blocks[block], seal: .orphanFile(owner)) { bytes -> Int? in
            for index in 0..<count where bytes[OrphanFileBlock.slot(index)] == 0 {
                bytes[OrphanFileBlock.slot(index)] = inode.rawValue
                return index
            }
            return nil
        }
        guard let found else { return nil }
        free[block] -= 1
        return (block, found)
    }

    /// Frees a slot.
    mutating func give(block: Int, index: Int, in handle: inout Handle) {
        handle.modify(blocks[block], seal: .orphanFile(owner)) {
            $0[OrphanFileBlock.slot(index)] = 0
        }
        free[block] += 1
    }
}
