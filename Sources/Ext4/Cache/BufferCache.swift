/// The metadata blocks of a volume in memory, up to a soft budget.
///
/// Invariants:
///  1. A block has at most one buffer in the cache.
///  2. A buffer that somebody holds is never evicted; when all are held, the cache grows and
///     shrinks back with a later load. A read never fails for want of room.
///  3. No lock is held while the device is read.
///
/// The eviction is S3-FIFO: new blocks enter a small queue (a tenth of the budget) and move to the
/// main queue only when they are wanted again, so a walk over the whole volume, which wants each
/// block once, leaves the hot set alone. A block that comes back soon after it left the small
/// queue (the ghosts remember it) enters the main queue at once.
final class BufferCache: Sendable {
    private let device: any BlockDevice
    private let blockSizeLog2: Int
    private let shards: [CacheShard]

    private static let shardCountLog2 = 4
    /// Neighbouring blocks share a shard in runs of this many, so that a prefetch takes one lock.
    private static let runLog2 = 3

    init(device: any BlockDevice, blockSizeLog2: Int, byteBudget: Int) {
        self.device = device
        self.blockSizeLog2 = blockSizeLog2
        let blocks = max(byteBudget >> blockSizeLog2, 0)
        let count = 1 << Self.shardCountLog2
        shards = (0..<count).map { _ in
            CacheShard(blockBudget: max(blocks >> Self.shardCountLog2, 1))
        }
    }

    private func shard(of block: BlockNumber) -> CacheShard { shards[shardIndex(of: block)] }

    private func shardIndex(of block: BlockNumber) -> Int {
        let run = block.rawValue >> UInt64(Self.runLog2)
        // A multiplicative hash: groups lie at powers of two, which must not share a shard.
        let hash = (run &* 0x9E37_79B9_7F4A_7C15) >> UInt64(64 - Self.shardCountLog2)
        return Int(hash)
    }

    /// The buffer of `block`, read from the device when it is not there.
    func buffer(of block: BlockNumber) throws(Ext4Error) -> Buffer {
        let shard = shard(of: block)
        while true {
            let epoch: UInt64
            switch shard.find(block) {
            case .found(let buffer): return buffer
            case .missing(let current): epoch = current
            }
            let buffer = Buffer(block: block, byteCount: 1 << blockSizeLog2)
            try buffer.fill(from: device, at: block.rawValue << UInt64(blockSizeLog2))
            if let inserted = shard.insert(buffer, readIn: epoch) { return inserted }
        }
    }

    /// A buffer of zeros for `block`, which was allocated just now: the device is not read, and
    /// what the cache had of it is returned to be dropped.
    func fresh(_ block: BlockNumber) -> (buffer: Buffer, old: Buffer?) {
        let buffer = Buffer(block: block, byteCount: 1 << blockSizeLog2)
        buffer.fillWithZeros()
        return (buffer, shard(of: block).replace(by: buffer))
    }

    /// Forgets `block`, which is free now; what the cache had of it is returned.
    func drop(_ block: BlockNumber) -> Buffer? { shard(of: block).drop(block) }

    /// Whether reading `block` would drive another one out.
    func isFull(for block: BlockNumber) -> Bool { shard(of: block).isFull }

    /// Whether the block is in memory; does not count as wanting it.
    func holds(_ block: BlockNumber) -> Bool { shard(of: block).holds(block) }

    /// Reads `count` blocks from `block` on in one request, those of them that are missing at the
    /// start or the end left out. A failure is not reported: whoever needs the block meets it.
    func prefetch(_ block: BlockNumber, count: Int) {
        var first = block.rawValue
        var end = block.rawValue &+ UInt64(clamping: count)
        while first < end, shard(of: .init(first)).holds(.init(first)) { first &+= 1 }
        while first < end, shard(of: .init(end &- 1)).holds(.init(end &- 1)) { end &-= 1 }
        guard first < end else { return }
        let blockSize = 1 << blockSizeLog2
        let epochs = shards.map { $0.epoch }
        guard
            let bytes = try? device.read(
                at: first << UInt64(blockSizeLog2), count: Int(end &- first) &* blockSize)
        else { return }
        for i in 0..<Int(end &- first) {
            let number = BlockNumber(first &+ UInt64(i))
            let index = shardIndex(of: number)
            guard !shards[index].holds(number) else { continue }
            let buffer = Buffer(block: number, byteCount: blockSize)
            unsafe buffer.fill(
                from: bytes.span.bytes.extracting(i * blockSize..<(i + 1) * blockSize))
            _ = shards[index].insert(buffer, readIn: epochs[index])
        }
    }

    /// What the cache holds and how often it served.
    var statistics: CacheStatistics {
        var sum = CacheStatistics(blocks: 0, hits: 0, misses: 0)
        for shard in shards {
            let part = shard.statistics
            sum = CacheStatistics(
                blocks: sum.blocks + part.blocks, hits: sum.hits + part.hits,
                misses: sum.misses + part.misses)
        }
        return sum
    }
}

/// The size and the success of a buffer cache.
public struct CacheStatistics: Hashable, Sendable {
    /// Blocks held now.
    public let blocks: Int
    /// Look-ups that found their block.
    public let hits: Int
    /// Look-ups that had to read it.
    public let misses: Int
}
