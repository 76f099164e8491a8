internal import CFuse3
internal import Glibc
internal import Synchronization

/// What libfuse has to say, kept for the error that follows instead of being printed.
enum FuseMessages {
    private static let kept = Mutex<String?>(nil)

    /// The last message since `collect`.
    static var last: String? { kept.withLock { $0 } }

    /// Starts to keep messages.
    static func collect() {
        kept.withLock { $0 = nil }
        unsafe fuse_set_log_func { _, format, arguments in
            guard let format = unsafe format, let arguments = unsafe arguments else { return }
            var line = [CChar](repeating: 0, count: 512)
            let length = unsafe vsnprintf(&line, line.count, format, arguments)
            let bytes = line.prefix(max(0, min(Int(length), line.count - 1)))
            var text = String(decoding: bytes.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            while text.last?.isWhitespace == true { text.removeLast() }
            for prefix in ["fuse: ", "fusermount3: "] where text.hasPrefix(prefix) {
                text.removeFirst(prefix.count)
            }
            FuseMessages.kept.withLock { $0 = text }
        }
    }
}

extension String {
    /// The operating system's words for an error number.
    init(systemError number: Int32) {
        guard let words = unsafe strerror(number) else {
            self = "errno \(number)"
            return
        }
        self = unsafe String(cString: words)
    }
}
