internal import ArgumentParser
internal import Ext4
internal import Ext4Host
internal import Glibc

/// `ext4 get`: copies files and trees out of a volume.
struct GetCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "get",
        abstract: "Copy files and directories out of a volume.",
        discussion: """
            SOURCE, a file or a directory in the volume, is copied with all that is below it: \
            contents with their holes, modes, times to the nanosecond, extended attributes and \
            ACLs, symbolic links as such, files with several names as such. Owners, devices and \
            what else is root's to make are kept when root copies.

            When DESTINATION is a directory that exists, the copy goes into it, under the name \
            that SOURCE has; the root directory, or a SOURCE that ends in /., puts what is in it \
            there. Otherwise DESTINATION is the name of the copy.

            Nothing is overwritten: what exists already is reported and left alone. Nothing in \
            the volume makes anything appear outside the destination.

            EXAMPLES
              ext4 get disk.img /etc/fstab .
              ext4 get disk.img /home/me ./saved
              ext4 get disk.img / ./everything

            EXIT STATUS
              0 when all was copied, 1 when anything was not: standard error names it.
            """)

    @Argument(help: "The image file or block device.")
    var image: String

    @Argument(help: "The file or directory in the volume.")
    var source: PathArgument

    @Argument(help: "The file or directory of this system.")
    var destination: PathArgument

    @OptionGroup var options: ImageOptions

    func run() throws {
        let volume = try options.open(image)
        let inode = try options.inode(
            source.bytes, in: volume, of: image,
            followingSymlinks: source.bytes.last == 0x2F)
        var progress = ProgressLine("copied")
        let copy = TreeCopy(volume) { event in
            Transfer.tell(event, image: image, source: source.bytes, &progress)
        }
        do throws(SystemFailure) {
            try run(copy, inode)
        } catch {
            throw CommandFailure("\(error)")
        }
        ProgressLine.clear()
        if copy.problems > 0 { throw Transfer.failure(copy.problems, image: image) }
    }

    private func run(_ copy: TreeCopy, _ inode: Inode) throws(SystemFailure) {
        let name = Self.name(of: source.bytes)
        guard Self.isDirectory(destination.bytes) else {
            // A new name in a directory that exists.
            var path = destination.bytes
            while path.count > 1, path.last == 0x2F { path.removeLast() }
            let slash = path.lastIndex(of: 0x2F)
            let parent = slash.map { $0 == 0 ? [0x2F] : Array(path[..<$0]) } ?? [0x2E]
            try copy.copy(inode, as: Array(path[(slash.map { $0 + 1 } ?? 0)...]), into: parent)
            return
        }
        if let name {
            try copy.copy(inode, as: name, into: destination.bytes)
        } else {
            try copy.copyContents(of: inode, into: destination.bytes)
        }
    }

    /// The last part of a path in the volume; nil for one that means a directory's contents.
    static func name(of path: [UInt8]) -> [UInt8]? {
        let parts = path.split(separator: 0x2F)
        guard let last = parts.last, !last.elementsEqual([0x2E]), !last.elementsEqual([0x2E, 0x2E])
        else { return nil }
        return Array(last)
    }

    private static func isDirectory(_ path: [UInt8]) -> Bool {
        var status = stat()
        let cPath = path.map { CChar(bitPattern: $0) } + [0]
        return unsafe stat(cPath, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
    }
}

/// How commands that go through trees tell a person what they do.
enum Transfer {
    static func tell(
        _ event: TransferEvent, image: String, source: [UInt8], _ progress: inout ProgressLine
    ) {
        tell(event, &progress) { path in
            "\(Quoted(image.utf8)): \(Quoted(VolumeChange.join(source, path)))"
        }
    }

    /// Tells of something whose place is shown as `shown` has it.
    static func tell(
        _ event: TransferEvent, _ progress: inout ProgressLine, shown: ([UInt8]) -> String
    ) {
        switch event {
        case .progress(let path, let files, let bytes):
            progress.show(path: path, files: files, bytes: bytes)
        case .problem(let path, let words): Complaint.write("\(shown(path)): \(words)")
        case .remark(let path, let words):
            Complaint.write("\(shown(path)): \(words) (said once)")
        }
    }

    static func failure(_ problems: UInt64, image: String) -> CommandFailure {
        CommandFailure(
            """
            \(Quoted(image.utf8)): not complete: \(problems) \
            \(problems == 1 ? "problem" : "problems")
            """)
    }
}
