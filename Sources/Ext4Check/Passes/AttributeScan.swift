internal import Ext4
internal import Synchronization

/// The extended attributes of one inode: those in it, those in its block, and the inodes that hold
/// large values.
struct AttributeScan {
    private let state: CheckState
    private let volume: CheckedVolume
    private let fields: InodeFields
    /// Clusters that they take: the block, and what holds the values of their own inodes.
    private(set) var clusters: UInt64 = 0
    /// How many values have inodes of their own.
    private(set) var valueCount: UInt64 = 0
    /// Bytes of `system.data`; nil when there is no such attribute.
    private(set) var inlineCount: Int?
    /// Whether without them the contents cannot be had.
    private(set) var hidesContents = false
    private var hasContext = false

    init(_ state: CheckState, _ fields: InodeFields) {
        self.state = state
        volume = state.volume
        self.fields = fields
    }

    private var context: AttributeList.Context {
        let superblock = volume.superblock
        return AttributeList.Context(
            owner: fields.number, inodeCount: superblock.inodesCount,
            firstInode: superblock.firstInode.rawValue,
            hasAttributeInodes: superblock.incompatible.contains(.eaInode), checksumSeed: nil)
    }

    mutating func run(_ bytes: RawSpan) throws(Ext4Error) {
        try checkArea(bytes)
        if fields.attributeBlock != 0 { try checkBlock(fields.attributeBlock) }
        if fields.flags.contains(.encrypted), !hasContext,
            volume.superblock.incompatible.contains(.encrypt)
        {
            state.report(Finding(.encryptionContext, at: .init(inode: fields.number)))
        }
    }

    // MARK: - In the inode

    private mutating func checkArea(_ bytes: RawSpan) throws(Ext4Error) {
        guard fields.extraSize > 0 else { return }
        let list: AttributeList
        do throws(Ext4Error) {
            guard
                let found = try AttributeList(
                    parsingInode: bytes, extraSize: fields.extraSize, context)
            else { return }
            list = found
        } catch {
            report(.attributeInodeArea, error, block: nil)
            return
        }
        try check(list, in: bytes, block: nil)
    }

    /// Tells of a list that cannot be read.
    private func report(_ rule: CheckRule, _ error: Ext4Error, block: UInt64?) {
        var place = Corruption.Place(inode: fields.number, block: block.map(BlockNumber.init))
        var detail = error.description
        if case .corrupt(let corruption) = error {
            place.byteOffset = corruption.place.byteOffset
            detail = corruption.rule.description
        }
        state.report(Finding(rule, at: place, detail: detail))
    }

    /// Looks at entries that lie where they may: overlaps, hashes, values elsewhere.
    private mutating func check(
        _ list: AttributeList, in bytes: RawSpan, block: UInt64?
    ) throws(Ext4Error) {
        var ranges: [Range<Int>] = []
        for entry in list.entries {
            let place = Corruption.Place(
                inode: fields.number, block: block.map(BlockNumber.init),
                byteOffset: entry.byteOffset)
            if entry.name == .encryptionContext { checkContext(entry, in: bytes, place) }
            switch entry.value {
            case .inArea(let range):
                if block == nil, entry.name == .inlineData { inlineCount = range.count }
                if !range.isEmpty {
                    let size = (range.count + 3) & ~3
                    ranges.append(range.lowerBound..<range.lowerBound + size)
                }
                do throws(Ext4Error) {
                    try entry.checkHash(
                        ofValueIn: bytes, at: place, mayBeMissing: block == nil)
                } catch {
                    state.report(
                        Finding(
                            .attributeHash, at: place, found: UInt64(entry.hash),
                            name: entry.name.rest))
                }
            case .inode(let number, let size):
                try checkValue(in: number, size: size, of: entry, place)
            }
        }
        ranges.sort { $0.lowerBound < $1.lowerBound }
        for (earlier, later) in zip(ranges, ranges.dropFirst())
        where later.lowerBound < earlier.upperBound {
            state.report(
                Finding(
                    block == nil ? .attributeInodeArea : .attributeEntry,
                    at: .init(
                        inode: fields.number, block: block.map(BlockNumber.init),
                        byteOffset: later.lowerBound), detail: "values overlap each other"))
            return
        }
    }

    private mutating func checkContext(
        _ entry: AttributeEntry, in bytes: RawSpan, _ place: Corruption.Place
    ) {
        hasContext = true
        guard case .inArea(let range) = entry.value, !range.isEmpty else {
            state.report(Finding(.encryptionContext, at: place))
            return
        }
        // Version 1 has 28 bytes, version 2 has 40.
        let version = bytes.byte(at: range.lowerBound)
        guard (version == 1 && range.count == 28) || (version == 2 && range.count == 40) else {
            state.report(
                Finding(.encryptionContext, at: place, found: UInt64(version)))
            return
        }
    }

    // MARK: - Values in inodes

    /// The space that a value of that size takes, in clusters.
    private func clusters(ofValue size: Int) -> UInt64 {
        let cluster = UInt64(volume.superblock.clusterSize)
        return (UInt64(size) + cluster - 1) / cluster
    }

