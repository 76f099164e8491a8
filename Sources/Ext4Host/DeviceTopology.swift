internal import Ext4
internal import Glibc

/// How a block device likes to be read and written, as the kernel says.
public struct DeviceTopology: Hashable, Sendable {
    /// The smallest request that costs no reading first, in bytes; 0 for unknown.
    public let minimumIO: UInt64
    /// The largest that is worth while, in bytes; 0 for unknown.
    public let optimalIO: UInt64
    /// Whether the disk turns: a file does not.
    public let isRotational: Bool

    /// What is known of the device at `path`; nil for what is no block device.
    public static func of(path: String) -> DeviceTopology? {
        guard let status = try? FileStatus.of(path: path), status.kind == .blockDevice else {
            return nil
        }
        let number =
            "\(FileStatus.major(status.device)):\(FileStatus.minor(status.device))"
        // A partition has the queue of its disk.
        let places = ["/sys/dev/block/\(number)/queue", "/sys/dev/block/\(number)/../queue"]
        func value(_ name: String) -> UInt64 {
            for place in places {
                if let text = SystemFile.text(at: "\(place)/\(name)"), let number = UInt64(text) {
                    return number
                }
            }
            return 0
        }
        return DeviceTopology(
            minimumIO: value("minimum_io_size"), optimalIO: value("optimal_io_size"),
            isRotational: value("rotational") != 0)
    }
}
