import Foundation

/// Makes encrypted directories on a volume that the kernel has mounted: `linux/fscrypt.h`.
struct EncryptionKey {
    /// The kernel has no encryption of files, or not on this volume.
    struct Unavailable: Error {}

    /// `FSCRYPT_POLICY_FLAGS_PAD_…`: to what multiple names are padded.
    enum Padding: UInt8, CaseIterable {
        case four, eight, sixteen, thirtyTwo
    }

    private let identifier: [UInt8]

    /// Adds a key to the volume at `root`. It is gone when the volume is unmounted.
    init(addingTo root: String) throws {
        // struct fscrypt_add_key_arg: the kind of the key's name, its size, and the key.
        var argument = [UInt8](repeating: 0, count: 80)
        argument[0] = 2  // FSCRYPT_KEY_SPEC_TYPE_IDENTIFIER
        argument[40] = 64
        argument += (0..<64).map { UInt8($0 * 3) }
        // _IOWR('f', 23, struct fscrypt_add_key_arg)
        try Self.control(root, 0xC050_6617, &argument)
        identifier = Array(argument[8..<24])
    }

    /// Makes an encrypted directory.
    func makeDirectory(_ path: String, _ padding: Padding) throws {
        try FileManager.default.createDirectory(
            atPath: path, withIntermediateDirectories: false)
        // struct fscrypt_policy_v2: AES-256-XTS for contents, AES-256-CTS for names.
        var policy: [UInt8] = [2, 1, 4, padding.rawValue, 0, 0, 0, 0] + identifier
        // _IOR('f', 19, struct fscrypt_policy_v1)
        try Self.control(path, 0x800C_6613, &policy)
    }

    private static func control(
        _ path: String, _ request: UInt, _ argument: inout [UInt8]
    ) throws {
        let file = unsafe open(path, O_RDONLY)
        guard file >= 0 else { throw POSIXError(.init(rawValue: errno) ?? .EIO) }
        defer { close(file) }
        let result = unsafe argument.withUnsafeMutableBytes { bytes in
            guard let start = bytes.baseAddress else { return Int32(-1) }
            return unsafe ioctl(file, request, start)
        }
        guard result == 0 else {
            guard errno != EOPNOTSUPP, errno != ENOTTY, errno != ENOPKG else {
                throw Unavailable()
            }
            throw POSIXError(.init(rawValue: errno) ?? .EIO)
        }
    }
}
