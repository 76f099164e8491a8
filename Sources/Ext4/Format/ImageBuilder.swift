// Images made at once, with all that is in them.
//
// The tree is kept in memory; contents go to the device as they come, one file behind the other,
// each in one run where one can hold it. When everything is there, inodes get their numbers in the
// order in which they came, directories are written from their sorted names, and then the tables of
// inodes, each in one go. No journal is needed on the way: an image that is not finished is none.
//
// What is written depends on the calls and the options alone: the same calls in the same order
// make the same bytes.

/// Something in an image, as it is to be.
public struct NewImageNode: Hashable, Sendable {
    /// Type and permissions.
    public var mode: FileMode
    /// The owner.
    public var userID: UInt32
    /// The owning group.
    public var groupID: UInt32
    /// When the contents were last changed; nil for when the volume is made.
    public var modificationTime: Timestamp?
    /// When the contents were last read; nil for the time of modification.
    public var accessTime: Timestamp?
    /// When the inode was last changed; nil for when the volume is made.
    public var changeTime: Timestamp?
    /// Of a special file of a device, the device.
    public var device: DeviceNumber?
    /// Of a symbolic link, the target.
    public var target: [UInt8]
    /// Extended attributes, with access control lists in the encoding of user space.
    public var attributes: [ExtendedAttribute] = []

    /// Describes something.
    public init(
        mode: FileMode, userID: UInt32 = 0, groupID: UInt32 = 0,
        modificationTime: Timestamp? = nil, device: DeviceNumber? = nil, target: [UInt8] = []
    ) {
        self.mode = mode
        self.userID = userID
        self.groupID = groupID
        self.modificationTime = modificationTime
        self.device = device
        self.target = target
    }

    /// A regular file with those permissions.
    public static func file(_ permissions: UInt16 = 0o644) -> NewImageNode {
        NewImageNode(mode: FileMode(rawValue: 0o100000 | permissions & 0o7777))
    }

    /// A directory with those permissions.
    public static func directory(_ permissions: UInt16 = 0o755) -> NewImageNode {
        NewImageNode(mode: FileMode(rawValue: 0o040000 | permissions & 0o7777))
    }

    /// A symbolic link.
    public static func symlink(to target: [UInt8]) -> NewImageNode {
        NewImageNode(mode: FileMode(rawValue: 0o120777), target: target)
    }
}

/// Makes a volume with contents on a device, from directories, files and links as they come.
///
///     let builder = try ImageBuilder(device, options, size: .automatic(free: 16 << 20))
///     let etc = try builder.add("etc", in: .root, .directory())
///     try builder.addFile("hostname", in: etc, .file(), contents: Array("box\n".utf8))
///     try builder.finish()
///
/// One thread at a time uses a builder. After an error other than `.exists`, `.notFound` and those
/// of names and attributes the image is of no use.
public final class ImageBuilder {
    /// How large the volume is.
    public enum Size: Hashable, Sendable {
        /// So many bytes, rounded down to whole blocks.
        case fixed(UInt64)
        /// As small as it can be with `free` bytes left, and with inodes for those: as many as
        /// the options' ratio makes of them. Options that call for more inodes get them.
        ///
        /// It can become up to `limit` bytes large, now and when it is resized.
        case automatic(free: UInt64, limit: UInt64 = 256 << 30)
    }

    let maker: VolumeMaker
    /// What the volume is made on.
    public let device: any BlockDevice
    let size: Size
    let time: Timestamp
    /// No time in the image is later than this, and what depends on when the image is made or
    /// its source was read is this; nil for times as they come. `SOURCE_DATE_EPOCH` is meant so.
    public var latestTime: Timestamp?

    /// Told by `finish` how many bytes of contents were moved, of how many; with false as the
    /// answer it throws `.notPermitted`. They move in images of an open size without flex_bg.
    public var progress: ((_ moved: UInt64, _ total: UInt64) -> Bool)?

    var tree: ImageTree
    var attributes: ImageAttributes
    var writer: ImageWriter
    /// The file that is being written.
    var open: OpenFile?
    /// Blocks that the maker gave and that no file has, in order.
    var spare: [Range<UInt64>] = []
    /// Blocks that files had which are gone.
    var freed: [Range<UInt64>] = []
    /// Where the blocks end that the maker gave last.
    var takenEnd: UInt64 = 0
    /// Whether all is written.
    var isFinished = false

    /// How many files, directories and other things there are.
    public var nodeCount: Int { tree.nodes.count }
    /// What the next thing is going to be that does not take the place of a directory.
    public var nextNode: ImageNode {
        ImageNode(index: Int32(truncatingIfNeeded: tree.nodes.count))
    }

