public import Ext4
internal import Glibc

/// The system's log (syslog), for a mount that no terminal belongs to.
public enum SystemLog {
    /// Adds a message.
    public static func send(_ level: LogLevel, _ message: String) {
        let priority =
            switch level {
            case .debug: LOG_DEBUG
            case .info: LOG_INFO
            case .warning: LOG_WARNING
            case .error: LOG_ERR
            }
        unsafe "ext4 mount: \(message)".withCString { text in
            unsafe withVaList([text]) { arguments in
                unsafe vsyslog(LOG_DAEMON | priority, "%s", arguments)
            }
        }
    }
}
