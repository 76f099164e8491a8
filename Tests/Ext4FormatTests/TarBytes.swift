/// A tar archive by hand: entries as no tar would write them.
struct TarBytes {
    private(set) var bytes: [UInt8] = []

    /// Adds an entry.
    ///
    /// - Parameters:
    ///   - type: `0` a file, `1` a hard link, `2` a symbolic link, `3` and `4` devices, `5` a
    ///     directory, `6` a pipe; `x` for attributes of the next one, `g` of all that follow.
    ///   - announced: the size that the header tells; nil for that of the contents.
    mutating func add(
        _ path: String, _ type: Character = "0", contents: [UInt8] = [], link: String = "",
        mode: Int = 0o644, owner: Int = 0, time: Int = 1_600_000_000, device: (Int, Int) = (0, 0),
        announced: Int? = nil
    ) {
        add(
            Array(path.utf8), type, contents: contents, link: Array(link.utf8), mode: mode,
            owner: owner, time: time, device: device, announced: announced)
    }

    mutating func add(
        _ path: [UInt8], _ type: Character, contents: [UInt8], link: [UInt8] = [],
        mode: Int = 0o644, owner: Int = 0, time: Int = 1_600_000_000, device: (Int, Int) = (0, 0),
        announced: Int? = nil
    ) {
        var header = [UInt8](repeating: 0, count: 512)
        func put(_ value: [UInt8], _ offset: Int) {
            header.replaceSubrange(offset..<offset + value.count, with: value)
        }
        func number(_ value: Int, _ digits: Int) -> [UInt8] {
            let text = String(value, radix: 8)
            return Array((String(repeating: "0", count: digits - text.count) + text).utf8)
        }
        put(Array(path.prefix(100)), 0)
        put(number(mode, 7), 100)
        put(number(owner, 7), 108)
        put(number(owner, 7), 116)
        put(number(announced ?? contents.count, 11), 124)
        put(number(time, 11), 136)
        put([UInt8](repeating: 0x20, count: 8), 148)
        put(Array(String(type).utf8), 156)
        put(Array(link.prefix(100)), 157)
        put(Array("ustar\u{0}00".utf8), 257)
        put(number(device.0, 7), 329)
        put(number(device.1, 7), 337)
        put(number(header.reduce(0) { $0 + Int($1) }, 6) + [0], 148)
        bytes += header + contents
        bytes += [UInt8](repeating: 0, count: (512 - contents.count % 512) % 512)
    }

    /// Adds what the next entry has besides its header.
    mutating func addAttributes(_ records: [(String, [UInt8])], forAll: Bool = false) {
        var contents: [UInt8] = []
        for (key, value) in records {
            let line = Array(" \(key)=".utf8) + value + [0x0A]
            // The length counts its own digits.
            var length = line.count + 1
            while "\(length)".utf8.count + line.count > length { length += 1 }
            contents += Array("\(length)".utf8) + line
        }
        add("attributes", forAll ? "g" : "x", contents: contents)
    }

    /// The archive with its end.
    var ended: [UInt8] { bytes + [UInt8](repeating: 0, count: 1024) }
}
