internal import Glibc

/// A call of the operating system that failed, on a path of the host.
public struct SystemFailure: Error, Hashable, Sendable, CustomStringConvertible {
    /// What was to be done, as it stands after "cannot": "create", "set the times of".
    public let action: String
    /// The path on the host, as far as it is known.
    public let path: [UInt8]
    /// The error number.
    public let errno: Int32

    /// Makes the description of a failed call.
    public init(_ action: String, _ path: [UInt8], errno: Int32) {
        self.action = action
        self.path = path
        self.errno = errno
    }

    /// The failure in words.
    public var description: String {
        "cannot \(action) \(Quoted(path)): \(Self.words(for: errno))"
    }

    /// The system's words for an error number.
    public static func words(for errno: Int32) -> String {
        guard let text = unsafe strerror(errno) else { return "error \(errno)" }
        return unsafe String(cString: text)
    }
}

/// A name or path as the C library wants it.
struct CPath {
    let bytes: [CChar]

    /// Nil when there is a NUL inside, so that no path ends earlier than it says.
    init?(_ path: some Sequence<UInt8>) {
        var bytes = path.map { CChar(bitPattern: $0) }
        guard !bytes.contains(0) else { return nil }
        bytes.append(0)
        self.bytes = bytes
    }
}
