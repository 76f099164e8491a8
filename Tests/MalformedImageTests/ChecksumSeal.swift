@testable import Ext4

/// Makes the checksums of a volume right again after its bytes were changed, so that what a test
/// or the fuzzer did to a structure reaches the code behind the checksum.
///
/// It goes as far as the structures lead: what they hide has no checksum that anybody would read.
struct ChecksumSeal {
    /// Bytes to write and where.
    private typealias Patch = (start: Int, bytes: [UInt8])

    private let volume: Volume
    private let superblock: Superblock
    private var patches: [Patch] = []
    /// The ranges of bytes that hold metadata, in the order in which they were met.
    private(set) var metadata: [Range<Int>] = []
    /// Extent nodes and the like that may still be looked at: the image may lead in circles.
    private var budget = 4096

    /// Inodes that are looked at.
    private static let maximumInodes: UInt32 = 2048

    /// Makes all checksums of `image` right.
    ///
    /// - Returns: where it found metadata.
    @discardableResult
    static func seal(_ image: inout [UInt8]) -> [Range<Int>] {
        let start = Int(Superblock.byteOffset)
        guard image.count >= start + Superblock.byteCount else { return [] }
        let primary = start..<start + Superblock.byteCount
        let bytes = Array(image[primary])
        let features = ReadOnlyCompatibleFeatures(
            rawValue: get(bytes, Superblock.Layout.readOnlyCompatible))
        if features.contains(.metadataCsum) {
            let checksum = unsafe Superblock.checksum(of: bytes.span.bytes)
            set(&image, Superblock.Layout.checksum, base: start, checksum)
        }
        var options = OpenOptions()
        options.verifiesChecksums = false
        options.superblock = .primary
        options.journal = .ignore
        guard let volume = try? Volume.open(MemoryDevice(image), options: options) else {
            return [primary]
        }
        var seal = ChecksumSeal(volume: volume)
        seal.metadata.append(primary)
        seal.sealDescriptors()
        seal.sealInodes()
        seal.sealJournal()
        for patch in seal.patches where patch.start + patch.bytes.count <= image.count {
            image.replaceSubrange(patch.start..<patch.start + patch.bytes.count, with: patch.bytes)
        }
        return seal.metadata
    }

    private init(volume: Volume) {
        self.volume = volume
        superblock = volume.superblock
    }

    // MARK: Groups and inodes

    private mutating func sealDescriptors() {
        let size = superblock.descriptorSize
        let perBlock = superblock.descriptorsPerBlock
        for group in 0..<min(superblock.groupCount, 256) {
            let block = volume.groups.location(ofDescriptorBlock: group / perBlock)
            let start = byteOffset(of: block) + Int(group % perBlock) * size
            guard var bytes = read(start, size) else { continue }
            let checksum = unsafe GroupDescriptor.checksum(
                of: bytes.span.bytes, group: GroupNumber(group), superblock: superblock)
            if let checksum { Self.set(&bytes, GroupDescriptor.Layout.checksum, checksum) }
            write(bytes, at: start)
        }
    }

    private mutating func sealInodes() {
        for number in 1...min(superblock.inodesCount, Self.maximumInodes) {
            let index = number - 1
            let group = GroupNumber(index / superblock.inodesPerGroup)
            guard let descriptor = try? unverified(group) else { continue }
            let start =
                byteOffset(of: descriptor.inodeTable)
                + Int(index % superblock.inodesPerGroup) * superblock.inodeSize
            guard var bytes = read(start, superblock.inodeSize), !bytes.allSatisfy({ $0 == 0 })
            else { continue }
            seal(&bytes, ofInode: InodeNumber(number))
            write(bytes, at: start)
            // What it leads to is read through the engine, which has no say about checksums here.
            guard let inode = try? volume.inodes.inode(InodeNumber(number)) else { continue }
            sealExtents(of: inode)
            sealAttributes(of: inode)
            if inode.isDirectory, !inode.usesInlineData { sealDirectory(inode) }
        }
    }

    private func unverified(_ group: GroupNumber) throws(Ext4Error) -> GroupDescriptor {
        try volume.groups.descriptor(of: group)
    }

    private func seal(_ bytes: inout [UInt8], ofInode number: InodeNumber) {
        guard superblock.hasMetadataChecksums else { return }
        var span = bytes.mutableSpan
        var raw = unsafe span.mutableBytes
        InodeRecord.seal(&raw, number: number, seed: superblock.checksumSeed)
    }

    // MARK: What inodes lead to

