/// What to change of an inode's attributes; what is nil stays.
public struct AttributeChanges: Hashable, Sendable {
    /// A time to set.
    public enum Time: Hashable, Sendable {
        /// The volume's clock (`UTIME_NOW`).
        case now
        /// That time.
        case at(Timestamp)
    }

    /// Permissions with the set-id and sticky bits.
    public var permissions: UInt16?
    /// The owner.
    public var userID: UInt32?
    /// The owning group.
    public var groupID: UInt32?
    /// The size in bytes.
    public var size: UInt64?
    /// Last access.
    public var accessTime: Time?
    /// Last change of the contents.
    public var modificationTime: Time?
    /// Last change of the inode; nil for now.
    public var changeTime: Timestamp?
    /// Whether a new owner or size takes the set-id bits away, as it does for users.
    public var dropsPrivileges = false

    /// No changes.
    public init() {}
}

extension Volume {
    /// Changes attributes: mode, owner, size, times.
    ///
    /// Who may do so is for the caller to know; what the inode's flags forbid is refused here.
    ///
    /// - Throws: `.notPermitted` for what is immutable or can only be added to; for a size what
    ///   `write(_:to:at:by:)` throws; `.readOnlyVolume`, `.io`, `.corrupt`.
    public func setAttributes(
        _ changes: AttributeChanges, of inode: Inode, by credentials: Credentials = .root
    ) throws(Ext4Error) {
        _ = try requireWriting()
        try inode.lock.exclusive { () throws(Ext4Error) in
            try checkChange(changes, of: inode.flags)
            if changes.size != nil || changes.userID != nil || changes.groupID != nil {
                try dropPrivileges(of: inode, inode.attributes, setID: false)
            }
            if let size = changes.size {
                guard inode.type == .regular else {
                    throw inode.isDirectory ? .isDirectory : .invalidArgument
                }
                if size != inode.size || !changes.isOnlySize {
                    try truncate(inode, to: size, spender(credentials))
                }
            }
            try apply(changes, to: inode)
        }
    }

    private func checkChange(
        _ changes: AttributeChanges, of flags: InodeFlags
    ) throws(Ext4Error) {
        guard !flags.contains(.immutable) else { throw .notPermitted }
        guard flags.contains(.appendOnly) else { return }
        let isTimeNow = { (time: AttributeChanges.Time?) in time == nil || time == .now }
        guard changes.permissions == nil, changes.userID == nil, changes.groupID == nil,
            changes.size == nil, isTimeNow(changes.accessTime), isTimeNow(changes.modificationTime)
        else { throw .notPermitted }
    }

    private func apply(
        _ changes: AttributeChanges, to inode: Inode
    ) throws(Ext4Error) {
        var mode = inode.mode.rawValue
        if let permissions = changes.permissions { mode = mode & 0o170000 | permissions & 0o7777 }
        let changesOwner = changes.userID != nil || changes.groupID != nil
        if changes.dropsPrivileges || (changesOwner && changes.permissions == nil),
            inode.type == .regular
        {
            // Who cannot run it as the group never could use that bit: it means mandatory locks.
            mode &= ~0o4000
            if mode & 0o010 != 0 { mode &= ~0o2000 }
        }
        let isTimeOnly = changes.permissions == nil && !changesOwner && !changes.dropsPrivileges
        try change(credits: 16) { (handle, writing) throws(Ext4Error) in
            let now = writing.clock()
            func resolved(_ time: AttributeChanges.Time) -> Timestamp {
                if case .at(let time) = time { time } else { now }
            }
            try update(inode, isData: !isTimeOnly, in: &handle) { record in
                record[InodeRecord.Layout.mode] = mode
                if let id = changes.userID { record.setUserID(id) }
                if let id = changes.groupID { record.setGroupID(id) }
                if let time = changes.accessTime { record.setAccessTime(resolved(time)) }
                if let time = changes.modificationTime {
                    record.setModificationTime(resolved(time))
                }
                record.setChangeTime(changes.changeTime ?? now)
                record.advanceVersion()
            }
            if changes.permissions != nil { try updateAccessControlList(of: inode, in: &handle) }
        }
    }

    // MARK: Flags and projects

    /// The flags that `setFlags` changes (`EXT4_FL_USER_MODIFIABLE`, but those that would change
    /// how contents are stored: journalled data of a file that has some, and extents).
    static let modifiableFlags: InodeFlags = [
        .secureDelete, .undelete, .compressed, .synchronous, .immutable, .appendOnly, .noDump,
        .noAccessTime, .noTail, .directorySync, .topDirectory, .projectInherit, .journalData,
    ]

