/// The right to change metadata, within one transaction: there is no other way to do it.
///
/// All that is changed through one handle reaches the disk together. It lives for the length of a
/// closure, and a thread has at most one: a second would wait for the first one's transaction.
///
/// When the closure throws, what it changed is undone, in reverse order. Blocks that the caller
/// guards alone are given back their contents (`preserve`); for what others change at the same
/// time, such as a bitmap, whoever changes it says how to take it back (`onFailure`).
struct Handle: ~Copyable {
    let journal: Journal
    let transaction: Transaction
    /// Blocks that were promised room in the log and not used yet.
    private(set) var credits: Int
    private var undo: [Undo] = []
    /// Whether `rollBack` is at work: what it changes is not to be undone.
    private var isRollingBack = false
    /// Blocks of metadata that are free once the closure has succeeded.
    private var released: [(block: BlockNumber, cache: BufferCache)] = []

    /// What is left to do once the closure has succeeded.
    private var completion: [(inout Handle) -> Void] = []

    private enum Undo {
        case contents(Buffer, offset: Int, [UInt8], Buffer.Seal)
        case fresh(Buffer, BufferCache)
        case action((inout Handle) -> Void)
    }

    init(_ journal: Journal, _ transaction: Transaction, credits: Int) {
        self.journal = journal
        self.transaction = transaction
        self.credits = credits
    }

    /// Changes the contents of `buffer`; with `seal`, also what it needs before it is written.
    ///
    /// Who else may look at it meanwhile is for the locks above to say, not for the journal.
    mutating func modify<Result, Failure: Error>(
        _ buffer: Buffer, seal: Buffer.Seal? = nil,
        _ body: (inout MutableRawSpan) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        // A buffer that is in this transaction already needs no lock to be changed once more.
        if buffer.transaction != transaction.id,
            journal.add(buffer, to: transaction, isPromised: credits > 0)
        {
            credits = max(credits - 1, 0)
        }
        if let seal { buffer.setSeal(seal) }
        return try buffer.withMutableBytes(body)
    }

    /// A buffer of zeros for `block`, which was allocated just now, as part of this transaction.
    mutating func fresh(_ block: BlockNumber, in cache: BufferCache, seal: Buffer.Seal) -> Buffer {
        let (buffer, old) = cache.fresh(block)
        if let old { journal.abandon(old) }
        modify(buffer, seal: seal) { _ in }
        if !isRollingBack { undo.append(.fresh(buffer, cache)) }
        return buffer
    }

    /// A buffer of zeros for `block`, of which the disk has nothing that counts, as part of this
    /// transaction. Other handles may change it too, so it stays when the closure fails.
    mutating func renew(_ block: BlockNumber, in cache: BufferCache) -> Buffer {
        let (buffer, old) = cache.fresh(block)
        if let old { journal.abandon(old) }
        modify(buffer, seal: Buffer.Seal.none) { _ in }
        return buffer
    }

    /// Tells that a block of metadata is free, if the closure succeeds: no copy of it in the log
    /// may be replayed, and what this transaction changed in it is dropped.
    ///
    /// The block must not be used again before this transaction is committed.
    mutating func release(_ block: BlockNumber, from cache: BufferCache) {
        released.append((block, cache))
    }

    /// Tells that a block of metadata is free, at once.
    func revoke(_ block: BlockNumber) { journal.revoke(block, in: transaction) }

    // MARK: Failure

    /// Remembers the contents of a block that the caller guards alone, and its seal, for the case
    /// that the closure fails; only the bytes in `range` when no others change. To do so again at
    /// once costs nothing.
    mutating func preserve(_ buffer: Buffer, _ range: Range<Int>? = nil) {
        guard !isRollingBack else { return }
        let range = range ?? 0..<buffer.withBytes { $0.byteCount }
        switch undo.last {
        case .contents(let last, let offset, let bytes, _)
        where last === buffer && offset <= range.lowerBound
            && range.upperBound <= offset &+ bytes.count:
            return
        case .fresh(let last, _) where last === buffer: return
        default: break
        }
        let bytes = buffer.withBytes { $0.copy(range) }
        undo.append(.contents(buffer, offset: range.lowerBound, bytes, buffer.seal))
    }

    /// Remembers how to take back a change, for the case that the closure fails.
    mutating func onFailure(_ action: @escaping (inout Handle) -> Void) {
        if !isRollingBack { undo.append(.action(action)) }
    }

    /// Remembers a change that is made once the closure has succeeded, as part of the same
    /// transaction: one that could not be taken back, because others go on from it at once, such as
    /// giving up a share of something.
    mutating func onSuccess(_ action: @escaping (inout Handle) -> Void) {
        if !isRollingBack { completion.append(action) }
    }

    /// Makes the changes that waited for success, drops what was released, and the means to undo.
    mutating func succeed() {
        while !completion.isEmpty {
            let actions = completion
            completion = []
            for action in actions { action(&self) }
        }
        for (block, cache) in released {
            if let old = cache.drop(block) { journal.abandon(old) }
            journal.revoke(block, in: transaction)
        }
        released = []
        undo = []
    }

    /// Takes everything back.
    mutating func rollBack() {
        isRollingBack = true
        completion = []
        released = []
        while let last = undo.popLast() {
            switch last {
            case .contents(let buffer, let offset, let bytes, let seal):
                modify(buffer, seal: seal) { contents in
                    var part = contents._mutatingExtracting(offset..<offset &+ bytes.count)
                    part.copy(from: unsafe bytes.span.bytes)
                }
            case .fresh(let buffer, let cache):
                _ = cache.drop(buffer.block)
                journal.abandon(buffer)
            case .action(let action):
                action(&self)
            }
        }
        released = []
    }
}
