internal import Ext4
internal import Glibc

/// Times as people read them, in the local time zone.
enum TimeText {
    /// As `stat` prints it: to the nanosecond, with the zone.
    static func full(_ time: Timestamp) -> String {
        guard let date = text("%F %T", time.seconds), let zone = text("%z", time.seconds) else {
            return "\(time.seconds)"
        }
        return "\(date).\(fraction(time)) \(zone)"
    }

    /// ISO 8601, to the nanosecond, in UTC.
    static func iso(_ time: Timestamp) -> String {
        guard let date = text("%FT%T", time.seconds, inUTC: true) else { return "\(time.seconds)" }
        return "\(date).\(fraction(time))Z"
    }

    /// As `ls -l` prints it: the time of day when it is of the last half year, the year otherwise.
    static func short(_ time: Timestamp, now: Int64) -> String {
        let halfYear: Int64 = 31_556_952 / 2
        let isRecent = time.seconds > now - halfYear && time.seconds <= now
        return text(isRecent ? "%b %e %H:%M" : "%b %e  %Y", time.seconds) ?? "\(time.seconds)"
    }

    /// As `dumpe2fs` prints it (`ctime`).
    static func long(_ time: Timestamp) -> String {
        guard time.seconds != 0 else { return "n/a" }
        return text("%a %b %e %H:%M:%S %Y", time.seconds) ?? "\(time.seconds)"
    }

    private static func fraction(_ time: Timestamp) -> String {
        let digits = String(time.nanoseconds)
        return String(repeating: "0", count: max(0, 9 - digits.utf8.count)) + digits
    }

    private static func text(
        _ format: String, _ seconds: Int64, inUTC: Bool = false
    ) -> String? {
        var parts = unsafe tm()
        var time = time_t(seconds)
        let result = unsafe inUTC ? gmtime_r(&time, &parts) : localtime_r(&time, &parts)
        guard unsafe result != nil else { return nil }
        var buffer = [CChar](repeating: 0, count: 64)
        let count = unsafe strftime(&buffer, buffer.count, format, &parts)
        return String(decoding: buffer[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
