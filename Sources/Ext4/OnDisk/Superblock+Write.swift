// What a volume that is open for writing changes in the superblock's bytes.

extension Superblock {
    /// The bit of `s_state` of a volume that was unmounted (`EXT4_VALID_FS`).
    package static let validState: UInt16 = 1

    /// Marks the volume as in use, as a mount does.
    package static func markOpen(
        _ bytes: inout MutableRawSpan, at time: Timestamp, hasLog: Bool, hasOrphanFile: Bool,
        isMount: Bool
    ) {
        if hasLog {
            bytes[Layout.incompatible] |= IncompatibleFeatures.recover.rawValue
        } else {
            // Without a log, only this bit tells that a check is due after a crash.
            bytes[Layout.state] &= ~validState
        }
        if hasOrphanFile {
            bytes[Layout.readOnlyCompatible] |=
                ReadOnlyCompatibleFeatures.orphanPresent.rawValue
        }
        if isMount {
            bytes[Layout.mountCount] &+= 1
            set(Layout.mountTime, Layout.mountTimeHigh, to: time, in: &bytes)
        }
        set(Layout.writeTime, Layout.writeTimeHigh, to: time, in: &bytes)
    }

    /// Marks the volume as no longer in use.
    package static func markClosed(
        _ bytes: inout MutableRawSpan, at time: Timestamp, wasValid: Bool, has64Bit: Bool,
        freeBlocks: UInt64, freeInodes: UInt64
    ) {
        setFree(&bytes, has64Bit: has64Bit, blocks: freeBlocks, inodes: freeInodes)
        bytes[Layout.incompatible] &= ~IncompatibleFeatures.recover.rawValue
        bytes[Layout.readOnlyCompatible] &= ~ReadOnlyCompatibleFeatures.orphanPresent.rawValue
        if wasValid { bytes[Layout.state] |= validState }
        set(Layout.writeTime, Layout.writeTimeHigh, to: time, in: &bytes)
    }

    /// Sets the counts of what is free.
    package static func setFree(
        _ bytes: inout MutableRawSpan, has64Bit: Bool, blocks: UInt64, inodes: UInt64
    ) {
        bytes[Layout.freeBlocksLow] = UInt32(truncatingIfNeeded: blocks)
        if has64Bit { bytes[Layout.freeBlocksHigh] = UInt32(truncatingIfNeeded: blocks >> 32) }
        bytes[Layout.freeInodes] = UInt32(truncatingIfNeeded: inodes)
    }

    /// Notes an error that was found, as the kernel does: the first, the last, and how many.
    package static func note(
        _ corruption: Corruption, at time: Timestamp, in bytes: inout MutableRawSpan
    ) {
        bytes[Layout.state] |= errorState
        let inode = corruption.place.inode?.rawValue ?? 0
        let block = corruption.place.block?.rawValue ?? 0
        let function = Array("swift-ext4".utf8)
        if bytes[Layout.errorCount] == 0 {
            set(Layout.firstErrorTime, Layout.firstErrorTimeHigh, to: time, in: &bytes)
            bytes[Layout.firstErrorInode] = inode
            bytes[Layout.firstErrorBlock] = block
            bytes[Layout.firstErrorLine] = 0
            bytes[Layout.firstErrorCode] = corruptedCode
            fill(Layout.firstErrorFunction, with: function, in: &bytes)
        }
        set(Layout.lastErrorTime, Layout.lastErrorTimeHigh, to: time, in: &bytes)
        bytes[Layout.lastErrorInode] = inode
        bytes[Layout.lastErrorBlock] = block
        bytes[Layout.lastErrorLine] = 0
        bytes[Layout.lastErrorCode] = corruptedCode
        fill(Layout.lastErrorFunction, with: function, in: &bytes)
        let (count, overflow) = bytes[Layout.errorCount].addingReportingOverflow(1)
        bytes[Layout.errorCount] = overflow ? .max : count
    }

    /// `EXT4_ERR_EFSCORRUPTED`.
    private static let corruptedCode: UInt8 = 11

    private static func set(
        _ low: Field<UInt32>, _ high: Field<UInt8>, to time: Timestamp,
        in bytes: inout MutableRawSpan
    ) {
        let seconds = UInt64(clamping: time.seconds)
        bytes[low] = UInt32(truncatingIfNeeded: seconds)
        bytes[high] = UInt8(truncatingIfNeeded: seconds >> 32)
    }

    private static func fill(
        _ range: Range<Int>, with text: [UInt8], in bytes: inout MutableRawSpan
    ) {
        for (index, offset) in range.enumerated() {
            bytes[Field<UInt8>.le(offset)] = index < text.count ? text[index] : 0
        }
    }
}
