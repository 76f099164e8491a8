internal import CFuse3
internal import Ext4
internal import Ext4Host
internal import Glibc

// Growing while mounted: requests wait while the volume gets longer, and find another one then. No
// request keeps anything of a volume from one to the next but numbers of inodes.

extension Session {
    /// Makes the volume one of so many blocks, as `EXT4_IOC_RESIZE_FS` asks of the kernel.
    ///
    /// An image file is made longer first; a block device has its size from elsewhere.
    func resize(
        _ input: UnsafeRawBufferPointer, by credentials: Credentials
    ) throws(Ext4Error) {
        // Root, or whose mount it is.
        guard credentials.isPrivileged || credentials.userID == geteuid() else {
            throw .notPermitted
        }
        guard input.count >= 8 else { throw .invalidArgument }
        let blocks = unsafe input.loadUnaligned(as: UInt64.self)
        try gate.close { () throws(Ext4Error) in try grow(to: blocks) }
    }

    /// Makes the volume longer; no request is under way.
    private func grow(to blocks: UInt64) throws(Ext4Error) {
        var grown = volume
        defer { volume = grown }
        guard grown.isWritable else { throw .readOnlyVolume }
        let log2 = UInt64(grown.superblock.blockSizeLog2)
        var resizing = ResizeOptions()
        resizing.clock = { Timestamp.now }
        resizing.log = log
        let device = grown.device as? FileDevice
        if let device, device.isBlockDevice { try device.updateByteCount() }
        let before = grown.device.byteCount
        let usable = Resizer.usableBlocks(blocks, of: grown.superblock)
        if let device, !device.isBlockDevice, usable > before >> log2 {
            guard usable <= UInt64(Int64.max) >> log2 else { throw .invalidArgument }
            try device.setByteCount(usable << log2)
            resizing.zerosFrom = before
        }
        do throws(ResizeFailure) {
            let report = try Resizer.grow(&grown, to: blocks, options: resizing)
            if report.newBlocks != report.oldBlocks {
                log(.info, "grew from \(report.oldBlocks) to \(report.newBlocks) blocks")
            }
        } catch {
            // What was added is cut off again, as far as the volume does not use it by now.
            if let device, resizing.zerosFrom != nil {
                try? device.setByteCount(max(grown.superblock.blocksCount << log2, before))
            }
            log(.error, "not resized to \(blocks) blocks: \(error)")
            switch error {
            case .volume(let error): throw error
            case .refused: throw .invalidArgument
            }
        }
    }
}
