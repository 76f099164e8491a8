/// The right to change metadata, within one transaction: there is no other way to do it.
///
/// All that is changed through one handle reaches the disk together. It lives for the length of a
/// closure, and a thread has at most one: a second would wait for the first one's transaction.
struct Handle: ~Copyable {
    let journal: Journal
    let transaction: Transaction
    /// Blocks that were promised room in the log and not used yet.
    private(set) var credits: Int

    init(_ journal: Journal, _ transaction: Transaction, credits: Int) {
        self.journal = journal
        self.transaction = transaction
        self.credits = credits
    }

    /// Changes the contents of `buffer`.
    ///
    /// Who else may look at it meanwhile is for the locks above to say, not for the journal.
    mutating func modify<Result, Failure: Error>(
        _ buffer: Buffer, _ body: (inout MutableRawSpan) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        // A buffer that is in this transaction already needs no lock to be changed once more.
        if buffer.transaction != transaction.id,
            journal.add(buffer, to: transaction, isPromised: credits > 0)
        {
            credits = max(credits - 1, 0)
        }
        return try buffer.withMutableBytes(body)
    }

    /// Tells that a block of metadata is free: no copy of it in the log may be replayed, and what
    /// this transaction changed in it is dropped.
    ///
    /// The block must not be used again before this transaction is committed.
    func revoke(_ block: BlockNumber) { journal.revoke(block, in: transaction) }
}
