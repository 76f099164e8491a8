public import Ext4
internal import Glibc
public import Logging

extension Log {
    /// A log that hands the engine's messages to `logger`, at the logger's level.
    public init(_ logger: Logger) {
        let least: LogLevel =
            switch logger.logLevel {
            case .trace, .debug: .debug
            case .info: .info
            case .notice, .warning: .warning
            case .error, .critical: .error
            }
        self.init(least: least) { level, message in
            logger.log(level: Logger.Level(level), "\(message)", metadata: nil)
        }
    }
}

extension Logger.Level {
    /// The level of swift-log for a level of the engine.
    public init(_ level: LogLevel) {
        self =
            switch level {
            case .debug: .debug
            case .info: .info
            case .warning: .warning
            case .error: .error
            }
    }
}

/// Writes each message as one line to standard error: the label, the level where it matters, the
/// words. There is no time in it, as in what other commands print.
public struct StandardErrorLogHandler: LogHandler {
    private let label: String
    /// The least level that is written.
    public var logLevel: Logger.Level
    /// What stands behind each message.
    public var metadata: Logger.Metadata = [:]

    /// Makes a handler whose lines begin with `label`.
    public init(label: String, logLevel: Logger.Level = .warning) {
        self.label = label
        self.logLevel = logLevel
    }

    /// One item of the metadata.
    public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    /// Writes one event, in one `write` so that lines of several threads stay whole.
    public func log(event: LogEvent) {
        var line = "\(label): "
        switch event.level {
        case .trace, .debug, .info, .notice: break
        case .warning: line += "warning: "
        case .error, .critical: line += "error: "
        }
        line += "\(event.message)"
        let extra = metadata.merging(event.metadata ?? [:]) { $1 }
        for (key, value) in extra.sorted(by: { $0.key < $1.key }) { line += " \(key)=\(value)" }
        line += "\n"
        var bytes = Array(line.utf8)[...]
        while !bytes.isEmpty {
            let count = unsafe bytes.withUnsafeBytes { unsafe write(2, $0.baseAddress, $0.count) }
            if count > 0 {
                bytes = bytes.dropFirst(count)
            } else if count == 0 || errno != EINTR {
                return
            }
        }
    }
}
