internal import Ext4
internal import Glibc

extension FileDevice {
    /// What is given back in one piece at the least, in bytes: a page of an image file, as file
    /// systems make holes of those; of a block device what the kernel says.
    public var discardGranule: UInt64 {
        guard isBlockDevice, let status = try? FileStatus.of(descriptor: fileDescriptor) else {
            return 4_096
        }
        let number =
            "\(FileStatus.major(status.device)):\(FileStatus.minor(status.device))"
        // A partition has the queue of its disk.
        for place in ["queue", "../queue"] {
            let path = "/sys/dev/block/\(number)/\(place)/discard_granularity"
            if let text = SystemFile.text(at: path), let granule = UInt64(text), granule > 0 {
                return max(granule, UInt64(sectorSize))
            }
        }
        return UInt64(sectorSize)
    }

    /// The bytes that an image file takes where it is stored; nil for a block device.
    public var storedByteCount: UInt64? {
        var status = stat()
        guard !isBlockDevice, unsafe fstat(fileDescriptor, &status) == 0 else { return nil }
        return UInt64(clamping: status.st_blocks) * 512
    }
}
