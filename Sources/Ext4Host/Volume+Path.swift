public import Ext4

extension Volume {
    /// Opens the volume in the image file or on the block device at `path`.
    ///
    /// - Throws: What `FileDevice` and `Volume.open` throw.
    public static func open(path: String, options: OpenOptions = .init()) throws(Ext4Error)
        -> Volume
    {
        let device = try FileDevice(
            path: path, access: options.access == .readWrite ? .readWrite : .readOnly)
        return try open(device, options: options)
    }
}
