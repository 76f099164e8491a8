internal import CLinux
internal import Ext4
internal import Glibc

/// Gives a file of the host what the inode of an image says besides its contents.
struct FileMetadata {
    /// How to reach the file.
    enum Target {
        /// An open file or directory.
        case descriptor(Int32)
        /// An entry of an open directory that cannot be opened without effects: a symbolic link,
        /// a device, a fifo, a socket. It is never followed.
        case entry(CPath, in: Int32)
    }

    /// What could not be kept, as it stands after "cannot".
    struct Loss: Hashable {
        let action: String
        let errno: Int32

        /// Whether that is what anybody but root, or a simpler file system, has to expect.
        var isExpected: Bool {
            [EPERM, EACCES, EOPNOTSUPP, ENOSYS, EINVAL].contains(errno)
        }
    }

    let setsOwner: Bool

    /// Sets everything, in the order in which one does not undo the other: the owner (it drops
    /// setuid and capabilities), the mode (it changes an ACL), the attributes, the times.
    func apply(
        _ inode: Inode, _ attributes: [ExtendedAttribute], to target: Target
    ) -> [Loss] {
        var losses: [Loss] = []
        func note(_ result: Int32, _ action: String) {
            if result != 0 { losses.append(Loss(action: action, errno: errno)) }
        }
        if setsOwner { note(setOwner(of: inode, target), "set the owner of") }
        if inode.type != .symlink { note(setMode(of: inode, target), "set the mode of") }
        for attribute in attributes {
            guard let name = CPath(attribute.name.bytes) else {
                losses.append(Loss(action: "set an extended attribute of", errno: EINVAL))
                continue
            }
            note(
                set(name, attribute.value, target),
                "set the extended attribute \(Quoted(attribute.name.bytes)) of")
        }
        note(setTimes(of: inode, target), "set the times of")
        return losses
    }

    /// Takes away the ACLs that a file got from the directory of the host that it was made in.
    func removeInheritedLists(_ target: Target) {
        for name in ["system.posix_acl_access", "system.posix_acl_default"] {
            switch target {
            case .descriptor(let descriptor): _ = unsafe linux_fremovexattr(descriptor, name)
            case .entry(let entry, let directory):
                guard let path = Self.path(of: entry, in: directory) else { continue }
                _ = unsafe linux_lremovexattr(path.bytes, name)
            }
        }
    }

    private func setOwner(of inode: Inode, _ target: Target) -> Int32 {
        switch target {
        case .descriptor(let descriptor): fchown(descriptor, inode.userID, inode.groupID)
        case .entry(let name, let directory):
            unsafe fchownat(
                directory, name.bytes, inode.userID, inode.groupID, AT_SYMLINK_NOFOLLOW)
        }
    }

    private func setMode(of inode: Inode, _ target: Target) -> Int32 {
        var permissions = mode_t(inode.mode.permissions)
        // Setuid for whoever copies is not what the image says.
        if !setsOwner, inode.userID != geteuid() || inode.groupID != getegid() {
            permissions &= ~(S_ISUID | S_ISGID)
        }
        switch target {
        case .descriptor(let descriptor): return fchmod(descriptor, permissions)
        case .entry(let name, let directory):
            return unsafe fchmodat(directory, name.bytes, permissions, AT_SYMLINK_NOFOLLOW)
        }
    }

    private func set(_ name: CPath, _ value: [UInt8], _ target: Target) -> Int32 {
        switch target {
        case .descriptor(let descriptor):
            return unsafe linux_fsetxattr(descriptor, name.bytes, value, value.count)
        case .entry(let entry, let directory):
            guard let path = Self.path(of: entry, in: directory) else { return -1 }
            return unsafe linux_lsetxattr(path.bytes, name.bytes, value, value.count)
        }
    }

    private func setTimes(of inode: Inode, _ target: Target) -> Int32 {
        let times = [inode.accessTime, inode.modificationTime].map {
            timespec(tv_sec: Int(clamping: $0.seconds), tv_nsec: Int($0.nanoseconds))
        }
        return switch target {
        case .descriptor(let descriptor): unsafe futimens(descriptor, times)
        case .entry(let name, let directory):
            unsafe utimensat(directory, name.bytes, times, AT_SYMLINK_NOFOLLOW)
        }
    }

    /// A path to an entry of an open directory, for the calls that want one. The way to the
    /// directory is the kernel's; the calls do not follow the entry itself.
    static func path(of entry: CPath, in directory: Int32) -> CPath? {
        CPath(
            Array("/proc/self/fd/\(directory)/".utf8)
                + entry.bytes.dropLast().map { UInt8(bitPattern: $0) })
    }
}
