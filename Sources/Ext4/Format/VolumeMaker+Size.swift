// The end of a volume of which the size was open: the smallest one that holds what came.
//
// With flex_bg bitmaps and tables lie behind the contents. Without it each group has its own, and
// contents that were written before anybody knew how large those are move out of their way, in
// their order: so nothing of them has to be known before, not even of those that come by a pipe.

extension VolumeMaker {
    /// Fixes the size of a growing volume: bitmaps and tables come behind what was written, then
    /// what is left free.
    ///
    /// - Parameters:
    ///   - inodeCount: how many inodes there must be; what is left free has more, as many as the
    ///     options, or the usual ratio of bytes for one, make of it.
    ///   - freeBlocks: how many blocks must be left when the volume's own files are made.
    ///   - owners: who is in the quota files, by user, by group and by project; nil for some
    ///     hundred of each.
    package func settle(
        inodeCount: UInt64, freeBlocks: UInt64, owners: [Set<UInt32>]? = nil
    ) throws(FormatProblem) {
        guard isGrowing else { return }
        if let owners { quotaSizes = owners.map { QuotaTree.byteCount(of: $0) } }
        let end = max(
            wholeClusters(taken.ranges.last?.upperBound ?? 0, up: true),
            layout.copies(in: 0).last?.upperBound ?? 1)
        let least = end + freeBlocks + 8
        let settled = try smallest(
            inodes(inodeCount, free: freeBlocks, of: least), from: least, packedStart: end
        ) { layout in
            guard !meetsCopies(of: layout) else { return .largerGroups }
            guard let unit = try? layout.unit(0) else { return .noRoom }
            var used = taken
            for range in clusters(of: unit.structures).ranges { used.insert(range) }
            return .blocks(used.count(in: 0..<layout.superblock.blocksCount) + freeBlocks)
        }
        adopt(settled)
    }

    /// Fixes the size of a growing volume of which each group has its own bitmaps and table, and
    /// makes room for those: what was taken moves.
    ///
    /// - Parameters:
    ///   - inodeCount: as `settle` wants it, and what follows.
    ///   - furtherBlocks: how many blocks are going to be taken yet, besides those of the volume's
    ///     own files, when what was taken lies as it is told.
    /// - Returns: where everything lies now.
    package func settleAround(
        inodeCount: UInt64, freeBlocks: UInt64, owners: [Set<UInt32>]? = nil,
        _ furtherBlocks: (Relocation) -> UInt64
    ) throws(FormatProblem) -> Relocation {
        if let owners { quotaSizes = owners.map { QuotaTree.byteCount(of: $0) } }
        let ratio: UInt64 = 1 << UInt64(superblock.clusterRatioLog2)
        let count = taken.count(in: 0..<superblock.blocksCount)
        let least = count + freeBlocks + 8
        let settled = try smallest(
            inodes(inodeCount, free: freeBlocks, of: least), from: least, packedStart: nil
        ) { layout in
            guard let (room, structures) = self.room(in: layout) else { return .noRoom }
            let further = Relocation(of: taken.ranges, to: room).map(furtherBlocks) ?? 0
            // A journal that is cut by the structures of several groups may need a node.
            let node = layout.journalBlocks > 0 && usesExtents ? ratio : 0
            return .blocks(structures + count + further + node + freeBlocks)
        }
        let room = self.room(in: settled)?.room ?? []
        guard let relocation = Relocation(of: taken.ranges, to: room) else {
            throw FormatProblem("the volume has no room for its contents")
        }
        adopt(settled)
        return relocation
    }

    /// How many inodes there are to be, with those for what is left free.
    ///
    /// - Parameter count: the blocks of the volume, about.
    private func inodes(_ needed: UInt64, free: UInt64, of count: UInt64) -> UInt64 {
        let log2 = UInt64(superblock.blockSizeLog2)
        let (kind, usage) = (layout.options.kind, layout.options.usage)
        let usual = FormatDefaults(kind, usage, byteCount: count << log2).inodeRatio
        let spare = min((free << log2) / max(askedInodes.ratio ?? usual, 1), UInt64(UInt32.max))
        return max(min(needed + spare, UInt64(UInt32.max)), askedInodes.count)
    }

