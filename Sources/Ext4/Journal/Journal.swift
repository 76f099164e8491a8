// The journal of a volume that is open for writing.
//
// Invariants:
// 1. At most one transaction is running, and at most one is being committed.
// 2. A commit block is written only after a flush that made the whole transaction before it
//    durable, and counts only after another flush.
// 3. The log's tail moves only after a flush that made the blocks of the transactions it leaves
//    behind durable in their places; that space is used again only after the tail is durable.
// 4. Commits and checkpoints exclude each other: a block whose copy is on its way to its place is
//    not freed and used again meanwhile.
// 5. After a failure nothing is written any more: no commit block, no tail.
//
//            start()            commit()                 checkpoint()
//   (none) ----------> running ----------> committing ----------------> in the log ----> in place
//                         ^  the next one starts as soon as this one is frozen  |
//
// Where the log is in its ring: `tail` is the first block in use, `head` the first that is free;
// `used` tells a full ring from an empty one.

/// The journal of a volume that is open for writing (jbd2, on the disk).
///
/// A volume without a log has one too: its commits write the blocks to their places, which is no
/// more than what such a volume promises, and everything above is the same.
final class Journal: Sendable {
    let device: any BlockDevice
    /// The log; nil when the volume has none.
    let area: LogArea?
    let format: JournalFormat
    /// Whether blocks have checksums, to be made when a transaction is frozen.
    private let sealsBlocks: Bool
    /// Called before a transaction is frozen, when no handle is open, to bring up to date what is
    /// kept so only once a transaction.
    let beforeFreeze: Guarded<(@Sendable () -> Void)?> = Guarded(nil)
    let clock: @Sendable () -> Timestamp
    let log: Log
    let monitor: Monitor<State>
    #if MUTANTS
        let mutant = Guarded<Mutant?>(nil)
        /// Where contents wait, with the fault `dataTooLate`.
        let lateDevice = Guarded<LateDevice?>(nil)
    #endif

    /// The most blocks a transaction takes: a quarter of the log, so that several fit.
    let largestTransaction: Int
    /// The memory for copies of committed blocks that are not in their places yet, in bytes; more
    /// than that starts a checkpoint.
    let imageBudget: Int

    /// What the monitor guards.
    struct State {
        var running: Transaction?
        /// No handle may start: the running transaction is being frozen.
        var isFreezing = false
        /// A thread is committing or checkpointing.
        var isBusy = false
        var nextID: TransactionID
        var lastCommitted: TransactionID
        /// Committed and not all in place, oldest first.
        var committed: [LoggedTransaction] = []
        var head: UInt32
        var tail: UInt32
        var used: UInt32 = 0
        /// Whether the superblock on the disk says that the log is in use.
        var isMarked = false
        /// Why nothing is written any more.
        var failure: Ext4Error?
        /// The journal superblock's bytes, as they are on the disk.
        var superblock: [UInt8]
    }

    /// A committed transaction and the part of the log it takes.
    struct LoggedTransaction {
        let image: TransactionImage
        let start: UInt32
        let blockCount: UInt32
    }

    /// Opens the journal at `location`, whose log must be empty.
    ///
    /// - Throws: `.corrupt` for a journal that is not sound or not empty, `.unsupported`.
    init(
        _ device: any BlockDevice, at location: JournalLocation, of volume: JournalledVolume,
        is64Bit: Bool, hasChecksums: Bool, imageBudget: Int = 32 << 20,
        clock: @escaping @Sendable () -> Timestamp, log: Log
    ) throws(Ext4Error) {
        self.device = device
        sealsBlocks = hasChecksums
        let found = try Recovery.readSuperblock(device, location, volume)
        try found.checkRecoverable()
        guard let place = location.block(0), !found.isDirty else {
            throw .corrupt(.journal, .broken("it must be replayed before it is written"))
        }
        var bytes = try device.read(
            at: place.rawValue &* UInt64(volume.blockSize),
            count: JournalSuperblock.Layout.byteCount)
        do {
            var span = bytes.mutableSpan
            var raw = unsafe span.mutableBytes
            JournalSuperblock.setFeatures(
                is64Bit: is64Bit, hasChecksums: hasChecksums, in: &raw)
        }
        let superblock = try unsafe JournalSuperblock(
            parsing: bytes.span.bytes, at: place, volumeBlockSize: volume.blockSize,
            blockCount: location.blockCount)
        let area = LogArea(device: device, location: location, superblock: superblock)
        self.area = area
        format = JournalFormat(superblock)
        largestTransaction = Int(area.blockCount / 4)
        self.imageBudget = imageBudget
        self.clock = clock
        self.log = log
        monitor = Monitor(
            State(
                nextID: superblock.sequence,
                lastCommitted: TransactionID(superblock.sequence.rawValue &- 1),
                head: superblock.first, tail: superblock.first, superblock: bytes))
    }

