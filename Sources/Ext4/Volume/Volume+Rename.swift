// Names that move.
//
// Whoever moves anything from one directory to another holds the volume's lock for that, so that
// the tree of directories stands still meanwhile: which of two directories is the ancestor of the
// other, and so which lock comes first, is known and stays so.

/// How a name is moved.
public struct RenameFlags: OptionSet, Hashable, Sendable {
    /// The mask, as `renameat2` has it.
    public let rawValue: UInt32
    /// Makes a set from the mask.
    public init(rawValue: UInt32) { self.rawValue = rawValue }
    /// Fail when the new name exists (`RENAME_NOREPLACE`).
    public static let noReplace = Self(rawValue: 1)
    /// Let both names lead to what the other one led to (`RENAME_EXCHANGE`).
    public static let exchange = Self(rawValue: 2)
    /// Leave a whiteout under the old name (`RENAME_WHITEOUT`).
    public static let whiteout = Self(rawValue: 4)
}

extension Volume {
    /// Moves a name, to another directory or within one. What the new name led to loses it.
    ///
    /// - Throws: `.notFound`; `.exists` with `noReplace`; `.notEmpty`, `.isDirectory`,
    ///   `.notDirectory` for a target that cannot be replaced; `.invalidArgument` for a directory
    ///   that would be moved into itself, and for flags that exclude each other; `.crossDevice`
    ///   into a directory of another project; `.tooManyLinks`, `.notPermitted`, `.nameTooLong`,
    ///   `.noSpace`; `.readOnlyVolume`, `.io`, `.corrupt`.
    public func rename(
        _ name: FileName, in directory: Inode, to newName: FileName, in newDirectory: Inode,
        _ flags: RenameFlags = [], by credentials: Credentials = .root
    ) throws(Ext4Error) {
        try rename(
            unsafe name.bytes.span.bytes, in: directory, to: unsafe newName.bytes.span.bytes,
            in: newDirectory, flags, by: credentials)
    }

    /// As `rename(_:in:to:in:_:by:)`, with the bytes of the names.
    ///
    /// - Throws: what that throws.
    public func rename(
        _ name: RawSpan, in directory: Inode, to newName: RawSpan, in newDirectory: Inode,
        _ flags: RenameFlags = [], by credentials: Credentials = .root
    ) throws(Ext4Error) {
        let writing = try requireWriting()
        guard flags.isSubset(of: [.noReplace, .exchange, .whiteout]),
            !flags.contains(.exchange) || flags == .exchange
        else { throw .invalidArgument }
        guard name.byteCount <= FileName.maximumLength,
            newName.byteCount <= FileName.maximumLength
        else { throw .nameTooLong }
        guard !name.isDotOrDotDot, !newName.isDotOrDotDot else { throw .busy }
        guard directory.isDirectory, newDirectory.isDirectory else { throw .notDirectory }
        if !flags.contains(.exchange) { try checkName(newName) }
        let spender = spender(credentials)

        let unfinished: Inode?
        if directory === newDirectory {
            unfinished = try directory.lock.exclusive { () throws(Ext4Error) in
                try move(
                    name, directory, newName, newDirectory, flags, isWithin: (false, false), spender
                )
            }
        } else {
            unfinished = try writing.renaming.exclusive { () throws(Ext4Error) in
                try moveAcross(name, directory, newName, newDirectory, flags, spender)
            }
        }
        guard let unfinished else { return }
        try unfinished.lock.exclusive { () throws(Ext4Error) in try free(unfinished) }
    }

    /// Moves between two directories: finds out who is whose ancestor, and locks that one first.
    private func moveAcross(
        _ name: RawSpan, _ directory: Inode, _ newName: RawSpan, _ newDirectory: Inode,
        _ flags: RenameFlags, _ spender: Spender
    ) throws(Ext4Error) -> Inode? {
        let above = try ancestors(of: newDirectory)
        let newAbove = try ancestors(of: directory)
        let isFirst: Bool
        if above.contains(directory.number) {
            isFirst = true
        } else if newAbove.contains(newDirectory.number) {
            isFirst = false
        } else {
            isFirst = directory.number < newDirectory.number
        }
        let (outer, inner) = isFirst ? (directory, newDirectory) : (newDirectory, directory)
        return try outer.lock.exclusive { () throws(Ext4Error) in
            try inner.lock.exclusive { () throws(Ext4Error) in
                let source = try find(name, in: directory)
                let target = try find(newName, in: newDirectory)
                // A directory must not come below itself, nor replace one that it is below.
                let intoItself = source.map(above.contains) ?? false
                let overAncestor = target.map(newAbove.contains) ?? false
                return try move(
                    name, directory, newName, newDirectory, flags,
                    isWithin: (intoItself, overAncestor), spender)
            }
        }
    }

