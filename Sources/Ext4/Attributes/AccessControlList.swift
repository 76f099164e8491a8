/// A POSIX access control list of a file, or the default one of a directory.
public struct AccessControlList: Hashable, Sendable {
    /// Which of the two lists of an inode.
    public enum Kind: Hashable, Sendable {
        /// Who may do what with the file.
        case access
        /// What a new entry of the directory gets.
        case `default`
    }

    /// Whom an entry is for.
    public enum Tag: Hashable, Sendable {
        /// The file's owner.
        case userObject
        /// The user of that id.
        case user(UInt32)
        /// The file's group.
        case groupObject
        /// The group of that id.
        case group(UInt32)
        /// The most that any entry but the owner's and `other` gives.
        case mask
        /// Everybody else.
        case other
    }

    /// What an entry allows.
    public struct Permissions: OptionSet, Hashable, Sendable {
        /// The bits, as in a file's mode.
        public let rawValue: UInt16
        /// Makes a set from its bits.
        public init(rawValue: UInt16) { self.rawValue = rawValue }
        /// Reading.
        public static let read = Permissions(rawValue: 4)
        /// Writing.
        public static let write = Permissions(rawValue: 2)
        /// Executing, or searching a directory.
        public static let execute = Permissions(rawValue: 1)
    }

    /// One line of a list.
    public struct Entry: Hashable, Sendable {
        /// Whom it is for.
        public var tag: Tag
        /// What it allows.
        public var permissions: Permissions

        /// Makes an entry.
        public init(_ tag: Tag, _ permissions: Permissions) {
            self.tag = tag
            self.permissions = permissions
        }

        /// The id of the user or the group, where the entry is for one.
        public var id: UInt32? {
            switch tag {
            case .user(let id), .group(let id): id
            default: nil
            }
        }
    }

    /// The lines, in the order of the disk.
    public var entries: [Entry]

    /// Makes a list.
    public init(_ entries: [Entry]) { self.entries = entries }

    /// The rule of POSIX.1e that the list breaks, in words; nil when it is good.
    ///
    /// Exactly one entry for the owner, the group and the others, a mask where there are further
    /// ones, each user and each group once, in the order owner, users, group, groups, mask, others.
    var brokenRule: String? {
        var last = -1
        var seen: Set<Tag> = []
        var needsMask = false
        for entry in entries {
            guard entry.permissions.rawValue & ~7 == 0 else { return "unknown permission bits" }
            guard entry.tag.rank >= last else { return "the entries are not in order" }
            last = entry.tag.rank
            guard seen.insert(entry.tag).inserted else { return "two entries for the same" }
            if entry.id != nil { needsMask = true }
        }
        for tag in [Tag.userObject, .groupObject, .other] where !seen.contains(tag) {
            return "the owner, the group or the others have no entry"
        }
        return needsMask && !seen.contains(.mask) ? "the mask is missing" : nil
    }
}

extension AccessControlList.Tag {
    /// The place in a list.
    fileprivate var rank: Int {
        switch self {
        case .userObject: 0
        case .user: 1
        case .groupObject: 2
        case .group: 3
        case .mask: 4
        case .other: 5
        }
    }

    /// `e_tag` of both encodings.
    fileprivate var record: AccessControlRecord.Tag {
        switch self {
        case .userObject: .userObject
        case .user: .user
        case .groupObject: .groupObject
        case .group: .group
        case .mask: .mask
        case .other: .other
        }
    }

    /// The tag of `e_tag`, with an id for those that need one.
    fileprivate init?(_ tag: AccessControlRecord.Tag, id: UInt32?) {
        switch tag {
        case .userObject: self = .userObject
        case .groupObject: self = .groupObject
        case .mask: self = .mask
        case .other: self = .other
        case .user, .group:
            guard let id else { return nil }
            self = tag == .user ? .user(id) : .group(id)
        }
    }
}

extension AccessControlList {
    private typealias Record = AccessControlRecord

    /// Reads the encoding of the disk. A list may have no entries: then the file has none.
    ///
    /// - Throws: `Ext4Error.corrupt` when it is cut off, or holds an unknown version or tag.
    init(onDisk bytes: RawSpan, at place: Corruption.Place) throws(Ext4Error) {
        entries = []
        // No bytes at all are no list, to the kernel too.
        guard bytes.byteCount > 0 else { return }
        try Self.checkVersion(of: bytes, Record.diskVersion, at: place)
        var offset = Record.Header.size
        while offset < bytes.byteCount {
            let entry = try Self.entry(of: bytes, at: offset, place)
            offset &+= entry.id == nil ? Record.Entry.shortSize : Record.Entry.size
            entries.append(entry)
        }
    }

