internal import ArgumentParser
internal import Ext4
internal import Ext4Host

/// `ext4 touch`: sets the times of files in a volume, and makes files.
struct TouchCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "touch",
        abstract: "Set the times of files in a volume; make those that are not there.",
        discussion: """
            Without -a or -m both the time of access and that of modification are set, to now or \
            to the time of -d or -t.

            TIME of -d is @SECONDS since 1970, now, or a date: YYYY-MM-DD, perhaps with hh:mm, \
            hh:mm:ss or hh:mm:ss.fraction behind a blank or T, and then a time zone (Z, +0200); \
            without one it is local. STAMP of -t is [[CC]YY]MMDDhhmm[.ss].

            EXAMPLES
              ext4 touch disk.img /forcefsck
              ext4 touch -d @1700000000 disk.img /etc/hostname /etc/hosts

            EXIT STATUS
              0 when all were touched, 1 otherwise.
            """)

    @Flag(name: .customShort("a"), help: "The time of access only.")
    var access = false

    @Flag(name: .customShort("m"), help: "The time of modification only.")
    var modification = false

    @Flag(name: [.customShort("c"), .customLong("no-create")], help: "Make no files.")
    var noCreate = false

    @Flag(
        name: [.customShort("h"), .customLong("no-dereference")],
        help: "A symbolic link's own times.")
    var noDereference = false

    @Option(
        name: .shortAndLong, parsing: .unconditional,
        help: ArgumentHelp("The time.", valueName: "time"))
    var date: TimeArgument?

    @Option(name: .customShort("t"), help: ArgumentHelp("The time.", valueName: "stamp"))
    var stamp: StampArgument?

    /// The value of `-t`.
    struct StampArgument: ExpressibleByArgument {
        let time: Timestamp

        init?(argument: String) {
            guard let time = TimeArgument.stamp(argument) else { return nil }
            self.time = time
        }
    }

    @Argument(help: "The image file or block device.")
    var image: String

    @Argument(help: ArgumentHelp("The files.", valueName: "path"))
    var paths: [PathArgument]

    @OptionGroup var options: ChangeOptions

    func validate() throws {
        guard date == nil || stamp == nil else {
            throw ValidationError("-d and -t both name the time: give one of them")
        }
    }

    func run() throws {
        let named = date?.time ?? stamp?.time
        let time = named.map { AttributeChanges.Time.at($0) } ?? .now
        var changes = AttributeChanges()
        if access || !modification { changes.accessTime = time }
        if modification || !access { changes.modificationTime = time }
        let wanted = changes
        try options.change(image) { (change) throws(CommandFailure) in
            for path in paths {
                change.attempt(path.bytes) { (volume) throws(Ext4Error) in
                    guard let inode = try inode(path.bytes, volume) else { return }
                    try volume.setAttributes(wanted, of: inode)
                }
            }
        }
    }

    private func inode(_ path: [UInt8], _ volume: Volume) throws(Ext4Error) -> Inode? {
        do throws(Ext4Error) {
            return try volume.inode(atPath: path, followingSymlinks: !noDereference)
        } catch {
            guard error == .notFound else { throw error }
            // As touch(1): a link itself is never made.
            guard !noCreate, !noDereference else {
                guard noCreate else { throw error }
                return nil
            }
            return try volume.createFile(atPath: path)
        }
    }
}

extension Volume {
    /// Makes an empty file for who runs the command.
    func createFile(atPath path: [UInt8]) throws(Ext4Error) -> Inode {
        let place = try place(atPath: path)
        guard !place.isDirectory else { throw .notFound }
        do throws(Ext4Error) {
            return try create(place.name, in: place.directory, .owned(mode: 0o100666))
        } catch {
            // The name is that of a symbolic link that leads nowhere.
            guard error == .exists else { throw error }
            throw .notFound
        }
    }
}
