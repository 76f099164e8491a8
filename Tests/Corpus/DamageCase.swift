import Ext4
import Ext4Check
import Ext4Verify

/// One kind of damage: a sound image, and what is done to it.
struct DamageCase: Sendable {
    /// A stable name: the structure, a slash, the rule that is broken.
    let name: String
    /// The sound image that it starts from.
    let image: String
    /// The identifier of the finding that names the damage; nil where the damage is none.
    let finds: String?
    /// What is done.
    let change: @Sendable (inout ImageEditor) throws -> Void
}

/// The cases, as they are gathered.
struct CaseList {
    private(set) var cases: [DamageCase] = []

    /// Adds one case for each of the images; the first keeps the plain name.
    mutating func add(
        _ name: String, on images: String..., finds: String? = nil,
        _ change: @escaping @Sendable (inout ImageEditor) throws -> Void
    ) {
        for (i, image) in images.enumerated() {
            cases.append(
                DamageCase(
                    name: i == 0 ? name : "\(name)@\(image)", image: image, finds: finds,
                    change: change))
        }
    }

    /// Every case of the corpus.
    static func all() -> [DamageCase] {
        var list = CaseList()
        list.addSuperblock()
        list.addFeatures()
        list.addBackups()
        list.addDescriptors()
        list.addBitmaps()
        list.addInodes()
        list.addReservedInodes()
        list.addSpecialFiles()
        list.addExtents()
        list.addPointers()
        list.addSharedBlocks()
        list.addDirectories()
        list.addDots()
        list.addConnectivity()
        list.addIndexes()
        list.addAttributes()
        list.addAttributeInodes()
        list.addInlineData()
        list.addJournal()
        list.addOrphans()
        list.addClusters()
        list.addQuota()
        list.addMultiMount()
        list.addFlags()
        return list.cases
    }
}

/// The tables of fields by their short names: a case is a line.
typealias SB = Superblock.Layout
typealias GD = GroupDescriptor.Layout
typealias IN = InodeRecord.Layout
typealias DE = DirectoryRecord.Layout
typealias EH = ExtentNode.Header
typealias EE = ExtentNode.Leaf
typealias EI = ExtentNode.Index
typealias XB = XAttrBlockHeader.Layout
typealias XE = XAttrEntryRecord.Layout
typealias JS = JournalSuperblock.Layout

/// Where `i_block` starts.
let mapStart = InodeRecord.Layout.block.lowerBound

/// Field of word `index` of `i_block`.
func pointer(_ index: Int) -> Field<UInt32> { .le(mapStart + 4 * index) }

/// Field of word `index` of a block of words.
func word(_ index: Int) -> Field<UInt32> { .le(4 * index) }

/// Entry `index` of the extent root in an inode: the start of the entry.
func rootEntry(_ index: Int) -> Int { mapStart + ExtentNode.entrySize * (index + 1) }

/// Entry `index` of an extent node in a block.
func nodeEntry(_ index: Int) -> Int { ExtentNode.entrySize * (index + 1) }
