// Contents of files, from their start to their end, one file at a time.

extension ImageBuilder {
    /// A file that is being written.
    struct OpenFile {
        let node: ImageNode
        /// The size that was announced.
        let size: UInt64
        /// Where the next bytes go.
        var position: UInt64 = 0
        /// Where its blocks are, as far as they are known.
        var runs: [BlockRun] = []
        /// The run that the next bytes go to, or the one before that.
        var current = 0
        /// The first block of the file behind those that have clusters.
        var mappedEnd: UInt64 = 0
        /// The block of the volume that would stand for the first block of the file if its last
        /// cluster began there.
        var lastBase: UInt64 = 0
        /// Contents that are to stand in the inode.
        var inline: [UInt8]?
        /// Room for those.
        let inlineCapacity: Int
    }

    /// Makes a regular file, whose contents follow with `write`, `skip` and `fill`, up to
    /// `closeFile`. What has the name is replaced.
    ///
    /// - Parameters:
    ///   - size: how long the file is going to be.
    ///   - hasHoles: whether not all of it is going to be written; space for the rest is set aside
    ///     at once.
    /// - Throws: as `add(_:in:_:)`; `.busy` while another file is open; `.fileTooLarge`, `.noSpace`.
    public func openFile(
        _ name: FileName, in directory: ImageNode, _ new: NewImageNode, size: UInt64,
        hasHoles: Bool = false
    ) throws(Ext4Error) -> ImageNode {
        try unsafe openFile(
            name.bytes.span.bytes, in: directory, new, size: size, hasHoles: hasHoles)
    }

    /// As `openFile(_:in:_:size:hasHoles:)`, with the bytes of the name.
    public func openFile(
        _ name: RawSpan, in directory: ImageNode, _ new: NewImageNode, size: UInt64,
        hasHoles: Bool = false
    ) throws(Ext4Error) -> ImageNode {
        guard open == nil else { throw .busy }
        guard new.mode.type == .regular else { throw .invalidArgument }
        try check(size: size)
        let node = try add(name, in: directory, new)
        var capacity = 0
        if hasInlineData {
            capacity = attributes.inlineCapacity(tree[node].attributes)
        }
        var file = OpenFile(node: node, size: size, inlineCapacity: capacity)
        if capacity > 0, size <= UInt64(capacity), !hasHoles {
            file.inline = []
        } else if !hasHoles {
            try map(0..<blockCount(size), of: &file)
        }
        open = file
        return node
    }

    /// Writes the next bytes of the open file.
    ///
    /// - Throws: `.invalidArgument` when none is open; `.fileTooLarge`, `.noSpace`, `.io`.
    public func write(_ bytes: RawSpan) throws(Ext4Error) {
        var done = 0
        while done < bytes.byteCount {
            let rest = bytes.extracting(done..<bytes.byteCount)
            done &+= try fill(upTo: rest.byteCount) { target in
                let count = target.byteCount
                target.copy(from: rest.extracting(0..<count))
                return count
            }
        }
    }

    /// Lets `body` put the next bytes of the open file where they go out from, up to `count`.
    ///
    /// - Parameter body: fills its argument from the start, and tells how many bytes it has.
    /// - Returns: that number.
    /// - Throws: as `write(_:)`.
    public func fill(
        upTo count: Int, _ body: (inout MutableRawSpan) -> Int
    ) throws(Ext4Error) -> Int {
        guard count > 0 else { return 0 }
        guard var file = open else { throw .invalidArgument }
        open = nil
        defer { open = file }
        if file.inline != nil {
            if file.position &+ UInt64(count) <= UInt64(file.inlineCapacity) {
                return fillInline(&file, count, body)
            }
            try moveOut(&file)
        }
        let (end, overflow) = file.position.addingReportingOverflow(UInt64(count))
        guard !overflow else { throw .fileTooLarge }
        if end > file.size { try check(size: end) }
        let first = file.position >> blockSizeLog2
        try map(first..<blockCount(end), of: &file)
        guard let place = place(in: &file) else { throw .invalidArgument }
        let room = min(UInt64(count), place.count)
        let filled = try writer.fill(at: place.offset, count: Int(room), body)
        file.position &+= UInt64(filled)
        byteCount &+= UInt64(filled)
        return filled
    }

    /// Leaves a hole up to byte `offset` of the open file.
    ///
    /// - Throws: `.invalidArgument` for what was written already; `.io`.
    public func skip(to offset: UInt64) throws(Ext4Error) {
        guard var file = open, offset >= file.position else { throw .invalidArgument }
        guard offset > file.position else { return }
        open = nil
        defer { open = file }
        if let contents = file.inline {
            if offset <= UInt64(file.inlineCapacity) {
                file.inline =
                    contents
                    + [UInt8](repeating: 0, count: Int(offset &- file.position))
                file.position = offset
                return
            }
            try moveOut(&file)
        }
        try check(size: offset)
        try clear(to: offset, of: &file)
        file.position = offset
    }

