internal import Glibc

/// Where something is mounted: a line of `/proc/self/mountinfo`.
public struct MountPoint: Hashable, Sendable {
    /// The directory.
    public let path: String
    /// What is mounted there, as whoever mounted it calls it: most often a block device, or the image
    /// file of a FUSE mount.
    public let source: String
    /// The file system's type: `ext4`, or for a FUSE mount `fuse.` and a name.
    public let type: String
    /// The number of its device, as the table writes it.
    let device: String

    /// Whether a process serves the mount.
    public var isFUSE: Bool { type == "fuse" || type == "fuseblk" || type.hasPrefix("fuse.") }

    /// The mounts that this process sees.
    static func all() -> [MountPoint] {
        (SystemFile.text(at: "/proc/self/mountinfo") ?? "").split(separator: "\n")
            .compactMap(MountPoint.init)
    }

    /// The mount at the directory `path`; nil when nothing is mounted there.
    public static func find(path: String) -> MountPoint? {
        guard let real = unsafe realpath(path, nil) else { return nil }
        defer { unsafe free(real) }
        let directory = unsafe String(cString: real)
        // The last one covers those before it.
        return all().last { $0.path == directory }
    }

    /// Fields: id, parent, major:minor, root, mount point, options, optional fields, "-", type,
    /// source, options.
    private init?(_ line: Substring) {
        let fields = line.split(separator: " ", omittingEmptySubsequences: false)
        guard fields.count >= 10, let dash = fields[6...].firstIndex(of: "-"),
            dash + 2 < fields.count
        else { return nil }
        device = String(fields[2])
        path = SystemFile.unescaped(fields[4])
        type = String(fields[dash + 1])
        source = SystemFile.unescaped(fields[dash + 2])
    }

    /// Whether the source is the file with that path or that status.
    func isOf(path: String?, _ status: FileStatus) -> Bool {
        if let path, source == path { return true }
        guard source.hasPrefix("/"), let other = try? FileStatus.of(path: source) else {
            return false
        }
        return status.kind == .blockDevice
            ? other.kind == .blockDevice && other.device == status.device
            : other.identity == status.identity
    }
}
