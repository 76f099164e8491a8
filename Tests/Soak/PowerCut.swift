import Ext4Verify
import Glibc

/// What a power failure leaves of an image: the writes that a flush made durable, and of the others
/// any sectors in any of their versions.
struct PowerCut {
    /// How many writes there were, and how many of them no flush had made durable.
    private(set) var writes = 0
    private(set) var pending = 0

    /// Makes the image `path` what it may be, from a copy of what it was and the record of what was
    /// written since.
    init(_ path: String, base: String, record: String, seed: UInt64) throws(Failure) {
        let log = try Names.contents(of: record) ?? []
        let (entries, durable) = try Self.parse(log)
        writes = entries.count
        pending = entries.count - durable
        let image = try OpenFile(base, O_RDWR)
        for entry in entries[..<durable] {
            try image.write(Array(log[entry.bytes]), at: entry.offset)
        }
        var random = Randomness(seed)
        var versions: [Int: [Range<Int>]] = [:]
        for entry in entries[durable...] {
            for start in stride(from: 0, to: entry.bytes.count, by: 512) {
                let end = min(start + 512, entry.bytes.count)
                let first = entry.bytes.lowerBound
                versions[entry.offset + start, default: []].append(first + start..<first + end)
            }
        }
        // Now and then nothing of it, or all: most of the time some.
        let mode = random.below(6)
        for (offset, list) in versions.sorted(by: { $0.key < $1.key }) {
            let choice = mode == 0 ? 0 : mode == 1 ? list.count : random.below(list.count + 1)
            if choice > 0 { try image.write(Array(log[list[choice - 1]]), at: offset) }
        }
        try Names.check("rename", unsafe rename(base, path))
    }

    private typealias Entry = (offset: Int, bytes: Range<Int>)

    private static func parse(_ log: [UInt8]) throws(Failure) -> ([Entry], durable: Int) {
        var entries: [Entry] = []
        var durable = 0
        var at = 0
        func number(_ position: Int) -> Int {
            Int(
                truncatingIfNeeded: log[position..<position + 8].reversed()
                    .reduce(UInt64(0)) { $0 << 8 | UInt64($1) })
        }
        // What the process was writing when it ended may be cut off: it was not done.
        while at < log.count {
            switch log[at] {
            case UInt8(ascii: "W"):
                guard at + 17 <= log.count else { return (entries, durable) }
                let (offset, count) = (number(at + 1), number(at + 9))
                guard at + 17 + count <= log.count else { return (entries, durable) }
                entries.append((offset, at + 17..<at + 17 + count))
                at += 17 + count
            case UInt8(ascii: "F"):
                guard at + 9 <= log.count else { return (entries, durable) }
                durable = max(durable, number(at + 1))
                at += 9
            default: throw Failure("the record is damaged at byte \(at)")
            }
        }
        guard durable <= entries.count else { throw Failure("the record has too few writes") }
        return (entries, durable)
    }
}
