internal import Ext4

/// The names of one block of entries, to find those that occur twice. It is made once a thread and
/// emptied by counting on, so that a name costs no allocation.
struct NameTable {
    private struct Slot {
        var stamp: UInt32 = 0
        var key: UInt32 = 0
        var start: Int32 = 0
        var count: Int32 = 0
    }

    private var slots: [Slot]
    private var stamp: UInt32 = 0
    private let mask: Int

    init(blockSize: Int) {
        // An entry takes 12 bytes at least: the table is never more than two thirds full.
        var count = 16
        while count < blockSize / 8 { count *= 2 }
        slots = Array(repeating: Slot(), count: count)
        mask = count - 1
    }

    /// Forgets all names.
    mutating func removeAll() {
        let (next, overflow) = stamp.addingReportingOverflow(1)
        if overflow { for index in slots.indices { slots[index].stamp = 0 } }
        stamp = overflow ? 1 : next
    }

    /// Adds the name in `range` of `bytes`; false when it is there already.
    mutating func insert(_ range: Range<Int>, of bytes: RawSpan) -> Bool {
        // FNV-1a tells names apart; those that agree in it are compared.
        var key: UInt32 = 0x811C_9DC5
        for index in range { key = (key ^ UInt32(bytes.byte(at: index))) &* 0x0100_0193 }
        var index = Int(key) & mask
        for _ in 0...mask {
            let slot = slots[index]
            guard slot.stamp == stamp else {
                slots[index] = Slot(
                    stamp: stamp, key: key, start: Int32(range.lowerBound),
                    count: Int32(range.count))
                return true
            }
            if slot.key == key, Int(slot.count) == range.count,
                Self.isEqual(bytes, range.lowerBound, Int(slot.start), range.count)
            {
                return false
            }
            index = (index &+ 1) & mask
        }
        return true
    }

    private static func isEqual(_ bytes: RawSpan, _ a: Int, _ b: Int, _ count: Int) -> Bool {
        for offset in 0..<count where bytes.byte(at: a &+ offset) != bytes.byte(at: b &+ offset) {
            return false
        }
        return true
    }
}
