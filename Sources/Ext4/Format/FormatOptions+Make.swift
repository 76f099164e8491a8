// Volumes with nothing in them, for who wants no more than that.

extension FormatOptions {
    /// The superblock that a volume of so many bytes would have; nothing is written.
    ///
    /// - Throws: a line that says which option cannot be, and what is allowed.
    public func superblock(byteCount: UInt64) throws(FormatProblem) -> Superblock {
        try VolumeLayout(self, byteCount: byteCount).superblock
    }

    /// Makes a volume with an empty root directory and lost+found.
    ///
    /// Until the last request is done, which writes the superblock, the device holds no volume.
    ///
    /// - Parameters:
    ///   - byteCount: how large the volume is to be; nil for all of the device.
    ///   - isZeroed: the device reads as zeros everywhere, so that nothing need be cleared.
    /// - Throws: `Ext4Error.invalidArgument` for what `superblock(byteCount:)` says,
    ///   `Ext4Error.noSpace` for a device that is too small, `Ext4Error.io`.
    public func make(
        on device: any BlockDevice, byteCount: UInt64? = nil, isZeroed: Bool = false
    ) throws(Ext4Error) {
        guard !device.isReadOnly else { throw .readOnlyVolume }
        let layout: VolumeLayout
        do throws(FormatProblem) {
            layout = try VolumeLayout(self, byteCount: byteCount ?? device.byteCount)
        } catch {
            throw .invalidArgument
        }
        let maker = try VolumeMaker(device, layout, isZeroed: isZeroed)
        try maker.makeEmptyRoot()
        try maker.makeOwnFiles()
        try maker.finish()
    }
}
