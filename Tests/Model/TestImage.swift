import CHostTree
import Ext4Verify
import Glibc
import Synchronization

/// An image file that goes away with its owner.
final class TestImage: Sendable {
    let path: String
    private static let count = Atomic<Int>(0)

    init() {
        let number = Self.count.add(1, ordering: .relaxed).newValue
        // Images are written and read as a whole again and again: in memory, where that is.
        let folder = unsafe access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp"
        path = "\(folder)/ext4-model-\(getpid())-\(number)"
    }

    deinit {
        unsafe unlink(path)
        unsafe unlink(path + ".log")
    }

    /// Has mke2fs make a volume.
    func make(_ kind: VolumeKind) throws(TrialFailure) {
        let file = unsafe open(path, O_RDWR | O_CREAT | O_TRUNC, 0o600)
        guard file >= 0, ftruncate(file, off_t(kind.megabytes) << 20) == 0 else {
            throw TrialFailure(description: "cannot make \(path): error \(errno)")
        }
        close(file)
        let options = kind.options.split(separator: " ").map(String.init)
        let (code, output) = run(
            ["mke2fs", "-q", "-F", "-E", "nodiscard,lazy_itable_init=0"] + options + [path])
        guard code == 0 else {
            throw TrialFailure(description: "mke2fs \(kind.options): \(code): \(output)")
        }
    }

    /// A device in memory with a new volume on it. Every byte that mke2fs left alone is poison.
    static func device(_ kind: VolumeKind) throws(TrialFailure) -> FaultyDevice {
        let image = TestImage()
        try image.make(kind)
        return try image.load()
    }

    func load() throws(TrialFailure) -> FaultyDevice {
        do {
            return try FaultyDevice(path: path)
        } catch {
            throw TrialFailure(description: "\(error)")
        }
    }

    /// What `e2fsck -fn` has to say; nil when that is nothing.
    func complaints() -> String? {
        let (code, output) = run(["e2fsck", "-fn", path])
        return code == 0 ? nil : "e2fsck -fn: \(code)\n\(output)"
    }

    static func complaints(about device: FaultyDevice) throws(TrialFailure) -> String? {
        let image = TestImage()
        do {
            try device.save(to: image.path)
        } catch {
            throw TrialFailure(description: "\(error)")
        }
        return image.complaints()
    }

    private func run(_ arguments: [String]) -> (code: Int32, output: String) {
        let joined = [UInt8](arguments.map { Array($0.utf8) + [0] }.joined())
        let log = path + ".log"
        let process = unsafe linux_start(joined, arguments.count, log)
        guard process > 0 else { return (127, "\(arguments[0]) does not start") }
        let code = linux_wait(process, 1)
        return (code, Self.text(ofFile: log))
    }

    private static func text(ofFile path: String) -> String {
        let file = unsafe open(path, O_RDONLY)
        guard file >= 0 else { return "" }
        defer { close(file) }
        var buffer = [UInt8](repeating: 0, count: 4000)
        let count = unsafe read(file, &buffer, buffer.count)
        return String(decoding: buffer.prefix(max(count, 0)), as: UTF8.self)
    }
}
