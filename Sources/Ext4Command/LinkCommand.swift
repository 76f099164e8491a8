internal import ArgumentParser
internal import Ext4
internal import Ext4Host
internal import Glibc

/// `ext4 ln`: makes hard and symbolic links in a volume.
struct LinkCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ln",
        abstract: "Make links between files of a volume.",
        usage: "ext4 ln [<options>] <image> <target> ... <link>",
        discussion: """
            LINK becomes a further name of the file TARGET, or with -s a symbolic link that holds \
            TARGET as it is given: whether that leads anywhere is not looked at, and when it does \
            not begin with / it is seen from the link's directory. When LINK is a directory, the \
            links are made in it, each under the last part of its TARGET.

            EXAMPLES
              ext4 ln disk.img /bin/busybox /bin/sh
              ext4 ln -s disk.img ../usr/share/zoneinfo/Europe/Berlin /etc/localtime
              ext4 ln -sfn disk.img releases/42 /srv/current

            EXIT STATUS
              0 when all were made, 1 otherwise.
            """)

    @Flag(name: .shortAndLong, help: "Make symbolic links.")
    var symbolic = false

    @Flag(name: .shortAndLong, help: "Replace files that have the name.")
    var force = false

    @Flag(
        name: [.short, .customLong("no-dereference")],
        help: "When LINK is a symbolic link to a directory, it is the name itself.")
    var noDereference = false

    @Flag(
        name: [.customShort("T"), .customLong("no-target-directory")],
        help: "LINK is a name, also when a directory has it.")
    var noTargetDirectory = false

    @Argument(help: "The image file or block device.")
    var image: String

    @Argument(
        help: ArgumentHelp("The targets, and the link as the last one.", valueName: "path"))
    var paths: [PathArgument]

    @OptionGroup var options: ChangeOptions

    func validate() throws {
        guard paths.count > 1 else { throw ValidationError("Missing expected argument '<link>'") }
    }

    func run() throws {
        guard let last = paths.last else { return }
        let targets = paths.dropLast()
        try options.change(image) { (change) throws(CommandFailure) in
            let destination = try change.destination(
                last.bytes, sources: targets.count, isName: isName(last.bytes, change.volume))
            for target in targets {
                var refusal: String?
                change.attempt(symbolic ? last.bytes : target.bytes) {
                    (volume) throws(Ext4Error) in
                    refusal = try link(target.bytes, destination, volume)
                }
                if let refusal { change.complain(target.bytes, refusal) }
            }
        }
    }

    private func isName(_ path: [UInt8], _ volume: Volume) -> Bool {
        if noTargetDirectory { return true }
        guard noDereference else { return false }
        return (try? volume.inode(atPath: path, followingSymlinks: false))?.type == .symlink
    }

    /// - Returns: why not, in words.
    private func link(
        _ target: [UInt8], _ destination: Destination, _ volume: Volume
    ) throws(Ext4Error) -> String? {
        let place = try destination.place(for: target)
        guard !place.isDirectory else { throw .notDirectory }
        let existing = try volume.find(place)
        if existing?.isDirectory == true { return "a directory has the link's name" }
        if existing != nil, !force { return "the link's name is taken (-f replaces what has it)" }
        if symbolic {
            let new = NewInode.symlink(to: target, userID: geteuid(), groupID: getegid())
            try volume.occupy(place, replaces: force) { (name) throws(Ext4Error) in
                _ = try volume.create(name, in: place.directory, new)
            }
            return nil
        }
        let inode = try volume.inode(atPath: target, followingSymlinks: false)
        if inode.isDirectory { return "a directory cannot have a second name; -s links to it" }
        if inode === existing { return "is the same file already" }
        try volume.occupy(place, replaces: force) { (name) throws(Ext4Error) in
            try volume.link(inode, as: name, in: place.directory)
        }
        return nil
    }
}
