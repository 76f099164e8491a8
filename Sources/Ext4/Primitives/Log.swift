// The engine's log hook. It formats nothing unless somebody listens.

/// How much a message matters.
public enum LogLevel: Int, Comparable, Sendable {
    /// Every step of recovery and of fallbacks.
    case debug
    /// What a person who watches a mount wants to know.
    case info
    /// The volume is not as it should be, and the engine went on.
    case warning
    /// An operation failed because of the volume or its device.
    case error

    /// Orders by weight.
    public static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }
}

/// Where a volume sends its messages.
public struct Log: Sendable {
    private let least: LogLevel
    private let sink: (@Sendable (LogLevel, String) -> Void)?

    /// A log that drops everything.
    public static let none = Log(least: .error, sink: nil)

    /// A log that hands every message of at least `least` to `sink`, from any thread.
    public init(least: LogLevel, sink: @escaping @Sendable (LogLevel, String) -> Void) {
        self.init(least: least, sink: Optional(sink))
    }

    private init(least: LogLevel, sink: (@Sendable (LogLevel, String) -> Void)?) {
        self.least = least
        self.sink = sink
    }

    /// Sends one message; the text is made only when it is wanted.
    public func callAsFunction(_ level: LogLevel, _ message: @autoclosure () -> String) {
        guard let sink, level >= least else { return }
        sink(level, message())
    }
}
