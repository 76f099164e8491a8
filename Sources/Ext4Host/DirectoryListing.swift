internal import CLinux
internal import Glibc

/// The names of a directory of the host, with what kind of thing each is, in the order of their
/// bytes. The names stand one behind the other, each with a NUL behind it as the calls want it.
struct DirectoryListing {
    /// A name.
    struct Entry {
        fileprivate let start: Int
        /// The bytes of the name.
        let count: Int
        /// `d_type`: `DT_UNKNOWN` where the file system does not tell.
        var type: UInt8
        /// The first bytes, for the order.
        fileprivate let prefix: UInt64
    }

    private var bytes: [UInt8] = []
    /// The names, without `.` and `..`.
    private(set) var entries: [Entry] = []

    private enum Record {  // struct linux_dirent64
        static let length = 16  // d_reclen
        static let type = 18  // d_type
        static let name = 19  // d_name
    }

    /// Reads what is in an open directory, which nobody read before.
    ///
    /// - Throws: the error number.
    init(_ descriptor: Int32) throws(HostError) {
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let count = unsafe linux_getdents(descriptor, &buffer, buffer.count)
            if count == 0 { break }
            guard count > 0 else { throw HostError(errno: errno) }
            var record = 0
            while record + Record.name < count {
                let field = record + Record.length
                let length = Int(buffer[field]) | Int(buffer[field + 1]) << 8
                guard length > Record.name, record + length <= count else {
                    throw HostError(errno: EIO)
                }
                let name = buffer[(record + Record.name)..<(record + length)].prefix { $0 != 0 }
                add(name, type: buffer[record + Record.type])
                record += length
            }
        }
        sort()
    }

    private mutating func add(_ name: ArraySlice<UInt8>, type: UInt8) {
        guard let first = name.first else { return }
        if first == 0x2E, name.count == 1 || (name.count == 2 && name.last == 0x2E) { return }
        var prefix: UInt64 = 0
        for (i, byte) in name.prefix(8).enumerated() {
            prefix |= UInt64(byte) << UInt64(56 - 8 * i)
        }
        entries.append(
            Entry(start: bytes.count, count: name.count, type: type, prefix: prefix))
        bytes += name
        bytes.append(0)
    }

    private mutating func sort() {
        let bytes = bytes
        unsafe bytes.withUnsafeBufferPointer { names in
            entries.sort { a, b in
                if a.prefix != b.prefix { return a.prefix < b.prefix }
                guard let base = names.baseAddress else { return false }
                // Both end with a NUL, and no name has one inside.
                return unsafe strcmp(
                    UnsafeRawPointer(base + a.start).assumingMemoryBound(to: CChar.self),
                    UnsafeRawPointer(base + b.start).assumingMemoryBound(to: CChar.self)) < 0
            }
        }
    }

    /// The bytes of a name.
    func name(_ entry: Entry) -> [UInt8] { Array(bytes[entry.start..<entry.start + entry.count]) }

    /// Runs `body` with the name as the calls of the system want it.
    func withName<Result>(_ entry: Entry, _ body: (UnsafePointer<CChar>) -> Result) -> Result? {
        unsafe bytes.withUnsafeBytes { raw in
            guard let base = raw.baseAddress else { return nil }
            return unsafe body((base + entry.start).assumingMemoryBound(to: CChar.self))
        }
    }

    /// Runs `body` with the bytes of the name.
    func withBytes<Result, Failure: Error>(
        _ entry: Entry, _ body: (RawSpan) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try unsafe body(bytes.span.bytes.extracting(entry.start..<entry.start + entry.count))
    }

    /// Says what kind of thing an entry is that the file system did not tell.
    mutating func setType(_ type: UInt8, at index: Int) { entries[index].type = type }
}
