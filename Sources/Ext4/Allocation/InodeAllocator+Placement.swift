internal import Synchronization

// In which group a new inode goes: close to what is used together with it, and spread where that
// keeps room for what will come. Groups of a flexible group have their bitmaps and tables side by
// side, and count as one place.

extension InodeAllocator {
    /// What a unit, a flexible group or a group of its own, has.
    private struct Supply {
        var inodes: Int64 = 0
        var blocks: Int64 = 0
        var directories: Int64 = 0
    }

    private var groupsPerUnit: Int { Int(geometry.groupsPerUnit) }
    private var unitCount: Int {
        (Int(geometry.groupCount) &+ groupsPerUnit &- 1) / groupsPerUnit
    }

    private func supply(of unit: Int) -> Supply {
        var sum = Supply()
        for index in groupIndices(of: unit) {
            sum.inodes &+= Int64(available[index])
            sum.blocks &+= Int64(blocks.available[index])
            sum.directories &+= Int64(directories[index])
        }
        return sum
    }

    private func groupIndices(of unit: Int) -> Range<Int> {
        unit &* groupsPerUnit..<min((unit &+ 1) &* groupsPerUnit, Int(geometry.groupCount))
    }

    /// The group for a directory whose parent is in `home`, or nil when every group will do as
    /// badly.
    ///
    /// At the top, directories have little to do with each other: each gets the unit with the
    /// fewest directories of those with more free inodes and blocks than the average. Further
    /// down, a directory stays with its parent as long as the unit has a fair share of room and not
    /// too many directories (as Orlov proposed).
    func directoryGroup(near home: GroupNumber, isTopLevel: Bool) -> GroupNumber? {
        let units = unitCount
        let averageInodes = Int64(clamping: freeInodes) / Int64(units)
        let averageBlocks = Int64(clamping: blocks.freeBlocks) / Int64(units)
        if isTopLevel {
            let start = Int(nextStart.wrappingAdd(1, ordering: .relaxed).oldValue) % units
            var best: (unit: Int, directories: Int64)?
            for step in 0..<units {
                let unit = (start &+ step) % units
                let supply = supply(of: unit)
                guard supply.inodes > 0, supply.inodes >= averageInodes,
                    supply.blocks >= averageBlocks,
                    supply.directories < best?.directories ?? Int64.max
                else { continue }
                best = (unit, supply.directories)
                if supply.directories == 0 { break }
            }
            if let best { return group(in: best.unit) }
        }
        let inodesPerUnit = Int64(geometry.inodesPerGroup) &* Int64(groupsPerUnit)
        let blocksPerUnit = Int64(geometry.blocksPerGroup) &* Int64(groupsPerUnit)
        let leastInodes = max(averageInodes &- inodesPerUnit / 4, 1)
        let leastBlocks = max(averageBlocks &- blocksPerUnit / 4, 0)
        let mostDirectories =
            directoryCount.load(ordering: .relaxed) / Int64(units) &+ max(inodesPerUnit / 16, 1)
        let start = Int(home.rawValue) / groupsPerUnit
        for step in 0..<units {
            let unit = (start &+ step) % units
            let supply = supply(of: unit)
            guard supply.inodes >= leastInodes, supply.blocks >= leastBlocks,
                supply.directories < mostDirectories
            else { continue }
            return group(in: unit)
        }
        return nil
    }

    /// The first group of `unit` with a free inode.
    private func group(in unit: Int) -> GroupNumber? {
        groupIndices(of: unit).first { available[$0] > 0 }.map { GroupNumber(UInt32($0)) }
    }
}

/// All groups of a volume: first those of the flexible group that has `home`, from there on, then
/// those behind it, and from the start.
struct NearestGroups: Sequence, IteratorProtocol {
    private let home: UInt32
    private let unit: Range<UInt32>
    private let groupCount: UInt32
    private var step: UInt32 = 0

    init(_ home: GroupNumber, _ geometry: GroupGeometry) {
        groupCount = geometry.groupCount
        let size = geometry.groupsPerUnit
        self.home = Swift.min(home.rawValue, groupCount &- 1)
        let first = self.home / size &* size
        unit = first..<first &+ Swift.min(size, groupCount &- first)
    }

    mutating func next() -> GroupNumber? {
        guard step < groupCount else { return nil }
        defer { step &+= 1 }
        let count = UInt32(unit.count)
        if step < count {
            return GroupNumber(unit.lowerBound &+ (home &- unit.lowerBound &+ step) % count)
        }
        let behind = step &- count
        let untilEnd = groupCount &- unit.upperBound
        return GroupNumber(behind < untilEnd ? unit.upperBound &+ behind : behind &- untilEnd)
    }
}
