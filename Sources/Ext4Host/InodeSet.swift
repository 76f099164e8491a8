package import Ext4

/// A set of inode numbers: a bit each, in pages that exist only where a number was inserted. It
/// never takes more than an eighth of a byte for each inode of the volume.
package struct InodeSet: Sendable {
    private static let wordsPerPage = 64
    private var pages: [UInt32: [UInt64]] = [:]

    package init() {}

    /// Inserts a number; false when it was there already.
    package mutating func insert(_ number: InodeNumber) -> Bool {
        let (page, word, bit) = Self.place(number)
        if pages[page] == nil { pages[page] = [UInt64](repeating: 0, count: Self.wordsPerPage) }
        let isNew = (pages[page]?[word] ?? 0) & bit == 0
        pages[page]?[word] |= bit
        return isNew
    }

    package func contains(_ number: InodeNumber) -> Bool {
        let (page, word, bit) = Self.place(number)
        return (pages[page]?[word] ?? 0) & bit != 0
    }

    private static func place(_ number: InodeNumber) -> (page: UInt32, word: Int, bit: UInt64) {
        let bits = UInt32(wordsPerPage) &* 64
        let inPage = number.rawValue % bits
        return (number.rawValue / bits, Int(inPage / 64), 1 << UInt64(inPage % 64))
    }
}
