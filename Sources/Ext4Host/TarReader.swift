internal import CArchive
internal import CLinux
internal import Ext4
internal import Glibc

// The reading end of libarchive, for tar in all its forms, compressed or not. Names shall come out
// byte for byte as they stand in the archive. libarchive takes UTF-8 through the locale of the
// thread, and brings it into a normal form on the way: two names that differ in nothing else would
// become one. In a locale that has no more than ASCII that fails, and what fails it leaves as it is.

/// A tar archive that is being read.
@safe final class TarReader {
    /// What libarchive could not do, in its words.
    struct Failure: Error, CustomStringConvertible {
        let description: String
        /// Whether it is not the archive that failed, but who takes it over.
        var isOthers = false
    }

    /// The header of an entry.
    struct Header {
        var path: [UInt8] = []
        /// `S_IFMT` and permissions; no type for a hard link.
        var mode: UInt16 = 0
        var userID: UInt32 = 0
        var groupID: UInt32 = 0
        /// Whether owner and group are numbers that a volume can have.
        var isOwnerKnown = true
        var size: UInt64 = 0
        var modificationTime: Timestamp?
        var accessTime: Timestamp?
        var changeTime: Timestamp?
        /// What a hard link is to.
        var link: [UInt8]?
        var target: [UInt8] = []
        var device: DeviceNumber?
        /// Whether parts of the contents are holes.
        var isSparse = false
        var attributes: [ExtendedAttribute] = []
    }

    private let archive: OpaquePointer
    private var entry: OpaquePointer?

    private static let blockSize = 1 << 20

    /// Begins to read what comes out of an open descriptor, which stays the caller's.
    init(descriptor: Int32) throws(Failure) {
        guard let archive = unsafe archive_read_new() else {
            throw Failure(description: "out of memory")
        }
        unsafe self.archive = archive
        try check(unsafe archive_read_support_filter_all(archive))
        try check(unsafe archive_read_support_format_tar(archive))
        // So that it is known for what it is.
        try check(unsafe archive_read_support_format_empty(archive))
        try check(unsafe archive_read_open_fd(archive, descriptor, Self.blockSize))
    }

    deinit { unsafe archive_read_free(archive) }

    /// Goes to the next entry; nil at the end.
    func next() throws(Failure) -> Header? {
        let previous = unsafe linux_locale_bytes()
        defer { unsafe linux_locale_restore(previous) }
        let result = unsafe archive_read_next_header(archive, &entry)
        if result == ARCHIVE_EOF {
            // Not one byte: whoever was to write it has failed.
            guard unsafe archive_format(archive) != ARCHIVE_FORMAT_EMPTY else {
                throw Failure(description: "it is empty, and no archive")
            }
            return nil
        }
        // A warning is about a name that is more than ASCII, which is there all the same.
        guard result == ARCHIVE_OK || result == ARCHIVE_WARN, let entry = unsafe entry else {
            throw failure()
        }
        return unsafe Self.header(entry)
    }

    /// Runs `body` on each part of the entry's contents, with its place, in order.
    func forEachPart<Stop: Error>(
        _ body: (UnsafeRawBufferPointer, _ offset: UInt64) throws(Stop) -> Void
    ) throws(Stop) -> Failure? {
        while true {
            var start: UnsafeRawPointer?
            var count = 0
            var offset: Int64 = 0
            let result = unsafe archive_read_data_block(archive, &start, &count, &offset)
            if result == ARCHIVE_EOF { return nil }
            guard result == ARCHIVE_OK || result == ARCHIVE_WARN, offset >= 0 else {
                return failure()
            }
            if count > 0 {
                try unsafe body(
                    UnsafeRawBufferPointer(start: start, count: count), UInt64(offset))
            }
        }
    }

    // MARK: Headers

    private static func header(_ entry: OpaquePointer) -> Header {
        var header = Header()
        header.path = unsafe bytes(archive_entry_pathname(entry))
        header.mode = UInt16(truncatingIfNeeded: unsafe archive_entry_mode(entry))
        let user = UInt32(exactly: unsafe archive_entry_uid(entry))
        let group = UInt32(exactly: unsafe archive_entry_gid(entry))
        header.userID = user ?? 0
        header.groupID = group ?? 0
        header.isOwnerKnown = user != nil && group != nil
        header.size = UInt64(max(unsafe archive_entry_size(entry), 0))
        if unsafe archive_entry_mtime_is_set(entry) != 0 {
            header.modificationTime = unsafe time(
                archive_entry_mtime(entry), archive_entry_mtime_nsec(entry))
        }
        if unsafe archive_entry_atime_is_set(entry) != 0 {
            header.accessTime = unsafe time(
                archive_entry_atime(entry), archive_entry_atime_nsec(entry))
        }
        if unsafe archive_entry_ctime_is_set(entry) != 0 {
            header.changeTime = unsafe time(
                archive_entry_ctime(entry), archive_entry_ctime_nsec(entry))
        }
        if let link = unsafe archive_entry_hardlink(entry) { header.link = unsafe bytes(link) }
        header.target = unsafe bytes(archive_entry_symlink(entry))
        header.device = unsafe DeviceNumber(
            major: UInt32(truncatingIfNeeded: archive_entry_rdevmajor(entry)),
            minor: UInt32(truncatingIfNeeded: archive_entry_rdevminor(entry)))
        header.isSparse = unsafe archive_entry_sparse_count(entry) > 0
        header.attributes = unsafe attributes(entry)
        return header
    }

