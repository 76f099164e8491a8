import CHostTree
import Ext4Verify
import Glibc

/// What ended a trial.
enum TrialError: Error, CustomStringConvertible {
    /// It cannot be tried on this machine.
    case skipped(String)
    /// Something is wrong.
    case failed(String)

    var description: String {
        switch self {
        case .skipped(let reason), .failed(let reason): reason
        }
    }
}

/// The folder of one trial: the image, where it is mounted, the output of the tools.
struct Workbench {
    let folder: String
    var image: String { folder + "/image" }
    var mountPoint: String { folder + "/mnt" }

    init(_ folder: String) { self.folder = folder }

    func path(_ name: String) -> String { folder + "/" + name }

    /// Makes the folder.
    func prepare() throws(TrialError) {
        for path in [folder, mountPoint] where unsafe mkdir(path, 0o700) != 0 && lastError != EEXIST
        {
            throw .failed("cannot make \(path): error \(lastError)")
        }
    }

    /// Runs a program and returns its exit code and what it printed.
    func run(_ arguments: [String]) throws(TrialError) -> (code: Int32, output: [UInt8]) {
        let output = path("output")
        let process = start(arguments, output: output)
        guard process > 0 else {
            throw .skipped("\(arguments[0]) does not start: error \(-process)")
        }
        let code = linux_wait(process, 1)
        return (code, contents(ofFile: output))
    }

    /// Runs a program that must succeed.
    @discardableResult
    func run(
        _ line: String, allowing allowed: ClosedRange<Int32> = 0...0
    ) throws(TrialError) -> [UInt8] {
        let arguments = line.split(separator: " ").map { $0 == "IMAGE" ? image : String($0) }
        let (code, output) = try run(arguments)
        guard allowed.contains(code) else {
            let text = String(decoding: output.suffix(300), as: UTF8.self)
            throw .failed("\(line): exit code \(code): \(text)")
        }
        return output
    }

    /// Makes a file of that size which is one hole.
    func makeSparseFile(_ path: String, mebibytes: UInt64) throws(TrialError) {
        let file = unsafe open(path, O_RDWR | O_CREAT | O_TRUNC, 0o600)
        guard file >= 0, ftruncate(file, off_t(mebibytes << 20)) == 0 else {
            throw .failed("cannot make \(path): error \(lastError)")
        }
        close(file)
    }

    /// Has the kernel mount an image, runs `body` with where, and unmounts it whatever happens.
    func mounted<Result>(
        _ image: String, options: String, _ body: (_ path: String) throws -> Result
    ) throws -> Result {
        let (code, output) = try run(
            [
                "mount", "-t", "ext4", "-o", "loop" + (options.isEmpty ? "" : ",") + options, image,
                mountPoint,
            ])
        guard code == 0 else {
            let text = String(decoding: output.prefix(160), as: UTF8.self)
            throw TrialError.skipped("the kernel does not mount it: \(text)")
        }
        do {
            let result = try body(mountPoint)
            try unmount()
            return result
        } catch {
            try? unmount()
            throw error
        }
    }

    private func unmount() throws(TrialError) {
        for _ in 0..<50 {
            if try run(["umount", mountPoint]).code == 0 { return }
            usleep(100_000)
        }
        throw .failed("cannot unmount \(mountPoint)")
    }

    /// Runs `debugfs` on an image with each of the commands and returns what it printed.
    @discardableResult
    func debugfs(
        _ commands: [String], on image: String, writing: Bool
    ) throws(TrialError) -> [UInt8] {
        let script = path("script")
        write(commands.joined(separator: "\n") + "\n", toFile: script)
        let (code, output) = try run(
            ["debugfs"] + (writing ? ["-w"] : []) + ["-f", script, image])
        guard code == 0 else { throw .failed("debugfs: exit code \(code)") }
        return output
    }

    /// Unmounts what is still mounted here and deletes everything. For a trial that is over, or
    /// whose process died.
    func clear() {
        for _ in 0..<3 {
            let process = start(["umount", mountPoint], output: "/dev/null")
            guard process > 0, linux_wait(process, 1) == 0 else { break }
        }
        let process = start(
            ["rm", "-rf", "--one-file-system", folder], output: "/dev/null")
        if process > 0 { _ = linux_wait(process, 1) }
    }
}

/// Starts a program and returns its process id, or -errno.
func start(_ arguments: [String], output: String) -> Int32 {
    let joined = [UInt8](arguments.map { $0.bytes + [0] }.joined())
    return unsafe linux_start(joined, arguments.count, output)
}

/// The bytes of a file; none when it cannot be read.
func contents(ofFile path: String) -> [UInt8] {
    let file = unsafe open(path, O_RDONLY)
    guard file >= 0 else { return [] }
    defer { close(file) }
    var result: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    while true {
        let count = unsafe read(file, &buffer, buffer.count)
        guard count > 0 else { return result }
        result += buffer[..<count]
    }
}

/// Writes a file anew.
func write(_ text: String, toFile path: String) {
    let file = unsafe open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
    guard file >= 0 else { return }
    let bytes = [UInt8](text.utf8)
    var done = 0
    while done < bytes.count {
        let count = unsafe bytes[done...].withUnsafeBytes {
            unsafe write(file, $0.baseAddress, $0.count)
        }
        guard count > 0 else { break }
        done += count
    }
    close(file)
}

/// The error of the last call that failed.
var lastError: Int32 { errno }