    /// A directory and all above it, up to the root. The caller holds the lock for renaming, and no
    /// inode's.
    private func ancestors(of directory: Inode) throws(Ext4Error) -> Set<InodeNumber> {
        var found: Set<InodeNumber> = [directory.number]
        var current = directory
        let dots: [UInt8] = [UInt8(ascii: "."), UInt8(ascii: ".")]
        while current.number != .root {
            let parent = try current.lock.shared { () throws(Ext4Error) -> Inode in
                // Nothing is moved meanwhile, but directories are removed.
                guard current.linkCount > 0 else { throw .notFound }
                guard let parent = try find(unsafe dots.span.bytes, in: current) else {
                    throw .corrupt(
                        .directoryBlock, at: .init(inode: current.number), .broken("it has no .."))
                }
                return try named(parent, in: current)
            }
            guard found.insert(parent.number).inserted else {
                throw .corrupt(.directoryBlock, at: .init(inode: parent.number), .cycle)
            }
            current = parent
        }
        return found
    }

    /// Moves a name; the locks of both directories are held.
    private func move(
        _ name: RawSpan, _ directory: Inode, _ newName: RawSpan, _ newDirectory: Inode,
        _ flags: RenameFlags, isWithin: (source: Bool, target: Bool), _ spender: Spender
    ) throws(Ext4Error) -> Inode? {
        try checkEntriesChange(directory)
        try checkEntriesChange(newDirectory)
        guard !directory.flags.contains(.appendOnly) else { throw .notPermitted }
        let source = try child(name, of: directory)
        let target: Inode?
        do throws(Ext4Error) {
            target = try child(newName, of: newDirectory)
        } catch {
            guard error == .notFound, !flags.contains(.exchange) else { throw error }
            target = nil
        }
        guard target == nil || !flags.contains(.noReplace) else { throw .exists }
        guard !isWithin.source else { throw .invalidArgument }
        guard !isWithin.target else {
            throw flags.contains(.exchange) ? .invalidArgument : .notEmpty
        }
        // Two names of one file: nothing is to be done, POSIX says.
        guard source !== target else { return nil }
        let names = Move(
            name: name.copy(), directory: directory, newName: newName.copy(),
            newDirectory: newDirectory, source: source, target: target)
        return try names.withLocks { () throws(Ext4Error) -> Inode? in
            try checkMove(names, flags)
            if flags.contains(.exchange) {
                try exchange(names)
                return nil
            }
            return try carryOut(names, flags, spender) ? nil : target
        }
    }

    private func checkMove(_ move: Move, _ flags: RenameFlags) throws(Ext4Error) {
        try checkRemoval(of: move.source)
        if let target = move.target {
            try checkRemoval(of: target)
            if !flags.contains(.exchange) {
                if move.source.isDirectory {
                    guard target.isDirectory else { throw .notDirectory }
                    guard try isEmpty(target) else { throw .notEmpty }
                } else if target.isDirectory {
                    throw .isDirectory
                }
            }
        }
        guard move.isAcross else { return }
        if move.source.isDirectory, move.target?.isDirectory != true {
            try checkSubdirectoryCount(move.newDirectory, type: .directory)
        }
        if superblock.readOnlyCompatible.contains(.project) {
            try checkProject(of: move.source, in: move.newDirectory)
            if flags.contains(.exchange), let target = move.target {
                try checkProject(of: target, in: move.directory)
            }
        }
    }

    /// A directory that passes its project on takes in only what has the same one.
    private func checkProject(of inode: Inode, in directory: Inode) throws(Ext4Error) {
        guard directory.flags.contains(.projectInherit) else { return }
        guard directory.projectID == inode.projectID else { throw .crossDevice }
    }

