internal import ArgumentParser
internal import Ext4
internal import Ext4Host
internal import Logging

/// The options of all commands that read a volume.
struct ImageOptions: ParsableArguments {
    @Option(
        name: [.customShort("b"), .customLong("sb")],
        help: ArgumentHelp(
            "Use the superblock at this block of the volume.",
            discussion: "Without it the first one is used, and a backup when that one is bad.",
            valueName: "block"))
    var superblock: UInt64?

    @Flag(help: "Show the volume without what only its journal holds.")
    var noReplay = false

    @Flag(help: "Read on where a checksum does not match.")
    var ignoreChecksums = false

    @OptionGroup var log: LogOptions

    /// What the engine opens the volume with.
    var openOptions: OpenOptions {
        var options = OpenOptions()
        if let superblock {
            options.superblock = .backup(atBlock: BlockNumber(superblock), blockSize: nil)
        }
        if noReplay { options.journal = .ignore }
        options.verifiesChecksums = !ignoreChecksums
        options.log = Log(log.logger)
        return options
    }

    /// Opens a volume for reading.
    func open(_ image: String, claim: FileDevice.Claim = .locked) throws(CommandFailure) -> Volume {
        do throws(Ext4Error) {
            let device = try FileDevice(path: image, claim: claim)
            if log.level <= .info, let use = DeviceUse.find(path: image) {
                log.logger.info(
                    """
                    \(Quoted(image.utf8)) is mounted\(use.mountPoint.map { " on " + $0 } ?? ""): \
                    what is read here may be older than what is seen there
                    """)
            }
            return try Volume.open(device, options: openOptions)
        } catch {
            throw CommandFailure(opening: image, error)
        }
    }

    /// Finds a file by its path.
    func inode(
        _ path: [UInt8], in volume: Volume, of image: String, followingSymlinks: Bool = true
    ) throws(CommandFailure) -> Inode {
        do throws(Ext4Error) {
            return try volume.inode(atPath: path, followingSymlinks: followingSymlinks)
        } catch {
            throw CommandFailure(error, image: image, path: path)
        }
    }
}
