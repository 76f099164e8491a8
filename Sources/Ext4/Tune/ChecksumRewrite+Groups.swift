// Descriptors, with the checksums of bitmaps; and where the marks of what was never used lose their
// meaning, what they stood for.

extension ChecksumRewrite {
    /// Block `index` of the descriptor table, checked.
    func descriptorBlock(_ index: UInt32) throws(Ext4Error) -> [UInt8] {
        let number = old.location(ofDescriptorBlock: index)
        let block = try device.read(at: byteOffset(number), count: old.blockSize)
        for slot in 0..<Int(descriptorCount(index)) {
            let group = GroupNumber(
                index &* old.descriptorsPerBlock &+ UInt32(truncatingIfNeeded: slot))
            let bytes = unsafe block.span.bytes.extracting(range(ofDescriptor: slot))
            do throws(Ext4Error) {
                _ = try GroupDescriptor(parsing: bytes, group: group, superblock: present)
            } catch {
                let hasNone = !new.hasDescriptorChecksums
                guard !hasNone || bytes[GroupDescriptor.Layout.checksum] == 0,
                    (try? GroupDescriptor(parsing: bytes, group: group, superblock: new)) != nil
                else { throw error }
            }
        }
        return block
    }

    /// All descriptors as they are, with the checksums that `other` asks for.
    func descriptors(under other: Superblock) throws(Ext4Error) -> DescriptorTable {
        let format = GroupDescriptor.Format(other)
        var table = DescriptorTable()
        for index in 0..<old.descriptorBlockCount {
            var block = try descriptorBlock(index)
            for slot in 0..<Int(descriptorCount(index)) {
                var descriptor = unsafe GroupDescriptor(
                    unchecked: block.span.bytes.extracting(range(ofDescriptor: slot)),
                    superblock: old)
                write(&descriptor, slot, ofBlock: index, to: &block, format)
            }
            table.append(block, at: old.location(ofDescriptorBlock: index))
        }
        return table
    }

    private func write(
        _ descriptor: inout GroupDescriptor, _ slot: Int, ofBlock index: UInt32,
        to block: inout [UInt8], _ format: GroupDescriptor.Format
    ) {
        let group = GroupNumber(
            index &* old.descriptorsPerBlock &+ UInt32(truncatingIfNeeded: slot))
        var span = block.mutableSpan
        var raw = unsafe span.mutableBytes
        var part = raw._mutatingExtracting(range(ofDescriptor: slot))
        part[GroupDescriptor.Layout.checksum] = 0
        descriptor.write(to: &part, group: group, format)
    }

    /// All descriptors as they shall be.
    ///
    /// - Parameter step: told of each group that is done.
    func newDescriptors(_ step: (GroupNumber) -> Void) throws(Ext4Error) -> DescriptorTable {
        let format = GroupDescriptor.Format(new)
        var table = DescriptorTable()
        let own = try ownBlocks()
        for index in 0..<old.descriptorBlockCount {
            var block = try descriptorBlock(index)
            for slot in 0..<Int(descriptorCount(index)) {
                let group = GroupNumber(
                    index &* old.descriptorsPerBlock &+ UInt32(truncatingIfNeeded: slot))
                var descriptor = unsafe GroupDescriptor(
                    unchecked: block.span.bytes.extracting(range(ofDescriptor: slot)),
                    superblock: old)
                if let own { try writeUnused(&descriptor, of: group, own) }
                try rewriteBitmaps(&descriptor, of: group)
                if !old.hasDescriptorChecksums, new.hasDescriptorChecksums {
                    // Everything was written when the volume was made.
                    descriptor.flags = .inodeZeroed
                    descriptor.unusedInodesCount = 0
                }
                write(&descriptor, slot, ofBlock: index, to: &block, format)
                step(group)
            }
            table.append(block, at: old.location(ofDescriptorBlock: index))
        }
        return table
    }

    // MARK: Bitmaps

    /// The checksums of a group's bitmaps.
    private func rewriteBitmaps(
        _ descriptor: inout GroupDescriptor, of group: GroupNumber
    ) throws(Ext4Error) {
        guard oldSeed != newSeed else { return }
        let hasBlocks = !hasMarks || !descriptor.flags.contains(.blockUninit)
        let hasInodes = !hasMarks || !descriptor.flags.contains(.inodeUninit)
        descriptor.blockBitmapChecksum =
            hasBlocks
            ? try checksum(
                of: descriptor.blockBitmap, .blockBitmap, group, descriptor.blockBitmapChecksum,
                GroupDescriptor.blockBitmapChecksum) : 0
        descriptor.inodeBitmapChecksum =
            hasInodes
            ? try checksum(
                of: descriptor.inodeBitmap, .inodeBitmap, group, descriptor.inodeBitmapChecksum,
                GroupDescriptor.inodeBitmapChecksum) : 0
    }

