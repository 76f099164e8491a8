// Writing directory entries. An entry has the length up to where the next one starts, so that what
// is free in a block always belongs to an entry: to an unused one (inode 0), or as slack to a used
// one. The entries of a block fill it, but for the tail.

extension DirectoryRecord {
    /// The fields before the name, in one load: a pass over a whole block, entry by entry, is what
    /// looking a name up and adding one cost.
    package struct Header {
        package let inode: UInt32
        package let length: Int
        package let nameLength: Int

        /// All four fields of the layout.
        package static let word = Field<UInt64>.le(0)

        /// `isWide` says that blocks have 64 KiB.
        @inline(__always)
        package init(_ bytes: RawSpan, at start: Int, isWide: Bool) {
            let word = bytes[Self.word.at(start)]
            inode = UInt32(truncatingIfNeeded: word)
            let stored = UInt16(truncatingIfNeeded: word >> 32)
            length =
                isWide
                ? DirectoryRecord.recordLength(stored, blockSize: 65536) : Int(stored)
            nameLength = Int(UInt8(truncatingIfNeeded: word >> 48))
        }

        /// The bytes that the entry needs if it is used; the rest of its length is free.
        @inline(__always)
        package func size(hashSize: Int) -> Int {
            DirectoryRecord.size(nameLength: nameLength, hasHash: false) &+ hashSize
        }

        /// The bytes that the entry needs.
        package func used(hasHash: Bool) -> Int {
            inode == 0 ? 0 : size(hashSize: hasHash ? DirectoryRecord.hashSize : 0)
        }

        /// Whether `DirectoryRecord(parsing:)` takes such an entry where `room` bytes are left.
        @inline(__always)
        package func isSound(room: Int, inodesCount: UInt32, hashSize: Int) -> Bool {
            guard length & 3 == 0, length <= room, inode <= inodesCount else { return false }
            // No name takes 12 bytes in all or less than that.
            return nameLength > 0
                ? length >= size(hashSize: hashSize) : inode == 0 && length >= 12
        }
    }

    /// What an entry leads to: inode and type.
    package struct Target: Hashable, Sendable {
        package let inode: InodeNumber
        package let type: FileType

        package init(inode: InodeNumber, type: FileType) {
            self.inode = inode
            self.type = type
        }
    }

    /// The stored form of a length; see `recordLength(_:blockSize:)`.
    package static func storedLength(_ length: Int, blockSize: Int) -> UInt16 {
        guard length >= 65536 else { return UInt16(truncatingIfNeeded: length) }
        if length == blockSize { return blockSize == 65536 ? 0xFFFF : 0 }
        return UInt16(truncatingIfNeeded: (length & 0xFFFC) | (length >> 16 & 3))
    }

    /// Writes a used entry of `length` bytes at `start`, and zeros between the name and the next
    /// multiple of 4.
    package static func write(
        _ target: Target, name: RawSpan, length: Int, at start: Int,
        in bytes: inout MutableRawSpan, format: DirectoryFormat
    ) {
        let used = size(nameLength: name.byteCount, hasHash: false)
        precondition(
            name.byteCount > 0 && name.byteCount <= 255 && used <= length
                && length <= bytes.byteCount &- start)
        bytes[Layout.inode.at(start)] = target.inode.rawValue
        setLength(length, at: start, in: &bytes, format: format)
        bytes[Layout.nameLength.at(start)] = UInt8(truncatingIfNeeded: name.byteCount)
        setType(target.type, at: start, in: &bytes, format: format)
        bytes.clear(start &+ used &- 4..<start &+ used)
        bytes.store(name, at: start &+ headerSize)
    }

    /// Writes an unused entry of `length` bytes at `start`.
    package static func writeUnused(
        length: Int, at start: Int, in bytes: inout MutableRawSpan, format: DirectoryFormat
    ) {
        bytes[Header.word.at(start)] = 0
        setLength(length, at: start, in: &bytes, format: format)
    }

    /// Adds an entry at the end of that at `room`, which has room to spare, or in its place if it
    /// is unused.
    package static func add(
        _ name: RawSpan, _ target: Target, at room: Int, in bytes: inout MutableRawSpan,
        format: DirectoryFormat
    ) {
        let header = Header(bytes.bytes, at: room, isWide: format.blockSize >= 65536)
        let used = header.used(hasHash: false)
        if used > 0 { setLength(used, at: room, in: &bytes, format: format) }
        write(
            target, name: name, length: header.length &- used, at: room &+ used, in: &bytes,
            format: format)
    }

    /// Wipes an entry: the one that starts at `before` takes its room, or with nil, as the first,
    /// it becomes unused.
    package static func remove(
        _ entry: Range<Int>, before: Int?, in bytes: inout MutableRawSpan, format: DirectoryFormat
    ) {
        bytes.clear(entry)
        if let before {
            setLength(
                entry.upperBound &- before, at: before, in: &bytes, format: format)
        } else {
            writeUnused(
                length: entry.count, at: entry.lowerBound, in: &bytes, format: format)
        }
    }

    /// Changes where the entry at `start` ends.
    package static func setLength(
        _ length: Int, at start: Int, in bytes: inout MutableRawSpan, format: DirectoryFormat
    ) {
        bytes[Layout.recordLength.at(start)] = storedLength(
            length, blockSize: format.blockSize)
    }

    /// Changes what the entry at `start` leads to.
    package static func setTarget(
        _ target: Target, at start: Int, in bytes: inout MutableRawSpan, format: DirectoryFormat
    ) {
        bytes[Layout.inode.at(start)] = target.inode.rawValue
        setType(target.type, at: start, in: &bytes, format: format)
    }

    /// Without the feature the byte is the high one of a length of 16 bits.
    private static func setType(
        _ type: FileType, at start: Int, in bytes: inout MutableRawSpan, format: DirectoryFormat
    ) {
        bytes[Layout.fileType.at(start)] = format.hasTypes ? type.rawValue : 0
    }

    /// Writes the tail of a block, for the checksum to be put into, where the volume has checksums.
    package static func writeTail(in bytes: inout MutableRawSpan, format: DirectoryFormat) {
        guard format.hasChecksums else { return }
        let base = bytes.byteCount &- tailSize
        bytes[TailLayout.zeroInode.at(base)] = 0
        bytes[TailLayout.recordLength.at(base)] = UInt16(tailSize)
        bytes[TailLayout.zeroName.at(base)] = 0
        bytes[TailLayout.type.at(base)] = tailType
        bytes[TailLayout.checksum.at(base)] = 0
    }

    /// Writes `.` and `..`, the second of them with the length up to `end`.
    package static func writeDots(
        itself: InodeNumber, parent: InodeNumber, end: Int, in bytes: inout MutableRawSpan,
        format: DirectoryFormat
    ) {
        let dots: [UInt8] = [UInt8(ascii: "."), UInt8(ascii: ".")]
        unsafe write(
            Target(inode: itself, type: .directory), name: dots.span.bytes.extracting(0..<1),
            length: dotSize, at: 0, in: &bytes, format: format)
        unsafe write(
            Target(inode: parent, type: .directory), name: dots.span.bytes,
            length: end &- dotSize, at: dotSize, in: &bytes, format: format)
    }

    /// The bytes that the entry of `.` takes, and that of `..` at least.
    package static let dotSize = 12
}
