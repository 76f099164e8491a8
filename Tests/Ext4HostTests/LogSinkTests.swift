import Ext4
import Ext4Host
import Logging
import Synchronization
import Testing

@Suite struct LogSinkTests {
    /// Keeps what it is given.
    private final class Kept: Sendable {
        let events = Mutex<[String]>([])
    }

    private struct Handler: LogHandler {
        let kept: Kept
        var logLevel: Logger.Level
        var metadata: Logger.Metadata = [:]
        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }
        func log(event: LogEvent) {
            kept.events.withLock { $0.append("\(event.level) \(event.message)") }
        }
    }

    @Test(arguments: [
        (Logger.Level.debug, 4), (.info, 3), (.notice, 2), (.warning, 2), (.error, 1),
    ])
    func handsOnWhatTheLoggerWants(level: Logger.Level, count: Int) {
        let kept = Kept()
        let logger = Logger(label: "test") { _ in Handler(kept: kept, logLevel: level) }
        let log = Log(logger)
        log(.debug, "a")
        log(.info, "b")
        log(.warning, "c")
        log(.error, "d")
        let all = ["debug a", "info b", "warning c", "error d"]
        #expect(kept.events.withLock { $0 } == Array(all.suffix(count)))
    }
}