    private mutating func sealExtents(of inode: Inode) {
        guard inode.usesExtents else { return }
        var waiting: [BlockNumber] = inode.record.withBlock { Self.children(of: $0) }
        while let block = waiting.popLast(), budget > 0 {
            budget -= 1
            guard superblock.contains(block), var bytes = readBlock(block) else { continue }
            let field = unsafe ExtentNode.checksumField(bytes.span.bytes)
            if superblock.hasMetadataChecksums, field.end <= bytes.count {
                var crc = CRC32C(inode.checksumSeed)
                unsafe crc.update(bytes.span.bytes.extracting(0..<field.offset))
                Self.set(&bytes, field, crc.value)
            }
            write(bytes, at: byteOffset(of: block))
            waiting += unsafe Self.children(of: bytes.span.bytes)
        }
    }

    /// The blocks that an inner node leads to, whatever else is wrong with it.
    private static func children(of node: RawSpan) -> [BlockNumber] {
        guard node[ExtentNode.Header.magic] == ExtentNode.magic,
            node[ExtentNode.Header.depth] > 0
        else { return [] }
        let count = min(ExtentNode.count(node), node.byteCount / ExtentNode.entrySize - 1)
        return (0..<max(count, 0)).map { ExtentNode.child(node, $0) }
    }

    private mutating func sealDirectory(_ inode: Inode) {
        let blocks = inode.size >> UInt64(superblock.blockSizeLog2)
        for logical in 0..<min(blocks, 256) where budget > 0 {
            budget -= 1
            guard
                let run = try? volume.mapping(of: inode, at: LogicalBlock(logical)),
                case .mapped(let block) = run.suffix(from: LogicalBlock(logical)).state,
                var bytes = readBlock(block)
            else { continue }
            if superblock.hasMetadataChecksums {
                seal(&bytes, ofDirectory: inode, isFirst: logical == 0)
            }
            write(bytes, at: byteOffset(of: block))
        }
    }

    private func seal(_ bytes: inout [UInt8], ofDirectory inode: Inode, isFirst: Bool) {
        typealias Tail = DirectoryRecord.TailLayout
        let base = bytes.count - DirectoryRecord.tailSize
        // A node of the index may end as a leaf does: it was one once.
        let isNode =
            inode.flags.contains(.index)
            && (isFirst
                || Self.get(bytes, DirectoryRecord.Layout.inode) == 0
                    && DirectoryRecord.recordLength(
                        Self.get(bytes, DirectoryRecord.Layout.recordLength),
                        blockSize: bytes.count) == bytes.count)
        guard isNode else {
            guard unsafe DirectoryRecord.hasTail(bytes.span.bytes) else { return }
            var crc = CRC32C(inode.checksumSeed)
            unsafe crc.update(bytes.span.bytes.extracting(0..<base))
            Self.set(&bytes, Tail.checksum, base: base, crc.value)
            return
        }
        let entries =
            isFirst ? HTreeNode.rootBase + HTreeNode.RootLayout.size : DirectoryRecord.headerSize
        let limit = Int(Self.get(bytes, HTreeNode.CountLayout.limit.at(entries)))
        let count = Int(Self.get(bytes, HTreeNode.CountLayout.count.at(entries)))
        let tail = entries + limit * HTreeNode.entrySize
        let end = entries + count * HTreeNode.entrySize
        guard end <= bytes.count, tail <= bytes.count - HTreeNode.entrySize else { return }
        var crc = CRC32C(inode.checksumSeed)
        unsafe crc.update(bytes.span.bytes.extracting(0..<end))
        crc.update(littleEndian: Self.get(bytes, HTreeNode.TailLayout.reserved.at(tail)))
        crc.update(littleEndian: UInt32(0))
        Self.set(&bytes, HTreeNode.TailLayout.checksum, base: tail, crc.value)
    }

    private mutating func sealAttributes(of inode: Inode) {
        let block = inode.attributeBlock
        guard superblock.contains(block), var bytes = readBlock(block) else { return }
        sealEntryHashes(&bytes)
        if superblock.hasMetadataChecksums {
            let checksum = unsafe XAttrBlockHeader.checksum(
                of: bytes.span.bytes, at: block, seed: superblock.checksumSeed)
            Self.set(&bytes, XAttrBlockHeader.Layout.checksum, checksum)
        }
        write(bytes, at: byteOffset(of: block))
    }

    /// Makes `e_hash` right of every entry whose value stands in the block.
    private func sealEntryHashes(_ bytes: inout [UInt8]) {
        typealias Layout = XAttrEntryRecord.Layout
        var offset = XAttrBlockHeader.Layout.size
        while bytes.count - offset >= Layout.name, Self.get(bytes, Field<UInt32>.le(offset)) != 0 {
            let record = unsafe XAttrEntryRecord(parsing: bytes.span.bytes, at: offset)
            let name = offset + Layout.name
            let size = Int(record.valueSize)
            guard record.paddedSize <= bytes.count - offset else { return }
            if record.valueInode == 0, record.valueOffset <= bytes.count,
                size <= bytes.count - record.valueOffset
            {
                let hash = unsafe XAttrHash.ofEntry(
                    name: bytes.span.bytes.extracting(name..<name + record.nameLength),
                    value: bytes.span.bytes.extracting(
                        record.valueOffset..<record.valueOffset + size))
                Self.set(&bytes, Layout.hash, base: offset, hash)
            }
            offset += record.paddedSize
        }
    }