    /// How many bytes of contents came.
    public internal(set) var byteCount: UInt64 = 0

    // What every file asks for stands apart: a copy of the superblock costs a dozen counts.

    /// The size of a block in bytes.
    let blockSize: Int
    /// log2 of that.
    let blockSizeLog2: UInt64
    /// log2 of the blocks of a cluster.
    let clusterLog2: UInt64
    /// Whether files are mapped by extents.
    let usesExtents: Bool
    /// Whether contents may stand in inodes.
    let hasInlineData: Bool
    /// An inode of which nothing is known.
    let emptyRecord: InodeRecord

    /// What the volume looks like, as far as it is known.
    package var layout: VolumeLayout { maker.layout }

    /// The superblock as far as it is known.
    var superblock: Superblock { maker.superblock }

    /// Begins a volume.
    ///
    /// - Parameters:
    ///   - device: what it is made on. With a size of `.automatic` it is as long as the volume
    ///     may become, and the caller cuts it off.
    ///   - isZeroed: whether the device reads as zeros; always with `.automatic`.
    /// - Throws: what is wrong with the options, in words.
    public init(
        _ device: any BlockDevice, _ options: FormatOptions, size: Size, isZeroed: Bool = true
    ) throws(FormatProblem) {
        self.device = device
        self.size = size
        time = options.time
        switch size {
        case .fixed(let byteCount):
            let layout = try VolumeLayout(options, byteCount: byteCount)
            maker = try Self.inWords { () throws(Ext4Error) in
                try VolumeMaker(device, layout, isZeroed: isZeroed)
            }
        case .automatic(_, let limit):
            var options = options
            if options.blockSize == nil { options.blockSize = 4096 }
            maker = try VolumeMaker(
                growingOn: device, options,
                descriptorRoom: try Self.descriptorRoom(options, limit: limit))
        }
        let superblock = maker.superblock
        blockSize = superblock.blockSize
        blockSizeLog2 = UInt64(superblock.blockSizeLog2)
        clusterLog2 = UInt64(superblock.clusterRatioLog2)
        usesExtents = superblock.incompatible.contains(.extents)
        hasInlineData = superblock.incompatible.contains(.inlineData)
        emptyRecord = InodeRecord(zeroedFor: superblock)
        let seed = superblock.hashSeed
        tree = ImageTree(
            seed: (
                UInt64(seed[0]) << 32 | UInt64(seed[1]), UInt64(seed[2]) << 32 | UInt64(seed[3])
            ))
        attributes = ImageAttributes(superblock)
        writer = ImageWriter(device, blockSize: blockSize)
        try Self.inWords { () throws(Ext4Error) in
            try makeFirstDirectories(options)
        }
    }

    private static func inWords<Result>(
        _ body: () throws(Ext4Error) -> Result
    ) throws(FormatProblem) -> Result {
        do throws(Ext4Error) {
            return try body()
        } catch {
            throw FormatProblem("the volume cannot be begun: \(error)")
        }
    }

    /// The blocks for descriptors of a volume of up to `limit` bytes.
    private static func descriptorRoom(
        _ options: FormatOptions, limit: UInt64
    ) throws(FormatProblem) -> UInt32 {
        // Of a small one, without what a large one may be asked to have.
        var options = options
        options.inodeRatio = nil
        options.inodeCount = 16
        let small = try VolumeGeometry(options, byteCount: 64 << 20)
        let group = UInt64(small.blocksPerGroup) * UInt64(small.blockSize)
        let perBlock = group.multipliedReportingOverflow(
            by: UInt64(small.blockSize / small.descriptorSize))
        guard !perBlock.overflow else { return 1 }
        let room = limit / perBlock.partialValue + 1
        // Small groups have room for something else, too.
        return UInt32(
            min(room, UInt64(small.blockSize / 4), max(UInt64(small.blocksPerGroup) / 4, 1)))
    }

    private func makeFirstDirectories(_ options: FormatOptions) throws(Ext4Error) {
        var root = NewImageNode.directory(options.rootPermissions)
        (root.userID, root.groupID) = options.rootOwner
        let node = try tree.add(node(for: root))
        // Its own entry `..` stands for the name that other directories have.
        tree[node].linkCount = 1
        tree.makeDirectory(node, parent: node)
        _ = try add("lost+found", in: node, .directory(0o700))
    }

    // MARK: Names