    /// - Returns: whether nothing is left to free of the target.
    private func carryOut(
        _ move: Move, _ flags: RenameFlags, _ spender: Spender
    ) throws(Ext4Error) -> Bool {
        try change(credits: 80) { (handle, writing) throws(Ext4Error) in
            let newName = move.newName.span
            let name = move.name.span
            let isDirectory = move.source.isDirectory
            if move.target != nil {
                try replaceEntry(
                    unsafe newName.bytes, by: move.source, in: move.newDirectory, &handle)
                try touch(move.newDirectory, writing, &handle) { record in
                    // The target, if a directory, goes; the source takes its place in the count.
                    if isDirectory, !move.isAcross { record.removeSubdirectory() }
                }
            } else {
                try insert(
                    unsafe newName.bytes, leadingTo: move.source, in: move.newDirectory,
                    counts: isDirectory && move.isAcross, spender, &handle, writing)
            }
            if flags.contains(.whiteout) {
                let whiteout = try makeWhiteout(in: move.directory, spender, &handle, writing)
                try replaceEntry(unsafe name.bytes, by: whiteout, in: move.directory, &handle)
            } else {
                try removeEntry(unsafe name.bytes, in: move.directory, &handle)
            }
            if move.isAcross {
                try touch(move.directory, writing, &handle) { record in
                    if isDirectory { record.removeSubdirectory() }
                }
                if isDirectory {
                    try setParent(of: move.source, to: move.newDirectory.number, &handle)
                }
            } else {
                try touch(move.directory, writing, &handle) { _ in }
            }
            let now = writing.clock()
            try update(move.source, in: &handle) { $0.setChangeTime(now) }
            guard let target = move.target else { return true }
            return try dropName(of: target, in: &handle, writing)
        }
    }

    private func exchange(_ move: Move) throws(Ext4Error) {
        guard let target = move.target else { return }
        try change(credits: 64) { (handle, writing) throws(Ext4Error) in
            let name = move.name.span
            let newName = move.newName.span
            try replaceEntry(unsafe name.bytes, by: target, in: move.directory, &handle)
            try replaceEntry(unsafe newName.bytes, by: move.source, in: move.newDirectory, &handle)
            if move.isAcross {
                let given = move.source.isDirectory
                let taken = target.isDirectory
                try touch(move.directory, writing, &handle) { record in
                    if given, !taken { record.removeSubdirectory() }
                    if taken, !given { record.addSubdirectory() }
                }
                if given { try setParent(of: move.source, to: move.newDirectory.number, &handle) }
                if taken { try setParent(of: target, to: move.directory.number, &handle) }
                try touch(move.newDirectory, writing, &handle) { record in
                    if taken, !given { record.removeSubdirectory() }
                    if given, !taken { record.addSubdirectory() }
                }
            } else {
                try touch(move.directory, writing, &handle) { _ in }
            }
            let now = writing.clock()
            try update(move.source, in: &handle) { $0.setChangeTime(now) }
            try update(target, in: &handle) { $0.setChangeTime(now) }
        }
    }

    /// Notes a change of a directory's entries.
    private func touch(
        _ directory: Inode, _ writing: Writing, _ handle: inout Handle,
        _ body: (inout InodeRecord) -> Void
    ) throws(Ext4Error) {
        let now = writing.clock()
        try update(directory, in: &handle) { record in
            body(&record)
            record.setModificationTime(now)
            record.setChangeTime(now)
            record.advanceVersion()
        }
    }
}

/// A move of a name and what it concerns.
private struct Move {
    let name: [UInt8]
    let directory: Inode
    let newName: [UInt8]
    let newDirectory: Inode
    let source: Inode
    let target: Inode?

    /// Whether the name goes to another directory.
    var isAcross: Bool { directory !== newDirectory }

    /// Runs `body` with the locks of both ends, the lower number's first.
    func withLocks<Result>(
        _ body: () throws(Ext4Error) -> Result
    ) throws(Ext4Error) -> Result {
        guard let target else { return try source.lock.exclusive(body) }
        let isFirst = source.number < target.number
        return try (isFirst ? source : target).lock.exclusive { () throws(Ext4Error) in
            try (isFirst ? target : source).lock.exclusive(body)
        }
    }
}
