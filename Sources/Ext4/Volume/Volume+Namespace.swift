/// An entry of a directory.
public struct DirectoryEntry: Hashable, Sendable {
    /// The name; of an encrypted directory, as it is shown without the key.
    public let name: FileName
    /// The inode that the name leads to.
    public let inode: InodeNumber
    /// The type as the entry has it; `unknown` on volumes without the filetype feature.
    public let type: FileType
    /// The position behind this entry, for going on there later.
    public let next: UInt64
}

extension Volume {
    /// The inode that `name` leads to in `directory`; `.` and `..` are names too.
    ///
    /// Of an encrypted directory, names are given as they are shown without the key.
    ///
    /// - Throws: `.notFound`, `.notDirectory`, `.nameTooLong`; `.corrupt`.
    public func lookup(_ name: FileName, in directory: Inode) throws(Ext4Error) -> Inode {
        try lookup(unsafe name.bytes.span.bytes, in: directory)
    }

    /// The inode that the bytes `name` lead to in `directory`.
    ///
    /// - Throws: `.notFound`, `.notDirectory`, `.nameTooLong`; `.corrupt`.
    public func lookup(_ name: RawSpan, in directory: Inode) throws(Ext4Error) -> Inode {
        guard directory.isDirectory else { throw .notDirectory }
        guard name.byteCount <= FileName.maximumLength else { throw .nameTooLong }
        // With the lock held, a name that is found keeps its inode from being freed.
        return try directory.lock.shared { () throws(Ext4Error) -> Inode in
            guard name.byteCount > 0, directory.linkCount > 0,
                let number = try find(name, in: directory)
            else { throw .notFound }
            return try named(number, in: directory)
        }
    }

    /// The inode that an entry of `directory` leads to, with the checks that a name calls for.
    ///
    /// - Throws: `.corrupt` for a name that leads to a free inode or one of the volume's own.
    public func named(
        _ number: InodeNumber, in directory: Inode
    ) throws(Ext4Error) -> Inode {
        let place = Corruption.Place(inode: directory.number)
        guard superblock.isNameable(number) else {
            throw .corrupt(
                .directoryBlock, at: place,
                .field("inode", value: UInt64(number.rawValue), rule: "that of a file"))
        }
        let inode = try inodes.inode(number)
        guard !inode.isFree else {
            throw .corrupt(
                .directoryBlock, at: place,
                .broken("a name leads to inode \(number), which is free"))
        }
        guard !inode.flags.contains(.attributeInode) else {
            throw .corrupt(
                .directoryBlock, at: place,
                .broken("a name leads to inode \(number), which holds an attribute's value"))
        }
        return inode
    }

    /// The inode at `path`, from the root on; `/` and empty parts count for nothing.
    ///
    /// - Throws: `.notFound`, `.notDirectory`, `.tooManySymlinks`, `.nameTooLong`; `.corrupt`.
    public func inode(
        atPath path: String, followingSymlinks: Bool = true
    ) throws(Ext4Error) -> Inode {
        try inode(atPath: Array(path.utf8), followingSymlinks: followingSymlinks)
    }

    /// The inode at the path of those bytes, from the root on.
    ///
    /// Symbolic links on the way are followed, inside the volume; at the end when
    /// `followingSymlinks`.
    ///
    /// - Throws: `.notFound`, `.notDirectory`, `.tooManySymlinks`, `.nameTooLong`; `.corrupt`.
    public func inode(
        atPath path: [UInt8], followingSymlinks: Bool = true
    ) throws(Ext4Error) -> Inode {
        let slash = UInt8(ascii: "/")
        let root = try self.root()
        var current = root
        // The parts still to go, the next one last.
        var parts = Array(path.split(separator: slash).reversed())
        var endsInSlash = path.last == slash
        var followed = 0
        while let part = parts.popLast() {
            guard current.isDirectory else { throw .notDirectory }
            let next = try lookup(FileName(Array(part)), in: current)
            let isLast = parts.isEmpty && !endsInSlash
            guard next.type == .symlink, followingSymlinks || !isLast else {
                current = next
                continue
            }
            followed += 1
            guard followed <= 40 else { throw .tooManySymlinks }
            let target = try symlinkTarget(of: next)
            if target.first == slash { current = root }
            if parts.isEmpty, target.last == slash { endsInSlash = true }
            parts.append(contentsOf: target.split(separator: slash).reversed())
        }
        guard !endsInSlash || current.isDirectory else { throw .notDirectory }
        return current
    }

