package import Ext4
internal import Synchronization

/// A device as it will be after a repair: what was changed is kept in memory, everything else is
/// read from the device below.
///
/// Nothing is written below before `writeOut`, so that a repair which cannot be brought to an end
/// leaves the volume as it was. What it takes in memory is what it changes.
package final class RepairOverlay: BlockDevice {
    /// The size of the pieces that are kept: the smallest block, and the superblock's size.
    static let unit = 1024

    /// The device's size in bytes.
    package let byteCount: UInt64
    /// Never: what is below may be all the same, until `writeOut`.
    package let isReadOnly = false
    private let base: any BlockDevice
    private let pieces = Mutex<[UInt64: [UInt8]]>([:])
    private let changeCount = Atomic<Int>(0)

    /// Makes a view of `base` to be changed.
    package init(over base: any BlockDevice) {
        self.base = base
        byteCount = base.byteCount
    }

    /// How many bytes were changed.
    package var changedBytes: UInt64 {
        pieces.withLock { UInt64($0.count) &* UInt64(Self.unit) }
    }

    /// How many pieces became something else so far.
    var changes: Int { changeCount.load(ordering: .relaxed) }

    package func read(at byteOffset: UInt64, into bytes: inout MutableRawSpan) throws(Ext4Error) {
        try base.read(at: byteOffset, into: &bytes)
        let unit = UInt64(Self.unit)
        let count = UInt64(bytes.byteCount)
        guard count > 0 else { return }
        let first = byteOffset / unit
        let last = (byteOffset &+ count &- 1) / unit
        let found: [(UInt64, [UInt8])] = pieces.withLock { pieces in
            guard !pieces.isEmpty else { return [] }
            return (first...last).compactMap { index in pieces[index].map { (index, $0) } }
        }
        for (index, piece) in found {
            let start = index &* unit
            let from = max(start, byteOffset)
            let end = min(start &+ UInt64(piece.count), byteOffset &+ count)
            guard from < end else { continue }
            let source = unsafe piece.span.bytes.extracting(Int(from &- start)..<Int(end &- start))
            bytes.store(source, at: Int(from &- byteOffset))
        }
    }

    package func write(_ bytes: RawSpan, at byteOffset: UInt64) throws(Ext4Error) {
        try checkBounds(.write, at: byteOffset, count: bytes.byteCount)
        let unit = UInt64(Self.unit)
        var done = 0
        while done < bytes.byteCount {
            let position = byteOffset &+ UInt64(done)
            let index = position / unit
            let start = index &* unit
            let inside = Int(position &- start)
            let size = Int(min(unit, byteCount &- start))
            let count = min(size &- inside, bytes.byteCount &- done)
            var piece: [UInt8]
            if let known = pieces.withLock({ $0[index] }) {
                piece = known
            } else {
                piece = try base.read(at: start, count: size)
            }
            var isChanged = false
            for i in 0..<count where piece[inside &+ i] != bytes.byte(at: done &+ i) {
                piece[inside &+ i] = bytes.byte(at: done &+ i)
                isChanged = true
            }
            if isChanged {
                let changed = piece
                pieces.withLock { $0[index] = changed }
                changeCount.add(1, ordering: .relaxed)
            }
            done &+= count
        }
    }

    package func flush() throws(Ext4Error) {}

    /// Writes bytes to the device below at once: for contents of blocks that nothing leads to yet.
    func writeThrough(_ bytes: RawSpan, at byteOffset: UInt64) throws(Ext4Error) {
        try base.write(bytes, at: byteOffset)
    }

    /// Writes what was changed: first the bytes that `isFree` says nothing leads to, then all
    /// others, at last the superblock; with a flush behind each.
    ///
    /// Whatever a cut leaves, a volume comes of it that can be repaired again: no block is
    /// overwritten whose contents stand nowhere else before what replaces it is in its place.
    package func writeOut(isFree: (_ byteOffset: UInt64) -> Bool) throws(Ext4Error) {
        let changed = pieces.withLock { $0 }
        let unit = UInt64(Self.unit)
        var phases: [[UInt64]] = [[], [], []]
        for index in changed.keys.sorted() {
            let isSuperblock = index &* unit == Superblock.byteOffset
            phases[isSuperblock ? 2 : isFree(index &* unit) ? 0 : 1].append(index)
        }
        for phase in phases where !phase.isEmpty {
            var run: [UInt8] = []
            var start: UInt64 = 0
            for index in phase {
                let position = index &* unit
                if !run.isEmpty, position != start &+ UInt64(run.count) || run.count >= 1 << 20 {
                    try unsafe base.write(run.span.bytes, at: start)
                    run.removeAll(keepingCapacity: true)
                }
                if run.isEmpty { start = position }
                run += changed[index] ?? []
            }
            if !run.isEmpty { try unsafe base.write(run.span.bytes, at: start) }
            try base.flush()
        }
        pieces.withLock { $0.removeAll() }
    }
}