    /// What the structures of the groups leave, and how many blocks they take; nil where they
    /// have no room themselves.
    private func room(in layout: VolumeLayout) -> (room: [Range<UInt64>], structures: UInt64)? {
        var structures: UInt64 = 0
        var room: [Range<UInt64>] = []
        for number in 0..<layout.unitCount {
            guard let unit = try? layout.unit(number) else { return nil }
            let used = clusters(of: unit.structures)
            structures += used.count(in: unit.blocks)
            let end = wholeClusters(unit.blocks.upperBound, up: false)
            var place = wholeClusters(unit.blocks.lowerBound, up: true)
            for range in used.parts(in: unit.blocks) + [end..<end] {
                if place < range.lowerBound { room.append(place..<range.lowerBound) }
                place = max(place, range.upperBound)
            }
        }
        return (room, structures)
    }

    /// Whether contents lie where groups that had to be smaller, for their inodes, have copies of
    /// the superblock.
    private func meetsCopies(of layout: VolumeLayout) -> Bool {
        guard layout.superblock.blocksPerGroup != superblock.blocksPerGroup else { return false }
        return (1..<max(layout.superblock.groupCount, 1)).contains { group in
            layout.copies(in: group).contains { taken.count(in: $0) > 0 }
        }
    }

    private func adopt(_ settled: VolumeLayout) {
        layout = settled
        if layout.orphanFileBlocks == 0, let inode = own.orphanFile {
            // It went with the journal that a small volume has no room for.
            takenInodes.remove(UInt64(inode.rawValue)..<UInt64(inode.rawValue) + 1)
            own.orphanFile = nil
        }
        isGrowing = false
        lastUnit = nil
        gaps = []
        cursor = 0
    }

    // MARK: Attempts

    /// The smallest volume of at least `least` blocks that has all blocks which are needed.
    ///
    /// - Parameter needed: what a volume must have besides its own files.
    private func smallest(
        _ inodeCount: UInt64, from least: UInt64, packedStart: UInt64?,
        _ needed: (VolumeLayout) -> Need
    ) throws(FormatProblem) -> VolumeLayout {
        let first = UInt64(superblock.firstDataBlock) + 1
        let least = max(least, inodeCount / UInt64(superblock.inodesPerBlock) + first)
        var count = wholeClusters(least, up: true)
        if layout.options.journalMebibytes != nil, superblock.compatible.contains(.hasJournal) {
            count = max(count, FormatDefaults.smallestWithJournal)
        }
        let most = min(superblock.blocksCount, device.byteCount >> UInt64(superblock.blockSizeLog2))
        let ratio: UInt64 = 1 << UInt64(superblock.clusterRatioLog2)
        // Each turn adds what was missing, at least a cluster.
        while count <= most {
            switch try attempt(inodeCount, count, packedStart, most: most, needed) {
            case .lacks(let blocks): count += max(wholeClusters(blocks, up: true), ratio)
            case .lacksGroups:
                count = max(wholeClusters(whole(inodeCount), up: true), count + ratio)
            case .fits(var layout, let surplus):
                // What a small one lacks is not always known exactly.
                var cut = wholeClusters(surplus, up: false)
                while cut > 0 {
                    let count = layout.superblock.blocksCount
                    // A journal that was promised stays.
                    if count > cut,
                        case .fits(let smaller, let rest) = try? attempt(
                            inodeCount, count - cut, packedStart, most: most, needed),
                        smaller.journalBlocks == layout.journalBlocks
                    {
                        layout = smaller
                        cut = min(cut, wholeClusters(rest, up: false))
                    } else {
                        cut = wholeClusters(cut / 2, up: false)
                    }
                }
                return layout
            }
        }
        throw FormatProblem("the contents are too large for a volume of an open size; give a size")
    }

