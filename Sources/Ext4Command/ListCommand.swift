internal import ArgumentParser
internal import Ext4
internal import Ext4Host
internal import Glibc

/// `ext4 ls`: what is in directories.
struct ListCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ls",
        abstract: "List directories.",
        discussion: """
            For each PATH that is a directory, what is in it, ordered by the bytes of the names; \
            for any other, itself. Without a PATH it is the root directory. Owners are shown by \
            number: the names of this system need not be those of the volume.

            On a terminal, what could steer it stands as \\nnn; elsewhere names are written as \
            they are. With --json, the text of a name that is not UTF-8 is what can be shown of \
            it, and nameBytes has its bytes in hexadecimal.

            EXAMPLES
              ext4 ls disk.img
              ext4 ls -l disk.img /etc /home
              ext4 ls -R --json disk.img / | jq -r '.[].path'

            EXIT STATUS
              0 when all was listed, 1 otherwise.
            """)

    @Argument(help: "The image file or block device.")
    var image: String

    @Argument(help: ArgumentHelp("The directories or files.", valueName: "path"))
    var paths: [PathArgument] = []

    @Flag(name: .customShort("l"), help: "One line for each with type, mode, owner, size, time.")
    var isLong = false

    @Flag(name: [.customShort("R"), .customLong("recursive")], help: "And what is below.")
    var isRecursive = false

    @Flag(name: [.customShort("a"), .customLong("all")], help: "Also names that begin with a dot.")
    var showsAll = false

    @Flag(name: [.customShort("d"), .customLong("directory")], help: "Directories themselves.")
    var showsDirectories = false

    @Flag(name: [.customShort("i"), .customLong("inode")], help: "With the inode's number.")
    var showsNumbers = false

    @Flag(help: "Write an array of objects.")
    var json = false

    @OptionGroup var options: ImageOptions

    func run() throws {
        let volume = try options.open(image)
        var listing = Listing(self, volume)
        let paths = paths.isEmpty ? [PathArgument([0x2F])] : paths
        // Files first, then directories, as `ls` does.
        var directories: [(path: [UInt8], inode: Inode)] = []
        for path in paths.map(\.bytes) {
            do throws(CommandFailure) {
                // The link itself with -l and -d, where it leads to otherwise.
                let inode = try options.inode(
                    path, in: volume, of: image,
                    followingSymlinks: !(isLong || showsDirectories))
                if inode.isDirectory, !showsDirectories {
                    directories.append((path, inode))
                } else {
                    try listing.add(path, inode, directory: nil)
                }
            } catch {
                try listing.failed(error)
            }
        }
        listing.showsHeads = paths.count > 1 || isRecursive
        try listing.endGroup()
        for (path, inode) in directories { try listing.list(path, inode) }
        try listing.finish()
    }
}

/// The state of one listing.
private struct Listing {
    private let command: ListCommand
    private let volume: Volume
    private var output = Output()
    private var rows: [Row] = []
    private var groups = 0
    private var failures = 0
    private var isFirstObject = true
    private var entered = InodeSet()
    private let now = Int64(time(nil))
    var showsHeads = false

    private struct Row {
        let name: [UInt8]
        let path: [UInt8]
        let number: InodeNumber
        /// Nil when it was not needed or could not be read.
        let inode: Inode?
        let type: FileType
        var target: [UInt8]?
    }

    init(_ command: ListCommand, _ volume: Volume) {
        self.command = command
        self.volume = volume
    }

    /// Tells what went wrong and goes on; a failure that says nothing ends the command.
    mutating func failed(_ failure: CommandFailure) throws(CommandFailure) {
        guard let message = failure.message else { throw failure }
        try output.flush()
        Complaint.write(message)
        failures += 1
    }

    /// Adds a file to the group that is listed next.
    mutating func add(
        _ name: [UInt8], _ inode: Inode, directory: [UInt8]?
    ) throws(CommandFailure) {
        let path = directory.map { Self.join($0, name) } ?? name
        var row = Row(
            name: name, path: path, number: inode.number, inode: inode, type: inode.type)
        if inode.type == .symlink, command.isLong || command.json {
            do throws(Ext4Error) {
                row.target = try volume.symlinkTarget(of: inode)
            } catch {
                try failed(CommandFailure(error, image: command.image, path: path))
            }
        }
        rows.append(row)
    }

    /// Lists a directory, and with -R those below it.
    mutating func list(_ path: [UInt8], _ inode: Inode) throws(CommandFailure) {
        // A stack and no recursion: how deep it goes is the image's to say.
        var waiting = [(path: path, number: inode.number)]
        while let next = waiting.popLast() {
            guard !command.isRecursive || entered.insert(next.number) else {
                try failed(
                    CommandFailure(
                        """
                        \(Quoted(command.image.utf8)): \(Quoted(next.path)): the directory (inode \
                        \(next.number)) is in the tree a second time: not listed again
                        """))
                continue
            }
            do throws(Ext4Error) {
                try gather(next.path, try volume.inode(next.number))
            } catch {
                try failed(CommandFailure(error, image: command.image, path: next.path))
            }
            rows.sort { $0.name.lexicographicallyPrecedes($1.name) }
            if command.isRecursive {
                for row in rows.reversed()
                where row.type == .directory && row.name != [0x2E] && row.name != [0x2E, 0x2E] {
                    waiting.append((row.path, row.number))
                }
            }
            try endGroup(head: next.path)
        }
    }

