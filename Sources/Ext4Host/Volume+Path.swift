public import Ext4

extension Volume {
    /// Opens the volume in the image file or on the block device at `path`, for reading.
    ///
    /// - Throws: What `FileDevice` and `Volume.open` throw.
    public static func open(
        path: String, options: OpenOptions = .init()
    ) throws(Ext4Error) -> Volume {
        try open(try FileDevice(path: path), options: options)
    }
}
