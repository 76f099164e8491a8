internal import Ext4Host
internal import Glibc

/// Standard output, in large pieces.
///
/// When a pipe's reader goes away, the system ends the process quietly (`SIGPIPE`); where that
/// signal is ignored, the command ends quietly itself.
struct Output {
    private static let limit = 1 << 16
    private var bytes: [UInt8] = []

    /// Whether a person sees it.
    static let isTerminal = isatty(STDOUT_FILENO) == 1

    mutating func write(_ text: String) throws(CommandFailure) { try write(Array(text.utf8)) }

    mutating func write(_ more: [UInt8]) throws(CommandFailure) {
        bytes += more
        if bytes.count >= Self.limit { try flush() }
    }

    /// Writes the first bytes of a large buffer, without a copy.
    mutating func write(_ buffer: [UInt8], count: Int) throws(CommandFailure) {
        try flush()
        try Self.writeOut(buffer, count: count)
    }

    mutating func line(_ text: String) throws(CommandFailure) { try write(text + "\n") }

    /// A name, for the eyes on a terminal and as it is for a program.
    static func name(_ name: [UInt8]) -> [UInt8] {
        isTerminal ? Array(Quoted(name).description.utf8) : name
    }

    mutating func flush() throws(CommandFailure) {
        try Self.writeOut(bytes, count: bytes.count)
        bytes.removeAll(keepingCapacity: true)
    }

    private static func writeOut(_ bytes: [UInt8], count total: Int) throws(CommandFailure) {
        var done = 0
        while done < total {
            let count = unsafe bytes.withUnsafeBytes {
                unsafe Glibc.write(
                    STDOUT_FILENO, $0.baseAddress?.advanced(by: done), total - done)
            }
            if count >= 0 {
                done += count
            } else if errno == EPIPE {
                throw CommandFailure(quiet: EXIT_FAILURE)
            } else if errno != EINTR {
                throw CommandFailure(
                    "cannot write to standard output: \(SystemFailure.words(for: errno))")
            }
        }
    }
}

/// Lines on standard error.
enum Complaint {
    /// Writes one line in one piece.
    static func write(_ text: String) {
        ProgressLine.clear()
        var line = Array("ext4: \(text)\n".utf8)[...]
        while !line.isEmpty {
            let count = unsafe line.withUnsafeBytes {
                unsafe Glibc.write(STDERR_FILENO, $0.baseAddress, $0.count)
            }
            if count > 0 {
                line = line.dropFirst(count)
            } else if count == 0 || errno != EINTR {
                return
            }
        }
    }
}
