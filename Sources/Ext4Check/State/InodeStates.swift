package import Ext4
internal import Synchronization

/// What a check keeps of each inode: two bytes.
///
/// Bits 0 to 2 are the type (0: not in use), bit 3 says that the inode is damaged beyond what its
/// names may lead to, bit 4 that a name leads to it, and the rest is the balance: the link count
/// of the inode less the names that were found, from -1023 to 1022. The few inodes beyond that
/// are in a table of their own.
@safe
package final class InodeStates: @unchecked Sendable {
    /// The number of inodes of the volume.
    package let count: UInt32
    private let memory: ZeroedMemory
    private let words: UnsafeMutablePointer<Atomic<UInt16>>
    private let exceptions = Mutex<[UInt32: Int64]>([:])

    private static let typeMask: UInt16 = 0x7
    private static let badBit: UInt16 = 0x8
    private static let referencedBit: UInt16 = 0x10
    private static let shift: UInt16 = 5
    private static let bias = 1024
    /// The balance is in the table.
    private static let exception = 2047

    init?(count: UInt32) {
        guard let memory = ZeroedMemory(byteCount: (Int(count) + 1) * 2) else { return nil }
        self.memory = memory
        self.count = count
        unsafe words = memory.bound(to: Atomic<UInt16>.self)
    }

    private func load(_ number: InodeNumber) -> UInt16 {
        guard number.rawValue <= count else { return 0 }
        return unsafe words[Int(number.rawValue)].load(ordering: .relaxed)
    }

    // MARK: What the passes note

    /// Notes an inode in use. Only one thread does so, before any name is looked at.
    func setUsed(_ number: InodeNumber, _ type: FileType, links: UInt16, isBad: Bool = false) {
        guard number.rawValue <= count else { return }
        var balance = Int(links)
        if balance + Self.bias >= Self.exception {
            exceptions.withLock { $0[number.rawValue] = Int64(links) }
            balance = Self.exception - Self.bias
        }
        // A mode that means nothing still takes the inode: 0 stands for one that is free.
        let type: FileType = type == .unknown ? .regular : type
        let word =
            UInt16(type.rawValue) | (isBad ? Self.badBit : 0)
            | UInt16(balance + Self.bias) << Self.shift
        unsafe words[Int(number.rawValue)].store(word, ordering: .relaxed)
    }

    /// Notes that an inode is damaged.
    func setBad(_ number: InodeNumber) {
        guard number.rawValue <= count else { return }
        unsafe words[Int(number.rawValue)].bitwiseOr(Self.badBit, ordering: .relaxed)
    }

    /// Notes a name that leads to an inode in use.
    ///
    /// - Returns: whether it is the first one.
    @discardableResult
    func addName(_ number: InodeNumber) -> Bool {
        guard number.rawValue <= count else { return false }
        let word = unsafe words[Int(number.rawValue)].bitwiseOr(
            Self.referencedBit, ordering: .relaxed)
        addLink(number)
        return word.oldValue & Self.referencedBit == 0
    }

    /// Notes a link that is no name: `.` of a directory, `..` of one in it.
    func addLink(_ number: InodeNumber) {
        guard number.rawValue <= count else { return }
        let index = Int(number.rawValue)
        var word = unsafe words[index].load(ordering: .relaxed)
        while true {
            let stored = Int(word >> Self.shift)
            if stored == Self.exception {
                exceptions.withLock { $0[number.rawValue, default: 0] -= 1 }
                return
            }
            var balance = stored - 1
            if balance <= 0 {
                exceptions.withLock {
                    $0[number.rawValue, default: 0] += Int64(balance - Self.bias)
                }
                balance = Self.exception
            }
            let (exchanged, original) = unsafe words[index].compareExchange(
                expected: word,
                desired: word & (1 << Self.shift - 1) | UInt16(balance) << Self.shift,
                ordering: .relaxed)
            if exchanged { return }
            if balance == Self.exception {
                exceptions.withLock {
                    $0[number.rawValue, default: 0] -= Int64(stored - 1 - Self.bias)
                }
            }
            word = original
        }
    }

    // MARK: What the passes ask

    /// Whether the inode is in use.
    package func isUsed(_ number: InodeNumber) -> Bool { load(number) & Self.typeMask != 0 }

    /// The type of an inode in use; `unknown` for one that is not.
    package func type(of number: InodeNumber) -> FileType {
        FileType(rawValue: UInt8(load(number) & Self.typeMask)) ?? .unknown
    }

    /// Whether the inode is damaged beyond what its names may lead to.
    package func isBad(_ number: InodeNumber) -> Bool { load(number) & Self.badBit != 0 }

    /// Whether a name leads to it.
    package func isReferenced(_ number: InodeNumber) -> Bool {
        load(number) & Self.referencedBit != 0
    }

    /// The inode's link count less the links that were found.
    package func balance(of number: InodeNumber) -> Int64 {
        let stored = Int(load(number) >> Self.shift)
        guard stored == Self.exception else { return Int64(stored - Self.bias) }
        return exceptions.withLock { $0[number.rawValue] ?? 0 }
    }
}
