/// A point in time to the nanosecond, as the disk can hold it: 1901 to 2446.
public struct Timestamp: Hashable, Comparable, Sendable {
    /// Seconds since 1970-01-01 00:00 UTC; negative before.
    public var seconds: Int64
    /// Nanoseconds behind the second, 0 to 999,999,999.
    public var nanoseconds: UInt32

    /// Makes a time.
    public init(seconds: Int64, nanoseconds: UInt32 = 0) {
        self.seconds = seconds
        self.nanoseconds = nanoseconds
    }

    /// Orders by time.
    public static func < (a: Self, b: Self) -> Bool {
        (a.seconds, a.nanoseconds) < (b.seconds, b.nanoseconds)
    }

    /// A time of an inode: 32 signed bits of seconds and, in `extra`, two more bits above them
    /// and 30 bits of nanoseconds.
    ///
    /// The extra bits count epochs of 2³² seconds and are added to the signed value, so that
    /// 1901 to 1970 keep the encoding they had before there were extra bits.
    package init(low: UInt32, extra: UInt32?) {
        let base = Int64(Int32(bitPattern: low))
        guard let extra else {
            self.init(seconds: base)
            return
        }
        self.init(
            seconds: base + Int64(extra & 3) << 32, nanoseconds: min(extra >> 2, 999_999_999))
    }

    /// A time of the superblock: 40 unsigned bits of seconds.
    package init(low: UInt32, high: UInt8) {
        self.init(seconds: Int64(high) << 32 | Int64(low))
    }

    /// The time as an inode has it: clamped to what it can hold, and without extra bits to the
    /// second.
    package func encoded(hasExtra: Bool) -> (low: UInt32, extra: UInt32) {
        let earliest = Int64(Int32.min)
        let latest = hasExtra ? Int64(Int32.max) + 3 << 32 : Int64(Int32.max)
        guard seconds <= latest else {
            let low = UInt32(truncatingIfNeeded: latest)
            return (low, hasExtra ? 3 : 0)
        }
        guard seconds >= earliest else { return (UInt32(truncatingIfNeeded: earliest), 0) }
        let low = UInt32(truncatingIfNeeded: seconds)
        let epoch = (seconds - Int64(Int32(bitPattern: low))) >> 32
        return (low, UInt32(truncatingIfNeeded: epoch & 3) | min(nanoseconds, 999_999_999) << 2)
    }
}
