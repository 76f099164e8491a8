/// Who asks for a change: what the engine itself decides by it. Permissions are checked by the
/// caller, under a mount by the kernel.
public struct Credentials: Hashable, Sendable {
    /// The user.
    public var userID: UInt32
    /// The user's first group.
    public var groupID: UInt32
    /// Whether the user may do what only the system administrator may: take reserved blocks, set
    /// flags that lock files.
    public var isPrivileged: Bool

    /// Makes credentials; user 0 is privileged.
    public init(userID: UInt32, groupID: UInt32, isPrivileged: Bool? = nil) {
        self.userID = userID
        self.groupID = groupID
        self.isPrivileged = isPrivileged ?? (userID == 0)
    }

    /// The system administrator.
    public static let root = Credentials(userID: 0, groupID: 0)
}

extension Volume {
    /// Whether `credentials` may take blocks that are reserved (`s_def_resuid`, `s_def_resgid`).
    func spender(_ credentials: Credentials) -> Spender {
        let isReserved =
            credentials.isPrivileged
            || credentials.userID == UInt32(superblock.reservedUserID)
            || superblock.reservedGroupID != 0
                && credentials.groupID == UInt32(superblock.reservedGroupID)
        return isReserved ? .privileged : .ordinary
    }
}