    /// All entries of `directory`, `.` and `..` included, in the order of `readDirectory`.
    ///
    /// - Throws: `.notDirectory`; `.corrupt`.
    public func entries(of directory: Inode) throws(Ext4Error) -> [DirectoryEntry] {
        var entries: [DirectoryEntry] = []
        try readDirectory(directory) { (entry) throws(Ext4Error) in
            entries.append(entry)
            return true
        }
        return entries
    }

    /// Calls `body` with each entry of `directory` from `position` on, until it returns false.
    ///
    /// `position` is 0, or the `next` of the entry that was taken last. It is good as long as the
    /// directory is: entries that are there all the time are seen exactly once, whatever is added
    /// or removed meanwhile. Where entries may move from block to block, which is where the volume
    /// has indexes, their order is that of a hash of their names.
    ///
    /// - Throws: `.notDirectory`; `.corrupt`; what `body` throws.
    public func readDirectory(
        _ directory: Inode, from position: UInt64 = 0,
        _ body: (DirectoryEntry) throws(Ext4Error) -> Bool
    ) throws(Ext4Error) {
        guard directory.isDirectory else { throw .notDirectory }
        directory.lock.lockShared()
        defer { directory.lock.unlockShared() }
        let shown = try shownNames(of: directory)
        if directory.usesInlineData {
            try inlineDirectory(directory).list(from: position) {
                (inode, type, name, next) throws(Ext4Error) in
                try body(
                    DirectoryEntry(
                        name: shown.name(name, storedHash: nil), inode: inode, type: type,
                        next: next))
            }
            return
        }
        try blockDirectory(directory).list(from: position) { (entry, name) throws(Ext4Error) in
            try body(
                DirectoryEntry(
                    name: shown.name(name, storedHash: entry.hash), inode: entry.inode,
                    type: entry.type, next: entry.next))
        }
    }

    /// The target of a symbolic link, as bytes; of an encrypted one, as it is shown without the key.
    ///
    /// - Throws: `.invalidArgument` for anything but a symbolic link; `.corrupt`.
    public func symlinkTarget(of inode: Inode) throws(Ext4Error) -> [UInt8] {
        guard inode.type == .symlink else { throw .invalidArgument }
        inode.lock.lockShared()
        defer { inode.lock.unlockShared() }
        let place = Corruption.Place(inode: inode.number)
        guard inode.size > 0, inode.size <= UInt64(min(blockSize, 4096)) else {
            throw .corrupt(
                .symlink, at: place,
                .field("i_size", value: inode.size, rule: "1 to \(min(blockSize, 4096))"))
        }
        let target = try storedTarget(of: inode)
        if inode.isEncrypted {
            return try EncryptedSymlink.shownTarget(
                of: unsafe target.span.bytes, at: inode.number)
        }
        guard !target.contains(0) else {
            throw .corrupt(.symlink, at: place, .broken("the target has a NUL in it"))
        }
        return target
    }

    /// The size that `stat` tells: `i_size`, but of an encrypted symbolic link the length of the
    /// target that is shown, as programs read as many bytes as they were told of.
    public func shownSize(of inode: Inode) -> UInt64 {
        guard inode.isEncrypted, inode.type == .symlink else { return inode.size }
        guard let target = try? symlinkTarget(of: inode) else { return inode.size }
        return UInt64(target.count)
    }

    /// The bytes of a link's target as they are stored; its size was checked.
    private func storedTarget(of inode: Inode) throws(Ext4Error) -> [UInt8] {
        // A short target stands in `i_block`: the link has no blocks but those of attributes. Where
        // values of attributes have inodes, which count as its blocks too, the size tells.
        let attributes = inode.attributeBlock.rawValue == 0 ? 0 : superblock.clusterSize / 512
        let isShort =
            superblock.incompatible.contains(.eaInode)
            ? inode.size < UInt64(InodeRecord.Layout.block.count)
            : inode.blocks512 == UInt64(attributes)
        guard !inode.usesInlineData, isShort else { return try contents(ofAny: inode) }
        let count = Int(inode.size)
        guard count < InodeRecord.Layout.block.count else {
            throw .corrupt(
                .symlink, at: .init(inode: inode.number),
                .field("i_size", value: inode.size, rule: "less than 60 without a block"))
        }
        return inode.record.withBlock { $0.copy(0..<count) }
    }

