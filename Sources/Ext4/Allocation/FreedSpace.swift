internal import Synchronization

/// The groups with something that was freed and waits for its transaction's commit.
final class FreedSpace: Sendable {
    private struct Entry {
        let transaction: TransactionID
        var groups: [BlockGroup]
    }

    private let entries: Guarded<[Entry]>
    /// How many entries there are, to see without a lock that there is nothing to do.
    private let entryCount = Atomic<Int>(0)

    init() { entries = Guarded([]) }

    /// Whether anything waits.
    var isEmpty: Bool { entryCount.load(ordering: .relaxed) == 0 }

    /// Notes that something in `group` is free once `transaction` is committed.
    func note(_ group: BlockGroup, in transaction: TransactionID) {
        entries.withLock { entries in
            if let last = entries.last, last.transaction == transaction {
                entries[entries.count - 1].groups.append(group)
            } else {
                entries.append(Entry(transaction: transaction, groups: [group]))
                entryCount.store(entries.count, ordering: .relaxed)
            }
        }
    }

    /// Takes out the groups that wait for a transaction that is committed by now, with the last
    /// one that is.
    func takeCommitted(of journal: Journal) -> (groups: [BlockGroup], last: TransactionID)? {
        guard !isEmpty else { return nil }
        let last = journal.lastCommitted
        return entries.withLock { entries in
            let ready = entries.prefix { !$0.transaction.isAfter(last) }
            guard !ready.isEmpty else { return nil }
            let groups = ready.flatMap { $0.groups }
            entries.removeFirst(ready.count)
            entryCount.store(entries.count, ordering: .relaxed)
            return (groups, last)
        }
    }
}
