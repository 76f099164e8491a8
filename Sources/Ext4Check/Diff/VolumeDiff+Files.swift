import Ext4

// What inodes that are in use on both sides lead to.

extension VolumeDiff {
    /// Compares entries, maps, targets, attributes and, where asked for, contents.
    ///
    /// - Parameter isSame: whether the records are alike: what stands in them alone needs no look.
    mutating func compareFile(_ number: InodeNumber, isSame: Bool) {
        let inodes = both(.inode, "record", inode: number) { (side) throws(Ext4Error) in
            try side.volume.inode(number)
        }
        guard let (x, y) = inodes else { return }
        compareAttributes(x, y)
        guard x.type == y.type else { return }
        let hasMaps = x.hasMap && y.hasMap
        switch x.type {
        case .directory:
            if hasMaps { compareMaps(x, y, isSame) }
            compareEntries(x, y)
        case .regular:
            if hasMaps { compareMaps(x, y, isSame) }
            // The volume's own, such as the journal and the reserve for descriptors, hold no
            // contents: what they are for is told by its own structures.
            let isOwn = number < max(a.superblock.firstInode, b.superblock.firstInode)
            if options.comparesContents, !isOwn { compareContents(x, y) }
        case .symlink:
            if hasMaps { compareMaps(x, y, isSame) }
            let targets = both(.contents, "target", inode: number) { (side) throws(Ext4Error) in
                try side.volume.symlinkTarget(of: side.volume.inode(number))
            }
            if let (p, q) = targets {
                check(.contents, "target", Quoting.text(p), Quoting.text(q), inode: number)
            }
        case .characterDevice, .blockDevice:
            func text(_ inode: Inode) -> String? { inode.device.map { "\($0.major):\($0.minor)" } }
            check(.inode, "device", text(x), text(y), inode: number)
        default: break
        }
    }

    // MARK: Attributes

    private mutating func compareAttributes(_ x: Inode, _ y: Inode) {
        let lists = both(.attribute, "attributes", inode: x.number) {
            (side) throws(Ext4Error) -> [FileName: [UInt8]] in
            let inode = try side.volume.inode(x.number)
            var found: [FileName: [UInt8]] = [:]
            for attribute in try side.volume.extendedAttributes(of: inode) {
                found[attribute.name] = attribute.value
            }
            return found
        }
        guard let (p, q) = lists, p != q else { return }
        let names = Set(p.keys).union(q.keys).filter { p[$0] != q[$0] }
            .sorted { $0.bytes.lexicographicallyPrecedes($1.bytes) }
        for name in names {
            check(
                .attribute, "value", p[name].map { Quoting.text($0) },
                q[name].map { Quoting.text($0) }, inode: x.number, name: name.bytes)
        }
    }

    // MARK: Entries

    /// Larger directories than this are compared by looking each name up.
    private static let mostEntriesInMemory = 200_000

    private mutating func compareEntries(_ x: Inode, _ y: Inode) {
        let number = x.number
        let lists = both(.entry, "entries", inode: number) {
            (side) throws(Ext4Error) -> [FileName: DirectoryEntry]? in
            var found: [FileName: DirectoryEntry] = [:]
            var isComplete = true
            let inode = try side.volume.inode(number)
            try side.volume.readDirectory(inode) { (entry) throws(Ext4Error) in
                guard found.count < Self.mostEntriesInMemory else {
                    isComplete = false
                    return false
                }
                found[entry.name] = entry
                return true
            }
            return isComplete ? found : nil
        }
        guard let (p, q) = lists else { return }
        guard let p, let q else { return compareLargeDirectories(number) }
        let names = Set(p.keys).union(q.keys).filter { Self.text(p[$0]) != Self.text(q[$0]) }
            .sorted { $0.bytes.lexicographicallyPrecedes($1.bytes) }
        for name in names {
            check(
                .entry, "leads to", Self.text(p[name]), Self.text(q[name]), inode: number,
                name: name.bytes)
        }
    }

