/// A superblock and where it was found: the group tells where its descriptors are.
package struct SuperblockSource {
    package let superblock: Superblock
    /// 0 for the primary copy.
    package let group: GroupNumber
    /// Where it starts, in bytes.
    package let byteOffset: UInt64

    private static let blockSizes = (10...16).map { 1 << $0 }

    /// Finds the superblock that the options ask for.
    package static func find(
        on device: any BlockDevice, options: OpenOptions
    ) throws(Ext4Error) -> SuperblockSource {
        switch options.superblock {
        case .primary:
            return try primary(on: device, options)
        case .automatic:
            do throws(Ext4Error) {
                return try primary(on: device, options)
            } catch {
                guard case .corrupt = error, let backup = search(device, options) else {
                    throw error
                }
                options.log(
                    .warning,
                    "\(error); using the backup in group \(backup.group)")
                return backup
            }
        case .backup(let block, let blockSize):
            return try backup(on: device, at: block, blockSize, options)
        }
    }

    /// Reads the same copy once more, from a device with the journal applied.
    package func read(
        again device: any BlockDevice, options: OpenOptions
    ) throws(Ext4Error) -> SuperblockSource {
        try Self.read(device, at: byteOffset, group: group, options)
    }

    private static func primary(
        on device: any BlockDevice, _ options: OpenOptions
    ) throws(Ext4Error) -> SuperblockSource {
        guard device.byteCount >= Superblock.byteOffset + UInt64(Superblock.byteCount) else {
            throw .corrupt(.superblock, .truncated)
        }
        return try read(device, at: Superblock.byteOffset, group: GroupNumber(0), options)
    }

    private static func backup(
        on device: any BlockDevice, at block: BlockNumber, _ blockSize: Int?,
        _ options: OpenOptions
    ) throws(Ext4Error) -> SuperblockSource {
        // Block 0 of larger blocks, and block 1 of 1 KiB, are where the primary one is.
        if block.rawValue == 0 { return try primary(on: device, options) }
        var failure: Ext4Error = .corrupt(.superblock, at: .init(block: block), .truncated)
        for size in blockSize.map({ [$0] }) ?? blockSizes {
            guard size > 0 else { throw .invalidArgument }
            let (offset, overflow) = block.rawValue.multipliedReportingOverflow(by: UInt64(size))
            // Where the block would lie behind the device, its size is not this one.
            guard !overflow, offset < device.byteCount else { continue }
            if offset == Superblock.byteOffset {
                if let found = try? primary(on: device, options) { return found }
                continue
            }
            do throws(Ext4Error) {
                let found = try read(device, at: offset, group: nil, options)
                guard found.superblock.blockSize == size else {
                    throw .corrupt(
                        .superblock, at: .init(block: block),
                        .broken("it is for blocks of \(found.superblock.blockSize) bytes"))
                }
                return found
            } catch {
                // A size at which there is no superblock at all says nothing about the others.
                if case .corrupt(let corruption) = error, case .magic = corruption.rule {
                    if case .corrupt(let known) = failure, known.rule != .truncated { continue }
                }
                failure = error
            }
        }
        throw failure
    }

    /// The first good backup at the places where `mke2fs` puts them, or nil.
    package static func search(
        _ device: any BlockDevice, _ options: OpenOptions
    ) -> SuperblockSource? {
        for size in blockSizes {
            for (group, ratioLog2) in places {
                // With 1 KiB blocks the first group starts at block 1, but for bigalloc at 0.
                let first = size == 1024 && ratioLog2 == 0 ? 1 : 0
                let block = UInt64(first) + UInt64(group) * UInt64(8 * size) << UInt64(ratioLog2)
                guard
                    let found = try? read(
                        device, at: block * UInt64(size), group: nil, options),
                    found.superblock.blockSize == size
                else { continue }
                return found
            }
        }
        return nil
    }

    /// Groups with backups under sparse_super, with groups of the default size; and group 1 with
    /// each ratio of clusters to blocks.
    private static var places: [(group: Int, ratioLog2: Int)] {
        [1, 3, 5, 7, 9, 25, 27, 49].map { ($0, 0) } + (1...10).map { (1, $0) }
    }

    private static func read(
        _ device: any BlockDevice, at byteOffset: UInt64, group: GroupNumber?,
        _ options: OpenOptions
    ) throws(Ext4Error) -> SuperblockSource {
        let bytes = try device.read(at: byteOffset, count: Superblock.byteCount)
        let superblock = try Superblock(
            parsing: unsafe bytes.span.bytes, verifiesChecksum: options.verifiesChecksums)
        let (size, overflow) = superblock.blocksCount.multipliedReportingOverflow(
            by: UInt64(superblock.blockSize))
        guard !overflow, size <= device.byteCount else {
            let limit = device.byteCount / UInt64(superblock.blockSize)
            throw .corrupt(
                .superblock,
                .field(
                    "s_blocks_count", value: superblock.blocksCount,
                    rule: "at most \(limit), what the device holds"))
        }
        guard group == nil else {
            return SuperblockSource(
                superblock: superblock, group: GroupNumber(0), byteOffset: byteOffset)
        }
        // A backup is believed only where its group starts: a copy inside a file is not one.
        let first = UInt64(superblock.firstDataBlock)
        let block = byteOffset / UInt64(superblock.blockSize)
        guard block > first, (block - first) % UInt64(superblock.blocksPerGroup) == 0,
            let number = UInt32(exactly: (block - first) / UInt64(superblock.blocksPerGroup)),
            number < superblock.groupCount, UInt16(truncatingIfNeeded: number) == superblock.group
        else {
            throw .corrupt(
                .superblock, at: .init(block: BlockNumber(block)),
                .broken("no group with a backup starts here"))
        }
        return SuperblockSource(
            superblock: superblock, group: GroupNumber(number), byteOffset: byteOffset)
    }
}
