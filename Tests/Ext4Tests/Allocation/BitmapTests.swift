import Testing

@testable import Ext4

/// A map of bits, a byte each, that does slowly what the bitmap's words do.
private struct NaiveBits {
    var bits: [Bool]

    /// The bits in the form of a group's bitmap.
    var bytes: [UInt8] {
        var bytes = [UInt8](repeating: 0, count: (bits.count + 63) / 64 * 8)
        for (index, bit) in bits.enumerated() where bit { bytes[index / 8] |= 1 << (index % 8) }
        return bytes
    }

    /// Runs of random lengths, so that there are words of all kinds.
    init(count: Int, _ random: inout Xorshift) {
        bits = []
        var isSet = random.next(below: 2) == 0
        let longest = [3, 20, 200, 1000][random.next(below: 4)]
        while bits.count < count {
            let length = min(1 + random.next(below: longest), count - bits.count)
            bits += [Bool](repeating: isSet, count: length)
            isSet.toggle()
        }
    }

    func first(_ bit: Bool, from start: Int, below limit: Int) -> Int {
        start < limit ? (start..<limit).first { bits[$0] == bit } ?? limit : limit
    }

    func clearRun(ofAtLeast count: Int, in range: Range<Int>) -> Range<Int> {
        var runs: [Range<Int>] = []
        for index in range where !bits[index] {
            if let last = runs.last, last.upperBound == index {
                runs[runs.count - 1] = last.lowerBound..<index + 1
            } else {
                runs.append(index..<index + 1)
            }
        }
        if let enough = runs.first(where: { $0.count >= count }), count > 0 { return enough }
        let longest = runs.map(\.count).max() ?? 0
        return runs.first { $0.count == longest } ?? range.lowerBound..<range.lowerBound
    }
}

@Suite struct BitmapTests {
    @Test(arguments: 1...40) func searchesAgreeWithALoop(seed: UInt64) {
        var random = Xorshift(seed)
        let count = 1 + random.next(below: 1500)
        let naive = NaiveBits(count: count, &random)
        let bytes = naive.bytes
        let bits = unsafe bytes.span.bytes
        #expect(
            bits.clearBitCount(below: count) == naive.bits.count { !$0 })
        for _ in 0..<200 {
            let start = random.next(below: count + 1)
            let limit = start + random.next(below: count - start + 1)
            #expect(
                bits.firstClearBit(from: start, below: limit)
                    == naive.first(false, from: start, below: limit))
            #expect(
                bits.firstSetBit(from: start, below: limit)
                    == naive.first(true, from: start, below: limit))
            #expect(bits.areBitsSet(start..<limit) == naive.bits[start..<limit].allSatisfy { $0 })
            #expect(
                bits.areBitsClear(start..<limit) == naive.bits[start..<limit].allSatisfy { !$0 })
            let wanted = 1 + random.next(below: 300)
            #expect(
                bits.clearRun(ofAtLeast: wanted, in: start..<limit)
                    == naive.clearRun(ofAtLeast: wanted, in: start..<limit))
            let before = naive.bits[..<start].lastIndex(of: true).map { $0 + 1 } ?? 0
            #expect(bits.startOfClearRun(before: start) == before)
            if start < count { #expect(bits.isBitSet(start) == naive.bits[start]) }
        }
    }

    @Test(arguments: 1...20) func changesAgreeWithALoop(seed: UInt64) {
        var random = Xorshift(seed &+ 100)
        let count = 1 + random.next(below: 700)
        var naive = NaiveBits(count: count, &random)
        var bytes = naive.bytes
        for _ in 0..<100 {
            let start = random.next(below: count + 1)
            let range = start..<start + random.next(below: count - start + 1)
            let value = random.next(below: 2) == 0
            for index in range { naive.bits[index] = value }
            do {
                var span = bytes.mutableSpan
                var raw = unsafe span.mutableBytes
                if value { raw.setBits(range) } else { raw.clearBits(range) }
            }
            #expect(bytes == naive.bytes)
        }
    }

    @Test func aMapRemembersWhatWaits() {
        var map = BusyMap(count: 100)
        map.loadEmpty()
        #expect(map.withBits { $0.firstSetBit(from: 0, below: 128) } == 100)
        map.reserve(10..<20)
        #expect(map.mayBeSetAside(10..<20) && !map.mayBeSetAside(10..<21) && !map.isDroppable)
        map.settle(10..<20)
        #expect(!map.mayBeSetAside(10..<20) && map.isDroppable)

        let (first, second) = (TransactionID(UInt32.max), TransactionID(0))
        let isFirst = [
            map.free(10..<12, in: first), map.free(12..<14, in: first),
            map.free(16..<18, in: first), map.free(14..<16, in: second),
        ]
        #expect(isFirst == [true, false, false, true])
        map.unfree(11..<13, in: first)
        map.drop()
        // The bitmap has what is in use now: 11 and 12, 18 and 19.
        var bitmap = [UInt8](repeating: 0, count: 16)
        do {
            var span = bitmap.mutableSpan
            var raw = unsafe span.mutableBytes
            raw.setBits(11..<13)
            raw.setBits(18..<20)
        }
        unsafe map.load(bitmap.span.bytes)
        #expect(map.withBits { $0.areBitsSet(10..<20) })
        var released: [Range<Int>] = []
        map.release(committedUpTo: TransactionID(UInt32.max - 1)) { released.append($1) }
        #expect(released == [])
        map.release(committedUpTo: first) { released.append($1) }
        #expect(Set(released) == [10..<11, 13..<14, 16..<18])
        #expect(map.withBits { $0.areBitsSet(14..<16) && $0.areBitsClear(16..<18) })
        map.release(committedUpTo: second) { released.append($1) }
        #expect(
            released.count == 4 && map.withBits { $0.clearRun(ofAtLeast: 5, in: 0..<20) } == 0..<11)
    }
}
