import Ext4

// Directories: their entries, and writing them anew.

extension RepairRound {
    private typealias Layout = InodeRecord.Layout
    private typealias Entry = DirectoryRecord.Layout

    func applyDirectory(_ finding: Finding, _ attempt: Int) throws(Ext4Error) {
        guard let number = finding.place.inode?.rawValue else { return }
        if attempt >= 4 {
            // Names that never come right are dropped with their directory; what they led to is
            // found again as lost.
            try giveUp(number, attempt)
            return
        }
        if finding.rule == .directoryUninitialised, let other = finding.other {
            try enlargeTable(for: other)
            return
        }
        if attempt == 0, try patch(finding, number) { return }
        rebuilds.insert(number)
    }

    /// The table's part in use grows over an inode that a name leads to.
    private func enlargeTable(for inode: InodeNumber) throws(Ext4Error) {
        let group = state.volume.group(of: inode).rawValue
        let isWide = superblock.descriptorSize >= 64
        try volume.changeDescriptor(group) { record in
            record[GroupDescriptor.Layout.flags] &= ~1
            record[GroupDescriptor.Layout.unusedInodesLow] = 0
            if isWide { record[GroupDescriptor.Layout.unusedInodesHigh] = 0 }
        }
    }

    /// Puts right what needs no other entry to be looked at, in its place.
    ///
    /// - Returns: whether that was possible.
    private func patch(_ finding: Finding, _ number: UInt32) throws(Ext4Error) -> Bool {
        guard let block = finding.place.block?.rawValue, let offset = finding.place.byteOffset,
            let record = volume.inode(number), offset >= 0, offset % 4 == 0,
            offset + 12 <= volume.blockSize, var bytes = volume.block(block)
        else { return false }
        switch finding.rule {
        case .directoryInode, .directoryUnusedInode, .directorySelf, .directoryRoot, .directoryLink,
            .directoryExtraDot, .directoryEncryption:
            bytes[Entry.inode.at(offset)] = 0
        case .directoryType, .directoryTypeUnset:
            guard let type = finding.expected else { return false }
            bytes[Entry.fileType.at(offset)] = UInt8(truncatingIfNeeded: type)
        default:
            return false
        }
        let isIndex =
            finding.place.logicalBlock?.rawValue == 0
            && InodeFlags(rawValue: record[Layout.flags]).contains(.index)
        let owner = volume.owner(number, record)
        if superblock.hasMetadataChecksums {
            bytes.withMutableBytes { bytes in
                if isIndex {
                    HTreeNode.seal(&bytes, isRoot: true, owner: owner)
                } else {
                    DirectoryRecord.sealTail(&bytes, owner: owner)
                }
            }
        }
        try volume.setBlock(block, bytes)
        return true
    }

    // MARK: Writing a directory anew

    /// The names of a directory as far as they can be told, and its parent.
    func salvage(_ number: UInt32, _ record: Record) -> (entries: [SalvagedEntry], parent: UInt32?)
    {
        let salvage: DirectorySalvage
        if InodeFlags(rawValue: record[Layout.flags]).contains(.inlineData) {
            salvage = DirectorySalvage(
                inlineMap: record.part(Layout.block), more: inlineAttributeValue(record), in: volume
            )
        } else {
            let map = MapSalvage(record, in: volume, isStructure: isStructure)
            salvage = DirectorySalvage(map.runs, in: volume)
        }
        return (salvage.entries, salvage.parent)
    }

