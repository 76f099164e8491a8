// Making room for the checksum of a block of entries, and giving that room back.

extension DirectoryRecord {
    /// Frees the last bytes of a block of entries and makes a tail of them. Entries move only when
    /// the last one has no room to spare behind its name.
    ///
    /// - Parameters:
    ///   - format: that of a volume whose blocks have checksums.
    ///   - hasHash: whether the directory is both encrypted and ignores case.
    /// - Returns: whether the entries leave room for it; when not, nothing has changed.
    /// - Throws: `.corrupt` for entries that are wrong.
    package static func makeTail(
        in bytes: inout MutableRawSpan, format: DirectoryFormat, hasHash: Bool,
        place: Corruption.Place
    ) throws(Ext4Error) -> Bool {
        let end = bytes.byteCount
        let limit = end &- tailSize
        guard limit >= 2 &* dotSize else { return false }
        var last: (start: Int, end: Int)?
        var total = 0
        var offset = 0
        // Every entry has 12 bytes at least.
        while offset < end {
            let record = try DirectoryRecord(
                parsing: bytes.bytes, at: offset, end: end, format: format, hasHash: hasHash,
                place: place)
            if record.inode.rawValue != 0 {
                let size = size(nameLength: record.name.count, hasHash: hasHash)
                last = (record.start, record.start &+ size)
                total &+= size
            }
            offset = record.end
        }
        if let last {
            if last.end <= limit {
                setLength(limit &- last.start, at: last.start, in: &bytes, format: format)
            } else {
                guard total <= limit else { return false }
                try pack(
                    &bytes, upTo: limit, format: format, hasHash: hasHash, place: place)
            }
        } else {
            writeUnused(length: limit, at: 0, in: &bytes, format: format)
        }
        writeTail(in: &bytes, format: format)
        return true
    }

    /// Moves the used entries of a block, which were checked and fit, to its start in their order,
    /// and gives the last one what is left before `limit`.
    private static func pack(
        _ bytes: inout MutableRawSpan, upTo limit: Int, format: DirectoryFormat, hasHash: Bool,
        place: Corruption.Place
    ) throws(Ext4Error) {
        let end = bytes.byteCount
        var target = 0
        var last = 0
        var offset = 0
        while offset < end {
            let record = try DirectoryRecord(
                parsing: bytes.bytes, at: offset, end: end, format: format, hasHash: hasHash,
                place: place)
            offset = record.end
            guard record.inode.rawValue != 0 else { continue }
            let size = size(nameLength: record.name.count, hasHash: hasHash)
            bytes.move(record.start..<record.start &+ size, to: target)
            setLength(size, at: target, in: &bytes, format: format)
            last = target
            target &+= size
        }
        bytes.clear(target..<end)
        setLength(limit &- last, at: last, in: &bytes, format: format)
    }

    /// Gives the room of a block's tail to the entry before it.
    ///
    /// - Throws: `.corrupt` for entries that are wrong.
    package static func removeTail(
        in bytes: inout MutableRawSpan, format: DirectoryFormat, hasHash: Bool,
        place: Corruption.Place
    ) throws(Ext4Error) {
        guard hasTail(bytes.bytes) else { return }
        let end = bytes.byteCount &- tailSize
        var offset = 0
        var last = 0
        while offset < end {
            let record = try DirectoryRecord(
                parsing: bytes.bytes, at: offset, end: end, format: format, hasHash: hasHash,
                place: place)
            last = record.start
            offset = record.end
        }
        setLength(bytes.byteCount &- last, at: last, in: &bytes, format: format)
        bytes.clear(end..<bytes.byteCount)
    }
}
