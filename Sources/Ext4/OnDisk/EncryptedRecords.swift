// What file encryption adds to the format, as far as it is read without a key.

/// The record whose base64 stands for an encrypted name.
enum EncryptedNameRecord {  // struct fscrypt_nokey_name
    static let hashMajor = Field<UInt32>.le(0)  // dirhash[0]
    static let hashMinor = Field<UInt32>.le(4)  // dirhash[1]
    static let bytes = 8  // bytes
    static let digest = 157  // sha256
    static let size = 189
}

/// The contents of an encrypted symbolic link.
enum EncryptedSymlinkRecord {  // struct fscrypt_symlink_data
    static let length = Field<UInt16>.le(0)  // len
    static let path = 2  // encrypted_path
}
