internal import Ext4

/// The index of a directory, from its root to the blocks of entries: which block is what, and
/// which hashes belong into it.
struct IndexScan {
    /// What a block of the directory is by its index.
    enum Role: Hashable {
        /// A block of entries with hashes in that range.
        case leaf(ClosedRange<UInt32>)
        /// A node of the index.
        case node

        var range: ClosedRange<UInt32>? {
            if case .leaf(let range) = self { range } else { nil }
        }
    }

    private let state: CheckState
    private let volume: CheckedVolume
    private let subject: DirectoryScan.Subject
    private let directories: Directories
    private let isSilent: Bool
    private var roles: [UInt64: Role] = [:]
    /// Whether the index could be walked, and leads to every block.
    private(set) var isSound = true
    /// The hash of the directory's names; nil when it is unknown.
    private(set) var hash: DirectoryHash?
    private var levels = 0

    init(
        _ state: CheckState, _ subject: DirectoryScan.Subject, _ directories: Directories,
        isSilent: Bool
    ) {
        self.state = state
        volume = state.volume
        self.subject = subject
        self.directories = directories
        self.isSilent = isSilent
    }

    func role(of logical: UInt64) -> Role? { roles[logical] }

    /// Whether a block looks like an inner node: one unused entry of the whole block.
    func isFramed(_ bytes: RawSpan) -> Bool {
        bytes[DirectoryRecord.Layout.inode] == 0
            && DirectoryRecord.recordLength(
                bytes[DirectoryRecord.Layout.recordLength], blockSize: bytes.byteCount)
                == bytes.byteCount
    }

    private func place(_ logical: UInt64, byteOffset: Int? = nil) -> Corruption.Place {
        .init(
            inode: subject.inode, logicalBlock: LogicalBlock(logical),
            block: block(logical), byteOffset: byteOffset)
    }

    private mutating func report(
        _ rule: CheckRule, _ logical: UInt64, byteOffset: Int? = nil, found: UInt64? = nil,
        expected: UInt64? = nil, detail: String? = nil
    ) {
        isSound = false
        guard !isSilent else { return }
        state.report(
            Finding(
                rule, at: place(logical, byteOffset: byteOffset), found: found,
                expected: expected, detail: detail))
    }

    /// The block of the volume behind a block of the directory.
    private func block(_ logical: UInt64) -> BlockNumber? {
        let runs = directories.runs(of: subject.info)
        var low = runs.startIndex
        var high = runs.endIndex
        while low < high {
            let middle = (low &+ high) / 2
            if UInt64(runs[middle].logical) <= logical { low = middle &+ 1 } else { high = middle }
        }
        guard low > runs.startIndex else { return nil }
        let run = runs[low &- 1]
        let offset = logical &- UInt64(run.logical)
        return offset < UInt64(run.count) ? BlockNumber(run.block + offset) : nil
    }

    mutating func run() throws(Ext4Error) {
        guard let number = block(0) else {
            isSound = false
            return
        }
        let bytes = try volume.block(number)
        let root = unsafe bytes.span.bytes
        guard checkRoot(root) else { return }
        roles[0] = .node
        let range: ClosedRange<UInt32> = 0...UInt32.max
        try walk(
            root, logical: 0, entries: HTreeNode.rootBase + HTreeNode.RootLayout.size, level: 0,
            range)
        roles[0] = nil
        for run in directories.runs(of: subject.info) {
            for logical in UInt64(run.logical)..<UInt64(run.logical) + UInt64(run.count)
            where logical != 0 && roles[logical] == nil {
                report(.htreeReference, logical, found: 0, expected: 1)
            }
        }
    }

