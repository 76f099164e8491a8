import CHostTree
import Ext4Verify
import Glibc

/// The process that serves a mount.
struct Daemon {
    let process: Int32
    private let point: String
    private let log: String

    /// Starts `ext4 mount` on an image. It may still be recovering the volume then.
    ///
    /// - Parameter environment: of the process, besides what is inherited.
    init(
        _ command: String, image: String, point: String, options: String, log: String,
        environment: [String] = []
    ) throws(Failure) {
        self.point = point
        self.log = log
        let arguments =
            ["env"] + environment + [command, "mount", "-f", "-o", options, image, point]
        process = Self.start(arguments, output: log)
        guard process > 0 else { throw Failure("starting \(command)", -process) }
    }

    /// Waits until the volume is there.
    func waitUntilServing() throws(Failure) {
        let end = secondsNow() + 30
        while secondsNow() < end {
            if Self.isMounted(point) { return }
            let code = linux_wait(process, 0)
            guard code == -EAGAIN else {
                throw Failure("the mount ended with \(code): \(Self.text(ofFile: log))")
            }
            usleep(1000)
        }
        throw Failure("not mounted in 30 s: \(Self.text(ofFile: log))")
    }

    /// Ends it at once, and takes the dead mount away.
    func end() {
        kill(process, SIGKILL)
        _ = linux_wait(process, 1)
        Self.detach(point)
    }

    /// Unmounts, and waits for the process to have written everything.
    func unmount() throws(Failure) {
        var attempts = 100
        while unsafe umount2(point, 0) != 0 {
            attempts -= 1
            guard errno == EBUSY, attempts > 0 else { throw Failure("umount", errno) }
            usleep(20_000)
        }
        let end = secondsNow() + 30
        while secondsNow() < end {
            let code = linux_wait(process, 0)
            if code == 0 { return }
            guard code == -EAGAIN else {
                throw Failure("the mount ended with \(code): \(Self.text(ofFile: log))")
            }
            usleep(1000)
        }
        throw Failure("the mount did not end in 30 s")
    }

    // MARK: Processes and mounts

    static func start(_ arguments: [String], output: String) -> Int32 {
        let joined = [UInt8](arguments.map { Array($0.utf8) + [0] }.joined())
        return unsafe linux_start(joined, arguments.count, output)
    }

    /// Runs a program to its end; its status and what it printed.
    static func run(_ arguments: [String], log: String) -> (code: Int32, output: String) {
        let process = start(arguments, output: log)
        guard process > 0 else { return (127, "\(arguments[0]) does not start") }
        return (linux_wait(process, 1), text(ofFile: log))
    }

    static func text(ofFile path: String) -> String {
        ((try? Names.contents(of: path)) ?? nil).map {
            String(decoding: $0.prefix(3000), as: UTF8.self)
        } ?? ""
    }

    static func isMounted(_ point: String) -> Bool {
        var (inside, outside) = (stat(), stat())
        guard unsafe stat(point, &inside) == 0, unsafe stat(point + "/..", &outside) == 0 else {
            return false
        }
        return inside.st_dev != outside.st_dev
    }

    static func detach(_ point: String) {
        while unsafe umount2(point, Int32(MNT_DETACH)) == 0 {}
    }
}