    // MARK: The journal

    private mutating func sealJournal() {
        guard superblock.compatible.contains(.hasJournal), !superblock.hasExternalJournal,
            let location = try? volume.journalLocation(), let first = location.block(0),
            var bytes = read(byteOffset(of: first), JournalSuperblock.Layout.byteCount)
        else { return }
        typealias Feature = JournalSuperblock.Feature
        let features = Self.get(bytes, JournalSuperblock.Layout.incompatible)
        if features & (Feature.checksumV2 | Feature.checksumV3) != 0 {
            let checksum = unsafe JournalSuperblock.checksum(of: bytes.span.bytes)
            Self.set(&bytes, JournalSuperblock.Layout.checksum, checksum)
        }
        write(bytes, at: byteOffset(of: first))
        guard
            let journal = unsafe try? JournalSuperblock(
                parsing: bytes.span.bytes, at: first, volumeBlockSize: superblock.blockSize,
                blockCount: location.blockCount),
            journal.isDirty
        else { return }
        let area = LogArea(device: volume.device, location: location, superblock: journal)
        sealLog(area, JournalFormat(journal))
    }

    private mutating func sealLog(_ area: LogArea, _ format: JournalFormat) {
        var walk = LogWalk(area)
        while let kind = try? walk.next() {
            guard let place = try? area.place(of: walk.index) else { return }
            var block = walk.block
            let tail = block.count - JournalTail.byteCount
            switch kind {
            case .descriptor: sealTags(in: &block, &walk, format)
            case .revoke: break
            case .commit: walk.beginNextTransaction()
            }
            if format.checksumsEveryBlock {
                let field: Field<UInt32> =
                    kind == .commit ? JournalCommit.Layout.checksum : .be(tail)
                var crc = CRC32C(format.seed)
                unsafe crc.update(block.span.bytes, zeroing: field.offset..<field.end)
                Self.set(&block, field, crc.value)
            }
            write(block, at: byteOffset(of: place))
        }
    }

    private mutating func sealTags(
        in block: inout [UInt8], _ walk: inout LogWalk, _ format: JournalFormat
    ) {
        typealias Layout = JournalTag.Layout
        var offset = JournalHeader.Layout.byteCount
        let tags = unsafe JournalTag.all(in: block.span.bytes, format)
        for _ in tags {
            guard let index = walk.skipLoggedBlock(), let place = try? walk.area.place(of: index),
                let logged = readBlock(place)
            else { return }
            metadata.append(byteOffset(of: place)..<byteOffset(of: place) + logged.count)
            let checksum = unsafe JournalTag.checksum(
                of: logged.span.bytes, in: walk.sequence, format)
            switch format.checksum {
            case .v3: Self.set(&block, Layout.checksumV3, base: offset, checksum)
            case .v2:
                Self.set(
                    &block, Layout.checksumV2, base: offset,
                    UInt16(truncatingIfNeeded: checksum))
            case .v1, .none: break
            }
            let sameUUID: UInt16 = 2  // JBD2_FLAG_SAME_UUID
            let hasUUID = Self.get(block, Layout.flags.at(offset)) & sameUUID == 0
            offset += format.tagByteCount + (hasUUID ? 16 : 0)
        }
    }

    // MARK: Bytes

    private func byteOffset(of block: BlockNumber) -> Int {
        Int(truncatingIfNeeded: block.rawValue << UInt64(superblock.blockSizeLog2)) & .max
    }

    private func readBlock(_ block: BlockNumber) -> [UInt8]? {
        read(byteOffset(of: block), superblock.blockSize)
    }

    private func read(_ start: Int, _ count: Int) -> [UInt8]? {
        try? volume.device.read(at: UInt64(start), count: count)
    }

    private mutating func write(_ bytes: [UInt8], at start: Int) {
        metadata.append(start..<start + bytes.count)
        patches.append((start, bytes))
    }

    /// A field of a record that starts at `base`.
    static func get<Value>(_ bytes: [UInt8], _ field: Field<Value>, base: Int = 0) -> Value {
        unsafe bytes.span.bytes[field.at(base)]
    }

    /// Sets a field of a record that starts at `base`.
    static func set<Value>(
        _ bytes: inout [UInt8], _ field: Field<Value>, base: Int = 0, _ value: Value
    ) {
        var span = bytes.mutableSpan
        var raw = unsafe span.mutableBytes
        raw[field.at(base)] = value
    }
}