    private mutating func checkRoot(_ root: RawSpan) -> Bool {
        typealias Layout = HTreeNode.RootLayout
        let base = HTreeNode.rootBase
        let first = DirectoryRecord.recordLength(
            root[DirectoryRecord.Layout.recordLength], blockSize: root.byteCount)
        guard first == 12, root[Layout.zero.at(base)] == 0,
            root[Layout.infoLength.at(base)] == UInt8(Layout.size)
        else {
            report(
                .htreeRoot, 0, byteOffset: base,
                found: UInt64(root[Layout.infoLength.at(base)]), expected: UInt64(Layout.size))
            return false
        }
        let version = DirectoryHash.Version(rawValue: root[Layout.hashVersion.at(base)])
        let ignoresCase = subject.hasHashes
        let isKnown =
            version.rawValue <= DirectoryHash.Version.tea.rawValue
            || (version == .sipHash && ignoresCase)
        guard isKnown, !ignoresCase || version == .sipHash else {
            report(
                .htreeVersion, 0, byteOffset: base + Layout.hashVersion.offset,
                found: UInt64(version.rawValue))
            return false
        }
        levels = Int(root[Layout.indirectLevels.at(base)])
        let most = HTreeNode.maximumLevels(volume.superblock)
        guard levels <= most else {
            report(
                .htreeDepth, 0, byteOffset: base + Layout.indirectLevels.offset,
                found: UInt64(levels), expected: UInt64(most))
            return false
        }
        let unsignedHash: UInt32 = 2
        let seed = volume.superblock.hashSeed
        if version != .sipHash, seed.count == 4 {
            hash = DirectoryHash(
                version.resolved(isUnsigned: volume.superblock.flags & unsignedHash != 0),
                seed: (seed[0], seed[1], seed[2], seed[3]))
        }
        return true
    }

    /// Walks a node and what is below it; the level rises to that of the root's levels at most.
    private mutating func walk(
        _ node: RawSpan, logical: UInt64, entries: Int, level: Int, _ range: ClosedRange<UInt32>
    ) throws(Ext4Error) {
        typealias Counts = HTreeNode.CountLayout
        let size = HTreeNode.entrySize
        let tail = volume.hasChecksums ? size : 0
        let capacity = (node.byteCount - entries - tail) / size
        let limit = Int(node[Counts.limit.at(entries)])
        let count = Int(node[Counts.count.at(entries)])
        guard limit == capacity, count >= 1, count <= limit else {
            report(
                .htreeNode, logical, byteOffset: entries, found: UInt64(limit),
                expected: UInt64(capacity), detail: "count \(count)")
            return
        }
        if volume.hasChecksums { checkChecksum(node, logical, entries, count, limit) }
        var previous = range.lowerBound
        for index in 0..<count {
            let at = entries + index * size
            let lower =
                index == 0
                ? range.lowerBound : node[HTreeNode.EntryLayout.hash.at(at)] & ~1
            let upper =
                index + 1 < count
                ? node[HTreeNode.EntryLayout.hash.at(at + size)] & ~1 : range.upperBound
            guard lower >= previous, lower <= upper, upper <= range.upperBound else {
                report(
                    .htreeOrder, logical, byteOffset: at, found: UInt64(lower),
                    expected: UInt64(previous))
                return
            }
            previous = lower
            let child = UInt64(node[HTreeNode.EntryLayout.block.at(at)] & 0x0FFF_FFFF)
            guard let number = block(child), roles[child] == nil else {
                report(.htreeReference, logical, byteOffset: at, found: child)
                continue
            }
            guard level < levels else {
                roles[child] = .leaf(lower...upper)
                continue
            }
            roles[child] = .node
            let bytes = try volume.block(number)
            let below = unsafe bytes.span.bytes
            guard isFramed(below) else {
                report(.htreeNode, child, byteOffset: 0)
                continue
            }
            try walk(
                below, logical: child, entries: DirectoryRecord.headerSize, level: level + 1,
                lower...upper)
        }
    }

    private mutating func checkChecksum(
        _ node: RawSpan, _ logical: UInt64, _ entries: Int, _ count: Int, _ limit: Int
    ) {
        let computed = HTreeNode.checksum(
            of: node, entries: entries, count: count, limit: limit, owner: subject.owner)
        let stored = node[
            HTreeNode.TailLayout.checksum.at(entries + limit * HTreeNode.entrySize)]
        guard stored != computed, !isSilent else { return }
        state.report(
            Finding(
                .htreeChecksum, at: place(logical), found: UInt64(stored),
                expected: UInt64(computed)))
    }
}