    private mutating func checkValue(
        in number: InodeNumber, size: Int, of entry: AttributeEntry, _ place: Corruption.Place
    ) throws(Ext4Error) {
        clusters &+= clusters(ofValue: size)
        valueCount &+= 1
        state.gathered.withLock { $0.attributeInodes[number.rawValue, default: 0] += 1 }
        let bytes = try volume.inodeBytes(number)
        let span = unsafe bytes.span.bytes
        let value = InodeFields(span, number: number)
        let words: String? =
            if value.linkCount == 0 {
                "the value's inode is not in use"
            } else if !value.flags.contains(.attributeInode) {
                "the value's inode has not the ea_inode flag"
            } else if value.type != .regular {
                "the value's inode is not a regular file"
            } else if value.size != UInt64(size) {
                "the value's inode has \(value.size) bytes"
            } else {
                nil
            }
        if let words {
            state.report(
                Finding(
                    .attributeInode, at: place, found: UInt64(size), other: number,
                    name: entry.name.rest, detail: words))
            return
        }
        // The inode keeps its value's hash where others keep the time of the last access.
        let stored = span[InodeRecord.Layout.accessTime]
        let isRight = XAttrHash.Signedness.allCases.contains { signedness in
            unsafe XAttrHash.ofEntry(
                name: entry.name.rest.span.bytes, valueHash: stored, signedness) == entry.hash
        }
        if !isRight {
            state.report(
                Finding(
                    .attributeHash, at: place, found: UInt64(entry.hash), other: number,
                    name: entry.name.rest))
        }
    }

    // MARK: - In a block

    private mutating func checkBlock(_ block: UInt64) throws(Ext4Error) {
        guard volume.contains(block), volume.superblock.compatible.contains(.extAttr),
            volume.superblock.incompatible.contains(.bit64) || block < 1 << 32
        else {
            state.report(
                Finding(
                    .inodeAttributeBlock, at: .init(inode: fields.number), found: block,
                    expected: 0))
            return
        }
        clusters &+= 1
        let known = state.gathered.withLock { gathered -> AttributeBlockUse? in
            guard let use = gathered.attributeBlocks[block] else { return nil }
            gathered.attributeBlocks[block]?.users += 1
            return use
        }
        if let known {
            clusters &+= known.valueClusters
            valueCount &+= known.valueCount
            hasContext = hasContext || known.hasContext
            return
        }
        try checkFirst(block)
    }

    /// Looks at a block that no inode before this one has.
    private mutating func checkFirst(_ block: UInt64) throws(Ext4Error) {
        let bytes = try volume.block(BlockNumber(block))
        let span = unsafe bytes.span.bytes
        let (before, countBefore) = (clusters, valueCount)
        let hadContext = hasContext
        var isSound = true
        let place = Corruption.Place(inode: fields.number, block: BlockNumber(block))
        if span[XAttrBlockHeader.Layout.magic] != XAttrBlockHeader.magic
            || span[XAttrBlockHeader.Layout.blockCount] != 1
        {
            state.report(
                Finding(
                    .attributeBlock, at: place,
                    found: UInt64(span[XAttrBlockHeader.Layout.magic]),
                    expected: UInt64(XAttrBlockHeader.magic)))
            isSound = false
        }
        if isSound, volume.hasChecksums {
            let stored = span[XAttrBlockHeader.Layout.checksum]
            let computed = XAttrBlockHeader.checksum(
                of: span, at: BlockNumber(block), seed: volume.superblock.checksumSeed)
            if stored != computed {
                state.report(
                    Finding(
                        .attributeChecksum, at: place, found: UInt64(stored),
                        expected: UInt64(computed)))
            }
        }
        if isSound {
            do throws(Ext4Error) {
                let list = try AttributeList(
                    parsingBlockEntries: span, at: BlockNumber(block), context)
                try check(list, in: span, block: block)
            } catch {
                guard case .corrupt = error else { throw error }
                report(.attributeEntry, error, block: block)
                isSound = false
            }
        }
        let use = AttributeBlockUse(
            stored: span[XAttrBlockHeader.Layout.referenceCount], users: 1,
            valueClusters: clusters &- before, valueCount: valueCount &- countBefore,
            hasContext: hasContext && !hadContext, isSound: isSound)
        // Another thread may have come to it meanwhile; the block is claimed by the first.
        let isFirst = state.gathered.withLock { gathered -> Bool in
            guard gathered.attributeBlocks[block] == nil else {
                gathered.attributeBlocks[block]?.users += 1
                return false
            }
            gathered.attributeBlocks[block] = use
            return true
        }
        guard isFirst else { return }
        let first = block &- volume.firstDataBlock
        if state.metadata.isAnyClaimed(first..<first &+ 1) {
            state.report(Finding(.mapMetadata, at: place, found: block))
        } else {
            state.blocks.claim(volume.clusters(of: block, count: 1))
        }
    }
}
