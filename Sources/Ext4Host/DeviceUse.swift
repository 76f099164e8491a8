internal import Ext4
internal import Glibc

/// Where the volume in an image file or on a block device is mounted.
///
/// The kernel's mounts are found in `/proc/self/mountinfo` by their device number; those of an
/// image file by the loop devices that `/sys/block` lists with the file behind them. Mounts that
/// this process cannot see, in another mount namespace, are found by the loop device or block
/// device itself: it cannot be claimed while it is mounted.
public struct DeviceUse: Hashable, Sendable {
    /// The directory that it is mounted on; nil when that cannot be seen from here.
    public let mountPoint: String?
    /// The block device that is mounted, with its path under `/dev`; nil when the mount is
    /// through FUSE.
    public let device: String?

    /// Finds the mount of the image file or block device at `path`.
    public static func find(path: String) -> DeviceUse? {
        guard let status = try? FileStatus.of(path: path) else { return nil }
        return find(status)
            ?? MountPoint.all().first { $0.isFUSE && $0.isOf(path: path, status) }
            .map { DeviceUse(mountPoint: $0.path, device: nil) }
    }

    static func find(_ status: FileStatus) -> DeviceUse? {
        switch status.kind {
        case .blockDevice: findMount(ofDevices: [number(status.device)], status)
        case .regular: findLoopMount(of: status)
        case .directory, .other: nil
        }
    }

    private static func findMount(
        ofDevices numbers: [String], _ status: FileStatus?
    ) -> DeviceUse? {
        let mount = MountPoint.all().first { mount in
            guard !mount.isFUSE else { return false }
            if numbers.contains(mount.device) { return true }
            // File systems with numbers of their own (btrfs, overlays) name their source.
            guard let status, mount.device.hasPrefix("0:"), mount.source.hasPrefix("/dev/")
            else { return false }
            return mount.isOf(path: nil, status)
        }
        return mount.map { DeviceUse(mountPoint: $0.path, device: $0.source) }
    }

    private static func findLoopMount(of status: FileStatus) -> DeviceUse? {
        for name in SystemFile.names(in: "/sys/block") where name.hasPrefix("loop") {
            let directory = "/sys/block/\(name)"
            guard
                let backing = SystemFile.text(at: "\(directory)/loop/backing_file"),
                let file = try? FileStatus.of(path: backing),
                file.identity == status.identity
            else { continue }
            // The whole device, and its partitions, which are directories beside.
            var numbers: [String] = []
            for place in [directory]
                + SystemFile.names(in: directory).filter({ $0.hasPrefix(name) })
                .map({ "\(directory)/\($0)" })
            {
                if let number = SystemFile.text(at: "\(place)/dev") { numbers.append(number) }
            }
            if let use = findMount(ofDevices: numbers, nil) { return use }
            if isClaimed("/dev/\(name)") {
                return DeviceUse(mountPoint: nil, device: "/dev/\(name)")
            }
        }
        return nil
    }

    /// Whether the kernel holds the device for somebody else. What cannot be opened for want of
    /// permission counts as free: then the mount would have been seen, or cannot be known.
    private static func isClaimed(_ path: String) -> Bool {
        let descriptor = unsafe open(path, O_RDONLY | O_EXCL | O_CLOEXEC)
        guard descriptor >= 0 else { return errno == EBUSY }
        close(descriptor)
        return false
    }

    /// A device number as mountinfo and sysfs write it.
    private static func number(_ device: UInt64) -> String {
        "\(FileStatus.major(device)):\(FileStatus.minor(device))"
    }
}
