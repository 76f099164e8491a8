/// An extended attribute of a file.
public struct ExtendedAttribute: Hashable, Sendable {
    /// The name with its prefix, as user space sees it: `user.x`.
    public let name: FileName
    /// The value; of an access control list, in the encoding of user space.
    public let value: [UInt8]

    /// Makes an attribute.
    public init(name: FileName, value: [UInt8]) {
        self.name = name
        self.value = value
    }
}

extension Volume {
    /// All extended attributes that Linux shows, those in the inode first.
    ///
    /// Attributes that the file system keeps to itself are left out: the rest of inline data,
    /// encryption contexts. A name that stands there twice counts once.
    ///
    /// - Throws: `.fileTooLarge` when the values have over 64 MiB together; `.corrupt`, `.io`.
    public func extendedAttributes(of inode: Inode) throws(Ext4Error) -> [ExtendedAttribute] {
        try inode.lock.shared { () throws(Ext4Error) in try attributesShown(of: inode) }
    }

    private func attributesShown(of inode: Inode) throws(Ext4Error) -> [ExtendedAttribute] {
        var seen: Set<AttributeName> = []
        var found: [ExtendedAttribute] = []
        var room = Self.maximumBytesOfValues
        try forEachAttribute(of: inode) { (entry, list, bytes) throws(Ext4Error) in
            guard let name = entry.name.userSpace, seen.insert(entry.name).inserted else {
                return true
            }
            room -= entry.valueSize
            guard room >= 0 else { throw .fileTooLarge }
            if let value = try shownValue(of: entry, in: list, bytes, of: inode) {
                found.append(ExtendedAttribute(name: FileName(name), value: value))
            }
            return true
        }
        return found
    }

    /// The names of all extended attributes that Linux shows, those in the inode first.
    ///
    /// - Throws: `.corrupt`, `.io`.
    public func extendedAttributeNames(of inode: Inode) throws(Ext4Error) -> [FileName] {
        var seen: Set<AttributeName> = []
        var names: [FileName] = []
        try inode.lock.shared { () throws(Ext4Error) in
            try forEachAttribute(of: inode) { (entry, _, _) in
                if let name = entry.name.userSpace, seen.insert(entry.name).inserted {
                    names.append(FileName(name))
                }
                return true
            }
        }
        return names
    }

    /// The value of one extended attribute.
    ///
    /// - Throws: `.noAttribute`; `.notSupported` for a prefix that Linux does not know,
    ///   `.invalidArgument` for a prefix alone; `.corrupt`, `.io`.
    public func extendedAttribute(
        _ name: FileName, of inode: Inode
    ) throws(Ext4Error) -> [UInt8] {
        let name = try AttributeName(userSpace: name.bytes)
        let value = try inode.lock.shared { () throws(Ext4Error) in
            try find(name, of: inode) { (entry, list, bytes) throws(Ext4Error) in
                try shownValue(of: entry, in: list, bytes, of: inode)
            }
        }
        guard let value else { throw .noAttribute }
        return value
    }

    /// A POSIX access control list of a file, or the default one of a directory; nil for none.
    ///
    /// - Throws: `.corrupt` also when the list breaks a rule of POSIX; `.io`.
    public func accessControlList(
        _ kind: AccessControlList.Kind, of inode: Inode
    ) throws(Ext4Error) -> AccessControlList? {
        try inode.lock.shared { () throws(Ext4Error) in
            try storedAccessControlList(kind, of: inode)
        }
    }

    // MARK: For the engine itself

    /// As `accessControlList(_:of:)`, for a caller who holds the inode's lock.
    func storedAccessControlList(
        _ kind: AccessControlList.Kind, of inode: Inode
    ) throws(Ext4Error) -> AccessControlList? {
        let name: AttributeName = kind == .access ? .accessACL : .defaultACL
        let found = try find(name, of: inode) { (entry, list, bytes) throws(Ext4Error) in
            try accessControlList(in: entry, of: list, bytes, inode)
        }
        guard let found else { return nil }
        if let rule = found.brokenRule {
            throw .corrupt(.accessControlList, at: .init(inode: inode.number), .broken(rule))
        }
        return found
    }

    /// The most that the values of one inode may have together, to be handed out at once.
    private static let maximumBytesOfValues = 64 << 20

    /// The value of an attribute by its name on disk, which need not be one that is shown.
    func storedAttribute(
        _ name: AttributeName, of inode: Inode
    ) throws(Ext4Error) -> [UInt8]? {
        try find(name, of: inode) { (entry, list, bytes) throws(Ext4Error) in
            try storedValue(of: entry, in: list, bytes, of: inode)
        }
    }

