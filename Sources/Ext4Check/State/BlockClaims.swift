package import Ext4
internal import Synchronization

/// Which blocks something claims: a bit a cluster, or a bit a block, and another one for those that
/// are claimed twice, which take memory only where there are some.
@safe
package final class BlockClaims: @unchecked Sendable {
    /// The number of clusters of the volume.
    package let count: UInt64
    private let firstDataBlock: UInt64
    private let ratioLog2: UInt64
    private let clustersPerGroup: UInt64
    private let memory: ZeroedMemory
    private let twiceMemory: ZeroedMemory
    private let words: UnsafeMutablePointer<Atomic<UInt64>>
    private let twice: UnsafeMutablePointer<Atomic<UInt64>>
    private let shared = Atomic<Bool>(false)

    /// No claims yet.
    ///
    /// - Parameter isByBlock: whether each block is a cluster of its own here: the volume's own
    ///   structures share clusters.
    init?(_ superblock: Superblock, isByBlock: Bool = false) {
        firstDataBlock = UInt64(superblock.firstDataBlock)
        ratioLog2 = isByBlock ? 0 : UInt64(superblock.clusterRatioLog2)
        clustersPerGroup = UInt64(
            isByBlock ? superblock.blocksPerGroup : superblock.clustersPerGroup)
        let blocks = superblock.blocksCount - firstDataBlock
        count = (blocks + (1 << ratioLog2) - 1) >> ratioLog2
        // Whole words, and one more so that a look at the last bits never leaves them.
        let bytes = Int(count / 64 + 2) * 8
        guard let memory = ZeroedMemory(byteCount: bytes),
            let twiceMemory = ZeroedMemory(byteCount: bytes)
        else { return nil }
        self.memory = memory
        self.twiceMemory = twiceMemory
        unsafe words = memory.bound(to: Atomic<UInt64>.self)
        unsafe twice = twiceMemory.bound(to: Atomic<UInt64>.self)
    }

    /// Whether any block is claimed twice.
    package var hasShared: Bool { shared.load(ordering: .relaxed) }

    /// The cluster of a block of the volume.
    package func cluster(of block: UInt64) -> UInt64 { (block &- firstDataBlock) >> ratioLog2 }

    /// The first block of a cluster.
    package func block(of cluster: UInt64) -> UInt64 { firstDataBlock &+ cluster << ratioLog2 }

    /// Claims clusters, which lie in the volume.
    ///
    /// - Returns: whether one of them was claimed before.
    @discardableResult
    func claim(_ clusters: Range<UInt64>) -> Bool {
        var isShared = false
        forEachWord(of: clusters) { index, mask in
            let old = unsafe words[index].bitwiseOr(mask, ordering: .relaxed).oldValue & mask
            guard old != 0 else { return }
            unsafe twice[index].bitwiseOr(old, ordering: .relaxed)
            isShared = true
        }
        if isShared { shared.store(true, ordering: .relaxed) }
        return isShared
    }

    /// Claims blocks for a second time without a word about it: those that several copies of the
    /// same structure may have in common.
    func claimAgain(_ clusters: Range<UInt64>) {
        forEachWord(of: clusters) { index, mask in
            unsafe words[index].bitwiseOr(mask, ordering: .relaxed)
        }
    }

    private func forEachWord(of clusters: Range<UInt64>, _ body: (Int, UInt64) -> Void) {
        let end = min(clusters.upperBound, count)
        guard clusters.lowerBound < end else { return }
        let first = Int(clusters.lowerBound >> 6)
        let last = Int((end &- 1) >> 6)
        for index in first...last {
            var mask = ~0 as UInt64
            if index == first { mask &= ~0 &<< (clusters.lowerBound & 63) }
            if index == last { mask &= ~0 &>> (63 &- (end &- 1) & 63) }
            body(index, mask)
        }
    }

    // MARK: What the passes ask

    /// Whether something claims the cluster.
    package func isClaimed(cluster: UInt64) -> Bool {
        guard cluster < count else { return false }
        return unsafe words[Int(cluster >> 6)].load(ordering: .relaxed) >> (cluster & 63) & 1 != 0
    }

    /// Whether something claims the block.
    package func isClaimed(_ block: BlockNumber) -> Bool {
        block.rawValue >= firstDataBlock && isClaimed(cluster: cluster(of: block.rawValue))
    }

    /// Whether two claim the cluster.
    package func isShared(cluster: UInt64) -> Bool {
        guard cluster < count else { return false }
        return unsafe twice[Int(cluster >> 6)].load(ordering: .relaxed) >> (cluster & 63) & 1 != 0
    }

    /// Whether two claim one of the clusters.
    package func isShared(_ clusters: Range<UInt64>) -> Bool {
        var found = false
        forEachWord(of: clusters) { index, mask in
            if unsafe twice[index].load(ordering: .relaxed) & mask != 0 { found = true }
        }
        return found
    }

    /// Whether something claims one of the clusters.
    func isAnyClaimed(_ clusters: Range<UInt64>) -> Bool {
        var found = false
        forEachWord(of: clusters) { index, mask in
            if unsafe words[index].load(ordering: .relaxed) & mask != 0 { found = true }
        }
        return found
    }

    /// The bits of a group as its bitmap has them, in whole bytes: those behind the last cluster
    /// of the group are clear.
    package func bitmap(of group: GroupNumber) -> [UInt8] {
        let start = UInt64(group.rawValue) * clustersPerGroup
        let size = min(clustersPerGroup, count - min(start, count))
        var bytes = [UInt8](repeating: 0, count: Int(size + 7) / 8)
        for index in bytes.indices {
            let bit = start + UInt64(index) * 8
            let word = Int(bit >> 6)
            var value = unsafe words[word].load(ordering: .relaxed) >> (bit & 63)
            if bit & 63 > 56 {
                value |= unsafe words[word + 1].load(ordering: .relaxed) << (64 - bit & 63)
            }
            bytes[index] = UInt8(truncatingIfNeeded: value)
        }
        // What follows is the next group's.
        if size % 8 != 0, let last = bytes.indices.last {
            bytes[last] &= UInt8(truncatingIfNeeded: 1 << (size % 8) - 1)
        }
        return bytes
    }
}
