public import Ext4

/// Compares two volumes structure by structure.
///
/// What it says is what the structures say, not which bytes differ: two volumes with the same files
/// in other places differ in maps and bitmaps. Differences come one by one, in the order of the
/// volume, and nothing that grows with it is kept.
///
/// A structure that cannot be read on one side is a difference; the comparison goes on.
public struct VolumeDiff {
    let a: Side
    let b: Side
    let options: DiffOptions
    private let tell: (Difference) -> Void
    /// What it came to so far.
    public internal(set) var summary = DiffSummary()

    /// One of the two volumes.
    struct Side {
        let volume: Volume
        var device: any BlockDevice { volume.device }
        var superblock: Superblock { volume.superblock }
    }

    private init(
        _ a: Volume, _ b: Volume, _ options: DiffOptions, _ tell: @escaping (Difference) -> Void
    ) {
        self.a = Side(volume: a)
        self.b = Side(volume: b)
        self.options = options
        self.tell = tell
    }

    /// Compares two volumes.
    ///
    /// - Parameter tell: is called with each difference.
    /// - Throws: `.io` when a device fails where the comparison cannot go on.
    public static func compare(
        _ a: Volume, with b: Volume, options: DiffOptions = .init(),
        _ tell: @escaping (Difference) -> Void
    ) throws(Ext4Error) -> DiffSummary {
        var diff = VolumeDiff(a, b, options, tell)
        try diff.compareSuperblocks()
        diff.compareJournals()
        diff.compareGroups()
        try diff.compareInodes()
        return diff.summary
    }

    // MARK: Telling

    mutating func note(_ difference: Difference) {
        summary.differences += 1
        if difference.isDamage { summary.damages += 1 }
        tell(difference)
    }

    /// Notes what is not alike.
    mutating func check(
        _ structure: Difference.Structure, _ what: String, _ a: String?, _ b: String?,
        group: GroupNumber? = nil, inode: InodeNumber? = nil, name: [UInt8]? = nil
    ) {
        guard a != b else { return }
        var difference = Difference(structure, what, a: a, b: b)
        difference.group = group
        difference.inode = inode
        difference.name = name
        note(difference)
    }

    /// Reads the same thing on both sides. Where that fails on one of them, or on each for another
    /// reason, it is noted, and nil comes back.
    mutating func both<Value>(
        _ structure: Difference.Structure, _ what: String, group: GroupNumber? = nil,
        inode: InodeNumber? = nil, _ read: (Side) throws(Ext4Error) -> Value
    ) -> (a: Value, b: Value)? {
        let first = Self.attempt(a, read)
        let second = Self.attempt(b, read)
        if case .success(let x) = first, case .success(let y) = second { return (x, y) }
        let texts = (Self.words(first), Self.words(second))
        guard texts.0 != texts.1 else {
            summary.unreadable += 1
            return nil
        }
        var difference = Difference(structure, what, a: texts.0, b: texts.1)
        difference.group = group
        difference.inode = inode
        difference.isDamage = true
        note(difference)
        return nil
    }

    private static func attempt<Value>(
        _ side: Side, _ read: (Side) throws(Ext4Error) -> Value
    ) -> Result<Value, Ext4Error> {
        do throws(Ext4Error) {
            return .success(try read(side))
        } catch {
            return .failure(error)
        }
    }

    private static func words<Value>(_ result: Result<Value, Ext4Error>) -> String {
        switch result {
        case .success: "readable"
        case .failure(let error): "unreadable: \(error)"
        }
    }

    /// Compares records field by field; what no field covers is told by its bytes.
    mutating func compareFields(
        _ fields: [NamedField], _ structure: Difference.Structure,
        _ a: ArraySlice<UInt8>, _ b: ArraySlice<UInt8>, ends: (a: Int, b: Int)? = nil,
        besides covered: [Range<Int>] = [], group: GroupNumber? = nil, inode: InodeNumber? = nil
    ) {
        guard a != b else { return }
        let found = Self.differences(
            fields, structure, Array(a), Array(b), ends: ends ?? (a.count, b.count),
            besides: covered)
        for var difference in found {
            difference.group = group
            difference.inode = inode
            note(difference)
        }
    }