    /// Sets blocks aside for the next `count` bytes, so that they lie together.
    ///
    /// - Throws: `.invalidArgument`, `.fileTooLarge`, `.noSpace`.
    public func reserve(_ count: UInt64) throws(Ext4Error) {
        guard var file = open else { throw .invalidArgument }
        guard file.inline == nil, count > 0 else { return }
        open = nil
        defer { open = file }
        let (end, overflow) = file.position.addingReportingOverflow(count)
        guard !overflow else { throw .fileTooLarge }
        try check(size: end)
        try map(file.position >> blockSizeLog2..<blockCount(end), of: &file)
    }

    /// Ends the open file.
    ///
    /// - Parameter size: how long it is; nil for up to where it was written, or for the size that
    ///   was announced if that is more.
    /// - Throws: `.invalidArgument` when none is open, or for less than was written;
    ///   `.fileTooLarge`, with which the file stays open; `.io`.
    public func closeFile(size: UInt64? = nil) throws(Ext4Error) {
        guard var file = open else { throw .invalidArgument }
        let size = size ?? max(file.position, file.size)
        guard size >= file.position else { throw .invalidArgument }
        try check(size: size)
        open = nil
        // Its names were taken away meanwhile.
        guard tree[file.node].linkCount > 0 else { return free(file.runs) }
        if file.inline != nil, size > UInt64(file.inlineCapacity) { try moveOut(&file) }
        tree[file.node].size = size
        if let contents = file.inline {
            let rest = [UInt8](repeating: 0, count: Int(size) &- contents.count)
            tree[file.node].contents = unsafe tree.store((contents + rest).span.bytes)
            return
        }
        release(from: blockCount(file.position), of: &file)
        try clear(to: file.mappedEnd << blockSizeLog2, of: &file)
        tree[file.node].contents = tree.contents(file.runs)
    }

    /// Makes a file with those contents.
    ///
    /// - Throws: as `openFile` and `write`.
    @discardableResult
    public func addFile(
        _ name: FileName, in directory: ImageNode, _ new: NewImageNode, contents: [UInt8]
    ) throws(Ext4Error) -> ImageNode {
        let node = try openFile(name, in: directory, new, size: UInt64(contents.count))
        try unsafe write(contents.span.bytes)
        try closeFile()
        return node
    }

    /// Ends the open file and takes it away again, under whatever names it has.
    public func abandonFile() {
        guard let file = open else { return }
        open = nil
        free(file.runs)
        // Most likely it is the last one of the last directory.
        for index in tree.directories.indices.reversed() {
            for place in tree.directories[index].entries.indices.reversed() {
                guard tree[file.node].linkCount > 0 else { return }
                guard tree.directories[index].entries[place].node == file.node.index else {
                    continue
                }
                _ = tree.remove(place, in: index)
            }
        }
    }

    // MARK: Inline contents

    private func fillInline(
        _ file: inout OpenFile, _ count: Int, _ body: (inout MutableRawSpan) -> Int
    ) -> Int {
        var room = [UInt8](repeating: 0, count: count)
        var span = room.mutableSpan
        var bytes = unsafe span.mutableBytes
        let filled = max(min(body(&bytes), count), 0)
        file.inline?.append(contentsOf: room[..<filled])
        file.position &+= UInt64(filled)
        byteCount &+= UInt64(filled)
        return filled
    }

    /// Moves contents that were to stand in the inode to blocks: there came more than was said.
    private func moveOut(_ file: inout OpenFile) throws(Ext4Error) {
        guard let contents = file.inline else { return }
        file.inline = nil
        guard !contents.isEmpty else { return }
        file.position = 0
        try map(0..<blockCount(UInt64(contents.count)), of: &file)
        while file.position < UInt64(contents.count) {
            guard let place = place(in: &file) else { throw .invalidArgument }
            let start = Int(file.position)
            let count = min(contents.count - start, Int(clamping: place.count))
            try unsafe writer.write(
                contents.span.bytes.extracting(start..<start + count), at: place.offset)
            file.position &+= UInt64(count)
        }
    }

    /// Writes contents that stood in an inode to blocks.
    func moveOut(_ contents: [UInt8]) throws(Ext4Error) -> ImageTree.Contents {
        let rest = contents.count & (blockSize &- 1)
        let padding = [UInt8](repeating: 0, count: rest == 0 ? 0 : blockSize &- rest)
        return tree.contents(try writeBlocks(contents + padding))
    }

    // MARK: Blocks

    /// The blocks of a cluster.
    var clusterBlocks: UInt64 { 1 << clusterLog2 }

    /// The clusters that blocks lie in.
    private func clusters(_ blocks: Range<UInt64>) -> Range<UInt64> {
        let ratio = clusterBlocks
        let first = UInt64(superblock.firstDataBlock)
        let start = (blocks.lowerBound &- first) / ratio &* ratio &+ first
        let end = (blocks.upperBound &- first &+ ratio &- 1) / ratio &* ratio &+ first
        return start..<end
    }

