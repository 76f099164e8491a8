// The names of extended attributes. The disk has a number for the prefix and the rest of the name;
// user space has one string.

/// The name of an extended attribute as the disk has it.
package struct AttributeName: Hashable, Sendable {
    /// `e_name_index`: which prefix stands before the name.
    package struct Prefix: RawRepresentable, Hashable, Sendable {
        package let rawValue: UInt8

        /// Makes it from its number.
        package init(rawValue: UInt8) { self.rawValue = rawValue }

        package static let user = Prefix(rawValue: 1)  // EXT4_XATTR_INDEX_USER
        package static let accessACL = Prefix(rawValue: 2)  // EXT4_XATTR_INDEX_POSIX_ACL_ACCESS
        package static let defaultACL = Prefix(rawValue: 3)  // EXT4_XATTR_INDEX_POSIX_ACL_DEFAULT
        package static let trusted = Prefix(rawValue: 4)  // EXT4_XATTR_INDEX_TRUSTED
        package static let lustre = Prefix(rawValue: 5)  // EXT4_XATTR_INDEX_LUSTRE
        package static let security = Prefix(rawValue: 6)  // EXT4_XATTR_INDEX_SECURITY
        package static let system = Prefix(rawValue: 7)  // EXT4_XATTR_INDEX_SYSTEM
        package static let richACL = Prefix(rawValue: 8)  // EXT4_XATTR_INDEX_RICHACL
        package static let encryption = Prefix(rawValue: 9)  // EXT4_XATTR_INDEX_ENCRYPTION
        package static let hurd = Prefix(rawValue: 10)  // EXT4_XATTR_INDEX_HURD

        /// The prefix as text; for ACLs the whole name. Nil where Linux has no handler, so that
        /// its users neither see nor reach such an attribute: the rest of inline data, encryption
        /// contexts, Lustre's own, rich ACLs.
        package var text: String? {
            switch self {
            case .user: "user."
            case .trusted: "trusted."
            case .security: "security."
            case .hurd: "gnu."
            case .accessACL: "system.posix_acl_access"
            case .defaultACL: "system.posix_acl_default"
            default: nil
            }
        }
    }

    /// The number of the prefix.
    package let prefix: Prefix
    /// What stands behind the prefix.
    package let rest: [UInt8]

    /// The rest of an inline file's contents: `system.data`.
    package static let inlineData = AttributeName(prefix: .system, rest: Array("data".utf8))
    /// The encryption policy of an inode, `EXT4_XATTR_NAME_ENCRYPTION_CONTEXT`.
    package static let encryptionContext = AttributeName(prefix: .encryption, rest: Array("c".utf8))
    /// The access ACL.
    package static let accessACL = AttributeName(prefix: .accessACL, rest: [])
    /// The default ACL of a directory.
    package static let defaultACL = AttributeName(prefix: .defaultACL, rest: [])

    package init(prefix: Prefix, rest: [UInt8]) {
        self.prefix = prefix
        self.rest = rest
    }

    /// Takes apart a name as user space has it.
    ///
    /// - Throws: `notSupported` for a prefix that no attribute of user space has,
    ///   `invalidArgument` for a prefix alone, as the kernel answers.
    package init(userSpace name: [UInt8]) throws(Ext4Error) {
        for prefix in [Prefix.accessACL, .defaultACL] {
            guard let text = prefix.text, name.elementsEqual(text.utf8) else { continue }
            self.init(prefix: prefix, rest: [])
            return
        }
        for prefix in [Prefix.user, .trusted, .security, .hurd] {
            guard let text = prefix.text, name.starts(with: text.utf8) else { continue }
            guard name.count > text.utf8.count else { throw .invalidArgument }
            self.init(prefix: prefix, rest: Array(name.dropFirst(text.utf8.count)))
            return
        }
        throw .notSupported
    }

    /// The name as user space sees it, or nil for one that the kernel keeps to itself.
    package var userSpace: [UInt8]? {
        guard let text = prefix.text else { return nil }
        // The two names that are whole with their prefix take nothing behind it.
        let isWhole = prefix == .accessACL || prefix == .defaultACL
        guard !isWhole || rest.isEmpty else { return nil }
        return Array(text.utf8) + rest
    }
}