    private static func bytes(_ text: UnsafePointer<CChar>?) -> [UInt8] {
        guard let text = unsafe text else { return [] }
        return unsafe Array(UnsafeRawBufferPointer(start: text, count: strlen(text)))
    }

    /// libarchive has the two numbers around the point of a decimal; see `TarEntry`.
    private static func time(_ seconds: Int, _ nanoseconds: Int) -> Timestamp {
        guard nanoseconds > 0 else { return Timestamp(seconds: Int64(seconds)) }
        let fraction = min(nanoseconds, 999_999_999)
        guard seconds < 0 else {
            return Timestamp(seconds: Int64(seconds), nanoseconds: UInt32(fraction))
        }
        return Timestamp(
            seconds: Int64(seconds) - 1, nanoseconds: UInt32(1_000_000_000 - fraction))
    }

    private static func attributes(_ entry: OpaquePointer) -> [ExtendedAttribute] {
        var found: [ExtendedAttribute] = []
        if unsafe archive_entry_xattr_reset(entry) > 0 {
            var name: UnsafePointer<CChar>?
            var value: UnsafeRawPointer?
            var size = 0
            while unsafe archive_entry_xattr_next(entry, &name, &value, &size) == ARCHIVE_OK {
                found.append(
                    ExtendedAttribute(
                        name: FileName(unsafe bytes(name)),
                        value: unsafe Array(UnsafeRawBufferPointer(start: value, count: size))))
            }
        }
        for (type, name) in [
            (ARCHIVE_ENTRY_ACL_TYPE_ACCESS, "system.posix_acl_access"),
            (ARCHIVE_ENTRY_ACL_TYPE_DEFAULT, "system.posix_acl_default"),
        ] {
            guard !found.contains(where: { $0.name == FileName(name) }),
                let list = unsafe list(entry, type)
            else { continue }
            found.append(ExtendedAttribute(name: FileName(name), value: list.attributeValue))
        }
        if found.count > 1 {
            found.sort { $0.name.bytes.lexicographicallyPrecedes($1.name.bytes) }
        }
        return found
    }

    /// An access control list, which GNU tar keeps as text.
    private static func list(_ entry: OpaquePointer, _ type: Int32) -> AccessControlList? {
        guard unsafe archive_entry_acl_types(entry) & type != 0,
            unsafe archive_entry_acl_reset(entry, type) > 0
        else { return nil }
        var entries: [AccessControlList.Entry] = []
        var (found, permissions, tag, qualifier) = (Int32(0), Int32(0), Int32(0), Int32(0))
        var name: UnsafePointer<CChar>?
        while unsafe archive_entry_acl_next(
            entry, type, &found, &permissions, &tag, &qualifier, &name) == ARCHIVE_OK
        {
            guard let tag = unsafe self.tag(tag, qualifier, name) else { continue }
            entries.append(
                AccessControlList.Entry(
                    tag, .init(rawValue: UInt16(truncatingIfNeeded: permissions & 7))))
        }
        entries.sort { order(of: $0.tag) < order(of: $1.tag) }
        return entries.isEmpty ? nil : AccessControlList(entries)
    }

    private static func tag(
        _ tag: Int32, _ qualifier: Int32, _ name: UnsafePointer<CChar>?
    ) -> AccessControlList.Tag? {
        var id: UInt32? = UInt32(exactly: qualifier)
        switch tag {
        case ARCHIVE_ENTRY_ACL_USER_OBJ: return .userObject
        case ARCHIVE_ENTRY_ACL_GROUP_OBJ: return .groupObject
        case ARCHIVE_ENTRY_ACL_MASK: return .mask
        case ARCHIVE_ENTRY_ACL_OTHER: return .other
        case ARCHIVE_ENTRY_ACL_USER:
            // Archives of GNU tar have names only: they mean this system's users, as for tar.
            if id == nil, let name = unsafe name { id = unsafe getpwnam(name)?.pointee.pw_uid }
            return id.map { .user($0) }
        case ARCHIVE_ENTRY_ACL_GROUP:
            if id == nil, let name = unsafe name { id = unsafe getgrnam(name)?.pointee.gr_gid }
            return id.map { .group($0) }
        default: return nil
        }
    }

    /// The place of an entry in a list.
    private static func order(of tag: AccessControlList.Tag) -> UInt64 {
        switch tag {
        case .userObject: 0
        case .user(let id): 1 << 32 | UInt64(id)
        case .groupObject: 2 << 32
        case .group(let id): 3 << 32 | UInt64(id)
        case .mask: 4 << 32
        case .other: 5 << 32
        }
    }

    private func check(_ result: Int32) throws(Failure) {
        guard result == ARCHIVE_OK || result == ARCHIVE_WARN else { throw failure() }
    }

    private func failure() -> Failure {
        guard let text = unsafe archive_error_string(archive) else {
            return Failure(description: "it cannot be read")
        }
        return Failure(description: unsafe String(cString: text))
    }
}
