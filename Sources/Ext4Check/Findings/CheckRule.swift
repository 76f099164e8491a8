/// The parts of a check, in the order in which they must hold: a later one means something only
/// where the earlier ones are in order.
public enum CheckStage: Int, Comparable, Hashable, Sendable, CaseIterable {
    /// The superblock.
    case superblock
    /// The group descriptors and where the groups' structures are.
    case descriptors
    /// The journal, its inode, multi-mount protection.
    case journal
    /// Inodes, their maps and their attributes.
    case inodes
    /// Blocks that more than one structure claims.
    case claims
    /// The contents of directories.
    case directories
    /// Whether every directory hangs on the root.
    case connectivity
    /// Whether every inode has a name, and as many as it says.
    case links
    /// Bitmaps, counters, quota.
    case totals

    /// Orders by what must hold first.
    public static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }
}

/// How much a finding matters.
public enum CheckSeverity: String, Hashable, Sendable {
    /// The volume is damaged.
    case error
    /// A copy or a mark is out of date; the volume works all the same. It is told and put right,
    /// but does not make a volume unclean.
    case note
}

/// The rules that a check holds a volume to, each by its stable identifier.
public enum CheckRule: String, Hashable, Sendable, CaseIterable {
    // Superblock.
    case superblockInvalid = "superblock.invalid"
    case superblockSize = "superblock.size"
    case superblockUUID = "superblock.uuid"
    case superblockMountTime = "superblock.mountTime"
    case superblockWriteTime = "superblock.writeTime"
    case superblockReservedDescriptors = "superblock.reservedDescriptors"
    case superblockReservedBlocks = "superblock.reservedBlocks"
    case superblockExclusive = "superblock.exclusive"
    case superblockFeatures = "superblock.features"
    case superblockState = "superblock.state"
    case superblockErrors = "superblock.errors"
    case superblockBackup = "superblock.backup"

    // Group descriptors.
    case groupChecksum = "group.checksum"
    case groupBlockBitmapPlace = "group.blockBitmapPlace"
    case groupInodeBitmapPlace = "group.inodeBitmapPlace"
    case groupInodeTablePlace = "group.inodeTablePlace"
    case groupOverlap = "group.overlap"
    case groupFlags = "group.flags"
    case groupUnusedInodes = "group.unusedInodes"
    case groupMarks = "group.marks"
    case groupBackup = "group.backup"

    // Journal and multi-mount protection.
    case mmpBlock = "mmp.block"
    case mmpContents = "mmp.contents"
    case mmpSequence = "mmp.sequence"
    case mmpInUse = "mmp.inUse"
    case journalInode = "journal.inode"
    case journalSuperblock = "journal.superblock"
    case journalFeatures = "journal.features"
    case journalDirty = "journal.dirty"
    case journalUnmarked = "journal.unmarked"
    case journalUUID = "journal.uuid"
    case journalUnused = "journal.unused"
    case journalLog = "journal.log"
    case journalError = "journal.error"
    case journalBackup = "journal.backup"
    case orphanList = "orphan.list"
    case orphanFileInode = "orphan.file"
    case orphanFileBlock = "orphan.block"
    case orphanEntry = "orphan.entry"
    case orphanPresent = "orphan.present"
    case resizeInode = "resize.inode"
    case quotaInode = "quota.inode"

    // Inodes.
    case inodeChecksum = "inode.checksum"
    case inodeMode = "inode.mode"
    case inodeReserved = "inode.reserved"
    case inodeRoot = "inode.root"
    case inodeDeletionTime = "inode.deletionTime"
    case inodeNoDeletionTime = "inode.noDeletionTime"
    case inodeOrphan = "inode.orphan"
    case inodeExtraSize = "inode.extraSize"
    case inodeExtraTime = "inode.extraTime"
    case inodeFragment = "inode.fragment"
    case inodeBlocksHigh = "inode.blocksHigh"
    case inodeAttributeBlock = "inode.attributeBlock"
    case inodeSize = "inode.size"
    case inodeBlocks = "inode.blocks"
    case inodeTooLarge = "inode.tooLarge"
    case inodeExtentsFlag = "inode.extentsFlag"
    case inodeNoExtentsFlag = "inode.noExtentsFlag"
    case inodePointers = "inode.pointers"
    case inodeIndexFlag = "inode.indexFlag"
    case inodeInlineFlag = "inode.inlineFlag"
    case inodeEncryptFlag = "inode.encryptFlag"
    case inodeCasefoldFlag = "inode.casefoldFlag"
    case inodeVerityFlag = "inode.verityFlag"
    case inodeAttributeFlag = "inode.attributeFlag"
    case inodeObsoleteFlag = "inode.obsoleteFlag"
    case inodeSpecialFlags = "inode.specialFlags"
    case inodeImmutable = "inode.immutable"
    case inodeSpecialSize = "inode.specialSize"
    case symlinkTarget = "symlink.target"
    case inlineData = "inline.data"

