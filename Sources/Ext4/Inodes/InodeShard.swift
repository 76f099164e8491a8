/// A part of the inodes in memory, with its own lock.
final class InodeShard: Sendable {
    private struct State {
        var inodes: [InodeNumber: Inode] = [:]
        var order: [InodeNumber] = []
        var head = 0
        /// How many outside know an inode. Only a count: the inode itself may leave the memory.
        var references: [InodeNumber: UInt64] = [:]
        /// Inodes without a name that somebody still knows: they are freed at the last release.
        var kept: [InodeNumber: Inode] = [:]
    }

    /// How many inodes one insertion looks at for a place.
    private static let evictionSteps = 16

    private let budget: Int
    private let state = Guarded(State())

    init(budget: Int) { self.budget = budget }

    func find(_ number: InodeNumber) -> Inode? { state.withLock { $0.inodes[number] } }

    func acquire(_ number: InodeNumber) {
        state.withLock { $0.references[number, default: 0] &+= 1 }
    }

    /// Takes references back; the inode that was kept for the last of them.
    func release(_ number: InodeNumber, count: UInt64) -> Inode? {
        state.withLock { state in
            guard let references = state.references[number] else { return nil }
            guard references <= count else {
                state.references[number] = references &- count
                return nil
            }
            state.references[number] = nil
            return state.kept.removeValue(forKey: number)
        }
    }

    /// Keeps `inode` until its last reference is released; false when it has none.
    func keep(_ inode: Inode) -> Bool {
        state.withLock { state in
            guard state.references[inode.number] != nil else { return false }
            state.kept[inode.number] = inode
            return true
        }
    }

    /// Notes the references that `other` has.
    func takeReferences(from other: InodeShard) {
        let references = other.state.withLock { $0.references }
        state.withLock { $0.references = references }
    }

    var keptInodes: [Inode] { state.withLock { Array($0.kept.values) } }

    func replace(by inode: Inode) {
        state.withLock { state in
            if state.inodes.updateValue(inode, forKey: inode.number) == nil {
                state.order.append(inode.number)
            }
        }
    }

    func forget(_ number: InodeNumber) { state.withLock { $0.inodes[number] = nil } }

    /// Adds `inode`, unless another thread was faster: the one that is there is returned.
    func insert(_ inode: Inode) -> Inode {
        state.withLock { state in
            if let present = state.inodes[inode.number] { return present }
            // First in, first out, over those that nobody holds. A few steps each time: where all
            // are held, a whole round would make every insertion cost as much as all before it.
            // More than one goes at a time, so what grew beyond the budget shrinks back.
            var steps = min(state.order.count - state.head, Self.evictionSteps)
            while state.inodes.count >= budget, steps > 0 {
                steps -= 1
                let oldest = state.order[state.head]
                state.head += 1
                guard let index = state.inodes.index(forKey: oldest) else { continue }
                if isKnownUniquelyReferenced(&state.inodes.values[index]) {
                    state.inodes.remove(at: index)
                } else {
                    state.order.append(oldest)
                }
            }
            if state.head > 64, state.head > state.order.count / 2 {
                state.order.removeSubrange(0..<state.head)
                state.head = 0
            }
            state.inodes[inode.number] = inode
            state.order.append(inode.number)
            return inode
        }
    }
}
