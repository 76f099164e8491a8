// What recovery changes in the superblock's bytes, and what it must not lose.

extension Superblock {
    /// The bit of `s_state` that asks for a check (`EXT4_ERROR_FS`).
    package static let errorState: UInt16 = 2

    /// Takes the mark of a dirty journal out of `bytes`, the superblock after the replay.
    ///
    /// The journal may have held an older superblock, which knows nothing of the errors that were
    /// found since: they are taken from `before`, the superblock as it was before the replay. An
    /// error that the journal itself remembers shows in the state.
    package static func markRecovered(
        _ bytes: inout MutableRawSpan, keepingErrorsOf before: RawSpan, hasJournalError: Bool
    ) {
        for range in [
            Layout.errorCount.offset..<Layout.lastErrorFunction.upperBound,
            Layout.firstErrorTimeHigh.offset..<Layout.lastErrorCode.end,
        ] {
            for offset in range { bytes[Field<UInt8>.le(offset)] = before.byte(at: offset) }
        }
        bytes[Layout.state] |= before[Layout.state] & errorState
        if hasJournalError { bytes[Layout.state] |= errorState }
        bytes[Layout.incompatible] &= ~IncompatibleFeatures.recover.rawValue
        let features = ReadOnlyCompatibleFeatures(rawValue: bytes[Layout.readOnlyCompatible])
        if features.contains(.metadataCsum) {
            seal(&bytes)
        }
    }
}
