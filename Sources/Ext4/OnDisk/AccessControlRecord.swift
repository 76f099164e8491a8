// Two encodings of one access control list: that of the disk, version 1, leaves the id out where
// none is needed; that of the attributes `system.posix_acl_*`, version 2, does not.

/// The bytes of POSIX access control lists.
enum AccessControlRecord {
    enum Header {  // struct ext4_acl_header, posix_acl_xattr_header
        static let version = Field<UInt32>.le(0)  // a_version
        static let size = 4
    }

    enum Entry {  // struct ext4_acl_entry, ext4_acl_entry_short, posix_acl_xattr_entry
        static let tag = Field<UInt16>.le(0)  // e_tag
        static let permissions = Field<UInt16>.le(2)  // e_perm
        static let id = Field<UInt32>.le(4)  // e_id
        static let shortSize = 4
        static let size = 8
    }

    /// `EXT4_ACL_VERSION`.
    static let diskVersion: UInt32 = 1
    /// `POSIX_ACL_XATTR_VERSION`.
    static let attributeVersion: UInt32 = 2
    /// `ACL_UNDEFINED_ID`: what stands in the attribute for an entry that needs no id.
    static let noID: UInt32 = ~0

    /// The values of `e_tag`.
    enum Tag: UInt16 {
        case userObject = 0x01  // ACL_USER_OBJ
        case user = 0x02  // ACL_USER
        case groupObject = 0x04  // ACL_GROUP_OBJ
        case group = 0x08  // ACL_GROUP
        case mask = 0x10  // ACL_MASK
        case other = 0x20  // ACL_OTHER
    }
}
