// Giving inodes of groups that go away numbers of groups that stay.
//
// The number of an inode is part of the checksum of everything that belongs to it: the nodes of its
// map, the blocks of a directory. The generation follows it there, so that one generation makes up
// for the other number: with it nothing but the inode itself and what names it changes, in one
// transaction an inode. Without a journal the new inode is made first, then what names the old one
// leads to the new one, and then the old one goes.

/// Moves inodes to other numbers.
struct InodeMover {
    private let volume: Volume
    private let writing: Writing
    private let references: InodeReferences
    private let options: ResizeOptions
    /// The last inode that stays.
    private let last: UInt32
    /// The numbers that were given.
    private var moved: [InodeNumber: InodeNumber] = [:]

    /// Without a journal, how many inodes move between two flushes.
    private static let batch = 512

    init(
        _ volume: Volume, _ references: InodeReferences, last: UInt32, _ options: ResizeOptions
    ) throws(Ext4Error) {
        self.volume = volume
        self.references = references
        self.last = last
        self.options = options
        writing = try volume.requireWriting()
    }

    /// How many blocks one inode's move changes besides what names it.
    static let credits = 16

    private var superblock: Superblock { volume.superblock }

    /// Moves all of them.
    ///
    /// - Returns: how many were moved.
    mutating func moveAll() throws(Ext4Error) -> UInt64 {
        let all = references.inodes
        guard writing.journal.area == nil else {
            for (index, number) in all.enumerated() {
                if options.isCancelled?() == true { break }
                options.tell(.inodes, UInt64(index), of: UInt64(all.count))
                let count = references.places[number]?.count ?? 0
                let new = try volume.change(credits: Self.credits &+ count) {
                    (handle, _) throws(Ext4Error) in
                    let new = try create(number, in: &handle)
                    try redirect(number, to: new, in: &handle)
                    try clear(number, in: &handle)
                    return new
                }
                moved[number] = new
            }
            return UInt64(moved.count)
        }
        var start = 0
        while start < all.count, options.isCancelled?() != true {
            options.tell(.inodes, UInt64(start), of: UInt64(all.count))
            let part = all[start..<min(start &+ Self.batch, all.count)]
            for number in part {
                moved[number] = try volume.change { (handle, _) throws(Ext4Error) in
                    try create(number, in: &handle)
                }
            }
            try writing.journal.commitRunning()
            for number in part {
                guard let new = moved[number] else { continue }
                try volume.change { (handle, _) throws(Ext4Error) in
                    try redirect(number, to: new, in: &handle)
                }
            }
            try writing.journal.commitRunning()
            for number in part {
                try volume.change { (handle, _) throws(Ext4Error) in
                    try clear(number, in: &handle)
                }
            }
            try writing.journal.commitRunning()
            start &+= part.count
        }
        return UInt64(moved.count)
    }

    // MARK: Steps

    /// Makes the inode under another number.
    private func create(
        _ number: InodeNumber, in handle: inout Handle
    ) throws(Ext4Error) -> InodeNumber {
        let inode = try volume.inodes.inode(number)
        let new = try writing.inodes.allocate(
            isDirectory: inode.isDirectory, parent: .root, isTopLevel: false, in: &handle)
        guard new.rawValue <= last else { throw .noSpace }
        var record = inode.record
        if superblock.hasMetadataChecksums {
            record[InodeRecord.Layout.generation] ^= seed(number) ^ seed(new)
        }
        let created = try volume.inodes.create(record, number: new, in: &handle)
        guard !superblock.hasMetadataChecksums || created.checksumSeed == inode.checksumSeed
        else {
            throw .corrupt(.inode, at: .init(inode: number), .broken("its checksums cannot stay"))
        }
        return new
    }

    /// What the number makes of the volume's seed.
    private func seed(_ number: InodeNumber) -> UInt32 {
        var crc = CRC32C(superblock.checksumSeed)
        crc.update(littleEndian: number.rawValue)
        return crc.value
    }

