// Faults made on purpose. What looks for states that a crash leaves must find each of them
// (`docs/CRASH.md`), or it would find nothing else either.
//
// They are there in debug builds only (`MUTANTS`, set by `Package.swift`): in all others `has` is
// a constant, and nothing is left of them.

/// A fault that the engine can be told to have.
package enum Mutant: String, CaseIterable, Sendable {
    /// A commit block is written without a flush between it and its transaction.
    case commitWithoutFlush = "commit-without-flush"
    /// Freed blocks of metadata are not told to the log.
    case revokeSkipped = "revoke-skipped"
    /// The log's tail moves before the blocks it leaves behind are durable in their places.
    case tailTooEarly = "tail-too-early"
    /// An inode that loses its last name while it is open is not recorded.
    case orphanNotRecorded = "orphan-not-recorded"
    /// Contents are written behind the commit of the change that makes them a file's.
    case dataTooLate = "data-too-late"
    /// Blocks of metadata keep the checksum that they had.
    case checksumNotSet = "checksum-not-set"
}

extension Journal {
    /// Whether the engine is to have that fault.
    @inline(__always)
    func has(_ mutant: Mutant) -> Bool {
        #if MUTANTS
            self.mutant.withLock { $0 } == mutant
        #else
            false
        #endif
    }
}

#if MUTANTS
    /// A device that keeps what it is given to write until it is flushed: contents pass through it
    /// with the fault `dataTooLate`.
    final class LateDevice: BlockDevice {
        let inner: any BlockDevice
        private let waiting = Guarded<[(byteOffset: UInt64, bytes: [UInt8])]>([])

        var byteCount: UInt64 { inner.byteCount }
        var isReadOnly: Bool { inner.isReadOnly }

        init(_ inner: any BlockDevice) { self.inner = inner }

        func read(at byteOffset: UInt64, into bytes: inout MutableRawSpan) throws(Ext4Error) {
            try inner.read(at: byteOffset, into: &bytes)
            for write in waiting.withLock({ $0 }) {
                let start = max(write.byteOffset, byteOffset)
                let end = min(
                    write.byteOffset + UInt64(write.bytes.count),
                    byteOffset + UInt64(bytes.byteCount))
                guard start < end else { continue }
                for place in start..<end {
                    bytes.storeBytes(
                        of: write.bytes[Int(place - write.byteOffset)],
                        toByteOffset: Int(place - byteOffset), as: UInt8.self)
                }
            }
        }

        func write(_ bytes: RawSpan, at byteOffset: UInt64) throws(Ext4Error) {
            let copy = bytes.copy()
            waiting.withLock { $0.append((byteOffset, copy)) }
        }

        func flush() throws(Ext4Error) {
            let writes = waiting.withLock { writes in
                defer { writes = [] }
                return writes
            }
            for write in writes {
                try unsafe inner.write(write.bytes.span.bytes, at: write.byteOffset)
            }
            try inner.flush()
        }
    }
#endif
