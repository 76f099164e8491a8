// POSIX access control lists. Two encodings of the same list: the disk's, version 1, leaves the
// id out where none is needed; that of the attributes `system.posix_acl_*`, version 2, does not.

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
    fileprivate var rawValue: UInt16 {
        switch self {
        case .userObject: 0x01  // ACL_USER_OBJ
        case .user: 0x02  // ACL_USER
        case .groupObject: 0x04  // ACL_GROUP_OBJ
        case .group: 0x08  // ACL_GROUP
        case .mask: 0x10  // ACL_MASK
        case .other: 0x20  // ACL_OTHER
        }
    }

    /// The tag of `e_tag`, with an id for those that need one.
    fileprivate init?(rawValue: UInt16, id: () -> UInt32?) {
        switch rawValue {
        case 0x01: self = .userObject
        case 0x04: self = .groupObject
        case 0x10: self = .mask
        case 0x20: self = .other
        case 0x02, 0x08:
            guard let id = id() else { return nil }
            self = rawValue == 0x02 ? .user(id) : .group(id)
        default: return nil
        }
    }
}

extension AccessControlList {
    private typealias Layout = AccessControlRecord

    /// Reads the encoding of the disk. A list may have no entries: then the file has none.
    ///
    /// - Throws: `Ext4Error.corrupt` when it is cut off, or holds an unknown version or tag.
    init(onDisk bytes: RawSpan, at place: Corruption.Place) throws(Ext4Error) {
        entries = []
        // No bytes at all are no list, to the kernel too.
        guard bytes.byteCount > 0 else { return }
        try Self.checkVersion(of: bytes, Layout.diskVersion, at: place)
        var offset = Layout.header
        while offset < bytes.byteCount {
            var place = place
            place.byteOffset = offset
            let left = bytes.byteCount &- offset
            guard left >= Layout.short else {
                throw .corrupt(.accessControlList, at: place, .truncated)
            }
            let entry = try Self.entry(of: bytes, at: offset, place) {
                left >= Layout.long ? bytes[Layout.id.at(offset)] : nil
            }
            offset &+= entry.id == nil ? Layout.short : Layout.long
            entries.append(entry)
        }
    }

    /// Reads the encoding of the attributes `system.posix_acl_access` and `…_default`.
    ///
    /// - Throws: `Ext4Error.corrupt` when it is cut off, or holds an unknown version or tag.
    public init(attributeValue bytes: [UInt8]) throws(Ext4Error) {
        entries = []
        let bytes = unsafe bytes.span.bytes
        try Self.checkVersion(of: bytes, Layout.attributeVersion, at: .init())
        guard (bytes.byteCount &- Layout.header) % Layout.long == 0 else {
            throw .corrupt(.accessControlList, .truncated)
        }
        var offset = Layout.header
        while offset < bytes.byteCount {
            entries.append(
                try Self.entry(of: bytes, at: offset, .init(byteOffset: offset)) {
                    bytes[Layout.id.at(offset)]
                })
            offset &+= Layout.long
        }
    }

    private static func checkVersion(
        of bytes: RawSpan, _ version: UInt32, at place: Corruption.Place
    ) throws(Ext4Error) {
        guard bytes.byteCount >= Layout.header else {
            throw .corrupt(.accessControlList, at: place, .truncated)
        }
        guard bytes[Layout.version] == version else {
            throw .corrupt(
                .accessControlList, at: place,
                .field(
                    "a_version", value: UInt64(bytes[Layout.version]), rule: "\(version)"))
        }
    }

    private static func entry(
        of bytes: RawSpan, at offset: Int, _ place: Corruption.Place, id: () -> UInt32?
    ) throws(Ext4Error) -> Entry {
        let rawTag = bytes[Layout.tag.at(offset)]
        guard let tag = Tag(rawValue: rawTag, id: id) else {
            throw .corrupt(
                .accessControlList, at: place,
                .field("e_tag", value: UInt64(rawTag), rule: "a known tag, with its id"))
        }
        return Entry(tag, Permissions(rawValue: bytes[Layout.permissions.at(offset)]))
    }

    /// The encoding of the disk.
    var onDisk: [UInt8] {
        var bytes = Self.littleEndian(Layout.diskVersion)
        for entry in entries {
            bytes += Self.littleEndian(entry.tag.rawValue)
            bytes += Self.littleEndian(entry.permissions.rawValue)
            if let id = entry.id { bytes += Self.littleEndian(id) }
        }
        return bytes
    }

    /// The encoding of the attributes `system.posix_acl_access` and `system.posix_acl_default`.
    public var attributeValue: [UInt8] {
        var bytes = Self.littleEndian(Layout.attributeVersion)
        for entry in entries {
            bytes += Self.littleEndian(entry.tag.rawValue)
            bytes += Self.littleEndian(entry.permissions.rawValue)
            bytes += Self.littleEndian(entry.id ?? Layout.noID)
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
