extension Recovery {
    /// How much is written at once where blocks lie side by side.
    private static let longestWrite = 1 << 20

    /// Writes every block to its place and then empties the log.
    ///
    /// The order is what makes it safe to be cut off anywhere: the blocks, a flush, the journal's
    /// superblock, a flush.
    ///
    /// - Throws: `Ext4Error.io`, or `Ext4Error.readOnlyVolume`.
    package func replay(to device: any BlockDevice) throws(Ext4Error) {
        guard !device.isReadOnly else { throw .readOnlyVolume }
        try writeBlocks(to: device)
        try device.flush()
        try Self.patchSuperblock(of: area.location, on: device, volume) { bytes in
            // One further than the first missing transaction, so that nothing of it that is in
            // the log can ever be taken for the next one.
            JournalSuperblock.markEmpty(&bytes, nextSequence: endTransaction.next)
        }
        try device.flush()
    }

    /// Changes the journal's superblock in its place.
    package static func patchSuperblock(
        of location: JournalLocation, on device: any BlockDevice, _ volume: JournalledVolume,
        _ change: (inout MutableRawSpan) -> Void
    ) throws(Ext4Error) {
        guard let place = location.block(0) else {
            throw .corrupt(.journal, .broken("the journal has no blocks"))
        }
        let byteOffset = place.rawValue &* UInt64(volume.blockSize)
        var bytes = try device.read(at: byteOffset, count: JournalSuperblock.Layout.byteCount)
        do {
            var span = bytes.mutableSpan
            var raw = unsafe span.mutableBytes
            change(&raw)
        }
        try unsafe device.write(bytes.span.bytes, at: byteOffset)
    }

    private func writeBlocks(to device: any BlockDevice) throws(Ext4Error) {
        let blockSize = volume.blockSize
        let blocksAtOnce = max(1, min(blocks.count, Self.longestWrite / blockSize))
        var buffer = [UInt8](repeating: 0, count: blocksAtOnce &* blockSize)
        var position = 0
        while position < blocks.count {
            let first = blocks[position].target
            var count = 0
            var span = buffer.mutableSpan
            var raw = unsafe span.mutableBytes
            // No overflow: `count` stays below `blocksAtOnce`, targets below the volume's size.
            while count < blocksAtOnce, position &+ count < blocks.count,
                blocks[position &+ count].target == first &+ UInt64(count)
            {
                let start = count &* blockSize
                var part = raw._mutatingExtracting(start..<start &+ blockSize)
                try read(blocks[position &+ count], at: 0, into: &part)
                count &+= 1
            }
            try device.write(
                raw.bytes.extracting(0..<count &* blockSize), at: first &* UInt64(blockSize))
            position &+= count
        }
    }
}
