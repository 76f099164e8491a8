// The names of encrypted files as they are shown without the key: the two parts of the directory
// hash, so that a look-up finds the right block, then the name's ciphertext, of which the end is
// replaced by its SHA-256 when it has more than 149 bytes; all that as base64url, which makes 252
// characters at most. A name is found again by its ciphertext.

/// The name of an encrypted file, as it is shown when the key is not there.
struct EncryptedName: Hashable, Sendable {
    private typealias Layout = EncryptedNameRecord.Layout

    /// What finds the name in its directory; zeros where the listing has no hash.
    let hash: DirectoryHash.Value
    /// The ciphertext or its first 149 bytes.
    let shown: [UInt8]
    /// SHA-256 of the rest of the ciphertext, nil when there is none.
    let digest: [UInt8]?

    /// The name with `ciphertext`, which is what stands in the directory entry.
    ///
    /// - Parameter hash: the entry's directory hash. Linux has it for every entry that it lists
    ///   in hash order, which with the feature `dir_index` are those of indexed directories, of
    ///   directories of one block, and of inline ones; and for every entry that keeps its hash
    ///   behind its name, as those of encrypted directories that fold case do. Zeros otherwise.
    /// - Returns: nil when it is too short to be one.
    init?(ciphertext: RawSpan, hash: DirectoryHash.Value = .init(major: 0, minor: 0)) {
        guard ciphertext.byteCount >= EncryptedNameRecord.minimumCiphertext else { return nil }
        self.hash = hash
        guard ciphertext.byteCount > Layout.bytes.count else {
            shown = ciphertext.copy()
            digest = nil
            return
        }
        shown = ciphertext.copy(0..<Layout.bytes.count)
        digest = SHA256.digest(
            of: ciphertext.extracting(Layout.bytes.count..<ciphertext.byteCount))
    }

    /// Reads a name as it was shown.
    ///
    /// - Returns: nil when no encrypted file is ever shown with that name.
    init?(shownAs name: [UInt8]) {
        guard name.count <= 255, let bytes = Base64URL.decode(name),
            bytes.count > Layout.bytes.lowerBound,
            bytes.count <= Layout.bytes.upperBound
                || bytes.count == Layout.digest.upperBound
        else { return nil }
        let raw = unsafe bytes.span.bytes
        hash = .init(major: raw[Layout.hashMajor], minor: raw[Layout.hashMinor])
        shown = Array(bytes[Layout.bytes.clamped(to: 0..<bytes.count)])
        digest = bytes.count == Layout.digest.upperBound ? Array(bytes[Layout.digest]) : nil
    }

    /// The name as it is shown.
    var bytes: [UInt8] {
        var name: [UInt8] = []
        name.reserveCapacity(Layout.digest.upperBound)
        for word in [hash.major, hash.minor] {
            for shift in stride(from: 0 as UInt32, through: 24, by: 8) {
                name.append(UInt8(truncatingIfNeeded: word >> shift))
            }
        }
        name += shown
        if let digest { name += digest }
        return Base64URL.encode(name)
    }

    /// Whether this is the name with that ciphertext, whatever the hash.
    func matches(ciphertext: RawSpan) -> Bool {
        if digest == nil {
            guard ciphertext.byteCount == shown.count else { return false }
        } else {
            guard ciphertext.byteCount > shown.count else { return false }
        }
        for i in 0..<shown.count where ciphertext.byte(at: i) != shown[i] { return false }
        guard let digest else { return true }
        return digest
            == SHA256.digest(of: ciphertext.extracting(shown.count..<ciphertext.byteCount))
    }
}

/// The target of an encrypted symbolic link.
enum EncryptedSymlink {
    /// What the target is shown as without the key.
    ///
    /// - Parameter contents: all bytes of the link.
    /// - Throws: `Ext4Error.corrupt` when they hold no ciphertext.
    static func shownTarget(
        of contents: RawSpan, at inode: InodeNumber
    ) throws(Ext4Error) -> [UInt8] {
        let range = try EncryptedSymlinkRecord.ciphertext(in: contents, at: inode)
        guard let name = EncryptedName(ciphertext: contents.extracting(range)) else {
            throw .corrupt(.symlink, at: .init(inode: inode), .truncated)
        }
        return name.bytes
    }
}
