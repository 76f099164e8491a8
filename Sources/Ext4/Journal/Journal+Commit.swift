extension Journal {
    /// Makes `transaction`, and all before it, durable. Who comes while another thread does so
    /// waits for that one: a flush serves all.
    ///
    /// Returns at once when there is nothing to do; the device's own cache is not flushed then.
    ///
    /// - Throws: `.io`, and from then on the same again: the journal has given up.
    func commit(_ transaction: TransactionID) throws(Ext4Error) {
        while true {
            let turn = try monitor.wait { (state) throws(Ext4Error) -> Turn? in
                if let failure = state.failure { throw failure }
                guard transaction.isAfter(state.lastCommitted) else { return .done }
                guard !state.isBusy else { return nil }
                // A transaction that was never started has nothing to commit.
                guard let running = state.running, !transaction.isAfter(running.id) else {
                    return .done
                }
                state.isBusy = true
                state.isFreezing = true
                return .ours(running)
            }
            guard case .ours(let running) = turn else { return }
            try lead(running)
        }
    }

    private enum Turn {
        case done
        case ours(Transaction)
    }

    /// Commits whatever is running, and waits for what another thread is committing.
    ///
    /// - Throws: what `commit(_:)` throws.
    func commitRunning() throws(Ext4Error) {
        let last = monitor.withLock {
            $0.running?.id ?? TransactionID($0.nextID.rawValue &- 1)
        }
        try commit(last)
    }

    /// Makes what was written to the device durable, whether or not there is anything to commit. A
    /// device that fails here has lost what it was given: the journal gives up, so that nobody is
    /// told later that all is well.
    func flush() throws(Ext4Error) {
        if let failure { throw failure }
        do throws(Ext4Error) {
            try device.flush()
        } catch {
            fail(error)
            throw error
        }
    }

    /// From now on every handle is refused: the volume is closed.
    func end() {
        monitor.change { if $0.failure == nil { $0.failure = .readOnlyVolume } }
    }

    /// Commits `running`; this thread has the turn.
    private func lead(_ running: Transaction) throws(Ext4Error) {
        monitor.wait { _ in running.openHandles == 0 ? () : nil }
        // No handle is open and none can start: the blocks stand still, for as long as it takes to
        // copy them.
        guard !running.isEmpty else {
            monitor.change { state in
                state.running = nil
                state.nextID = running.id
                state.isFreezing = false
                state.isBusy = false
            }
            return
        }
        prepare(running)
        let image = TransactionImage(freezing: running, format)
        monitor.change { state in
            state.running = nil
            state.isFreezing = false
        }
        do throws(Ext4Error) {
            guard let area else {
                try writeInPlace(image)
                return
            }
            image.seal(uuid: area.superblock.uuid, hasRevokes: !has(.revokeSkipped))
            try makeRoom(blocks: image.blockCount + 1, bytes: image.blockCount * format.blockSize)
            let start = try markInUse(by: running.id)
            try write(image, to: area, at: start)
            if !has(.commitWithoutFlush) { try device.flush() }
            try writeCommitBlock(
                running.id, to: area,
                at: area.index(start, advancedBy: UInt32(image.blockCount)))
            try device.flush()
            image.unescape()
            finish(image, in: area, at: start)
            #if MUTANTS
                try lateDevice.withLock { $0 }?.flush()
            #endif
        } catch {
            fail(error)
            throw error
        }
    }

    /// Commits on a volume without a log: the blocks go to their places.
    private func writeInPlace(_ image: TransactionImage) throws(Ext4Error) {
        try writeNewest(
            of: [LoggedTransaction(image: image, start: 0, blockCount: 0)], except: [])
        try device.flush()
        monitor.change { state in
            state.lastCommitted = image.id
            state.isBusy = false
        }
    }

    /// The committed transaction joins those that wait for their checkpoint.
    private func finish(_ image: TransactionImage, in area: LogArea, at start: UInt32) {
        let count = UInt32(image.blockCount + 1)
        monitor.change { state in
            // Blocks that it revoked may be used for anything from now on: older copies of them
            // must not come to their places any more.
            if !image.revoked.isEmpty {
                let revoked = Set(image.revoked)
                for older in state.committed {
                    older.image.copies.removeAll { revoked.contains($0.target) }
                }
            }
            state.committed.append(
                LoggedTransaction(image: image, start: start, blockCount: count))
            state.head = area.index(start, advancedBy: count)
            state.used += count
            state.lastCommitted = image.id
            state.isBusy = false
        }
    }

    /// Gives up: nothing is written from now on. Whoever waits is told.
    func fail(_ error: Ext4Error) {
        let superblock: [UInt8]? = monitor.change { state in
            state.isBusy = false
            state.isFreezing = false
            guard state.failure == nil else { return nil }
            state.failure = error
            return state.superblock
        }
        guard var superblock else { return }
        log(.error, "the journal gives up: \(error)")
        guard area != nil else { return }
        do {
            var span = superblock.mutableSpan
            var raw = unsafe span.mutableBytes
            JournalSuperblock.setErrno(-5, in: &raw)  // EIO
        }
        // The device may be gone; the error that counts is the first one.
        try? writeSuperblock(superblock)
        try? device.flush()
    }

    // MARK: The log

    /// Makes the superblock say that the log is in use from `head` on, if it does not yet.
    ///
    /// - Returns: where the transaction starts.
    private func markInUse(by transaction: TransactionID) throws(Ext4Error) -> UInt32 {
        let (start, change): (UInt32, [UInt8]?) = monitor.withLock { state in
            guard !state.isMarked else { return (state.head, nil) }
            state.tail = state.head
            return (state.head, superblockBytes(&state, start: state.head, transaction))
        }
        guard let change else { return start }
        // The flush before the commit block makes it durable. Until then the log seems to start
        // with something that is no transaction, which is an empty log.
        try writeSuperblock(change)
        monitor.withLock { $0.isMarked = true }
        return start
    }

    /// The superblock's bytes with another tail.
    func superblockBytes(
        _ state: inout State, start: UInt32, _ transaction: TransactionID
    ) -> [UInt8] {
        var span = state.superblock.mutableSpan
        var raw = unsafe span.mutableBytes
        JournalSuperblock.write(start: start, sequence: transaction, to: &raw)
        return state.superblock
    }

    func writeSuperblock(_ bytes: [UInt8]) throws(Ext4Error) {
        guard let place = try area?.place(of: 0) else { return }
        try unsafe device.write(
            bytes.span.bytes, at: place.rawValue &* UInt64(format.blockSize))
    }

    /// Writes all blocks of an image, and zeros for the commit block, in as few requests as the
    /// journal's place on the volume and the end of the ring allow.
    private func write(
        _ image: TransactionImage, to area: LogArea, at start: UInt32
    ) throws(Ext4Error) {
        var done = 0
        let total = image.blockCount + 1
        while done < total {
            let index = area.index(start, advancedBy: UInt32(done))
            guard let run = area.location.run(at: UInt64(index)) else {
                throw .corrupt(.journal, .truncated)
            }
            let untilEnd = Int(area.superblock.end - index)
            let count = min(Int(clamping: run.count), untilEnd, total - done)
            let byteOffset = run.firstBlock.rawValue &* UInt64(format.blockSize)
            try image.withBlocks(done, count: count) { (bytes) throws(Ext4Error) in
                try device.write(bytes, at: byteOffset)
            }
            done += count
        }
    }

    private func writeCommitBlock(
        _ transaction: TransactionID, to area: LogArea, at index: UInt32
    ) throws(Ext4Error) {
        var block = [UInt8](repeating: 0, count: format.blockSize)
        do {
            var span = block.mutableSpan
            var raw = unsafe span.mutableBytes
            JournalCommit.write(transaction, at: clock(), to: &raw, format)
        }
        let place = try area.place(of: index)
        try unsafe device.write(
            block.span.bytes, at: place.rawValue &* UInt64(format.blockSize))
    }
}