    /// Sets the flags that programs may change (`chattr`); the others stay.
    ///
    /// - Throws: `.notPermitted` for who is not privileged and would change `immutable`,
    ///   `appendOnly` or `journalData`; `.notSupported` for a change of a flag that cannot be
    ///   changed; `.readOnlyVolume`, `.io`, `.corrupt`.
    public func setFlags(
        _ flags: InodeFlags, of inode: Inode, by credentials: Credentials = .root
    ) throws(Ext4Error) {
        _ = try requireWriting()
        try inode.lock.exclusive { () throws(Ext4Error) in
            let old = inode.flags
            let changed = old.symmetricDifference(flags)
                .intersection(InodeFlags(rawValue: InodeFlags.settable))
            guard changed.isSubset(of: Self.modifiableFlags) else { throw .notSupported }
            if !changed.isDisjoint(with: [.immutable, .appendOnly, .journalData]) {
                guard credentials.isPrivileged else { throw .notPermitted }
            }
            if changed.contains(.journalData) { try settle(inode) }
            try change { (handle, writing) throws(Ext4Error) in
                let now = writing.clock()
                try update(inode, in: &handle) { record in
                    record.flags = old.subtracting(changed).union(flags.intersection(changed))
                    record.setChangeTime(now)
                    record.advanceVersion()
                }
            }
        }
    }

    /// Brings contents that are in the journal to their places: from here on they are read from
    /// and written to those directly.
    private func settle(_ inode: Inode) throws(Ext4Error) {
        guard let writing, inode.type == .regular else { return }
        try writing.journal.commitRunning()
        try writing.journal.checkpoint()
    }

    /// Sets the project that the inode belongs to.
    ///
    /// - Throws: `.notSupported` on volumes without the feature project, or for an inode that has
    ///   no room for it; `.readOnlyVolume`, `.io`, `.corrupt`.
    public func setProject(_ project: UInt32, of inode: Inode) throws(Ext4Error) {
        _ = try requireWriting()
        guard project != inode.projectID else { return }
        guard superblock.readOnlyCompatible.contains(.project) else { throw .notSupported }
        try inode.lock.exclusive { () throws(Ext4Error) in
            guard inode.record[extra: InodeRecord.Layout.projectID] != nil else {
                throw .notSupported
            }
            try change { (handle, writing) throws(Ext4Error) in
                let now = writing.clock()
                try update(inode, in: &handle) { record in
                    record[extra: InodeRecord.Layout.projectID] = project
                    record.setChangeTime(now)
                }
            }
        }
    }

    /// Sets the generation (`EXT4_IOC_SETVERSION`); of volumes without checksums only, where blocks
    /// do not depend on it.
    ///
    /// - Throws: `.notSupported` with metadata_csum; `.readOnlyVolume`, `.io`, `.corrupt`.
    public func setGeneration(_ generation: UInt32, of inode: Inode) throws(Ext4Error) {
        _ = try requireWriting()
        guard !superblock.hasMetadataChecksums else { throw .notSupported }
        try inode.lock.exclusive { () throws(Ext4Error) in
            try change { (handle, writing) throws(Ext4Error) in
                let now = writing.clock()
                try update(inode, in: &handle) { record in
                    record[InodeRecord.Layout.generation] = generation
                    record.setChangeTime(now)
                }
            }
        }
    }

    /// Notes that a file or directory was read, as the volume's policy has it. What fails is left:
    /// a reader does not care.
    func noteAccess(to inode: Inode) {
        guard let writing, writing.accessTimes != .never, writing.journal.failure == nil else {
            return
        }
        let attributes = inode.attributes
        guard attributes.flags.isDisjoint(with: [.noAccessTime, .immutable]) else { return }
        let now = writing.clock()
        let isDue =
            writing.accessTimes == .always
            || attributes.accessTime <= attributes.modificationTime
            || attributes.accessTime <= attributes.changeTime
            || now.seconds - attributes.accessTime.seconds >= 24 * 3600
        guard isDue, attributes.accessTime < now else { return }
        try? change(credits: 1) { (handle, _) throws(Ext4Error) in
            try update(inode, isData: false, in: &handle) { $0.setAccessTime(now) }
        }
    }
}

extension AttributeChanges {
    /// Whether a size is all that is to be changed.
    fileprivate var isOnlySize: Bool {
        var other = self
        other.size = nil
        return other == AttributeChanges()
    }
}

extension InodeFlags {
    /// The flags that programs may try to set (`EXT4_FL_USER_MODIFIABLE`).
    fileprivate static let settable: UInt32 = 0x624B_C0FF
}