    /// Frees the blocks of runs.
    func free(_ runs: [BlockRun]) {
        var last: Range<UInt64> = 0..<0
        for run in runs {
            guard let start = run.start?.rawValue else { continue }
            var range = clusters(start..<start &+ run.count)
            // Two runs of one cluster: it was freed with the first.
            if range.lowerBound < last.upperBound, range.upperBound >= last.upperBound,
                range.lowerBound >= last.lowerBound
            {
                range = last.upperBound..<range.upperBound
            }
            last = range
            if !range.isEmpty { freed.append(range) }
        }
    }

    /// How many blocks so many bytes fill.
    private func blockCount(_ size: UInt64) -> UInt64 {
        (size >> blockSizeLog2) &+ (size & UInt64(blockSize &- 1) == 0 ? 0 : 1)
    }

    /// Refuses sizes that the format has no room for.
    private func check(size: UInt64) throws(Ext4Error) {
        var limit = LogicalBlock.end.rawValue &- 1
        if !usesExtents {
            let perTable = UInt64(blockSize / 4)
            limit = min(limit, 12 + perTable + perTable * perTable + perTable * perTable * perTable)
        }
        guard size <= 1 << 62, blockCount(size) <= limit else { throw .fileTooLarge }
        if size >= 1 << 31, !superblock.readOnlyCompatible.contains(.largeFile) {
            throw .fileTooLarge
        }
    }

    /// Gives those blocks of the file that have no place one.
    private func map(
        _ blocks: Range<UInt64>, of file: inout OpenFile
    ) throws(Ext4Error) {
        var next = max(blocks.lowerBound, file.runs.last?.end.rawValue ?? 0)
        let ratio = clusterBlocks
        while next < blocks.upperBound {
            if next >= file.mappedEnd {
                let first = next / ratio
                let last = (blocks.upperBound &+ ratio &- 1) / ratio
                let range = try allocateClusters(last &- first)
                file.lastBase = range.lowerBound &- first &* ratio
                file.mappedEnd = first &* ratio &+ (range.upperBound &- range.lowerBound)
            }
            let end = min(blocks.upperBound, file.mappedEnd)
            let run = BlockRun(
                logical: LogicalBlock(next), count: end &- next,
                state: .mapped(BlockNumber(file.lastBase &+ next)))
            if let before = file.runs.last, let merged = before.merged(with: run) {
                file.runs[file.runs.count - 1] = merged
            } else {
                file.runs.append(run)
            }
            next = end
        }
    }

    /// Where the next byte stands on the device, and how many follow it there.
    private func place(in file: inout OpenFile) -> (offset: UInt64, count: UInt64)? {
        let block = LogicalBlock(file.position >> blockSizeLog2)
        // The last run may have grown since it was found to be too short.
        if file.current > 0, file.current == file.runs.count { file.current -= 1 }
        while file.current < file.runs.count, file.runs[file.current].end <= block {
            file.current += 1
        }
        guard file.current < file.runs.count else { return nil }
        let run = file.runs[file.current]
        guard run.logical <= block, let start = run.start?.rawValue else { return nil }
        let inRun = file.position &- run.logical.rawValue << blockSizeLog2
        return ((start << blockSizeLog2) &+ inRun, (run.count << blockSizeLog2) &- inRun)
    }

    /// Makes what has a place between the last byte written and `end` zeros, and the start of the
    /// block that `end` is in.
    private func clear(to end: UInt64, of file: inout OpenFile) throws(Ext4Error) {
        while file.position < end {
            if let place = place(in: &file) {
                let count = min(place.count, end &- file.position)
                try writer.clear(at: place.offset, count: Int(clamping: count))
                file.position &+= count
            } else if file.current < file.runs.count {
                file.position = min(
                    file.runs[file.current].logical.rawValue << blockSizeLog2, end)
            } else {
                // The start of a block that is going to be written from its middle on.
                let inBlock = end & UInt64(blockSize &- 1)
                file.position = max(file.position, end &- inBlock)
                guard inBlock > 0, file.position < end else { break }
                let block = end >> blockSizeLog2
                try map(block..<block &+ 1, of: &file)
            }
        }
    }

    /// Gives back the blocks from `block` of the file on.
    private func release(from block: UInt64, of file: inout OpenFile) {
        while let last = file.runs.last, last.end.rawValue > block {
            file.runs.removeLast()
            let kept = block > last.logical.rawValue ? block &- last.logical.rawValue : 0
            let gone = last.suffix(from: LogicalBlock(last.logical.rawValue &+ kept))
            if kept > 0 { file.runs.append(last.prefix(kept)) }
            // A cluster goes with its first block.
            let ratio = clusterBlocks
            let cut = (gone.logical.rawValue &+ ratio &- 1) / ratio &* ratio
            let isShared = file.runs.last.map { $0.end.rawValue > cut &- min(cut, ratio) } ?? false
            let start = isShared ? cut : gone.logical.rawValue
            guard start < gone.end.rawValue else { continue }
            free([gone.suffix(from: LogicalBlock(start))])
        }
        file.mappedEnd = min(file.mappedEnd, file.runs.last?.end.rawValue ?? 0)
        file.current = min(file.current, max(file.runs.count - 1, 0))
    }
}
