/// Which blocks, or which inodes, of a group are not to be had.
///
/// The bits are those of the group's bitmap, and in addition what is set aside for somebody, and
/// what was freed in a transaction that is not committed yet: a crash would bring the old owner
/// back. A search looks at this map alone. It can be dropped when nothing is set aside, and made
/// again from the bitmap.
struct BusyMap {
    /// What is known of the bitmap on the disk.
    enum Condition {
        /// It was not looked at.
        case unknown
        /// It is sound.
        case good
        /// It is not: nothing is allocated or freed here, so that nothing is made worse.
        case bad
    }

    /// What was freed and may be used again once a transaction is committed.
    struct Freed {
        let transaction: TransactionID
        var bits: Range<Int>
    }

    /// How many blocks, or inodes, the group has.
    let count: Int
    /// The bits, in whole words, set behind `count`; empty when the map is not in memory.
    private(set) var bytes: [UInt8] = []
    var condition = Condition.unknown
    /// How many of the bits are set aside.
    private(set) var setAside = 0
    /// What was freed and waits, oldest transaction first.
    private(set) var freed: [Freed] = []
    /// The bitmap's buffer when the running transaction changed it and its checksum is to be made.
    var unsealed: Buffer?

    init(count: UInt32) { self.count = Int(count) }

    var isLoaded: Bool { !bytes.isEmpty }

    /// Whether the map may be dropped.
    var isDroppable: Bool { setAside == 0 }

    mutating func drop() { bytes = [] }

    /// Makes the map from the bitmap, of which the first `count` bits matter.
    mutating func load(_ bitmap: RawSpan) {
        let size = (count + 63) / 64 * 8
        precondition(size <= bitmap.byteCount, "a bitmap is smaller than its group")
        bytes = bitmap.copy(0..<size)
        setPadding()
    }

    /// Makes the map of a group whose bitmap was never written, with nothing taken.
    mutating func loadEmpty() {
        bytes = [UInt8](repeating: 0, count: (count + 63) / 64 * 8)
        setPadding()
    }

    private mutating func setPadding() {
        let first = count
        let waiting = freed
        change { bits in
            bits.setBits(first..<bits.byteCount * 8)
            for piece in waiting { bits.setBits(piece.bits) }
        }
    }

    private mutating func change(_ body: (inout MutableRawSpan) -> Void) {
        var span = bytes.mutableSpan
        var raw = unsafe span.mutableBytes
        body(&raw)
    }

    /// Runs `body` on the bits; only when the map is loaded.
    func withBits<Result>(_ body: (RawSpan) -> Result) -> Result {
        body(unsafe bytes.span.bytes)
    }

    /// Takes `bits`, which are clear, without setting them aside.
    mutating func take(_ bits: Range<Int>) { change { $0.setBits(bits) } }

    /// Gives `bits` back at once.
    mutating func giveBack(_ bits: Range<Int>) {
        if isLoaded { change { $0.clearBits(bits) } }
    }

    /// Sets `bits` aside, which are clear.
    mutating func reserve(_ bits: Range<Int>) {
        take(bits)
        setAside += bits.count
    }

    /// Whether `bits` can have been set aside.
    func mayBeSetAside(_ bits: Range<Int>) -> Bool {
        isLoaded && bits.count <= setAside && withBits { $0.areBitsSet(bits) }
    }

    /// Notes that what was set aside has an owner from now on.
    mutating func settle(_ bits: Range<Int>) { setAside -= bits.count }

    /// Takes back that what was set aside has an owner.
    mutating func unsettle(_ bits: Range<Int>) { setAside += bits.count }

    /// Gives up what was set aside.
    mutating func cancel(_ bits: Range<Int>) {
        setAside -= bits.count
        giveBack(bits)
    }

    // MARK: What waits for a commit

    /// Notes that `bits` are free once `transaction` is committed.
    ///
    /// - Returns: whether they are the first ones of that transaction here.
    mutating func free(_ bits: Range<Int>, in transaction: TransactionID) -> Bool {
        guard let last = freed.last, last.transaction == transaction else {
            freed.append(Freed(transaction: transaction, bits: bits))
            return true
        }
        // Files are freed from one end to the other: most pieces continue the one before.
        if last.bits.upperBound == bits.lowerBound {
            freed[freed.count - 1].bits = last.bits.lowerBound..<bits.upperBound
        } else if bits.upperBound == last.bits.lowerBound {
            freed[freed.count - 1].bits = bits.lowerBound..<last.bits.upperBound
        } else {
            freed.append(Freed(transaction: transaction, bits: bits))
        }
        return false
    }

    /// Takes back that `bits` were freed.
    mutating func unfree(_ bits: Range<Int>, in transaction: TransactionID) {
        guard
            let index = freed.lastIndex(where: {
                $0.transaction == transaction && $0.bits.lowerBound <= bits.lowerBound
                    && bits.upperBound <= $0.bits.upperBound
            })
        else { return }
        let whole = freed[index].bits
        freed.remove(at: index)
        for rest in [
            whole.lowerBound..<bits.lowerBound, bits.upperBound..<whole.upperBound,
        ] where !rest.isEmpty {
            freed.insert(Freed(transaction: transaction, bits: rest), at: index)
        }
    }

    /// Gives free what waited for a transaction up to `last`, and tells `body` of each piece.
    mutating func release(
        committedUpTo last: TransactionID, _ body: (inout BusyMap, Range<Int>) -> Void
    ) {
        let ready = freed.prefix { !$0.transaction.isAfter(last) }
        guard !ready.isEmpty else { return }
        freed.removeFirst(ready.count)
        for piece in ready {
            giveBack(piece.bits)
            body(&self, piece.bits)
        }
    }
}
