import Ext4

/// What can still be read of a file's map, whatever else of it is broken: the runs that lie in the
/// volume, outside its own structures, in the order of the file and without overlaps.
struct MapSalvage {
    /// The good runs, in the order of the file.
    private(set) var runs: [BlockRun] = []
    /// The blocks of the map's own nodes that could be read.
    private(set) var nodes: [UInt64] = []

    private let volume: RepairVolume
    private let isOwn: (UInt64) -> Bool
    private var visited: Set<UInt64> = []
    /// Logical blocks below this one have been given out.
    private var next: UInt64 = 0

    /// Reads the map of an inode.
    ///
    /// - Parameter isStructure: whether a block holds one of the volume's own structures.
    init(
        _ record: Record, in volume: RepairVolume, isStructure: @escaping (UInt64) -> Bool
    ) {
        self.volume = volume
        isOwn = isStructure
        let map = Record(record.part(InodeRecord.Layout.block))
        let flags = InodeFlags(rawValue: record[InodeRecord.Layout.flags])
        if flags.contains(.extents) {
            readExtents(map, depth: nil)
        } else {
            readPointers(map)
        }
    }

    // MARK: Extents

    private mutating func readExtents(_ node: Record, depth: Int?) {
        typealias Header = ExtentNode.Header
        let found = Int(node[Header.depth])
        guard node[Header.magic] == ExtentNode.magic,
            found <= ExtentNode.maximumDepth, depth == nil || found == depth
        else { return }
        let capacity = node.bytes.count / ExtentNode.entrySize - 1
        let count = min(Int(node[Header.entries]), capacity)
        for i in 0..<count {
            if found == 0 {
                take(node.withBytes { ExtentNode.extent($0, i) })
            } else {
                let child = node.withBytes { ExtentNode.child($0, i).rawValue }
                guard superblock.contains(BlockNumber(child)), !isOwn(child),
                    visited.insert(child).inserted, let block = volume.block(child)
                else { continue }
                nodes.append(child)
                readExtents(block, depth: found - 1)
            }
        }
    }

    private var superblock: Superblock { volume.superblock }

    private mutating func take(_ run: BlockRun) {
        guard run.count > 0, let start = run.start,
            superblock.contains(start, count: run.count), run.end <= LogicalBlock.end
        else { return }
        var run = run
        if run.logical.rawValue < next {
            guard run.end.rawValue > next else { return }
            run = run.suffix(from: LogicalBlock(next))
        }
        guard let first = run.start?.rawValue else { return }
        for i in 0..<run.count where isOwn(first &+ i) { return }
        append(run)
        next = run.end.rawValue
    }

    private mutating func append(_ run: BlockRun) {
        if let last = runs.last, let merged = last.merged(with: run),
            merged.count <= UInt64(ExtentNode.maximumUnwrittenLength)
        {
            runs[runs.count - 1] = merged
        } else {
            runs.append(run)
        }
    }

    // MARK: Pointers

    private mutating func readPointers(_ map: Record) {
        let perBlock = UInt64(volume.blockSize / 4)
        for i in 0..<12 { takePointer(map, i, UInt64(i)) }
        var first: UInt64 = 12
        var span: UInt64 = 1
        for level in 1...3 {
            readIndirect(map[Field<UInt32>.le(4 * (11 + level))], level: level, first: first)
            span &*= perBlock
            first &+= span
        }
    }

    private mutating func takePointer(_ record: Record, _ index: Int, _ logical: UInt64) {
        let block = UInt64(record[Field<UInt32>.le(4 * index)])
        guard block != 0 else { return }
        take(
            BlockRun(logical: LogicalBlock(logical), count: 1, state: .mapped(BlockNumber(block))))
    }

    private mutating func readIndirect(_ pointer: UInt32, level: Int, first: UInt64) {
        let number = UInt64(pointer)
        guard number != 0, superblock.contains(BlockNumber(number)), !isOwn(number),
            visited.insert(number).inserted, let block = volume.block(number)
        else { return }
        nodes.append(number)
        let perBlock = volume.blockSize / 4
        var span: UInt64 = 1
        for _ in 1..<level { span &*= UInt64(perBlock) }
        for i in 0..<perBlock {
            let logical = first &+ UInt64(i) &* span
            guard logical < LogicalBlock.end.rawValue else { return }
            if level == 1 {
                takePointer(block, i, logical)
            } else {
                readIndirect(block[Field<UInt32>.le(4 * i)], level: level - 1, first: logical)
            }
        }
    }
}
