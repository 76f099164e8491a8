extension Journal {
    /// Brings every committed block to its place and marks the log as empty: the last thing before
    /// a volume is closed.
    ///
    /// - Throws: `.io`; and what made the journal give up, in which case the log stays as it is.
    func close() throws(Ext4Error) {
        try commitRunning()
        try takeTurn()
        do throws(Ext4Error) {
            try checkpoint(leaving: 0)
            let bytes: [UInt8]? = monitor.withLock { state in
                guard state.isMarked else { return nil }
                return superblockBytes(&state, start: 0, state.nextID)
            }
            if let bytes {
                try writeSuperblock(bytes)
                try device.flush()
            }
            monitor.change { state in
                state.isMarked = false
                state.isBusy = false
            }
        } catch {
            fail(error)
            throw error
        }
    }

    /// Brings every committed block to its place.
    ///
    /// - Throws: `.io`; what made the journal give up.
    func checkpoint() throws(Ext4Error) {
        try takeTurn()
        do throws(Ext4Error) {
            try checkpoint(leaving: 0)
            monitor.change { $0.isBusy = false }
        } catch {
            fail(error)
            throw error
        }
    }

    private func takeTurn() throws(Ext4Error) {
        try monitor.wait { (state) throws(Ext4Error) -> Void? in
            if let failure = state.failure { throw failure }
            guard !state.isBusy else { return nil }
            state.isBusy = true
            return ()
        }
    }

    /// Checkpoints until the log has room for `blocks` and memory for `bytes`; this thread has the
    /// turn.
    ///
    /// - Throws: `.noSpace` when the log could never hold as much; `.io`.
    func makeRoom(blocks: Int, bytes: Int) throws(Ext4Error) {
        // One block stays free: a ring that is full to the last would be walked round by recovery.
        guard let area else { return }
        let capacity = Int(area.blockCount) - 1
        guard blocks <= capacity else { throw .noSpace }
        let count: Int? = monitor.withLock { state in
            var used = Int(state.used)
            var memory = state.committed.reduce(bytes) {
                $0 + $1.image.blockCount * format.blockSize
            }
            guard used + blocks > capacity || memory > imageBudget else { return nil }
            // Half of it at once: a checkpoint for each commit would be a flush for each.
            var count = state.committed.count
            for transaction in state.committed {
                guard used + blocks > capacity / 2 || memory > imageBudget / 2 else { break }
                used -= Int(transaction.blockCount)
                memory -= transaction.image.blockCount * format.blockSize
                count -= 1
            }
            return count
        }
        if let count { try checkpoint(leaving: count) }
    }

    /// Brings the blocks of all but the newest `count` transactions to their places, then moves
    /// the tail.
    private func checkpoint(leaving count: Int) throws(Ext4Error) {
        let (leaving, staying) = monitor.withLock { state in
            let split = max(state.committed.count - count, 0)
            return (Array(state.committed[..<split]), Array(state.committed[split...]))
        }
        guard let last = leaving.last, let area else { return }
        try writeNewest(of: leaving, except: staying)
        if !has(.tailTooEarly) { try device.flush() }

        let bytes = monitor.withLock { state in
            superblockBytes(
                &state,
                start: staying.first?.start ?? area.index(last.start, advancedBy: last.blockCount),
                staying.first?.image.id ?? last.image.id.next)
        }
        try writeSuperblock(bytes)
        try device.flush()
        monitor.change { state in
            state.committed.removeFirst(leaving.count)
            for transaction in leaving { state.used -= transaction.blockCount }
            state.tail = staying.first?.start ?? state.head
        }
    }

    /// Writes the newest copy of each block to its place, in the order of the volume and as long
    /// runs as there are; not those of which a transaction that stays has a newer one.
    func writeNewest(
        of leaving: [LoggedTransaction], except staying: [LoggedTransaction]
    ) throws(Ext4Error) {
        struct Source {
            let target: BlockNumber
            let image: TransactionImage
            let index: Int
        }
        var newest: [BlockNumber: Source] = [:]
        for transaction in leaving {
            for copy in transaction.image.copies {
                newest[copy.target] = Source(
                    target: copy.target, image: transaction.image, index: copy.index)
            }
        }
        for transaction in staying {
            for copy in transaction.image.copies { newest[copy.target] = nil }
        }
        let sources = newest.values.sorted { $0.target < $1.target }
        let blockSize = format.blockSize
        let longest = max(Self.longestWrite / blockSize, 1)
        var gathered = [UInt8]()
        var first = 0
        while first < sources.count {
            var count = 1
            while count < longest, first + count < sources.count,
                sources[first + count].target == sources[first].target.advanced(by: UInt64(count))
            {
                count += 1
            }
            let byteOffset = sources[first].target.rawValue &* UInt64(blockSize)
            if count == 1 {
                try sources[first].image.withBlocks(sources[first].index, count: 1) {
                    (bytes) throws(Ext4Error) in
                    try device.write(bytes, at: byteOffset)
                }
            } else {
                gathered.removeAll(keepingCapacity: true)
                for source in sources[first..<first + count] {
                    source.image.withBlocks(source.index, count: 1) {
                        gathered.append(contentsOf: $0.copy())
                    }
                }
                try unsafe device.write(gathered.span.bytes, at: byteOffset)
            }
            first += count
        }
    }

    private static let longestWrite = 1 << 20
}