    // Maps.
    case extentHeader = "extent.header"
    case extentChecksum = "extent.checksum"
    case extentDepth = "extent.depth"
    case extentOrder = "extent.order"
    case extentLength = "extent.length"
    case extentRange = "extent.range"
    case extentKey = "extent.key"
    case extentNode = "extent.node"
    case extentUnwritten = "extent.unwritten"
    case extentAlignment = "extent.alignment"
    case indirectRange = "indirect.range"
    case indirectAlignment = "indirect.alignment"
    case mapMetadata = "map.metadata"

    // Extended attributes.
    case attributeBlock = "attribute.block"
    case attributeChecksum = "attribute.checksum"
    case attributeEntry = "attribute.entry"
    case attributeHash = "attribute.hash"
    case attributeInodeArea = "attribute.inodeArea"
    case attributeInode = "attribute.inode"
    case attributeInodeReferences = "attribute.inodeReferences"
    case attributeReferences = "attribute.references"
    case encryptionContext = "encryption.context"

    // Claims.
    case claimShared = "claim.shared"

    // Directories.
    case directoryHole = "directory.hole"
    case directoryChecksum = "directory.checksum"
    case directoryTail = "directory.tail"
    case directoryRecord = "directory.record"
    case directoryDot = "directory.dot"
    case directoryDotDot = "directory.dotDot"
    case directoryExtraDot = "directory.extraDot"
    case directoryName = "directory.name"
    case directoryDuplicate = "directory.duplicate"
    case directoryType = "directory.type"
    case directoryTypeUnset = "directory.typeUnset"
    case directoryInode = "directory.inode"
    case directoryUnusedInode = "directory.unusedInode"
    case directoryUninitialised = "directory.uninitialised"
    case directorySelf = "directory.self"
    case directoryRoot = "directory.root"
    case directoryLink = "directory.link"
    case directoryInline = "directory.inline"
    case directoryEncryption = "directory.encryption"
    case htreeRoot = "htree.root"
    case htreeVersion = "htree.version"
    case htreeDepth = "htree.depth"
    case htreeNode = "htree.node"
    case htreeChecksum = "htree.checksum"
    case htreeOrder = "htree.order"
    case htreeHash = "htree.hash"
    case htreeReference = "htree.reference"

    // Connectivity and links.
    case rootMissing = "root.missing"
    case lostAndFoundMissing = "lostAndFound.missing"
    case lostAndFoundType = "lostAndFound.type"
    case directoryUnconnected = "directory.unconnected"
    case directoryParent = "directory.parent"
    case inodeUnattached = "inode.unattached"
    case inodeLinks = "inode.links"

    // Bitmaps, counters, quota.
    case bitmapBlocks = "bitmap.blocks"
    case bitmapInodes = "bitmap.inodes"
    case bitmapBlockPadding = "bitmap.blockPadding"
    case bitmapInodePadding = "bitmap.inodePadding"
    case bitmapBlockChecksum = "bitmap.blockChecksum"
    case bitmapInodeChecksum = "bitmap.inodeChecksum"
    case groupFreeBlocks = "group.freeBlocks"
    case groupFreeInodes = "group.freeInodes"
    case groupDirectories = "group.directories"
    case groupUninitialised = "group.uninitialised"
    case superblockFreeBlocks = "superblock.freeBlocks"
    case superblockFreeInodes = "superblock.freeInodes"
    case quotaFile = "quota.file"
    case quotaUsage = "quota.usage"
}

extension CheckRule {
    /// The structure that the rule is about: the word before the dot.
    public var structure: String {
        String(rawValue.prefix { $0 != "." })
    }

    /// When the rule is looked at.
    public var stage: CheckStage { definition.stage }
    /// How much it matters.
    public var severity: CheckSeverity { definition.severity }
    /// Whether putting it right loses nothing and needs no decision (`-p`).
    public var isSafe: Bool { definition.isSafe }
    /// What must hold, in words.
    public var words: String { definition.words }
    /// How it is put right, in words.
    public var repair: String { definition.repair }

    private var definition: RuleDefinition { RuleDefinition.table[self] ?? .missing }
}

/// What stands behind a rule's identifier.
struct RuleDefinition: Sendable {
    let stage: CheckStage
    let severity: CheckSeverity
    let isSafe: Bool
    let words: String
    let repair: String

    static let missing = RuleDefinition(
        stage: .totals, severity: .error, isSafe: false, words: "", repair: "")

    /// By rule; `RuleTests` holds it to having all of them.
    static let table: [CheckRule: RuleDefinition] = {
        var table: [CheckRule: RuleDefinition] = [:]
        for (stage, rules) in stages {
            for rule in rules {
                table[rule.0] = RuleDefinition(
                    stage: stage, severity: rule.1 == .note ? .note : .error,
                    isSafe: rule.1 != .risky, words: rule.2, repair: rule.3)
            }
        }
        return table
    }()

    /// How a rule is put right.
    enum Risk {
        /// Anybody would do it.
        case safe
        /// Something may be lost, or somebody should know.
        case risky
        /// Nobody would notice.
        case note
    }

    typealias Entry = (CheckRule, Risk, String, String)

    private static let stages: [(CheckStage, [Entry])] = [
        (.superblock, superblock), (.descriptors, descriptors), (.journal, journal),
        (.inodes, inodes + maps + attributes), (.claims, claims),
        (.directories, directories + indexes), (.connectivity, connectivity), (.links, links),
        (.totals, totals),
    ]
}
