import CHostTree
package import Ext4

/// A kind of volume to try crashes on.
package struct CrashVolume: Sendable {
    /// Its name, as the command takes it.
    package let name: String
    /// What mke2fs is told, without a size.
    package let options: String
    /// Its size.
    package let kibibytes: Int
    /// What the journal does for contents.
    package var dataMode = OpenOptions.DataMode.ordered
    /// How many blocks of the journal are in use: few, so that the log goes round.
    package var logBlocks: UInt32 = 128
    /// How many blocks stay free; nil for all that there are.
    package var freeBlocks: Int?

    /// Whether it has a journal. Without one, a crash leaves what e2fsck can repair, no more.
    package var hasJournal: Bool { !options.contains("^has_journal") }

    /// Every kind.
    package static let all: [CrashVolume] = [
        CrashVolume(name: "ordered", options: "-t ext4 -b 1024 -J size=1", kibibytes: 2560),
        CrashVolume(
            name: "journal", options: "-t ext4 -b 1024 -J size=1", kibibytes: 2560,
            dataMode: .journal),
        CrashVolume(
            name: "writeback", options: "-t ext4 -b 1024 -J size=1", kibibytes: 2560,
            dataMode: .writeback),
        CrashVolume(
            name: "tight", options: "-t ext4 -b 1024 -J size=1", kibibytes: 2560, freeBlocks: 24),
        CrashVolume(
            name: "orphan-file", options: "-t ext4 -b 1024 -J size=1 -O orphan_file",
            kibibytes: 2560),
        CrashVolume(
            name: "inline", options: "-t ext4 -b 1024 -J size=1 -O inline_data", kibibytes: 2560),
        CrashVolume(
            name: "values", options: "-t ext4 -b 1024 -J size=1 -O ea_inode", kibibytes: 2560),
        CrashVolume(
            name: "ext3", options: "-t ext3 -b 1024 -I 256 -J size=1", kibibytes: 2560),
        CrashVolume(
            name: "ext3-journal", options: "-t ext3 -b 1024 -I 256 -J size=1", kibibytes: 2560,
            dataMode: .journal),
        CrashVolume(name: "4k", options: "-t ext4 -b 4096 -J size=4", kibibytes: 9216),
        CrashVolume(
            name: "no-journal", options: "-t ext4 -b 1024 -O ^has_journal", kibibytes: 1536),
    ]

    /// The kind with that name.
    package static func named(_ name: String) -> CrashVolume? { all.first { $0.name == name } }

    /// How such a volume is opened.
    func openOptions(_ clock: CrashClock) -> OpenOptions {
        var options = OpenOptions()
        options.access = .readWrite
        options.dataMode = dataMode
        options.accessTimes = .never
        options.cacheBytes = 1 << 20
        options.clock = { clock.now }
        return options
    }

    private static let uuid = "01234567-89ab-cdef-0123-456789abcdef"

    /// Makes one, with the files that workloads expect, and with poison in its free blocks.
    package func makeImage() throws(CrashFailure) -> DeviceImage {
        let scratch = try ScratchFile()
        try scratch.resize(kibibytes << 10)
        let output = try ScratchFile()
        let status = HostProgram.run(
            [
                "mke2fs", "-F", "-q", "-N", "64", "-m", "0", "-U", Self.uuid, "-E",
                "hash_seed=\(Self.uuid),nodiscard,lazy_itable_init=0,lazy_journal_init=0",
            ]
                + options.split(separator: " ").map(String.init) + [scratch.path],
            output: output.path)
        guard status == 0 else {
            throw CrashFailure("mke2fs \(options): \(status): \(output.text)")
        }
        let image = try scratch.load()
        var step = "its journal"
        do throws(Ext4Error) {
            return try prepare(image, &step)
        } catch {
            throw CrashFailure("cannot prepare the volume \(name): \(step): \(error)")
        }
    }

    /// Gives the volume its files, and free blocks their poison.
    private func prepare(
        _ image: DeviceImage, _ step: inout String
    ) throws(Ext4Error) -> DeviceImage {
        let device = LayeredDevice(image)
        let options = openOptions(CrashClock())
        if hasJournal { try Volume.shortenLog(of: device, to: logBlocks) }
        let volume = try Volume.open(device, options: options)
        var actor = CrashActor(volume)
        for operation in CrashOperation.fixture {
            step = operation.description
            do throws(Ext4Error) {
                try actor.run(operation)
            } catch {
                // An indirect map cannot have space that reads as zeros.
                guard error == .notSupported else { throw error }
            }
        }
        step = "its free blocks"
        try volume.close()
        if let freeBlocks {
            // Opened again: nothing is set aside for files that may grow.
            let volume = try Volume.open(device, options: options)
            try fill(volume, leaving: freeBlocks)
            try volume.close()
        }
        try poison(device, options)
        return device.flattened()
    }

    private func fill(_ volume: Volume, leaving count: Int) throws(Ext4Error) {
        let root = try volume.root()
        let file = try volume.create(
            "filler", in: root, NewInode(mode: FileMode(rawValue: 0o100600)))
        // In pieces: the map of a file in many runs takes blocks, too.
        let piece = 8 * UInt64(volume.blockSize)
        var offset: UInt64 = 0
        while volume.statistics().availableBlocks > UInt64(count) + 8 {
            try volume.change(.allocate(keepsSize: true), of: file, at: offset, count: piece)
            offset += piece
        }
    }

    private func poison(_ device: LayeredDevice, _ options: OpenOptions) throws(Ext4Error) {
        var options = options
        options.access = .readOnly
        let volume = try Volume.open(device, options: options)
        let superblock = volume.superblock
        let size = volume.blockSize
        let block = [UInt8](repeating: 0, count: size).indices.map {
            CrashOracle.poison[$0 % CrashOracle.poison.count]
        }
        for value in 0..<superblock.groupCount {
            let group = try volume.groupDescriptor(GroupNumber(value))
            guard !group.flags.contains(.blockUninit) else { continue }
            let bits = try device.read(
                at: group.blockBitmap.rawValue * UInt64(size), count: size)
            let first =
                UInt64(value) * UInt64(superblock.blocksPerGroup)
                + UInt64(superblock.firstDataBlock)
            for bit in 0..<UInt64(superblock.blocksPerGroup)
            where first + bit < superblock.blocksCount
                && bits[Int(bit / 8)] >> UInt8(bit % 8) & 1 == 0
            {
                device.put(block[...], at: Int(first + bit) * size)
            }
        }
    }
}
