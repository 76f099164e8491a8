package import Ext4
package import Ext4Check

/// A sound image that is damaged on purpose: changes single records, named by what they belong to,
/// and makes the record's own checksum right again unless it is told not to.
///
/// Places are those of the sound volume, whatever was changed before.
package struct ImageEditor {
    /// The image as it is by now.
    package var bytes: [UInt8]
    /// The volume as it was.
    package let sound: Volume
    /// Its superblock.
    package var superblock: Superblock { sound.superblock }

    /// Starts from a sound image; its journal is left alone.
    package init(_ image: [UInt8]) throws(Ext4Error) {
        bytes = image
        var options = OpenOptions()
        options.journal = .ignore
        sound = try Volume.open(MemoryDevice(image), options: options)
    }

    /// Starts from an image whose volume is open already.
    package init(_ image: [UInt8], sound: Volume) {
        bytes = image
        self.sound = sound
    }

    // MARK: Places

    /// The block size in bytes.
    package var blockSize: Int { superblock.blockSize }

    /// Where a block starts.
    package func start(of block: UInt64) -> Int { Int(block) * blockSize }

    /// The inode that a path leads to, the last symbolic link not followed.
    package func inode(_ path: String) throws(Ext4Error) -> Inode {
        try sound.inode(atPath: path, followingSymlinks: false)
    }

    /// The number of that inode.
    package func number(_ path: String) throws(Ext4Error) -> UInt32 {
        try inode(path).number.rawValue
    }

    /// Where the record of an inode starts.
    package func start(ofInode number: UInt32) throws(Ext4Error) -> Int {
        let index = number - 1
        let group = try descriptor(index / superblock.inodesPerGroup)
        return start(of: group.inodeTable.rawValue)
            + Int(index % superblock.inodesPerGroup) * superblock.inodeSize
    }

    /// A group's descriptor.
    package func descriptor(_ group: UInt32) throws(Ext4Error) -> GroupDescriptor {
        try sound.groupDescriptor(GroupNumber(group))
    }

    /// Where a group's descriptor starts.
    package func start(ofDescriptor group: UInt32) -> Int {
        let perBlock = superblock.descriptorsPerBlock
        let block = superblock.location(ofDescriptorBlock: group / perBlock)
        return start(of: block.rawValue) + Int(group % perBlock) * superblock.descriptorSize
    }

    /// The block of the volume behind block `logical` of a file.
    package func block(_ logical: UInt64 = 0, of inode: Inode) throws(Ext4Error) -> UInt64 {
        let block = LogicalBlock(logical)
        let run = try sound.mapping(of: inode, at: block).suffix(from: block)
        guard let start = run.start else { throw .notFound }
        return start.rawValue
    }

    /// The block of the volume behind block `logical` of the file at a path.
    package func block(_ logical: UInt64 = 0, of path: String) throws(Ext4Error) -> UInt64 {
        try block(logical, of: try inode(path))
    }

    /// The block that entry `index` of the extent root of an inode leads to.
    package func extentChild(_ index: Int = 0, of inode: Inode) -> UInt64 {
        inode.record.withBlock { ExtentNode.child($0, index).rawValue }
    }

    /// A record of the image.
    package func record(_ start: Int, _ count: Int) -> Record {
        Record(Array(bytes[start..<start + count]))
    }

    // MARK: Changes

    /// Changes bytes with no thought for checksums.
    package mutating func raw(_ start: Int, _ count: Int, _ change: (inout Record) -> Void) {
        var record = record(start, count)
        change(&record)
        bytes.replaceSubrange(start..<start + count, with: record.bytes)
    }

    /// Changes the superblock, or its backup in `group`.
    package mutating func superblock(
        group: UInt32 = 0, seals: Bool = true, _ change: (inout Record) -> Void
    ) {
        let first = superblock.firstBlock(of: GroupNumber(group)).rawValue
        let start = group == 0 ? Int(Superblock.byteOffset) : start(of: first)
        let hasChecksum = superblock.hasMetadataChecksums
        raw(start, Superblock.byteCount) { record in
            change(&record)
            guard seals, hasChecksum else { return }
            record[Superblock.Layout.checksum] = unsafe Superblock.checksum(
                of: record.bytes.span.bytes)
        }
    }

    /// Changes a group's descriptor.
    package mutating func descriptor(
        _ group: UInt32, seals: Bool = true, _ change: (inout Record) -> Void
    ) {
        let superblock = superblock
        raw(start(ofDescriptor: group), superblock.descriptorSize) { record in
            change(&record)
            guard seals,
                let checksum = unsafe GroupDescriptor.checksum(
                    of: record.bytes.span.bytes, group: GroupNumber(group), superblock: superblock)
            else { return }
            record[GroupDescriptor.Layout.checksum] = checksum
        }
    }

    /// Changes an inode's record.
    package mutating func inode(
        _ number: UInt32, seals: Bool = true, _ change: (inout Record) -> Void
    ) throws(Ext4Error) {
        let superblock = superblock
        raw(try start(ofInode: number), superblock.inodeSize) { record in
            change(&record)
            guard seals, superblock.hasMetadataChecksums else { return }
            var span = record.bytes.mutableSpan
            var raw = unsafe span.mutableBytes
            InodeRecord.seal(
                &raw, number: InodeNumber(number), seed: superblock.checksumSeed)
        }
    }

    /// Changes the record of the inode at a path.
    package mutating func inode(
        _ path: String, seals: Bool = true, _ change: (inout Record) -> Void
    ) throws(Ext4Error) {
        try inode(try number(path), seals: seals, change)
    }

    /// Changes a whole block with no thought for checksums.
    package mutating func block(_ block: UInt64, _ change: (inout Record) -> Void) {
        raw(start(of: block), blockSize, change)
    }

    /// Changes a block of an extent tree.
    package mutating func extentNode(
        _ block: UInt64, of inode: Inode, seals: Bool = true, _ change: (inout Record) -> Void
    ) {
        let owner = BlockOwner(inode: inode.number, checksumSeed: inode.checksumSeed)
        let seals = seals && superblock.hasMetadataChecksums
        self.block(block) { record in
            change(&record)
            guard seals else { return }
            var span = record.bytes.mutableSpan
            var raw = unsafe span.mutableBytes
            ExtentNode.seal(&raw, owner: owner)
        }
    }

    /// Changes a block of a directory: one of entries, or with `isIndex` one of its index.
    package mutating func directoryBlock(
        _ logical: UInt64 = 0, of path: String, seals: Bool = true, isIndex: Bool = false,
        _ change: (inout Record) -> Void
    ) throws(Ext4Error) {
        let inode = try inode(path)
        let owner = BlockOwner(inode: inode.number, checksumSeed: inode.checksumSeed)
        let seals = seals && superblock.hasMetadataChecksums
        block(try block(logical, of: inode)) { record in
            change(&record)
            guard seals else { return }
            var span = record.bytes.mutableSpan
            var raw = unsafe span.mutableBytes
            if isIndex {
                HTreeNode.seal(&raw, isRoot: logical == 0, owner: owner)
            } else {
                DirectoryRecord.sealTail(&raw, owner: owner)
            }
        }
    }

    /// Where the entry of a name starts in a block of entries; and where the one before it does.
    package func entry(
        _ name: String, in record: Record, end: Int? = nil
    ) -> (start: Int, previous: Int?)? {
        var offset = 0
        var previous: Int?
        let end = end ?? record.bytes.count
        while offset + DirectoryRecord.headerSize <= end {
            let length = Int(record[DirectoryRecord.Layout.recordLength.at(offset)])
            let nameLength = Int(record[DirectoryRecord.Layout.nameLength.at(offset)])
            let first = offset + DirectoryRecord.headerSize
            guard length >= DirectoryRecord.headerSize, first + nameLength <= end else {
                return nil
            }
            if record.bytes[first..<first + nameLength].elementsEqual(name.utf8) {
                return (offset, previous)
            }
            previous = offset
            offset += length
        }
        return nil
    }

    /// Changes the entry of a name in the first block of a directory that has it. The second
    /// argument of `change` is where it starts in its block.
    package mutating func entry(
        _ name: String, in path: String, seals: Bool = true,
        _ change: (inout Record, Int) -> Void
    ) throws(Ext4Error) {
        let inode = try inode(path)
        for logical in 0..<(inode.size / UInt64(blockSize)) {
            let record = record(start(of: try block(logical, of: inode)), blockSize)
            // The root of an index ends behind its first entries.
            let isRoot = logical == 0 && inode.flags.contains(.index)
            guard let (start, _) = entry(name, in: record, end: isRoot ? 24 : nil) else { continue }
            try directoryBlock(logical, of: path, seals: seals, isIndex: isRoot) {
                change(&$0, start)
            }
            return
        }
        throw .notFound
    }

    /// Changes a group's map of blocks.
    package mutating func blockBitmap(
        _ group: UInt32, seals: Bool = true, _ change: (inout Record) -> Void
    ) throws(Ext4Error) {
        let superblock = superblock
        let place = try descriptor(group).blockBitmap.rawValue
        block(place, change)
        let bitmap = record(start(of: place), blockSize)
        guard seals,
            let checksum = unsafe GroupDescriptor.blockBitmapChecksum(
                of: bitmap.bytes.span.bytes, superblock: superblock)
        else { return }
        descriptor(group) { record in
            typealias Layout = GroupDescriptor.Layout
            record[Layout.blockBitmapCRCLow] = UInt16(truncatingIfNeeded: checksum)
            guard superblock.descriptorSize >= 64 else { return }
            record[Layout.blockBitmapCRCHigh] = UInt16(truncatingIfNeeded: checksum >> 16)
        }
    }

    /// Changes a group's map of inodes.
    package mutating func inodeBitmap(
        _ group: UInt32, seals: Bool = true, _ change: (inout Record) -> Void
    ) throws(Ext4Error) {
        let superblock = superblock
        let place = try descriptor(group).inodeBitmap.rawValue
        block(place, change)
        let bitmap = record(start(of: place), blockSize)
        guard seals,
            let checksum = unsafe GroupDescriptor.inodeBitmapChecksum(
                of: bitmap.bytes.span.bytes, superblock: superblock)
        else { return }
        descriptor(group) { record in
            typealias Layout = GroupDescriptor.Layout
            record[Layout.inodeBitmapCRCLow] = UInt16(truncatingIfNeeded: checksum)
            guard superblock.descriptorSize >= 64 else { return }
            record[Layout.inodeBitmapCRCHigh] = UInt16(truncatingIfNeeded: checksum >> 16)
        }
    }

    /// Changes the block of attributes of the inode at a path.
    package mutating func attributeBlock(
        of path: String, seals: Bool = true, _ change: (inout Record) -> Void
    ) throws(Ext4Error) {
        let inode = try inode(path)
        let number = inode.attributeBlock
        guard number.rawValue != 0 else { throw .notFound }
        let superblock = superblock
        block(number.rawValue) { record in
            change(&record)
            guard seals, superblock.hasMetadataChecksums else { return }
            record[XAttrBlockHeader.Layout.checksum] = unsafe XAttrBlockHeader.checksum(
                of: record.bytes.span.bytes, at: number, seed: superblock.checksumSeed)
        }
    }

    /// Changes the superblock of the journal.
    package mutating func journalSuperblock(
        seals: Bool = true, _ change: (inout Record) -> Void
    ) throws(Ext4Error) {
        let journal = try sound.inode(.journal)
        typealias Layout = JournalSuperblock.Layout
        raw(start(of: try block(0, of: journal)), Layout.byteCount) { record in
            change(&record)
            let checks = JournalSuperblock.Feature.checksumV2 | JournalSuperblock.Feature.checksumV3
            guard seals, record[Layout.incompatible] & checks != 0 else { return }
            record[Layout.checksum] = unsafe JournalSuperblock.checksum(of: record.bytes.span.bytes)
        }
    }
}