    /// The new checksum of a bitmap that has the `stored` one.
    private func checksum(
        of number: BlockNumber, _ structure: Corruption.Structure, _ group: GroupNumber,
        _ stored: UInt32, _ compute: (RawSpan, Superblock) -> UInt32?
    ) throws(Ext4Error) -> UInt32 {
        let bitmap = try block(number, structure, .init(group: group))
        let before = unsafe compute(bitmap.span.bytes, old)
        let after = unsafe compute(bitmap.span.bytes, new) ?? 0
        if let before, before != stored, after != stored {
            throw .corrupt(
                structure, at: .init(group: group, block: number),
                .checksum(stored: stored, computed: before))
        }
        return after
    }

    // MARK: What was never used

    /// The blocks of the volume's own structures, where they are needed: the volume has marks of
    /// what was never used, and shall have none.
    private func ownBlocks() throws(Ext4Error) -> OwnBlocks? {
        guard hasMarks, !new.hasDescriptorChecksums else { return nil }
        let groups = GroupTable(reader, sourceGroup: GroupNumber(0))
        return try OwnBlocks(old, groups, others: [])
    }

    /// Writes what a group's marks say was never written, and takes the marks away.
    private func writeUnused(
        _ descriptor: inout GroupDescriptor, of group: GroupNumber, _ own: OwnBlocks
    ) throws(Ext4Error) {
        let flags = descriptor.flags
        if flags.contains(.blockUninit) {
            try write(blockBitmap(of: group, own), to: descriptor.blockBitmap)
            descriptor.blockBitmapChecksum = 0
        }
        if flags.contains(.inodeUninit) {
            try write(bitmap(of: Int(old.inodesPerGroup), taken: []), to: descriptor.inodeBitmap)
            descriptor.inodeBitmapChecksum = 0
        }
        if !flags.contains(.inodeZeroed) {
            let unused =
                flags.contains(.inodeUninit)
                ? old.inodesPerGroup : min(descriptor.unusedInodesCount, old.inodesPerGroup)
            try clearTable(descriptor, from: old.inodesPerGroup &- unused)
        }
        descriptor.flags = []
        descriptor.unusedInodesCount = 0
    }

    private func blockBitmap(of group: GroupNumber, _ own: OwnBlocks) -> [UInt8] {
        let start = old.firstBlock(of: group)
        let blocks = UInt64(old.blockCount(of: group))
        let ratio = UInt64(old.clusterRatioLog2)
        var taken: [Range<Int>] = []
        own.forEachPart(in: BlockRange(start: start, count: blocks)) { part in
            let first = part.start.rawValue &- start.rawValue
            let last = first &+ part.count &- 1
            taken.append(Int(first >> ratio)..<Int(last >> ratio) &+ 1)
        }
        return bitmap(of: Int((blocks &+ (1 << ratio) &- 1) >> ratio), taken: taken)
    }

    /// A bitmap of `count` bits, those behind them set.
    private func bitmap(of count: Int, taken: [Range<Int>]) -> [UInt8] {
        var block = [UInt8](repeating: 0, count: old.blockSize)
        var span = block.mutableSpan
        var raw = unsafe span.mutableBytes
        for range in taken { raw.setBits(range) }
        raw.setBits(count..<raw.byteCount &* 8)
        return block
    }

    /// Zeros for the inodes of a group from the one at `index` on.
    private func clearTable(
        _ descriptor: GroupDescriptor, from index: UInt32
    ) throws(Ext4Error) {
        let blockSize = UInt64(old.blockSize)
        let start = byteOffset(descriptor.inodeTable)
        let end = start &+ UInt64(old.inodeTableBlocks) &* blockSize
        let first = start &+ UInt64(index) &* UInt64(old.inodeSize)
        // The block that holds the first of them may hold others.
        var offset = first / blockSize &* blockSize
        while offset < end {
            let count = Int(min(1 << 20, end &- offset))
            var chunk = try device.read(at: offset, count: count)
            let keep = first > offset ? Int(min(first &- offset, UInt64(count))) : 0
            let isClear = unsafe chunk.span.bytes.extracting(keep..<count).isAllZero
            if !isClear {
                do {
                    var span = chunk.mutableSpan
                    var raw = unsafe span.mutableBytes
                    raw.clear(keep..<count)
                }
                try unsafe device.write(chunk.span.bytes, at: offset)
            }
            offset &+= UInt64(count)
        }
    }
}
