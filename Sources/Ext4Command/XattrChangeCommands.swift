internal import ArgumentParser
internal import Ext4
internal import Ext4Host
internal import Glibc

/// `ext4 xattr set`: gives an attribute a value.
struct SetAttributeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "set",
        abstract: "Give an extended attribute of a file a value.",
        discussion: """
            VALUE is text, or bytes: in hexadecimal behind 0x, in Base64 behind 0s, or with - \
            what comes from standard input. Without VALUE it is empty. A symbolic link is \
            followed, without -h.

            EXAMPLES
              ext4 xattr set disk.img /srv/file user.origin 'the old server'
              getfattr --only-values -n security.capability /bin/ping |
                  ext4 xattr set disk.img /bin/ping security.capability -

            EXIT STATUS
              0 when the attribute has the value now, 1 otherwise.
            """)

    @Argument(help: "The image file or block device.")
    var image: String

    @Argument(help: "The file.")
    var path: PathArgument

    @Argument(help: "The attribute, with its prefix.")
    var name: PathArgument

    @Argument(help: "The value: text, 0x…, 0s… or -.")
    var value = PathArgument([])

    @Flag(help: "An attribute that is there already is a failure.")
    var create = false

    @Flag(help: "An attribute that is not there is a failure.")
    var replace = false

    @Flag(name: [.customShort("h"), .long], help: "A symbolic link's own attribute.")
    var noDereference = false

    @OptionGroup var options: ChangeOptions

    func validate() throws {
        guard !create || !replace else {
            throw ValidationError("--create and --replace exclude each other")
        }
    }

    func run() throws {
        let bytes = try AttributeValue.bytes(of: value.bytes)
        let mode: AttributeExistence =
            create ? .create : replace ? .replace : .createOrReplace
        try options.change(image) { (change) throws(CommandFailure) in
            var refusal: String?
            change.attempt(path.bytes) { (volume) throws(Ext4Error) in
                let inode = try volume.inode(
                    atPath: path.bytes, followingSymlinks: !noDereference)
                do throws(Ext4Error) {
                    try volume.setExtendedAttribute(
                        FileName(name.bytes), to: bytes, of: inode, mode: mode)
                } catch {
                    refusal = Self.words(for: error, name.bytes)
                    if refusal == nil { throw error }
                }
            }
            if let refusal { change.complain(path.bytes, refusal) }
        }
    }

    /// What an error means when it comes from an attribute.
    private static func words(for error: Ext4Error, _ name: [UInt8]) -> String? {
        let shown = Quoted(name)
        return switch error {
        case .exists: "the extended attribute \(shown) is there already"
        case .noAttribute: "no extended attribute \(shown)"
        case .notSupported:
            "no extended attribute can be called \(shown): names begin with user., trusted., "
                + "security. or system."
        case .noSpace: "there is no room for the value with the file"
        case .notPermitted:
            "an attribute called user. is for files and directories only, and for none that must "
                + "not be changed"
        default: nil
        }
    }
}

/// `ext4 xattr rm`: takes attributes away.
struct RemoveAttributeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rm",
        abstract: "Take extended attributes away from a file.",
        discussion: """
            A symbolic link is followed, without -h.

            EXAMPLES
              ext4 xattr rm disk.img /srv/file user.origin

            EXIT STATUS
              0 when all were there and are gone, 1 otherwise.
            """)

    @Argument(help: "The image file or block device.")
    var image: String

    @Argument(help: "The file.")
    var path: PathArgument

    @Argument(help: ArgumentHelp("The attributes, with their prefix.", valueName: "name"))
    var names: [PathArgument]

    @Flag(name: [.customShort("h"), .long], help: "A symbolic link's own attributes.")
    var noDereference = false

    @OptionGroup var options: ChangeOptions

    func run() throws {
        try options.change(image) { (change) throws(CommandFailure) in
            for name in names {
                var isMissing = false
                change.attempt(path.bytes) { (volume) throws(Ext4Error) in
                    let inode = try volume.inode(
                        atPath: path.bytes, followingSymlinks: !noDereference)
                    do throws(Ext4Error) {
                        try volume.removeExtendedAttribute(FileName(name.bytes), of: inode)
                    } catch {
                        guard error == .noAttribute else { throw error }
                        isMissing = true
                    }
                }
                if isMissing {
                    change.complain(path.bytes, "no extended attribute \(Quoted(name.bytes))")
                }
            }
        }
    }
}

/// Values of extended attributes as they are given.
enum AttributeValue {
    static func bytes(of argument: [UInt8]) throws(CommandFailure) -> [UInt8] {
        if argument == [UInt8(ascii: "-")] { return try standardInput() }
        let prefix = argument.prefix(2).map { $0 | 0x20 }
        if prefix == Array("0x".utf8) {
            guard let bytes = hexadecimal(argument.dropFirst(2)) else {
                throw CommandFailure(
                    "behind 0x stand pairs of hexadecimal digits", status: EX_USAGE)
            }
            return bytes
        }
        if prefix == Array("0s".utf8) {
            guard let bytes = base64(argument.dropFirst(2)) else {
                throw CommandFailure("behind 0s stands Base64", status: EX_USAGE)
            }
            return bytes
        }
        return argument
    }

    private static func hexadecimal(_ digits: ArraySlice<UInt8>) -> [UInt8]? {
        let values = digits.compactMap { Character(Unicode.Scalar($0)).hexDigitValue }
        guard values.count == digits.count, values.count % 2 == 0 else { return nil }
        return stride(from: 0, to: values.count, by: 2).map {
            UInt8(values[$0] << 4 | values[$0 + 1])
        }
    }

    private static func base64(_ text: ArraySlice<UInt8>) -> [UInt8]? {
        let alphabet = Array(
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
        let body = text.filter { $0 != UInt8(ascii: "=") }
        let values = body.compactMap { alphabet.firstIndex(of: $0) }
        guard values.count == body.count, text.count % 4 == 0, text.count - body.count < 3 else {
            return nil
        }
        var bytes: [UInt8] = []
        var bits = 0
        var count = 0
        for value in values {
            bits = (bits << 6 | value) & 0xFFFF
            count += 6
            guard count >= 8 else { continue }
            count -= 8
            bytes.append(UInt8(truncatingIfNeeded: bits >> count))
        }
        return bytes
    }

    /// All of standard input, if it is not longer than a value can be.
    private static func standardInput() throws(CommandFailure) -> [UInt8] {
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        while bytes.count <= Volume.maximumAttributeSize {
            let count = unsafe read(STDIN_FILENO, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else {
                throw CommandFailure(
                    "cannot read standard input: \(SystemFailure.words(for: errno))")
            }
            if count == 0 { return bytes }
            bytes += buffer[..<count]
        }
        throw CommandFailure("standard input: \(Ext4Error.attributeTooLarge)")
    }
}
