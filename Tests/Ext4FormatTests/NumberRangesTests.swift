import Ext4
import Testing

@Suite struct NumberRangesTests {
    /// Random insertions and removals beside a set of numbers.
    @Test func rangesAreWhatASetIs() {
        var random = SystemRandomNumberGenerator()
        var ranges = NumberRanges()
        var numbers: Set<UInt64> = []
        for _ in 0..<400 {
            let start = UInt64.random(in: 0..<200, using: &random)
            let range = start..<start + UInt64.random(in: 0..<20, using: &random)
            if Bool.random(using: &random) {
                ranges.insert(range)
                numbers.formUnion(range)
            } else {
                ranges.remove(range)
                numbers.subtract(range)
            }
            #expect(ranges.ranges.flatMap { Array($0) } == numbers.sorted())
            for (one, next) in zip(ranges.ranges, ranges.ranges.dropFirst()) {
                #expect(one.upperBound < next.lowerBound)
            }
            let place = UInt64.random(in: 0..<230, using: &random)
            #expect(ranges.contains(place) == numbers.contains(place))
            #expect(ranges.count(in: 50..<120) == UInt64(numbers.count { (50..<120).contains($0) }))
            let count = UInt64.random(in: 1..<9, using: &random)
            let gap = (place..<300).first { start in
                (start..<start + count).allSatisfy { !numbers.contains($0) }
            }
            #expect(ranges.gap(of: count, from: place, before: 300, limit: 400) == gap)
        }
    }
}
