internal import ArgumentParser
internal import Ext4
internal import Ext4Host
internal import Glibc

/// A point in time as an argument: `@SECONDS`, `now`, or a date with or without a time of day, in
/// the local time zone or in one that is named: `2024-05-06`, `2024-05-06 07:08:09.5`,
/// `2024-05-06T07:08:09Z`, `2024-05-06 07:08 +0200`, `20240506070809`.
struct TimeArgument: ExpressibleByArgument {
    /// Nil for now.
    let time: Timestamp?

    init?(argument: String) {
        if argument == "now" {
            time = nil
            return
        }
        guard let time = Self.parse(argument) else { return nil }
        self.time = time
    }

    private static func parse(_ text: String) -> Timestamp? {
        var text = text[...]
        if text.first == "@" {
            text.removeFirst()
            guard let (seconds, nanoseconds) = fraction(&text), text.isEmpty else { return nil }
            return Timestamp(seconds: seconds, nanoseconds: nanoseconds)
        }
        if text.allSatisfy(isDigit) { return digitsOnly(&text) }
        var parts = CalendarTime()
        guard let year = number(&text, 4), take("-", &text), let month = number(&text, 2),
            take("-", &text), let day = number(&text, 2)
        else { return nil }
        (parts.year, parts.month, parts.day) = (year, month, day)
        if text.isEmpty { return parts.timestamp(zone: nil) }
        guard take("T", &text) || take(" ", &text) else { return nil }
        guard let hour = number(&text, 2), take(":", &text), let minute = number(&text, 2) else {
            return nil
        }
        (parts.hour, parts.minute) = (hour, minute)
        if take(":", &text) {
            guard let second = number(&text, 2) else { return nil }
            parts.second = second
            if take(".", &text) || take(",", &text) {
                guard let nanoseconds = digits(&text) else { return nil }
                parts.nanoseconds = nanoseconds
            }
        }
        _ = take(" ", &text)
        if text.isEmpty { return parts.timestamp(zone: nil) }
        guard let zone = zone(&text), text.isEmpty else { return nil }
        return parts.timestamp(zone: zone)
    }

    /// `YYYYMMDD[hh[mm[ss]]]`, as `tune2fs -T` takes it, in the local time zone.
    private static func digitsOnly(_ text: inout Substring) -> Timestamp? {
        guard [8, 10, 12, 14].contains(text.count) else { return nil }
        var parts = CalendarTime()
        guard let year = number(&text, 4), let month = number(&text, 2),
            let day = number(&text, 2)
        else { return nil }
        (parts.year, parts.month, parts.day) = (year, month, day)
        parts.hour = number(&text, 2) ?? 0
        parts.minute = number(&text, 2) ?? 0
        parts.second = number(&text, 2) ?? 0
        return parts.timestamp(zone: nil)
    }

    /// `Z`, `UTC` or a distance from it in seconds: `+0200`, `-03:30`, `+01`.
    private static func zone(_ text: inout Substring) -> Int64? {
        if take("Z", &text) || take("UTC", &text) { return 0 }
        let isWest = take("-", &text)
        guard isWest || take("+", &text), let hours = number(&text, 2), hours < 25 else {
            return nil
        }
        var minutes = 0
        if !text.isEmpty {
            _ = take(":", &text)
            guard let value = number(&text, 2), value < 60 else { return nil }
            minutes = value
        }
        return Int64(hours * 3_600 + minutes * 60) * (isWest ? -1 : 1)
    }

    private static func take(_ prefix: String, _ text: inout Substring) -> Bool {
        guard text.hasPrefix(prefix) else { return false }
        text = text.dropFirst(prefix.count)
        return true
    }

    private static func number(_ text: inout Substring, _ width: Int) -> Int? {
        let digits = text.prefix(width)
        guard digits.count == width, digits.allSatisfy(isDigit) else { return nil }
        text = text.dropFirst(width)
        return Int(digits)
    }

    private static func isDigit(_ character: Character) -> Bool { ("0"..."9").contains(character) }

    /// Digits behind a point, as nanoseconds; further ones are cut off.
    private static func digits(_ text: inout Substring) -> UInt32? {
        let digits = text.prefix(while: isDigit)
        guard !digits.isEmpty else { return nil }
        text = text[digits.endIndex...]
        let nine = String(digits.prefix(9))
        return UInt32(nine + String(repeating: "0", count: 9 - nine.count))
    }

    /// Seconds, perhaps negative, perhaps with digits behind a point.
    private static func fraction(_ text: inout Substring) -> (Int64, UInt32)? {
        let isNegative = take("-", &text)
        let whole = text.prefix(while: isDigit)
        guard let seconds = Int64((isNegative ? "-" : "") + whole) else { return nil }
        text = text[whole.endIndex...]
        guard take(".", &text) else { return (seconds, 0) }
        guard let nanoseconds = digits(&text) else { return nil }
        guard isNegative, nanoseconds > 0 else { return (seconds, nanoseconds) }
        // Nanoseconds count upwards, before 1970 too.
        guard seconds > .min else { return nil }
        return (seconds - 1, 1_000_000_000 - nanoseconds)
    }

    /// `[[CC]YY]MMDDhhmm[.ss]`, as `touch -t` takes it; nil for what is none.
    static func stamp(_ text: String) -> Timestamp? {
        var text = text[...]
        let whole = text.prefix(while: isDigit)
        var parts = CalendarTime()
        switch whole.count {
        case 8:
            var now = time_t(Timestamp.now.seconds)
            var local = unsafe tm()
            guard unsafe localtime_r(&now, &local) != nil else { return nil }
            parts.year = unsafe Int(local.tm_year) + 1_900
        case 10:
            guard let year = number(&text, 2) else { return nil }
            parts.year = year + (year < 69 ? 2_000 : 1_900)
        case 12:
            guard let year = number(&text, 4) else { return nil }
            parts.year = year
        default: return nil
        }
        guard let month = number(&text, 2), let day = number(&text, 2),
            let hour = number(&text, 2), let minute = number(&text, 2)
        else { return nil }
        (parts.month, parts.day, parts.hour, parts.minute) = (month, day, hour, minute)
        if take(".", &text) {
            guard let second = number(&text, 2) else { return nil }
            parts.second = second
        }
        return text.isEmpty ? parts.timestamp(zone: nil) : nil
    }
}

/// A time by the calendar.
private struct CalendarTime {
    var year = 1970
    var month = 1
    var day = 1
    var hour = 0
    var minute = 0
    var second = 0
    var nanoseconds: UInt32 = 0

    /// The time in a zone, so many seconds east of UTC; nil is the local one. Nil for a day or a
    /// time of day that there is not.
    func timestamp(zone: Int64?) -> Timestamp? {
        guard (1...12).contains(month), (1...31).contains(day), hour < 24, minute < 60,
            second < 61
        else { return nil }
        var parts = unsafe tm()
        unsafe parts.tm_year = Int32(year - 1_900)
        unsafe parts.tm_mon = Int32(month - 1)
        unsafe parts.tm_mday = Int32(day)
        unsafe parts.tm_hour = Int32(hour)
        unsafe parts.tm_min = Int32(minute)
        unsafe parts.tm_sec = Int32(second)
        unsafe parts.tm_isdst = -1
        let seconds = unsafe zone == nil ? mktime(&parts) : timegm(&parts)
        // The 31st of June became the 1st of July.
        guard unsafe parts.tm_mday == Int32(day) || second == 60 else { return nil }
        return Timestamp(seconds: Int64(seconds) - (zone ?? 0), nanoseconds: nanoseconds)
    }
}
