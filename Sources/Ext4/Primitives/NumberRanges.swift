/// A set of numbers as the ranges that it is made of, in order, with gaps between them.
package struct NumberRanges: Sendable, Hashable {
    /// The ranges; none is empty, none touches the next.
    package private(set) var ranges: [Range<UInt64>] = []

    package init() {}

    /// The index of the first range that ends behind `number`.
    private func index(endingBehind number: UInt64) -> Int {
        // What is added last is mostly looked for next.
        if let last = ranges.last, number >= last.lowerBound {
            return number < last.upperBound ? ranges.count - 1 : ranges.count
        }
        var (low, high) = (0, ranges.count)
        while low < high {
            let middle = (low + high) / 2
            if ranges[middle].upperBound <= number { low = middle + 1 } else { high = middle }
        }
        return low
    }

    /// The range that holds `number`, or else the first one behind it.
    package func range(atOrBehind number: UInt64) -> Range<UInt64>? {
        let index = index(endingBehind: number)
        return index < ranges.count ? ranges[index] : nil
    }

    /// Whether `number` is in the set.
    package func contains(_ number: UInt64) -> Bool {
        guard let range = range(atOrBehind: number) else { return false }
        return range.lowerBound <= number
    }

    /// Adds a range.
    package mutating func insert(_ range: Range<UInt64>) {
        guard !range.isEmpty else { return }
        // From the first range that the new one touches to the last.
        var first = index(endingBehind: range.lowerBound)
        if first > 0, ranges[first - 1].upperBound == range.lowerBound { first -= 1 }
        var end = first
        var (lower, upper) = (range.lowerBound, range.upperBound)
        while end < ranges.count, ranges[end].lowerBound <= upper {
            lower = min(lower, ranges[end].lowerBound)
            upper = max(upper, ranges[end].upperBound)
            end += 1
        }
        if end == first + 1 {
            ranges[first] = lower..<upper
        } else {
            ranges.replaceSubrange(first..<end, with: CollectionOfOne(lower..<upper))
        }
    }

    /// Takes a range out.
    package mutating func remove(_ range: Range<UInt64>) {
        guard !range.isEmpty else { return }
        let first = index(endingBehind: range.lowerBound)
        var end = first
        var rest: [Range<UInt64>] = []
        while end < ranges.count, ranges[end].lowerBound < range.upperBound {
            let old = ranges[end]
            if old.lowerBound < range.lowerBound { rest.append(old.lowerBound..<range.lowerBound) }
            if old.upperBound > range.upperBound { rest.append(range.upperBound..<old.upperBound) }
            end += 1
        }
        ranges.replaceSubrange(first..<end, with: rest)
    }

    /// The parts of the set that lie in `bounds`.
    package func parts(in bounds: Range<UInt64>) -> [Range<UInt64>] {
        var parts: [Range<UInt64>] = []
        var index = index(endingBehind: bounds.lowerBound)
        while index < ranges.count, ranges[index].lowerBound < bounds.upperBound {
            parts.append(ranges[index].clamped(to: bounds))
            index += 1
        }
        return parts
    }

    /// How many numbers of `bounds` are in the set.
    package func count(in bounds: Range<UInt64>) -> UInt64 {
        var count: UInt64 = 0
        var index = index(endingBehind: bounds.lowerBound)
        while index < ranges.count, ranges[index].lowerBound < bounds.upperBound {
            let part = ranges[index].clamped(to: bounds)
            count += part.upperBound - part.lowerBound
            index += 1
        }
        return count
    }

    /// The first place from `start` on and before `end` from which `count` numbers in a row are
    /// not in the set; the last of them may be at or behind `end`, but before `limit`.
    package func gap(
        of count: UInt64, from start: UInt64, before end: UInt64, limit: UInt64
    ) -> UInt64? {
        var place = start
        var index = index(endingBehind: start)
        while place < end, place <= limit, limit - place >= count {
            guard index < ranges.count else { return place }
            let next = ranges[index]
            if next.lowerBound > place, next.lowerBound - place >= count { return place }
            place = next.upperBound
            index += 1
        }
        return nil
    }
}
