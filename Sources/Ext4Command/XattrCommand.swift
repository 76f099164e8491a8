internal import ArgumentParser
internal import Ext4
internal import Ext4Host
internal import Glibc

/// `ext4 xattr`: extended attributes.
struct XattrCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "xattr",
        abstract: "Show and change the extended attributes of a file.",
        discussion: """
            Names carry their prefix, as getfattr shows them: user., trusted., security. and \
            system. ACLs are the attributes system.posix_acl_access and system.posix_acl_default.
            """,
        subcommands: [
            ListAttributes.self, GetAttribute.self, SetAttributeCommand.self,
            RemoveAttributeCommand.self,
        ])

    /// A value for people: as text where it is text, in hexadecimal otherwise.
    static func shown(_ value: [UInt8]) -> String {
        let text = Quoted(value).description
        guard Array(text.utf8) == value else { return "0x" + JSONText.hexadecimal(value) }
        return "\"" + text + "\""
    }
}

/// `ext4 xattr list`: all attributes of a file.
struct ListAttributes: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "List the extended attributes of a file with their values.",
        discussion: """
            One NAME=VALUE on a line. A value that is no printable text is shown in hexadecimal, \
            after 0x. A symbolic link is followed, without -h.

            EXAMPLES
              ext4 xattr list disk.img /home/me/file

            EXIT STATUS
              0 when all were shown (also when there are none), 1 otherwise.
            """)

    @Argument(help: "The image file or block device.")
    var image: String

    @Argument(help: "The file.")
    var path: PathArgument

    @Flag(name: [.customShort("h"), .long], help: "A symbolic link's own attributes.")
    var noDereference = false

    @Flag(help: "Names only.")
    var names = false

    @OptionGroup var options: ImageOptions

    func run() throws {
        let volume = try options.open(image)
        let inode = try options.inode(
            path.bytes, in: volume, of: image, followingSymlinks: !noDereference)
        var output = Output()
        do throws(Ext4Error) {
            if names {
                for name in try volume.extendedAttributeNames(of: inode) {
                    try? output.write(Output.name(name.bytes) + [0x0A])
                }
            } else {
                for attribute in try volume.extendedAttributes(of: inode) {
                    try? output.line(
                        "\(Quoted(attribute.name.bytes))=\(XattrCommand.shown(attribute.value))")
                }
            }
        } catch {
            throw CommandFailure(error, image: image, path: path.bytes)
        }
        try output.flush()
    }
}

/// `ext4 xattr get`: one attribute of a file.
struct GetAttribute: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "get",
        abstract: "Write the value of one extended attribute to standard output.",
        discussion: """
            The value is written as it is, byte for byte; on a terminal it is shown as xattr list \
            shows it.

            EXAMPLES
              ext4 xattr get disk.img /usr/bin/ping security.capability | xxd

            EXIT STATUS
              0 when there is such an attribute, 1 otherwise.
            """)

    @Argument(help: "The image file or block device.")
    var image: String

    @Argument(help: "The file.")
    var path: PathArgument

    @Argument(help: "The attribute, with its prefix.")
    var name: PathArgument

    @Flag(name: [.customShort("h"), .long], help: "A symbolic link's own attribute.")
    var noDereference = false

    @OptionGroup var options: ImageOptions

    func run() throws {
        let volume = try options.open(image)
        let inode = try options.inode(
            path.bytes, in: volume, of: image, followingSymlinks: !noDereference)
        let value: [UInt8]
        do throws(Ext4Error) {
            value = try volume.extendedAttribute(FileName(name.bytes), of: inode)
        } catch {
            if error == .noAttribute {
                throw CommandFailure(
                    """
                    \(Quoted(image.utf8)): \(Quoted(path.bytes)): no extended attribute \
                    \(Quoted(name.bytes))
                    """)
            }
            throw CommandFailure(error, image: image, path: path.bytes)
        }
        var output = Output()
        if Output.isTerminal {
            try output.line(XattrCommand.shown(value))
        } else {
            try output.write(value)
        }
        try output.flush()
    }
}