    /// Writes a directory's blocks anew, from the names that can still be told and `names`.
    func rebuildDirectory(
        _ number: UInt32, adding names: [SalvagedEntry]
    ) throws(Ext4Error) {
        guard var record = volume.inode(number),
            FileMode(rawValue: record[Layout.mode]).type == .directory
        else { return }
        let found = salvage(number, record)
        let kept = found.entries.filter { number != 2 || !droppedNames.contains($0.name) }
        let dropped = droppedTargets[number] ?? []
        let entries = sound(kept.filter { !dropped.contains($0.inode) }, in: number, adding: names)
        let parent = parent(of: number, found: found.parent)
        var flags = InodeFlags(rawValue: record[Layout.flags])
        if flags.contains(.inlineData) {
            if try storeInline(entries, parent: parent, number, &record) { return }
            removeInlineAttribute(number, &record)
            flags.remove(.inlineData)
            flags.remove(.extents)
            if superblock.incompatible.contains(.extents) { flags.insert(.extents) }
        }
        record[Layout.flags] = flags.rawValue
        let (blocks, isIndexed) = volume.directoryBlocks(
            entries, owner: volume.owner(number, record), parent: parent, hash: hash(flags))
        if isIndexed { flags.insert(.index) } else { flags.remove(.index) }
        record[Layout.flags] = flags.rawValue
        try store(blocks, of: number, in: &record)
    }

    /// Puts the blocks of a directory into free space and lets the inode lead to them; on a full
    /// volume into the blocks that it has.
    private func store(
        _ blocks: [Record], of number: UInt32, in record: inout Record
    ) throws(Ext4Error) {
        var places = volume.allocate(blocks.count) ?? []
        if places.isEmpty {
            let old = MapSalvage(record, in: volume, isStructure: isStructure)
            for run in old.runs {
                guard let start = run.start?.rawValue else { continue }
                for i in 0..<run.count { places.append(start &+ i) }
            }
            guard places.count >= blocks.count else {
                try clearInode(number)
                return
            }
        }
        var runs: [BlockRun] = []
        for (i, block) in blocks.enumerated() {
            try volume.setBlock(places[i], block)
            let run = BlockRun(
                logical: LogicalBlock(UInt64(i)), count: 1, state: .mapped(BlockNumber(places[i])))
            if let last = runs.last, let merged = last.merged(with: run) {
                runs[runs.count - 1] = merged
            } else {
                runs.append(run)
            }
        }
        guard
            try volume.setMap(
                runs, in: &record, owner: volume.owner(number, record))
        else {
            try clearInode(number)
            return
        }
        let size = UInt64(blocks.count) << UInt64(superblock.blockSizeLog2)
        setSize(size, blocks: UInt64(blocks.count), in: &record)
        try volume.setInode(number, record)
    }

    /// The entries that may stay, each name once.
    private func sound(
        _ found: [SalvagedEntry], in directory: UInt32, adding added: [SalvagedEntry]
    ) -> [SalvagedEntry] {
        var names: Set<[UInt8]> = []
        var targets: Set<UInt32> = []
        var result: [SalvagedEntry] = []
        for (index, entry) in (found + added).enumerated() {
            var entry = entry
            let isNew = index >= found.count
            let inode = InodeNumber(entry.inode)
            guard superblock.isNameable(inode), inode != .root, entry.inode != directory,
                let type = type(of: entry.inode)
            else { continue }
            // A directory has one name: the one that was found first.
            if type == .directory {
                if !isNew, let index = state.directories?.index(of: inode) {
                    let parent = state.directories?.parent(at: index).rawValue ?? 0
                    guard parent == 0 || parent == directory else { continue }
                }
                guard targets.insert(entry.inode).inserted else { continue }
            }
            if isNew, found.contains(where: { $0.inode == entry.inode }) { continue }
            for i in entry.name.indices where entry.name[i] == 0 || entry.name[i] == 0x2F {
                entry.name[i] = 0x2E
            }
            if entry.name == [0x2E] || entry.name == [0x2E, 0x2E] { continue }
            entry.type = superblock.incompatible.contains(.filetype) ? type.rawValue : 0
            var name = entry.name
            var number = 0
            while !names.insert(name).inserted {
                number += 1
                let suffix = Array("~\(number)".utf8)
                name = Array(entry.name.prefix(255 - suffix.count)) + suffix
            }
            entry.name = name
            result.append(entry)
        }
        return result
    }

