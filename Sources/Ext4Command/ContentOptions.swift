internal import ArgumentParser
internal import Ext4
internal import Ext4Host
internal import Glibc

/// The options of `ext4 mkfs` that say what is to be in the volume.
struct ContentOptions: ParsableArguments {
    @Option(
        name: [.customLong("from"), .customShort("d")],
        help: ArgumentHelp(
            """
            What is to be in it: a directory with everything below it, or a tar archive (also \
            compressed), which - reads from standard input. Several come one after another.
            """, valueName: "source"))
    var sources: [PathArgument] = []

    @Option(
        name: .customLong("from-oci"),
        help: ArgumentHelp(
            "A container image in an OCI layout, its layers in order.", valueName: "dir[:name]"))
    var layout: PathArgument?

    @Option(
        help: ArgumentHelp(
            "Of a container image for several, the one for linux/amd64, linux/arm64, …",
            valueName: "platform"))
    var platform: String?

    @Option(
        name: .customLong("size"),
        help: ArgumentHelp(
            """
            auto makes the volume as small as it can be, auto+64M with so much free, and inodes \
            for that (-i); or a size. \
            With contents a new file is auto if nothing is said.
            """, valueName: "size"))
    var wantedSize: String?

    @Option(
        name: .customLong("owner"),
        help: ArgumentHelp("Who owns everything: 0:0.", valueName: "user:group"))
    var owner: OwnerArgument?

    @Option(
        name: .customLong("chmod"),
        help: ArgumentHelp("What becomes of permissions: u=rwX,go=rX.", valueName: "mode"))
    var modeChange: String?

    @Option(
        help: ArgumentHelp(
            """
            A table of owners, permissions and devices: name type mode uid gid major minor start \
            inc count.
            """, valueName: "file"))
    var table: PathArgument?

    @Flag(help: "Leave out what cannot be taken over, and make the image all the same.")
    var skip = false

    @Flag(name: .customLong("one-file-system"), help: "Leave directories of others empty.")
    var staysOnFileSystem = false

    /// Whether anything is to be in the volume, or its size is to be found.
    var isGiven: Bool {
        !sources.isEmpty || layout != nil || table != nil || isAutomatic
    }

    private var isAutomatic: Bool { wantedSize?.hasPrefix("auto") == true }

    /// The size that was given by `--size`, in bytes.
    ///
    /// - Returns: nil where none was given, or `auto`.
    func fixedSize(blockSize: Int?) throws(CommandFailure) -> UInt64? {
        guard let wantedSize, !isAutomatic else { return nil }
        guard let size = LengthArgument(argument: wantedSize)?.bytes(blockSize: blockSize),
            size <= Int64.max
        else {
            throw CommandFailure("--size is auto, auto+AMOUNT or a size such as 2G")
        }
        return size
    }

    /// The size of the volume: as small as it can be where nothing else is said.
    private func size(_ byteCount: UInt64?) throws(CommandFailure) -> ImageBuilder.Size {
        if isAutomatic {
            guard byteCount == nil else {
                throw CommandFailure("--size auto finds the size: give no other")
            }
            return .automatic(free: try free())
        }
        return byteCount.map { .fixed($0) } ?? .automatic(free: 0)
    }

    private func free() throws(CommandFailure) -> UInt64 {
        let rest = wantedSize?.dropFirst("auto".count) ?? ""
        guard !rest.isEmpty else { return 0 }
        guard rest.first == "+",
            let free = ByteCountArgument(argument: String(rest.dropFirst()))?.count
        else { throw CommandFailure("--size is auto, auto+AMOUNT or a size such as 2G") }
        return free
    }

    // MARK: Making

    /// Makes an image in a file that gets its name when it is complete.
    ///
    /// - Parameters:
    ///   - byteCount: the size; nil for `auto`.
    ///   - replaces: whether a file with that name makes place.
    /// - Returns: what the volume looks like.
    func make(
        _ path: [UInt8], _ format: FormatOptions, byteCount: UInt64?, replaces: Bool
    ) throws -> VolumeLayout {
        let size = try size(byteCount)
        Interruption.watch()
        let image = try emptyImage(path, size)
        let (layout, end) = try fill(image.device, path, format, size, isZeroed: true)
        do throws(SystemFailure) {
            try image.commit(byteCount: byteCount ?? end, replaces: replaces)
        } catch {
            throw CommandFailure("\(error)")
        }
        return layout
    }

    /// A file with room for an image of that size; with `auto`, for as much as the file system lets a
    /// file have.
    private func emptyImage(_ path: [UInt8], _ size: ImageBuilder.Size) throws -> NewImage {
        // A limit of the process is told as an error, too.
        _ = Glibc.signal(SIGXFSZ, SIG_IGN)
        var lengths: [UInt64] = (30...43).reversed().map { 1 << $0 }
        if case .fixed(let count) = size { lengths = [count] }
        var failure = SystemFailure("create", path, errno: EFBIG)
        for length in lengths where failure.errno == EFBIG {
            do throws(SystemFailure) {
                return try NewImage(path: path, byteCount: length)
            } catch {
                failure = error
            }
        }
        throw CommandFailure("\(failure)")
    }

    /// Makes the volume on a device that is there.
    func make(
        on device: any BlockDevice, _ path: [UInt8], _ format: FormatOptions, byteCount: UInt64,
        isZeroed: Bool
    ) throws -> VolumeLayout {
        guard case .fixed(let count) = try size(byteCount) else {
            throw CommandFailure("--size auto is for image files")
        }
        return try fill(device, path, format, .fixed(count), isZeroed: isZeroed).layout
    }

