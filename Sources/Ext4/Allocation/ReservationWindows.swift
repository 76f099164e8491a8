/// Blocks that are set aside, in memory only, for files that grow: so that files which grow in turn
/// do not take each other's place.
///
/// A file that is written once gets just what it needs. One that is added to gets a window, which
/// doubles with the file.
final class ReservationWindows: Sendable {
    private let blocks: BlockAllocator
    private let state = Guarded(State())

    private struct State {
        var windows: [InodeNumber: BlockRange] = [:]
        /// Where small files of a group went last.
        var goals: [UInt32: BlockNumber] = [:]
    }

    /// The largest window, in bytes.
    private static let longest: UInt64 = 64 << 20

    init(_ blocks: BlockAllocator) { self.blocks = blocks }

    /// Sets up to `count` blocks aside for `inode`, from its window or from elsewhere.
    ///
    /// - Parameters:
    ///   - goal: where the blocks should be: behind those that come before them in the file.
    ///   - grown: how many blocks the file has, when it is being added to; 0 for no window.
    func reserve(
        _ count: UInt64, for inode: InodeNumber, near goal: BlockNumber, grown: UInt64,
        blockSize: Int, by spender: Spender
    ) throws(Ext4Error) -> BlockRange {
        let window = state.withLock { $0.windows.removeValue(forKey: inode) }
        if let window {
            if window.start == goal {
                let part = window.prefix(count)
                keep(window.dropFirst(count), for: inode)
                return part
            }
            blocks.cancel(window)
        }
        let extra = min(grown, Self.longest / UInt64(blockSize))
        // Near the end of the space a window would take what others need now.
        guard extra > count, blocks.freeBlocks / 8 > extra else {
            return try blocks.reserve(count, near: goal, for: spender)
        }
        let range = try blocks.reserve(max(count, extra), near: goal, for: spender)
        keep(range.dropFirst(count), for: inode)
        return range.prefix(count)
    }

    private func keep(_ window: BlockRange, for inode: InodeNumber) {
        guard window.count > 0 else { return }
        state.withLock { $0.windows[inode] = window }
    }

    /// Gives back what is set aside for `inode`.
    func remove(_ inode: InodeNumber) {
        if let window = state.withLock({ $0.windows.removeValue(forKey: inode) }) {
            blocks.cancel(window)
        }
    }

    /// Gives back all that is set aside.
    func removeAll() {
        let windows = state.withLock { state in
            let windows = state.windows
            state.windows = [:]
            return windows
        }
        for window in windows.values { blocks.cancel(window) }
    }

    /// Where the first block of a file in `group` should be: behind the last one's.
    func firstGoal(in group: GroupNumber) -> BlockNumber? {
        state.withLock { $0.goals[group.rawValue] }
    }

    /// Notes where the first blocks of a file in `group` went.
    func noteFirst(_ range: BlockRange, in group: GroupNumber) {
        state.withLock { $0.goals[group.rawValue] = range.end }
    }
}
