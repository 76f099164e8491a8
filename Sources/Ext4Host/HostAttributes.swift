internal import CLinux
internal import Glibc

/// The extended attributes of a file of the host.
struct HostAttributes {
    let target: FileMetadata.Target

    /// Their names; none where the file system has no attributes.
    ///
    /// - Throws: The error number.
    func names() throws(HostError) -> [[UInt8]] {
        let list = try unsafe bytes { pointer, count in
            switch target {
            case .descriptor(let descriptor):
                unsafe linux_flistxattr(descriptor, pointer, count)
            case .entry(let entry, let directory):
                unsafe linux_llistxattr(
                    FileMetadata.path(of: entry, in: directory)?.bytes ?? [0], pointer, count)
            }
        }
        return list.split(separator: 0).map { Array($0) }
    }

    /// The value of one.
    ///
    /// - Throws: The error number; `ENODATA` for one that has gone meanwhile.
    func value(of name: [UInt8]) throws(HostError) -> [UInt8] {
        guard let cName = CPath(name) else { throw HostError(errno: EINVAL) }
        return try unsafe bytes { pointer, count in
            switch target {
            case .descriptor(let descriptor):
                unsafe linux_fgetxattr(descriptor, cName.bytes, pointer, count)
            case .entry(let entry, let directory):
                unsafe linux_lgetxattr(
                    FileMetadata.path(of: entry, in: directory)?.bytes ?? [0], cName.bytes,
                    pointer, count)
            }
        }
    }

    /// Calls what tells how many bytes there are when it is given room for none.
    private func bytes(
        _ call: (UnsafeMutablePointer<CChar>?, Int) -> Int
    ) throws(HostError) -> [UInt8] {
        // Somebody may make it longer between the two calls, now and then.
        for _ in 0..<16 {
            let wanted = call(nil, 0)
            if wanted == 0 { return [] }
            guard wanted > 0 else { break }
            var buffer = [CChar](repeating: 0, count: wanted)
            let count = unsafe buffer.withUnsafeMutableBufferPointer {
                unsafe call($0.baseAddress, $0.count)
            }
            if count >= 0 { return buffer.prefix(count).map { UInt8(bitPattern: $0) } }
            guard errno == ERANGE else { break }
        }
        if errno == EOPNOTSUPP || errno == ENOSYS { return [] }
        throw HostError(errno: errno)
    }
}

/// A call of the operating system that failed.
struct HostError: Error {
    let errno: Int32
}