    private func fill(
        _ device: any BlockDevice, _ path: [UInt8], _ format: FormatOptions,
        _ size: ImageBuilder.Size, isZeroed: Bool
    ) throws -> (layout: VolumeLayout, end: UInt64) {
        let builder: ImageBuilder
        do throws(FormatProblem) {
            builder = try ImageBuilder(device, format, size: size, isZeroed: isZeroed)
        } catch {
            throw CommandFailure("\(Quoted(path)): \(error)")
        }
        // What is built from sources has no times of its own then.
        if unsafe getenv("SOURCE_DATE_EPOCH") != nil { builder.latestTime = format.time }
        var progress = ProgressLine("copied")
        let contents = ImageImport(builder, try importOptions()) {
            Transfer.tell($0, &progress) { Quoted($0).description }
        }
        do throws(ImageImport.Failure) {
            try add(to: contents)
            ProgressLine.clear()
        } catch {
            ProgressLine.clear()
            throw CommandFailure("\(Quoted(path)): \(error)")
        }
        guard contents.problems == 0 || skip else {
            throw CommandFailure(
                """
                \(Quoted(path)): not made: \(contents.problems) \
                \(contents.problems == 1 ? "problem" : "problems"); --skip makes it without what \
                cannot be taken over
                """)
        }
        let end: UInt64
        builder.progress = { done, total in
            progress.show("contents", done: done, total: total)
            return !Interruption.isThere
        }
        do throws(Ext4Error) {
            end = try builder.finish()
            ProgressLine.clear()
        } catch {
            ProgressLine.clear()
            guard !Interruption.isThere else { throw CommandFailure("interrupted") }
            let words =
                switch error {
                case .noSpace:
                    "the volume is too small for what is to be in it: it needs more blocks, or "
                        + "more inodes (-N, -i)"
                case .tooManyLinks:
                    "a directory has too many others in it for a volume without dir_nlink"
                default: CommandFailure.words(for: error)
                }
            throw CommandFailure("\(Quoted(path)): \(words)")
        }
        guard !Interruption.isThere else { throw CommandFailure("interrupted") }
        return (builder.layout, end)
    }

    private func importOptions() throws(CommandFailure) -> ImageImport.Options {
        var options = ImageImport.Options()
        options.userID = owner?.userID
        options.groupID = owner?.groupID
        options.staysOnFileSystem = staysOnFileSystem
        options.isInterrupted = { Interruption.isThere }
        if let modeChange {
            guard let change = ModeChange(modeChange, umask: 0) else {
                throw CommandFailure(
                    "--chmod does not know \(modeChange): it is 755 or u=rwX,go=rX")
            }
            options.permissions = { change.applied(to: $0, isDirectory: $1) }
        }
        return options
    }

    private func add(to contents: ImageImport) throws(ImageImport.Failure) {
        if let layout { try contents.addContainer(try container(layout.bytes)) }
        for source in sources { try add(source.bytes, to: contents) }
        guard let table else { return }
        let file = try read(table.bytes)
        let parsed: DeviceTable
        do throws(DeviceTable.Problem) {
            parsed = try DeviceTable(parsing: file)
        } catch {
            throw ImageImport.Failure("\(Quoted(table.bytes)): \(error)")
        }
        try contents.apply(parsed)
    }

    private func add(
        _ source: [UInt8], to contents: ImageImport
    ) throws(ImageImport.Failure) {
        if source == [0x2D] { return try contents.addTar(STDIN_FILENO, path: source) }
        var status = stat()
        let name = source.map { CChar(bitPattern: $0) } + [0]
        guard unsafe stat(name, &status) == 0 else {
            throw ImageImport.Failure("\(Quoted(source)): \(SystemFailure.words(for: errno))")
        }
        if status.st_mode & S_IFMT == S_IFDIR { return try contents.addTree(at: source) }
        let descriptor = unsafe open(name, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw ImageImport.Failure("\(Quoted(source)): \(SystemFailure.words(for: errno))")
        }
        defer { close(descriptor) }
        try contents.addTar(descriptor, path: source)
    }

    /// The container image at `DIR` or `DIR:NAME`.
    private func container(_ path: [UInt8]) throws(ImageImport.Failure) -> ContainerImage {
        var chosen: ContainerImage.Platform?
        if let platform {
            guard let parsed = ContainerImage.Platform(platform) else {
                throw ImageImport.Failure("--platform is such as linux/arm64, not \(platform)")
            }
            chosen = parsed
        }
        var directory = path
        var reference: String?
        let name = path.map { CChar(bitPattern: $0) } + [0]
        if unsafe access(name, F_OK) != 0, let colon = Self.separator(in: path) {
            directory = Array(path[..<colon])
            reference = String(decoding: path[(colon + 1)...], as: UTF8.self)
        }
        do throws(ContainerImage.Problem) {
            let image = try ContainerImage(
                directory: directory, reference: reference, platform: chosen)
            try image.verify()
            return image
        } catch {
            throw ImageImport.Failure(error.description)
        }
    }

    /// The first colon behind a directory that is there: names of images have colons too.
    private static func separator(in path: [UInt8]) -> Int? {
        path.indices.first { index in
            guard path[index] == UInt8(ascii: ":") else { return false }
            let name = path[..<index].map { CChar(bitPattern: $0) } + [0]
            return unsafe access(name, F_OK) == 0
        }
    }

    private func read(_ path: [UInt8]) throws(ImageImport.Failure) -> [UInt8] {
        let name = path.map { CChar(bitPattern: $0) } + [0]
        let descriptor = unsafe open(name, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw ImageImport.Failure("\(Quoted(path)): \(SystemFailure.words(for: errno))")
        }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var part = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = unsafe part.withUnsafeMutableBytes {
                unsafe Glibc.read(descriptor, $0.baseAddress, $0.count)
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0, bytes.count < 64 << 20 else { return bytes }
            bytes += part[..<count]
        }
    }
}
