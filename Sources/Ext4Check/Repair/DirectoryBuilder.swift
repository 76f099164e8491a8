import Ext4

/// Writes the blocks of a directory anew from its names: one block, or an index with as many levels
/// as it takes.
struct DirectoryBuilder {
    let volume: RepairVolume
    /// The directory.
    let inode: UInt32
    let parent: UInt32
    let owner: BlockOwner
    /// The hash that the directory's index is by; nil for none.
    let hash: DirectoryHash?

    /// The blocks, in the order of the directory, and whether they have an index.
    func blocks(_ entries: [SalvagedEntry]) -> (blocks: [Record], isIndexed: Bool) {
        let dots = 2 * DirectoryRecord.dotSize
        let size = entries.reduce(dots) { $0 + Self.size($1) }
        if size <= format.entriesEnd || hash == nil {
            return (linear(entries), false)
        }
        if let indexed = indexed(entries) { return (indexed, true) }
        return (linear(entries), false)
    }

    private var format: DirectoryFormat { volume.format }

    private static func size(_ entry: SalvagedEntry) -> Int {
        DirectoryRecord.size(nameLength: entry.name.count, hasHash: false)
    }

    private func linear(_ entries: [SalvagedEntry]) -> [Record] {
        var blocks: [Record] = []
        var rest = entries[...]
        repeat {
            blocks.append(leaf(&rest, hasDots: blocks.isEmpty))
        } while !rest.isEmpty
        return blocks
    }

    /// Fills one block with as many entries as fit.
    private func leaf(_ entries: inout ArraySlice<SalvagedEntry>, hasDots: Bool) -> Record {
        var block = volume.zeroes
        let end = format.entriesEnd
        var taken: [(entry: SalvagedEntry, start: Int)] = []
        var offset = hasDots ? 2 * DirectoryRecord.dotSize : 0
        while let entry = entries.first, offset + Self.size(entry) <= end {
            taken.append((entry, offset))
            offset += Self.size(entry)
            entries.removeFirst()
        }
        let format = format
        block.withMutableBytes { bytes in
            if hasDots {
                let dotsEnd = taken.isEmpty ? end : 2 * DirectoryRecord.dotSize
                DirectoryRecord.writeDots(
                    itself: InodeNumber(inode), parent: InodeNumber(parent), end: dotsEnd,
                    in: &bytes, format: format)
            } else if taken.isEmpty {
                DirectoryRecord.writeUnused(length: end, at: 0, in: &bytes, format: format)
            }
            for (i, (entry, start)) in taken.enumerated() {
                let next = i + 1 < taken.count ? taken[i + 1].start : end
                unsafe DirectoryRecord.write(
                    DirectoryRecord.Target(
                        inode: InodeNumber(entry.inode),
                        type: FileType(rawValue: entry.type) ?? .unknown),
                    name: entry.name.span.bytes, length: next - start, at: start, in: &bytes,
                    format: format)
            }
            DirectoryRecord.writeTail(in: &bytes, format: format)
            if format.hasChecksums { DirectoryRecord.sealTail(&bytes, owner: owner) }
        }
        return block
    }

    private func indexed(_ entries: [SalvagedEntry]) -> [Record]? {
        guard let hash else { return nil }
        var hashed: [(value: DirectoryHash.Value, entry: SalvagedEntry)] = []
        for entry in entries {
            guard let value = unsafe hash.hash(of: entry.name.span.bytes) else { return nil }
            hashed.append((value, entry))
        }
        hashed.sort { $0.value < $1.value }
        var leaves: [Record] = []
        var index: [(hash: UInt32, block: LogicalBlock)] = []
        var rest = hashed.map(\.entry)[...]
        var first = 0
        while !rest.isEmpty {
            let before = rest.count
            leaves.append(leaf(&rest, hasDots: false))
            var major = hashed[first].value.major
            // The block before ends with the same hash: the chain goes on here.
            if first > 0, hashed[first - 1].value.major == major { major |= 1 }
            index.append((major, LogicalBlock(UInt64(leaves.count))))
            first += before - rest.count
        }
        let rootEntries = HTreeNode.rootBase + HTreeNode.RootLayout.size
        let rootCapacity = HTreeNode.capacity(from: rootEntries, format)
        let capacity = HTreeNode.capacity(from: DirectoryRecord.headerSize, format)
        var blocks = leaves
        var levels = 0
        while index.count > rootCapacity {
            levels += 1
            guard levels <= HTreeNode.maximumLevels(volume.superblock) else { return nil }
            var above: [(hash: UInt32, block: LogicalBlock)] = []
            for start in stride(from: 0, to: index.count, by: capacity) {
                let part = index[start..<min(start + capacity, index.count)]
                blocks.append(inner(part))
                above.append((part.first?.hash ?? 0, LogicalBlock(UInt64(blocks.count))))
            }
            index = above
        }
        return [root(index, levels: levels, version: hash.version)] + blocks
    }

    private func inner(_ entries: ArraySlice<(hash: UInt32, block: LogicalBlock)>) -> Record {
        var copies = Record([UInt8](repeating: 0, count: entries.count * HTreeNode.entrySize))
        for (i, entry) in entries.enumerated() {
            let base = i * HTreeNode.entrySize
            copies[HTreeNode.EntryLayout.hash.at(base)] = entry.hash
            copies[HTreeNode.EntryLayout.block.at(base)] = UInt32(
                truncatingIfNeeded: entry.block.rawValue)
        }
        var block = volume.zeroes
        let format = format
        block.withMutableBytes { bytes in
            HTreeNode.writeInner(copies.bytes, in: &bytes, format: format)
            if format.hasChecksums { HTreeNode.seal(&bytes, isRoot: false, owner: owner) }
        }
        return block
    }

    private func root(
        _ entries: [(hash: UInt32, block: LogicalBlock)], levels: Int,
        version: DirectoryHash.Version
    ) -> Record {
        var block = volume.zeroes
        let format = format
        block.withMutableBytes { bytes in
            // What the disk has of the hash's version does not tell how bytes are taken.
            let stored =
                version.isUnsigned && version.rawValue <= 5
                ? version.rawValue - 3 : version.rawValue
            HTreeNode.writeRoot(
                itself: InodeNumber(inode), parent: InodeNumber(parent), hashVersion: stored,
                leaves: entries, in: &bytes, format: format)
            bytes[HTreeNode.RootLayout.indirectLevels.at(HTreeNode.rootBase)] = UInt8(
                truncatingIfNeeded: levels)
            if format.hasChecksums { HTreeNode.seal(&bytes, isRoot: true, owner: owner) }
        }
        return block
    }
}
