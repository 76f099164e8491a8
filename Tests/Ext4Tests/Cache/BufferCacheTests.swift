import Testing

@testable import Ext4

/// A device of which block n is filled with the low byte of n, and which counts reads.
private final class CountingDevice: BlockDevice {
    let byteCount: UInt64 = 4096 << 10
    let isReadOnly = true
    private let count = Guarded(0)

    var reads: Int { count.withLock { $0 } }

    func read(at byteOffset: UInt64, into bytes: inout MutableRawSpan) throws(Ext4Error) {
        try checkBounds(.read, at: byteOffset, count: bytes.byteCount)
        count.withLock { $0 += 1 }
        for i in 0..<bytes.byteCount {
            bytes.storeBytes(
                of: UInt8(truncatingIfNeeded: (byteOffset + UInt64(i)) >> 10), toByteOffset: i,
                as: UInt8.self)
        }
    }

    func write(_ bytes: RawSpan, at byteOffset: UInt64) throws(Ext4Error) { throw .readOnlyVolume }
    func flush() throws(Ext4Error) {}
}

@Suite struct BufferCacheTests {
    private let device = CountingDevice()

    private func cache(blocks: Int) -> BufferCache {
        BufferCache(device: device, blockSizeLog2: 10, byteBudget: blocks << 10)
    }

    @Test func aBlockIsReadOnceAndIsItself() throws {
        let cache = cache(blocks: 64)
        let first = try cache.buffer(of: BlockNumber(300))
        let second = try cache.buffer(of: BlockNumber(300))
        #expect(first === second)
        #expect(first.withBytes { $0.byte(at: 1023) } == 300 & 0xFF)
        #expect(device.reads == 1)
        #expect(cache.statistics.hits == 1)
    }

    /// The cache that this project's origin had died here: every buffer in use, none to evict.
    @Test func whenAllAreHeldItGrowsAndShrinksBackLater() throws {
        let cache = cache(blocks: 16)
        var held: [Buffer] = []
        for i in 0..<1000 { held.append(try cache.buffer(of: BlockNumber(UInt64(i)))) }
        #expect(cache.statistics.blocks == 1000)
        for (i, buffer) in held.enumerated() {
            #expect(try cache.buffer(of: BlockNumber(UInt64(i))) === buffer)
        }
        held = []
        for i in 1000..<2000 { _ = try cache.buffer(of: BlockNumber(UInt64(i))) }
        #expect(cache.statistics.blocks <= 16)
    }

    @Test func aBudgetOfNothingStillReads() throws {
        let cache = cache(blocks: 0)
        for i in 0..<100 {
            let buffer = try cache.buffer(of: BlockNumber(UInt64(i)))
            #expect(buffer.withBytes { $0.byte(at: 0) } == UInt8(i))
        }
    }

    /// A walk over everything must not flush what is wanted again and again.
    @Test func aScanLeavesTheHotSetAlone() throws {
        let cache = cache(blocks: 512)
        let hot = (0..<128).map { BlockNumber(UInt64($0)) }
        for _ in 0..<4 { for block in hot { _ = try cache.buffer(of: block) } }
        for i in 128..<4000 { _ = try cache.buffer(of: BlockNumber(UInt64(i))) }
        let before = device.reads
        for block in hot { _ = try cache.buffer(of: block) }
        #expect(device.reads - before < 13, "at most a tenth of the hot set was read again")
    }

    @Test func aPrefetchIsOneRequest() throws {
        let cache = cache(blocks: 256)
        _ = try cache.buffer(of: BlockNumber(10))
        cache.prefetch(BlockNumber(10), count: 32)
        #expect(device.reads == 2)
        for i in 10..<42 {
            let buffer = try cache.buffer(of: BlockNumber(UInt64(i)))
            #expect(buffer.withBytes { $0.byte(at: 7) } == UInt8(i))
        }
        #expect(device.reads == 2)
    }

    @Test func aPrefetchBeyondTheDeviceIsNoError() throws {
        let cache = cache(blocks: 16)
        cache.prefetch(BlockNumber(4090), count: 32)
        cache.prefetch(BlockNumber(.max - 1), count: 32)
        #expect(throws: Ext4Error.self) { try cache.buffer(of: BlockNumber(4096)) }
    }

    @Test func manyThreadsAgreeOnOneBufferABlock() async throws {
        let cache = cache(blocks: 32)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for seed in 0..<4 as Range<UInt64> {
                group.addTask {
                    var random = seed &* 0x9E37_79B9_7F4A_7C15 | 1
                    for _ in 0..<5_000 {
                        random ^= random << 13
                        random ^= random >> 7
                        random ^= random << 17
                        let block = BlockNumber(random % 200)
                        let buffer = try cache.buffer(of: block)
                        #expect(buffer.block == block)
                        #expect(buffer.withBytes { $0.byte(at: 5) } == UInt8(block.rawValue))
                        #expect(try cache.buffer(of: block) === buffer)
                    }
                }
            }
            try await group.waitForAll()
        }
    }
}
