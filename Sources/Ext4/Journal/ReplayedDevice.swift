/// A device with a journal replayed in memory: a block that has a newer copy in the log is read
/// from there, all others from where they are. Nothing can be written.
package final class ReplayedDevice: BlockDevice {
    /// The device as it is.
    package let base: any BlockDevice
    private let recovery: Recovery

    package init(_ base: any BlockDevice, replaying recovery: Recovery) {
        self.base = base
        self.recovery = recovery
    }

    package var byteCount: UInt64 { base.byteCount }

    package var isReadOnly: Bool { true }

    package func read(at byteOffset: UInt64, into bytes: inout MutableRawSpan) throws(Ext4Error) {
        let blockSize = UInt64(recovery.volume.blockSize)
        let blocks = recovery.blocks
        var next = blocks.firstPosition(from: byteOffset / blockSize)
        let total = bytes.byteCount
        // Most requests meet no replayed block at all.
        guard
            next < blocks.count,
            blocks[next].target &* blockSize < byteOffset.addingSaturating(UInt64(total))
        else { return try base.read(at: byteOffset, into: &bytes) }
        try checkBounds(.read, at: byteOffset, count: total)

        // No overflow from here on: the range lies on the device, and so do the blocks' starts.
        var done = 0
        while done < total {
            let position = byteOffset &+ UInt64(done)
            let remaining = UInt64(total &- done)
            if next < blocks.count, blocks[next].target == position / blockSize {
                let within = position % blockSize
                let count = Int(min(remaining, blockSize &- within))
                var part = bytes._mutatingExtracting(done..<done &+ count)
                try recovery.read(blocks[next], at: Int(within), into: &part)
                next &+= 1
                done &+= count
            } else {
                let gap =
                    next < blocks.count ? blocks[next].target &* blockSize &- position : remaining
                let count = Int(min(remaining, gap))
                var part = bytes._mutatingExtracting(done..<done &+ count)
                try base.read(at: position, into: &part)
                done &+= count
            }
        }
    }

    package func write(_ bytes: RawSpan, at byteOffset: UInt64) throws(Ext4Error) {
        throw .readOnlyVolume
    }

    package func flush() throws(Ext4Error) {}
}

extension UInt64 {
    /// The sum, or the largest number.
    fileprivate func addingSaturating(_ other: UInt64) -> UInt64 {
        let (sum, overflow) = addingReportingOverflow(other)
        return overflow ? .max : sum
    }
}
