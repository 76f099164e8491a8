internal import Ext4
internal import Synchronization

/// Whether every directory hangs on the root, whether each `..` leads to where the name is, and
/// whether every inode has as many names as it says.
struct ConnectivityPass {
    let state: CheckState
    private let superblock: Superblock

    init(_ state: CheckState) {
        self.state = state
        superblock = state.volume.superblock
    }

    func run() throws(Ext4Error) {
        guard let directories = state.directories else { return }
        checkRoot(directories)
        checkDirectories(directories)
        try checkLinks()
    }

    private func checkRoot(_ directories: Directories) {
        guard directories.index(of: .root) != nil else {
            state.report(Finding(.rootMissing, at: .init(inode: .root)))
            return
        }
        guard let found = state.gathered.withLock({ $0.lostAndFound }) else {
            state.report(Finding(.lostAndFoundMissing, at: .init(inode: .root)))
            return
        }
        let isEncrypted =
            directories.index(of: found.inode).map {
                InodeFlags(rawValue: directories.infos[$0].flags).contains(.encrypted)
            } ?? false
        if found.type != .directory || isEncrypted {
            state.report(
                Finding(
                    .lostAndFoundType, at: found.place, found: UInt64(found.inode.rawValue),
                    other: found.inode))
        }
    }

    // MARK: - Directories

    private func checkDirectories(_ directories: Directories) {
        let count = directories.infos.count
        /// 0: not looked at, 1: on the way up at hand, 2: hangs on the root, 3: does not.
        var marks = [UInt8](repeating: 0, count: count)
        var way: [Int] = []
        for start in 0..<count where marks[start] == 0 {
            way.removeAll(keepingCapacity: true)
            var index = start
            var mark: UInt8 = 3
            while true {
                if directories.infos[index].inode == .root {
                    marks[index] = 2
                    mark = 2
                    break
                }
                if marks[index] >= 2 {
                    // Of a chain that hangs on nothing, only the top is lost.
                    mark = 2
                    break
                }
                if marks[index] == 1 {
                    report(unconnected: directories.infos[index].inode)
                    mark = 2
                    break
                }
                marks[index] = 1
                way.append(index)
                let parent = directories.parent(at: index)
                guard parent.rawValue != 0, let next = directories.index(of: parent) else {
                    report(unconnected: directories.infos[index].inode)
                    mark = 2
                    break
                }
                index = next
            }
            for index in way { marks[index] = mark }
        }
        for (index, info) in directories.infos.enumerated() {
            let dotDot = directories.dotDot(at: index)
            let parent = info.inode == .root ? .root : directories.parent(at: index)
            guard parent.rawValue != 0, dotDot.rawValue != 0, dotDot != parent else { continue }
            state.report(
                Finding(
                    .directoryParent, at: .init(inode: info.inode),
                    found: UInt64(dotDot.rawValue), expected: UInt64(parent.rawValue),
                    other: parent))
        }
    }

    private func report(unconnected inode: InodeNumber) {
        state.report(Finding(.directoryUnconnected, at: .init(inode: inode)))
    }

    // MARK: - Links

    /// The most links that a directory counts (`EXT4_LINK_MAX`).
    private static let mostLinks: Int64 = 65_000

    private func checkLinks() throws(Ext4Error) {
        let own = OwnInodes.numbers(superblock)
        let values = state.attributeInodes
        let first = InodeNumber.root.rawValue
        guard first <= superblock.inodesCount else { return }
        for number in first...superblock.inodesCount {
            let inode = InodeNumber(number)
            guard state.inodes.isUsed(inode),
                inode == .root || (inode >= superblock.firstInode && !own.contains(inode))
            else { continue }
            let balance = state.inodes.balance(of: inode)
            if !state.inodes.isReferenced(inode), inode != .root {
                if let count = values[number] {
                    try checkValue(inode, references: count)
                } else if state.inodes.type(of: inode) != .directory {
                    state.report(Finding(.inodeUnattached, at: .init(inode: inode)))
                }
                continue
            }
            if balance != 0 { try reportLinks(of: inode, balance) }
        }
    }

    private func reportLinks(of inode: InodeNumber, _ balance: Int64) throws(Ext4Error) {
        let bytes = try state.volume.inodeBytes(inode)
        let stored = Int64(unsafe bytes.span.bytes[InodeRecord.Layout.linkCount])
        var expected = stored - balance
        if state.inodes.type(of: inode) == .directory {
            // Beyond that a directory stops counting.
            if expected > Self.mostLinks { expected = 1 }
        }
        guard expected != stored else { return }
        state.report(
            Finding(
                .inodeLinks, at: .init(inode: inode), found: UInt64(clamping: stored),
                expected: UInt64(clamping: expected)))
    }

    /// An inode that holds a value counts the attributes in two fields that others have for the
    /// time of the last change and the version.
    private func checkValue(_ inode: InodeNumber, references: UInt64) throws(Ext4Error) {
        let bytes = try state.volume.inodeBytes(inode)
        let span = unsafe bytes.span.bytes
        let stored =
            UInt64(span[InodeRecord.Layout.changeTime]) << 32
            | UInt64(span[InodeRecord.Layout.versionLow])
        guard stored != references else { return }
        state.report(
            Finding(
                .attributeInodeReferences, at: .init(inode: inode), found: stored,
                expected: references))
    }
}
