// Further names, and names that go.

extension Volume {
    /// Gives `inode` another name.
    ///
    /// - Throws: `.notPermitted` for a directory, or for a file that must not be changed;
    ///   `.tooManyLinks`, `.notFound` for one that was removed; and what `create(_:in:_:by:)`
    ///   throws.
    public func link(
        _ inode: Inode, as name: FileName, in directory: Inode, by credentials: Credentials = .root
    ) throws(Ext4Error) {
        try link(inode, as: unsafe name.bytes.span.bytes, in: directory, by: credentials)
    }

    /// As `link(_:as:in:by:)`, with the bytes of the name.
    ///
    /// - Throws: what that throws.
    public func link(
        _ inode: Inode, as name: RawSpan, in directory: Inode, by credentials: Credentials = .root
    ) throws(Ext4Error) {
        _ = try requireWriting()
        try checkName(name)
        guard !inode.isDirectory else { throw .notPermitted }
        let spender = spender(credentials)
        try directory.lock.exclusive { () throws(Ext4Error) in
            try checkEntriesChange(directory)
            try inode.lock.exclusive { () throws(Ext4Error) in
                let attributes = inode.attributes
                guard attributes.flags.isDisjoint(with: [.immutable, .appendOnly]) else {
                    throw .notPermitted
                }
                guard attributes.linkCount < Self.maximumLinkCount else { throw .tooManyLinks }
                try change(credits: 32) { (handle, writing) throws(Ext4Error) in
                    if attributes.linkCount == 0 {
                        // Only what never had a name can get one: what lost its last is gone.
                        guard writing.orphans.contains(inode.number) else { throw .notFound }
                        try writing.orphans.remove(inode, in: &handle, setHead: setOrphanHead)
                    }
                    let now = writing.clock()
                    try update(inode, in: &handle) { record in
                        record[InodeRecord.Layout.linkCount] &+= 1
                        record.setChangeTime(now)
                    }
                    try insert(
                        name, leadingTo: inode, in: directory, counts: false, spender, &handle,
                        writing)
                }
            }
        }
    }

    /// Takes a name away from anything but a directory. With the last name the file goes, once
    /// nobody has a reference to it.
    ///
    /// - Throws: `.notFound`, `.notDirectory`, `.isDirectory`, `.nameTooLong`; `.notPermitted` for
    ///   what must not be changed; `.readOnlyVolume`, `.io`, `.corrupt`.
    public func unlink(_ name: FileName, in directory: Inode) throws(Ext4Error) {
        try unlink(unsafe name.bytes.span.bytes, in: directory)
    }

    /// As `unlink(_:in:)`, with the bytes of the name.
    ///
    /// - Throws: what that throws.
    public func unlink(_ name: RawSpan, in directory: Inode) throws(Ext4Error) {
        try remove(name, in: directory) { (inode) throws(Ext4Error) in
            guard !inode.isDirectory else { throw .isDirectory }
        }
    }

    /// Removes an empty directory.
    ///
    /// - Throws: `.notFound`, `.notDirectory`, `.notEmpty`, `.nameTooLong`, `.invalidArgument` for
    ///   `.`; `.notPermitted` for what must not be changed; `.readOnlyVolume`, `.io`, `.corrupt`.
    public func removeDirectory(_ name: FileName, in directory: Inode) throws(Ext4Error) {
        try removeDirectory(unsafe name.bytes.span.bytes, in: directory)
    }

    /// As `removeDirectory(_:in:)`, with the bytes of the name.
    ///
    /// - Throws: what that throws.
    public func removeDirectory(_ name: RawSpan, in directory: Inode) throws(Ext4Error) {
        if name.isDotOrDotDot { throw name.byteCount == 1 ? .invalidArgument : .notEmpty }
        try remove(name, in: directory) { (inode) throws(Ext4Error) in
            guard inode.isDirectory else { throw .notDirectory }
            guard try isEmpty(inode) else { throw .notEmpty }
        }
    }

