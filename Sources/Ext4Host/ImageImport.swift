internal import CLinux
public import Ext4
internal import Glibc

/// Fills an image that is being made: from a tree of the host, from tar archives, from the layers of
/// a container image, and from a table of owners and devices.
///
/// What cannot be taken over is told and counted, and the rest goes on; who makes the image decides
/// what it is worth then. The order of the calls is the order of the layers: what comes later
/// replaces what has the same name.
public final class ImageImport {
    /// How files are taken over.
    public struct Options {
        /// The owner of everything; nil for the one of the source.
        public var userID: UInt32?
        /// The owning group of everything; nil for the one of the source.
        public var groupID: UInt32?
        /// What becomes of permissions; nil leaves them.
        public var permissions: ((_ old: UInt16, _ isDirectory: Bool) -> UInt16)?
        /// Whether directories of another file system are left empty.
        public var staysOnFileSystem = false
        /// Asked now and then; with true the import ends with a failure.
        public var isInterrupted: () -> Bool = { false }

        /// The defaults.
        public init() {}
    }

    /// Why an import cannot go on.
    public struct Failure: Error, Hashable, Sendable, CustomStringConvertible {
        /// The words.
        public let description: String

        /// Makes a failure of its words.
        public init(_ description: String) { self.description = description }
    }

    let builder: ImageBuilder
    let options: Options
    private let tell: (TransferEvent) -> Void
    private var remarks: Set<String> = []
    private var files: UInt64 = 0
    /// What of a source is not to be written, by its place in the image: it would be replaced.
    var isSkipped: ((ImageNode) -> Bool)?
    /// `O_NOATIME`, as long as the system takes it.
    var accessFlag: Int32 = linux_no_access_time()

    /// How many problems were told.
    public private(set) var problems: UInt64 = 0

    /// Prepares an import.
    ///
    /// - Parameter tell: told how far it is and what is left out, by the path in the source.
    public init(
        _ builder: ImageBuilder, _ options: Options, tell: @escaping (TransferEvent) -> Void
    ) {
        self.builder = builder
        self.options = options
        self.tell = tell
    }

    // MARK: What is told

    func problem(_ path: [UInt8], _ words: String) {
        problems += 1
        tell(.problem(path: path, words))
    }

    func remark(_ path: [UInt8], _ words: String) {
        if remarks.insert(words).inserted { tell(.remark(path: path, words)) }
    }

    /// Says that a file is there, and ends the import when somebody wants that.
    func report(_ path: @autoclosure () -> [UInt8]) throws(Failure) {
        files += 1
        // A clock is looked at a few times a second, not for each small file.
        if files & 63 == 0 { try showProgress(path()) }
    }

    func showProgress(_ path: [UInt8]) throws(Failure) {
        guard !options.isInterrupted() else { throw Failure("interrupted") }
        tell(.progress(path: path, files: files, bytes: builder.byteCount))
    }

    // MARK: Into the image

    /// Runs a change of the image. Errors that are one file's become a problem; others end all.
    ///
    /// - Returns: nil after a problem.
    func attempt<Result>(
        _ path: @autoclosure () -> [UInt8], _ change: () throws(Ext4Error) -> Result
    ) throws(Failure) -> Result? {
        do throws(Ext4Error) {
            return try change()
        } catch {
            switch error {
            case .io, .noSpace, .corrupt, .busy: throw Failure(words(for: error))
            default:
                problem(path(), "not put into the image: \(error)")
                return nil
            }
        }
    }

    private func words(for error: Ext4Error) -> String {
        switch error {
        case .noSpace: "the image is too small for what is to be in it"
        case .io(let failure) where failure.errno != 0:
            "the image cannot be written: \(SystemFailure.words(for: failure.errno))"
        default: "the image cannot be written: \(error)"
        }
    }

    /// The attributes that the image can hold; each of the others is told.
    func accepted(
        _ attributes: [ExtendedAttribute], of type: FileType, _ path: @autoclosure () -> [UInt8]
    ) -> [ExtendedAttribute] {
        guard !attributes.isEmpty else { return [] }
        if (try? builder.checkAttributes(attributes, of: type)) != nil { return attributes }
        var kept: [ExtendedAttribute] = []
        for attribute in attributes.sorted(by: { $0.value.count < $1.value.count }) {
            do throws(Ext4Error) {
                try builder.checkAttributes(kept + [attribute], of: type)
                kept.append(attribute)
            } catch {
                let name = "the extended attribute \(Quoted(attribute.name.bytes))"
                switch error {
                case .notSupported, .notPermitted:
                    remark(path(), "\(name) is left out: \(error)")
                case .attributeTooLarge:
                    problem(
                        path(),
                        "\(name) is left out: its \(attribute.value.count) bytes do not fit into "
                            + "an inode and a block (-O ea_inode makes room)")
                default: problem(path(), "\(name) is left out: \(error)")
                }
            }
        }
        return kept
    }

    /// Attributes of a node with that mode in the image: where permissions are changed, an access list
    /// follows, as it does for `chmod`.
    func permitted(_ attributes: [ExtendedAttribute], _ mode: FileMode) -> [ExtendedAttribute] {
        options.permissions == nil ? attributes : AccessControlList.changing(attributes, to: mode)
    }

    /// Mode and owner as they are wanted in the image.
    func described(mode: UInt16, userID: UInt32, groupID: UInt32) -> NewImageNode {
        var mode = mode
        if let change = options.permissions, mode & 0o170000 != 0o120000 {
            let isDirectory = mode & 0o170000 == 0o040000
            mode = mode & 0o170000 | change(mode & 0o7777, isDirectory) & 0o7777
        }
        return NewImageNode(
            mode: FileMode(rawValue: mode), userID: options.userID ?? userID,
            groupID: options.groupID ?? groupID)
    }
}
