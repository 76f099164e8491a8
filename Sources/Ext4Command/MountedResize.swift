internal import Ext4
internal import Ext4Host
internal import Glibc

// `ext4 resize` of a volume that is mounted: whoever serves the mount makes it larger, the kernel or a
// process of `ext4 mount`. Both are asked by the same call.

/// A mounted volume that is to become larger.
struct MountedResize {
    private let mount: MountPoint
    private let directory: String

    /// The volume mounted at `directory`; nil for what is no directory.
    ///
    /// - Throws: for a directory at which no ext2, ext3 or ext4 volume is mounted.
    init?(directory: String) throws(CommandFailure) {
        var status = stat()
        guard unsafe stat(directory, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else {
            return nil
        }
        guard let mount = MountPoint.find(path: directory) else {
            throw CommandFailure(
                "\(Quoted(directory.utf8)): is a directory at which nothing is mounted; what is "
                    + "wanted is an image file, a block device or a mount point")
        }
        guard ["ext2", "ext3", "ext4", "fuse.ext4"].contains(mount.type) else {
            throw CommandFailure(
                "\(Quoted(directory.utf8)): what is mounted there is \(mount.type), and no ext2, "
                    + "ext3 or ext4 volume")
        }
        self.mount = mount
        self.directory = directory
    }

    /// The superblock, as it is on the device by now, and how long the device is.
    ///
    /// What changes it meanwhile may not have sealed it: its checksum is not looked at.
    func state() throws(CommandFailure) -> (superblock: Superblock, byteCount: UInt64) {
        do throws(Ext4Error) {
            let device = try FileDevice(path: mount.source, claim: .none)
            var options = OpenOptions()
            options.superblock = .primary
            options.journal = .ignore
            options.verifiesChecksums = false
            return (try Volume.open(device, options: options).superblock, device.byteCount)
        } catch {
            throw CommandFailure(opening: mount.source, error)
        }
    }

    /// Makes the volume larger, which had the superblock `old`.
    func resize(to blocks: UInt64, from old: Superblock) throws(CommandFailure) -> ResizeReport {
        let place = Quoted(directory.utf8)
        let descriptor = unsafe open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw CommandFailure("\(place): \(SystemFailure.words(for: errno))")
        }
        defer { close(descriptor) }
        var count = Resizer.usableBlocks(blocks, of: old)
        // EXT4_IOC_RESIZE_FS
        guard unsafe ioctl(descriptor, 0x4008_6610, &count) == 0 else {
            let words =
                switch errno {
                case EPERM: "only root can make it larger, or who mounted it"
                case EROFS: "it is mounted read-only"
                case EBUSY: "it is being resized already"
                case ENOSPC:
                    "no space left for an image file to become longer, or its journal is too small "
                        + "for it to grow while mounted"
                case EINVAL, EOPNOTSUPP, ENOTTY:
                    "the mount refuses that size, or cannot be resized; "
                        + (mount.isFUSE ? "its log says why" : "dmesg says why")
                case let error: SystemFailure.words(for: error)
                }
            throw CommandFailure("\(place): \(words)")
        }
        var report = ResizeReport(
            oldBlocks: old.blocksCount, newBlocks: old.blocksCount, blockSize: old.blockSize)
        report.newBlocks = try state().superblock.blocksCount
        return report
    }
}
