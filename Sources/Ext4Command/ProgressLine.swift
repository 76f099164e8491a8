internal import Ext4Host
internal import Glibc
internal import Synchronization

/// The line at the foot of the terminal that shows how far a long command is: from the second
/// second on, a few times a second, and only where a person watches.
struct ProgressLine {
    /// Whether a line stands there, so that whatever else is said wipes it first.
    private static let isShown = Atomic(false)

    private let verb: String
    private let start = Self.now()
    private var next: Double
    private let isWanted = isatty(STDERR_FILENO) == 1

    init(_ verb: String) {
        self.verb = verb
        next = start + 1
    }

    mutating func show(path: [UInt8], files: UInt64, bytes: UInt64) {
        let rate = Double(bytes) / max(Self.now() - start, 0.001)
        show(
            "\(files) files, \(Self.amount(Double(bytes))), \(Self.amount(rate))/s  "
                + Quoted(path).description)
    }

    /// Shows how far it is, behind the verb.
    mutating func show(_ words: @autoclosure () -> String) {
        guard isWanted else { return }
        let now = Self.now()
        guard now >= next else { return }
        next = now + 0.2
        var size = winsize()
        let width =
            unsafe ioctl(STDERR_FILENO, UInt(TIOCGWINSZ), &size) == 0 && size.ws_col > 20
            ? Int(size.ws_col) : 80
        Self.put("\r\("\(verb) \(words())".prefix(width - 1))\u{1B}[K")
        Self.isShown.store(true, ordering: .relaxed)
    }

    /// Shows how much of a known amount is done.
    mutating func show(_ what: String, done: UInt64, total: UInt64) {
        guard isWanted else { return }
        let now = Self.now()
        guard now >= next else { return }
        next = now + 0.2
        let width: UInt64 = 40
        let filled = Int(total == 0 ? width : min(done, total) * width / total)
        let bar =
            String(repeating: "#", count: filled)
            + String(repeating: "-", count: Int(width) - filled)
        let percent = total == 0 ? 100 : min(done, total) * 100 / total
        let head = what + String(repeating: " ", count: max(0, 13 - what.count))
        Self.put("\r\(verb) \(head) [\(bar)] \(percent)%\u{1B}[K")
        Self.isShown.store(true, ordering: .relaxed)
    }

    /// Wipes the line.
    static func clear() {
        if isShown.exchange(false, ordering: .relaxed) { put("\r\u{1B}[K") }
    }

    private static func put(_ text: String) {
        let bytes = Array(text.utf8)
        _ = unsafe write(STDERR_FILENO, bytes, bytes.count)
    }

    private static func now() -> Double {
        var time = timespec()
        unsafe clock_gettime(CLOCK_MONOTONIC, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }

    /// An amount of bytes with one digit behind the point.
    static func amount(_ bytes: Double) -> String {
        var amount = bytes
        var units = ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB"][...]
        while amount >= 1_024, units.count > 1 {
            amount /= 1_024
            units = units.dropFirst()
        }
        let unit = units.first ?? ""
        if unit == "bytes" { return "\(Int(amount)) bytes" }
        let tenths = Int((amount * 10).rounded())
        return "\(tenths / 10).\(tenths % 10) \(unit)"
    }
}
