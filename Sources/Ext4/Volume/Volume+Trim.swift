// Telling the device what nobody uses (`FITRIM`, fstrim(8)).

extension Volume {
    /// Tells the device which blocks are free, so that it can put their room to other use: an image
    /// file gets holes.
    ///
    /// Only what is free in a transaction that is committed is discarded, and nobody is given a
    /// block meanwhile that is. Other operations may go on.
    ///
    /// - Throws: `.corrupt` when the volume has errors, was not unmounted cleanly or has a bad
    ///   bitmap: then nothing is discarded; `.notSupported` when the device cannot do it,
    ///   `.readOnlyVolume` unless only a look is wanted, `.invalidArgument` for a range that is
    ///   not in the volume, `.unsupported` naming features that stand in the way, `.io`.
    public func trim(_ options: TrimOptions = .init()) throws(Ext4Error) -> TrimReport {
        try checkTrim(options)
        var trim = Trim(
            blocks: try blocksForTrim(options), range: try range(of: options), options: options,
            blockSizeLog2: UInt64(superblock.blockSizeLog2))
        if !options.looksOnly { try sync() }
        try trim.run(on: device, log: reader.log)
        return trim.report
    }

    /// Refuses what `trim` would refuse without a look at the bitmaps: a range that is not in the
    /// volume, features, a volume whose bitmaps may not be what they should be.
    package func checkTrim(_ options: TrimOptions) throws(Ext4Error) {
        _ = try range(of: options)
        try Self.checkWritable(superblock)
        var state = superblock.state
        if let known = writing?.superblock {
            // Errors that were met since.
            state |= known.buffer.withBytes {
                $0[Superblock.Layout.state.at(known.byteOffset)] & Superblock.errorState
            }
        }
        guard state & Superblock.errorState == 0, superblock.errorCount == 0,
            state & Superblock.validState != 0
        else {
            throw .corrupt(
                .superblock,
                .field(
                    "s_state", value: UInt64(state),
                    rule: "that of a volume without errors, which was unmounted cleanly"))
        }
    }

    /// Who knows which blocks are free.
    private func blocksForTrim(_ options: TrimOptions) throws(Ext4Error) -> BlockAllocator {
        if !options.looksOnly || writing != nil { return try requireWriting().blocks }
        let hasLog = superblock.compatible.contains(.hasJournal)
        // Blocks are set aside in memory only: the log is never used.
        let journal = Journal(
            withoutLog: device, blockSize: blockSize,
            hasChecksums: superblock.hasMetadataChecksums, clock: { Timestamp(seconds: 0) },
            log: reader.log)
        return try BlockAllocator(
            groups, journal: journal, others: hasLog ? try journalLocation().ranges : [])
    }

    /// The blocks that lie in the range as a whole.
    private func range(of options: TrimOptions) throws(Ext4Error) -> BlockRange {
        let shift = UInt64(superblock.blockSizeLog2)
        let inBlock = (1 << shift) as UInt64 &- 1
        let first =
            options.byteOffset >> shift &+ (options.byteOffset & inBlock == 0 ? 0 : 1)
        guard first < superblock.blocksCount, options.byteCount > inBlock else {
            throw .invalidArgument
        }
        let (sum, overflow) = options.byteOffset.addingReportingOverflow(options.byteCount)
        let end = min(overflow ? .max : sum >> shift, superblock.blocksCount)
        let start = max(first, UInt64(superblock.firstDataBlock))
        return BlockRange(start: BlockNumber(start), count: end > start ? end &- start : 0)
    }
}

/// One walk over the free space of a volume.
private struct Trim {
    let blocks: BlockAllocator
    let range: BlockRange
    let options: TrimOptions
    let blockSizeLog2: UInt64
    var report = TrimReport()

    /// A run is lent in pieces of about that many bytes, which others must do without for as long
    /// as the device takes.
    private static let longestPiece: UInt64 = 1 << 30

    mutating func run(on device: any BlockDevice, log: Log) throws(Ext4Error) {
        try check()
        let granule = max(options.granule, 1)
        let least = max(options.minimumByteCount, 1)
        // So long that what is left of a piece without parts of granules is not below the least.
        let (limit, overflow) = max(least, Self.longestPiece).addingReportingOverflow(
            granule.multipliedReportingOverflow(by: 2).partialValue)
        let pieceLimit = overflow ? .max : max(limit >> blockSizeLog2, 1)
        var next = range.start
        // Where the piece before ended that was trimmed: what follows it belongs to the same run.
        var lastEnd: UInt64?
        while next < range.end, !report.isCancelled {
            let (options, report) = (options, report)
            var done = report
            var trimmedEnd: UInt64?
            let found = try blocks.lendFreeRun(from: next, to: range.end, limit: pieceLimit) {
                (run) throws(Ext4Error) in
                guard let bytes = try bytes(of: run, granule: granule) else { return }
                let count = bytes.upperBound &- bytes.lowerBound
                guard count >= least || bytes.lowerBound == lastEnd else { return }
                if !options.looksOnly {
                    try device.discard(at: bytes.lowerBound, count: count)
                    log(.debug, "bytes \(bytes.lowerBound)..<\(bytes.upperBound) are discarded")
                }
                done.byteCount &+= count
                if bytes.lowerBound != lastEnd { done.rangeCount &+= 1 }
                trimmedEnd = bytes.upperBound
            }
            self.report = done
            guard let found else { break }
            next = found.end
            lastEnd = trimmedEnd
            if let trimmedEnd, found.count >= pieceLimit {
                // The rest of a granule goes with the next piece.
                let end = BlockNumber(trimmedEnd >> blockSizeLog2)
                if end > found.start { next = end }
            }
            tell(range.count &+ (next.rawValue &- range.start.rawValue))
        }
    }

    /// Looks at all bitmaps first, so that a bad one is found before anything is done.
    private mutating func check() throws(Ext4Error) {
        var isCancelled = false
        try blocks.checkBitmaps(of: range) { group in
            let start = blocks.geometry.blocks(of: group).start
            if start > range.start { tell(start.rawValue &- range.start.rawValue) }
            isCancelled = options.isCancelled?() == true
            return !isCancelled
        }
        report.isCancelled = isCancelled
    }

    /// The whole granules in a run of blocks.
    private func bytes(
        of run: BlockRange, granule: UInt64
    ) throws(Ext4Error) -> Range<UInt64>? {
        let size = (1 as UInt64) << blockSizeLog2
        let (start, startOverflow) = run.start.rawValue.multipliedReportingOverflow(by: size)
        let (end, endOverflow) = run.end.rawValue.multipliedReportingOverflow(by: size)
        let rest = start % granule
        let (first, overflow) = start.addingReportingOverflow(rest == 0 ? 0 : granule &- rest)
        guard !startOverflow, !endOverflow, !overflow else { throw .invalidArgument }
        let last = end &- end % granule
        return first < last ? first..<last : nil
    }

    private func tell(_ done: UInt64) { options.progress?(done, range.count &* 2) }
}
