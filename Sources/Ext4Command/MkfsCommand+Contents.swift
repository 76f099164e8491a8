internal import Ext4
internal import Ext4Host
internal import Glibc

extension MkfsCommand {
    /// Makes the volume with what is to be in it.
    ///
    /// - Parameter wanted: the size by `--size`.
    func makeWithContents(
        _ path: String, exists: Bool, _ wanted: UInt64?, _ options: FormatOptions,
        _ extras: MkfsOptions.Extras
    ) throws {
        guard !isDry, extras.offset == 0 else {
            throw CommandFailure("-n and -E offset do not go together with contents")
        }
        let behind = try askedSize(options)
        guard behind == nil || wanted == nil else {
            throw CommandFailure("the size is given twice, behind the image and by --size")
        }
        var asked = behind ?? wanted
        guard exists else {
            let layout = try contents.make(
                image.bytes, options, byteCount: asked, replaces: false)
            return try show(layout)
        }
        // Nobody else may have it, and it is kept so until the new one is there.
        let device: FileDevice
        do throws(Ext4Error) {
            device = try FileDevice(path: path, access: .readWrite)
        } catch {
            throw CommandFailure(opening: path, error)
        }
        if force == 0, let contents = DeviceContents.find(on: device) {
            throw CommandFailure(
                "\(Quoted(image.bytes)): holds \(contents); -F makes a volume over it")
        }
        guard device.isBlockDevice else {
            // As with mke2fs, a file that is there says how large the volume is.
            if asked == nil, contents.wantedSize == nil, device.byteCount > 0 {
                asked = device.byteCount
            }
            // Where a symbolic link leads to, not the link, makes place.
            let real = unsafe realpath(path, nil)
            defer { unsafe free(real) }
            let place = unsafe real.map { unsafe Array(String(cString: $0).utf8) } ?? image.bytes
            let layout = try contents.make(place, options, byteCount: asked, replaces: true)
            return try show(layout)
        }
        var adapted = options
        let page: UInt64 = 4096
        let size = asked ?? device.byteCount & ~(page - 1)
        guard size <= device.byteCount else {
            throw CommandFailure(
                "\(Quoted(image.bytes)): has \(device.byteCount) bytes,"
                    + " and the volume would have \(size)")
        }
        try adapt(&adapted, to: device, path, size: size)
        let isZeroed = clear(device, size, extras)
        let layout = try contents.make(
            on: device, image.bytes, adapted, byteCount: size, isZeroed: isZeroed)
        try show(layout)
    }
}
