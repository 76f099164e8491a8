public import Ext4

/// A rule that a volume breaks, and where.
public struct Finding: Hashable, Sendable {
    /// Which rule.
    public let rule: CheckRule
    /// Where; what does not apply is nil. A byte offset counts from the start of the block, or
    /// without a block from the start of the inode's part that is meant.
    public let place: Corruption.Place
    /// What stands there.
    public let found: UInt64?
    /// What must stand there.
    public let expected: UInt64?
    /// How many blocks or inodes from the place on are concerned; nil for one.
    public let count: UInt64?
    /// The other inode concerned: what an entry leads to, who else claims a block.
    public let other: InodeNumber?
    /// The name of the entry or of the attribute.
    public let name: [UInt8]?
    /// More about it in words, of a field or of a value.
    public let detail: String?

    /// Makes a finding.
    public init(
        _ rule: CheckRule, at place: Corruption.Place = .init(), found: UInt64? = nil,
        expected: UInt64? = nil, count: UInt64? = nil, other: InodeNumber? = nil,
        name: [UInt8]? = nil, detail: String? = nil
    ) {
        self.rule = rule
        self.place = place
        self.found = found
        self.expected = expected
        self.count = count
        self.other = other
        self.name = name
        self.detail = detail
    }

    /// The inode that the finding is about.
    public var inode: InodeNumber? { place.inode }
}

extension Finding: Comparable {
    /// Orders by stage, then by place, then by rule: the order of a report.
    public static func < (a: Self, b: Self) -> Bool {
        let (left, right) = (a.rule.stage, b.rule.stage)
        if left != right { return left < right }
        let order = a.key
        let other = b.key
        for (x, y) in zip(order, other) where x != y { return x < y }
        return a.rule.rawValue < b.rule.rawValue
    }

    private var key: [UInt64] {
        [
            UInt64(place.group?.rawValue ?? 0), UInt64(place.inode?.rawValue ?? 0),
            place.logicalBlock?.rawValue ?? 0, place.block?.rawValue ?? 0,
            UInt64(clamping: place.byteOffset ?? 0), found ?? 0, expected ?? 0,
        ]
    }
}

extension Finding: CustomStringConvertible {
    /// The finding in words: the identifier, the place, the rule, and what stands there.
    public var description: String {
        var text = rule.rawValue
        if let inode = place.inode { text += " inode \(inode)" }
        if let group = place.group { text += " group \(group)" }
        if let logicalBlock = place.logicalBlock { text += " file block \(logicalBlock)" }
        if let block = place.block { text += " block \(block)" }
        if let count, count > 1 { text += " and \(count - 1) more" }
        if let byteOffset = place.byteOffset { text += " byte \(byteOffset)" }
        text += ": must hold: \(rule.words)"
        if let name { text += "; name \(Self.quoted(name))" }
        if let other { text += "; inode \(other)" }
        if let found { text += "; is \(found)" }
        if let expected { text += "; should be \(expected)" }
        if let detail { text += "; \(detail)" }
        return text
    }

    /// A name in quotes, with everything that is not plain ASCII as `\xNN`.
    private static func quoted(_ name: [UInt8]) -> String {
        let digits = Array("0123456789abcdef")
        var text = "\""
        for byte in name {
            switch byte {
            case 0x22, 0x5C: text += "\\\(Character(UnicodeScalar(byte)))"
            case 0x20..<0x7F: text.append(Character(UnicodeScalar(byte)))
            default: text += "\\x\(digits[Int(byte >> 4)])\(digits[Int(byte & 15)])"
            }
        }
        return text + "\""
    }
}