    /// Adds something other than a regular file with contents. What has the name is replaced; a
    /// directory that takes the place of one keeps what is in that.
    ///
    /// - Throws: `.notDirectory`, `.nameTooLong`, `.invalidArgument` for a name or a type that
    ///   cannot be; `.attributeTooLarge` for attributes that an inode has no room for; `.exists`
    ///   for something else in place of `lost+found`.
    @discardableResult
    public func add(
        _ name: FileName, in directory: ImageNode, _ new: NewImageNode
    ) throws(Ext4Error) -> ImageNode {
        try unsafe add(name.bytes.span.bytes, in: directory, new)
    }

    /// As `add(_:in:_:)`, with the bytes of the name.
    @discardableResult
    public func add(
        _ name: RawSpan, in directory: ImageNode, _ new: NewImageNode
    ) throws(Ext4Error) -> ImageNode {
        try check(name)
        let index = try tree.directory(directory)
        var described = try node(for: new)
        let place = tree.place(of: name, in: index)
        if let place {
            let old = ImageNode(index: tree.directories[index].entries[place].node)
            if new.mode.type == .directory, tree[old].type == .directory {
                described.contents = tree[old].contents
                described.linkCount = tree[old].linkCount
                tree[old] = described
                return old
            }
            guard old != .lostAndFound else { throw .exists }
        }
        switch new.mode.type {
        case .symlink: try setTarget(new.target, of: &described)
        case .characterDevice, .blockDevice:
            guard let device = new.device else { throw .invalidArgument }
            described.contents = .device(device)
        case .unknown: throw .invalidArgument
        default: break
        }
        // Nothing was refused: now what has the name may go.
        if let place { remove(place, in: index) }
        let node = try tree.add(described)
        if new.mode.type == .directory { tree.makeDirectory(node, parent: directory) }
        tree.insert(name, node, in: index)
        return node
    }

    /// Gives a file one more name. What has the name is replaced.
    ///
    /// - Throws: as `add(_:in:_:)`; `.notPermitted` for a directory, `.tooManyLinks`.
    public func addLink(
        _ name: FileName, in directory: ImageNode, to node: ImageNode
    ) throws(Ext4Error) {
        let bytes = unsafe name.bytes.span.bytes
        try check(bytes)
        guard tree.contains(node), tree[node].linkCount > 0 else { throw .notFound }
        guard tree[node].type != .directory else { throw .notPermitted }
        guard tree[node].linkCount < Volume.maximumLinkCount else { throw .tooManyLinks }
        let index = try tree.directory(directory)
        let place = tree.place(of: bytes, in: index)
        if let place {
            let old = ImageNode(index: tree.directories[index].entries[place].node)
            guard old != node else { return }
            guard old != .lostAndFound else { throw .exists }
        }
        tree.insert(bytes, node, in: index)
        // Last, as the file may have been in what goes.
        if let place { remove(place, in: index) }
    }

    /// What a name leads to.
    ///
    /// - Throws: `.notDirectory`.
    public func find(
        _ name: FileName, in directory: ImageNode
    ) throws(Ext4Error) -> ImageNode? {
        let index = try tree.directory(directory)
        guard let place = unsafe tree.place(of: name.bytes.span.bytes, in: index) else {
            return nil
        }
        return ImageNode(index: tree.directories[index].entries[place].node)
    }

    /// Takes a name away, of a directory with all that is in it.
    ///
    /// - Throws: `.notFound`, `.notDirectory`; `.notPermitted` for `lost+found`.
    public func remove(_ name: FileName, in directory: ImageNode) throws(Ext4Error) {
        let index = try tree.directory(directory)
        guard let place = unsafe tree.place(of: name.bytes.span.bytes, in: index) else {
            throw .notFound
        }
        guard tree.directories[index].entries[place].node != ImageNode.lostAndFound.index else {
            throw .notPermitted
        }
        remove(place, in: index)
    }

    /// Takes away all that is in a directory, but for `lost+found`.
    ///
    /// - Throws: `.notDirectory`.
    public func removeContents(of directory: ImageNode) throws(Ext4Error) {
        let index = try tree.directory(directory)
        for place in tree.directories[index].entries.indices {
            let node = tree.directories[index].entries[place].node
            guard node >= 0, node != ImageNode.lostAndFound.index else { continue }
            remove(place, in: index)
        }
    }

    // MARK: Nodes

    /// The type of something in the image.
    public func type(of node: ImageNode) -> FileType {
        tree.contains(node) ? tree[node].type : .unknown
    }

    /// The target of a symbolic link; nil for anything else.
    public func target(of node: ImageNode) throws(Ext4Error) -> [UInt8]? {
        guard tree.contains(node), tree[node].type == .symlink else { return nil }
        if case .bytes(let offset, let count) = tree[node].contents {
            return Array(tree.stored[offset..<offset &+ count])
        }
        return targets[node.index]
    }

