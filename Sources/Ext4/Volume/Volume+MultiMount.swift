extension Volume {
    /// Refuses a volume that another machine may have open. Whether its number still moves would
    /// take minutes of watching: that is left to a mount by the kernel.
    func checkMultiMountProtection(_ options: OpenOptions) throws(Ext4Error) {
        guard superblock.incompatible.contains(.mmp) else { return }
        guard superblock.contains(superblock.mmpBlock) else {
            throw .corrupt(
                .superblock,
                .field("s_mmp_block", value: superblock.mmpBlock.rawValue, rule: "in the volume"))
        }
        let (byteOffset, overflow) = superblock.mmpBlock.rawValue.multipliedReportingOverflow(
            by: UInt64(blockSize))
        guard !overflow else { throw .invalidArgument }
        let bytes = try device.read(at: byteOffset, count: MultiMountProtection.Layout.size)
        let span = bytes.span
        let block = try MultiMountProtection(
            parsing: unsafe span.bytes, at: superblock.mmpBlock,
            checksumSeed: superblock.hasMetadataChecksums && options.verifiesChecksums
                ? superblock.checksumSeed : nil)
        guard block.state == .clean else { throw .busy }
    }
}
