import CHostTree
internal import Glibc
internal import Synchronization

/// Why the explorer cannot go on.
package struct CrashFailure: Error, CustomStringConvertible {
    /// In words.
    package let description: String

    init(_ description: String) { self.description = description }
}

/// Programs of the system.
enum HostProgram {
    /// Runs a program to its end, with its output in a file. Returns its exit code; negative when
    /// it cannot be started.
    static func run(_ arguments: [String], output: String) -> Int32 {
        var bytes: [UInt8] = []
        for argument in arguments { bytes += Array(argument.utf8) + [0] }
        let process = unsafe linux_start(bytes, arguments.count, output)
        guard process > 0 else { return process }
        return linux_wait(process, 1)
    }

    /// From now on programs think that it is one certain moment, so that images are the same each
    /// time.
    static func fixTime() { _ = unsafe setenv("E2FSPROGS_FAKE_TIME", "1600000000", 1) }
}

/// A file that goes with its last reference, in memory where the system has such a place.
final class ScratchFile: Sendable {
    private static let counter = Atomic<Int>(0)

    let path: String

    init() throws(CrashFailure) {
        let number = Self.counter.add(1, ordering: .relaxed).newValue
        let name = "ext4-crash-\(getpid())-\(number)"
        path = (unsafe access("/dev/shm", W_OK) == 0 ? "/dev/shm/" : "/tmp/") + name
        let file = unsafe open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw CrashFailure("cannot make \(path): error \(errno)") }
        close(file)
    }

    deinit { _ = unsafe unlink(path) }

    func resize(_ byteCount: Int) throws(CrashFailure) {
        guard unsafe truncate(path, off_t(byteCount)) == 0 else {
            throw CrashFailure("cannot make \(path) large enough: error \(errno)")
        }
    }

    /// What is in it, as text.
    var text: String {
        guard let image = try? load() else { return "" }
        return String(
            decoding: image.bytes(0..<image.byteCount).prefix { $0 != 0 }, as: UTF8.self)
    }

    /// What is in it, with zeros up to a whole sector.
    func load() throws(CrashFailure) -> DeviceImage {
        let file = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { throw CrashFailure("cannot open \(path): error \(errno)") }
        defer { close(file) }
        let size = Int(lseek(file, 0, SEEK_END))
        let image = DeviceImage(byteCount: (size + 511) / 512 * 512)
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        var done = 0
        while done < size {
            let count = unsafe pread(file, &buffer, min(buffer.count, size - done), off_t(done))
            guard count > 0 else { throw CrashFailure("cannot read \(path): error \(errno)") }
            image.put(buffer[..<count], at: done)
            done += count
        }
        return image
    }

    /// Puts the contents of a device into it: what differs from `known`, which it holds and which
    /// follows.
    func save(_ device: LayeredDevice, over known: DeviceImage) throws(CrashFailure) {
        let file = unsafe open(path, O_WRONLY | O_CLOEXEC)
        guard file >= 0 else { throw CrashFailure("cannot open \(path): error \(errno)") }
        defer { close(file) }
        try unsafe device.forEachPage(differingFrom: known) {
            (offset, bytes) throws(CrashFailure) in
            guard unsafe pwrite(file, bytes.baseAddress, bytes.count, off_t(offset)) == bytes.count
            else { throw CrashFailure("cannot write \(path): error \(errno)") }
            unsafe known.put(bytes, at: offset)
        }
    }
}

extension LayeredDevice {
    /// Writes everything to a file, which is made or overwritten.
    package func save(to path: String) throws(CrashFailure) {
        let file = unsafe open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0o644)
        guard file >= 0 else { throw CrashFailure("cannot make \(path): error \(errno)") }
        defer { close(file) }
        try flattened().write(to: file, path)
    }
}

extension DeviceImage {
    /// Writes everything to an open file.
    fileprivate func write(to file: Int32, _ path: String) throws(CrashFailure) {
        var done = 0
        while done < byteCount {
            let count = unsafe pwrite(
                file, whole.baseAddress.unsafelyUnwrapped + done, byteCount - done, off_t(done))
            guard count > 0 else { throw CrashFailure("cannot write \(path): error \(errno)") }
            done += count
        }
    }
}