    /// Targets that stand in blocks.
    var targets: [Int32: [UInt8]] = [:]

    /// Changes what an inode says, but for its type.
    ///
    /// - Throws: `.notFound`, `.invalidArgument` for another type, `.attributeTooLarge`; `.noSpace`
    ///   and `.io` where contents leave the inode for its attributes.
    public func set(_ node: ImageNode, to new: NewImageNode) throws(Ext4Error) {
        guard tree.contains(node) else { throw .notFound }
        guard tree[node].type == new.mode.type else { throw .invalidArgument }
        var described = try self.node(for: new)
        described.contents = tree[node].contents
        described.linkCount = tree[node].linkCount
        described.size = tree[node].size
        if case .bytes(let offset, let count) = described.contents,
            new.mode.type == .regular, count > attributes.inlineCapacity(described.attributes)
        {
            described.contents = try moveOut(Array(tree.stored[offset..<offset &+ count]))
        }
        tree[node] = described
    }

    /// Whether an inode of that type has room for these attributes, together.
    ///
    /// - Throws: why not: `.attributeTooLarge`, `.attributeNameTooLong`; `.notSupported` for what
    ///   Linux does not know, `.notPermitted` for `user.` on what is neither file nor directory,
    ///   `.accessDenied` for a default list of what is no directory, `.invalidArgument`.
    public func checkAttributes(
        _ attributes: [ExtendedAttribute], of type: FileType
    ) throws(Ext4Error) {
        _ = try self.attributes.index(of: attributes, for: type)
    }

    /// Whether it was added when there were `count` nodes already.
    public func isNode(_ node: ImageNode, addedSince count: Int) -> Bool {
        Int(node.index) >= count
    }

    /// Everything that a name leads to.
    package var namedNodes: [ImageNode] {
        tree.nodes.indices.filter { tree.nodes[$0].linkCount > 0 }.map {
            ImageNode(index: Int32(truncatingIfNeeded: $0))
        }
    }

    /// An image of the same kind that is written nowhere, for a look at what names are left in
    /// the end.
    ///
    /// - Throws: what is wrong with the options.
    package func trial() throws(FormatProblem) -> ImageBuilder {
        try ImageBuilder(VoidDevice(byteCount: device.byteCount), maker.layout.options, size: size)
    }

    /// Whether a name leads to it; what was replaced or removed has none.
    public func isNamed(_ node: ImageNode) -> Bool {
        tree.contains(node) && tree[node].linkCount > 0
    }

    /// The names in a directory and what they lead to, in the order of their bytes.
    ///
    /// - Throws: `.notDirectory`.
    public func entries(
        of directory: ImageNode
    ) throws(Ext4Error) -> [(name: FileName, node: ImageNode)] {
        let listed = tree.directories[try tree.directory(directory)]
        return tree.sortedPlaces(listed).map { place in
            let entry = listed.entries[place]
            let end = entry.nameOffset &+ Int(entry.nameLength)
            return (
                FileName(Array(tree.names[entry.nameOffset..<end])),
                ImageNode(index: entry.node)
            )
        }
    }

    func node(for new: NewImageNode) throws(Ext4Error) -> ImageTree.Node {
        var modified = new.modificationTime ?? time
        var accessed = new.accessTime ?? modified
        var changed = new.changeTime ?? time
        if let latestTime {
            modified = min(modified, latestTime)
            accessed = modified
            changed = latestTime
        }
        let set = try attributes.index(of: new.attributes, for: new.mode.type)
        var mode = new.mode.rawValue
        if set >= 0, let permissions = attributes.sets[Int(set)].permissions {
            mode = mode & ~0o777 | permissions
        }
        return ImageTree.Node(
            mode: mode, userID: new.userID, groupID: new.groupID,
            accessTime: ImageTree.StoredTime(accessed), changeTime: ImageTree.StoredTime(changed),
            modificationTime: ImageTree.StoredTime(modified), attributes: set)
    }

    /// Refuses names that no entry can have.
    func check(_ name: RawSpan) throws(Ext4Error) {
        guard name.byteCount <= FileName.maximumLength else { throw .nameTooLong }
        guard name.byteCount > 0, !name.isDotOrDotDot else { throw .invalidArgument }
        for i in 0..<name.byteCount {
            let byte = name.byte(at: i)
            if byte == 0 || byte == UInt8(ascii: "/") { throw .invalidArgument }
        }
    }

