// What an access control list and the permission bits of a mode have to do with each other. The
// owner's and the others' bits are those of their entries. The group's bits are those of the mask
// where there is one, because they are what programs that know no lists take for the most that
// anybody but the owner may do; without a mask they are those of the group's entry.

extension AccessControlList {
    /// The list that says what the permission bits of `mode` say.
    public init(permissionsOf mode: FileMode) {
        let bits = mode.rawValue
        entries = [
            Entry(.userObject, Permissions(bits >> 6)), Entry(.groupObject, Permissions(bits >> 3)),
            Entry(.other, Permissions(bits)),
        ]
    }

    /// The permission bits, nine of them, that stand for this list in a mode.
    public var permissionBits: UInt16 {
        var owner: UInt16 = 0
        var group: UInt16 = 0
        var mask: UInt16?
        var other: UInt16 = 0
        for entry in entries {
            let bits = entry.permissions.rawValue & 7
            switch entry.tag {
            case .userObject: owner = bits
            case .groupObject: group = bits
            case .mask: mask = bits
            case .other: other = bits
            case .user, .group: break
            }
        }
        return owner << 6 | (mask ?? group) << 3 | other
    }

    /// Whether the permission bits say all that the list says, so that nobody needs to store it.
    public var isMinimal: Bool {
        entries.allSatisfy {
            switch $0.tag {
            case .userObject, .groupObject, .other: true
            case .user, .group, .mask: false
            }
        }
    }

    /// The list after `chmod`: the owner's and the others' entries, and the mask or without one the
    /// group's entry, take the bits of `mode`.
    public func changed(to mode: FileMode) -> AccessControlList {
        changed(by: mode.rawValue) { _, bits in bits }
    }

    /// What a new file that was asked for with `mode` gets from its directory's default list: no
    /// entry that has a part in the mode allows what `mode` did not ask for.
    ///
    /// - Returns: the list of the new file, and `mode` with no bit that the list does not have.
    public func inherited(mode: FileMode) -> (list: AccessControlList, mode: FileMode) {
        let list = changed(by: mode.rawValue) { old, bits in old & bits }
        return (list, FileMode(rawValue: mode.rawValue & ~0o777 | list.permissionBits))
    }

    /// The list with `change` made to each entry that has a part in the permission bits, from what
    /// it allows and the three bits of `bits` for it.
    private func changed(
        by bits: UInt16, _ change: (_ old: UInt16, _ bits: UInt16) -> UInt16
    ) -> AccessControlList {
        var hasMask = false
        for entry in entries where entry.tag == .mask { hasMask = true }
        return AccessControlList(
            entries.map { entry in
                let shift: UInt16
                switch entry.tag {
                case .userObject: shift = 6
                case .groupObject where !hasMask: shift = 3
                case .mask: shift = 3
                case .other: shift = 0
                case .groupObject, .user, .group: return entry
                }
                let new = change(entry.permissions.rawValue & 7, bits >> shift & 7)
                return Entry(entry.tag, Permissions(new))
            })
    }
}

extension AccessControlList.Permissions {
    /// The lowest three bits of a mode, or of a part of it.
    fileprivate init(_ bits: UInt16) { self.init(rawValue: bits & 7) }
}

/// Mode and access control lists of an object that is being made.
struct InheritedAccess: Hashable, Sendable {
    /// The mode.
    let mode: FileMode
    /// Its access list; nil where the mode says all.
    let access: AccessControlList?
    /// Its own default list, of a directory.
    let `default`: AccessControlList?

    /// What an object asked for with `mode` gets in a directory with the default list `parent`.
    ///
    /// Where there is such a list, it stands in for `umask`. Symbolic links have no permissions to
    /// speak of: they get what was asked for.
    init(from parent: AccessControlList?, mode: FileMode, umask: UInt16) {
        guard mode.type != .symlink else {
            self.init(mode, access: nil, default: nil)
            return
        }
        guard let parent else {
            self.init(
                FileMode(rawValue: mode.rawValue & ~(umask & 0o777)), access: nil, default: nil)
            return
        }
        let (list, mode) = parent.inherited(mode: mode)
        self.init(
            mode, access: list.isMinimal ? nil : list,
            default: mode.type == .directory ? parent : nil)
    }

    private init(
        _ mode: FileMode, access: AccessControlList?, default defaultList: AccessControlList?
    ) {
        self.mode = mode
        self.access = access
        self.default = defaultList
    }
}
