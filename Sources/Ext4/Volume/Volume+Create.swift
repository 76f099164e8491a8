// New inodes and their first names.

extension Volume {
    /// Makes something new in `directory`: a file, a directory, a symbolic link, a pipe, a socket
    /// or a device's special file, as `new.mode` says.
    ///
    /// - Throws: `.exists`, `.nameTooLong`, `.invalidArgument` for a name or a type that cannot be,
    ///   `.notDirectory`, `.notFound` for a directory that was removed, `.noSpace`,
    ///   `.tooManyLinks` for one more subdirectory than the volume can count, `.notPermitted` in an
    ///   immutable directory, `.noKey` in an encrypted one, `.notSupported` in one that ignores
    ///   case; `.readOnlyVolume`, `.io`, `.corrupt`.
    public func create(
        _ name: FileName, in directory: Inode, _ new: NewInode, by credentials: Credentials = .root
    ) throws(Ext4Error) -> Inode {
        try create(unsafe name.bytes.span.bytes, in: directory, new, by: credentials)
    }

    /// As `create(_:in:_:by:)`, with the bytes of the name.
    ///
    /// - Throws: what that throws.
    public func create(
        _ name: RawSpan, in directory: Inode, _ new: NewInode, by credentials: Credentials = .root
    ) throws(Ext4Error) -> Inode {
        _ = try requireWriting()
        try checkName(name)
        try check(new)
        let spender = spender(credentials)
        return try directory.lock.exclusive { () throws(Ext4Error) in
            try checkEntriesChange(directory)
            try checkSubdirectoryCount(directory, type: new.mode.type)
            return try change(credits: 40) { (handle, writing) throws(Ext4Error) in
                let inode = try make(new, in: directory, spender, &handle, writing)
                try insert(
                    name, leadingTo: inode, in: directory, counts: inode.isDirectory, spender,
                    &handle, writing)
                return inode
            }
        }
    }

    /// Makes a file in `directory` that has no name (`O_TMPFILE`). It is freed at the last release,
    /// unless it gets one.
    ///
    /// The caller has one reference to it.
    ///
    /// - Throws: what `create(_:in:_:by:)` throws.
    public func createUnnamed(
        in directory: Inode, _ new: NewInode, by credentials: Credentials = .root
    ) throws(Ext4Error) -> Inode {
        _ = try requireWriting()
        try check(new)
        guard new.mode.type == .regular else { throw .invalidArgument }
        let spender = spender(credentials)
        let inode = try directory.lock.exclusive { () throws(Ext4Error) in
            try checkEntriesChange(directory)
            return try change(credits: 40) { (handle, writing) throws(Ext4Error) in
                let inode = try make(new, in: directory, spender, &handle, writing)
                try update(inode, in: &handle) { $0[InodeRecord.Layout.linkCount] = 0 }
                try writing.orphans.add(inode, in: &handle, setHead: setOrphanHead)
                return inode
            }
        }
        inodes.acquire(inode.number)
        _ = inodes.keepWhileReferenced(inode)
        return inode
    }

    // MARK: Checks

    /// Refuses names that no entry can have.
    func checkName(_ name: RawSpan) throws(Ext4Error) {
        guard name.byteCount <= FileName.maximumLength else { throw .nameTooLong }
        guard name.byteCount > 0 else { throw .notFound }
        guard !name.isDotOrDotDot else { throw .exists }
        for i in 0..<name.byteCount {
            let byte = name.byte(at: i)
            if byte == 0 || byte == UInt8(ascii: "/") { throw .invalidArgument }
        }
    }

    private func check(_ new: NewInode) throws(Ext4Error) {
        switch new.mode.type {
        case .unknown: throw .invalidArgument
        case .symlink:
            guard !new.target.isEmpty else { throw .notFound }
            guard new.target.count < min(blockSize, 4096) else { throw .nameTooLong }
            guard !new.target.contains(0) else { throw .invalidArgument }
        case .characterDevice, .blockDevice:
            guard new.device != nil else { throw .invalidArgument }
        default: break
        }
    }

    /// Refuses to change the entries of what is no directory, or must not be changed. The caller
    /// holds the directory's lock.
    func checkEntriesChange(_ directory: Inode) throws(Ext4Error) {
        let attributes = directory.attributes
        guard attributes.type == .directory else { throw .notDirectory }
        guard attributes.linkCount > 0 else { throw .notFound }
        guard !attributes.flags.contains(.immutable) else { throw .notPermitted }
    }

    /// The most links that are counted (`EXT4_LINK_MAX`).
    static let maximumLinkCount: UInt32 = 65000

    func checkSubdirectoryCount(_ directory: Inode, type: FileType) throws(Ext4Error) {
        guard type == .directory, !superblock.readOnlyCompatible.contains(.dirNlink),
            directory.linkCount >= Self.maximumLinkCount
        else { return }
        throw .tooManyLinks
    }

