internal import ArgumentParser
internal import Ext4Host
internal import Logging

/// The options of all commands about what they say on the way.
struct LogOptions: ParsableArguments {
    @Flag(name: .shortAndLong, help: "Say what recovery and checks do.")
    var verbose = false

    @Option(
        help: ArgumentHelp(
            "The least level of what is said: debug, info, warning or error.", valueName: "level"))
    var logLevel: Level?

    enum Level: String, CaseIterable, ExpressibleByArgument {
        case debug
        case info
        case warning
        case error
    }

    /// The level of what is said; `--log-level` counts more than `-v`.
    var level: Logger.Level {
        switch logLevel {
        case .debug: .debug
        case .info: .info
        case .warning: .warning
        case .error: .error
        case nil: verbose ? .debug : .warning
        }
    }

    /// A logger to standard error.
    var logger: Logger {
        let level = level
        return Logger(label: "ext4") { StandardErrorLogHandler(label: $0, logLevel: level) }
    }
}
