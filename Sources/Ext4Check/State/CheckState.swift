package import Ext4
internal import Synchronization

/// A claim of blocks that another structure claims too.
package struct BlockClaim: Hashable, Sendable {
    /// What the blocks are to the inode.
    package enum Use: String, Hashable, Sendable {
        /// Contents.
        case data
        /// A node of its map.
        case map
        /// Its extended attributes.
        case attributes
    }

    /// Who claims them; 0 for the volume's own structures.
    package let inode: InodeNumber
    /// The first block.
    package let block: BlockNumber
    /// How many they are.
    package let count: UInt64
    /// What they are to the inode.
    package let use: Use
    /// The first block of the inode's contents, for data.
    package let logical: LogicalBlock
}

/// What a group has, as it must be.
package struct GroupTotals: Hashable, Sendable {
    /// Free clusters.
    package var freeClusters: UInt32 = 0
    /// Free inodes.
    package var freeInodes: UInt32 = 0
    /// Directories.
    package var directories: UInt32 = 0
    /// The highest inode in use, counted from 1 in the group; 0 for none.
    package var lastUsedInode: UInt32 = 0
}

/// What somebody uses, as quota counts it.
package struct QuotaAmount: Hashable, Sendable {
    /// Space in bytes.
    package var bytes: UInt64 = 0
    /// Inodes.
    package var inodes: UInt64 = 0
}

/// The kinds of quota.
package enum QuotaKind: Int, Hashable, Sendable, CaseIterable {
    /// By owner.
    case user
    /// By group.
    case group
    /// By project.
    case project
}

/// What the passes of a check gather: two bytes an inode, a bit a cluster, some words a directory.
package final class CheckState: Sendable {
    /// The volume.
    package let volume: CheckedVolume
    /// The inodes.
    package let inodes: InodeStates
    /// The blocks.
    package let blocks: BlockClaims
    let metadata: BlockClaims
    let log: FindingLog
    let options: CheckOptions

    struct Gathered {
        var directories: Directories?
        var attributeBlocks: [UInt64: AttributeBlockUse] = [:]
        var attributeInodes: [UInt32: UInt64] = [:]
        var claimants: [BlockClaim] = []
        var totals: [GroupTotals] = []
        var quotas: [[UInt32: QuotaAmount]] = [[:], [:], [:]]
        var statistics = CheckStatistics()
        /// What the root's lost+found leads to.
        var lostAndFound: (inode: InodeNumber, type: FileType, place: Corruption.Place)?
    }

    let gathered = Mutex(Gathered())

    init(_ volume: CheckedVolume, _ options: CheckOptions) throws(Ext4Error) {
        self.volume = volume
        self.options = options
        guard let inodes = InodeStates(count: volume.superblock.inodesCount),
            let blocks = BlockClaims(volume.superblock),
            let metadata = BlockClaims(volume.superblock, isByBlock: true)
        else { throw .noSpace }
        self.inodes = inodes
        self.blocks = blocks
        self.metadata = metadata
        log = FindingLog(limit: options.maximumFindings)
    }

    /// The directories; empty before the inodes were read.
    package var directories: Directories? { gathered.withLock { $0.directories } }

    /// Who claims the blocks that are claimed more than once.
    package var claimants: [BlockClaim] { gathered.withLock { $0.claimants } }

    /// What each group has, as it must be.
    package var totals: [GroupTotals] { gathered.withLock { $0.totals } }

    /// How many inodes have each block of attributes.
    package var attributeBlocks: [UInt64: AttributeBlockUse] {
        gathered.withLock { $0.attributeBlocks }
    }

    /// How many attributes have their value in each inode.
    package var attributeInodes: [UInt32: UInt64] { gathered.withLock { $0.attributeInodes } }

    /// What each owner uses.
    package func quota(_ kind: QuotaKind) -> [UInt32: QuotaAmount] {
        gathered.withLock { $0.quotas[kind.rawValue] }
    }

    func report(_ finding: Finding) { log.add(finding) }
}

/// A block of attributes and who has it.
package struct AttributeBlockUse: Hashable, Sendable {
    /// `h_refcount`, as it stands.
    package let stored: UInt32
    /// How many inodes have it.
    package var users: UInt32
    /// Clusters of values in inodes of their own, which each of its users is charged for.
    let valueClusters: UInt64
    /// How many such values there are.
    let valueCount: UInt64
    /// Whether one of the attributes is an encryption context.
    let hasContext: Bool
    /// Whether it is sound enough to be shared out.
    package let isSound: Bool
}
