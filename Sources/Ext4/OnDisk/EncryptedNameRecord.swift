// What a name of an encrypted file, or the target of an encrypted symbolic link, is made of.

/// The bytes behind a name that is shown without the key, before they become base64url.
package enum EncryptedNameRecord {
    package enum Layout {  // struct fscrypt_nokey_name
        package static let hashMajor = Field<UInt32>.le(0)  // dirhash[0]
        package static let hashMinor = Field<UInt32>.le(4)  // dirhash[1]
        package static let bytes = 8..<157  // bytes
        package static let digest = 157..<189  // sha256
    }

    /// `FSCRYPT_FNAME_MIN_MSG_LEN`: no ciphertext of a name is shorter.
    package static let minimumCiphertext = 16
}

/// The bytes of an encrypted symbolic link.
package enum EncryptedSymlinkRecord {
    package enum Layout {  // struct fscrypt_symlink_data
        package static let length = Field<UInt16>.le(0)  // len
        package static let path = 2  // encrypted_path
    }

    /// The ciphertext of the target in `contents`, which are all bytes of the link.
    ///
    /// - Throws: `Ext4Error.corrupt` when there is none.
    package static func ciphertext(
        in contents: RawSpan, at inode: InodeNumber
    ) throws(Ext4Error) -> Range<Int> {
        guard contents.byteCount > Layout.path else {
            throw .corrupt(.symlink, at: .init(inode: inode), .truncated)
        }
        let length = Int(contents[Layout.length])
        guard length >= EncryptedNameRecord.minimumCiphertext,
            length <= contents.byteCount &- Layout.path
        else {
            throw .corrupt(
                .symlink, at: .init(inode: inode),
                .field("len", value: UInt64(length), rule: "at least 16 and within the link"))
        }
        return Layout.path..<Layout.path &+ length
    }
}
