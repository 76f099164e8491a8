extension Directory {
    /// Removes an entry, by its name or, of an encrypted directory, by the one that is shown.
    ///
    /// - Returns: what it led to.
    /// - Throws: `.notFound`; `.invalidArgument` for `.` and `..`; `.corrupt`.
    func remove(
        _ name: RawSpan, in handle: inout Handle
    ) throws(Ext4Error) -> (inode: InodeNumber, type: FileType) {
        let location = try locateToChange(name)
        let old = try remove(at: location, in: &handle)
        return (old.inode, old.type)
    }

    /// Lets an entry lead to another inode.
    ///
    /// - Returns: what it led to before.
    /// - Throws: `.notFound`; `.invalidArgument` for `.` and `..`; `.corrupt`.
    func replace(
        _ name: RawSpan, inode: InodeNumber, type: FileType, in handle: inout Handle
    ) throws(Ext4Error) -> (inode: InodeNumber, type: FileType) {
        guard inode.rawValue > 0, inode.rawValue <= format.inodesCount else {
            throw .invalidArgument
        }
        let location = try locateToChange(name)
        let old = try replace(.init(inode: inode, type: type), at: location, in: &handle)
        return (old.inode, old.type)
    }

    /// Where the entry stands that shall be removed or changed.
    private func locateToChange(_ name: RawSpan) throws(Ext4Error) -> Location {
        guard !name.isDotOrDotDot else { throw .invalidArgument }
        let location: Location?
        if flags.contains(.encrypted) {
            guard let shown = EncryptedName(shownAs: name.copy()) else { throw .notFound }
            location = try locate(shown)
        } else {
            location = try locate(name)
        }
        guard let location else { throw .notFound }
        return location
    }

    /// Lets `..` lead to `parent`.
    ///
    /// - Throws: `.corrupt` for a directory that does not start with `.` and `..`.
    func setParent(_ parent: InodeNumber, in handle: inout Handle) throws(Ext4Error) {
        guard blockCount > 0 else { throw missingDots }
        let first = LogicalBlock(0)
        let buffer = try self.buffer(of: first)
        let (itself, entry) = try buffer.withBytes { (bytes) throws(Ext4Error) in
            try dots(bytes)
        }
        _ = try replace(
            .init(inode: parent, type: .directory),
            at: Location(block: first, buffer: buffer, start: entry.start, before: itself.start),
            in: &handle)
    }

    /// Whether there is nothing but `.` and `..`.
    ///
    /// - Throws: `.corrupt` for a directory that does not start with them.
    func isEmpty() throws(Ext4Error) -> Bool {
        guard blockCount > 0 else { throw missingDots }
        let end = try buffer(of: LogicalBlock(0)).withBytes { (bytes) throws(Ext4Error) in
            try dots(bytes).parent.end
        }
        var isEmpty = true
        try forEach(from: UInt64(end)) { (_, _, _) in
            isEmpty = false
            return false
        }
        return isEmpty
    }
}

extension RawSpan {
    /// Whether these are the bytes of `.` or `..`.
    var isDotOrDotDot: Bool {
        let dot = UInt8(ascii: ".")
        return (byteCount == 1 && byte(at: 0) == dot)
            || (byteCount == 2 && byte(at: 0) == dot && byte(at: 1) == dot)
    }
}
