/// Writes the copies of the superblock and of the descriptors anew, from the primary ones on the
/// device. Nobody reads them as long as those are sound: no order is kept with anything else.
struct BackupCopies {
    let device: any BlockDevice
    let superblock: Superblock

    /// Blocks of descriptors that are copied in one request.
    private static let chunk: UInt32 = 256

    /// The groups with a copy of the superblock.
    private var groups: [GroupNumber] {
        guard superblock.groupCount > 1 else { return [] }
        return (1..<superblock.groupCount).map { GroupNumber($0) }
            .filter { superblock.hasSuperblock($0) }
    }

    /// Writes all of them: first the descriptors, so that a superblock with the volume's size tells
    /// that everything is there.
    func write(_ progress: (_ done: UInt64, _ total: UInt64) -> Void) throws(Ext4Error) {
        let primary = try device.read(at: Superblock.byteOffset, count: Superblock.byteCount)
        let groups = groups
        let copies = superblock.groupsWithTableCopies
        let total = UInt64(copies.count) &+ 1
        var done: UInt64 = 0
        try writeMetaGroups()
        for group in copies {
            try writeTable(to: group)
            done &+= 1
            progress(done, total)
        }
        try device.flush()
        for group in groups { try writeSuperblock(primary, to: group) }
        try device.flush()
        progress(total, total)
    }

    /// Whether the copies may be those of a volume of another size, because writing them was cut
    /// off.
    var mayBeOutOfDate: Bool {
        let groups = groups
        for group in groups {
            guard
                let bytes = try? device.read(
                    at: byteOffset(superblock.firstBlock(of: group)),
                    count: Superblock.byteCount),
                let copy = try? unsafe Superblock(parsing: bytes.span.bytes),
                copy.blocksCount == superblock.blocksCount
            else { return true }
        }
        // Without a superblock that tells, nothing is known of meta groups.
        return groups.isEmpty && superblock.incompatible.contains(.metaBg)
    }

    private func byteOffset(_ block: BlockNumber) -> UInt64 {
        block.rawValue << UInt64(superblock.blockSizeLog2)
    }

    private func writeSuperblock(
        _ primary: [UInt8], to group: GroupNumber
    ) throws(Ext4Error) {
        var bytes = primary
        do {
            var span = bytes.mutableSpan
            var raw = unsafe span.mutableBytes
            raw[Superblock.Layout.group] = UInt16(truncatingIfNeeded: group.rawValue)
            // What a volume that is open says of its present state is of no use later.
            raw[Superblock.Layout.incompatible] &= ~IncompatibleFeatures.recover.rawValue
            raw[Superblock.Layout.readOnlyCompatible] &=
                ~ReadOnlyCompatibleFeatures.orphanPresent.rawValue
            raw[Superblock.Layout.lastOrphan] = 0
            if superblock.hasMetadataChecksums {
                raw[Superblock.Layout.checksum] = Superblock.checksum(of: raw.bytes)
            }
        }
        try unsafe device.write(
            bytes.span.bytes, at: byteOffset(superblock.firstBlock(of: group)))
    }

    /// The part of the table that follows the superblock.
    private func writeTable(to group: GroupNumber) throws(Ext4Error) {
        var count = superblock.descriptorBlockCount
        if superblock.incompatible.contains(.metaBg) {
            count = min(count, superblock.firstMetaGroup)
        }
        var index: UInt32 = 0
        while index < count {
            let part = min(Self.chunk, count &- index)
            let bytes = try device.read(
                at: byteOffset(superblock.location(ofDescriptorBlock: index)),
                count: Int(part) << superblock.blockSizeLog2)
            try unsafe device.write(
                bytes.span.bytes,
                at: byteOffset(
                    superblock.firstBlock(of: group).advanced(by: 1 &+ UInt64(index))))
            index &+= part
        }
    }

    /// Each block of the table that lies in a meta group has copies in its second and last group.
    private func writeMetaGroups() throws(Ext4Error) {
        guard superblock.incompatible.contains(.metaBg) else { return }
        let perBlock = superblock.descriptorsPerBlock
        var index = superblock.firstMetaGroup
        while index < superblock.descriptorBlockCount {
            let bytes = try device.read(
                at: byteOffset(superblock.location(ofDescriptorBlock: index)),
                count: superblock.blockSize)
            let first = index &* perBlock
            for number in perBlock > 2 ? [first &+ 1, first &+ perBlock &- 1] : [first &+ 1]
            where number < superblock.groupCount {
                let group = GroupNumber(number)
                let offset: UInt64 = superblock.hasSuperblock(group) ? 1 : 0
                try unsafe device.write(
                    bytes.span.bytes,
                    at: byteOffset(superblock.firstBlock(of: group).advanced(by: offset)))
            }
            index &+= 1
        }
    }
}