    private static func text(_ entry: DirectoryEntry?) -> String? {
        entry.map { "inode \($0.inode) (\($0.type))" }
    }

    /// Names of one side that the other does not have, or has otherwise: one after another.
    private mutating func compareLargeDirectories(_ number: InodeNumber) {
        for isFirst in [true, false] {
            let (from, to) = isFirst ? (a, b) : (b, a)
            do throws(Ext4Error) {
                let target = try to.volume.inode(number)
                var diff = self
                try from.volume.readDirectory(from.volume.inode(number)) {
                    (entry) throws(Ext4Error) in
                    let here = "inode \(entry.inode)"
                    var there: String?
                    do throws(Ext4Error) {
                        there = "inode \(try to.volume.lookup(entry.name, in: target).number)"
                    } catch {
                        if error != .notFound { there = "unreadable: \(error)" }
                    }
                    // What both have is told once.
                    guard isFirst || there == nil else { return true }
                    diff.check(
                        .entry, "leads to", isFirst ? here : there, isFirst ? there : here,
                        inode: number, name: entry.name.bytes)
                    return true
                }
                self = diff
            } catch {
                var difference = Difference(
                    .entry, "entries", a: isFirst ? "unreadable: \(error)" : "readable",
                    b: isFirst ? "readable" : "unreadable: \(error)"
                ).of(number)
                difference.isDamage = true
                note(difference)
            }
        }
    }

    // MARK: Maps

    /// Compares where blocks are, run by run.
    private mutating func compareMaps(_ x: Inode, _ y: Inode, _ isSame: Bool) {
        // A map that stands in the inode alone is as alike as the records are.
        if isSame, x.isMapInInode { return }
        let sizes = (a.volume.blockSize, b.volume.blockSize)
        guard sizes.0 == sizes.1 else { return }
        let number = x.number
        var block = LogicalBlock(0)
        var pending: (range: Range<UInt64>, a: BlockRun.State, b: BlockRun.State)?
        while block < .end {
            let runs = both(.map, "blocks from \(block) on", inode: number) {
                (side) throws(Ext4Error) in
                try side.volume.mapping(of: side.volume.inode(number), at: block)
            }
            guard let (p, q) = runs else { break }
            let (m, n) = (p.suffix(from: block), q.suffix(from: block))
            let end = min(m.end, n.end)
            guard end > block else { break }
            if m.state != n.state {
                if let before = pending, before.range.upperBound == block.rawValue,
                    before.a.continues(before.range.count, in: m.state),
                    before.b.continues(before.range.count, in: n.state)
                {
                    pending?.range = before.range.lowerBound..<end.rawValue
                } else {
                    noteMap(pending, number)
                    pending = (block.rawValue..<end.rawValue, m.state, n.state)
                }
            }
            block = end
        }
        noteMap(pending, number)
    }

    private mutating func noteMap(
        _ difference: (range: Range<UInt64>, a: BlockRun.State, b: BlockRun.State)?,
        _ number: InodeNumber
    ) {
        guard let (range, p, q) = difference else { return }
        let count = range.upperBound - range.lowerBound
        let what =
            count == 1
            ? "block \(range.lowerBound)" : "blocks \(range.lowerBound)-\(range.upperBound - 1)"
        check(.map, what, p.text(count: count), q.text(count: count), inode: number)
    }

    // MARK: Contents

    private static let pieceSize = 1 << 20