    /// The type of an inode in use as it is by now; nil for none.
    private func type(of number: UInt32) -> FileType? {
        guard let record = volume.inode(number), record[Layout.linkCount] > 0 || newNamed(number),
            record[Layout.mode] != 0
        else { return nil }
        if InodeFlags(rawValue: record[Layout.flags]).contains(.attributeInode),
            superblock.incompatible.contains(.eaInode)
        {
            return nil
        }
        let type = FileMode(rawValue: record[Layout.mode]).type
        return type == .unknown ? nil : type
    }

    private func newNamed(_ number: UInt32) -> Bool {
        newNames.values.contains { $0.contains { $0.inode == number } }
    }

    private func parent(of number: UInt32, found: UInt32?) -> UInt32 {
        if number == 2 { return 2 }
        if let directories = state.directories,
            let index = directories.index(of: InodeNumber(number))
        {
            let parent = directories.parent(at: index).rawValue
            if parent != 0 { return parent }
        }
        guard let found, found >= 1, found <= superblock.inodesCount else { return 2 }
        return found
    }

    /// The hash for the index of a directory with those flags; nil where it gets none.
    private func hash(_ flags: InodeFlags) -> DirectoryHash? {
        guard superblock.compatible.contains(.dirIndex),
            flags.isDisjoint(with: [.casefold, .encrypted])
        else { return nil }
        let bytes = Record(state.volume.superblockBytes)
        let stored = bytes[Superblock.Layout.defaultHashVersion]
        let version = DirectoryHash.Version(rawValue: stored > 5 ? 1 : stored)
        let isUnsigned = bytes[Superblock.Layout.flags] & 2 != 0  // EXT2_FLAGS_UNSIGNED_HASH
        let base = Superblock.Layout.hashSeed
        return DirectoryHash(
            version.resolved(isUnsigned: isUnsigned),
            seed: (bytes[base], bytes[base.at(4)], bytes[base.at(8)], bytes[base.at(12)]))
    }

    // MARK: Directories in their inode

    /// Writes the entries into the inode, when they fit into its map's place.
    private func storeInline(
        _ entries: [SalvagedEntry], parent: UInt32, _ number: UInt32, _ record: inout Record
    ) throws(Ext4Error) -> Bool {
        guard hasInlineAttribute(record) else { return false }
        let format = volume.format
        let parts = [Layout.block.count - 4, inlineAttributeSize(record)]
        var rest = entries[...]
        var written: [[UInt8]] = []
        for size in parts {
            guard size >= 12 else {
                written.append([UInt8](repeating: 0, count: size))
                continue
            }
            var part = Record([UInt8](repeating: 0, count: size))
            var taken: [(entry: SalvagedEntry, start: Int)] = []
            var offset = 0
            while let entry = rest.first {
                let length = DirectoryRecord.size(nameLength: entry.name.count, hasHash: false)
                guard offset + length <= size else { break }
                taken.append((entry, offset))
                offset += length
                rest.removeFirst()
            }
            part.withMutableBytes { bytes in
                if taken.isEmpty {
                    DirectoryRecord.writeUnused(length: size, at: 0, in: &bytes, format: format)
                }
                for (i, (entry, start)) in taken.enumerated() {
                    let next = i + 1 < taken.count ? taken[i + 1].start : size
                    unsafe DirectoryRecord.write(
                        DirectoryRecord.Target(
                            inode: InodeNumber(entry.inode),
                            type: FileType(rawValue: entry.type) ?? .unknown),
                        name: entry.name.span.bytes, length: next - start, at: start, in: &bytes,
                        format: format)
                }
            }
            written.append(part.bytes)
        }
        guard rest.isEmpty else { return false }
        var map = Record([UInt8](repeating: 0, count: Layout.block.count))
        map[DirectoryRecord.inlineParent] = parent
        map.bytes.replaceSubrange(4..<map.bytes.count, with: written[0])
        record.bytes.replaceSubrange(Layout.block, with: map.bytes)
        setInlineAttributeValue(written[1], in: &record)
        setSize(UInt64(Layout.block.count + parts[1]), blocks: 0, in: &record)
        record[Layout.flags] &= ~(InodeFlags.index.rawValue | InodeFlags.extents.rawValue)
        try volume.setInode(number, record)
        return true
    }
}
