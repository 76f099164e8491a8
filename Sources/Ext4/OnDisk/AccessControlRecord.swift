// Two encodings of one access control list: that of the disk, version 1, leaves the id out where
// none is needed; that of the attributes `system.posix_acl_*`, version 2, does not.

/// The bytes of POSIX access control lists.
package enum AccessControlRecord {
    package enum Header {  // struct ext4_acl_header, posix_acl_xattr_header
        package static let version = Field<UInt32>.le(0)  // a_version
        package static let size = 4
    }

    package enum Entry {  // struct ext4_acl_entry, ext4_acl_entry_short, posix_acl_xattr_entry
        package static let tag = Field<UInt16>.le(0)  // e_tag
        package static let permissions = Field<UInt16>.le(2)  // e_perm
        package static let id = Field<UInt32>.le(4)  // e_id
        package static let shortSize = 4
        package static let size = 8
    }

    /// `EXT4_ACL_VERSION`.
    package static let diskVersion: UInt32 = 1
    /// `POSIX_ACL_XATTR_VERSION`.
    package static let attributeVersion: UInt32 = 2
    /// `ACL_UNDEFINED_ID`: what stands in the attribute for an entry that needs no id.
    package static let noID: UInt32 = ~0

    /// The values of `e_tag`.
    package enum Tag: UInt16 {
        case userObject = 0x01  // ACL_USER_OBJ
        case user = 0x02  // ACL_USER
        case groupObject = 0x04  // ACL_GROUP_OBJ
        case group = 0x08  // ACL_GROUP
        case mask = 0x10  // ACL_MASK
        case other = 0x20  // ACL_OTHER
    }
}