    private mutating func compareContents(_ x: Inode, _ y: Inode) {
        let number = x.number
        let end = max(x.size, y.size)
        var position: UInt64 = 0
        var start: UInt64?
        while position < end {
            let next = min(holeEnd(x, a, position), holeEnd(y, b, position))
            if next > position {
                // Zeros on both sides.
                if let from = start { noteContents(from..<position, number) }
                start = nil
                position = next
                continue
            }
            let count = Int(min(UInt64(Self.pieceSize), end - position))
            let pieces = both(.contents, "bytes from \(position) on", inode: number) {
                (side) throws(Ext4Error) in
                try side.volume.piece(of: number, at: position, count: count)
            }
            guard let (p, q) = pieces else { return }
            if p == q {
                if let from = start { noteContents(from..<position, number) }
                start = nil
            } else {
                for at in 0..<max(p.count, q.count) {
                    let isOther =
                        at >= p.count || at >= q.count || p[at] != q[at]
                    if isOther, start == nil { start = position + UInt64(at) }
                    if !isOther, let from = start {
                        noteContents(from..<position + UInt64(at), number)
                        start = nil
                    }
                }
            }
            position += UInt64(count)
        }
        if let from = start { noteContents(from..<end, number) }
    }

    /// Where the zeros end that a hole at `position` stands for; `position` where there is none.
    private func holeEnd(_ inode: Inode, _ side: Side, _ position: UInt64) -> UInt64 {
        guard position < inode.size else { return position }
        guard !inode.usesInlineData,
            let run = try? side.volume.mapping(
                of: inode, at: LogicalBlock(position / UInt64(side.volume.blockSize)))
        else { return position }
        if case .mapped = run.state { return position }
        let (end, overflow) = run.end.rawValue.multipliedReportingOverflow(
            by: UInt64(side.volume.blockSize))
        return overflow ? inode.size : min(end, inode.size)
    }

    private mutating func noteContents(_ range: Range<UInt64>, _ number: InodeNumber) {
        guard !range.isEmpty else { return }
        func sample(_ side: Side) -> String? {
            let count = Int(min(range.upperBound - range.lowerBound, 16))
            guard
                let bytes = try? side.volume.piece(of: number, at: range.lowerBound, count: count),
                !bytes.isEmpty
            else { return nil }
            return "0x" + Quoting.hexadecimal(bytes)
                + (range.upperBound - range.lowerBound > 16 ? "…" : "")
        }
        let what =
            range.count == 1
            ? "byte \(range.lowerBound)" : "bytes \(range.lowerBound)-\(range.upperBound - 1)"
        var difference = Difference(.contents, what, a: sample(a), b: sample(b)).of(number)
        difference.name = nil
        note(difference)
    }
}

extension Volume {
    /// A part of a file, as far as it goes.
    fileprivate func piece(
        of number: InodeNumber, at offset: UInt64, count: Int
    ) throws(Ext4Error) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        let got: Int
        do {
            var span = bytes.mutableSpan
            var raw = unsafe span.mutableBytes
            got = try read(inode(number), at: offset, into: &raw)
        }
        return got == count ? bytes : Array(bytes.prefix(got))
    }
}

extension Inode {
    /// Whether the inode leads to blocks by a map.
    fileprivate var hasMap: Bool {
        switch type {
        case .regular, .directory: !usesInlineData
        case .symlink: !usesInlineData && blocks512 > 0
        default: false
        }
    }

    /// Whether the whole map stands in the inode.
    fileprivate var isMapInInode: Bool {
        let words = record.block
        // `eh_depth`, or the three pointers to indirect blocks.
        return usesExtents
            ? words[6] == 0 && words[7] == 0 : !words[48...].contains { $0 != 0 }
    }
}

extension BlockRun.State {
    /// Whether `next` is what follows after `count` blocks of this.
    fileprivate func continues(_ count: Int, in next: BlockRun.State) -> Bool {
        switch (self, next) {
        case (.hole, .hole): true
        case (.mapped(let x), .mapped(let y)), (.unwritten(let x), .unwritten(let y)):
            x.advanced(by: UInt64(count)) == y
        default: false
        }
    }

    fileprivate func text(count: UInt64) -> String {
        func range(_ start: BlockNumber) -> String {
            count == 1 ? "\(start)" : "\(start)-\(start.rawValue + count - 1)"
        }
        return switch self {
        case .hole: "a hole"
        case .mapped(let start): "at \(range(start))"
        case .unwritten(let start): "unwritten at \(range(start))"
        }
    }
}