    /// The groups that so many inodes need.
    private func groups(_ inodeCount: UInt64) -> UInt64 {
        let perGroup = min(UInt64(blockSize * 8), 65536 - UInt64(superblock.inodesPerBlock))
        return VolumeGeometry.ceiling(inodeCount, perGroup)
    }

    /// The blocks of a volume that has these groups in full size.
    private func whole(_ inodeCount: UInt64) -> UInt64 {
        (groups(inodeCount) - 1) * UInt64(superblock.blocksPerGroup)
            + UInt64(superblock.firstDataBlock) + 1
    }

    /// What a volume needs.
    private enum Need {
        case blocks(UInt64)
        /// More than it has: its structures have no room.
        case noRoom
        /// Groups of full size.
        case largerGroups
    }

    private enum Attempt {
        case fits(VolumeLayout, surplus: UInt64)
        case lacks(UInt64)
        case lacksGroups
    }

    /// Whether a volume of `count` blocks, of at most `most`, holds everything.
    private func attempt(
        _ inodeCount: UInt64, _ count: UInt64, _ packedStart: UInt64?, most: UInt64,
        _ needed: (VolumeLayout) -> Need
    ) throws(FormatProblem) -> Attempt {
        let room = UInt32(truncatingIfNeeded: layout.descriptorRoom)
        let byteCount = count << UInt64(superblock.blockSizeLog2)
        var options = layout.options
        options.blockSize = blockSize
        options.inodeRatio = nil
        let wanted = max(inodeCount, askedInodes.ratio.map { byteCount / max($0, 1) } ?? 0, 12)
        options.inodeCount = wanted
        if options.blocksPerGroup == nil, count < whole(inodeCount) {
            // Many inodes and little else: smaller groups, all of one size.
            let clusters =
                VolumeGeometry.ceiling(count, groups(inodeCount))
                >> UInt64(superblock.clusterRatioLog2)
            options.blocksPerGroup = UInt32(clamping: max(clusters / 8 * 8 + 8, 256))
        }
        var layout: VolumeLayout
        do throws(FormatProblem) {
            layout = try VolumeLayout(
                options, byteCount: byteCount, descriptorRoom: room, packedStart: packedStart)
            // Inodes of a group are a multiple of 8, rounded down.
            if UInt64(layout.superblock.inodesCount) < wanted {
                options.inodeCount = wanted + 8 * UInt64(layout.superblock.groupCount)
                layout = try VolumeLayout(
                    options, byteCount: byteCount, descriptorRoom: room, packedStart: packedStart)
            }
        } catch {
            if count < whole(inodeCount) { return .lacksGroups }
            // By how much it is too small is not known: what is too much is cut off again.
            let step = max(16, count / 8)
            guard count + step <= most else { throw error }
            return .lacks(step)
        }
        // The copies of the superblock in the last group must not be cut.
        let last = layout.superblock.groupCount - 1
        let copies = layout.copies(in: last).reduce(0) { $0 + UInt64($1.count) }
        let rest = layout.blocks(of: last)
        let length = rest.upperBound - rest.lowerBound
        if length < copies + 1 { return .lacks(copies + 1 - length) }
        var least = layout.ownFileBlocks(quotaSizes: quotaSizes)
        switch needed(layout) {
        case .blocks(let count): least += count
        case .noRoom: return .lacks(UInt64(layout.superblock.inodeTableBlocks) / 4 + 1)
        case .largerGroups: return .lacksGroups
        }
        let all =
            wholeClusters(layout.superblock.blocksCount, up: false)
            - UInt64(layout.superblock.firstDataBlock)
        return least <= all ? .fits(layout, surplus: all - least) : .lacks(least - all)
    }
}
