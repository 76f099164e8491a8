// Blocks of attributes that inodes share, on a volume that is open for writing.
//
// A block is found by the hash of its attributes and then compared, so what is noted here may be
// incomplete or out of date without harm, but for one rule: a block is noted only while its
// contents stand still. So whoever changes a block that it has alone takes it out first, and puts
// it back when nothing can take the change back any more.

/// The blocks that another inode with the same attributes may use too, and the lock for all such.
final class SharedAttributes: Sendable {
    /// Held while a block of attributes, or what an inode with a value counts, is changed; shared
    /// while a block is looked at.
    let lock = SharedLock()
    private let state = Guarded(State())

    /// Beyond that many blocks all are forgotten: to share saves space, it is not promised.
    private static let mostBlocks = 1 << 14

    private struct State {
        var blocks: [UInt32: [BlockNumber]] = [:]
        var hashes: [BlockNumber: UInt32] = [:]
        /// Blocks that nobody uses, and that were not freed since that was found out where
        /// nothing could be allocated or freed.
        var unused: [BlockNumber] = []

        mutating func remove(_ block: BlockNumber) {
            guard let hash = hashes.removeValue(forKey: block) else { return }
            blocks[hash]?.removeAll { $0 == block }
            if blocks[hash]?.isEmpty == true { blocks[hash] = nil }
        }
    }

    /// The blocks whose attributes had `hash`.
    func blocks(with hash: UInt32) -> [BlockNumber] {
        state.withLock { $0.blocks[hash] ?? [] }
    }

    /// Notes a block; with the hash 0 it is one that is never shared.
    func insert(_ block: BlockNumber, hash: UInt32) {
        state.withLock { state in
            state.remove(block)
            guard hash != 0 else { return }
            if state.hashes.count >= Self.mostBlocks {
                state.blocks = [:]
                state.hashes = [:]
            }
            state.hashes[block] = hash
            state.blocks[hash, default: []].append(block)
        }
    }

    /// Forgets a block that is going to be changed or freed.
    func remove(_ block: BlockNumber) { state.withLock { $0.remove(block) } }

    /// Keeps a block that nobody uses for somebody who can free it.
    func leave(_ block: BlockNumber) { state.withLock { $0.unused.append(block) } }

    /// The blocks that nobody uses, for the caller to free.
    func takeUnused() -> [BlockNumber] {
        state.withLock { state in
            let blocks = state.unused
            state.unused = []
            return blocks
        }
    }
}
