/// What is to happen when an extended attribute is there already, or is not.
public enum AttributeExistence: Hashable, Sendable {
    /// It is made or gets another value.
    case createOrReplace
    /// It is made; one that is there is an error (`XATTR_CREATE`).
    case create
    /// It gets another value; one that is not there is an error (`XATTR_REPLACE`).
    case replace
}

extension Volume {
    /// The largest value of an extended attribute (`XATTR_SIZE_MAX`).
    public static let maximumAttributeSize = 65536
    /// The longest name of an extended attribute with its prefix (`XATTR_NAME_MAX`).
    public static let maximumAttributeNameLength = 255

    /// Gives an extended attribute a value.
    ///
    /// Values of access control lists are in the encoding of user space, and change the mode; see
    /// `setAccessControlList(_:to:of:by:)`, which does not look at `mode`.
    ///
    /// - Throws: `.exists`, `.noAttribute` as `mode` has it; `.attributeNameTooLong`,
    ///   `.attributeTooLarge` for what no volume takes, `.noSpace` for what this inode does not;
    ///   `.notPermitted` for `user.` on what is neither file nor directory, and for what is
    ///   immutable or can only be added to; `.notSupported` for a prefix that Linux does not know;
    ///   `.invalidArgument` for a prefix alone, a name with a zero byte, or a bad list;
    ///   `.readOnlyVolume`, `.io`, `.corrupt`.
    public func setExtendedAttribute(
        _ name: FileName, to value: [UInt8], of inode: Inode,
        mode existence: AttributeExistence = .createOrReplace, by credentials: Credentials = .root
    ) throws(Ext4Error) {
        _ = try requireWriting()
        guard value.count <= Self.maximumAttributeSize else { throw .attributeTooLarge }
        let stored = try writableName(name)
        if let kind = stored.listKind {
            let list = try Self.accessControlList(fromAttribute: value)
            return try setAccessControlList(kind, to: list, of: inode, by: credentials)
        }
        let spender = spender(credentials)
        try inode.lock.exclusive { () throws(Ext4Error) in
            try checkAttributeChange(stored, of: inode.attributes)
            try change(credits: credits(forValue: value)) { (handle, writing) throws(Ext4Error) in
                let now = writing.clock()
                try set(
                    stored, to: value, of: inode, for: spender, mode: existence, in: &handle
                ) { record in
                    record.setChangeTime(now)
                    record.advanceVersion()
                }
            }
        }
    }

    /// Takes an extended attribute away.
    ///
    /// - Throws: `.noAttribute`, but not for an access control list; otherwise as
    ///   `setExtendedAttribute(_:to:of:mode:by:)`.
    public func removeExtendedAttribute(
        _ name: FileName, of inode: Inode, by credentials: Credentials = .root
    ) throws(Ext4Error) {
        _ = try requireWriting()
        let stored = try writableName(name)
        if let kind = stored.listKind {
            return try setAccessControlList(kind, to: nil, of: inode, by: credentials)
        }
        try inode.lock.exclusive { () throws(Ext4Error) in
            try checkAttributeChange(stored, of: inode.attributes)
            try change { (handle, writing) throws(Ext4Error) in
                let now = writing.clock()
                let wasThere = try remove(stored, of: inode, in: &handle) { record in
                    record.setChangeTime(now)
                    record.advanceVersion()
                }
                guard wasThere else { throw .noAttribute }
            }
        }
    }

    // MARK: Checks

    private func writableName(_ name: FileName) throws(Ext4Error) -> AttributeName {
        guard !name.bytes.isEmpty, name.bytes.count <= Self.maximumAttributeNameLength else {
            throw .attributeNameTooLong
        }
        let stored = try AttributeName(userSpace: name.bytes)
        guard !stored.rest.contains(0) else { throw .invalidArgument }
        // Linux writes these on volumes of the Hurd only.
        guard stored.prefix != .hurd else { throw .notSupported }
        return stored
    }

    private func checkAttributeChange(
        _ name: AttributeName, of attributes: InodeAttributes
    ) throws(Ext4Error) {
        guard attributes.flags.isDisjoint(with: [.immutable, .appendOnly]) else {
            throw .notPermitted
        }
        guard name.prefix == .user else { return }
        // Anybody may write to a pipe or a device that is open to all: attributes of users would
        // take space there that is counted to nobody's account.
        switch attributes.type {
        case .regular, .directory: break
        default: throw .notPermitted
        }
    }

    private func credits(forValue value: [UInt8]) -> Int {
        superblock.incompatible.contains(.eaInode) ? 40 + value.count / blockSize : 24
    }

    // MARK: For the engine itself

    /// Gives an attribute a value; the caller holds the inode's lock.
    ///
    /// - Parameter change: what else changes in the inode; nothing does when the value is the same.
    func set(
        _ name: AttributeName, to value: [UInt8], of inode: Inode, for spender: Spender,
        mode existence: AttributeExistence = .createOrReplace,
        in handle: inout Handle, _ change: (inout InodeRecord) throws(Ext4Error) -> Void
    ) throws(Ext4Error) {
        let old = try storedAttributes(of: inode)
        let present = old.item(named: name)
        switch existence {
        case .create: guard present == nil else { throw .exists }
        case .replace: guard present != nil else { throw .noAttribute }
        case .createOrReplace: break
        }
        guard present?.value != .bytes(value) else { return }
        var new = old
        if try new.set(name, to: value) == .needsInode {
            // There must be room for the entry, whatever the inode's number will be.
            var trial = old
            try trial.set(name, toValueIn: superblock.firstInode, size: value.count, hash: 0)
            let made = try makeValueInode(value, for: inode, spender, in: &handle)
            try new.set(name, toValueIn: made.number, size: value.count, hash: made.hash)
        }
        try store(new, insteadOf: old, of: inode, for: spender, in: &handle, change)
        try noteAttributes(in: &handle)
    }

    /// Takes an attribute away; the caller holds the inode's lock.
    ///
    /// - Returns: whether it was there; if not, nothing is changed.
    func remove(
        _ name: AttributeName, of inode: Inode, in handle: inout Handle,
        _ change: (inout InodeRecord) throws(Ext4Error) -> Void
    ) throws(Ext4Error) -> Bool {
        let old = try storedAttributes(of: inode)
        var new = old
        guard new.remove(name) else { return false }
        try store(new, insteadOf: old, of: inode, in: &handle, change)
        return true
    }

    /// Sets the feature that says that inodes have attributes, on volumes that were made without.
    private func noteAttributes(in handle: inout Handle) throws(Ext4Error) {
        guard !superblock.compatible.contains(.extAttr) else { return }
        try requireWriting().superblock.modify(in: &handle) { bytes in
            bytes[Superblock.Layout.compatible] |= CompatibleFeatures.extAttr.rawValue
        }
    }
}

extension AttributeName {
    /// Which access control list the attribute is.
    fileprivate var listKind: AccessControlList.Kind? {
        switch self {
        case .accessACL: .access
        case .defaultACL: .default
        default: nil
        }
    }
}