    private mutating func gather(_ path: [UInt8], _ directory: Inode) throws(Ext4Error) {
        let needsInodes =
            command.isLong || command.json || !volume.superblock.incompatible.contains(.filetype)
        var problems: [(path: [UInt8], error: Ext4Error)] = []
        defer {
            for problem in problems {
                Complaint.write(
                    CommandFailure(problem.error, image: command.image, path: problem.path)
                        .message ?? "")
            }
            failures += problems.count
        }
        try volume.readDirectory(directory) { (entry) throws(Ext4Error) -> Bool in
            let name = entry.name.bytes
            guard command.showsAll || name.first != 0x2E else { return true }
            var row = Row(
                name: name, path: Self.join(path, name), number: entry.inode, inode: nil,
                type: entry.type)
            if needsInodes {
                do throws(Ext4Error) {
                    let inode = try volume.inode(entry.inode)
                    row = Row(
                        name: name, path: row.path, number: entry.inode, inode: inode,
                        type: inode.type)
                    if inode.type == .symlink { row.target = try volume.symlinkTarget(of: inode) }
                } catch {
                    problems.append((row.path, error))
                }
            }
            rows.append(row)
            return true
        }
    }

    /// Writes what was gathered.
    mutating func endGroup(head: [UInt8]? = nil) throws(CommandFailure) {
        defer { rows = [] }
        if command.json { return try writeObjects() }
        guard head != nil || !rows.isEmpty else { return }
        if showsHeads, let head {
            if groups > 0 { try output.write("\n") }
            try output.write(Output.name(head) + Array(":\n".utf8))
        }
        groups += 1
        if command.isLong { return try writeLong() }
        let width = rows.map { "\($0.number)".utf8.count }.max() ?? 0
        for row in rows {
            if command.showsNumbers {
                try output.write(Self.right("\(row.number)", width) + " ")
            }
            try output.write(Output.name(row.name) + [0x0A])
        }
    }

    private mutating func writeLong() throws(CommandFailure) {
        let columns = rows.map { row -> [String] in
            guard let inode = row.inode else { return ["\(row.number)", "?", "?", "?", "?", "?"] }
            let size =
                inode.device.map { "\($0.major), \($0.minor)" } ?? "\(volume.shownSize(of: inode))"
            return [
                "\(row.number)", inode.mode.letters, "\(inode.linkCount)", "\(inode.userID)",
                "\(inode.groupID)", size,
            ]
        }
        let widths = (0..<6).map { column in columns.map { $0[column].utf8.count }.max() ?? 0 }
        for (row, texts) in zip(rows, columns) {
            var line = command.showsNumbers ? Self.right(texts[0], widths[0]) + " " : ""
            line += row.inode == nil ? row.type.letter + "?????????" : texts[1]
            for column in 2..<6 { line += " " + Self.right(texts[column], widths[column]) }
            line += " "
            line +=
                row.inode.map { TimeText.short($0.modificationTime, now: now) } ?? "           ?"
            try output.write(Array((line + " ").utf8) + Output.name(row.name))
            if let target = row.target {
                try output.write(Array(" -> ".utf8) + Output.name(target))
            }
            try output.write("\n")
        }
    }

    private mutating func writeObjects() throws(CommandFailure) {
        for row in rows {
            try output.write(isFirstObject ? "[\n" : ",\n")
            isFirstObject = false
            var members = JSONText.name("name", row.name) + JSONText.name("path", row.path)
            if let inode = row.inode {
                members += InodeText.members(of: inode, in: volume)
            } else {
                members.append(("inode", .number(row.number.rawValue)))
                members.append(("type", .string(row.type.key)))
            }
            if let target = row.target { members += JSONText.name("target", target) }
            try output.write(JSONText.object(members).compactText)
        }
    }

    mutating func finish() throws(CommandFailure) {
        if command.json { try output.write(isFirstObject ? "[]\n" : "\n]\n") }
        try output.flush()
        if failures > 0 { throw CommandFailure(quiet: EXIT_FAILURE) }
    }

    private static func join(_ directory: [UInt8], _ name: [UInt8]) -> [UInt8] {
        directory.last == 0x2F ? directory + name : directory + [0x2F] + name
    }

    private static func right(_ text: String, _ width: Int) -> String {
        String(repeating: " ", count: max(0, width - text.utf8.count)) + text
    }
}
