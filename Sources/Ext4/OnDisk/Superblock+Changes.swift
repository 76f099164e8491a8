// Changes to a superblock in its place. Each touches the fields that it is about, and the
// checksum; every other byte stays as it is.

extension Superblock {
    /// The journal is empty: the volume needs no recovery. With `sawErrors`, the volume has errors
    /// (`s_state` bit 1).
    static func markRecovered(_ bytes: inout MutableRawSpan, sawErrors: Bool) {
        bytes[Layout.incompatible] &= ~IncompatibleFeatures.recover.rawValue
        if sawErrors { bytes[Layout.state] |= 2 }
        let features = ReadOnlyCompatibleFeatures(rawValue: bytes[Layout.readOnlyCompatible])
        if features.contains(.metadataCsum) { bytes[Layout.checksum] = checksum(of: bytes.bytes) }
    }
}
