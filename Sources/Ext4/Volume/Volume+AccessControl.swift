// Access control lists on a volume that is written. The mode is kept in step with the access list:
// each change of the one changes the other, in one transaction.

extension Volume {
    /// Gives a file an access control list, or a directory its default one; nil takes it away.
    ///
    /// An access list changes the permissions in the mode. One that says no more than the mode can
    /// say is not stored. Taking the list away leaves the mode as it is.
    ///
    /// - Throws: `.invalidArgument` for a list that breaks a rule of POSIX; `.accessDenied` for a
    ///   default list of what is no directory; `.notSupported` for symbolic links; `.notPermitted`
    ///   for what is immutable or can only be added to; `.noSpace`, `.readOnlyVolume`, `.io`,
    ///   `.corrupt`.
    public func setAccessControlList(
        _ kind: AccessControlList.Kind, to list: AccessControlList?, of inode: Inode,
        by credentials: Credentials = .root
    ) throws(Ext4Error) {
        _ = try requireWriting()
        let list = list?.entries.isEmpty == true ? nil : list
        guard list?.brokenRule == nil else { throw .invalidArgument }
        let spender = spender(credentials)
        try inode.lock.exclusive { () throws(Ext4Error) in
            let attributes = inode.attributes
            guard attributes.type != .symlink else { throw .notSupported }
            guard attributes.flags.isDisjoint(with: [.immutable, .appendOnly]) else {
                throw .notPermitted
            }
            guard kind == .access || attributes.type == .directory else {
                guard list == nil else { throw .accessDenied }
                return
            }
            var mode: FileMode?
            if kind == .access, let list {
                mode = attributes.mode(with: list, by: credentials)
            }
            let stored = kind == .access && list?.isMinimal == true ? nil : list
            try change { (handle, writing) throws(Ext4Error) in
                try store(kind, stored, of: inode, mode, spender, in: &handle, writing)
            }
        }
    }

    private func store(
        _ kind: AccessControlList.Kind, _ list: AccessControlList?, of inode: Inode,
        _ mode: FileMode?, _ spender: Spender, in handle: inout Handle, _ writing: Writing
    ) throws(Ext4Error) {
        let now = writing.clock()
        var isDone = false
        let change = { (record: inout InodeRecord) in
            if let mode { record[InodeRecord.Layout.mode] = mode.rawValue }
            record.setChangeTime(now)
            record.advanceVersion()
            isDone = true
        }
        let name: AttributeName = kind == .access ? .accessACL : .defaultACL
        if let list {
            try set(name, to: list.onDisk, of: inode, for: spender, in: &handle, change)
        } else {
            _ = try remove(name, of: inode, in: &handle, change)
        }
        // The list may be what it was, and the mode not.
        if !isDone, mode != nil { try update(inode, in: &handle, change) }
    }

    /// The list in the encoding of user space; nil for one without entries.
    ///
    /// - Throws: `.notSupported` for another version, `.invalidArgument` for anything else that is
    ///   wrong with it.
    static func accessControlList(
        fromAttribute value: [UInt8]
    ) throws(Ext4Error) -> AccessControlList? {
        guard !value.isEmpty else { return nil }
        let list: AccessControlList
        do throws(Ext4Error) {
            list = try AccessControlList(attributeValue: value)
        } catch {
            guard case .corrupt(let corruption) = error,
                case .field("a_version", _, _) = corruption.rule
            else { throw .invalidArgument }
            throw .notSupported
        }
        for entry in list.entries where entry.id == AccessControlRecord.noID {
            throw .invalidArgument
        }
        return list.entries.isEmpty ? nil : list
    }

    // MARK: For the engine itself

    /// Makes the access list say what the mode says since it changed; the caller holds the lock of
    /// the inode.
    func updateAccessControlList(
        of inode: Inode, in handle: inout Handle
    ) throws(Ext4Error) {
        guard inode.type != .symlink,
            let list = try storedAccessControlList(.access, of: inode)
        else { return }
        let changed = list.changed(to: inode.mode)
        guard changed != list else { return }
        try set(.accessACL, to: changed.onDisk, of: inode, for: .privileged, in: &handle) { _ in }
    }

    /// Mode and lists of something new in `directory`.
    ///
    /// - Throws: `.corrupt`, `.io`.
    func inheritedAccess(
        for new: NewInode, in directory: Inode
    ) throws(Ext4Error) -> InheritedAccess {
        InheritedAccess(
            from: try storedAccessControlList(.default, of: directory), mode: new.mode,
            umask: new.umask)
    }

    /// Stores the lists of something new, which nobody knows yet.
    func store(
        _ access: InheritedAccess, of inode: Inode, in handle: inout Handle
    ) throws(Ext4Error) {
        if let list = access.default {
            try set(.defaultACL, to: list.onDisk, of: inode, for: .privileged, in: &handle) { _ in }
        }
        if let list = access.access {
            try set(.accessACL, to: list.onDisk, of: inode, for: .privileged, in: &handle) { _ in }
        }
    }
}

extension InodeAttributes {
    /// The mode with the permissions of `list`. Who is not of the file's group must not make a
    /// program run as that group.
    fileprivate func mode(
        with list: AccessControlList, by credentials: Credentials
    ) -> FileMode {
        var bits = mode.rawValue & ~0o777 | list.permissionBits
        if !credentials.isPrivileged, credentials.groupID != groupID { bits &= ~0o2000 }
        return FileMode(rawValue: bits)
    }
}