    // MARK: Making

    /// Allocates an inode and fills it, with its first contents and attributes.
    private func make(
        _ new: NewInode, in directory: Inode, _ spender: Spender, _ handle: inout Handle,
        _ writing: Writing
    ) throws(Ext4Error) -> Inode {
        let parent = directory.attributes
        let type = new.mode.type
        let number = try writing.inodes.allocate(
            isDirectory: type == .directory, parent: directory.number,
            isTopLevel: directory.number == .root || parent.flags.contains(.topDirectory),
            in: &handle)
        let access = try inheritedAccess(for: new, in: directory)
        var record = InodeRecord(zeroedFor: superblock)
        fill(&record, new, access.mode, parent, writing)
        let isInline = superblock.incompatible.contains(.inlineData) && record.extraSize > 0
        let usesExtents = superblock.incompatible.contains(.extents)
        switch type {
        case .regular, .directory:
            if isInline {
                record.flags.insert(.inlineData)
                try record.setInlineContents([], attributeContext(nil))
            } else {
                if usesExtents { record.flags.insert(.extents) }
                MapRoot(emptyWithExtents: usesExtents).store(in: &record)
            }
        case .symlink:
            record.setSize(UInt64(new.target.count))
            if new.target.count < InodeRecord.Layout.block.count {
                record.block = new.target + [0]
            } else {
                if usesExtents { record.flags.insert(.extents) }
                MapRoot(emptyWithExtents: usesExtents).store(in: &record)
            }
        case .characterDevice, .blockDevice:
            if let device = new.device { record.setDevice(device) }
        default: break
        }
        record[InodeRecord.Layout.linkCount] = type == .directory ? 2 : 1
        let inode = try inodes.create(record, number: number, in: &handle)
        try store(access, of: inode, in: &handle)
        switch type {
        case .directory:
            if isInline {
                try makeInlineDirectory(inode, parent: directory.number, in: &handle)
            } else {
                try makeFirstBlock(of: inode, parent: directory.number, spender, &handle, writing)
            }
        case .symlink where new.target.count >= InodeRecord.Layout.block.count:
            try storeTarget(new.target, of: inode, spender, &handle, writing)
        default: break
        }
        return inode
    }

    /// What a name leaves behind that was moved with a whiteout: a device's special file, 0:0.
    func makeWhiteout(
        in directory: Inode, _ spender: Spender, _ handle: inout Handle, _ writing: Writing
    ) throws(Ext4Error) -> Inode {
        let device = DeviceNumber(major: 0, minor: 0)
        return try make(
            NewInode(mode: FileMode(rawValue: 0o020000), device: device), in: directory, spender,
            &handle, writing)
    }

    private func fill(
        _ record: inout InodeRecord, _ new: NewInode, _ mode: FileMode, _ parent: InodeAttributes,
        _ writing: Writing
    ) {
        var mode = mode
        var group = new.groupID
        if writing.inheritsGroup {
            group = parent.groupID
        } else if parent.mode.rawValue & 0o2000 != 0 {
            group = parent.groupID
            if mode.type == .directory { mode = FileMode(rawValue: mode.rawValue | 0o2000) }
        }
        let now = writing.clock()
        record[InodeRecord.Layout.mode] = mode.rawValue
        record.setUserID(new.userID)
        record.setGroupID(group)
        record.setAccessTime(now)
        record.setChangeTime(now)
        record.setModificationTime(now)
        record.setCreationTime(now)
        record[InodeRecord.Layout.generation] = writing.nextGeneration()
        record.flags = parent.flags.inherited(by: mode.type)
        if superblock.readOnlyCompatible.contains(.project),
            parent.flags.contains(.projectInherit)
        {
            record[extra: InodeRecord.Layout.projectID] = parent.projectID
        }
    }

    private func makeFirstBlock(
        of inode: Inode, parent: InodeNumber, _ spender: Spender, _ handle: inout Handle,
        _ writing: Writing
    ) throws(Ext4Error) {
        let (_, buffer) = try appendBlock(to: inode, spender, &handle, writing)
        Directory.initialize(
            buffer, owner: inode.owner, parent: parent, superblock: superblock, in: &handle)
    }

    private func storeTarget(
        _ target: [UInt8], of inode: Inode, _ spender: Spender, _ handle: inout Handle,
        _ writing: Writing
    ) throws(Ext4Error) {
        let (_, buffer) = try appendBlock(to: inode, spender, &handle, writing)
        handle.modify(buffer, seal: Buffer.Seal.none) {
            var bytes = $0._mutatingExtracting(0..<target.count)
            bytes.copy(from: unsafe target.span.bytes)
        }
        try update(inode, in: &handle) { $0.setSize(UInt64(target.count)) }
    }

