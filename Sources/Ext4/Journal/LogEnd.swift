/// The search for the end of a log: the first of the three walks, the only one that cannot yet
/// trust what it reads.
package struct LogEnd {
    private let area: LogArea
    private let format: JournalFormat
    private let log: Log
    private var walk: LogWalk

    /// The checksum, version 1, of the transaction so far.
    private var transactionChecksum = CRC32BigEndian()
    /// A block of the transaction with a wrong checksum. Whether it is damaged or merely left from
    /// an older use of the log shows in its commit block: time does not run backwards in a log.
    private var suspect: UInt32?
    /// When the last whole transaction was committed.
    private var lastCommitSeconds: UInt64 = 0
    /// The first transaction that a wrong checksum says never finished. Only a commit that did
    /// not wait for its blocks makes such a thing, and only as the last one.
    private var unfinished: TransactionID?

    /// Finds the transaction behind the last whole one.
    ///
    /// - Throws: `Ext4Error.corrupt` when a block is damaged, and does not just end the log.
    package static func find(
        in area: LogArea, _ format: JournalFormat, log: Log
    ) throws(Ext4Error) -> TransactionID {
        var search = LogEnd(area: area, format: format, log: log, walk: LogWalk(area))
        while let kind = try search.walk.next(), try search.take(kind) {}
        return search.unfinished ?? search.walk.sequence
    }

    private init(area: LogArea, format: JournalFormat, log: Log, walk: LogWalk) {
        self.area = area
        self.format = format
        self.log = log
        self.walk = walk
    }

    /// Takes a control block into account; false when the log ends with it.
    private mutating func take(_ kind: JournalHeader.Kind) throws(Ext4Error) -> Bool {
        let block = walk.block
        switch kind {
        case .descriptor:
            if unsafe !JournalTail.isValid(in: block.span.bytes, format) {
                suspect = suspect ?? walk.index
            }
            return try skipLoggedBlocks(of: block)
        case .revoke:
            if unsafe !JournalTail.isValid(in: block.span.bytes, format) {
                suspect = suspect ?? walk.index
            }
            return true
        case .commit:
            return try takeCommit(block)
        }
    }

    private mutating func skipLoggedBlocks(of descriptor: [UInt8]) throws(Ext4Error) -> Bool {
        let tags = unsafe JournalTag.all(in: descriptor.span.bytes, format)
        guard format.checksum == .v1 else {
            for _ in tags where walk.skipLoggedBlock() == nil { return false }
            return true
        }
        unsafe transactionChecksum.update(descriptor.span.bytes)
        var copy = [UInt8](repeating: 0, count: format.blockSize)
        for _ in tags {
            guard let index = walk.skipLoggedBlock() else { return false }
            try area.read(index, into: &copy)
            unsafe transactionChecksum.update(copy.span.bytes)
        }
        return true
    }

    private mutating func takeCommit(_ block: [UInt8]) throws(Ext4Error) -> Bool {
        let commit = unsafe JournalCommit(parsing: block.span.bytes)
        if unfinished != nil {
            throw broken("a transaction follows one whose checksum is wrong")
        }
        let isRight = suspect == nil && isChecksumRight(ofCommit: block)
        if !isRight {
            guard commit.seconds >= lastCommitSeconds else {
                log(.debug, "journal: transaction \(walk.sequence) is left from an older log")
                return false
            }
            guard format.isAsyncCommit, suspect == nil else {
                throw broken("the checksum of transaction \(walk.sequence) is wrong")
            }
            log(.warning, "journal: transaction \(walk.sequence) was never finished")
            // Version 1 covers all of a transaction: if one follows, this one was not the last,
            // and so is not unfinished but damaged. The other versions cannot tell.
            unfinished = walk.sequence
            guard format.checksum == .v1 else { return false }
        }
        lastCommitSeconds = commit.seconds
        transactionChecksum = CRC32BigEndian()
        walk.beginNextTransaction()
        return true
    }

    private func isChecksumRight(ofCommit block: [UInt8]) -> Bool {
        let bytes = unsafe block.span.bytes
        return format.checksum == .v1
            ? JournalCommit.transactionChecksum(in: bytes, is: transactionChecksum.value)
            : JournalCommit.isValid(bytes, format)
    }

    private func broken(_ rule: String) -> Ext4Error {
        .corrupt(
            .journal,
            at: .init(block: area.location.block(UInt64(suspect ?? walk.index))), .broken(rule))
    }
}