    /// Reads the encoding of the attributes `system.posix_acl_access` and `…_default`.
    ///
    /// - Throws: `Ext4Error.corrupt` when it is cut off, or holds an unknown version or tag.
    public init(attributeValue bytes: [UInt8]) throws(Ext4Error) {
        entries = []
        let bytes = unsafe bytes.span.bytes
        try Self.checkVersion(of: bytes, Record.attributeVersion, at: .init())
        guard (bytes.byteCount &- Record.Header.size) % Record.Entry.size == 0 else {
            throw .corrupt(.accessControlList, .truncated)
        }
        var offset = Record.Header.size
        while offset < bytes.byteCount {
            entries.append(try Self.entry(of: bytes, at: offset, .init()))
            offset &+= Record.Entry.size
        }
    }

    private static func checkVersion(
        of bytes: RawSpan, _ version: UInt32, at place: Corruption.Place
    ) throws(Ext4Error) {
        guard bytes.byteCount >= Record.Header.size else {
            throw .corrupt(.accessControlList, at: place, .truncated)
        }
        guard bytes[Record.Header.version] == version else {
            throw .corrupt(
                .accessControlList, at: place,
                .field(
                    "a_version", value: UInt64(bytes[Record.Header.version]), rule: "\(version)"))
        }
    }

    private static func entry(
        of bytes: RawSpan, at offset: Int, _ place: Corruption.Place
    ) throws(Ext4Error) -> Entry {
        var place = place
        place.byteOffset = offset
        let left = bytes.byteCount &- offset
        guard left >= Record.Entry.shortSize else {
            throw .corrupt(.accessControlList, at: place, .truncated)
        }
        let number = bytes[Record.Entry.tag.at(offset)]
        let id = left >= Record.Entry.size ? bytes[Record.Entry.id.at(offset)] : nil
        guard let record = Record.Tag(rawValue: number), let tag = Tag(record, id: id) else {
            throw .corrupt(
                .accessControlList, at: place,
                .field("e_tag", value: UInt64(number), rule: "a known tag, with its id"))
        }
        return Entry(tag, Permissions(rawValue: bytes[Record.Entry.permissions.at(offset)]))
    }

    /// The encoding of the disk.
    var onDisk: [UInt8] {
        var bytes = Self.littleEndian(Record.diskVersion)
        for entry in entries {
            bytes += Self.littleEndian(entry.tag.record.rawValue)
            bytes += Self.littleEndian(entry.permissions.rawValue)
            if let id = entry.id { bytes += Self.littleEndian(id) }
        }
        return bytes
    }

    /// The encoding of the attributes `system.posix_acl_access` and `system.posix_acl_default`.
    public var attributeValue: [UInt8] {
        var bytes = Self.littleEndian(Record.attributeVersion)
        for entry in entries {
            bytes += Self.littleEndian(entry.tag.record.rawValue)
            bytes += Self.littleEndian(entry.permissions.rawValue)
            bytes += Self.littleEndian(entry.id ?? Record.noID)
        }
        return bytes
    }

    private static func littleEndian<Value: FixedWidthInteger>(_ number: Value) -> [UInt8] {
        var bytes: [UInt8] = []
        for shift in stride(from: 0, to: Value.bitWidth, by: 8) {
            bytes.append(UInt8(truncatingIfNeeded: number >> Value(truncatingIfNeeded: shift)))
        }
        return bytes
    }
}

extension AccessControlList: CustomStringConvertible {
    /// The list as `getfacl -n` prints it, one entry a line.
    public var description: String {
        var lines = ""
        for entry in entries {
            if !lines.isEmpty { lines += "\n" }
            lines += entry.description
        }
        return lines
    }
}

extension AccessControlList.Entry: CustomStringConvertible {
    /// The entry as `getfacl -n` prints it.
    public var description: String {
        let subject =
            switch tag {
            case .userObject: "user:"
            case .user(let id): "user:\(id)"
            case .groupObject: "group:"
            case .group(let id): "group:\(id)"
            case .mask: "mask:"
            case .other: "other:"
            }
        return "\(subject):\(permissions)"
    }
}

extension AccessControlList.Permissions: CustomStringConvertible {
    /// The permissions as `ls` prints them.
    public var description: String {
        (contains(.read) ? "r" : "-") + (contains(.write) ? "w" : "-")
            + (contains(.execute) ? "x" : "-")
    }
}