    /// Adds a block of zeros to the end of a directory or a link; it counts in the size.
    func appendBlock(
        to inode: Inode, _ spender: Spender, _ handle: inout Handle, _ writing: Writing
    ) throws(Ext4Error) -> (LogicalBlock, Buffer) {
        let log2 = UInt64(superblock.blockSizeLog2)
        let logical = LogicalBlock(inode.size >> log2)
        guard logical < .end else { throw .fileTooLarge }
        var goal = firstGoal(for: inode.number)
        if logical.rawValue > 0 {
            let last = LogicalBlock(logical.rawValue - 1)
            let run = try map(of: inode).run(at: last).suffix(from: last)
            if let range = run.range { goal = range.start.advanced(by: 1) }
        }
        let block = try writing.blocks.allocate(near: goal, for: spender, in: &handle)
        var editor = try editor(of: inode, spender)
        try editor.insert(
            BlockRun(logical: logical, count: 1, state: .mapped(block)), in: &handle)
        try update(inode, in: &handle) { (record) throws(Ext4Error) in
            if editor.rootChanged { editor.root.store(in: &record) }
            try record.addBlocks(Int64(1 + editor.metadataBlocksDelta), superblock)
            record.setSize((logical.rawValue + 1) << log2)
        }
        inode.lastRun.withLock { $0 = nil }
        return (logical, handle.fresh(block, in: reader.cache, seal: .none))
    }

    // MARK: Entries

    /// Adds a name to `directory`, whose lock is held, and with `counts` one subdirectory.
    func insert(
        _ name: RawSpan, leadingTo inode: Inode, in directory: Inode, counts: Bool,
        _ spender: Spender, _ handle: inout Handle, _ writing: Writing
    ) throws(Ext4Error) {
        let insertion = try insertEntry(
            name, inode.number, inode.type, in: directory, spender, &handle, writing)
        let now = writing.clock()
        try update(directory, in: &handle) { record in
            switch insertion {
            case .kept: break
            case .madeIndex: record.flags.insert(.index)
            case .droppedIndex: record.flags.remove(.index)
            }
            if counts { record.addSubdirectory() }
            record.setModificationTime(now)
            record.setChangeTime(now)
            record.advanceVersion()
        }
    }

    private func insertEntry(
        _ name: RawSpan, _ number: InodeNumber, _ type: FileType, in directory: Inode,
        _ spender: Spender, _ handle: inout Handle, _ writing: Writing
    ) throws(Ext4Error) -> Directory.Insertion {
        if directory.usesInlineData {
            if try insertInline(name, number, type, in: directory, &handle) { return .kept }
            try moveInlineEntriesOut(of: directory, spender, &handle, writing)
        }
        return try blockDirectory(directory).insert(
            name, inode: number, type: type, in: &handle
        ) { (handle) throws(Ext4Error) in
            try appendBlock(to: directory, spender, &handle, writing)
        }
    }
}

extension InodeFlags {
    /// What something new gets of the flags of its directory (`EXT4_FL_INHERITED`).
    func inherited(by type: FileType) -> InodeFlags {
        var kept: InodeFlags = [
            .secureDelete, .undelete, .compressed, .synchronous, .noDump, .noAccessTime,
            .journalData, .noTail, .directorySync, .projectInherit, .dax,
        ]
        switch type {
        case .directory: break
        case .regular: kept.subtract([.directorySync, .projectInherit])
        default: kept = [.noDump, .noAccessTime]
        }
        return intersection(kept)
    }
}

extension InodeRecord {
    /// Counts one more subdirectory; from 65,000 on, 1 stands for more than can be counted.
    mutating func addSubdirectory() {
        let count = self[Layout.linkCount]
        guard count != 1 else { return }
        self[Layout.linkCount] =
            UInt32(count) + 1 >= Volume.maximumLinkCount ? 1 : count &+ 1
    }

    /// Counts one subdirectory less.
    mutating func removeSubdirectory() {
        let count = self[Layout.linkCount]
        guard count > 2 else { return }
        self[Layout.linkCount] = count &- 1
    }

    /// Sets the number of the device that a special file stands for, in the old encoding where
    /// that has room for it.
    mutating func setDevice(_ device: DeviceNumber) {
        var words: [UInt32] = [0, 0]
        if device.major < 256, device.minor < 256 {
            words[0] = device.major << 8 | device.minor
        } else {
            words[1] =
                device.minor & 0xFF | (device.major & 0xFFF) << 8
                | (device.minor & ~0xFF) << 12
        }
        var block = [UInt8]()
        for word in words {
            for shift in 0..<4 {
                block.append(UInt8(truncatingIfNeeded: word >> UInt32(shift * 8)))
            }
        }
        self.block = block
    }
}
