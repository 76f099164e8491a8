import Synchronization

/// What a volume that is open for writing has besides.
final class Writing: Sendable {
    let journal: Journal
    let blocks: BlockAllocator
    let inodes: InodeAllocator
    let orphans: Orphans
    /// Blocks that are set aside for files that grow.
    let windows: ReservationWindows
    /// The block with the primary superblock, and where in it.
    let superblock: SuperblockBuffer
    /// Held while a directory gets another parent, so that nobody makes a circle of two.
    let renaming = SharedLock()
    /// The blocks of attributes, which inodes share.
    let sharedAttributes = SharedAttributes()
    let clock: @Sendable () -> Timestamp
    let dataMode: OpenOptions.DataMode
    let errorPolicy: OpenOptions.ErrorPolicy
    let accessTimes: OpenOptions.AccessTimePolicy
    let inheritsGroup: Bool
    /// What the volume was opened with.
    let options: OpenOptions
    /// Whether the volume was sound when it was opened: closed, it is said to be so again.
    let wasValid: Bool
    /// Told apart from the volume's other generations of inode numbers.
    private let generations = Atomic<UInt32>(0)

    init(
        journal: Journal, blocks: BlockAllocator, inodes: InodeAllocator, orphans: Orphans,
        superblock: SuperblockBuffer, errorPolicy: OpenOptions.ErrorPolicy, options: OpenOptions,
        wasValid: Bool
    ) {
        self.journal = journal
        self.blocks = blocks
        self.inodes = inodes
        self.orphans = orphans
        self.superblock = superblock
        windows = ReservationWindows(blocks)
        self.errorPolicy = errorPolicy
        self.options = options
        self.wasValid = wasValid
        clock = options.clock
        dataMode = options.dataMode
        accessTimes = options.accessTimes
        inheritsGroup = options.inheritsGroup
        let now = options.clock()
        generations.store(
            UInt32(truncatingIfNeeded: now.seconds) &* 2_654_435_761 ^ now.nanoseconds,
            ordering: .relaxed)
    }

    /// A generation for a new inode: another one than the number's last user had, in all
    /// likelihood. Handles of an exported volume tell a file from its successor by it.
    func nextGeneration() -> UInt32 {
        let count = generations.add(1, ordering: .relaxed).newValue
        var mixed = count &* 0x9E37_79B9
        mixed ^= mixed >> 16
        return mixed &* 0x85EB_CA6B
    }
}

extension Volume {
    /// Whether the volume is open for writing, and still can be written to.
    public var isWritable: Bool {
        guard let writing else { return false }
        return writing.journal.failure == nil
    }

    /// What it takes to write.
    ///
    /// - Throws: `.readOnlyVolume` for a volume that is open for reading, or that was given up.
    func requireWriting() throws(Ext4Error) -> Writing {
        guard let writing, writing.journal.failure == nil else { throw .readOnlyVolume }
        return writing
    }

    /// Changes metadata: `body` happens as a whole or not at all. The locks of all inodes that it
    /// changes are held by the caller.
    ///
    /// When the volume seems full, but blocks are waiting for the commit of what freed them, that
    /// commit is made and `body` is run again.
    ///
    /// - Parameter credits: how many blocks `body` will change, about.
    func change<Result>(
        credits: Int = 24,
        _ body: (inout Handle, Writing) throws(Ext4Error) -> Result
    ) throws(Ext4Error) -> Result {
        let writing = try requireWriting()
        let credits = min(credits, writing.journal.largestTransaction)
        do throws(Ext4Error) {
            do throws(Ext4Error) {
                return try writing.journal.withHandle(credits: credits) {
                    (handle) throws(Ext4Error) in
                    try body(&handle, writing)
                }
            } catch {
                guard error == .noSpace,
                    writing.blocks.hasBlocksAwaitingCommit
                        || writing.inodes.hasInodesAwaitingCommit
                else { throw error }
                try writing.journal.commitRunning()
                return try writing.journal.withHandle(credits: credits) {
                    (handle) throws(Ext4Error) in
                    try body(&handle, writing)
                }
            }
        } catch {
            report(error)
            throw error
        }
    }

    /// Changes the record of `inode`; see `InodeTable.update`.
    func update(
        _ inode: Inode, isData: Bool = true, in handle: inout Handle,
        _ body: (inout InodeRecord) throws(Ext4Error) -> Void
    ) throws(Ext4Error) {
        try inodes.update(inode, isData: isData, in: &handle, body)
    }

    /// Does what `errors=` asks for when `error` says that the volume is damaged.
    ///
    /// Callers that read a volume which is open for writing tell of corruption here, too.
    public func report(_ error: Ext4Error) {
        guard let writing, case .corrupt(let corruption) = error else { return }
        writing.superblock.note(corruption, at: writing.clock(), on: device, log: reader.log)
        switch writing.errorPolicy {
        case .goOn: break
        case .remountReadOnly, .panic: writing.journal.fail(error)
        }
    }
}
