internal import ArgumentParser
internal import Ext4
internal import Ext4Host
internal import Glibc

/// `ext4 mkfs`: makes a volume.
struct MkfsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "mkfs",
        abstract: "Make an ext2, ext3 or ext4 volume.",
        discussion: """
            Makes a volume on a block device, in an image file, or in a new file of SIZE. The \
            options are those of mke2fs, and what is not said is what mke2fs would take: the \
            features of the type, blocks and inodes by the size, a journal by the size.

            SIZE is a number of KiB, or of blocks with -b; with a unit behind it (K, M, G, T; s \
            for sectors of 512 bytes) it is that. Without it the volume fills the device or file.

            A device that is mounted or in use is refused, and so is one that holds something \
            that is known, unless -F is given. A new file gets its name when it is complete.

            With --from (or -d) or --from-oci the volume gets contents, with no mount and no root: \
            owners, modes, times, attributes, links, holes and special files as the source has \
            them. docs/IMAGES.md tells more.

            EXTENDED OPTIONS
              stride=BLOCKS, stripe_width=BLOCKS   the chunk and the stripe of a RAID
              resize=BLOCKS                        room for descriptors up to that size
              lazy_itable_init=0|1                 whether the kernel clears the inode tables
              lazy_journal_init=0|1                whether the journal's blocks are left as they are
              packed_meta_blocks=0|1               all bitmaps and tables at the start
              num_backup_sb=0|1|2                  copies with sparse_super2
              desc_size=BYTES, hash_seed=UUID, root_owner=UID:GID, root_perms=OCTAL, \
            quotatype=usrquota:grpquota:prjquota, encoding=utf8, encoding_flags=strict, \
            orphan_file_size=BLOCKS, mmp_update_interval=SECONDS, offset=BYTES, revision=0|1, \
            test_fs, discard, nodiscard, assume_storage_prezeroed=0|1

            ENVIRONMENT
              SOURCE_DATE_EPOCH   the time of everything, in seconds since 1970; with -U and \
            -E hash_seed= the same options make the same bytes

            EXAMPLES
              ext4 mkfs disk.img 2G
              ext4 mkfs -t ext2 -b 1024 -L boot boot.img 64M
              ext4 mkfs -O ^has_journal,inline_data -m 0 /dev/sdX1
              ext4 mkfs -n -O bigalloc -C 65536 disk.img 1T
              ext4 mkfs --from rootfs/ --owner 0:0 --size auto+256M rootfs.img
              curl … | ext4 mkfs --from - rootfs.img
              ext4 mkfs --from-oci image:latest rootfs.img

            EXIT STATUS
              0 when the volume is made, 1 otherwise.
            """)

    @Argument(help: "The image file or block device.")
    var image: PathArgument

    @Argument(help: ArgumentHelp("How large the volume is to be.", valueName: "size"))
    var size: LengthArgument?

    @OptionGroup var options: MkfsOptions

    @OptionGroup var contents: ContentOptions

    @Flag(name: .customShort("F"), help: "Make it over what is there.")
    var force: Int

    @Flag(name: .customShort("n"), help: "Only show what would be made.")
    var isDry = false

    @Flag(name: .shortAndLong, help: "Say nothing.")
    var quiet = false

    @Flag(name: .shortAndLong, help: "Say more.")
    var verbose = false

    @Flag(help: "Write an object.")
    var json = false

    func run() throws {
        var (options, extras) = try options.formatOptions()
        let path = String(decoding: image.bytes, as: UTF8.self)
        var status = stat()
        let exists = unsafe stat(path, &status) == 0
        let wanted = try contents.fixedSize(blockSize: options.blockSize)
        if contents.isGiven {
            return try makeWithContents(path, exists: exists, wanted, options, extras)
        }
        guard exists || size != nil || wanted != nil else {
            throw CommandFailure(
                "\(Quoted(image.bytes)): there is no such file, and no size for a new one")
        }
        let behind = try askedSize(options)
        guard behind == nil || wanted == nil else {
            throw CommandFailure("the size is given twice, behind the image and by --size")
        }
        let asked = behind ?? wanted
        if exists {
            try makeOnExisting(path, asked, &options, extras)
            return
        }
        let layout = try layout(options, byteCount: asked ?? 0)
        if !isDry {
            Interruption.watch()
            let image: NewImage
            let byteCount = try end(of: asked ?? 0, extras)
            do throws(SystemFailure) {
                image = try NewImage(path: self.image.bytes, byteCount: byteCount)
            } catch {
                throw CommandFailure("\(error)")
            }
            try make(layout, on: image.device, isZeroed: true, extras)
            guard Interruption.signal == nil else { throw CommandFailure("interrupted") }
            do throws(SystemFailure) {
                try image.commit()
            } catch {
                throw CommandFailure("\(error)")
            }
        }
        try show(layout)
    }

    /// The size that stands behind the image.
    func askedSize(_ options: FormatOptions) throws(CommandFailure) -> UInt64? {
        guard let size else { return nil }
        guard let bytes = size.bytes(blockSize: options.blockSize), bytes <= Int64.max else {
            throw CommandFailure("the size is too large")
        }
        return bytes
    }

    /// Where a volume of so many bytes ends.
    private func end(
        of size: UInt64, _ extras: MkfsOptions.Extras
    ) throws(CommandFailure) -> UInt64 {
        let (end, overflow) = size.addingReportingOverflow(extras.offset)
        guard !overflow, end <= Int64.max else {
            throw CommandFailure("\(Quoted(image.bytes)): no file can be as large as that")
        }
        return end
    }

    /// Makes the volume on a device, or in a file that is there.
    private func makeOnExisting(
        _ path: String, _ asked: UInt64?, _ options: inout FormatOptions,
        _ extras: MkfsOptions.Extras
    ) throws {
        let device: FileDevice
        do throws(Ext4Error) {
            device = try FileDevice(
                path: path, access: isDry ? .readOnly : .readWrite, claim: isDry ? .none : .locked)
        } catch {
            throw CommandFailure(opening: path, error)
        }
        if force == 0, !isDry, let contents = DeviceContents.find(on: device) {
            throw CommandFailure(
                "\(Quoted(image.bytes)): holds \(contents); -F makes a volume over it")
        }
        let page: UInt64 = 4096
        let room = device.byteCount - min(device.byteCount, extras.offset)
        let size = asked ?? room & ~(page - 1)
        guard size > 0 else {
            throw CommandFailure("\(Quoted(image.bytes)): has no size; give one")
        }
        if device.isBlockDevice {
            guard size <= room else {
                throw CommandFailure(
                    "\(Quoted(image.bytes)): has \(room) bytes, and the volume would have \(size)")
            }
            try adapt(&options, to: device, path, size: size)
        }
        let layout = try layout(options, byteCount: size)
        if !isDry {
            let end = try end(of: size, extras)
            if !device.isBlockDevice, end > device.byteCount {
                do throws(Ext4Error) {
                    try device.setByteCount(end)
                } catch {
                    throw CommandFailure(error, image: path)
                }
            }
            // Broken off, it is no volume: the superblock comes last.
            try make(layout, on: device, isZeroed: clear(device, size, extras), extras)
        }
        try show(layout)
    }

    /// What a device calls for: blocks not smaller than its sectors, the chunk of a RAID.
    func adapt(
        _ options: inout FormatOptions, to device: FileDevice, _ path: String, size: UInt64
    ) throws(CommandFailure) {
        let usual = FormatDefaults(options.kind, options.usage, byteCount: size).blockSize
        if options.blockSize == nil, usual < device.sectorSize {
            options.blockSize = device.sectorSize
        }
        if let blockSize = options.blockSize, blockSize < device.sectorSize {
            throw CommandFailure(
                "\(Quoted(path.utf8)): blocks of \(blockSize) bytes are smaller than the device's"
                    + " sectors of \(device.sectorSize)")
        }
        guard let topology = DeviceTopology.of(path: path) else { return }
        let blockSize = UInt64(options.blockSize ?? usual)
        if options.stride == 0, topology.minimumIO > blockSize {
            options.stride = UInt16(clamping: topology.minimumIO / blockSize)
        }
        if options.stripeWidth == 0, topology.isRotational, topology.optimalIO > blockSize {
            options.stripeWidth = UInt32(clamping: topology.optimalIO / blockSize)
        }
    }

    /// Gives back what the device holds. Whether it reads as zeros then.
    func clear(
        _ device: FileDevice, _ size: UInt64, _ extras: MkfsOptions.Extras
    ) -> Bool {
        if extras.isZeroed { return true }
        guard extras.discards else { return false }
        let isDone = (try? device.discard(at: extras.offset, count: size)) != nil
        // Who reads what a device gave back may find anything.
        return isDone && !device.isBlockDevice
    }

    private func layout(
        _ options: FormatOptions, byteCount: UInt64
    ) throws(CommandFailure) -> VolumeLayout {
        do throws(FormatProblem) {
            let layout = try VolumeLayout(options, byteCount: byteCount)
            if layout.superblock.blockSize > 4096, !quiet {
                Complaint.write(
                    "blocks of \(layout.superblock.blockSize) bytes are mounted by few kernels")
            }
            return layout
        } catch {
            throw CommandFailure("\(Quoted(image.bytes)): \(error)")
        }
    }

    private func make(
        _ layout: VolumeLayout, on device: FileDevice, isZeroed: Bool,
        _ extras: MkfsOptions.Extras
    ) throws(CommandFailure) {
        do throws(Ext4Error) {
            let target: any BlockDevice =
                extras.offset > 0 ? ShiftedDevice(device, by: extras.offset) : device
            let maker = try VolumeMaker(target, layout, isZeroed: isZeroed)
            var line = ProgressLine("making")
            maker.progress = { line.show("groups", done: UInt64($0), total: UInt64($1)) }
            try maker.makeEmptyRoot()
            try maker.makeOwnFiles()
            try maker.finish()
            ProgressLine.clear()
        } catch {
            ProgressLine.clear()
            let words =
                error == .noSpace
                ? "the volume is too small for what it has of its own"
                : CommandFailure.words(for: error)
            throw CommandFailure("\(Quoted(image.bytes)): \(words)")
        }
    }

    func show(_ layout: VolumeLayout) throws {
        if layout.lacksJournal, !quiet {
            Complaint.write("the volume is too small for a journal")
        }
        var output = Output()
        if json {
            try output.write(MkfsText.object(layout).text)
        } else if !quiet || isDry {
            for line in MkfsText.lines(of: layout, isVerbose: verbose) { try output.line(line) }
        }
        try output.flush()
    }
}
