/// The entries of a leaf and one to be added, in the order of their hashes, cut near the middle of
/// their bytes.
struct LeafSplit {
    private let directory: Directory
    private let source: [UInt8]
    private let name: [UInt8]
    private let target: DirectoryRecord.Target
    /// The entries in order.
    private var entries: [Entry] = []
    /// How many of them stay below the cut.
    private var middle = 0
    /// The bytes that all of them take.
    private(set) var byteCount: Int

    private struct Entry {
        /// The hash in the high half; in the low one where the entry starts in the old block,
        /// which for the new entry is behind every other's.
        let key: UInt64
        let size: Int

        var start: Int { Int(UInt32(truncatingIfNeeded: key)) }
        var hash: UInt32 { UInt32(truncatingIfNeeded: key >> 32) }
    }

    /// - Parameters:
    ///   - first: where the entries to be moved start in `bytes`, which is a whole block.
    ///   - name: the name to be added, with the hash `added`.
    init(
        _ bytes: RawSpan, of block: LogicalBlock, from first: Int, adding name: RawSpan,
        _ target: DirectoryRecord.Target, hash added: UInt32, by hash: DirectoryHash,
        in directory: Directory
    ) throws(Ext4Error) {
        let format = directory.format
        self.directory = directory
        self.name = name.copy()
        self.target = target
        source = bytes.copy()
        byteCount = DirectoryRecord.size(nameLength: name.byteCount, hasHash: false)
        let end = format.entriesEnd
        entries.reserveCapacity(end / 16)
        entries.append(
            Entry(key: UInt64(added) << 32 | UInt64(format.blockSize), size: byteCount))
        var offset = first
        while offset < end {
            let record = try DirectoryRecord(
                parsing: bytes, at: offset, end: end, format: format, hasHash: false,
                place: .init(inode: directory.owner.inode, logicalBlock: block))
            offset = record.end
            guard record.inode.rawValue != 0,
                let value = hash.hash(of: bytes.extracting(record.name))
            else { continue }
            let size = DirectoryRecord.size(nameLength: record.name.count, hasHash: false)
            entries.append(
                Entry(key: UInt64(value.major) << 32 | UInt64(record.start), size: size))
            byteCount += size
        }
        entries.sort { $0.key < $1.key }
        middle = cut()
    }

    /// The cut that is nearest to the middle, with an entry at least on either side.
    ///
    /// Both sides fit into a block: all entries take at most one block and the new one's 264 bytes,
    /// and the cut is at most half an entry from their middle.
    private func cut() -> Int {
        var below = 0
        for (i, entry) in entries.enumerated() {
            guard 2 * below + entry.size < byteCount else { return max(i, 1) }
            below += entry.size
        }
        return max(entries.count - 1, 1)
    }

    /// Whether there is an entry for either side.
    var isPossible: Bool { entries.count > 1 }

    /// From which hash on names belong to the upper part, with the bit that says that names of this
    /// hash stand in the lower one too.
    var bound: UInt32 {
        let isContinued = entries[middle - 1].hash == entries[middle].hash
        return entries[middle].hash | (isContinued ? 1 : 0)
    }

    /// Writes a leaf with the lower part.
    func writeLower(to bytes: inout MutableRawSpan) { write(0..<middle, to: &bytes) }

    /// Writes a leaf with the upper part.
    func writeUpper(to bytes: inout MutableRawSpan) { write(middle..<entries.count, to: &bytes) }

    /// Writes a leaf with all of it, which must fit.
    func writeAll(to bytes: inout MutableRawSpan) { write(0..<entries.count, to: &bytes) }

    private func write(_ range: Range<Int>, to bytes: inout MutableRawSpan) {
        let format = directory.format
        let end = format.entriesEnd
        bytes.clear()
        DirectoryRecord.writeTail(in: &bytes, format: format)
        var offset = 0
        for i in range {
            let entry = entries[i]
            // The last entry has what is left.
            let length = i == range.upperBound - 1 ? end - offset : entry.size
            if entry.start == format.blockSize {
                unsafe DirectoryRecord.write(
                    target, name: name.span.bytes, length: length, at: offset, in: &bytes,
                    format: format)
            } else {
                unsafe bytes.store(
                    source.span.bytes.extracting(entry.start..<entry.start + entry.size),
                    at: offset)
                DirectoryRecord.setLength(length, at: offset, in: &bytes, format: format)
            }
            offset += entry.size
        }
    }
}