    /// Makes everything that leads to `old` lead to `new`.
    private func redirect(
        _ old: InodeNumber, to new: InodeNumber, in handle: inout Handle
    ) throws(Ext4Error) {
        func current(_ number: InodeNumber) throws(Ext4Error) -> Inode {
            try volume.inodes.inode(number == old ? new : moved[number] ?? number)
        }
        for place in references.places[old] ?? [] {
            switch place {
            case .entries(let number, let block):
                try redirectEntries(
                    of: current(number), at: block, from: old, to: new, in: &handle)
            case .inlineEntries(let number):
                let directory = try current(number)
                let context = volume.attributeContext(directory)
                try volume.update(directory, in: &handle) { (record) throws(Ext4Error) in
                    var contents = try record.inlineContents(context)
                    Self.replace(old, by: new, in: &contents) { bytes, body in
                        InlineEntries.forEach(in: bytes, body)
                    }
                    try record.setInlineContents(contents, context)
                }
            case .attributes(let number):
                try volume.update(current(number), in: &handle) { record in
                    let extra = record.extraSize
                    var fields: [Field<UInt32>] = []
                    record.withBytes { bytes in
                        AttributeEntries.forEach(inInode: bytes, extraSize: extra) {
                            if $1 == old.rawValue { fields.append($0) }
                        }
                    }
                    record.withMutableBytes { bytes in
                        for field in fields { bytes[field] = new.rawValue }
                    }
                }
            case .attributeBlock(let block):
                let buffer = try volume.reader.cache.buffer(of: block)
                var fields: [Field<UInt32>] = []
                buffer.withBytes { bytes in
                    AttributeEntries.forEach(inBlock: bytes) {
                        if $1 == old.rawValue { fields.append($0) }
                    }
                }
                handle.preserve(buffer)
                handle.modify(buffer, seal: .attributes(seed: superblock.checksumSeed)) { bytes in
                    for field in fields { bytes[field] = new.rawValue }
                }
            }
        }
        redirectSuperblock(old, to: new, in: &handle)
    }

    private func redirectEntries(
        of directory: Inode, at block: LogicalBlock, from old: InodeNumber, to new: InodeNumber,
        in handle: inout Handle
    ) throws(Ext4Error) {
        let run = try volume.map(of: directory).run(at: block).suffix(from: block)
        guard case .mapped(let start) = run.state else {
            throw .corrupt(
                .directoryBlock, at: .init(inode: directory.number, logicalBlock: block),
                .broken("it is missing"))
        }
        let buffer = try volume.reader.cache.buffer(of: start)
        var fields: [Field<UInt32>] = []
        try buffer.withBytes { (bytes) throws(Ext4Error) in
            try DirectoryEntries.forEach(
                in: bytes, blockSize: superblock.blockSize, of: directory.number
            ) {
                if $1 == old.rawValue { fields.append($0) }
            }
        }
        // The first block of an index holds `.` and `..` only, and has the index's checksum.
        let isRoot = block.rawValue == 0 && directory.flags.contains(.index)
        let seal: Buffer.Seal =
            isRoot
            ? .htreeNode(directory.owner, isRoot: true) : .directoryLeaf(directory.owner)
        handle.preserve(buffer)
        handle.modify(buffer, seal: seal) { bytes in
            for field in fields { bytes[field] = new.rawValue }
        }
    }

    private static func replace(
        _ old: InodeNumber, by new: InodeNumber, in contents: inout [UInt8],
        _ walk: (RawSpan, (Field<UInt32>, UInt32) -> Void) -> Void
    ) {
        var fields: [Field<UInt32>] = []
        unsafe walk(contents.span.bytes) { field, number in
            if number == old.rawValue { fields.append(field) }
        }
        var span = contents.mutableSpan
        var raw = unsafe span.mutableBytes
        for field in fields { raw[field] = new.rawValue }
    }

    /// Inodes that the superblock names.
    private func redirectSuperblock(
        _ old: InodeNumber, to new: InodeNumber, in handle: inout Handle
    ) {
        typealias Layout = Superblock.Layout
        var fields: [Field<UInt32>] = []
        if superblock.orphanFileInode == old { fields.append(Layout.orphanFileInode) }
        if superblock.lostAndFoundInode == old { fields.append(Layout.lostAndFoundInode) }
        guard !fields.isEmpty else { return }
        writing.superblock.modify(in: &handle) { bytes in
            for field in fields { bytes[field] = new.rawValue }
        }
    }

    /// Frees the old inode.
    private func clear(_ number: InodeNumber, in handle: inout Handle) throws(Ext4Error) {
        let inode = try volume.inodes.inode(number)
        let isDirectory = inode.isDirectory
        let size = superblock.inodeSize
        try volume.update(inode, in: &handle) {
            $0 = InodeRecord(zeroed: size, extraSize: 0)
        }
        try writing.inodes.free(number, isDirectory: isDirectory, in: &handle)
    }
}
