/// The header and the entries of an access control list, on the disk and as an attribute's value.
///
/// The two encodings differ in their version and in that the disk leaves `e_id` out of the entries
/// that need none.
enum AccessControlRecord {  // ext4_acl_header, ext4_acl_entry, posix_acl_xattr_entry
    static let version = Field<UInt32>.le(0)  // a_version
    static let header = 4
    static let tag = Field<UInt16>.le(0)  // e_tag
    static let permissions = Field<UInt16>.le(2)  // e_perm
    static let id = Field<UInt32>.le(4)  // e_id
    static let short = 4
    static let long = 8
    static let diskVersion: UInt32 = 1  // EXT4_ACL_VERSION
    static let attributeVersion: UInt32 = 2  // POSIX_ACL_XATTR_VERSION
    static let noID: UInt32 = ~0  // ACL_UNDEFINED_ID
}
