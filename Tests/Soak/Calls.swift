import Glibc

/// A call of the system that failed, or something else that went wrong.
struct Failure: Error, CustomStringConvertible {
    let call: String
    let code: Int32

    init(_ call: String, _ code: Int32 = 0) {
        self.call = call
        self.code = code
    }

    var description: String {
        code == 0 ? call : unsafe "\(call): \(String(cString: strerror(code)))"
    }
}

/// An open file.
struct OpenFile: ~Copyable {
    let descriptor: Int32

    init(_ path: String, _ flags: Int32) throws(Failure) {
        descriptor = unsafe open(path, flags | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw Failure("open \(path)", errno) }
    }

    deinit { close(descriptor) }

    func write(_ bytes: [UInt8], at offset: Int) throws(Failure) {
        var done = 0
        while done < bytes.count {
            let count = unsafe bytes.withUnsafeBytes { bytes in
                unsafe pwrite(
                    descriptor, bytes.baseAddress.map { unsafe $0 + done }, bytes.count - done,
                    off_t(offset + done))
            }
            guard count > 0 else { throw Failure("write", errno) }
            done += count
        }
    }

    func sync(dataOnly: Bool = false) throws(Failure) {
        guard (dataOnly ? fdatasync(descriptor) : fsync(descriptor)) == 0 else {
            throw Failure("fsync", errno)
        }
    }

    func contents() throws(Failure) -> [UInt8] {
        let size = lseek(descriptor, 0, SEEK_END)
        guard size >= 0 else { throw Failure("lseek", errno) }
        var bytes = [UInt8](repeating: 0, count: Int(size))
        var done = 0
        while done < bytes.count {
            let count = unsafe bytes.withUnsafeMutableBytes { bytes in
                unsafe pread(
                    descriptor, bytes.baseAddress.map { unsafe $0 + done }, bytes.count - done,
                    off_t(done))
            }
            guard count > 0 else { throw Failure("read", errno) }
            done += count
        }
        return bytes
    }
}

/// Calls that take names.
enum Names {
    /// The result of a call, with its errno.
    static func check(_ what: String, _ result: Int32) throws(Failure) {
        if result != 0 { throw Failure(what, errno) }
    }

    static func makeDirectory(_ path: String) throws(Failure) {
        if unsafe mkdir(path, 0o755) != 0, errno != EEXIST {
            throw Failure("mkdir \(path)", errno)
        }
    }

    static func contents(of path: String) throws(Failure) -> [UInt8]? {
        guard unsafe access(path, F_OK) == 0 else {
            guard errno == ENOENT else { throw Failure("access \(path)", errno) }
            return nil
        }
        return try OpenFile(path, O_RDONLY).contents()
    }

    static func sync(_ path: String) throws(Failure) { try OpenFile(path, O_RDONLY).sync() }

    static func list(_ path: String) throws(Failure) -> [String] {
        guard let stream = unsafe opendir(path) else { throw Failure("opendir \(path)", errno) }
        defer { unsafe closedir(stream) }
        var names: [String] = []
        errno = 0
        while let entry = unsafe readdir(stream) {
            let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                unsafe pointer.withMemoryRebound(to: CChar.self, capacity: 256) {
                    unsafe String(cString: $0)
                }
            }
            if name != ".", name != ".." { names.append(name) }
            errno = 0
        }
        guard errno == 0 else { throw Failure("readdir \(path)", errno) }
        return names
    }

    static func status(_ path: String) throws(Failure) -> stat {
        var status = stat()
        guard unsafe lstat(path, &status) == 0 else { throw Failure("stat \(path)", errno) }
        return status
    }
}
