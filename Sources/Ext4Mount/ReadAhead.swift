internal import Glibc

// How far ahead the kernel reads in a file of a mount. A FUSE mount starts with 128 KiB, so that
// reading a large file is a request for every 128 KiB; the kernel takes a larger figure only from
// root and only through sysfs, once the session is set up.

enum ReadAhead {
    /// The kernel's limit for one request is 1 MiB; with more ahead several are on their way.
    private static let kilobytes = 4096

    /// Raises the read-ahead of the mount at `mountPoint`, if the system lets us.
    static func raise(at mountPoint: String) {
        guard let device = deviceNumber(of: mountPoint) else { return }
        let path = "/sys/class/bdi/\(device)/read_ahead_kb"
        let descriptor = unsafe open(path, O_WRONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return }
        defer { close(descriptor) }
        let text = Array("\(kilobytes)\n".utf8)
        _ = unsafe write(descriptor, text, text.count)
    }

    /// The number of the file system, as sysfs has it.
    ///
    /// From the kernel's table: `stat` of the mount point would be a request to ourselves.
    private static func deviceNumber(of mountPoint: String) -> String? {
        guard let table = unsafe fopen("/proc/self/mountinfo", "re") else { return nil }
        defer { unsafe fclose(table) }
        var line: UnsafeMutablePointer<CChar>?
        var capacity = 0
        defer { unsafe free(line) }
        var found: String?
        while unsafe getline(&line, &capacity, table) > 0, let text = unsafe line {
            // "ID PARENT MAJOR:MINOR ROOT MOUNT-POINT …"; the last one covers those before it.
            let fields = unsafe String(cString: text).split(separator: " ", maxSplits: 5)
            if fields.count > 4, unescaped(fields[4]) == mountPoint { found = String(fields[2]) }
        }
        return found
    }

    /// A path of the table, where blanks and the like are written in octal.
    private static func unescaped(_ path: Substring) -> String {
        var bytes: [UInt8] = []
        var rest = Array(path.utf8)[...]
        while let byte = rest.popFirst() {
            if byte == UInt8(ascii: "\\"), rest.count >= 3,
                let code = UInt8(String(decoding: rest.prefix(3), as: UTF8.self), radix: 8)
            {
                bytes.append(code)
                rest = rest.dropFirst(3)
            } else {
                bytes.append(byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