    // MARK: The two kinds of directories

    func find(_ name: RawSpan, in directory: Inode) throws(Ext4Error) -> InodeNumber? {
        if name.byteCount == 1, name.byte(at: 0) == UInt8(ascii: ".") { return directory.number }
        let isParent =
            name.byteCount == 2 && name.byte(at: 0) == UInt8(ascii: ".")
            && name.byte(at: 1) == UInt8(ascii: ".")
        if directory.isEncrypted, !isParent {
            return try findEncrypted(name, in: directory)
        }
        if directory.usesInlineData {
            let entry = try inlineDirectory(directory).find(name)
            return entry?.inode
        }
        let blocks = try blockDirectory(directory)
        // `..` is in the first block, and not in the index.
        guard isParent else {
            let entry = try blocks.find(name)
            return entry?.inode
        }
        guard blocks.blockCount > 0 else { return nil }
        let entry = try blocks.find(name, in: LogicalBlock(0))
        return entry?.inode
    }

    /// Finds the entry whose name is shown as `name`.
    private func findEncrypted(
        _ name: RawSpan, in directory: Inode
    ) throws(Ext4Error) -> InodeNumber? {
        guard let wanted = EncryptedName(shownAs: name.copy()) else { return nil }
        if directory.usesInlineData {
            var found: InodeNumber?
            try inlineDirectory(directory).forEach { (inode, _, candidate, _) in
                guard wanted.matches(ciphertext: candidate) else { return true }
                found = inode
                return false
            }
            return found
        }
        let entry = try blockDirectory(directory).find(wanted)
        return entry?.inode
    }

    /// How the names of `directory` are shown.
    private func shownNames(of directory: Inode) throws(Ext4Error) -> ShownNames {
        guard directory.isEncrypted else { return ShownNames(isEncrypted: false, hash: nil) }
        // Linux lists these in the order of their hashes, and puts the hash into the shown name.
        // Where names keep their hash behind them, it is that one.
        let isIndexed = directory.flags.contains(.index) && !directory.usesInlineData
        let isHashed =
            superblock.compatible.contains(.dirIndex)
            && (isIndexed || directory.usesInlineData
                || directory.size >> UInt64(superblock.blockSizeLog2) == 1)
        guard isHashed, !directory.flags.contains(.casefold) else {
            return ShownNames(isEncrypted: true, hash: nil)
        }
        if isIndexed {
            // The index may have another hash than the volume would give a new one.
            let index = try HTreeIndex(blockDirectory(directory))
            return ShownNames(isEncrypted: true, hash: index?.hash)
        }
        let seed = superblock.hashSeed
        guard seed.count == 4 else { return ShownNames(isEncrypted: true, hash: nil) }
        let version = DirectoryHash.Version(rawValue: superblock.defaultHashVersion)
            .resolved(isUnsigned: superblock.flags & 2 != 0)
        return ShownNames(
            isEncrypted: true,
            hash: DirectoryHash(version, seed: (seed[0], seed[1], seed[2], seed[3])))
    }

    func blockDirectory(_ inode: Inode) throws(Ext4Error) -> Directory {
        try Directory(
            reader, owner: inode.owner, flags: inode.flags, map: map(of: inode), size: inode.size)
    }

    func inlineDirectory(_ inode: Inode) throws(Ext4Error) -> InlineDirectory {
        InlineDirectory(
            superblock: superblock, inode: inode.number, flags: inode.flags,
            block: inode.record.withBlock { $0.copy() }, rest: try inlineRest(of: inode))
    }
}

/// How the names of one directory are shown: as they are, or when they are encrypted, encoded.
private struct ShownNames {
    let isEncrypted: Bool
    let hash: DirectoryHash?

    func name(_ bytes: RawSpan, storedHash: (major: UInt32, minor: UInt32)?) -> FileName {
        let copy = bytes.copy()
        let dot = UInt8(ascii: ".")
        guard isEncrypted, copy != [dot], copy != [dot, dot] else { return FileName(copy) }
        let value =
            storedHash.map { DirectoryHash.Value(major: $0.major, minor: $0.minor) }
            ?? hash?.hash(of: bytes) ?? DirectoryHash.Value(major: 0, minor: 0)
        // A name too short to be a ciphertext is shown as it lies there.
        return FileName(
            EncryptedName(ciphertext: bytes, hash: value)?.bytes ?? copy)
    }
}