    /// Calls `body` with each entry, its list, and the bytes that values in the area stand in,
    /// until it returns false.
    private func forEachAttribute(
        of inode: Inode,
        _ body: (AttributeEntry, AttributeList, RawSpan) throws(Ext4Error) -> Bool
    ) throws(Ext4Error) {
        let goesOn = try inode.record.withBytes { (bytes) throws(Ext4Error) in
            guard
                let list = try AttributeList(
                    parsingInode: bytes, extraSize: inode.record.extraSize,
                    attributeContext(inode))
            else { return true }
            for entry in list.entries {
                guard try body(entry, list, bytes) else { return false }
            }
            return true
        }
        guard goesOn, inode.attributeBlock.rawValue != 0 else { return }
        let number = inode.attributeBlock
        let block = try attributeBlock(number, of: inode)
        var context = attributeContext(inode)
        context.checksumSeed = nil
        let bytes = unsafe block.span.bytes
        let list = try AttributeList(parsingBlock: bytes, at: number, context)
        for entry in list.entries {
            guard try body(entry, list, bytes) else { return }
        }
    }

    /// What `body` makes of the first attribute with that name, nil when there is none.
    private func find<Result>(
        _ name: AttributeName, of inode: Inode,
        _ body: (AttributeEntry, AttributeList, RawSpan) throws(Ext4Error) -> Result?
    ) throws(Ext4Error) -> Result? {
        var result: Result?
        try forEachAttribute(of: inode) { (entry, list, bytes) throws(Ext4Error) in
            guard entry.name == name else { return true }
            result = try body(entry, list, bytes)
            return false
        }
        return result
    }

    /// The value as user space sees it; nil for an access control list without entries.
    private func shownValue(
        of entry: AttributeEntry, in list: AttributeList, _ bytes: RawSpan, of inode: Inode
    ) throws(Ext4Error) -> [UInt8]? {
        guard entry.name == .accessACL || entry.name == .defaultACL else {
            return try storedValue(of: entry, in: list, bytes, of: inode)
        }
        return try accessControlList(in: entry, of: list, bytes, inode)?.attributeValue
    }

    private func accessControlList(
        in entry: AttributeEntry, of list: AttributeList, _ bytes: RawSpan, _ inode: Inode
    ) throws(Ext4Error) -> AccessControlList? {
        let value = try storedValue(of: entry, in: list, bytes, of: inode)
        let found = try AccessControlList(
            onDisk: unsafe value.span.bytes, at: .init(inode: inode.number))
        return found.entries.isEmpty ? nil : found
    }

    private func storedValue(
        of entry: AttributeEntry, in list: AttributeList, _ bytes: RawSpan, of inode: Inode
    ) throws(Ext4Error) -> [UInt8] {
        switch entry.value {
        case .inArea(let range):
            // In an inode, kernels before 4.13 left old hashes behind when a value changed.
            if reader.verifiesChecksums, list.header != nil {
                try entry.checkHash(ofValueIn: bytes, at: list.place)
            }
            return bytes.copy(range)
        case .inode(let number, let size):
            return try value(of: entry, size: size, in: number, of: inode, list)
        }
    }

    /// Reads a value that has an inode of its own.
    private func value(
        of entry: AttributeEntry, size: Int, in number: InodeNumber, of owner: Inode,
        _ list: AttributeList
    ) throws(Ext4Error) -> [UInt8] {
        let inode = try inodes.inode(number)
        try check(inode, holds: size)
        let value = try contents(ofAny: inode)
        let stored = inode.record[InodeRecord.Layout.accessTime]
        // Lustre had such inodes first. Its inodes name their owner and have no hash.
        let isLustres =
            stored != entry.hash
            && inode.record[InodeRecord.Layout.modificationTime] == owner.number.rawValue
            && inode.generation == owner.generation
        if reader.verifiesChecksums, !isLustres {
            try entry.checkHash(
                ofInodeValue: unsafe value.span.bytes, storedInInode: stored,
                seed: superblock.checksumSeed, at: list.place)
        }
        return value
    }

    /// Checks that `inode` is one that holds the value of an attribute, of that size.
    private func check(_ inode: Inode, holds size: Int) throws(Ext4Error) {
        func broken(_ rule: Corruption.Rule) -> Ext4Error {
            .corrupt(.attributeInode, at: .init(inode: inode.number), rule)
        }
        guard inode.flags.contains(.attributeInode) else {
            throw broken(
                .field(
                    "i_flags", value: UInt64(inode.flags.rawValue), rule: "with EXT4_EA_INODE_FL"))
        }
        guard inode.type == .regular, !inode.isFree else {
            throw broken(.broken("it is not a file in use"))
        }
        guard inode.size == UInt64(size), size <= AttributeList.maximumValueSize else {
            throw broken(
                .field(
                    "i_size", value: inode.size,
                    rule: "e_value_size (\(size)) and at most \(AttributeList.maximumValueSize)"))
        }
        guard !inode.usesInlineData, !inode.isEncrypted else {
            throw broken(.broken("its contents are inline or encrypted"))
        }
        guard inode.attributeBlock.rawValue == 0 else {
            throw broken(
                .field("i_file_acl", value: inode.attributeBlock.rawValue, rule: "0"))
        }
    }
}