    /// Makes the journal of a volume that has no log.
    init(
        withoutLog device: any BlockDevice, blockSize: Int, hasChecksums: Bool,
        clock: @escaping @Sendable () -> Timestamp, log: Log
    ) {
        self.device = device
        sealsBlocks = hasChecksums
        area = nil
        format = JournalFormat(withoutLogOfBlockSize: blockSize)
        largestTransaction = (16 << 20) / blockSize
        imageBudget = 0
        self.clock = clock
        self.log = log
        monitor = Monitor(
            State(
                nextID: TransactionID(1), lastCommitted: TransactionID(0), head: 0, tail: 0,
                superblock: []))
    }

    // MARK: Handles

    /// Runs `body` with a handle that may change up to `credits` blocks.
    ///
    /// It may have to wait for a commit, for room in the log or for the running transaction to be
    /// frozen; so no lock that a commit takes may be held here.
    ///
    /// - Throws: what `body` throws; what made the journal give up; `.invalidArgument` for more
    ///   credits than a transaction can have.
    func withHandle<Result>(
        credits: Int, _ body: (inout Handle) throws(Ext4Error) -> Result
    ) throws(Ext4Error) -> Result {
        guard credits >= 0, credits <= largestTransaction else { throw .invalidArgument }
        var handle = Handle(self, try start(credits: credits), credits: credits)
        do throws(Ext4Error) {
            let result = try body(&handle)
            handle.succeed()
            stop(handle.transaction, unused: handle.credits)
            return result
        } catch {
            handle.rollBack()
            stop(handle.transaction, unused: handle.credits)
            throw error
        }
    }

    private enum Start {
        case joined(Transaction)
        case full(TransactionID)
    }

    private func start(credits: Int) throws(Ext4Error) -> Transaction {
        while true {
            let start = try monitor.wait { (state) throws(Ext4Error) -> Start? in
                if let failure = state.failure { throw failure }
                guard !state.isFreezing else { return nil }
                guard let running = state.running else {
                    let new = Transaction(
                        state.nextID, revokesPerBlock: JournalRevoke.capacity(format))
                    state.nextID = state.nextID.next
                    state.running = new
                    new.openHandles = 1
                    new.promisedBlocks = credits
                    return .joined(new)
                }
                guard running.blockCount + credits <= largestTransaction else {
                    return .full(running.id)
                }
                running.openHandles += 1
                running.promisedBlocks += credits
                return .joined(running)
            }
            switch start {
            case .joined(let transaction): return transaction
            case .full(let id): try commit(id)
            }
        }
    }

    private func stop(_ transaction: Transaction, unused credits: Int) {
        monitor.change { _ in
            transaction.openHandles -= 1
            transaction.promisedBlocks -= credits
        }
    }

    /// Puts `buffer` into `transaction`; false when it was there. With `isPromised`, the room for
    /// it was promised to a handle.
    func add(_ buffer: Buffer, to transaction: Transaction, isPromised: Bool) -> Bool {
        monitor.withLock { _ in
            guard buffer.transaction != transaction.id else { return false }
            buffer.transaction = transaction.id
            transaction.buffers.append(buffer)
            if isPromised { transaction.promisedBlocks -= 1 }
            return true
        }
    }

    /// Nothing of `buffer` reaches the disk any more: its block is free, or has a new buffer.
    func abandon(_ buffer: Buffer) { monitor.withLock { _ in buffer.isAbandoned = true } }

    /// Brings the blocks of `transaction`, of which no handle is open, into the form that the disk
    /// has them in.
    func prepare(_ transaction: Transaction) {
        if let hook = beforeFreeze.withLock({ $0 }) { hook() }
        guard sealsBlocks, !has(.checksumNotSet) else { return }
        for buffer in transaction.buffers where !buffer.isAbandoned { buffer.applySeal() }
    }

    func revoke(_ block: BlockNumber, in transaction: Transaction) {
        monitor.withLock { _ in _ = transaction.revoked.insert(block) }
    }

    /// The transaction that is running, or nil.
    var runningTransaction: TransactionID? { monitor.withLock { $0.running?.id } }

    /// The last transaction that is durable; before the first one, the number before it.
    var lastCommitted: TransactionID { monitor.withLock { $0.lastCommitted } }

    /// Why nothing is written any more; nil as long as all is well.
    var failure: Ext4Error? { monitor.withLock { $0.failure } }

    /// Whether `transaction` is durable.
    func isCommitted(_ transaction: TransactionID) -> Bool {
        monitor.withLock { !transaction.isAfter($0.lastCommitted) }
    }
}