    private func setTarget(
        _ target: [UInt8], of node: inout ImageTree.Node
    ) throws(Ext4Error) {
        guard !target.isEmpty, !target.contains(0) else { throw .invalidArgument }
        guard target.count < min(blockSize, 4096) else { throw .nameTooLong }
        node.size = UInt64(target.count)
        if target.count < InodeRecord.Layout.block.count {
            node.contents = unsafe tree.store(target.span.bytes)
            return
        }
        let block = try allocateClusters(1)
        let offset = block.lowerBound << blockSizeLog2
        try unsafe writer.write(target.span.bytes, at: offset)
        try writer.clear(at: offset &+ UInt64(target.count), count: blockSize &- target.count)
        node.contents = .run(start: block.lowerBound, count: 1)
        targets[Int32(truncatingIfNeeded: tree.nodes.count)] = target
    }

    // MARK: Removing

    /// Takes away an entry and what has no name then.
    private func remove(_ place: Int, in directory: Int) {
        var pending = [tree.remove(place, in: directory)]
        while let node = pending.popLast() {
            guard tree[node].linkCount == 0 else { continue }
            if case .directory(let index) = tree[node].contents {
                let index = Int(index)
                for place in tree.directories[index].entries.indices
                where tree.directories[index].entries[place].node >= 0 {
                    pending.append(tree.remove(place, in: index))
                }
            }
            free(tree.runs(of: tree[node]))
            tree[node].contents = .none
            targets[node.index] = nil
        }
    }

    // MARK: Space

    /// Takes up to `count` clusters that follow each other: at least one.
    ///
    /// All, where one extent can hold them and there is such a run. While the size of the volume
    /// is open, no long run is left for a longer one behind it: the volume would become larger by
    /// what nobody needs then.
    ///
    /// - Returns: their blocks.
    func allocateClusters(_ count: UInt64) throws(Ext4Error) -> Range<UInt64> {
        let wanted = count << clusterLog2
        if let range = takeFreed(wanted) { return range }
        if !spare.prefix(Self.mostLooks).contains(where: { UInt64($0.count) >= wanted }) {
            // A large file goes on behind what is left, if the volume does.
            try takeBlocks(wanted &- min(UInt64(spare.last?.count ?? 0), wanted))
        }
        let isOpen = if case .automatic = size { true } else { false }
        let splits = isOpen || wanted > UInt64(ExtentNode.maximumLength)
        let enough = splits ? min(wanted, Self.longRun) : wanted
        for index in spare.indices.prefix(Self.mostLooks)
        where UInt64(spare[index].count) >= enough {
            return take(wanted, from: index)
        }
        guard !spare.isEmpty else { throw .noSpace }
        return take(wanted, from: 0)
    }

    /// The last of the runs that files gave back that is long enough.
    private func takeFreed(_ wanted: UInt64) -> Range<UInt64>? {
        let first = freed.count &- min(freed.count, Self.mostLooks)
        for index in freed.indices.dropFirst(first) where UInt64(freed[index].count) >= wanted {
            let range = freed[index]
            let taken = range.lowerBound..<range.lowerBound &+ wanted
            if taken == range {
                freed.remove(at: index)
            } else {
                freed[index] = taken.upperBound..<range.upperBound
            }
            return taken
        }
        return nil
    }

    /// How many runs are looked at for one that is long enough.
    private static let mostLooks = 16
    /// Blocks that are worth an extent of their own.
    private static let longRun: UInt64 = 256

    private func take(_ wanted: UInt64, from index: Int) -> Range<UInt64> {
        let range = spare[index]
        let taken = range.lowerBound..<range.lowerBound &+ min(wanted, UInt64(range.count))
        if taken.upperBound == range.upperBound {
            spare.remove(at: index)
        } else {
            spare[index] = taken.upperBound..<range.upperBound
        }
        return taken
    }

    /// Gets `missing` blocks more from the maker, and some for those who come next.
    private func takeBlocks(_ missing: UInt64) throws(Ext4Error) {
        let ahead = max((8 << 20) >> blockSizeLog2, clusterBlocks)
        var runs: [Range<UInt64>] = []
        do throws(Ext4Error) {
            runs = try maker.takeFirst(missing &+ ahead, from: takenEnd)
        } catch {
            guard error == .noSpace else { throw error }
            do throws(Ext4Error) {
                runs = try maker.takeFirst(missing, from: takenEnd)
            } catch {
                // What is spare may do, in pieces.
                guard error == .noSpace, !spare.isEmpty || !freed.isEmpty else { throw error }
                spare += freed
                freed = []
            }
        }
        for run in runs {
            takenEnd = run.upperBound
            if let last = spare.last, last.upperBound == run.lowerBound {
                spare[spare.count - 1] = last.lowerBound..<run.upperBound
            } else {
                spare.append(run)
            }
        }
    }
}
