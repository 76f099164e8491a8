extension InlineDirectory {
    /// Calls `body` with `.` and `..`, then each used entry, from `position` on, until it returns
    /// false; see `Directory.list` for positions. The last argument is that behind the entry.
    func list(
        from position: UInt64,
        _ body: (_ inode: InodeNumber, _ type: FileType, _ name: RawSpan, _ next: UInt64)
            throws(Ext4Error) -> Bool
    ) throws(Ext4Error) {
        let isByHash = position == 0 || HashOrder.isPosition(position)
        guard isByHash, superblock.compatible.contains(.dirIndex),
            let hash = DirectoryHash(
                version: superblock.defaultHashVersion, flags: flags, superblock: superblock)
        else {
            guard !HashOrder.isPosition(position) else { throw .invalidArgument }
            return try forEach(from: position, body)
        }
        // What a directory of one block would show, which it is to become when it is full.
        let order = HashOrder(hash, superblock: superblock)
        let first = max(position, HashOrder.first)
        var entries: [(position: UInt64, inode: InodeNumber, type: FileType, name: [UInt8])] = []
        try forEach { (inode, type, name, next) in
            let dots = next <= Self.firstPosition ? HashOrder.position(ofDots: name) : nil
            let place = dots ?? order.position(of: name, in: .init())
            if place >= first { entries.append((place, inode, type, name.copy())) }
            return true
        }
        entries.sort { $0.position < $1.position }
        for entry in entries {
            let goesOn = try unsafe body(
                entry.inode, entry.type, entry.name.span.bytes, entry.position + 1)
            guard goesOn else { return }
        }
    }
}
