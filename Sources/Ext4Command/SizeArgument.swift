internal import ArgumentParser

/// A size as `truncate -s` takes it: a number of bytes, or of the unit behind it, set against the
/// size of the file by the sign before it.
struct SizeArgument: ExpressibleByArgument {
    private enum Relation: Character {
        case more = "+"
        case less = "-"
        case atMost = "<"
        case atLeast = ">"
        case roundedDown = "/"
        case roundedUp = "%"
    }

    private let relation: Relation?
    private let amount: UInt64

    init?(argument: String) {
        var text = argument[...]
        relation = text.first.flatMap { Relation(rawValue: $0) }
        if relation != nil { text.removeFirst() }
        let digits = text.prefix { ("0"..."9").contains($0) }
        guard let number = UInt64(digits) else { return nil }
        guard let unit = Self.unit(text[digits.endIndex...]) else { return nil }
        let (amount, overflow) = number.multipliedReportingOverflow(by: unit)
        guard !overflow, amount <= UInt64(Int64.max) else { return nil }
        if relation == .roundedDown || relation == .roundedUp, amount == 0 { return nil }
        self.amount = amount
    }

    /// `K`, `M` and so on are powers of 1,024, also as `KiB`; `KB` and so on are powers of 1,000.
    private static func unit(_ text: Substring) -> UInt64? {
        guard let letter = text.first else { return 1 }
        let letters: [Character] = ["K", "M", "G", "T", "P", "E"]
        // As coreutils and mke2fs take them.
        let small: [Character] = ["k", "m", "g", "t"]
        guard let power = small.firstIndex(of: letter) ?? letters.firstIndex(of: letter) else {
            return nil
        }
        let base: UInt64
        switch text.dropFirst() {
        case "", "iB": base = 1_024
        case "B": base = 1_000
        default: return nil
        }
        return (0...power).reduce(1) { product, _ in product * base }
    }

    /// The size that a file of `old` bytes gets; nil for more than there can be.
    func applied(to old: UInt64) -> UInt64? {
        let (size, overflow): (UInt64, Bool)
        switch relation {
        case nil: (size, overflow) = (amount, false)
        case .more: (size, overflow) = old.addingReportingOverflow(amount)
        case .less: (size, overflow) = (old > amount ? old - amount : 0, false)
        case .atMost: (size, overflow) = (min(old, amount), false)
        case .atLeast: (size, overflow) = (max(old, amount), false)
        case .roundedDown: (size, overflow) = (old - old % amount, false)
        case .roundedUp:
            let rest = old % amount
            (size, overflow) = rest == 0 ? (old, false) : old.addingReportingOverflow(amount - rest)
        }
        return overflow ? nil : size
    }
}
