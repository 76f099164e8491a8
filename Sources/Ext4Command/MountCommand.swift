internal import ArgumentParser
internal import Ext4
internal import Ext4Host
internal import Ext4Mount
internal import Glibc
internal import Synchronization

/// `ext4 mount`: a volume as a directory of the system, through FUSE.
struct MountCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "mount",
        abstract: "Mount a volume on a directory.",
        discussion: """
            The volume in IMAGE, an image file or a block device, appears under DIRECTORY. The \
            command goes to the background and serves it until it is unmounted, with umount or, \
            by an ordinary user, with fusermount3 -u. SIGTERM, SIGINT and SIGHUP unmount it too; \
            SIGUSR2 has it log how large its cache of metadata is and how often that served.

            The volume is mounted for reading and writing, read-only with -o ro, or where the \
            image cannot be written. One that was not unmounted cleanly is recovered first; \
            read-only, it is shown as its journal says it is, and nothing is written to it. What \
            a program made durable (fsync) survives the end of this process, whatever ends it.

            What goes wrong before the volume is mounted is reported here, with a status that \
            is not 0; what goes wrong later goes to the system's log.

            OPTIONS are those of mount(8) and of the kernel's ext4, parted by commas. Those \
            that say something here:

              rw, ro              for reading and writing (the default), or read-only
              commit=N            commit every N seconds (5)
              cache=SIZE          the memory for metadata, and as much at most for what waits in \
            the journal, such as 8M (32M)
              data=ordered|writeback|journal
                                  what the journal does for the contents of files (ordered)
              writeback_cache     let the kernel gather small writes
              grpid               new files take the group of their directory
              noatime relatime strictatime
                                  when reading changes access times (relatime)
              sb=N                with ro: use the superblock at byte N * 1024
              noload              with ro: leave the journal alone, show the volume as it lies
              errors=continue|remount-ro|panic
                                  panic: end the mount at the first corruption
              noacl               neither show nor obey access control lists
              nouser_xattr        do not show attributes of the user namespace
              minixdf             count the volume's own structures in its size
              allow_other         let all users in (the default for root)
              allow_root          let root in
              auto_unmount        unmount also when the process is killed
              nosuid nodev noexec ...
                                  as with any mount

            Other options of the kernel's ext4 are accepted; an unknown one is refused.
            """)

    @Argument(help: "The image file or block device.")
    var image: String

    @Argument(help: "The directory to mount it on.")
    var directory: String

    @Option(
        name: [.customShort("o"), .customLong("options")],
        help: ArgumentHelp("Options, parted by commas.", valueName: "options"))
    var optionLists: [String] = []

    @Flag(name: .shortAndLong, help: "Stay in the foreground.")
    var foreground = false

    @Flag(name: .shortAndLong, help: "Log what recovery, checks and the mount do.")
    var verbose = false

    func run() throws {
        do throws(MountFailure) {
            let options = try MountOptions(parsing: optionLists)
            let mountPoint = try Self.realPath(directory)
            let source = try Self.realPath(image)
            let log = MountLog(least: verbose ? .debug : .warning)

            // From here on the child reports. Before it there is no thread and no lock.
            let background = foreground ? nil : try Background.detach()
            let volume = try open(source, options, log: log.log)
            let mount = try Mount(
                volume, source: source, at: mountPoint, options: options, log: log.log)
            try mount.serve {
                guard let background else { return }
                log.useSystemLog()
                background.reportReady()
            }
        } catch {
            throw CommandFailure(error.description)
        }
    }

    private func open(
        _ source: String, _ options: MountOptions, log: Log
    ) throws(MountFailure) -> Volume {
        do throws(Ext4Error) {
            return try options.open(try device(source, options), log: log)
        } catch {
            throw MountFailure(CommandFailure(opening: image, error).message ?? error.description)
        }
    }

    /// The device, for writing unless that was forbidden or cannot be.
    private func device(
        _ source: String, _ options: MountOptions
    ) throws(Ext4Error) -> FileDevice {
        let isLookedAt = options.superblock != nil || options.ignoresJournal
        guard options.writes != false, !isLookedAt || options.writes == true else {
            return try FileDevice(path: source)
        }
        do throws(Ext4Error) {
            return try FileDevice(path: source, access: .readWrite)
        } catch {
            guard options.writes == nil, case .io(let failure) = error,
                [EACCES, EROFS, EPERM].contains(failure.errno)
            else { throw error }
            Complaint.write("\(image) is write-protected: mounted read-only")
            return try FileDevice(path: source)
        }
    }

    /// The absolute path with no symbolic links, as the kernel's table of mounts shows it.
    private static func realPath(_ path: String) throws(MountFailure) -> String {
        let bytes = PathArgument(argument: path)?.bytes ?? []
        guard let real = unsafe realpath(bytes.map { CChar(bitPattern: $0) } + [0], nil) else {
            throw MountFailure("\(Quoted(bytes)): \(SystemFailure.words(for: errno))")
        }
        defer { unsafe free(real) }
        return unsafe String(cString: real)
    }
}

/// Where a mount's messages go: to the terminal while it is there, then to the system's log.
private final class MountLog: Sendable {
    private let least: LogLevel
    private let usesSystemLog = Atomic(false)

    init(least: LogLevel) { self.least = least }

    var log: Log {
        Log(least: least) { [self] level, message in
            if usesSystemLog.load(ordering: .acquiring) {
                SystemLog.send(level, message)
            } else {
                Complaint.write(message)
            }
        }
    }

    func useSystemLog() { usesSystemLog.store(true, ordering: .releasing) }
}