    private static func differences(
        _ fields: [NamedField], _ structure: Difference.Structure, _ x: [UInt8], _ y: [UInt8],
        ends: (a: Int, b: Int), besides covered: [Range<Int>]
    ) -> [Difference] {
        var found: [Difference] = []
        for field in fields {
            let (p, q) = (
                field.text(in: x, fieldsEnd: ends.a), field.text(in: y, fieldsEnd: ends.b)
            )
            if p != q { found.append(Difference(structure, field.name, a: p, b: q)) }
        }
        var isKnown = [Bool](repeating: false, count: max(x.count, y.count))
        for range in fields.flatMap(\.ranges) + covered {
            for at in range.clamped(to: 0..<isKnown.count) { isKnown[at] = true }
        }
        func isOther(_ at: Int) -> Bool {
            at < isKnown.count && !isKnown[at]
                && (at < x.count ? x[at] : 0) != (at < y.count ? y[at] : 0)
        }
        var at = 0
        while at < isKnown.count {
            guard isOther(at) else {
                at += 1
                continue
            }
            let start = at
            while isOther(at) { at += 1 }
            func bytes(_ record: [UInt8]) -> String? {
                let range = (start..<at).clamped(to: 0..<record.count)
                return range.isEmpty ? nil : "0x" + Quoting.hexadecimal(record[range].prefix(32))
            }
            found.append(
                Difference(
                    structure, at - start == 1 ? "byte \(start)" : "bytes \(start)-\(at - 1)",
                    a: bytes(x), b: bytes(y)))
        }
        return found
    }

    /// Compares the superblocks alone, as they lie: all that can be said of volumes of which one
    /// cannot be opened.
    ///
    /// - Throws: `.io`.
    public static func compareSuperblocks(
        of a: any BlockDevice, _ b: any BlockDevice, _ tell: (Difference) -> Void
    ) throws(Ext4Error) {
        let x = try a.read(at: Superblock.byteOffset, count: Superblock.byteCount)
        let y = try b.read(at: Superblock.byteOffset, count: Superblock.byteCount)
        for difference in differences(
            Superblock.namedFields, .superblock, x, y, ends: (x.count, y.count), besides: [])
        {
            tell(difference)
        }
    }

    // MARK: Superblock and journal

    private mutating func compareSuperblocks() throws(Ext4Error) {
        let x = try a.device.read(at: Superblock.byteOffset, count: Superblock.byteCount)
        let y = try b.device.read(at: Superblock.byteOffset, count: Superblock.byteCount)
        compareFields(Superblock.namedFields, .superblock, x[...], y[...])
    }

    private mutating func compareJournals() {
        let sides = both(.journal, "superblock") { (side) throws(Ext4Error) -> [UInt8] in
            guard side.superblock.compatible.contains(.hasJournal),
                !side.superblock.hasExternalJournal
            else { return [] }
            guard let block = try side.volume.journalLocation().block(0) else { return [] }
            let log2 = UInt64(side.superblock.blockSizeLog2)
            return try side.device.read(
                at: block.rawValue << log2, count: JournalSuperblock.Layout.byteCount)
        }
        guard let (x, y) = sides else { return }
        guard x.isEmpty == y.isEmpty else {
            return check(
                .journal, "a journal inside the volume", x.isEmpty ? nil : "there",
                y.isEmpty ? nil : "there")
        }
        compareFields(JournalSuperblock.namedFields, .journal, x[...], y[...])
        func state(_ side: Side) -> String {
            side.volume.recovery.map { "\($0)" } ?? "nothing"
        }
        check(.journal, "to be replayed", state(a), state(b))
    }
}
