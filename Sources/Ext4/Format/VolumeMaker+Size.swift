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
    ///   - inodeCount: how many inodes there must be.
    ///   - freeBlocks: how many blocks must be left when the volume's own files are made.
    package func settle(inodeCount: UInt64, freeBlocks: UInt64) throws(FormatProblem) {
        guard isGrowing else { return }
        let end = max(
            wholeClusters(taken.ranges.last?.upperBound ?? 0, up: true),
            layout.copies(in: 0).last?.upperBound ?? 1)
        let settled = try smallest(
            inodeCount, from: end + freeBlocks + 8, packedStart: end
        ) { layout in
            guard let unit = try? layout.unit(0) else {
                return UInt64(layout.superblock.inodeTableBlocks) / 4 + 1
            }
            var used = taken
            for range in clusters(of: unit.structures).ranges { used.insert(range) }
            return missing(
                used.count(in: 0..<layout.superblock.blocksCount) + layout.ownFileBlocks
                    + freeBlocks, in: layout)
        }
        adopt(settled)
    }

    /// Fixes the size of a growing volume of which each group has its own bitmaps and table, and
    /// makes room for those: what was taken moves.
    ///
    /// - Parameters:
    ///   - inodeCount: how many inodes there must be.
    ///   - freeBlocks: how many blocks must be left when all is made.
    ///   - furtherBlocks: how many blocks are going to be taken yet, besides those of the volume's
    ///     own files, when what was taken lies as it is told.
    /// - Returns: where everything lies now.
    package func settleAround(
        inodeCount: UInt64, freeBlocks: UInt64, _ furtherBlocks: (Relocation) -> UInt64
    ) throws(FormatProblem) -> Relocation {
        var relocation = Relocation()
        // A journal that is cut by the structures of several groups may need a node for its map.
        let node: UInt64 = 1 << UInt64(superblock.clusterRatioLog2)
        let count = taken.count(in: 0..<superblock.blocksCount)
        let settled = try smallest(
            inodeCount, from: count + freeBlocks + 8, packedStart: nil
        ) { layout in
            var structures: UInt64 = 0
            var room: [Range<UInt64>] = []
            for number in 0..<layout.unitCount {
                guard let unit = try? layout.unit(number) else {
                    return UInt64(layout.superblock.inodeTableBlocks) / 4 + 1
                }
                let used = clusters(of: unit.structures)
                structures += used.count(in: unit.blocks)
                let end = wholeClusters(unit.blocks.upperBound, up: false)
                var place = wholeClusters(unit.blocks.lowerBound, up: true)
                for range in used.parts(in: unit.blocks) + [end..<end] {
                    if place < range.lowerBound { room.append(place..<range.lowerBound) }
                    place = max(place, range.upperBound)
                }
            }
            guard let moved = Relocation(of: taken.ranges, to: room) else {
                return max(missing(structures + count, in: layout), 1)
            }
            relocation = moved
            return missing(
                structures + count + furtherBlocks(moved) + layout.ownFileBlocks + node
                    + freeBlocks, in: layout)
        }
        adopt(settled)
        return relocation
    }

    private func missing(_ needed: UInt64, in layout: VolumeLayout) -> UInt64 {
        let all =
            wholeClusters(layout.superblock.blocksCount, up: false)
            - UInt64(layout.superblock.firstDataBlock)
        return needed <= all ? 0 : needed - all
    }

    private func adopt(_ settled: VolumeLayout) {
        layout = settled
        isGrowing = false
        lastUnit = nil
        gaps = []
        cursor = 0
    }

    /// The smallest volume of at least `least` blocks for which nothing is missing.
    ///
    /// - Parameter missing: how many blocks more a volume must have; 0 when it will do.
    private func smallest(
        _ inodeCount: UInt64, from least: UInt64, packedStart: UInt64?,
        _ missing: (VolumeLayout) -> UInt64
    ) throws(FormatProblem) -> VolumeLayout {
        var options = layout.options
        options.blockSize = blockSize
        options.inodeRatio = nil
        let ratio: UInt64 = 1 << UInt64(superblock.clusterRatioLog2)
        // As many groups as the inodes need, and room for the inodes' bytes.
        let perGroup = min(UInt64(blockSize * 8), 65536 - UInt64(superblock.inodesPerBlock))
        let groups = VolumeGeometry.ceiling(inodeCount, perGroup)
        let first = UInt64(superblock.firstDataBlock) + 1
        let least = max(
            least, (groups - 1) * UInt64(superblock.blocksPerGroup) + first,
            inodeCount / UInt64(superblock.inodesPerBlock) + first)
        var count = wholeClusters(least, up: true)
        let small = count + 4 * UInt64(superblock.blocksPerGroup)
        // Each turn adds what was missing, at least a cluster.
        while count <= superblock.blocksCount {
            let lacking: UInt64
            let bytes = count << UInt64(superblock.blockSizeLog2)
            options.inodeCount = max(inodeCount, wantedRatio.map { bytes / max($0, 1) } ?? 0, 12)
            switch try candidate(options, count, packedStart: packedStart, small: small) {
            case .lacks(let blocks): lacking = blocks
            case .fits(let layout):
                lacking = missing(layout)
                if lacking == 0 { return layout }
            }
            count += max(wholeClusters(lacking, up: true), ratio)
        }
        throw FormatProblem("the contents are too large for a volume of an open size; give a size")
    }

    private enum Candidate {
        case fits(VolumeLayout)
        case lacks(UInt64)
    }

    /// A volume of `count` blocks. What a volume of less than `small` blocks has no room for, a
    /// larger one may have.
    private func candidate(
        _ options: FormatOptions, _ count: UInt64, packedStart: UInt64?, small: UInt64
    ) throws(FormatProblem) -> Candidate {
        let room = UInt32(truncatingIfNeeded: layout.descriptorRoom)
        let byteCount = count << UInt64(superblock.blockSizeLog2)
        var options = options
        var layout: VolumeLayout
        do throws(FormatProblem) {
            layout = try VolumeLayout(
                options, byteCount: byteCount, descriptorRoom: room, packedStart: packedStart)
            // Inodes of a group are a multiple of 8, rounded down.
            let wanted = options.inodeCount ?? 0
            if UInt64(layout.superblock.inodesCount) < wanted {
                options.inodeCount = wanted + 8 * UInt64(layout.superblock.groupCount)
                layout = try VolumeLayout(
                    options, byteCount: byteCount, descriptorRoom: room, packedStart: packedStart)
            }
        } catch {
            guard count < small else { throw error }
            return .lacks(max(16, UInt64(superblock.blocksPerGroup) >> 11))
        }
        // The copies of the superblock in the last group must not be cut.
        let last = layout.superblock.groupCount - 1
        let copies =
            layout.superblock.hasSuperblock(GroupNumber(last)) ? 1 + layout.descriptorRoom : 0
        let rest = layout.blocks(of: last)
        let length = rest.upperBound - rest.lowerBound
        return length < copies + 1 ? .lacks(copies + 1 - length) : .fits(layout)
    }
}