    private func remove(
        _ name: RawSpan, in directory: Inode, _ check: (Inode) throws(Ext4Error) -> Void
    ) throws(Ext4Error) {
        _ = try requireWriting()
        guard name.byteCount <= FileName.maximumLength else { throw .nameTooLong }
        let unfinished = try directory.lock.exclusive { () throws(Ext4Error) -> Inode? in
            try checkEntriesChange(directory)
            guard !directory.flags.contains(.appendOnly) else { throw .notPermitted }
            let inode = try child(name, of: directory)
            return try inode.lock.exclusive { () throws(Ext4Error) -> Inode? in
                try checkRemoval(of: inode)
                try check(inode)
                let isDone = try change(credits: 56) { (handle, writing) throws(Ext4Error) in
                    try removeEntry(name, in: directory, &handle)
                    let now = writing.clock()
                    let isDirectory = inode.isDirectory
                    try update(directory, in: &handle) { record in
                        if isDirectory { record.removeSubdirectory() }
                        record.setModificationTime(now)
                        record.setChangeTime(now)
                        record.advanceVersion()
                    }
                    return try dropName(of: inode, in: &handle, writing)
                }
                return isDone ? nil : inode
            }
        }
        guard let unfinished else { return }
        try unfinished.lock.exclusive { () throws(Ext4Error) in try free(unfinished) }
    }

    /// The inode that a name of `directory` leads to; the caller holds the directory's lock.
    ///
    /// - Throws: `.notFound`; `.corrupt` also for the directory itself, whose lock the caller would
    ///   take a second time.
    func child(_ name: RawSpan, of directory: Inode) throws(Ext4Error) -> Inode {
        guard let number = try find(name, in: directory) else { throw .notFound }
        guard number != directory.number else {
            throw .corrupt(.directoryBlock, at: .init(inode: directory.number), .cycle)
        }
        return try named(number, in: directory)
    }

    /// Refuses to take a name from what must not be changed.
    func checkRemoval(of inode: Inode) throws(Ext4Error) {
        guard inode.flags.isDisjoint(with: [.immutable, .appendOnly]) else { throw .notPermitted }
    }

    /// Counts one name less, and with the last one frees the inode or records it as an orphan. A
    /// directory has one name, whatever its count is.
    ///
    /// - Returns: false when there is more to free than this transaction should: the caller calls
    ///   `free`.
    func dropName(
        of inode: Inode, in handle: inout Handle, _ writing: Writing
    ) throws(Ext4Error) -> Bool {
        let now = writing.clock()
        let isDirectory = inode.isDirectory
        try update(inode, in: &handle) { record in
            let count = record[InodeRecord.Layout.linkCount]
            record[InodeRecord.Layout.linkCount] = isDirectory || count == 0 ? 0 : count &- 1
            record.setChangeTime(now)
        }
        guard inode.linkCount == 0 else { return true }
        if inodes.keepWhileReferenced(inode) {
            try writing.orphans.add(inode, in: &handle, setHead: setOrphanHead)
            return true
        }
        return try freeStep(inode, in: &handle, writing)
    }

    // MARK: Entries of either kind of directory

    func isEmpty(_ directory: Inode) throws(Ext4Error) -> Bool {
        directory.usesInlineData
            ? try inlineDirectory(directory).isEmpty() : try blockDirectory(directory).isEmpty()
    }

    func removeEntry(
        _ name: RawSpan, in directory: Inode, _ handle: inout Handle
    ) throws(Ext4Error) {
        if directory.usesInlineData {
            try removeInline(name, in: directory, &handle)
        } else {
            _ = try blockDirectory(directory).remove(name, in: &handle)
        }
    }

    func replaceEntry(
        _ name: RawSpan, by inode: Inode, in directory: Inode, _ handle: inout Handle
    ) throws(Ext4Error) {
        if directory.usesInlineData {
            try replaceInline(name, by: inode, in: directory, &handle)
        } else {
            _ = try blockDirectory(directory).replace(
                name, inode: inode.number, type: inode.type, in: &handle)
        }
    }

    func setParent(
        of directory: Inode, to parent: InodeNumber, _ handle: inout Handle
    ) throws(Ext4Error) {
        if directory.usesInlineData {
            try setInlineParent(parent, of: directory, &handle)
        } else {
            try blockDirectory(directory).setParent(parent, in: &handle)
        }
    }
}
