/// What something new is to be.
public struct NewInode: Hashable, Sendable {
    /// Type and permissions. A type that a file can have is needed; a directory and a symbolic link
    /// are made by it too.
    public var mode: FileMode
    /// The owner.
    public var userID: UInt32
    /// The owning group, unless the directory passes its own on.
    public var groupID: UInt32
    /// Bits that the mode does not get, unless the directory has a default access control list.
    public var umask: UInt16
    /// Of a device's special file, the device.
    public var device: DeviceNumber?
    /// Of a symbolic link, the target.
    public var target: [UInt8]

    /// Describes something new.
    public init(
        mode: FileMode, userID: UInt32 = 0, groupID: UInt32 = 0, umask: UInt16 = 0,
        device: DeviceNumber? = nil, target: [UInt8] = []
    ) {
        self.mode = mode
        self.userID = userID
        self.groupID = groupID
        self.umask = umask
        self.device = device
        self.target = target
    }

    /// A symbolic link to `target`.
    public static func symlink(
        to target: [UInt8], userID: UInt32 = 0, groupID: UInt32 = 0
    ) -> NewInode {
        NewInode(
            mode: FileMode(rawValue: 0o120777), userID: userID, groupID: groupID, target: target)
    }
}
