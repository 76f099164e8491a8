/// A part of the buffer cache with its own lock and its own S3-FIFO queues.
final class CacheShard: Sendable {
    private let state: Guarded<State>

    init(blockBudget: Int) { state = Guarded(State(budget: blockBudget)) }

    /// What a look-up came to.
    enum Answer {
        case found(Buffer)
        /// The block must be read, by whoever asked. What was read is good as long as the epoch is
        /// the same when it comes in.
        case missing(epoch: UInt64)
    }

    /// Looks `block` up; counts as wanting it.
    func find(_ block: BlockNumber) -> Answer {
        state.withLock { state in
            guard let buffer = state.buffers[block] else {
                state.misses &+= 1
                return .missing(epoch: state.epoch)
            }
            state.hits &+= 1
            if buffer.frequency < 3 { buffer.frequency += 1 }
            return .found(buffer)
        }
    }

    /// Whether the block is there; does not count as wanting it.
    func holds(_ block: BlockNumber) -> Bool {
        state.withLock { $0.buffers[block] != nil }
    }

    /// Whether a further block drives one out.
    var isFull: Bool { state.withLock { $0.buffers.count >= $0.budget } }

    /// What a read must be inserted with.
    var epoch: UInt64 { state.withLock { $0.epoch } }

    /// Adds `buffer`, unless another thread was faster: the one in the cache is returned. Nil when
    /// what was read may be older than what the disk has by now.
    func insert(_ buffer: Buffer, readIn epoch: UInt64) -> Buffer? {
        state.withLock { state in
            if let present = state.buffers[buffer.block] { return present }
            guard state.epoch == epoch else { return nil }
            state.add(buffer)
            return buffer
        }
    }

    /// Puts `buffer` in the place of whatever the cache has of that block, which it returns.
    func replace(by buffer: Buffer) -> Buffer? {
        state.withLock { state in
            state.epoch &+= 1
            guard let index = state.buffers.index(forKey: buffer.block) else {
                state.add(buffer)
                return nil
            }
            let old = state.buffers.values[index]
            state.buffers.values[index] = buffer
            return old
        }
    }

    /// Forgets the block, and returns what the cache had of it.
    func drop(_ block: BlockNumber) -> Buffer? {
        state.withLock { state in
            state.epoch &+= 1
            return state.buffers.removeValue(forKey: block)
        }
    }

    var statistics: CacheStatistics {
        state.withLock {
            CacheStatistics(blocks: $0.buffers.count, hits: $0.hits, misses: $0.misses)
        }
    }

    private struct State {
        let budget: Int
        var buffers: [BlockNumber: Buffer] = [:]
        var small = BlockQueue()
        var main = BlockQueue()
        /// Blocks that left the small queue unwanted, as many as the budget, oldest first.
        var ghosts: Set<BlockNumber> = []
        var ghostOrder = BlockQueue()
        var hits = 0
        var misses = 0
        /// Counts the times that a block left which the disk may have got anew since somebody
        /// began to read it: what was read before must not come in any more.
        var epoch: UInt64 = 0

        /// A block goes round the main queue 3 times before it leaves: with four times as many steps
        /// a block, a cache that is too large shrinks.
        private static let stepsPerBlock = 16

        init(budget: Int) { self.budget = budget }

        mutating func add(_ buffer: Buffer) {
            makeRoom()
            buffers[buffer.block] = buffer
            if ghosts.remove(buffer.block) != nil {
                main.append(buffer.block)
            } else {
                small.append(buffer.block)
            }
        }

        /// Evicts until one more fits, or until some buffers were found to be in use.
        ///
        /// How many are looked at is bounded, for a transaction may hold nearly all of them, and
        /// going through them for each block that is added would take time without end. The cache is
        /// larger than its budget then; the next calls look further on and take it back.
        mutating func makeRoom() {
            var steps = Self.stepsPerBlock
            while buffers.count >= budget, steps > 0 {
                steps &-= 1
                if small.count > budget / 10 || main.isEmpty {
                    guard let block = small.popFirst() else { return }
                    if wasWanted(block, leaving: 0) {
                        main.append(block)
                    } else if evict(block) {
                        remember(block)
                    } else {
                        small.append(block)
                    }
                } else {
                    guard let block = main.popFirst() else { return }
                    if wasWanted(block, leaving: nil) || !evict(block) { main.append(block) }
                }
            }
        }

        /// Whether the block was wanted since its queue last looked; what is left of that count is
        /// `rest`, or with nil one less.
        private func wasWanted(_ block: BlockNumber, leaving rest: UInt8?) -> Bool {
            guard let buffer = buffers[block], buffer.frequency > 0 else { return false }
            buffer.frequency = rest ?? buffer.frequency &- 1
            return true
        }

        /// Drops the block's buffer; false when somebody holds it.
        private mutating func evict(_ block: BlockNumber) -> Bool {
            guard let index = buffers.index(forKey: block) else { return true }
            guard isKnownUniquelyReferenced(&buffers.values[index]) else { return false }
            if buffers.values[index].transaction != nil { epoch &+= 1 }
            buffers.remove(at: index)
            return true
        }

        private mutating func remember(_ block: BlockNumber) {
            guard ghosts.insert(block).inserted else { return }
            ghostOrder.append(block)
            while ghostOrder.count > budget, let oldest = ghostOrder.popFirst() {
                ghosts.remove(oldest)
            }
        }
    }
}

/// A first-in, first-out queue of block numbers in one array.
struct BlockQueue {
    private var items: [BlockNumber] = []
    private var head = 0

    var count: Int { items.count &- head }
    var isEmpty: Bool { count == 0 }

    mutating func append(_ block: BlockNumber) { items.append(block) }

    mutating func popFirst() -> BlockNumber? {
        guard head < items.count else { return nil }
        let first = items[head]
        head &+= 1
        // The dead part is given back once it is the larger one: constant work an item.
        if head > 64, head > items.count / 2 {
            items.removeSubrange(0..<head)
            head = 0
        }
        return first
    }
}
